// Unordered points into a fixed grid: the greatest height per cell, then gaps along one direction after the other.
#pragma once
#include "window.cuh"

#define POINTS 4  // that a thread takes at once

extern "C" __global__ void __launch_bounds__(BLOCK, 4) drop_points(Job job) {
  const int stride = gridDim.x * BLOCK;
  u32 bad = 0;
  for (int i = blockIdx.x * BLOCK + threadIdx.x; i < job.points; i += POINTS * stride) {
    const int count = min(POINTS, (job.points - i + stride - 1) / stride);
    float z[POINTS];
    bad += __popc(read_points(job, i, stride, 0, count, z));
#pragma unroll
    for (int k = 0; k < POINTS; ++k) {
      if (z[k] != z[k]) continue;
      const float *point = (const float *)job.raw + 3 * (i64)(i + k * stride);
      const float col = floorf((point[0] - job.x0) * job.per_x + 0.5f), row = floorf((point[1] - job.y0) * job.per_y + 0.5f);
      if (col >= 0.0f && col < (float)job.cols && row >= 0.0f && row < (float)job.rows)
        atomicMax(&job.keys[(int)row * job.cols + (int)col], key_of(z[k]));
    }
  }
  report_bad(job, bad);
}

// The height of an empty cell between filled ones, NaN where the gap is too long: `at` gives the height so many cells away, NaN for none.
template <class At> __device__ inline float bridge(int max_gap, int before, int behind, At at) {
  float from = NO_DATA;
  int left = 0;
  while (from != from && left < min(max_gap, before)) from = at(-++left);
  if (from != from) return NO_DATA;
  for (int right = 1; right <= min(max_gap + 1 - left, behind); ++right) {
    const float to = at(right);
    if (to != to) continue;
    const float z = from + (to - from) * ((float)left / (float)(left + right));
    return z < -LARGEST ? NO_DATA : z;  // -inf says "empty" in the CPU's grid
  }
  return NO_DATA;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) fill_rows(Job job) {
  every_strip(job, [&](int row, int col, int high) {
    const u32 *keys = job.keys + row * job.cols + col;
    float *filled = job.filled + row * job.cols + col;
    u32 here[STRIP];
#pragma unroll
    for (int k = 0; k < STRIP; ++k) here[k] = keys[min(k, high - 1) * job.cols];
    for (int k = 0; k < high; ++k, keys += job.cols, filled += job.cols)
      *filled = here[k] ? height_of(here[k]) : bridge(job.max_gap, col, job.cols - 1 - col, [&](int step) {
        return keys[step] ? height_of(keys[step]) : NO_DATA;
      });
  });
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) fill_columns(Job job) {
  __shared__ u32 bins[TOP], scratch[BLOCK], found[2];
  clear(bins, TOP);
  Counter counter(bins);
  every_strip(job, [&](int row, int col, int high) {
    const float *filled = job.filled + row * job.cols + col;
    float z[STRIP];
#pragma unroll
    for (int k = 0; k < STRIP; ++k) z[k] = filled[min(k, high - 1) * job.cols];
    for (int k = 0; k < high; ++k, filled += job.cols, ++row) {
      if (z[k] != z[k]) z[k] = bridge(job.max_gap, row, job.rows - 1 - row, [&](int step) { return filled[step * job.cols]; });
      job.z[row * job.cols + col] = z[k];
      if (z[k] == z[k] && job.count) counter.add(key_of(z[k]) >> 21);
    }
  });
  counter.flush();
  if (job.count) finish_top(job, bins, scratch, found);
}
