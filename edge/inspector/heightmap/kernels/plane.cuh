// The sheet's plane: candidates through drawn samples, votes, and least squares from whole numbers, as in plane.py.
#pragma once
#include "blocks.cuh"

struct Points { double x[SAMPLES], y[SAMPLES], z[SAMPLES]; };

// The samples with data, in row order; returns how many.
__device__ inline int gather_samples(const Job &job, Points &points, u32 *scratch) {
  const int count = job.samples_x * job.samples_y, each = SAMPLES / BLOCK;
  int row[each], col[each];
  float z[each];
  u32 valid = 0;
#pragma unroll
  for (int k = 0; k < each; ++k) {
    const int i = threadIdx.x * each + k;
    row[k] = job.first_y + i / job.samples_x * job.step_y;
    col[k] = job.first_x + i % job.samples_x * job.step_x;
    float one[1];
    read_points(job, row[k] * job.cols + col[k], 0, 0, i < count, one);
    z[k] = one[0];
    valid += is_finite(z[k]);
  }
  u32 place = sum_before(valid, scratch);
#pragma unroll
  for (int k = 0; k < each; ++k) {
    if (!is_finite(z[k])) continue;
    points.x[place] = col[k];
    points.y[place] = row[k];
    points.z[place] = z[k];
    ++place;
  }
  __syncthreads();
  return scratch[BLOCK - 1];
}

// The plane through a candidate's three samples; false when they lie on a line.
__device__ inline bool plane_through(const Job &job, const Points &points, int samples, int candidate, double (&plane)[3]) {
  int drawn[3];
  for (int k = 0; k < 3; ++k) drawn[k] = (int)((u64)job.draws[3 * candidate + k] * samples >> 32);
  const double x = points.x[drawn[0]], y = points.y[drawn[0]], z = points.z[drawn[0]];
  const double ux = points.x[drawn[1]] - x, uy = points.y[drawn[1]] - y, uz = points.z[drawn[1]] - z;
  const double vx = points.x[drawn[2]] - x, vy = points.y[drawn[2]] - y, vz = points.z[drawn[2]] - z;
  const double area = ux * vy - uy * vx;
  if (!(fabs(area) > COLLINEAR)) return false;
  plane[0] = (uz * vy - vz * uy) / area;
  plane[1] = (vz * ux - uz * vx) / area;
  plane[2] = z - plane[0] * x - plane[1] * y;
  return true;
}

// The plane's f32 summands along both directions, by all threads of the block that worked it out.
__device__ inline void spread_plane(const Job &job) {
  __syncthreads();
  const volatile double *plane = job.state->plane;
  const double a = plane[0], b = plane[1], c = plane[2];
  for (int i = threadIdx.x; i < job.cols; i += BLOCK) job.across[i] = (float)(a * (double)i + c);
  for (int i = threadIdx.x; i < job.rows; i += BLOCK) job.down[i] = (float)(b * (double)i);
}

__device__ inline void choose_plane(const Job &job, const Points &points, int samples) {
  State *state = job.state;
  if (threadIdx.x == 0) {
    const u64 best = *(volatile u64 *)&state->best;
    double plane[3] = {0.0, 0.0, 0.0};
    state->samples = samples;
    state->planeless = best == 0;
    if (best) plane_through(job, points, samples, (int)~(u32)best, plane);
    for (int k = 0; k < 3; ++k) state->plane[k] = plane[k];
  }
  spread_plane(job);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) vote(Job job) {
  __shared__ Points points;
  __shared__ u32 scratch[BLOCK], votes[BLOCK / TEAM], last;
  const int samples = gather_samples(job, points, scratch), team = threadIdx.x / TEAM, teams = BLOCK / TEAM;
  for (int first = blockIdx.x * teams; samples >= 3 && first < job.iterations; first += gridDim.x * teams) {
    clear(votes, teams);
    double plane[3];
    const int candidate = first + team;
    const bool proper = candidate < job.iterations && plane_through(job, points, samples, candidate, plane);
    u32 mine = 0;
    for (int i = threadIdx.x % TEAM; proper && i < samples; i += TEAM)
      mine += fabs(plane[0] * points.x[i] + plane[1] * points.y[i] + plane[2] - points.z[i]) <= job.inlier;
    if (mine) atomicAdd(&votes[team], mine);
    __syncthreads();
    if (proper && threadIdx.x % TEAM == 0) atomicMax(&job.state->best, (u64)votes[team] << 32 | (u32)~candidate);
    __syncthreads();
  }
  if (last_block(job.state, &last)) choose_plane(job, points, samples);
}

