// The percentile window: an exact radix selection of order statistics among heights, and a table for u8 frames.
#pragma once
#include "blocks.cuh"

struct Slice { u32 before, sum; };

// For each thread: how many values lie in its BINS / BLOCK bins, and before them; scratch[BLOCK - 1] is then the number of all.
template <int BINS> __device__ inline Slice slice_of(const volatile u32 *bins, u32 *scratch) {
  Slice slice = {0, 0};
  for (int k = 0; k < BINS / BLOCK; ++k) slice.sum += bins[threadIdx.x * (BINS / BLOCK) + k];
  __syncthreads();
  slice.before = sum_before(slice.sum, scratch);
  return slice;
}

// The bin of the value of this rank and its rank there into found[0] and found[1]; found[0] is BINS where there are fewer values.
template <int BINS> __device__ inline void locate(const volatile u32 *bins, Slice slice, u32 rank, u32 *found) {
  __syncthreads();
  if (threadIdx.x == 0) {
    found[0] = BINS;
    found[1] = 0;
  }
  __syncthreads();
  if (rank >= slice.before && rank < slice.before + slice.sum) {
    u32 left = rank - slice.before;
    int bin = threadIdx.x * (BINS / BLOCK);
    for (; left >= bins[bin]; ++bin) left -= bins[bin];
    found[0] = bin;
    found[1] = left;
  }
  __syncthreads();
}

__device__ inline double between(double first, double second, double part) { return first + (second - first) * part; }

// Sets which order statistics the two percentiles of `count` > 0 values lie between.
__device__ inline void place_ranks(const Job &job, u32 count) {
  for (int k = 0; k < 2; ++k) {
    const double position = job.percent[k] * (double)(count - 1);
    const u32 first = (u32)position;
    job.state->rank[k] = first;
    job.state->further[k] = min(first + 1, count - 1) - first;
    job.state->part[k] = position - (double)first;
  }
}

__device__ inline void set_window(State *state, double lowest, double highest) {
  state->lowest = lowest;
  if (!(highest > lowest)) {
    state->window = CONSTANT;
    return;
  }
  state->low = (float)lowest;
  state->factor = (float)(254.0 / (highest - lowest));
}

// After the first histogram: the ranks, and the upper bits of the keys that have them.
__device__ inline void choose_top(const Job &job, u32 *scratch, u32 *found) {
  State *state = job.state;
  const Slice slice = slice_of<TOP>(state->top, scratch);
  const u32 count = scratch[BLOCK - 1];
  if (threadIdx.x == 0) {
    if (count) place_ranks(job, count);
    else state->window = NOTHING_VALID;
  }
  for (int k = 0; k < 2; ++k) {
    __syncthreads();
    locate<TOP>(state->top, slice, ((volatile State *)state)->rank[k], found);
    if (threadIdx.x == 0) {
      state->prefix[k] = found[0];
      state->rank[k] = found[1];
    }
  }
}

__device__ inline void choose_middle(const Job &job, u32 *scratch, u32 *found) {
  State *state = job.state;
  for (int k = 0; k < 2; ++k) {
    const Slice slice = slice_of<TOP>(state->middle[k], scratch);
    locate<TOP>(state->middle[k], slice, state->rank[k], found);
    if (threadIdx.x == 0) {
      state->prefix[k] = state->prefix[k] << 11 | found[0];
      state->rank[k] = found[1];
    }
  }
}

__device__ inline void choose_bottom(const Job &job, u32 *scratch, u32 *found) {
  State *state = job.state;
  double ends[2];
  for (int k = 0; k < 2; ++k) {
    const Slice slice = slice_of<BOTTOM>(state->bottom[k], scratch);
    u32 keys[2];
    for (int next = 0; next < 2; ++next) {
      locate<BOTTOM>(state->bottom[k], slice, state->rank[k] + next * state->further[k], found);
      keys[next] = found[0] < BOTTOM ? state->prefix[k] << 10 | found[0] : ~((volatile State *)state)->above[k];
    }
    ends[k] = between((double)height_of(keys[0]), (double)height_of(keys[1]), state->part[k]);
  }
  if (threadIdx.x == 0 && state->window == GIVEN) set_window(state, ends[0], ends[1]);
}

