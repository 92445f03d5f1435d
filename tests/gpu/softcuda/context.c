/* The device and its contexts: presets, the primary context, and a stack of current contexts per thread. */
#include "internal.h"

#define DEPTH 64

static __thread struct { /* outlives soft_reset: what a program pushed, it must be able to pop */
    int depth;
    Context *entries[DEPTH];
} stack;

Context *current_context(void) { return stack.depth ? stack.entries[stack.depth - 1] : NULL; }

bool context_alive(const Context *context) { return context->alive && context->generation == g.generation; }

static Context *context_of(CUcontext handle) {
    Context *context = (Context *)handle;
    return context && context->generation == g.generation ? context : NULL;
}

static Context *context_new(bool primary, unsigned flags) {
    Context *context = calloc(1, sizeof *context); /* never given back: a stale handle is then recognised */
    *context = (Context){.generation = g.generation, .alive = true, .primary = primary, .flags = flags, .id = ++g.next_id, .api_version = 3020};
    context->legacy = stream_new(context, 0, 0);
    context->legacy->legacy = true;
    COUNT(contexts)++;
    COUNT(live_contexts)++;
    return context;
}

static CUresult context_end(Context *context) {
    CUresult result = drain_all(context);
    streams_drop_context(context);
    memory_drop_context(context);
    context->alive = false;
    COUNT(live_contexts)--;
    return result;
}

void contexts_reset(void) {
    g.primary = NULL;
    g.primary_count = g.primary_flags = 0;
}

API cuDeviceGetCount(int *count) {
    ENTER(INIT);
    *count = 1;
    LEAVE(CUDA_SUCCESS);
}

API cuDeviceGet(CUdevice *device, int ordinal) {
    ENTER(INIT);
    REFUSE_UNLESS(ordinal == 0, CUDA_ERROR_INVALID_DEVICE);
    *device = 0;
    LEAVE(CUDA_SUCCESS);
}

API cuDeviceGetName(char *name, int length, CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    snprintf(name, (size_t)length, "%s", g.preset->name);
    LEAVE(CUDA_SUCCESS);
}

API cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    memset(uuid, 0, sizeof *uuid);
    snprintf(uuid->bytes, sizeof uuid->bytes, "soft-%s", g.preset->key);
    LEAVE(CUDA_SUCCESS);
}

API cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    snprintf(text, (size_t)length, "0000:01:00.0");
    LEAVE(CUDA_SUCCESS);
}

API cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    *bytes = g.preset->memory;
    LEAVE(CUDA_SUCCESS);
}

API cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    *major = g.preset->major;
    *minor = g.preset->minor;
    LEAVE(CUDA_SUCCESS);
}

API cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    REFUSE_UNLESS((int)attribute > 0 && attribute < CU_DEVICE_ATTRIBUTE_MAX, CUDA_ERROR_INVALID_VALUE);
    const Preset *p = g.preset;
    int v = 0;
    switch ((int)attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: v = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: v = 64; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: case CU_DEVICE_ATTRIBUTE_MAX_PITCH: v = 0x7fffffff; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: v = 65535; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: v = 49152; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: v = p->shared_optin; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: v = p->shared_optin + 1024; break;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: v = 1024; break;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: v = 65536; break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: v = 32; break;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: v = p->clock_khz; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: v = p->memory_khz; break;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: v = p->bus_bits; break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: v = p->l2_bytes; break;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT: v = 512; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: v = p->multiprocessors; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: v = p->threads_per_multiprocessor; break;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED: v = p->integrated; break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: v = 1; break;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: v = p->integrated ? 1 : 2; break;
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS: v = !p->integrated; break;
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY: case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP: case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY: case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM: v = 1; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: v = p->major; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: v = p->minor; break;
    default: break; /* everything else is a feature that this device has not */
    }
    *value = v;
    LEAVE(CUDA_SUCCESS);
}

API cuDevicePrimaryCtxRetain(CUcontext *handle, CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    if (!g.primary) g.primary = context_new(true, g.primary_flags);
    g.primary_count++;
    *handle = (CUcontext)g.primary;
    LEAVE(CUDA_SUCCESS);
}

API cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    REFUSE_UNLESS(g.primary, CUDA_ERROR_INVALID_CONTEXT);
    if (--g.primary_count) LEAVE(CUDA_SUCCESS);
    Context *ending = g.primary;
    g.primary = NULL;
    LEAVE(context_end(ending));
}

