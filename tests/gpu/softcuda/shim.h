// Enough of CUDA C++ for g++ to compile heightmap.cu: one block runs at a time, its threads as fibers that switch at __syncthreads only.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __launch_bounds__(...)
// One section for all shared memory, so that it can be poisoned before each block.
#define __shared__ static __attribute__((section("softshared")))
#define __syncthreads() soft::barrier(__LINE__)

namespace soft {
struct Index { unsigned x, y, z; };
void barrier(int line);  // ends the process when the threads of a block meet at different lines, or one has ended already
}  // namespace soft

extern soft::Index threadIdx, blockIdx, blockDim, gridDim;
using std::max;
using std::min;

inline void __threadfence() {}
inline void __threadfence_system() {}

template <class To, class From> inline To soft_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
inline float __int_as_float(int bits) { return soft_bits<float>(bits); }
inline float __uint_as_float(unsigned bits) { return soft_bits<float>(bits); }
inline unsigned __float_as_uint(float value) { return soft_bits<unsigned>(value); }

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

// No thread runs beside another, so nothing can come between.
template <class T> inline T atomicAdd(T *place, T value) {
  const T before = *place;
  *place = before + value;
  return before;
}
template <class T> inline T atomicMax(T *place, T value) {
  const T before = *place;
  *place = max(before, value);
  return before;
}
