/* Device memory: pages of this process, closed while no device work runs, poisoned, between guard pages and canaries. */
#include "internal.h"
#include <sys/mman.h>

#define PAGE 65536UL /* a multiple of every page size in use, 4 to 64 KiB */
#define ALIGNMENT 256UL
#define CANARY 0xE7
#define ROUND(value, unit) (((value) + (unit) - 1) / (unit) * (unit))

static uintptr_t arena, arena_end, arena_next;

static bool arena_ready(void) {
    if (arena) return true;
    for (int bits = 40; bits >= 34 && !arena; bits -= 2) { /* address space only: pages come when they are opened */
        void *got = mmap(NULL, 1UL << bits, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED) continue;
        arena = arena_next = ROUND((uintptr_t)got, PAGE);
        arena_end = (uintptr_t)got + (1UL << bits) - PAGE;
    }
    return arena;
}

bool memory_in_arena(uintptr_t address) { return arena && address >= arena && address < arena_end; }

Memory *memory_at(uintptr_t address, size_t bytes) {
    for (Memory *m = g.memory; m; m = m->next)
        if (!m->dead && address >= m->address && address <= m->address + m->bytes && bytes <= m->address + m->bytes - address) return m;
    return NULL;
}

static Memory *memory_from(uintptr_t address, MemoryKind kind) {
    for (Memory *m = g.memory; m; m = m->next)
        if (!m->dead && m->kind == kind && m->address == address) return m;
    return NULL;
}

static void protect(const Memory *m, int how) {
    if (m->kind == MEMORY_DEVICE) mprotect((void *)m->map, m->map_bytes, how);
}

void memory_open(void) {
    if (g.open) return;
    g.open = true;
    for (Memory *m = g.memory; m; m = m->next) protect(m, PROT_READ | PROT_WRITE);
}

void memory_close(void) {
    if (!g.open) return;
    g.open = false;
    for (Memory *m = g.memory; m; m = m->next) protect(m, PROT_NONE);
}

