/* The driver's state and the parts that its files share; every function here expects the lock to be held unless it says otherwise. */
#ifndef CORDON_SOFTCUDA_INTERNAL_H
#define CORDON_SOFTCUDA_INTERNAL_H
#include "softcuda.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default"))) CUresult
#define POISON 0xCB
#define LEGACY_HANDLE ((CUstream)0x1)

enum { NOTHING = 0, INIT = 1, CONTEXT = 2, UNSAFE = 4, LOCAL = 8 };
/* What an entry needs: cuInit, a current context. UNSAFE: refused during capture. LOCAL: after cuInit it works without the device. */

/* One list names every counter that soft_counters() reports. */
#define COUNTERS(X)                                                                                                                        \
    X(calls) X(allocations) X(frees) X(allocated_bytes) X(live_allocations) X(host_allocations) X(host_frees) X(live_host_allocations)     \
    X(copies) X(copied_bytes) X(synchronous_copies) X(memsets) X(launches) X(soft_launches) X(host_functions) X(graph_launches)            \
    X(captures) X(executed) X(default_stream_uses) X(device_syncs) X(stream_syncs) X(event_syncs) X(queries) X(streams) X(live_streams)    \
    X(events) X(live_events) X(modules) X(live_modules) X(graphs) X(live_graphs) X(contexts) X(live_contexts)

typedef struct Context {
    uint32_t generation;
    bool alive, primary;
    unsigned flags, id, api_version;
    struct Stream *legacy;
} Context;

typedef enum { MEMORY_DEVICE, MEMORY_HOST, MEMORY_REGISTERED } MemoryKind;

typedef struct Memory {
    struct Memory *next;
    MemoryKind kind;
    Context *context;
    uintptr_t address, map;   /* what the caller has; the accessible pages */
    size_t bytes, map_bytes;
    unsigned flags;
    bool dead;                /* freed while work was running: unmapped as soon as the device is idle */
} Memory;

typedef enum { WORK_COPY, WORK_FILL, WORK_KERNEL, WORK_HOST, WORK_SOFT, WORK_RECORD, WORK_WAIT, WORK_GRAPH } WorkKind;

typedef struct Work {
    WorkKind kind;
    const char *name;         /* the call that queued it, or the kernel */
    uintptr_t target, source; /* COPY, FILL */
    size_t bytes;             /* COPY; FILL: elements */
    unsigned value, width;    /* FILL */
    struct Function *function;
    void *params;
    size_t params_bytes;
    unsigned grid[3], block[3], shared;
    void (*call)(void *);
    void *data;
    struct Event *event;
    struct Exec *exec;
} Work;

typedef struct Need {
    struct Stream *stream;
    uint64_t count;
} Need;

typedef struct Op {
    struct Op *next;
    Work work;
    Need *needs;
    int need_count;
} Op;

typedef struct Stream {
    uint32_t magic, generation;
    struct Stream *next;
    Context *context;
    unsigned flags, id;
    int priority;
    bool alive, legacy;
    Op *head, *tail;
    uint64_t enqueued, completed;
    struct Capture *capture;
    int *tips, tip_count;     /* while captured: the nodes that the next one follows */
} Stream;

typedef struct Event {
    uint32_t magic, generation;
    Context *context;
    unsigned flags;
    bool alive, recorded, timed;
    Stream *stream;
    uint64_t count;           /* reached when stream->completed >= count */
    double milliseconds;
    struct Capture *capture;  /* last recorded in this capture */
    int *tips, tip_count;
} Event;

typedef struct Node {
    Work work;
    int *needs, need_count;
} Node;

typedef struct Graph {
    uint32_t magic, generation;
    bool alive;
    Node *nodes;
    int count, capacity;
} Graph;

typedef struct Exec {
    uint32_t magic, generation;
    bool alive;
    Graph *graph;             /* a copy of its own */
    Context *context;
    Stream *last_stream;      /* launches of one executable graph never overlap */
    uint64_t last_count;
} Exec;

