// Pixels far from the median of their neighbourhood become no data; by counting instead of sorting, as in outliers.py.
#pragma once
#include "window.cuh"

#define TILE_X 64
#define TILE_Y (BLOCK / TILE_X * STRIP)

// Below, above and valid are counted in one number, one byte each: a window has at most 25 pixels.
template <int REACH> __device__ inline void count_neighbours(const float *tile, const float (&z)[STRIP], float limit, u32 (&counts)[STRIP]) {
  const int wide = TILE_X + 2 * REACH;
#pragma unroll
  for (int dx = 0; dx <= 2 * REACH; ++dx) {
    float near[STRIP + 2 * REACH];
#pragma unroll
    for (int y = 0; y < STRIP + 2 * REACH; ++y) near[y] = tile[y * wide + dx];
#pragma unroll
    for (int k = 0; k < STRIP; ++k) {
      const float low = z[k] - limit, high = z[k] + limit;
#pragma unroll
      for (int dy = 0; dy <= 2 * REACH; ++dy) {
        if (near[k + dy] < low) counts[k] += 1u;
        if (near[k + dy] > high) counts[k] += 0x100u;
      }
    }
    u32 valid = 0;  // of the 2 * REACH + 1 pixels around the first, then moved down pixel by pixel
#pragma unroll
    for (int y = 0; y < STRIP + 2 * REACH; ++y) {
      valid += near[y] == near[y] ? 0x10000u : 0u;
      if (y > 2 * REACH) valid -= near[y - 2 * REACH - 1] == near[y - 2 * REACH - 1] ? 0x10000u : 0u;
      if (y >= 2 * REACH) counts[y - 2 * REACH] += valid;
    }
  }
}

__device__ inline bool outlying(u32 counts) {
  const u32 below = counts & 255u, above = counts >> 8 & 255u, valid = counts >> 16;
  return below >= (valid + 1) / 2 || above > valid / 2;
}

// Loads the heights of a tile and `REACH` pixels around, NaN outside the image; returns how many of the tile's own are bad.
template <int REACH> __device__ inline u32 load_tile(const Job &job, float *tile, int left, int top) {
  const int wide = TILE_X + 2 * REACH, high = TILE_Y + 2 * REACH;
  u32 bad = 0;
  for (int i = threadIdx.x; i < wide * ((high + STRIP - 1) / STRIP); i += BLOCK) {
    const int x = i % wide, y = i / wide * STRIP, col = left + x - REACH, row = top + y - REACH;
    const int until = col >= 0 && col < job.cols ? min(min(STRIP, high - y), job.rows - row) : 0;
    float z[STRIP];
    const u32 refused = read_points(job, row * job.cols + col, job.cols, max(0, -row), until, z);
#pragma unroll
    for (int k = 0; k < STRIP; ++k) {
      if (y + k < high) tile[(y + k) * wide + x] = z[k];
      if (x >= REACH && x < REACH + TILE_X && y + k >= REACH && y + k < REACH + TILE_Y) bad += refused >> k & 1u;
    }
  }
  return bad;
}

template <int REACH> __device__ inline void drop_outliers(const Job &job, float *tile, u32 *bins, u32 *scratch, u32 *found) {
  const int across = (job.cols + TILE_X - 1) / TILE_X, tiles = across * ((job.rows + TILE_Y - 1) / TILE_Y), wide = TILE_X + 2 * REACH;
  const int x = threadIdx.x % TILE_X, y = threadIdx.x / TILE_X * STRIP;
  if (job.count) clear(bins, TOP);
  Counter counter(bins);
  u32 bad = 0;
  for (int i = blockIdx.x; i < tiles; i += gridDim.x) {
    const int left = i % across * TILE_X, top = i / across * TILE_Y, col = left + x;
    bad += load_tile<REACH>(job, tile, left, top);
    __syncthreads();
    float z[STRIP];
    u32 counts[STRIP] = {0};
#pragma unroll
    for (int k = 0; k < STRIP; ++k) z[k] = tile[(y + k + REACH) * wide + x + REACH];
    count_neighbours<REACH>(tile + y * wide + x, z, job.limit, counts);
#pragma unroll
    for (int k = 0; k < STRIP; ++k) {
      if (col >= job.cols || top + y + k >= job.rows) continue;
      const float kept = outlying(counts[k]) ? NO_DATA : z[k];
      job.z[(top + y + k) * job.cols + col] = kept;
      if (kept == kept && job.count) counter.add(key_of(kept) >> 21);
    }
    __syncthreads();
  }
  counter.flush();
  report_bad(job, bad);
  if (job.count) finish_top(job, bins, scratch, found);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) drop_outliers_3(Job job) {
  __shared__ float tile[(TILE_X + 2) * (TILE_Y + 2)];
  __shared__ u32 bins[TOP], scratch[BLOCK], found[2];
  drop_outliers<1>(job, tile, bins, scratch, found);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) drop_outliers_5(Job job) {
  __shared__ float tile[(TILE_X + 4) * (TILE_Y + 4)];
  __shared__ u32 bins[TOP], scratch[BLOCK], found[2];
  drop_outliers<2>(job, tile, bins, scratch, found);
}