API cuDevicePrimaryCtxReset_v2(CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    Context *ending = g.primary;
    g.primary = NULL;
    g.primary_count = 0;
    LEAVE(ending ? context_end(ending) : CUDA_SUCCESS);
}

API cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    g.primary_flags = flags;
    LEAVE(CUDA_SUCCESS);
}

API cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    ENTER(INIT);
    REFUSE_UNLESS(device == 0, CUDA_ERROR_INVALID_DEVICE);
    *flags = g.primary_flags;
    *active = g.primary != NULL;
    LEAVE(CUDA_SUCCESS);
}

static CUresult push(Context *context) {
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    if (!context_alive(context)) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (stack.depth == DEPTH) return CUDA_ERROR_OUT_OF_MEMORY;
    stack.entries[stack.depth++] = context;
    return CUDA_SUCCESS;
}

static CUresult create(CUcontext *handle, unsigned flags, CUdevice device) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    Context *context = context_new(false, flags);
    *handle = (CUcontext)context;
    return push(context);
}

API cuCtxCreate_v2(CUcontext *handle, unsigned flags, CUdevice device) {
    ENTER(INIT);
    LEAVE(create(handle, flags, device));
}

#if CUDA_VERSION >= 12050
API cuCtxCreate_v4(CUcontext *handle, CUctxCreateParams *params, unsigned flags, CUdevice device) {
    ENTER(INIT);
    REFUSE_UNLESS(!params, CUDA_ERROR_NOT_SUPPORTED);
    LEAVE(create(handle, flags, device));
}
#endif

static CUresult destroy(Context *context) {
    if (!context || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
    if (!context->alive) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (current_context() == context) stack.depth--;
    return context_end(context);
}

API cuCtxDestroy_v2(CUcontext handle) {
    ENTER(INIT);
    LEAVE(destroy(context_of(handle)));
}

API cuCtxDetach(CUcontext handle) {
    ENTER(INIT);
    LEAVE(destroy(context_of(handle)));
}

API cuCtxPushCurrent_v2(CUcontext handle) {
    ENTER(LOCAL);
    LEAVE(push(context_of(handle)));
}

API cuCtxPopCurrent_v2(CUcontext *handle) {
    ENTER(NOTHING);
    Context *context = current_context();
    REFUSE_UNLESS(context, CUDA_ERROR_INVALID_CONTEXT);
    if (handle) *handle = (CUcontext)context;
    stack.depth--;
    LEAVE(CUDA_SUCCESS);
}

API cuCtxSetCurrent(CUcontext handle) {
    ENTER(LOCAL);
    if (stack.depth) stack.depth--;
    LEAVE(handle ? push(context_of(handle)) : CUDA_SUCCESS);
}

API cuCtxGetCurrent(CUcontext *handle) {
    ENTER(LOCAL);
    *handle = (CUcontext)current_context();
    LEAVE(CUDA_SUCCESS);
}

API cuCtxGetDevice(CUdevice *device) {
    ENTER(INIT);
    REFUSE_UNLESS(current_context(), CUDA_ERROR_INVALID_CONTEXT);
    *device = 0;
    LEAVE(CUDA_SUCCESS);
}

API cuCtxSynchronize(void) {
    ENTER(CONTEXT);
    COUNT(device_syncs)++;
    CUresult forbidden = capture_forbids_context();
    REFUSE_UNLESS(!forbidden, forbidden);
    LEAVE(drain_all(current_context()));
}

API cuCtxGetApiVersion(CUcontext handle, unsigned *version) {
    ENTER(INIT);
    *version = handle && context_of(handle) ? context_of(handle)->api_version : 3020;
    LEAVE(CUDA_SUCCESS);
}

API cuCtxGetFlags(unsigned *flags) {
    ENTER(CONTEXT);
    *flags = current_context()->flags;
    LEAVE(CUDA_SUCCESS);
}

API cuCtxGetLimit(size_t *value, CUlimit limit) {
    ENTER(CONTEXT);
    *value = limit == CU_LIMIT_STACK_SIZE ? 1024 : limit == CU_LIMIT_PRINTF_FIFO_SIZE ? 1 << 20 : 8 << 20;
    LEAVE(CUDA_SUCCESS);
}

API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    ENTER(CONTEXT);
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    LEAVE(CUDA_SUCCESS);
}
