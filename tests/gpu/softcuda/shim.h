// Enough of CUDA C++ for g++ to compile heightmap.cu. Threads are fibers that switch at __syncthreads only, one block after the other
// (kernels.cpp), or with SOFT_THREADS those of the CPU (threads.cpp).
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

#ifdef SOFT_THREADS
#define SOFT_OF_A_THREAD thread_local
#else
#define SOFT_OF_A_THREAD
#endif
extern SOFT_OF_A_THREAD soft::Index threadIdx, blockIdx;
extern soft::Index blockDim, gridDim;
using std::max;
using std::min;

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

#ifdef SOFT_THREADS
// Fences are ordered among all threads and order what lies around them; atomics order nothing else, as in CUDA.
extern "C" int soft_fences;
inline void __threadfence() {
#ifndef SOFT_WITHOUT_FENCES
  __atomic_fetch_add(&soft_fences, 1, __ATOMIC_ACQ_REL);
#endif
}
template <class T> inline T atomicAdd(T *place, T value) { return __atomic_fetch_add(place, value, __ATOMIC_RELAXED); }
template <class T> inline T atomicMax(T *place, T value) {
  T before = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (before < value && !__atomic_compare_exchange_n(place, &before, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}
#else
// No thread runs beside another, so nothing can come between.
inline void __threadfence() {}
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
#endif
inline void __threadfence_system() { __threadfence(); }
