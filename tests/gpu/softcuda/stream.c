/* Streams queue work; it runs late, on the thread that waits or asks, in an order that the seed draws among those CUDA allows. */
#include "internal.h"

#define STREAM_MAGIC 0x53545245u
#define POLICIES 3

typedef enum { ONLY_WHAT_IS_NEEDED, ANY_ORDER, OTHERS_FIRST } Policy;

Stream *stream_new(Context *context, unsigned flags, int priority) {
    Stream *s = calloc(1, sizeof *s); /* never given back: a stale handle is then recognised */
    *s = (Stream){.magic = STREAM_MAGIC, .generation = g.generation, .next = g.streams, .context = context, .flags = flags,
                  .id = ++g.next_id, .priority = priority, .alive = true};
    g.streams = s;
    return s;
}

Stream *stream_of(CUstream handle) { /* NULL when the handle is none of the current context's */
    if (!handle || handle == LEGACY_HANDLE) return current_context()->legacy;
    if (handle == (CUstream)0x2) return NULL; /* the per-thread default stream: nobody here uses it */
    Stream *s = (Stream *)handle;
    return s->magic == STREAM_MAGIC && s->generation == g.generation && s->alive && s->context == current_context() ? s : NULL;
}

bool pending(const Stream *stream) { return stream->completed < stream->enqueued; }

static void op_free(Op *op) {
    work_free(&op->work);
    free(op->needs);
    free(op);
}

static void discard(Stream *s) {
    for (Op *op = s->head, *next; op; op = next) {
        next = op->next;
        op_free(op);
    }
    s->head = s->tail = NULL;
    s->completed = s->enqueued;
    s->capture = NULL;
}

void streams_drop_context(Context *context) {
    for (Stream *s = g.streams; s; s = s->next)
        if (s->context == context) {
            if (s->alive && !s->legacy) COUNT(live_streams)--;
            discard(s);
            s->alive = false;
        }
}

void streams_reset(void) {
    for (Stream *s = g.streams; s; s = s->next) discard(s);
    g.streams = NULL;
}

/* Queueing. */

static void need(Op *op, Stream *stream, uint64_t count) {
    if (stream->completed >= count) return;
    op->needs = realloc(op->needs, (size_t)(op->need_count + 1) * sizeof *op->needs);
    op->needs[op->need_count++] = (Need){stream, count};
}

CUresult enqueue(Stream *stream, Work work, const Need *extra, int extra_count) {
    Op *op = calloc(1, sizeof *op);
    op->work = work;
    for (int i = 0; i < extra_count; i++) need(op, extra[i].stream, extra[i].count);
    for (Stream *s = g.streams; s; s = s->next) { /* the legacy stream and the blocking ones wait for each other */
        if (s == stream || s->context != stream->context || !((stream->legacy && !(s->flags & 1)) || (s->legacy && !(stream->flags & 1)))) continue;
        need(op, s, s->enqueued);
    }
    if (stream->tail) stream->tail->next = op;
    else stream->head = op;
    stream->tail = op;
    stream->enqueued++;
    return CUDA_SUCCESS;
}

static bool others_pending(const Stream *stream) {
    for (const Stream *s = g.streams; s; s = s->next)
        if (s != stream && s->context == stream->context && pending(s)) return true;
    return false;
}

CUresult submit(CUstream handle, Work work) {
    Stream *stream = stream_of(handle);
    CUresult result = stream ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    if (stream && stream->legacy) {
        COUNT(default_stream_uses)++;
        result = capture_forbids_legacy();
        if (!result && others_pending(stream)) violation("%s on the default stream while other streams have work", work.name);
    }
    if (result) {
        work_free(&work);
        return result;
    }
    return stream->capture ? capture_add(stream, work) : enqueue(stream, work, NULL, 0);
}

bool queued_work_uses(const Memory *memory) {
    for (const Stream *s = g.streams; s; s = s->next)
        for (const Op *op = s->head; op; op = op->next)
            if (work_uses(&op->work, memory)) return true;
    return false;
}

