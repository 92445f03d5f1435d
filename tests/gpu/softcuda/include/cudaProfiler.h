/* The two profiler calls that PyCUDA's source names: torch's wheels bring cuda.h without this header. */
#ifndef CORDON_CUDA_PROFILER_H
#define CORDON_CUDA_PROFILER_H
#include <cuda.h>
#ifdef __cplusplus
extern "C" {
#endif
CUresult CUDAAPI cuProfilerStart(void);
CUresult CUDAAPI cuProfilerStop(void);
#ifdef __cplusplus
}
#endif
#endif
