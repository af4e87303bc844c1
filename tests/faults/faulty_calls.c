/* SPDX-License-Identifier: Apache-2.0 */
/* faulty_calls.c - the system calls that change files, with faults: linked into a program, these functions stand in
 * front of the C library's. The environment says what happens:
 *     FAULT_AT=N       the fault strikes the N-th such call; without it calls are only counted
 *     FAULT_KIND=K     before, after, within: the process is killed there (within: half of a write is done)
 *                      stop, stall: the process is stopped there, or the thread sleeps for ever
 *                      short: half of a write is done; or a number: the call fails with that errno
 *     FAULT_FIRST=1    calls count from the first write of all threads on
 *     FAULT_STAMP=F    the time of the fault is written to the file F, just before it
 *     FAULT_COUNT=F    at exit the number of calls is written to the file F
 * Or a program arms the fault itself (faulty_calls.h), and then the environment says nothing.
 * A write inside one 512-byte sector is never torn: neither the kernel nor a disk does that. Threads may call at once. */
#include "tests/faults/faulty_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512

static atomic_long calls;
static atomic_long armed_at; /* 0: the environment says it */
static const char *armed_kind;
static void (*armed_note)(void);

void faulty_calls_arm(long after, const char *kind, void (*note)(void))
{
    armed_kind = kind;
    armed_note = note;
    atomic_store(&armed_at, atomic_load(&calls) + after);
}

static void sleep_for_ever(void)
{
    for (;;) {
        (void)pause();
    }
}

static void die(void)
{
    (void)kill(getpid(), SIGKILL);
    sleep_for_ever();
}

static bool kind_is(const char *kind)
{
    const char *wanted = armed_kind ? armed_kind : getenv("FAULT_KIND");
    return wanted && strcmp(wanted, kind) == 0;
}

static void note_time(void)
{
    const char *path = getenv("FAULT_STAMP");
    FILE *file = path ? fopen(path, "w") : NULL;
    struct timespec now;
    if (file) {
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        (void)fprintf(file, "%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
        (void)fclose(file);
    }
}

/* Whether the fault strikes this call. Where the caller does not come back, it is not told. */
static bool strikes(bool is_write)
{
    const char *at = getenv("FAULT_AT");
    long wanted = atomic_load(&armed_at);
    if (!is_write && atomic_load(&calls) == 0 && getenv("FAULT_FIRST")) {
        return false;
    }
    wanted = wanted ? wanted : at ? atol(at) : 0;
    if (atomic_fetch_add(&calls, 1) + 1 != wanted) {
        return false;
    }
    (armed_note ? armed_note : note_time)();
    if (kind_is("stop")) {
        (void)kill(getpid(), SIGSTOP);
    }
    if (kind_is("stop") || kind_is("stall")) {
        sleep_for_ever();
    }
    return true;
}

/* The errno that the fault is; 0 if it is none. */
static int fault_errno(void)
{
    const char *kind = armed_kind ? armed_kind : getenv("FAULT_KIND");
    return kind ? atoi(kind) : 0;
}

/* What a call that is no write does around the real one: false if it is not made. */
static bool enter(bool *struck)
{
    *struck = strikes(false);
    if (*struck && (kind_is("before") || kind_is("within"))) {
        die();
    }
    if (*struck && fault_errno() != 0) {
        errno = fault_errno();
        return false;
    }
    return true;
}

static void leave(bool struck)
{
    if (struck && kind_is("after")) {
        die();
    }
}

/* The C library's function under a name, as a pointer `real`. */
#define REAL(name, result, parameters)                                                             \
    result(*real) parameters;                                                                      \
    *(void **)&real = dlsym(RTLD_NEXT, name);

#define INTERPOSE(result, name, parameters, arguments)                                             \
    result name parameters                                                                         \
    {                                                                                              \
        REAL(#name, result, parameters)                                                            \
        bool struck;                                                                               \
        if (!enter(&struck)) {                                                                     \
            return -1;                                                                             \
        }                                                                                          \
        result value = real arguments;                                                             \
        leave(struck);                                                                             \
        return value;                                                                              \
    }

INTERPOSE(int, fallocate, (int fd, int mode, off_t at, off_t nbytes), (fd, mode, at, nbytes))
INTERPOSE(int, ftruncate, (int fd, off_t nbytes), (fd, nbytes))
INTERPOSE(int, fsync, (int fd), (fd))
INTERPOSE(int, fdatasync, (int fd), (fd))
INTERPOSE(int, rename, (const char *from, const char *to), (from, to))
INTERPOSE(int, renameat2,
          (int from_fd, const char *from, int to_fd, const char *to, unsigned flags),
          (from_fd, from, to_fd, to, flags))
INTERPOSE(int, mkdir, (const char *path, mode_t mode), (path, mode))

/* --- writes ------------------------------------------------------------------------------------- */

static bool in_one_sector(off_t offset, size_t nbytes)
{
    return nbytes == 0 || offset / SECTOR == (offset + (off_t)nbytes - 1) / SECTOR;
}

static ssize_t faulty_pwrite(ssize_t (*real)(int, const void *, size_t, off_t), int fd,
                             const void *data, size_t nbytes, off_t offset)
{
    bool struck = strikes(true);
    if (struck && kind_is("before")) {
        die();
    }
    if (struck && fault_errno() != 0) {
        errno = fault_errno();
        return -1;
    }
    bool half = struck && (kind_is("within") || kind_is("short")) && !in_one_sector(offset, nbytes);
    ssize_t written = real(fd, data, half ? nbytes / 2 : nbytes, offset);
    if (struck && (kind_is("within") || kind_is("after"))) {
        die();
    }
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t nbytes, off_t offset)
{
    REAL("pwrite", ssize_t, (int, const void *, size_t, off_t))
    return faulty_pwrite(real, fd, data, nbytes, offset);
}

/* --- counting ----------------------------------------------------------------------------------- */

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        (void)fprintf(file, "%ld\n", atomic_load(&calls));
        (void)fclose(file);
    }
}
