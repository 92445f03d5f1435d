// heightmap.cu on the CPU: every block and every thread of a launch, in an order drawn from a seed. Built with -ffp-contract=off.
#include "shim.h"

#include "heightmap.cu"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <ucontext.h>
#include <utility>
#include <vector>

soft::Index threadIdx, blockIdx, blockDim, gridDim;
extern char __start_softshared[], __stop_softshared[];

namespace {

enum { MAX_THREADS = 1024, STACK_BYTES = 64 * 1024, POISON = 0xCB };

// A thread of the block. Its stack stays for the next block: making one costs system calls, switching with _setjmp none.
struct Fiber {
  ucontext_t start;
  jmp_buf here;
  bool begun, waiting;
  int line;
};

Fiber fibers[MAX_THREADS];
jmp_buf scheduler;
ucontext_t home;
Fiber *running;
void (*kernel_body)(const void *);
const void *kernel_params;
const char *kernel_name;
std::uint64_t random_state = 1;

unsigned draw(unsigned below) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)((random_state >> 33) % below);
}

[[noreturn]] void fail(const char *what, int first, int second) {
  std::fprintf(stderr, "software CUDA: kernel %s: %s (lines %d and %d)\n", kernel_name, what, first, second);
  std::abort();
}

void back_to_scheduler() {
  if (_setjmp(running->here) == 0) _longjmp(scheduler, 1);
}

void fiber_life() {
  for (;;) {
    kernel_body(kernel_params);
    running->waiting = false;
    back_to_scheduler();
  }
}

void resume(Fiber &fiber) {
  running = &fiber;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.here, 1);
  fiber.begun = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = std::malloc(STACK_BYTES);
  fiber.start.uc_stack.ss_size = STACK_BYTES;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, fiber_life, 0);
  swapcontext(&home, &fiber.start);
}

// Runs every thread to its next barrier; true while all wait at the same one.
bool run_to_barrier(const std::vector<unsigned> &order) {
  unsigned waiting = 0;
  for (unsigned thread : order) {
    threadIdx = {thread, 0, 0};
    resume(fibers[thread]);
    waiting += fibers[thread].waiting;
  }
  if (waiting == 0) return false;
  for (unsigned thread : order) {
    const Fiber &first = fibers[order[0]], &other = fibers[thread];
    if (waiting != order.size()) fail("threads end while others wait at __syncthreads", first.waiting ? first.line : 0, other.line);
    if (first.line != other.line) fail("threads wait at different __syncthreads", first.line, other.line);
  }
  return true;
}

// 0 .. count - 1, each once, forwards or backwards from a drawn place on.
std::vector<unsigned> drawn_order(unsigned count) {
  std::vector<unsigned> order(count);
  const unsigned first = draw(count), forwards = draw(2);
  for (unsigned i = 0; i < count; ++i) order[i] = (first + (forwards ? i : count - i)) % count;
  return order;
}

void launch(const char *name, void (*body)(const void *), const void *params, const unsigned grid[3], const unsigned block[3]) {
  kernel_name = name;
  kernel_body = body;
  kernel_params = params;
  if (grid[1] * grid[2] * block[1] * block[2] != 1 || block[0] > MAX_THREADS) fail("only one-dimensional launches are known here", 0, 0);
  gridDim = {grid[0], 1, 1};
  blockDim = {block[0], 1, 1};
  for (unsigned number : drawn_order(grid[0])) {
    blockIdx = {number, 0, 0};
    std::memset(__start_softshared, POISON, (std::size_t)(__stop_softshared - __start_softshared));
    while (run_to_barrier(drawn_order(block[0]))) {
    }
  }
}

}  // namespace

void soft::barrier(int line) {
  running->waiting = true;
  running->line = line;
  const unsigned thread = threadIdx.x;
  back_to_scheduler();
  threadIdx.x = thread;
}

extern "C" {

// The order of blocks and threads from here on.
void soft_kernels_seed(std::uint64_t seed) { random_state = 2 * seed + 1; }

// For tests: do cuda_layout.py and job.cuh mean the same bytes?
std::size_t soft_kernels_sizes(std::size_t sizes[4]) {
  sizes[0] = sizeof(Job);
  sizes[1] = sizeof(State);
  sizes[2] = sizeof(Result);
  sizes[3] = sizeof(Line);
  return 4;
}
}

#define EXPORT(NAME)                                                                                                              \
  extern "C" void soft_kernel_##NAME(const void *params, std::size_t size, const unsigned grid[3], const unsigned block[3], unsigned) { \
    if (size != sizeof(Job)) std::abort();                                                                                        \
    launch(#NAME, [](const void *job) { NAME(*static_cast<const Job *>(job)); }, params, grid, block);                            \
  }
EXPORT(count_top)
EXPORT(count_middle)
EXPORT(count_bottom)
EXPORT(count_grays)
EXPORT(drop_points)
EXPORT(fill_rows)
EXPORT(fill_columns)
EXPORT(drop_outliers_3)
EXPORT(drop_outliers_5)
EXPORT(vote)
EXPORT(refine_plane)
EXPORT(letterbox)
EXPORT(resize_rows)
EXPORT(resize_columns)