/* Running. */

static const Need *unmet(const Op *op) {
    for (int i = 0; i < op->need_count; i++)
        if (op->needs[i].stream->completed < op->needs[i].count) return &op->needs[i];
    return NULL;
}

static Stream *needed_next(Stream *target) { /* the stream whose head must run first for the target's head to run */
    for (const Need *n; (n = unmet(target->head));) target = n->stream;
    return target;
}

static Stream *choose(Stream *target, Policy policy) {
    if (policy == ONLY_WHAT_IS_NEEDED) return needed_next(target);
    Stream *chosen = NULL;
    uint64_t seen = 0;
    for (Stream *s = g.streams; s; s = s->next) {
        if (!s->head || unmet(s->head) || (policy == OTHERS_FIRST && s == target)) continue;
        if (!random_below(++seen)) chosen = s;
    }
    return chosen ? chosen : needed_next(target);
}

static Policy draw(void) { return g.seed ? (Policy)random_below(POLICIES) : ONLY_WHAT_IS_NEEDED; }

static void run_head(Stream *stream) {
    Op *op = stream->head;
    uint32_t generation = g.generation;
    g.busy = true;
    memory_open();
    pthread_mutex_unlock(&g.lock);
    in_device_work = true;
    int result = work_run(&op->work);
    in_device_work = false;
    pthread_mutex_lock(&g.lock);
    if (generation != g.generation) return;
    g.busy = false;
    if (result && !g.sticky) g.sticky = result;
    memory_check_canaries(op->work.name);
    stream->head = op->next;
    if (!stream->head) stream->tail = NULL;
    stream->completed++;
    if (op->work.kind == WORK_RECORD) {
        Event *e = op->work.event;
        if (e->stream == stream && e->count == stream->completed) e->milliseconds = now_ms();
    }
    op_free(op);
    faults_after_work();
    memory_reap();
    pthread_cond_broadcast(&g.changed);
}

static CUresult broken(void) { return g.vanished ? CUDA_ERROR_UNKNOWN : (CUresult)g.sticky; }

CUresult drain(Stream *stream, uint64_t count) { /* the lock is held on entry and on return, not while work runs */
    uint32_t generation = g.generation;
    Policy policy = draw();
    bool opened = !g.open;
    while (g.generation == generation && stream->completed < count && !broken()) {
        if (g.hang || g.busy) {
            pthread_cond_wait(&g.changed, &g.lock);
            opened = !g.open || opened;
            continue;
        }
        run_head(choose(stream, policy));
    }
    if (g.generation != generation) return CUDA_ERROR_DEINITIALIZED;
    if (opened && !g.busy) memory_close();
    return broken();
}

CUresult drain_all(Context *context) {
    if (g.hang) {
        violation("waiting for the whole device would last for ever: it hangs");
        return CUDA_SUCCESS;
    }
    CUresult result = broken();
    uint32_t generation = g.generation;
    for (Stream *s = g.streams; s && !result && g.generation == generation; s = s->next)
        if (s->context == context) result = drain(s, s->enqueued);
    return result;
}

static CUresult ask(Stream *stream, uint64_t count) { /* a query runs at most one piece of work, so that polling is what makes progress */
    COUNT(queries)++;
    if (stream->completed < count && !g.hang && !g.busy) {
        run_head(choose(stream, draw()));
        if (!g.busy) memory_close();
    }
    CUresult result = broken();
    return result ? result : stream->completed >= count ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

/* The calls. */

static CUresult create(CUstream *handle, unsigned flags, int priority) {
    if (flags & ~1u) return CUDA_ERROR_INVALID_VALUE;
    *handle = (CUstream)stream_new(current_context(), flags, priority);
    COUNT(streams)++;
    COUNT(live_streams)++;
    return CUDA_SUCCESS;
}

API cuStreamCreate(CUstream *handle, unsigned flags) {
    ENTER(CONTEXT);
    LEAVE(create(handle, flags, 0));
}

API cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int priority) {
    ENTER(CONTEXT);
    LEAVE(create(handle, flags, priority));
}

