/* Loaded into the recorder before libc: counts its calls on one folder, and kills, fails, tears, delays or logs the chosen ones.
 *
 * The control block is a file shared with the process that injects (FAULT_CONTROL); layout as in faults/recorder/preload.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call { WRITE = 1, SYNC = 2, TRUNCATE = 4, RENAME = 8, UNLINK = 16, OPEN = 32, READ = 64, CLOSE = 128, LOOK = 256 };
enum action { COUNT, KILL, KILL_AFTER, KILL_TORN, FAIL, SHORT, DELAY };
enum kind { T_WRITE = 1, T_SYNC, T_TRUNCATE, T_CREATE, T_RENAME, T_UNLINK, T_MARK, T_SYNC_FAILED, T_SYNC_FOLDER };

struct control {
    int32_t armed;
    uint32_t calls;
    int32_t action;
    int32_t error;
    _Atomic int64_t seen;
    _Atomic int64_t struck;
    int64_t first;
    int64_t times;
    int64_t delay_ns;
    int64_t wall_ns;
    int32_t tracing;
    int32_t spare;
    char folder[256];
    char name[64];
    char trace[256];
};

struct entry {
    uint32_t kind;
    uint32_t bytes; /* that follow this header */
    uint64_t inode;
    int64_t offset;
};

#define FDS 4096
static struct control *control;
static char mine[FDS]; /* 1: a file in the folder, 2: the folder itself (or one in it) */
static int trace_fd = -1;
static pid_t trace_pid;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULT_CONTROL");
    if (!path) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (found != MAP_FAILED) control = found;
}

