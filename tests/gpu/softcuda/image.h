/* What a cubin or PTX text says about itself and its kernels. */
#ifndef CORDON_SOFTCUDA_IMAGE_H
#define CORDON_SOFTCUDA_IMAGE_H
#include <stdbool.h>
#include <stddef.h>

#define MAX_PARAMS 64

typedef struct Layout { /* how a kernel's arguments lie in its parameter block */
    int count;
    size_t offset[MAX_PARAMS], bytes[MAX_PARAMS], total;
} Layout;

/* 0, or the CUresult with which a driver of this version refuses the image on a device of this compute capability. */
int image_check(const void *image, size_t limit, int version, int major, int minor);
size_t image_bytes(const void *image); /* ELF: what the file's own tables span; PTX: its length */
bool image_kernel(const void *image, size_t bytes, const char *name, Layout *layout);
#endif
