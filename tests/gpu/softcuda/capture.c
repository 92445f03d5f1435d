/* Stream capture, with what CUDA forbids meanwhile, and graphs: the captured work, replayed in an order that its edges allow. */
#include "internal.h"

#define GRAPH_MAGIC 0x47524150u
#define EXEC_MAGIC 0x45584543u

static __thread CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

void captures_reset(void) { g.captures = NULL; } /* small and rare: not given back, as all handles */

void capture_break(Capture *capture) { capture->broken = true; }

CUresult capture_forbids(void) {
    CUresult result = CUDA_SUCCESS;
    for (Capture *c = g.captures; c; c = c->next) {
        bool own = pthread_equal(c->thread, pthread_self());
        if (!c->active || thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
        bool others = thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL && c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
        if (own ? c->mode == CU_STREAM_CAPTURE_MODE_RELAXED : !others) continue;
        capture_break(c);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return result;
}

CUresult capture_forbids_context(void) {
    CUresult result = CUDA_SUCCESS;
    for (Capture *c = g.captures; c; c = c->next) {
        if (!c->active || c->origin->context != current_context()) continue;
        capture_break(c);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return result;
}

CUresult capture_forbids_legacy(void) { /* it would wait for every blocking stream, and those under capture have nothing to wait for */
    CUresult result = CUDA_SUCCESS;
    for (Stream *s = g.streams; s; s = s->next) {
        if (!s->capture || (s->flags & CU_STREAM_NON_BLOCKING) || s->context != current_context()) continue;
        capture_break(s->capture);
        result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    return result;
}

static void tips_set(int **tips, int *count, const int *from, int from_count) {
    int *copy = malloc((size_t)(from_count + 1) * sizeof *copy);
    memcpy(copy, from, (size_t)from_count * sizeof *copy);
    free(*tips);
    *tips = copy;
    *count = from_count;
}

CUresult capture_add(Stream *stream, Work work) {
    Graph *graph = stream->capture->graph;
    if (stream->capture->broken) {
        work_free(&work);
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (work.kind == WORK_COPY && (!memory_at(work.target, work.bytes) || !memory_at(work.source, work.bytes))) {
        capture_break(stream->capture); /* a copy of pageable memory would be staged by the host */
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (graph->count == graph->capacity) {
        graph->capacity = graph->capacity ? graph->capacity * 2 : 16;
        graph->nodes = realloc(graph->nodes, (size_t)graph->capacity * sizeof *graph->nodes);
    }
    Node *node = &graph->nodes[graph->count];
    *node = (Node){.work = work};
    tips_set(&node->needs, &node->need_count, stream->tips, stream->tip_count);
    tips_set(&stream->tips, &stream->tip_count, &graph->count, 1);
    graph->count++;
    return CUDA_SUCCESS;
}

CUresult capture_record(Stream *stream, Event *event) {
    if (stream->capture->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    event->capture = stream->capture;
    event->recorded = false;
    tips_set(&event->tips, &event->tip_count, stream->tips, stream->tip_count);
    return CUDA_SUCCESS;
}

static CUresult join(Stream *stream, const Event *event) {
    if (stream->legacy) {
        capture_break(event->capture);
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    stream->capture = event->capture;
    tips_set(&stream->tips, &stream->tip_count, event->tips, event->tip_count);
    return CUDA_SUCCESS;
}

CUresult capture_wait(Stream *stream, Event *event) {
    Capture *capture = stream->capture;
    if (capture && capture->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (!event->capture && !event->recorded) return CUDA_SUCCESS;
    if (capture && !event->capture) { /* recorded outside: the graph would depend on work that is not in it */
        capture_break(capture);
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (!event->capture->active) return CUDA_ERROR_CAPTURED_EVENT;
    if (event->capture->broken) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (!capture) return join(stream, event);
    if (capture != event->capture) {
        capture_break(capture);
        capture_break(event->capture);
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    int total = stream->tip_count + event->tip_count, *all = malloc((size_t)(total + 1) * sizeof *all);
    memcpy(all, stream->tips, (size_t)stream->tip_count * sizeof *all);
    memcpy(all + stream->tip_count, event->tips, (size_t)event->tip_count * sizeof *all);
    tips_set(&stream->tips, &stream->tip_count, all, total);
    free(all);
    return CUDA_SUCCESS;
}

static void reach(const Graph *graph, char *reached, int node) {
    if (reached[node]) return;
    reached[node] = 1;
    for (int i = 0; i < graph->nodes[node].need_count; i++) reach(graph, reached, graph->nodes[node].needs[i]);
}

static bool joined(const Stream *origin) { /* every captured node comes before the end of the first stream */
    const Graph *graph = origin->capture->graph;
    char *reached = calloc((size_t)graph->count + 1, 1);
    for (int i = 0; i < origin->tip_count; i++) reach(graph, reached, origin->tips[i]);
    bool all = !memchr(reached, 0, (size_t)graph->count);
    free(reached);
    return all;
}

API cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    ENTER(CONTEXT);
    Stream *stream = stream_of(handle);
    REFUSE_UNLESS(stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_UNLESS((unsigned)mode <= CU_STREAM_CAPTURE_MODE_RELAXED, CUDA_ERROR_INVALID_VALUE);
    REFUSE_UNLESS(!stream->legacy, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSE_UNLESS(!stream->capture, CUDA_ERROR_ILLEGAL_STATE);
    Capture *capture = calloc(1, sizeof *capture);
    Graph *graph = calloc(1, sizeof *graph);
    *graph = (Graph){.magic = GRAPH_MAGIC, .generation = g.generation, .alive = true};
    *capture = (Capture){.next = g.captures, .origin = stream, .graph = graph, .mode = mode, .thread = pthread_self(), .id = ++g.next_id, .active = true};
    g.captures = stream->capture = capture;
    tips_set(&stream->tips, &stream->tip_count, NULL, 0);
    COUNT(captures)++;
    LEAVE(CUDA_SUCCESS);
}

API cuStreamEndCapture(CUstream handle, CUgraph *result) {
    ENTER(CONTEXT);
    Stream *stream = stream_of(handle);
    *result = NULL;
    REFUSE_UNLESS(stream, CUDA_ERROR_INVALID_HANDLE);
    Capture *capture = stream->capture;
    REFUSE_UNLESS(capture, CUDA_ERROR_ILLEGAL_STATE);
    if (capture->origin != stream) {
        capture_break(capture);
        LEAVE(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    }
    REFUSE_UNLESS(capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED || pthread_equal(capture->thread, pthread_self()),
                  CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    CUresult state = capture->broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : joined(stream) ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    for (Stream *s = g.streams; s; s = s->next)
        if (s->capture == capture) s->capture = NULL;
    capture->active = false;
    for (Capture **place = &g.captures; *place; place = &(*place)->next)
        if (*place == capture) {
            *place = capture->next;
            break;
        }
    REFUSE_UNLESS(!state, state);
    COUNT(graphs)++;
    COUNT(live_graphs)++;
    *result = (CUgraph)capture->graph;
    LEAVE(CUDA_SUCCESS);
}

API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
    ENTER(CONTEXT);
    const Stream *stream = stream_of(handle);
    REFUSE_UNLESS(stream, CUDA_ERROR_INVALID_HANDLE);
    *status = !stream->capture ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->capture->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    LEAVE(CUDA_SUCCESS);
}

API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    ENTER(INIT);
    CUstreamCaptureMode old = thread_mode;
    thread_mode = *mode;
    *mode = old;
    LEAVE(CUDA_SUCCESS);
}

int soft_capturing(CUstream handle) {
    pthread_mutex_lock(&g.lock);
    const Stream *stream = current_context() ? stream_of(handle) : NULL;
    int result = stream && stream->capture;
    pthread_mutex_unlock(&g.lock);
    return result;
}

/* Graphs. */

static Graph *graph_of(CUgraph handle) {
    Graph *graph = (Graph *)handle;
    return graph && graph->magic == GRAPH_MAGIC && graph->generation == g.generation && graph->alive ? graph : NULL;
}

static Exec *exec_of(CUgraphExec handle) {
    Exec *exec = (Exec *)handle;
    return exec && exec->magic == EXEC_MAGIC && exec->generation == g.generation && exec->alive ? exec : NULL;
}

static Graph *copied(const Graph *from) {
    Graph *to = calloc(1, sizeof *to);
    *to = *from;
    to->nodes = calloc((size_t)from->count + 1, sizeof *to->nodes);
    for (int i = 0; i < from->count; i++) {
        const Node *node = &from->nodes[i];
        to->nodes[i].work = node->work;
        if (node->work.params) {
            to->nodes[i].work.params = malloc(node->work.params_bytes + 1);
            memcpy(to->nodes[i].work.params, node->work.params, node->work.params_bytes);
        }
        tips_set(&to->nodes[i].needs, &to->nodes[i].need_count, node->needs, node->need_count);
    }
    return to;
}

static CUresult instantiate(CUgraphExec *result, CUgraph handle) {
    const Graph *graph = graph_of(handle);
    if (!graph) return CUDA_ERROR_INVALID_VALUE;
    Exec *exec = calloc(1, sizeof *exec);
    *exec = (Exec){.magic = EXEC_MAGIC, .generation = g.generation, .alive = true, .graph = copied(graph), .context = current_context()};
    COUNT(graphs)++;
    COUNT(live_graphs)++;
    *result = (CUgraphExec)exec;
    return CUDA_SUCCESS;
}

API cuGraphInstantiateWithFlags(CUgraphExec *result, CUgraph graph, unsigned long long flags) {
    ENTER(CONTEXT);
    REFUSE_UNLESS(!flags, CUDA_ERROR_NOT_SUPPORTED);
    LEAVE(instantiate(result, graph));
}

API cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
    ENTER(CONTEXT);
    const Graph *graph = graph_of(handle);
    REFUSE_UNLESS(graph, CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; nodes && i < *count && i < (size_t)graph->count; i++) nodes[i] = (CUgraphNode)&graph->nodes[i];
    *count = (size_t)graph->count;
    LEAVE(CUDA_SUCCESS);
}

API cuGraphUpload(CUgraphExec handle, CUstream stream) {
    ENTER(CONTEXT);
    REFUSE_UNLESS(exec_of(handle), CUDA_ERROR_INVALID_VALUE);
    REFUSE_UNLESS(stream_of(stream), CUDA_ERROR_INVALID_HANDLE);
    LEAVE(CUDA_SUCCESS);
}

API cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
    ENTER(CONTEXT);
    Exec *exec = exec_of(handle);
    Stream *stream = stream_of(stream_handle);
    REFUSE_UNLESS(exec, CUDA_ERROR_INVALID_VALUE);
    REFUSE_UNLESS(stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_UNLESS(!stream->capture, CUDA_ERROR_NOT_SUPPORTED); /* CUDA makes a child graph of it; nothing here does that */
    COUNT(graph_launches)++;
    if (exec->last_stream && exec->last_stream != stream) {
        Need before = {exec->last_stream, exec->last_count};
        enqueue(stream, (Work){.kind = WORK_WAIT, .name = __func__}, &before, 1);
    }
    CUresult result = submit(stream_handle, (Work){.kind = WORK_GRAPH, .name = __func__, .exec = exec});
    exec->last_stream = stream;
    exec->last_count = stream->enqueued;
    LEAVE(result);
}

int graph_run(const Exec *exec) {
    const Graph *graph = exec->graph;
    char *done = calloc((size_t)graph->count + 1, 1);
    int failure = 0;
    for (int left = graph->count; left && !failure; left--) {
        int chosen = -1, seen = 0;
        pthread_mutex_lock(&g.lock);
        for (int i = 0; i < graph->count; i++) {
            bool ready = !done[i];
            for (int k = 0; ready && k < graph->nodes[i].need_count; k++) ready = done[graph->nodes[i].needs[k]];
            if (ready && (g.seed ? !random_below((uint64_t)++seen) : chosen < 0)) chosen = i;
        }
        pthread_mutex_unlock(&g.lock);
        failure = work_run(&graph->nodes[chosen].work);
        done[chosen] = 1;
    }
    free(done);
    return failure;
}

API cuGraphExecDestroy(CUgraphExec handle) {
    ENTER(CONTEXT);
    Exec *exec = exec_of(handle);
    REFUSE_UNLESS(exec, CUDA_ERROR_INVALID_VALUE);
    exec->alive = false; /* launches that are queued still run */
    COUNT(live_graphs)--;
    LEAVE(CUDA_SUCCESS);
}

API cuGraphDestroy(CUgraph handle) {
    ENTER(CONTEXT);
    Graph *graph = graph_of(handle);
    REFUSE_UNLESS(graph, CUDA_ERROR_INVALID_VALUE);
    graph->alive = false;
    COUNT(live_graphs)--;
    LEAVE(CUDA_SUCCESS);
}