static int inside(const char *path) {
    if (!control || !path || !control->folder[0]) return 0;
    char full[PATH_MAX];
    if (path[0] != '/') {
        if (!getcwd(full, sizeof full - 1)) return 0;
        size_t length = strlen(full);
        snprintf(full + length, sizeof full - length, "/%s", path);
        path = full;
    }
    size_t length = strlen(control->folder);
    return strncmp(path, control->folder, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int named(const char *path) { return !control->name[0] || (path && strstr(path, control->name)); }

static char names[FDS][96];

static void adopt(int fd, const char *path) {
    struct stat found;
    if (fd < 0 || fd >= FDS) return;
    mine[fd] = fstat(fd, &found) == 0 && S_ISDIR(found.st_mode) ? 2 : 1;
    const char *last = strrchr(path, '/');
    snprintf(names[fd], sizeof names[fd], "%s", last ? last + 1 : path);
}

static int own(int fd) { return control && fd >= 0 && fd < FDS ? mine[fd] : 0; }

/* Is this call to be struck? Kills before the call happen here; the rest is the caller's. */
static int strike(unsigned call, const char *path) {
    if (!control || !control->armed || !(control->calls & call) || !named(path)) return COUNT;
    int64_t number = atomic_fetch_add(&control->seen, 1) + 1;
    if (number < control->first || number >= control->first + control->times) return COUNT;
    if (control->action == COUNT) return COUNT;
    atomic_fetch_add(&control->struck, 1);
    if (control->action == KILL) kill(getpid(), SIGKILL);
    if (control->action == DELAY) {
        struct timespec left = {control->delay_ns / 1000000000, control->delay_ns % 1000000000};
        while (nanosleep(&left, &left) && errno == EINTR) {}
        return COUNT;
    }
    return control->action;
}

static void after(int struck) {
    if (struck == KILL_AFTER || struck == KILL_TORN) kill(getpid(), SIGKILL);
}

static void log_entry(unsigned kind, uint64_t inode, int64_t offset, const void *data, size_t bytes) {
    if (!control || !control->tracing) return;
    int kept = errno;
    if (trace_fd < 0 || trace_pid != getpid()) {
        trace_fd = (int)syscall(SYS_openat, AT_FDCWD, control->trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        trace_pid = getpid();
    }
    struct entry entry = {kind, (uint32_t)bytes, inode, offset};
    struct iovec parts[2] = {{&entry, sizeof entry}, {(void *)data, bytes}};
    if (syscall(SYS_writev, trace_fd, parts, bytes ? 2 : 1) < 0) _exit(97);
    errno = kept;
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

void fault_mark(int64_t number) { log_entry(T_MARK, 0, number, NULL, 0); }

/* opening */

static int opened(int fd, const char *path, int existed) {
    if (fd < 0) return fd;
    adopt(fd, path);
    if (!existed && mine[fd] == 1) log_entry(T_CREATE, inode_of(fd), 0, path, strlen(path));
    return fd;
}

static int open_at(int folder, const char *path, int flags, mode_t mode) {
    if (!inside(path)) {
        int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
        if (fd >= 0 && fd < FDS) mine[fd] = 0;
        return fd;
    }
    int struck = strike((flags & (O_WRONLY | O_RDWR | O_CREAT)) ? OPEN : LOOK, path);
    if (struck == FAIL || struck == SHORT) {
        errno = control->error;
        return -1;
    }
    int existed = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
    int fd = opened((int)syscall(SYS_openat, folder, path, flags, mode), path, existed);
    if (fd >= 0 && (flags & O_TRUNC) && existed) log_entry(T_TRUNCATE, inode_of(fd), 0, NULL, 0);
    after(struck);
    return fd;
}

#define MODE(flags)                                                                                                                    \
    mode_t mode = 0;                                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                                             \
        va_list more;                                                                                                                  \
        va_start(more, flags);                                                                                                         \
        mode = va_arg(more, mode_t);                                                                                                   \
        va_end(more);                                                                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return open_at(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return open_at(folder, path, flags | O_LARGEFILE, mode);
}

int close(int fd) {
    int struck = own(fd) ? strike(CLOSE, names[fd]) : COUNT;
    if (fd >= 0 && fd < FDS) mine[fd] = 0;
    int result = (int)syscall(SYS_close, fd);
    after(struck);
    return result;
}

/* writing: `given` bytes at `offset`, or at the file's position where that is negative */

static ssize_t write_at(int fd, const void *data, size_t given, int64_t offset) {
    if (own(fd) != 1) return offset < 0 ? syscall(SYS_write, fd, data, given) : syscall(SYS_pwrite64, fd, data, given, offset);
    int struck = strike(WRITE, names[fd]);
    size_t bytes = given;
    if (struck == FAIL || (struck == SHORT && given < 2)) {
        errno = control->error;
        return -1;
    }
    if (struck == SHORT || struck == KILL_TORN) bytes = given / 2;
    int64_t place = offset;
    if (offset < 0) {
        struct stat found;
        int appends = (fcntl(fd, F_GETFL) & O_APPEND) && fstat(fd, &found) == 0;
        place = appends ? found.st_size : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    ssize_t done = offset < 0 ? syscall(SYS_write, fd, data, bytes) : syscall(SYS_pwrite64, fd, data, bytes, offset);
    if (done > 0) log_entry(T_WRITE, inode_of(fd), place, data, (size_t)done);
    after(struck);
    return done;
}

ssize_t write(int fd, const void *data, size_t bytes) { return write_at(fd, data, bytes, -1); }
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return write_at(fd, data, bytes, offset); }
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) { return write_at(fd, data, bytes, offset); }

static int truncate_at(int fd, off64_t size) {
    int struck = own(fd) ? strike(TRUNCATE, names[fd]) : COUNT;
    if (struck == FAIL || struck == SHORT) {
        errno = control->error;
        return -1;
    }
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (result == 0 && own(fd) == 1) log_entry(T_TRUNCATE, inode_of(fd), size, NULL, 0);
    after(struck);
    return result;
}

int ftruncate(int fd, off_t size) { return truncate_at(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_at(fd, size); }

static int reserve(int fd, int how, off64_t offset, off64_t bytes) {
    int struck = own(fd) ? strike(WRITE, names[fd]) : COUNT;
    if (struck == FAIL || struck == SHORT) {
        errno = control->error;
        return -1;
    }
    int result = (int)syscall(SYS_fallocate, fd, how, offset, bytes);
    struct stat found;
    if (result == 0 && own(fd) == 1 && fstat(fd, &found) == 0) log_entry(T_TRUNCATE, found.st_ino, found.st_size, NULL, 0);
    after(struck);
    return result;
}

int fallocate(int fd, int how, off_t offset, off_t bytes) { return reserve(fd, how, offset, bytes); }
int fallocate64(int fd, int how, off64_t offset, off64_t bytes) { return reserve(fd, how, offset, bytes); }
int posix_fallocate(int fd, off_t offset, off_t bytes) { return reserve(fd, 0, offset, bytes) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t bytes) { return reserve(fd, 0, offset, bytes) ? errno : 0; }

static int sync_file(int fd, long number) {
    int kind = own(fd);
    int struck = kind ? strike(SYNC, names[fd]) : COUNT;
    if (struck == FAIL || struck == SHORT) {
        log_entry(T_SYNC_FAILED, inode_of(fd), 0, NULL, 0);
        errno = control->error;
        return -1;
    }
    int result = (int)syscall(number, fd);
    if (result == 0 && kind) log_entry(kind == 2 ? T_SYNC_FOLDER : T_SYNC, inode_of(fd), 0, NULL, 0);
    after(struck);
    return result;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

/* reading */

static ssize_t read_at(int fd, void *data, size_t bytes, int64_t offset) {
    int struck = own(fd) == 1 ? strike(READ, names[fd]) : COUNT;
    if (struck == FAIL) {
        errno = control->error;
        return -1;
    }
    ssize_t done = offset < 0 ? syscall(SYS_read, fd, data, bytes) : syscall(SYS_pread64, fd, data, bytes, offset);
    after(struck);
    return done;
}

ssize_t read(int fd, void *data, size_t bytes) { return read_at(fd, data, bytes, -1); }
ssize_t pread(int fd, void *data, size_t bytes, off_t offset) { return read_at(fd, data, bytes, offset); }
ssize_t pread64(int fd, void *data, size_t bytes, off64_t offset) { return read_at(fd, data, bytes, offset); }

/* names */

int rename(const char *from, const char *to) {
    int counted = inside(from) || inside(to);
    int struck = counted ? strike(RENAME, from) : COUNT;
    if (struck == FAIL || struck == SHORT) {
        errno = control->error;
        return -1;
    }
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0 && counted) {
        char both[2 * PATH_MAX];
        size_t first = strlen(from) + 1, bytes = first + strlen(to);
        if (bytes < sizeof both) {
            memcpy(both, from, first);
            memcpy(both + first, to, bytes - first);
            log_entry(T_RENAME, 0, 0, both, bytes);
        }
    }
    after(struck);
    return result;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    if (from_folder == AT_FDCWD && to_folder == AT_FDCWD) return rename(from, to);
    return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, 0);
}

int unlink(const char *path) {
    int counted = inside(path);
    int struck = counted ? strike(UNLINK, path) : COUNT;
    if (struck == FAIL || struck == SHORT) {
        errno = control->error;
        return -1;
    }
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (result == 0 && counted) log_entry(T_UNLINK, 0, 0, path, strlen(path));
    after(struck);
    return result;
}

int unlinkat(int folder, const char *path, int flags) {
    if (folder == AT_FDCWD && !flags) return unlink(path);
    return (int)syscall(SYS_unlinkat, folder, path, flags);
}

/* the wall clock */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && control && control->wall_ns) {
        __int128 moved = (__int128)now->tv_sec * 1000000000 + now->tv_nsec + control->wall_ns;
        now->tv_sec = (time_t)(moved / 1000000000);
        now->tv_nsec = (long)(moved % 1000000000);
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (kept) *kept = found.tv_sec;
    return found.tv_sec;
}
