/* What the software CUDA driver offers beyond CUDA's own functions: device work for stand-ins, and the switches of the tests. */
#ifndef CORDON_SOFTCUDA_H
#define CORDON_SOFTCUDA_H
#include <cuda.h>
#include <stddef.h>
#include <stdint.h>
#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

/* Device work of a stand-in.
 * soft_launch queues fn(data) on the stream (NULL is the legacy default stream) and returns at once, with what cuLaunchKernel would return.
 * fn runs later, in stream order, on the thread that waits; device memory is accessible only while it runs. While the stream is being
 * captured the call becomes a node of the graph, and fn(data) runs at every launch of it: data must live as long as the graph.
 * fn may be a Python callback. It may call no CUDA function (CUDA_ERROR_NOT_PERMITTED), and soft_fail and soft_range below. */
int soft_launch(CUstream stream, void (*fn)(void *), void *data);
/* Called by fn: the work failed on the device with this CUresult, which becomes sticky as on a GPU (700: illegal address). */
void soft_fail(int error);
/* 1 when bytes [address, address + size) lie in one live allocation that the device may use, else 0. */
int soft_range(uint64_t address, uint64_t size);
/* 1 while the stream is being captured, else 0. */
int soft_capturing(CUstream stream);

/* Switches of the tests (control.py wraps them; each returns 0, or -1 for what it does not know). */
int soft_reset(const char *device, uint64_t seed);
void soft_seed(uint64_t seed);
int soft_driver_version(int version);
int soft_memory_limit(uint64_t bytes);
int soft_fail_next(const char *function, int error, uint64_t after, uint64_t times);
int soft_fault(const char *text);
void soft_sticky(int error);
void soft_hang(int on);
void soft_vanish(void);
const char *soft_counters(void);
const char *soft_violations(void);
int soft_kernels(const char *path);
#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