// Ends the kernel that made the first histogram.
__device__ inline void finish_top(const Job &job, const u32 *bins, u32 *scratch, u32 *found) {
  add_up(bins, job.state->top, TOP);
  if (last_block(job.state, found)) choose_top(job, scratch, found);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) count_top(Job job) {
  __shared__ u32 bins[TOP], scratch[BLOCK], found[2];
  clear(bins, TOP);
  Counter counter(bins);
  u32 bad = 0;
  every_strip(job, [&](int row, int col, int high) {
    float z[STRIP];
    bad += __popc(read_strip(job, row, col, high, z));
    for (int k = 0; k < STRIP; ++k) {
      if (k < high && job.keep) job.z[(row + k) * job.cols + col] = z[k];
      if (z[k] == z[k] && job.count) counter.add(key_of(z[k]) >> 21);
    }
  });
  counter.flush();
  report_bad(job, bad);
  if (job.count) finish_top(job, bins, scratch, found);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) count_middle(Job job) {
  __shared__ u32 bins[2 * TOP], scratch[BLOCK], found[2];
  clear(bins, 2 * TOP);
  Counter low(bins), high(bins + TOP);
  const u32 first = job.state->prefix[0], second = job.state->prefix[1];
  every_strip(job, [&](int row, int col, int rows) {
    float z[STRIP];
    read_strip(job, row, col, rows, z);
    for (int k = 0; k < STRIP; ++k) {
      if (z[k] != z[k]) continue;
      const u32 key = key_of(z[k]);
      if (key >> 21 == first) low.add(key >> 10 & (TOP - 1));
      if (key >> 21 == second) high.add(key >> 10 & (TOP - 1));
    }
  });
  low.flush();
  high.flush();
  add_up(bins, job.state->middle[0], 2 * TOP);
  if (last_block(job.state, found)) choose_middle(job, scratch, found);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) count_bottom(Job job) {
  __shared__ u32 bins[2 * BOTTOM], scratch[BLOCK], found[2], above[2];
  if (threadIdx.x < 2) above[threadIdx.x] = 0;
  clear(bins, 2 * BOTTOM);
  Counter low(bins), high(bins + BOTTOM);
  const u32 first = job.state->prefix[0], second = job.state->prefix[1];
  u32 beyond_first = 0, beyond_second = 0;
  every_strip(job, [&](int row, int col, int rows) {
    float z[STRIP];
    read_strip(job, row, col, rows, z);
    for (int k = 0; k < STRIP; ++k) {
      if (z[k] != z[k]) continue;
      const u32 key = key_of(z[k]), prefix = key >> 10;
      if (prefix == first) low.add(key & (BOTTOM - 1));
      if (prefix == second) high.add(key & (BOTTOM - 1));
      if (prefix > first) beyond_first = max(beyond_first, ~key);
      if (prefix > second) beyond_second = max(beyond_second, ~key);
    }
  });
  low.flush();
  high.flush();
  atomicMax(&above[0], beyond_first);
  atomicMax(&above[1], beyond_second);
  add_up(bins, job.state->bottom[0], 2 * BOTTOM);
  if (threadIdx.x < 2) atomicMax(&job.state->above[threadIdx.x], above[threadIdx.x]);
  if (last_block(job.state, found)) choose_bottom(job, scratch, found);
}

// -- u8 frames: their contrast, and the table of a percentile window

__device__ inline void make_table(const Job &job, u32 *counts, u32 *scratch, u32 *found) {
  State *state = job.state;
  counts[threadIdx.x] = threadIdx.x ? ((volatile u32 *)state->top)[threadIdx.x] : 0;
  if (threadIdx.x && counts[threadIdx.x]) {
    atomicMax(&state->source[0], 255 - threadIdx.x);
    atomicMax(&state->source[1], threadIdx.x);
    atomicAdd(&state->source[2], counts[threadIdx.x]);
  }
  const Slice slice = slice_of<BLOCK>(counts, scratch);
  const u32 count = scratch[BLOCK - 1];
  if (threadIdx.x == 0) {
    if (count) place_ranks(job, count);
    else state->window = NOTHING_VALID;
  }
  double ends[2];
  for (int k = 0; k < 2; ++k) {
    u32 grays[2];
    __syncthreads();
    for (int next = 0; next < 2; ++next) {
      const volatile State *now = state;
      locate<BLOCK>(counts, slice, now->rank[k] + next * now->further[k], found);
      grays[next] = found[0];
    }
    ends[k] = between(grays[0], grays[1], ((volatile State *)state)->part[k]);
  }
  if (threadIdx.x == 0 && count) set_window(state, ends[0], ends[1]);
  __syncthreads();
  const volatile State *now = state;
  const float gray = rintf(((float)threadIdx.x - now->low) * now->factor);
  state->table[threadIdx.x] = threadIdx.x ? (u8)(fminf(fmaxf(gray, 0.0f), 254.0f) + 1.0f) : 0;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) count_grays(Job job) {
  __shared__ u32 bins[BLOCK], scratch[BLOCK], found[2];
  clear(bins, BLOCK);
  Counter counter(bins);
  every_strip(job, [&](int row, int col, int high) {
    int grays[STRIP];
#pragma unroll
    for (int k = 0; k < STRIP; ++k) grays[k] = ((const u8 *)job.raw)[(row + min(k, high - 1)) * job.cols + col];
    for (int k = 0; k < STRIP; ++k)
      if (k < high && grays[k]) counter.add(grays[k]);
  });
  counter.flush();
  add_up(bins, job.state->top, BLOCK);
  if (last_block(job.state, found)) make_table(job, bins, scratch, found);
}