typedef struct Capture {
    struct Capture *next;
    Stream *origin;
    Graph *graph;
    CUstreamCaptureMode mode;
    pthread_t thread;
    unsigned long long id;
    bool active, broken;
} Capture;

typedef struct Preset {
    const char *key, *name;
    int major, minor, integrated, multiprocessors, driver, clock_khz, memory_khz, bus_bits, l2_bytes, shared_optin, threads_per_multiprocessor;
    size_t memory;
} Preset;

typedef struct Driver {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t generation;
    bool ready, hang, vanished, busy, open;
    int sticky, version;
    const Preset *preset;
    uint64_t seed, random, memory_limit, memory_used;
    Context *primary;
    unsigned primary_count, primary_flags, next_id;
    Memory *memory;
    Stream *streams;
    Capture *captures;
    void *kernels;
    uint64_t counter[64];
} Driver;

enum {
#define X(name) COUNT_##name,
    COUNTERS(X)
#undef X
    COUNTER_COUNT
};

extern Driver g;
#define COUNT(name) (g.counter[COUNT_##name])

/* driver.c: entry and leave take and give back the lock */
CUresult enter(const char *name, unsigned needs);
CUresult leave(CUresult result);
#define ENTER(needs)                                                                                                                       \
    do {                                                                                                                                   \
        CUresult entered_ = enter(__func__, needs);                                                                                        \
        if (entered_) return entered_;                                                                                                     \
    } while (0)
#define LEAVE(result) return leave(result)
#define REFUSE_UNLESS(condition, result)                                                                                                   \
    do {                                                                                                                                   \
        if (!(condition)) return leave(result);                                                                                            \
    } while (0)
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
void faults_after_work(void);
uint64_t random_below(uint64_t limit);
double now_ms(void);
const char *violation_text(void);
void violations_clear(void);
extern __thread bool in_device_work; /* this thread is running device work: CUDA calls are not permitted */
extern __thread int device_failure;  /* set by soft_fail */

/* context.c */
Context *current_context(void);
bool context_alive(const Context *context);
void contexts_reset(void);

/* memory.c */
Memory *memory_at(uintptr_t address, size_t bytes);
bool memory_in_arena(uintptr_t address);
void memory_open(void);
void memory_close(void);
void memory_reap(void);
void memory_check_canaries(const char *after);
void memory_drop_context(Context *context);
void memory_reset(void);

/* stream.c */
Stream *stream_of(CUstream handle);
Stream *stream_new(Context *context, unsigned flags, int priority);
Event *event_of(CUevent handle);
CUresult submit(CUstream handle, Work work);
CUresult enqueue(Stream *stream, Work work, const Need *extra, int extra_count);
CUresult drain(Stream *stream, uint64_t count);
CUresult drain_all(Context *context);
bool pending(const Stream *stream);
bool work_uses(const Work *work, const Memory *memory);
bool queued_work_uses(const Memory *memory);
void streams_drop_context(Context *context);
void streams_reset(void);

/* work.c */
int work_run(const Work *work); /* without the lock; returns 0 or the CUresult that becomes sticky */
void work_free(Work *work);

/* capture.c */
CUresult capture_add(Stream *stream, Work work);
CUresult capture_record(Stream *stream, Event *event);
CUresult capture_wait(Stream *stream, Event *event);
CUresult capture_forbids(void);         /* "potentially unsafe" calls of this thread */
CUresult capture_forbids_context(void); /* waiting for the whole context */
CUresult capture_forbids_legacy(void);  /* use of the legacy default stream */
void capture_break(Capture *capture);
int graph_run(const Exec *exec);        /* without the lock */
void captures_reset(void);

/* module.c */
void modules_reset(void);
int function_run(const struct Function *function, const Work *work); /* without the lock */
#endif
