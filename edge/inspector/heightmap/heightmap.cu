// The whole heightmap spec of docs/heightmap.md on a GPU: every kernel takes one Job, and cuda_plan.py says which run in what order.
//
// Compiled by nvcc and NVRTC with -fmad=false (no other header is needed), and by g++ behind tests/gpu/softcuda/shim.h: each f32 and
// f64 operation is rounded by itself, in the order of the CPU reference. Sums that decide something are whole numbers, so the order
// in which threads add them changes nothing. Kernels run one after the other on one stream; what a kernel leaves for the next (a
// plane, a window, the result) is worked out by the last of its blocks to finish.
#include "kernels/clouds.cuh"
#include "kernels/outliers.cuh"
#include "kernels/plane.cuh"
#include "kernels/resize.cuh"
