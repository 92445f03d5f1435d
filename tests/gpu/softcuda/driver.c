/* The lock, the switches of the tests, counters and violations: what every call passes through. */
#include "internal.h"
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#define FAULTS 16
#define VIOLATIONS 65536

typedef struct Fault {
    char what[64]; /* a function, or "hang", "vanish", "sticky" */
    int error;
    uint64_t after, times;
} Fault;

Driver g = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .generation = 1};
__thread bool in_device_work;
__thread int device_failure;
static Fault faults[FAULTS];
static char violations[VIOLATIONS], counters_text[4096];
static pid_t owner;

static const Preset presets[] = {
    {"orin", "Orin", 8, 7, 1, 2, 12060, 918000, 3199000, 256, 4 << 20, 166912, 1536, (size_t)8 << 30},
    {"rtx4090", "NVIDIA GeForce RTX 4090", 8, 9, 0, 128, 13000, 2520000, 10501000, 384, 72 << 20, 101376, 1536, (size_t)24 << 30},
    {"h100", "NVIDIA H100 80GB HBM3", 9, 0, 0, 132, 13000, 1980000, 2619000, 5120, 50 << 20, 232448, 2048, (size_t)80 << 30},
    {"rtx5090", "NVIDIA GeForce RTX 5090", 12, 0, 0, 170, 13000, 2407000, 14001000, 512, 96 << 20, 101376, 1536, (size_t)32 << 30},
    {"none", "", 0, 0, 0, 0, 13000, 0, 0, 0, 0, 0, 0, 0}, /* the driver is there and finds no device */
};

double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

uint64_t random_below(uint64_t limit) { /* xorshift64*: the order of late work follows from the seed alone */
    g.random ^= g.random >> 12;
    g.random ^= g.random << 25;
    g.random ^= g.random >> 27;
    return (g.random * 2685821657736338717ULL >> 33) % limit;
}

void violation(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    strcat(line, "\n");
    if (strlen(violations) + strlen(line) < VIOLATIONS) strcat(violations, line);
    const char *report = getenv("SOFTCUDA_REPORT");
    FILE *file = report ? fopen(report, "a") : NULL;
    if (file) {
        fprintf(file, "violation: %s", line);
        fclose(file);
    }
}

const char *violation_text(void) { return violations; }
void violations_clear(void) { violations[0] = 0; }

static bool due(Fault *fault) {
    if (!fault->times) return false;
    if (fault->after) {
        fault->after--;
        return false;
    }
    fault->times--;
    return true;
}

static int injected(const char *name) {
    for (int i = 0; i < FAULTS; i++)
        if (!strcmp(faults[i].what, name) && due(&faults[i])) return faults[i].error;
    return 0;
}

void faults_after_work(void) {
    if (injected("hang")) g.hang = true;
    if (injected("vanish")) g.vanished = true;
    int error = injected("sticky");
    if (error && !g.sticky) g.sticky = error;
}

static CUresult refusal(const char *name, unsigned needs) {
    COUNT(calls)++;
    int error = injected(name);
    if (error) return error;
    if (needs == NOTHING) return 0;
    if (!g.ready || owner != getpid()) return CUDA_ERROR_NOT_INITIALIZED;
    if (g.vanished && needs != LOCAL) return CUDA_ERROR_UNKNOWN; /* what processes saw whose GPU fell off the bus */
    if (needs & CONTEXT) {
        const Context *context = current_context();
        if (!context) return CUDA_ERROR_INVALID_CONTEXT;
        if (!context_alive(context)) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        if (g.sticky) return g.sticky;
    }
    return needs & UNSAFE ? capture_forbids() : 0;
}

CUresult enter(const char *name, unsigned needs) {
    pthread_mutex_lock(&g.lock);
    CUresult result;
    if (in_device_work) {
        violation("%s called from inside device work", name);
        result = CUDA_ERROR_NOT_PERMITTED;
    } else {
        result = refusal(name, needs);
    }
    if (result) pthread_mutex_unlock(&g.lock);
    return result;
}

CUresult leave(CUresult result) {
    pthread_mutex_unlock(&g.lock);
    return result;
}

API cuInit(unsigned flags) {
    ENTER(NOTHING);
    REFUSE_UNLESS(!flags, CUDA_ERROR_INVALID_VALUE);
    REFUSE_UNLESS(!g.vanished && g.preset->major, CUDA_ERROR_NO_DEVICE);
    g.ready = true;
    owner = getpid();
    LEAVE(CUDA_SUCCESS);
}

API cuDriverGetVersion(int *version) {
    ENTER(NOTHING);
    *version = g.version;
    LEAVE(CUDA_SUCCESS);
}

CUresult soft_unsupported(const char *name) {
    ENTER(NOTHING);
    violation("%s is not supported by the software driver", name);
    LEAVE(CUDA_ERROR_NOT_SUPPORTED);
}

/* The switches. */

static void forget(void) { /* everything that a process had made: handles of the last generation are refused, never followed */
    captures_reset();
    streams_reset();
    memory_reset();
    modules_reset();
    contexts_reset();
    memset(faults, 0, sizeof faults);
    memset(g.counter, 0, sizeof g.counter);
    violations_clear();
    g.ready = g.hang = g.vanished = g.busy = g.open = false;
    g.sticky = 0;
    g.generation++;
}