// The correction of docs/heightmap.md from the sums, in its order; nothing when the points fix no plane.
__device__ inline void correct_plane(const Job &job, const volatile u64 *sums, volatile double *plane) {
  const double n = (i64)sums[N], x = (i64)sums[X], y = (i64)sums[Y], q = (i64)sums[Q];
  if (n < 3.0) return;
  const double mx = x / n, my = y / n, mq = q / n;
  const double vxx = (double)(i64)sums[XX] - x * mx, vyy = (double)(i64)sums[YY] - y * my, vxy = (double)(i64)sums[XY] - x * my;
  const double cx = (double)(i64)sums[XQ] - x * mq, cy = (double)(i64)sums[YQ] - y * mq;
  const double det = vxx * vyy - vxy * vxy;
  if (!(det > FLAT * (vxx * vyy))) return;
  const double a = (cx * vyy - cy * vxy) / det * job.quantum, b = (cy * vxx - cx * vxy) / det * job.quantum;
  plane[0] += a;
  plane[1] += b;
  plane[2] += mq * job.quantum - a * mx - b * my;
}

__device__ inline void add_residuals(const Job &job, int row, int col, int high, const float (&z)[STRIP], i64 (&sums)[SUMS]) {
  const float across = job.across[col];
  i64 n = 0, y_sum = 0, yy = 0, q_sum = 0, yq = 0;
#pragma unroll
  for (int k = 0; k < STRIP; ++k) {
    if (k >= high) break;
    const float residual = z[k] - (across + job.down[row + k]);
    if (!(fabsf(residual) <= job.near)) continue;
    const i64 q = (int)rintf(residual * job.steps), y = row + k;
    ++n;
    y_sum += y;
    yy += y * y;
    q_sum += q;
    yq += y * q;
  }
  const i64 x = col, all[SUMS] = {n, x * n, y_sum, x * x * n, x * y_sum, yy, q_sum, x * q_sum, yq};
#pragma unroll
  for (int k = 0; k < SUMS; ++k) sums[k] += all[k];
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) refine_plane(Job job) {
  __shared__ i64 shared[SUMS][BLOCK];
  __shared__ u32 last;
  i64 sums[SUMS] = {0};
  u32 bad = 0;
  every_strip(job, [&](int row, int col, int high) {
    float z[STRIP];
    bad += __popc(read_strip(job, row, col, high, z));
    add_residuals(job, row, col, high, z, sums);
  });
  report_bad(job, bad);
  for (int k = 0; k < SUMS; ++k) shared[k][threadIdx.x] = sums[k];
  for (int half = BLOCK / 2; half; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.x < half)
      for (int k = 0; k < SUMS; ++k) shared[k][threadIdx.x] += shared[k][threadIdx.x + half];
  }
  __syncthreads();
  if (threadIdx.x < SUMS) atomicAdd(&job.state->sums[threadIdx.x], (u64)shared[threadIdx.x][0]);
  if (!last_block(job.state, &last)) return;
  if (threadIdx.x == 0) {
    correct_plane(job, job.state->sums, job.state->plane);
    for (int k = 0; k < SUMS; ++k) job.state->sums[k] = 0;
  }
  spread_plane(job);
}
