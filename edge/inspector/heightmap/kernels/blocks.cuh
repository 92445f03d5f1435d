// Reading points, walking over all of them, and adding up what the threads of all blocks found.
#pragma once
#include "job.cuh"

// -- points

__device__ inline bool is_finite(float value) { return fabsf(value) <= LARGEST; }

__device__ inline bool is_missing(const Job &job, float value) { return value == job.no_data || (job.nan_missing && value != value); }

// The height in mm of a value of the frame, NaN for no data; the bit is set in `bad` where it is neither missing nor finite.
__device__ inline float height(const Job &job, float value, bool missing, bool placed, u32 bit, u32 &bad) {
  const float z = value * job.scale + job.offset;
  const bool good = placed && is_finite(z);
  bad |= missing || good ? 0u : bit;
  return missing || !good ? NO_DATA : z;
}

// Unsigned numbers in the order of the heights; 0 belongs to none.
__device__ inline u32 key_of(float z) {
  const u32 bits = __float_as_uint(z);
  return bits ^ ((u32)((int)bits >> 31) | 0x80000000u);
}

__device__ inline float height_of(u32 key) { return __uint_as_float(key >> 31 ? key ^ 0x80000000u : ~key); }

// The heights of COUNT points, `step` apart from index `first` on; those before `from` and from `until` on become NaN. Instead of
// them their neighbours are read, so that no load hangs on a condition and all are under way before the first value is used.
// Returns the bits of the points that are neither missing nor finite.
template <int COUNT> __device__ inline u32 read_points(const Job &job, int first, int step, int from, int until, float (&z)[COUNT]) {
  int place[COUNT];
#pragma unroll
  for (int k = 0; k < COUNT; ++k) {
    z[k] = NO_DATA;
    place[k] = first + max(from, min(k, until - 1)) * step;
  }
  if (from >= until) return 0;
  u32 bad = 0;
  if (job.kind == HEIGHTS) {
    const float *heights = (const float *)job.raw;
#pragma unroll
    for (int k = 0; k < COUNT; ++k) z[k] = heights[place[k]];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) z[k] = k >= from && k < until ? z[k] : NO_DATA;
  } else if (job.kind == STEPS) {
    const u16 *steps = (const u16 *)job.raw;
    int values[COUNT];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) values[k] = steps[place[k]];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) {
      const bool missing = k < from || k >= until || values[k] == job.missing_step;
      z[k] = height(job, (float)values[k], missing, true, 1u << k, bad);
    }
  } else if (job.kind == FLOATS) {
    const float *values = (const float *)job.raw;
#pragma unroll
    for (int k = 0; k < COUNT; ++k) z[k] = values[place[k]];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) z[k] = height(job, z[k], k < from || k >= until || is_missing(job, z[k]), true, 1u << k, bad);
  } else {
    float x[COUNT], y[COUNT];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) {
      const float *point = (const float *)job.raw + 3 * (i64)place[k];
      x[k] = point[0];
      y[k] = point[1];
      z[k] = point[2];
    }
#pragma unroll
    for (int k = 0; k < COUNT; ++k) {
      const bool missing = k < from || k >= until || is_missing(job, z[k]), placed = is_finite(x[k]) & is_finite(y[k]);
      z[k] = height(job, z[k], missing, placed, 1u << k, bad);
    }
  }
  return bad;
}

// -- all points

// visit(row, col, high) for every piece of a column, `high` <= STRIP pixels from row on; neighbouring threads take neighbouring columns.
template <class Visit> __device__ inline void every_strip(const Job &job, Visit visit) {
  const int pieces = (job.rows + STRIP - 1) / STRIP * job.cols;
  for (int i = blockIdx.x * BLOCK + threadIdx.x; i < pieces; i += gridDim.x * BLOCK) {
    const int row = i / job.cols * STRIP;
    visit(row, i % job.cols, min(STRIP, job.rows - row));
  }
}

// The heights of one piece of a column, those beyond `high` NaN, the plane subtracted where the job says so; returns the bad ones' bits.
__device__ inline u32 read_strip(const Job &job, int row, int col, int high, float (&z)[STRIP]) {
  const u32 bad = read_points(job, row * job.cols + col, job.cols, 0, high, z);
  if (!job.flat) return bad;
  const float across = job.across[col];
#pragma unroll
  for (int k = 0; k < STRIP; ++k)
    if (k < high) z[k] -= across + job.down[row + k];
  return bad;
}

__device__ inline void report_bad(const Job &job, u32 bad) {
  if (job.check && bad) atomicAdd(&job.state->bad, bad);
}

// -- blocks

// True in every thread of the block that finishes last, which then sees all that the others wrote. Thread 0 fences on both sides of
// the count: what its block wrote is out before, and the barrier behind it hands what it has seen to its block.
__device__ inline bool last_block(State *state, u32 *shared) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    *shared = atomicAdd(&state->done, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!*shared) return false;
  if (threadIdx.x == 0) state->done = 0;
  return true;
}

// The sum of `mine` over the threads before this one; scratch[BLOCK - 1] is then the sum over all.
__device__ inline u32 sum_before(u32 mine, u32 *scratch) {
  const int t = threadIdx.x;
  scratch[t] = mine;
  __syncthreads();
  for (int reach = 1; reach < BLOCK; reach *= 2) {
    const u32 other = t >= reach ? scratch[t - reach] : 0;
    __syncthreads();
    scratch[t] += other;
    __syncthreads();
  }
  return scratch[t] - mine;
}

__device__ inline void clear(u32 *shared, int count) {
  for (int i = threadIdx.x; i < count; i += BLOCK) shared[i] = 0;
  __syncthreads();
}

__device__ inline void add_up(const u32 *shared, u32 *sums, int count) {
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += BLOCK)
    if (shared[i]) atomicAdd(&sums[i], shared[i]);
}

// Counts into shared bins; neighbours mostly fall into the same bin and are added together.
struct Counter {
  u32 *bins;
  int bin;
  u32 length;
  __device__ explicit Counter(u32 *into) : bins(into), bin(0), length(0) {}
  __device__ void add(int other) {
    if (other != bin) {
      flush();
      bin = other;
    }
    ++length;
  }
  __device__ void flush() {
    if (length) atomicAdd(&bins[bin], length);
    length = 0;
  }
};

// Darkest and brightest of the grays that were added, and their number.
struct Contrast {
  u32 dark, bright, count;  // dark is 255 - gray, so that all begin with 0
  __device__ Contrast() : dark(0), bright(0), count(0) {}
  __device__ void add(int gray) {
    dark = max(dark, 255u - gray);
    bright = max(bright, (u32)gray);
    ++count;
  }
  __device__ void report(u32 *shared, u32 *into) const {
    clear(shared, 3);
    if (count) {
      atomicMax(&shared[0], dark);
      atomicMax(&shared[1], bright);
      atomicAdd(&shared[2], count);
    }
    __syncthreads();
    if (threadIdx.x == 0 && shared[2]) {
      atomicMax(&into[0], shared[0]);
      atomicMax(&into[1], shared[1]);
      atomicAdd(&into[2], shared[2]);
    }
  }
};
