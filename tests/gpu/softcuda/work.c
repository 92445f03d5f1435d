/* What a piece of device work does when its turn comes; runs without the lock. */
#include "internal.h"
#include <setjmp.h>
#include <signal.h>

static __thread sigjmp_buf *escape;
static __thread uintptr_t fault_address;
static struct sigaction before;

static void on_fault(int number, siginfo_t *info, void *machine) {
    if (escape) {
        fault_address = (uintptr_t)info->si_addr;
        sigjmp_buf *to = escape;
        escape = NULL;
        siglongjmp(*to, number);
    }
    if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(number, info, machine);
    else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
        sigaction(number, &before, NULL);
        raise(number);
    } else before.sa_handler(number);
}

static void report_fault(const Work *work) {
    const Memory *nearest = NULL;
    pthread_mutex_lock(&g.lock);
    for (const Memory *m = g.memory; m; m = m->next)
        if (m->address <= fault_address && (!nearest || m->address > nearest->address)) nearest = m;
    if (memory_in_arena(fault_address) && nearest)
        violation("%s touched %#lx, %zu bytes behind the start of the %zu bytes allocated at %#lx", work->name, (unsigned long)fault_address,
                  (size_t)(fault_address - nearest->address), nearest->bytes, (unsigned long)nearest->address);
    else violation("%s touched %#lx, which is no device memory", work->name, (unsigned long)fault_address);
    pthread_mutex_unlock(&g.lock);
}

static void fill(const Work *w) {
    if (w->width == 1) memset((void *)w->target, (int)w->value, w->bytes);
    else if (w->width == 2)
        for (size_t i = 0; i < w->bytes; i++) ((uint16_t *)w->target)[i] = (uint16_t)w->value;
    else
        for (size_t i = 0; i < w->bytes; i++) ((uint32_t *)w->target)[i] = w->value;
}

static int touch(const Work *work) {
    if (work->kind == WORK_COPY) memmove((void *)work->target, (void *)work->source, work->bytes);
    else if (work->kind == WORK_FILL) fill(work);
    else return function_run(work->function, work);
    return 0;
}

static int guarded(const Work *work) { /* a bad address ends the work, not the process: CUDA_ERROR_ILLEGAL_ADDRESS, as on a GPU */
    sigjmp_buf here;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigaction(SIGSEGV, &action, &before);
    int result;
    if (sigsetjmp(here, 1)) {
        report_fault(work);
        result = CUDA_ERROR_ILLEGAL_ADDRESS;
    } else {
        escape = &here;
        result = touch(work);
    }
    escape = NULL;
    sigaction(SIGSEGV, &before, NULL);
    return result;
}

static bool lives(uintptr_t address, size_t bytes) { return !memory_in_arena(address) || memory_at(address, bytes); }

/* Every word of a kernel's arguments that points into the arena must point into memory that is allocated. */
static const char *stale(const Work *work, size_t *where) {
    size_t bytes = work->kind == WORK_FILL ? work->bytes * work->width : work->bytes;
    if (work->kind == WORK_COPY || work->kind == WORK_FILL)
        return lives(work->target, bytes) && (work->kind == WORK_FILL || lives(work->source, bytes)) ? NULL : "an address";
    for (size_t at = 0; work->kind == WORK_KERNEL && at + 8 <= work->params_bytes; at += 8) {
        uintptr_t word;
        memcpy(&word, (const char *)work->params + at, sizeof word);
        *where = at;
        if (!lives(word, 0)) return "a kernel argument";
    }
    return NULL;
}

int work_run(const Work *work) {
    size_t where = 0;
    pthread_mutex_lock(&g.lock);
    const char *bad = stale(work, &where);
    if (bad) violation("%s: %s (offset %zu) points to no memory that is allocated now", work->name, bad, where);
    if (work->kind == WORK_KERNEL || work->kind == WORK_SOFT) COUNT(executed)++;
    pthread_mutex_unlock(&g.lock);
    if (bad) return CUDA_ERROR_ILLEGAL_ADDRESS;
    switch (work->kind) {
    case WORK_COPY: case WORK_FILL: case WORK_KERNEL: return guarded(work);
    case WORK_HOST: case WORK_SOFT:
        device_failure = 0;
        work->call(work->data);
        return device_failure;
    case WORK_GRAPH: return graph_run(work->exec);
    default: return 0;
    }
}

static bool overlaps(uintptr_t from, size_t bytes, const Memory *m) { return from < m->address + m->bytes && m->address < from + bytes; }

bool work_uses(const Work *work, const Memory *memory) {
    if (work->kind == WORK_COPY) return overlaps(work->target, work->bytes, memory) || overlaps(work->source, work->bytes, memory);
    if (work->kind == WORK_FILL) return overlaps(work->target, work->bytes * work->width, memory);
    if (work->kind == WORK_GRAPH) {
        for (int i = 0; i < work->exec->graph->count; i++)
            if (work_uses(&work->exec->graph->nodes[i].work, memory)) return true;
        return false;
    }
    for (size_t at = 0; work->kind == WORK_KERNEL && at + 8 <= work->params_bytes; at += 8) {
        uintptr_t word;
        memcpy(&word, (const char *)work->params + at, sizeof word);
        if (overlaps(word, 1, memory)) return true;
    }
    return false;
}

void work_free(Work *work) {
    free(work->params);
    work->params = NULL;
}
