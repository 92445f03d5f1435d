/* Preloaded into gate and inspector: adds offsets, read from a shared file, to what the kernel says about time.

   CORDON_FAULT_CLOCK names a file of two 64-bit numbers, nanoseconds added to CLOCK_REALTIME and to CLOCK_MONOTONIC. Waits with an
   absolute end are given to the kernel in the kernel's own time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offsets;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CORDON_FAULT_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, 16, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) offsets = found;
}

static int64_t offset(clockid_t clock) {
    if (!offsets) return 0;
    return clock == CLOCK_REALTIME ? offsets[0] : clock == CLOCK_MONOTONIC ? offsets[1] : 0;
}

static void add(struct timespec *when, int64_t more) {
    int64_t total = (int64_t)when->tv_sec * 1000000000 + when->tv_nsec + more;
    if (total < 0) total = 0;
    when->tv_sec = total / 1000000000;
    when->tv_nsec = total % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *when) {
    int result = syscall(SYS_clock_gettime, clock, when);
    if (result == 0) add(when, offset(clock));
    return result;
}

int gettimeofday(struct timeval *restrict when, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    when->tv_sec = now.tv_sec;
    when->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *when) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (when) *when = now.tv_sec;
    return now.tv_sec;
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict until) {
    static int (*real)(sem_t *, clockid_t, const struct timespec *);
    struct timespec kernel = *until;
    if (!real) real = (int (*)(sem_t *, clockid_t, const struct timespec *))dlsym(RTLD_NEXT, "sem_clockwait");
    add(&kernel, -offset(clock));
    return real(semaphore, clock, &kernel);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    static int (*real)(sem_t *, const struct timespec *);
    struct timespec kernel = *until;
    if (!real) real = (int (*)(sem_t *, const struct timespec *))dlsym(RTLD_NEXT, "sem_timedwait");
    add(&kernel, -offset(CLOCK_REALTIME));
    return real(semaphore, &kernel);
}
