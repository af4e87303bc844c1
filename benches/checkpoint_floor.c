/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_floor.c - see checkpoint_floor.h. */
#include "checkpoint_floor.h"
#include "bench.h"
#include "checkpoint_cases.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };
#define BLOCK ((size_t)8 << 20)
#define SLICE ((size_t)256 << 10) /* of reading and checksumming */

typedef enum { WRITE, READ, CRC } what_t;

typedef struct job {
    what_t what;
    int fd;
    unsigned char *data;
    size_t nbytes;
    _Atomic size_t next;
    _Atomic uint32_t crc; /* so that no compiler drops the work */
} job_t;

static void die(const char *what, const char *path)
{
    (void)fprintf(stderr, "bench: cannot %s '%s': %s\n", what, path, strerror(errno));
    exit(1);
}

static void do_slice(job_t *job, size_t at, size_t nbytes)
{
    ssize_t done = (ssize_t)nbytes;
    switch (job->what) {
    case WRITE: done = pwrite(job->fd, job->data + at, nbytes, (off_t)at); break;
    case READ: done = pread(job->fd, job->data + at, nbytes, (off_t)at); break;
    case CRC: job->crc ^= crc32_gzip_refl(0, job->data + at, nbytes); break;
    }
    if (done != (ssize_t)nbytes) {
        die("do the floor's I/O on", "its file");
    }
}

static void *work(void *argument)
{
    job_t *job = argument;
    size_t slice = job->what == WRITE ? BLOCK : SLICE;
    for (size_t at; (at = atomic_fetch_add(&job->next, BLOCK)) < job->nbytes;) {
        size_t end = job->nbytes - at < BLOCK ? job->nbytes : at + BLOCK;
        for (; at < end; at += slice) {
            do_slice(job, at, end - at < slice ? end - at : slice);
        }
    }
    return NULL;
}

static void run(job_t *job, int threads)
{
    pthread_t helpers[THREADS_MAX];
    int started = 0;
    while (started + 1 < threads && started < THREADS_MAX &&
           pthread_create(&helpers[started], NULL, work, job) == 0) {
        started++;
    }
    (void)work(job);
    while (started > 0) {
        (void)pthread_join(helpers[--started], NULL);
    }
}

double floor_write(const char *path, const void *data, size_t nbytes, int threads, bool sync)
{
    double start = bench_now();
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || posix_fallocate(fd, 0, (off_t)nbytes) != 0) {
        die("create", path);
    }
    job_t job = {
        .what = WRITE, .fd = fd, .data = (unsigned char *)(uintptr_t)data, .nbytes = nbytes};
    run(&job, threads);
    if (sync && fsync(fd) != 0) {
        die("sync", path);
    }
    double seconds = bench_now() - start;
    (void)close(fd);
    return seconds;
}

static int open_file(const char *path, size_t *nbytes)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        die("open", path);
    }
    *nbytes = (size_t)info.st_size;
    return fd;
}

double floor_read(const char *path, int threads)
{
    double start = bench_now();
    job_t job = {.what = READ};
    job.fd = open_file(path, &job.nbytes);
    job.data = bench_huge_alloc(job.nbytes);
    run(&job, threads);
    double seconds = bench_now() - start;
    (void)close(job.fd);
    bench_huge_free(job.data, job.nbytes);
    return seconds;
}

double floor_map_crc(const char *path, int threads)
{
    double start = bench_now();
    job_t job = {.what = CRC};
    job.fd = open_file(path, &job.nbytes);
    void *map = mmap(NULL, job.nbytes, PROT_READ, MAP_PRIVATE, job.fd, 0);
    if (map == MAP_FAILED) {
        die("map", path);
    }
    job.data = map;
    run(&job, threads);
    double seconds = bench_now() - start;
    (void)close(job.fd);
    (void)munmap(map, job.nbytes);
    return seconds;
}

double floor_crc(const void *data, size_t nbytes, int threads)
{
    double start = bench_now();
    job_t job = {.what = CRC, .data = (unsigned char *)(uintptr_t)data, .nbytes = nbytes};
    run(&job, threads);
    return bench_now() - start;
}