API cuStreamDestroy_v2(CUstream handle) { /* work that is queued still runs */
    ENTER(CONTEXT);
    Stream *stream = stream_of(handle);
    REFUSE_UNLESS(stream && !stream->legacy, CUDA_ERROR_INVALID_HANDLE);
    if (stream->capture) capture_break(stream->capture);
    stream->alive = false;
    COUNT(live_streams)--;
    LEAVE(CUDA_SUCCESS);
}

static CUresult waitable(Stream *stream) { /* a stream that is being captured has nothing to wait for */
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->legacy) {
        COUNT(default_stream_uses)++;
        return capture_forbids_legacy();
    }
    if (!stream->capture) return CUDA_SUCCESS;
    capture_break(stream->capture);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

API cuStreamSynchronize(CUstream handle) {
    ENTER(CONTEXT | UNSAFE);
    COUNT(stream_syncs)++;
    Stream *stream = stream_of(handle);
    CUresult result = waitable(stream);
    REFUSE_UNLESS(!result, result);
    LEAVE(drain(stream, stream->enqueued));
}

API cuStreamQuery(CUstream handle) {
    ENTER(CONTEXT | UNSAFE);
    Stream *stream = stream_of(handle);
    CUresult result = waitable(stream);
    REFUSE_UNLESS(!result, result);
    LEAVE(ask(stream, stream->enqueued));
}

API cuStreamGetFlags(CUstream handle, unsigned *flags) {
    ENTER(CONTEXT);
    const Stream *stream = stream_of(handle);
    REFUSE_UNLESS(stream, CUDA_ERROR_INVALID_HANDLE);
    *flags = stream->flags;
    LEAVE(CUDA_SUCCESS);
}

API cuStreamGetPriority(CUstream handle, int *priority) {
    ENTER(CONTEXT);
    const Stream *stream = stream_of(handle);
    REFUSE_UNLESS(stream, CUDA_ERROR_INVALID_HANDLE);
    *priority = stream->priority;
    LEAVE(CUDA_SUCCESS);
}

API cuStreamGetCtx(CUstream handle, CUcontext *context) {
    ENTER(CONTEXT);
    const Stream *stream = stream_of(handle);
    REFUSE_UNLESS(stream, CUDA_ERROR_INVALID_HANDLE);
    *context = (CUcontext)stream->context;
    LEAVE(CUDA_SUCCESS);
}

API cuLaunchHostFunc(CUstream handle, CUhostFn call, void *data) {
    ENTER(CONTEXT);
    COUNT(host_functions)++;
    LEAVE(submit(handle, (Work){.kind = WORK_HOST, .name = __func__, .call = call, .data = data}));
}

int soft_launch(CUstream handle, void (*call)(void *), void *data) {
    ENTER(CONTEXT);
    COUNT(soft_launches)++;
    LEAVE(submit(handle, (Work){.kind = WORK_SOFT, .name = __func__, .call = call, .data = data}));
}

/* Events. */

#define EVENT_MAGIC 0x4556454eu

Event *event_of(CUevent handle) {
    Event *e = (Event *)handle;
    return e && e->magic == EVENT_MAGIC && e->generation == g.generation && e->alive ? e : NULL;
}

API cuEventCreate(CUevent *handle, unsigned flags) {
    ENTER(CONTEXT);
    REFUSE_UNLESS(!(flags & ~7u), CUDA_ERROR_INVALID_VALUE);
    Event *e = calloc(1, sizeof *e);
    *e = (Event){.magic = EVENT_MAGIC, .generation = g.generation, .context = current_context(), .flags = flags, .alive = true};
    e->timed = !(flags & CU_EVENT_DISABLE_TIMING);
    COUNT(events)++;
    COUNT(live_events)++;
    *handle = (CUevent)e;
    LEAVE(CUDA_SUCCESS);
}

