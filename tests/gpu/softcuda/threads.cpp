// heightmap.cu with a thread of the CPU for every thread of a block, for ThreadSanitizer. One block at a time runs in a copy of this
// library, so that its shared memory is its own; races.cpp loads two copies, between which only fences and atomics order anything.
#define SOFT_THREADS
#include "shim.h"

#include "heightmap.cu"

#include <pthread.h>

thread_local soft::Index threadIdx, blockIdx;
soft::Index blockDim, gridDim;
extern char __start_softshared[], __stop_softshared[];

namespace {

enum { POISON = 0xCB, BARRIERS = 16 };
#ifndef SOFT_SKIPPED_LINE
#define SOFT_SKIPPED_LINE -1
#endif

void (*body)(const Job &);
const Job *job;
unsigned first, step;
pthread_barrier_t begin, finish;  // all threads and the one that launches
// In turn: a thread that is slow to leave a barrier would seem to be ordered behind what others do before they come to it again.
pthread_barrier_t barriers[BARRIERS];
thread_local unsigned passed;

void meet() { pthread_barrier_wait(&barriers[passed++ % BARRIERS]); }

void run_blocks() {
  for (unsigned block = first; block < gridDim.x; block += step) {
    meet();
    if (threadIdx.x == 0) std::memset(__start_softshared, POISON, (std::size_t)(__stop_softshared - __start_softshared));
    meet();
    blockIdx = {block, 0, 0};
    body(*job);
  }
}

void *live(void *number) {
  threadIdx = {(unsigned)reinterpret_cast<std::size_t>(number), 0, 0};
  for (;;) {
    pthread_barrier_wait(&begin);
    run_blocks();
    pthread_barrier_wait(&finish);
  }
}

#define KERNEL(NAME) {#NAME, [](const Job &job) { NAME(job); }}
const struct { const char *name; void (*body)(const Job &); } KERNELS[] = {
    KERNEL(count_top), KERNEL(count_middle), KERNEL(count_bottom), KERNEL(count_grays), KERNEL(drop_points),
    KERNEL(fill_rows), KERNEL(fill_columns), KERNEL(drop_outliers_3), KERNEL(drop_outliers_5), KERNEL(vote),
    KERNEL(refine_plane), KERNEL(letterbox), KERNEL(resize_rows), KERNEL(resize_columns)};

}  // namespace

void soft::barrier(int line) {
  if (line != SOFT_SKIPPED_LINE) meet();
}

extern "C" {

// Makes the threads, which wait for launches until the process ends; false when there are too many.
bool soft_prepare() {
  for (pthread_barrier_t &barrier : barriers) pthread_barrier_init(&barrier, nullptr, BLOCK);
  for (pthread_barrier_t *barrier : {&begin, &finish}) pthread_barrier_init(barrier, nullptr, BLOCK + 1);
  for (std::size_t number = 0; number < BLOCK; ++number) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, live, reinterpret_cast<void *>(number)) != 0) return false;
    pthread_detach(thread);
  }
  return true;
}

// Starts blocks own, own + shares, ... of `grid`; false when there is no such kernel.
bool soft_begin(const char *name, const void *params, unsigned grid, unsigned own, unsigned shares) {
  for (const auto &kernel : KERNELS) {
    if (std::strcmp(kernel.name, name) != 0) continue;
    gridDim = {grid, 1, 1};
    blockDim = {BLOCK, 1, 1};
    body = kernel.body;
    job = static_cast<const Job *>(params);
    first = own;
    step = shares;
    pthread_barrier_wait(&begin);
    return true;
  }
  return false;
}

void soft_finish() { pthread_barrier_wait(&finish); }
}