/* The caller's bytes end at a guard page, but for what 256-byte alignment leaves, which holds canaries, as do the 256 bytes in front. */
static CUresult allocate(Memory **result, size_t bytes, MemoryKind kind, unsigned flags) {
    if (!bytes) return CUDA_ERROR_INVALID_VALUE;
    if (kind == MEMORY_DEVICE && (bytes > g.memory_limit || g.memory_used > g.memory_limit - bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    size_t inner = ROUND(bytes, ALIGNMENT), pages = ROUND(inner + ALIGNMENT, PAGE);
    if (!arena_ready() || pages + PAGE > arena_end - arena_next) return CUDA_ERROR_OUT_OF_MEMORY;
    uintptr_t map = arena_next;
    if (mprotect((void *)map, pages, PROT_READ | PROT_WRITE)) return CUDA_ERROR_OUT_OF_MEMORY;
    arena_next += pages + PAGE; /* addresses are not used twice: what points into freed memory is found */
    Memory *m = calloc(1, sizeof *m);
    *m = (Memory){g.memory, kind, current_context(), map + pages - inner, map, bytes, pages, flags, false};
    memset((void *)(m->address - ALIGNMENT), CANARY, ALIGNMENT);
    memset((void *)m->address, POISON, bytes);
    memset((void *)(m->address + bytes), CANARY, inner - bytes);
    g.memory = m;
    if (kind == MEMORY_DEVICE) g.memory_used += bytes;
    if (!g.open) protect(m, PROT_NONE);
    *result = m;
    return CUDA_SUCCESS;
}

static bool intact(const unsigned char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (from[i] != CANARY) return false;
    return true;
}

static void check(Memory *m, const char *after) { /* memory is open */
    if (m->kind == MEMORY_REGISTERED) return;
    size_t tail = ROUND(m->bytes, ALIGNMENT) - m->bytes;
    bool front = intact((void *)(m->address - ALIGNMENT), ALIGNMENT), back = intact((void *)(m->address + m->bytes), tail);
    if (front && back) return;
    violation("%s wrote %s the %zu bytes allocated at %#lx", after, front ? "behind" : "in front of", m->bytes, (unsigned long)m->address);
    memset((void *)(m->address - ALIGNMENT), CANARY, ALIGNMENT);
    memset((void *)(m->address + m->bytes), CANARY, tail);
}

void memory_check_canaries(const char *after) {
    for (Memory *m = g.memory; m; m = m->next) check(m, after);
}

static void unmap(Memory *m) {
    if (m->kind == MEMORY_REGISTERED) return;
    mprotect((void *)m->map, m->map_bytes, PROT_READ | PROT_WRITE);
    check(m, "earlier work");
    mmap((void *)m->map, m->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void memory_reap(void) {
    for (Memory **place = &g.memory; *place;) {
        Memory *m = *place;
        if (!m->dead) {
            place = &m->next;
            continue;
        }
        *place = m->next;
        unmap(m);
        free(m);
    }
}

void memory_reset(void) {
    for (Memory *m = g.memory; m; m = m->next) m->dead = true;
    memory_reap();
    arena_next = arena;
    g.memory_used = 0;
}

static void forget(Memory *m) {
    m->dead = true;
    if (m->kind == MEMORY_DEVICE) {
        g.memory_used -= m->bytes;
        COUNT(live_allocations)--;
    } else if (m->kind == MEMORY_HOST) {
        COUNT(live_host_allocations)--;
    }
    if (!g.busy) memory_reap();
}

void memory_drop_context(Context *context) {
    unsigned left = 0;
    size_t bytes = 0;
    for (Memory *m = g.memory, *next; m; m = next) {
        next = m->next;
        if (m->dead || m->context != context) continue;
        left++;
        bytes += m->bytes;
        forget(m);
    }
    if (left) violation("the context ended with %u allocations left, %zu bytes", left, bytes);
}

/* A free waits for the device, as CUDA's does; a program that frees what queued work uses has an error all the same. */
static CUresult release(Memory *m, const char *name) {
    if (!m) return CUDA_ERROR_INVALID_VALUE;
    if (queued_work_uses(m)) violation("%s of %#lx, which queued work still uses", name, (unsigned long)m->address);
    CUresult result = CUDA_SUCCESS;
    COUNT(device_syncs)++;
    if (g.hang) violation("%s would wait for ever: the device hangs", name);
    else if (!g.busy) result = drain_all(current_context());
    forget(m);
    return result;
}

API cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    ENTER(CONTEXT | UNSAFE);
    Memory *m;
    CUresult result = allocate(&m, bytes, MEMORY_DEVICE, 0);
    REFUSE_UNLESS(!result, result);
    COUNT(allocations)++;
    COUNT(live_allocations)++;
    COUNT(allocated_bytes) += bytes;
    *address = m->address;
    LEAVE(CUDA_SUCCESS);
}

API cuMemFree_v2(CUdeviceptr address) {
    ENTER(CONTEXT | UNSAFE);
    REFUSE_UNLESS(address, CUDA_SUCCESS);
    CUresult result = release(memory_from(address, MEMORY_DEVICE), __func__);
    if (result != CUDA_ERROR_INVALID_VALUE) COUNT(frees)++;
    LEAVE(result);
}

API cuMemGetInfo_v2(size_t *available, size_t *total) {
    ENTER(CONTEXT);
    *total = g.preset->memory;
    *available = g.memory_limit - g.memory_used;
    LEAVE(CUDA_SUCCESS);
}

API cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr address) {
    ENTER(CONTEXT);
    const Memory *m = memory_at(address, 1);
    REFUSE_UNLESS(m, CUDA_ERROR_NOT_FOUND);
    if (base) *base = m->address;
    if (bytes) *bytes = m->bytes;
    LEAVE(CUDA_SUCCESS);
}

static CUresult host_allocate(void **address, size_t bytes, unsigned flags) {
    if (flags & ~7u) return CUDA_ERROR_INVALID_VALUE;
    Memory *m;
    CUresult result = allocate(&m, bytes, MEMORY_HOST, flags);
    if (result) return result;
    COUNT(host_allocations)++;
    COUNT(live_host_allocations)++;
    *address = (void *)m->address;
    return CUDA_SUCCESS;
}

API cuMemHostAlloc(void **address, size_t bytes, unsigned flags) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(host_allocate(address, bytes, flags));
}

API cuMemAllocHost_v2(void **address, size_t bytes) {
    ENTER(CONTEXT | UNSAFE);
    LEAVE(host_allocate(address, bytes, 0));
}

API cuMemFreeHost(void *address) {
    ENTER(CONTEXT | UNSAFE);
    CUresult result = release(memory_from((uintptr_t)address, MEMORY_HOST), __func__);
    if (result != CUDA_ERROR_INVALID_VALUE) COUNT(host_frees)++;
    LEAVE(result);
}

API cuMemHostRegister_v2(void *address, size_t bytes, unsigned flags) {
    ENTER(CONTEXT | UNSAFE);
    REFUSE_UNLESS(address && bytes, CUDA_ERROR_INVALID_VALUE);
    for (const Memory *m = g.memory; m; m = m->next)
        REFUSE_UNLESS(m->dead || (uintptr_t)address + bytes <= m->address || (uintptr_t)address >= m->address + m->bytes,
                      CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    Memory *m = calloc(1, sizeof *m);
    *m = (Memory){g.memory, MEMORY_REGISTERED, current_context(), (uintptr_t)address, 0, bytes, 0, flags, false};
    g.memory = m;
    LEAVE(CUDA_SUCCESS);
}

API cuMemHostUnregister(void *address) {
    ENTER(CONTEXT | UNSAFE);
    CUresult result = release(memory_from((uintptr_t)address, MEMORY_REGISTERED), __func__);
    LEAVE(result == CUDA_ERROR_INVALID_VALUE ? CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED : result);
}

API cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *host, unsigned flags) {
    ENTER(CONTEXT);
    const Memory *m = memory_at((uintptr_t)host, 1);
    REFUSE_UNLESS(m && m->kind != MEMORY_DEVICE && !flags, CUDA_ERROR_INVALID_VALUE);
    *device = (uintptr_t)host;
    LEAVE(CUDA_SUCCESS);
}

API cuMemHostGetFlags(unsigned *flags, void *host) {
    ENTER(CONTEXT);
    const Memory *m = memory_at((uintptr_t)host, 1);
    REFUSE_UNLESS(m && m->kind == MEMORY_HOST, CUDA_ERROR_INVALID_VALUE);
    *flags = m->flags;
    LEAVE(CUDA_SUCCESS);
}

API cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
    ENTER(CONTEXT);
    const Memory *m = memory_at(address, 1);
    REFUSE_UNLESS(m, CUDA_ERROR_INVALID_VALUE);
    switch ((int)attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)data = (CUcontext)m->context; break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *(unsigned *)data = m->kind == MEMORY_DEVICE ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)data = address; break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        REFUSE_UNLESS(m->kind != MEMORY_DEVICE, CUDA_ERROR_INVALID_VALUE);
        *(void **)data = (void *)address;
        break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *(unsigned *)data = 0; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)data = 0; break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *(CUdeviceptr *)data = m->address; break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *(size_t *)data = m->bytes; break;
    case CU_POINTER_ATTRIBUTE_MAPPED: *(unsigned *)data = 1; break;
    default: LEAVE(CUDA_ERROR_NOT_SUPPORTED);
    }
    LEAVE(CUDA_SUCCESS);
}

int soft_range(uint64_t address, uint64_t size) {
    pthread_mutex_lock(&g.lock);
    int result = memory_at(address, size) != NULL;
    pthread_mutex_unlock(&g.lock);
    return result;
}