API cuEventDestroy_v2(CUevent handle) {
    ENTER(CONTEXT);
    Event *event = event_of(handle);
    REFUSE_UNLESS(event, CUDA_ERROR_INVALID_HANDLE);
    event->alive = false;
    COUNT(live_events)--;
    LEAVE(CUDA_SUCCESS);
}

static CUresult record(CUevent handle, CUstream stream_handle) {
    Event *event = event_of(handle);
    Stream *stream = stream_of(stream_handle);
    if (!event || !stream || event->context != stream->context) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) return capture_record(stream, event);
    CUresult result = submit(stream_handle, (Work){.kind = WORK_RECORD, .name = "cuEventRecord", .event = event});
    if (result) return result;
    event->capture = NULL;
    event->recorded = true;
    event->stream = stream;
    event->count = stream->enqueued;
    return CUDA_SUCCESS;
}

API cuEventRecord(CUevent event, CUstream stream) {
    ENTER(CONTEXT);
    LEAVE(record(event, stream));
}

API cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
    ENTER(CONTEXT);
    REFUSE_UNLESS(!flags, CUDA_ERROR_NOT_SUPPORTED);
    LEAVE(record(event, stream));
}

static CUresult askable(Event *event) {
    if (!event) return CUDA_ERROR_INVALID_HANDLE;
    if (!event->capture) return CUDA_SUCCESS;
    if (event->capture->active) capture_break(event->capture);
    return CUDA_ERROR_CAPTURED_EVENT;
}

API cuEventQuery(CUevent handle) {
    ENTER(CONTEXT | UNSAFE);
    Event *event = event_of(handle);
    CUresult result = askable(event);
    REFUSE_UNLESS(!result && event->recorded, result);
    LEAVE(ask(event->stream, event->count));
}

API cuEventSynchronize(CUevent handle) {
    ENTER(CONTEXT | UNSAFE);
    COUNT(event_syncs)++;
    Event *event = event_of(handle);
    CUresult result = askable(event);
    REFUSE_UNLESS(!result && event->recorded, result);
    LEAVE(drain(event->stream, event->count));
}

static CUresult elapsed(float *milliseconds, CUevent first, CUevent last) {
    Event *a = event_of(first), *b = event_of(last);
    CUresult result = askable(a) ? askable(a) : askable(b);
    if (result) return result;
    if (!a->timed || !b->timed || !a->recorded || !b->recorded) return CUDA_ERROR_INVALID_HANDLE;
    if (a->stream->completed < a->count || b->stream->completed < b->count) return CUDA_ERROR_NOT_READY;
    *milliseconds = (float)(b->milliseconds - a->milliseconds);
    return CUDA_SUCCESS;
}

#undef cuEventElapsedTime
API cuEventElapsedTime(float *milliseconds, CUevent first, CUevent last) {
    ENTER(CONTEXT);
    LEAVE(elapsed(milliseconds, first, last));
}

API cuEventElapsedTime_v2(float *milliseconds, CUevent first, CUevent last) {
    ENTER(CONTEXT);
    LEAVE(elapsed(milliseconds, first, last));
}

API cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned flags) {
    ENTER(CONTEXT);
    Event *event = event_of(event_handle);
    Stream *stream = stream_of(handle);
    REFUSE_UNLESS(event && stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_UNLESS(!flags, CUDA_ERROR_NOT_SUPPORTED);
    if (stream->capture || event->capture) LEAVE(capture_wait(stream, event));
    REFUSE_UNLESS(event->recorded, CUDA_SUCCESS);
    if (stream->legacy) COUNT(default_stream_uses)++;
    Need until = {event->stream, event->count};
    LEAVE(enqueue(stream, (Work){.kind = WORK_WAIT, .name = __func__}, &until, 1));
}
