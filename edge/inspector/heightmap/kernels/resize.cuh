// Heights to grays and their way into the network's input: letterbox, or fastai's resize.
#pragma once
#include "blocks.cuh"

struct Shades { float low, factor; };

__device__ inline Shades shades_of(const Job &job) {
  Shades shades = {job.low, job.factor};
  if (job.percentile) {
    shades.low = job.state->low;
    shades.factor = job.state->factor;
  }
  return shades;
}

// The grays 1..255 of one piece of a column, 0 for no data and beyond `high`; returns the bits of the points that are bad.
__device__ inline u32 gray_strip(const Job &job, const Shades &shades, int row, int col, int high, int (&grays)[STRIP]) {
  if (job.kind == GRAYS) {
    const u8 *raw = (const u8 *)job.raw + row * job.cols + col;
#pragma unroll
    for (int k = 0; k < STRIP; ++k) grays[k] = raw[min(k, high - 1) * job.cols];
#pragma unroll
    for (int k = 0; k < STRIP; ++k) grays[k] = k >= high ? 0 : job.percentile ? job.state->table[grays[k]] : grays[k];
    return 0;
  }
  float z[STRIP];
  const u32 bad = read_strip(job, row, col, high, z);
#pragma unroll
  for (int k = 0; k < STRIP; ++k) {
    const float gray = rintf((z[k] - shades.low) * shades.factor);
    grays[k] = gray == gray ? 1 + (int)fminf(fmaxf(gray, 0.0f), 254.0f) : 0;
  }
  return bad;
}

// The bits of those of `high` source rows from `row` on that `line` counts.
__device__ inline u32 own_rows(const Line &line, int row, int high) {
  u32 bits = 0;
  for (int k = 0; k < high; ++k) bits |= row + k >= line.own && row + k < line.until ? 1u << k : 0u;
  return bits;
}

// By the last block of a frame's last kernel: all that the host is to know. Everything is read before anything is written, because a
// store that needs a value waits for it, and no further load would be under way meanwhile.
__device__ inline void finish_frame(const Job &job) {
  if (threadIdx.x) return;
  const State *state = job.state;
  const Result found = {
      {state->plane[0], state->plane[1], state->plane[2]}, state->lowest,
      job.percentile ? state->low : job.low, job.percentile ? state->factor : job.factor,
      state->bad, state->samples, state->planeless, state->window,
      255 - state->source[0], state->source[1], state->source[2],
      255 - state->seen[0], state->seen[1], 0};
  *job.result = found;
  __threadfence_system();
  *(volatile u32 *)&job.result->ticket = job.ticket;
}

// One item is a piece of one output row: each thread sums one source column over the source rows, then one output over the columns.
extern "C" __global__ void __launch_bounds__(BLOCK, 4) letterbox(Job job) {
  __shared__ float grays[BLOCK], covers[BLOCK];
  __shared__ u32 shared[3];
  const Shades shades = shades_of(job);
  const int tiles = (job.out_cols + job.tile - 1) / job.tile, t = threadIdx.x;
  const float *weight_x = (const float *)job.weight_x, *weight_y = (const float *)job.weight_y;
  Contrast contrast;
  u32 bad = 0;
  for (int item = blockIdx.x; item < tiles * job.out_rows; item += gridDim.x) {
    const int out_row = item / tiles, first = item % tiles * job.tile, last = min(first + job.tile, job.out_cols) - 1, out_col = first + t;
    const Line rows = job.line_y[out_row], from = job.line_x[first], to = job.line_x[last];
    const int end = to.first + to.count;
    float total = 0.0f, cover = 0.0f;
    for (int begin = from.first; begin < end; begin += BLOCK) {
      const int col = begin + t;
      const bool own = col >= from.own && col < to.until;
      float gray_sum = 0.0f, cover_sum = 0.0f;
      for (int k = 0; k < rows.count && col < end; k += STRIP) {
        const int row = rows.first + k, high = min(STRIP, rows.count - k);
        int strip[STRIP];
        const u32 refused = gray_strip(job, shades, row, col, high, strip), counts = own ? own_rows(rows, row, high) : 0;
        bad += __popc(refused & counts);
#pragma unroll
        for (int i = 0; i < STRIP; ++i) {
          if (!strip[i]) continue;
          const float weight = weight_y[(k + i) * job.out_rows + out_row];
          gray_sum += weight * (float)strip[i];
          cover_sum += weight;
          if (counts >> i & 1u) contrast.add(strip[i]);
        }
      }
      grays[t] = gray_sum;
      covers[t] = cover_sum;
      __syncthreads();
      if (out_col <= last) {
        const Line line = job.line_x[out_col];
        for (int col = max(line.first, begin); col < min(line.first + line.count, begin + BLOCK); ++col) {
          const float weight = weight_x[(col - line.first) * job.out_cols + out_col];
          total += weight * grays[col - begin];
          cover += weight * covers[col - begin];
        }
      }
      __syncthreads();
    }
    if (out_col <= last) {
      const float mean = rintf(total / fmaxf(cover, COVERED));
      job.out[(job.top + out_row) * job.width + job.left + out_col] = cover < COVERED ? 0 : (u8)fminf(fmaxf(mean, 1.0f), 255.0f);
    }
  }
  report_bad(job, bad);
  if (job.kind != GRAYS || !job.percentile) contrast.report(shared, job.state->source);
  if (last_block(job.state, shared)) finish_frame(job);
}

