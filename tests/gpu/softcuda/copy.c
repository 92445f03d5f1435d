/* Copies and fills: checked when they are queued, and once more when they run. */
#include "internal.h"

static bool device_range(uintptr_t address, size_t bytes, const char *name) {
    if (memory_at(address, bytes)) return true;
    const Memory *m = memory_at(address, 0);
    if (m) violation("%s: %zu bytes at %#lx run out of the %zu bytes allocated at %#lx", name, bytes, (unsigned long)address, m->bytes,
                     (unsigned long)m->address);
    else violation("%s: %#lx is no device address%s", name, (unsigned long)address, memory_in_arena(address) ? " any more" : "");
    return false;
}

static bool host_range(uintptr_t address, size_t bytes, const char *name, bool wants_pinned) {
    const Memory *m = memory_at(address, bytes);
    if (m && m->kind == MEMORY_DEVICE) {
        violation("%s: the host side %#lx is a device address", name, (unsigned long)address);
        return false;
    }
    if (m) return true;
    if (memory_in_arena(address)) return device_range(address, bytes, name); /* pinned memory, overrun or freed */
    if (wants_pinned) violation("%s: the host memory at %#lx is not pinned", name, (unsigned long)address);
    return true;
}

typedef enum { HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE } Direction;

static CUresult copy(const char *name, Direction direction, uintptr_t target, uintptr_t source, size_t bytes, CUstream stream, bool wait) {
    if (!bytes) return CUDA_SUCCESS;
    bool good = direction == DEVICE_TO_HOST ? host_range(target, bytes, name, !wait) : device_range(target, bytes, name);
    good = (direction == HOST_TO_DEVICE ? host_range(source, bytes, name, !wait) : device_range(source, bytes, name)) && good;
    if (!good) return CUDA_ERROR_INVALID_VALUE;
    COUNT(copies)++;
    COUNT(copied_bytes) += bytes;
    CUresult result = submit(stream, (Work){.kind = WORK_COPY, .name = name, .target = target, .source = source, .bytes = bytes});
    if (result || !wait) return result;
    COUNT(synchronous_copies)++;
    Stream *legacy = stream_of(stream);
    return drain(legacy, legacy->enqueued);
}

API cuMemcpyHtoD_v2(CUdeviceptr target, const void *source, size_t bytes) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(copy(__func__, HOST_TO_DEVICE, target, (uintptr_t)source, bytes, NULL, true));
}

API cuMemcpyDtoH_v2(void *target, CUdeviceptr source, size_t bytes) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(copy(__func__, DEVICE_TO_HOST, (uintptr_t)target, source, bytes, NULL, true));
}

API cuMemcpyDtoD_v2(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(copy(__func__, DEVICE_TO_DEVICE, target, source, bytes, NULL, false)); /* asynchronous to the host, as in CUDA */
}

API cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t bytes, CUstream stream) {
    ENTER(CONTEXT);
    LEAVE(copy(__func__, HOST_TO_DEVICE, target, (uintptr_t)source, bytes, stream, false));
}

API cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t bytes, CUstream stream) {
    ENTER(CONTEXT);
    LEAVE(copy(__func__, DEVICE_TO_HOST, (uintptr_t)target, source, bytes, stream, false));
}

API cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream stream) {
    ENTER(CONTEXT);
    LEAVE(copy(__func__, DEVICE_TO_DEVICE, target, source, bytes, stream, false));
}

static CUresult generic(const char *name, CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream stream, bool wait) {
    const Memory *to = memory_at(target, 0), *from = memory_at(source, 0);
    Direction direction = from && from->kind == MEMORY_DEVICE ? to && to->kind == MEMORY_DEVICE ? DEVICE_TO_DEVICE : DEVICE_TO_HOST : HOST_TO_DEVICE;
    return copy(name, direction, target, source, bytes, stream, wait && direction != DEVICE_TO_DEVICE);
}

API cuMemcpy(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(generic(__func__, target, source, bytes, NULL, true));
}

API cuMemcpyAsync(CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream stream) {
    ENTER(CONTEXT);
    LEAVE(generic(__func__, target, source, bytes, stream, false));
}

static CUresult fill(const char *name, CUdeviceptr target, unsigned value, unsigned width, size_t count, CUstream stream) {
    if (!count) return CUDA_SUCCESS;
    if (target % width || !device_range(target, count * width, name)) return CUDA_ERROR_INVALID_VALUE;
    COUNT(memsets)++;
    return submit(stream, (Work){.kind = WORK_FILL, .name = name, .target = target, .bytes = count, .value = value, .width = width});
}

API cuMemsetD8_v2(CUdeviceptr target, unsigned char value, size_t count) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(fill(__func__, target, value, 1, count, NULL));
}

API cuMemsetD16_v2(CUdeviceptr target, unsigned short value, size_t count) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(fill(__func__, target, value, 2, count, NULL));
}

API cuMemsetD32_v2(CUdeviceptr target, unsigned value, size_t count) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(fill(__func__, target, value, 4, count, NULL));
}

API cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t count, CUstream stream) {
    ENTER(CONTEXT);
    LEAVE(fill(__func__, target, value, 1, count, stream));
}

API cuMemsetD16Async(CUdeviceptr target, unsigned short value, size_t count, CUstream stream) {
    ENTER(CONTEXT);
    LEAVE(fill(__func__, target, value, 2, count, stream));
}

API cuMemsetD32Async(CUdeviceptr target, unsigned value, size_t count, CUstream stream) {
    ENTER(CONTEXT);
    LEAVE(fill(__func__, target, value, 4, count, stream));
}
