/* SPDX-License-Identifier: Apache-2.0 */
#include "all_reduce_window.h"

#include "bench.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 4, CHUNK = (64 << 10) / sizeof(float) };

typedef struct shared {
    struct {
        _Alignas(64) _Atomic uint64_t put;
        _Alignas(64) _Atomic uint64_t summed;
    } told[2];
    _Alignas(4096) float partials[2][SLOTS][CHUNK];
    float sums[2][SLOTS][CHUNK];
} shared_t;

struct floor_window {
    shared_t *shared;
    int rank;
    uint64_t chunks; /* so far */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The first makes a memory file, the second finds it by way of /proc. */
static int open_file(lks_comm_t *comm, int mine)
{
    int where[2] = {(int)getpid(), mine};
    bench_must(lks_comm_broadcast(comm, where, 2, LKS_DTYPE_I32, 0, NULL));
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", where[0], where[1]);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) {
        die("bench: shared memory");
    }
    return file;
}

floor_window_t *floor_window_open(lks_comm_t *comm)
{
    static floor_window_t window;
    int mine = memfd_create("floor", MFD_CLOEXEC);
    if (mine < 0 || ftruncate(mine, sizeof(shared_t)) != 0) {
        die("bench: shared memory");
    }
    int file = open_file(comm, mine);
    window.rank = lks_comm_rank(comm);
    window.shared = mmap(NULL, sizeof(shared_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (window.shared == MAP_FAILED) {
        die("bench: shared memory");
    }
    (void)madvise(window.shared, sizeof(shared_t), MADV_HUGEPAGE);
    bench_must(lks_comm_barrier(comm));
    return &window;
}

static void await(_Atomic uint64_t *told, uint64_t value)
{
    while (atomic_load_explicit(told, memory_order_acquire) < value) {
        __builtin_ia32_pause();
    }
}

static void sum(float *restrict own, const float *restrict other, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float total = own[i] + other[i];
        own[i] = total;
        out[i] = total;
    }
}

/* Elements of chunk k. */
static size_t length(size_t half, size_t k)
{
    return half - k * CHUNK < CHUNK ? half - k * CHUNK : CHUNK;
}

void floor_window_all_reduce(floor_window_t *window, float *data, size_t count)
{
    shared_t *shared = window->shared;
    int me = window->rank, peer = 1 - me;
    size_t half = count / 2, chunks = (half + CHUNK - 1) / CHUNK;
    float *own = data + (size_t)me * half, *other = data + (size_t)peer * half;
    for (size_t k = 0; k < chunks + 2; k++) {
        uint64_t at = window->chunks + k;
        if (k < chunks) {
            memcpy(shared->partials[me][at % SLOTS], other + k * CHUNK, length(half, k) * 4);
            atomic_store_explicit(&shared->told[me].put, at + 1, memory_order_release);
        }
        if (k >= 1 && k <= chunks) {
            size_t slot = (at - 1) % SLOTS;
            await(&shared->told[peer].put, at);
            sum(own + (k - 1) * CHUNK, shared->partials[peer][slot], shared->sums[me][slot],
                length(half, k - 1));
            atomic_store_explicit(&shared->told[me].summed, at, memory_order_release);
        }
        if (k >= 2) {
            await(&shared->told[peer].summed, at - 1);
            memcpy(other + (k - 2) * CHUNK, shared->sums[peer][(at - 2) % SLOTS],
                   length(half, k - 2) * 4);
        }
    }
    window->chunks += chunks;
}