// fastai's resize along the rows: one item is a piece of STRIP rows of the source.
extern "C" __global__ void __launch_bounds__(BLOCK, 4) resize_rows(Job job) {
  __shared__ u8 grays[STRIP][CHUNK];
  __shared__ u32 shared[3];
  const Shades shades = shades_of(job);
  const int tiles = (job.out_cols + job.tile - 1) / job.tile, strips = (job.rows + STRIP - 1) / STRIP;
  const int *weights = (const int *)job.weight_x;
  Contrast contrast;
  u32 bad = 0;
  for (int item = blockIdx.x; item < tiles * strips; item += gridDim.x) {
    const int row = item / tiles * STRIP, high = min(STRIP, job.rows - row);
    const int first = item % tiles * job.tile, last = min(first + job.tile, job.out_cols) - 1, out_col = first + (int)threadIdx.x;
    const Line from = job.line_x[first], to = job.line_x[last];
    const int end = max(to.first + to.count, to.until);
    int sums[STRIP] = {0};
    for (int begin = min(from.first, from.own); begin < end; begin += CHUNK) {
      for (int col = begin + threadIdx.x; col < min(end, begin + CHUNK); col += BLOCK) {
        const bool own = col >= from.own && col < to.until;
        int strip[STRIP];
        const u32 refused = gray_strip(job, shades, row, col, high, strip);
        bad += own ? __popc(refused) : 0;
#pragma unroll
        for (int k = 0; k < STRIP; ++k) {
          grays[k][col - begin] = (u8)strip[k];
          if (own && strip[k]) contrast.add(strip[k]);
        }
      }
      __syncthreads();
      if (out_col <= last) {
        const Line line = job.line_x[out_col];
        for (int col = max(line.first, begin); col < min(line.first + line.count, begin + CHUNK); ++col) {
          const int weight = weights[(col - line.first) * job.out_cols + out_col];
#pragma unroll
          for (int k = 0; k < STRIP; ++k) sums[k] += weight * grays[k][col - begin];
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int k = 0; k < STRIP; ++k)
      if (k < high && out_col <= last) job.narrow[(row + k) * job.out_cols + out_col] = (u8)((sums[k] + FASTAI_HALF) >> FASTAI_BITS);
  }
  report_bad(job, bad);
  if (job.kind != GRAYS || !job.percentile) contrast.report(shared, job.state->source);
}

// ... and along the columns of that, which is what the network sees.
extern "C" __global__ void __launch_bounds__(BLOCK, 4) resize_columns(Job job) {
  __shared__ u32 shared[3];
  const int *weights = (const int *)job.weight_y;
  Contrast contrast;
  for (int i = blockIdx.x * BLOCK + threadIdx.x; i < job.out_rows * job.out_cols; i += gridDim.x * BLOCK) {
    const int row = i / job.out_cols, col = i % job.out_cols;
    const Line line = job.line_y[row];
    int sum = FASTAI_HALF;
    for (int k = 0; k < line.count; ++k) sum += weights[k * job.out_rows + row] * job.narrow[(line.first + k) * job.out_cols + col];
    const u8 gray = (u8)(sum >> FASTAI_BITS);
    job.out[i] = gray;
    contrast.add(gray);
  }
  contrast.report(shared, job.state->seen);
  if (last_block(job.state, shared)) finish_frame(job);
}