int soft_reset(const char *device, uint64_t seed) {
    const Preset *found = NULL;
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (!strcmp(presets[i].key, device)) found = &presets[i];
    if (!found || in_device_work) return -1;
    pthread_mutex_lock(&g.lock);
    while (g.busy) pthread_cond_wait(&g.changed, &g.lock);
    forget();
    g.preset = found;
    g.version = found->driver;
    g.seed = seed;
    g.random = seed * 0x9E3779B97F4A7C15ULL + 0x2545F4914F6CDD1DULL;
    g.memory_limit = found->memory;
    pthread_cond_broadcast(&g.changed);
    pthread_mutex_unlock(&g.lock);
    return 0;
}

void soft_seed(uint64_t seed) {
    pthread_mutex_lock(&g.lock);
    g.seed = seed;
    g.random = seed * 0x9E3779B97F4A7C15ULL + 0x2545F4914F6CDD1DULL;
    leave(CUDA_SUCCESS);
}

int soft_driver_version(int version) {
    pthread_mutex_lock(&g.lock);
    g.version = version;
    return (int)leave(CUDA_SUCCESS);
}

int soft_memory_limit(uint64_t bytes) {
    pthread_mutex_lock(&g.lock);
    g.memory_limit = bytes;
    return (int)leave(CUDA_SUCCESS);
}

static int add_fault(const char *what, int error, uint64_t after, uint64_t times) {
    for (int i = 0; i < FAULTS; i++) {
        if (faults[i].times) continue;
        faults[i] = (Fault){.error = error, .after = after, .times = times};
        snprintf(faults[i].what, sizeof faults[i].what, "%s", what);
        return 0;
    }
    return -1;
}

int soft_fail_next(const char *function, int error, uint64_t after, uint64_t times) {
    pthread_mutex_lock(&g.lock);
    int result = add_fault(function, error, after, times);
    pthread_mutex_unlock(&g.lock);
    return result;
}

int soft_fault(const char *text) { /* "NAME[:ERROR][:after=N][:times=N]", several joined by commas; see control.py */
    char copy[512], *rest = NULL;
    if (strlen(text) >= sizeof copy) return -1;
    strcpy(copy, text);
    for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        char *field = NULL, *name = strtok_r(part, ":", &field);
        int error = 1;
        uint64_t after = 0, times = 0;
        for (char *more = strtok_r(NULL, ":", &field); more; more = strtok_r(NULL, ":", &field)) {
            if (!strncmp(more, "after=", 6)) after = strtoull(more + 6, NULL, 10);
            else if (!strncmp(more, "times=", 6)) times = strtoull(more + 6, NULL, 10);
            else error = atoi(more);
        }
        if (!times) times = error == CUDA_ERROR_OUT_OF_MEMORY ? 2 : 1; /* PyCUDA collects garbage and asks for memory once more */
        if (!name || soft_fail_next(name, error, after ? after - (strncmp(name, "cu", 2) != 0) : 0, times)) return -1;
        if (!after) { /* at once */
            pthread_mutex_lock(&g.lock);
            faults_after_work();
            pthread_mutex_unlock(&g.lock);
        }
    }
    return 0;
}

void soft_sticky(int error) {
    pthread_mutex_lock(&g.lock);
    g.sticky = error;
    leave(CUDA_SUCCESS);
}

void soft_hang(int on) {
    pthread_mutex_lock(&g.lock);
    g.hang = on;
    pthread_cond_broadcast(&g.changed);
    leave(CUDA_SUCCESS);
}

void soft_vanish(void) {
    pthread_mutex_lock(&g.lock);
    g.vanished = true;
    pthread_cond_broadcast(&g.changed);
    leave(CUDA_SUCCESS);
}

void soft_fail(int error) {
    if (in_device_work && !device_failure) device_failure = error;
}

const char *soft_counters(void) {
    static const char *const names[] = {
#define X(name) #name,
        COUNTERS(X)
#undef X
    };
    pthread_mutex_lock(&g.lock);
    size_t used = 0;
    for (int i = 0; i < COUNTER_COUNT; i++)
        used += (size_t)snprintf(counters_text + used, sizeof counters_text - used, "%s=%llu\n", names[i], (unsigned long long)g.counter[i]);
    pthread_mutex_unlock(&g.lock);
    return counters_text;
}

const char *soft_violations(void) {
    pthread_mutex_lock(&g.lock);
    if (!g.busy) {
        memory_open();
        memory_check_canaries("earlier work");
        memory_close();
    }
    pthread_mutex_unlock(&g.lock);
    return violations;
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

__attribute__((constructor)) static void from_environment(void) {
    const char *device = getenv("SOFTCUDA_DEVICE"), *fault = getenv("SOFTCUDA_FAULT");
    if (soft_reset(device && *device ? device : "orin", number("SOFTCUDA_SEED", 0))) {
        fprintf(stderr, "softcuda: SOFTCUDA_DEVICE=%s is none of orin, rtx4090, h100, rtx5090, none\n", device);
        abort();
    }
    g.version = (int)number("SOFTCUDA_DRIVER_VERSION", (uint64_t)g.version);
    g.memory_limit = number("SOFTCUDA_MEMORY_LIMIT", g.memory_limit);
    if (fault && *fault && soft_fault(fault)) {
        fprintf(stderr, "softcuda: SOFTCUDA_FAULT=%s is not understood; write for example cuMemAlloc_v2:2:after=5\n", fault);
        abort();
    }
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("SOFTCUDA_REPORT");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, "process %d ended\n%s", (int)getpid(), soft_counters());
    fclose(file);
}
