/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c - memories of ranks that processes share.
 * Every rank maps the files of all ranks for itself, those of its own process included: what it unmaps is nobody else's.
 * An owner may destroy a memory on any thread, when peers do not know it yet: its bytes go at once (MADV_REMOVE), the mapping when
 * the communicator makes its next memory or ends. Peers' mappings stay valid, of zeros, until they do the same. */
#include "collectives/memory.h"
#include "collectives/backend.h"
#include "collectives/shared_file.h"

#include <lockstep/log.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct lks_comm_memory {
    _Atomic int references; /* the owner's, and the communicator's if it is shared */
    _Atomic bool given_up;  /* by its owner */
    size_t rank, world_size;
    size_t nbytes;
    uint64_t number; /* 0: it is private, and `own` is the host device's */
    void *own;
    void **views; /* (world_size), of shared memory; views[rank] is own */
    lks_comm_memory_t *next;
};

bool lks_place_same(lks_place_t a, lks_place_t b)
{
    return a.memory == b.memory && a.offset == b.offset;
}

lks_place_t lks_place_of_both(lks_place_t a, lks_place_t b)
{
    return lks_place_same(a, b) ? a : (lks_place_t){0};
}

/* --- life --------------------------------------------------------------------------------------- */

static void unmap(lks_comm_memory_t *memory)
{
    for (size_t i = 0; i < memory->world_size && memory->views; i++) {
        if (memory->views[i]) {
            (void)munmap(memory->views[i], memory->nbytes);
        }
    }
    free(memory->views);
    memory->views = NULL;
    memory->own = NULL;
}

static void release(lks_comm_memory_t *memory)
{
    if (atomic_fetch_sub(&memory->references, 1) != 1) {
        return;
    }
    if (memory->number == 0) {
        lks_device_free(lks_device_host(), memory->own);
    }
    unmap(memory);
    free(memory);
}

/* Those that their owners have destroyed. */
static void prune(lks_comm_t *comm)
{
    for (lks_comm_memory_t **link = &comm->memories; *link;) {
        lks_comm_memory_t *memory = *link;
        if (atomic_load(&memory->given_up)) {
            *link = memory->next;
            release(memory);
        } else {
            link = &memory->next;
        }
    }
}

void lks_comm_forget_memories(lks_comm_t *comm)
{
    while (comm->memories) {
        lks_comm_memory_t *memory = comm->memories;
        comm->memories = memory->next;
        release(memory);
    }
}

/* --- sharing ------------------------------------------------------------------------------------ */

enum { WORDS = sizeof(lks_shared_file_t) / sizeof(int64_t) };

/* The first errno that any rank met; no rank's memory is mapped then. */
static int map_all(lks_comm_memory_t *memory, const lks_shared_file_t *files)
{
    int error = 0;
    for (size_t i = 0; i < memory->world_size && !error; i++) {
        error = (int)files[i].error;
    }
    memory->views = error ? NULL : calloc(memory->world_size, sizeof *memory->views);
    if (!error && !memory->views) {
        return ENOMEM;
    }
    for (size_t i = 0; i < memory->world_size && !error; i++) {
        error = lks_shared_file_map(&files[i], &memory->views[i]);
    }
    return error;
}

static lks_status_t check_sizes(const lks_comm_memory_t *memory, const lks_shared_file_t *files)
{
    for (size_t i = 1; i < memory->world_size; i++) {
        if (files[i].nbytes != files[0].nbytes) {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "memory of ranks: rank 0 wants %lld bytes, rank %zu %lld",
                            (long long)files[0].nbytes, i, (long long)files[i].nbytes);
        }
    }
    return LKS_OK;
}

/* All ranks have it mapped, or none has. */
static lks_status_t map_together(lks_comm_t *comm, lks_comm_memory_t *memory,
                                 const lks_shared_file_t *files)
{
    LKS_TRY(check_sizes(memory, files));
    int64_t error = map_all(memory, files);
    LKS_TRY(lks_comm_all_reduce(comm, &error, &error, 1, LKS_DTYPE_I64, LKS_REDUCE_MAX, NULL));
    if (error) {
        if (comm->rank == 0) {
            lks_log(LKS_LOG_WARN,
                    "memory that processes would share is private, which is slower: %s",
                    strerror((int)error));
        }
        unmap(memory);
        return LKS_OK;
    }
    memory->number = ++comm->memory_count;
    memory->own = memory->views[memory->rank];
    return LKS_OK;
}

static lks_status_t share(lks_comm_t *comm, lks_comm_memory_t *memory)
{
    lks_shared_file_t *files = calloc(memory->world_size, sizeof *files);
    if (!files) { /* the others wait */
        lks_comm_abort(comm, "memory of ranks: out of memory");
        return lks_fail(LKS_ERR_NO_MEMORY, "memory of ranks: out of memory");
    }
    lks_shared_file_t mine = lks_shared_file_make(memory->nbytes);
    lks_status_t status = lks_comm_all_gather(comm, &mine, files, WORDS, LKS_DTYPE_I64, NULL);
    if (status == LKS_OK) {
        status = map_together(comm, memory, files);
    }
    lks_shared_file_close(&mine);
    free(files);
    return status;
}

static lks_status_t make_private(lks_comm_memory_t *memory)
{
    LKS_TRY(lks_device_alloc(lks_device_host(), memory->nbytes, &memory->own));
    memset(memory->own, 0, memory->nbytes);
    return LKS_OK;
}

lks_status_t lks_comm_memory_create(lks_comm_t *comm, size_t nbytes, lks_comm_memory_t **out)
{
    lks_comm_memory_t *memory = calloc(1, sizeof *memory);
    if (!memory) {
        lks_comm_abort(comm, "memory of ranks: out of memory"); /* the others wait */
        return lks_fail(LKS_ERR_NO_MEMORY, "memory of ranks: out of memory");
    }
    *memory = (lks_comm_memory_t){
        .rank = (size_t)comm->rank, .world_size = (size_t)comm->world_size, .nbytes = nbytes};
    atomic_init(&memory->references, 1);
    prune(comm);
    lks_status_t status = LKS_OK;
    if (comm->backend->shares_memory && comm->backend->shares_memory(comm)) {
        status = share(comm, memory);
    }
    if (status == LKS_OK && memory->number == 0) {
        status = make_private(memory);
    }
    if (status != LKS_OK) {
        release(memory);
        return status;
    }
    if (memory->number > 0) {
        atomic_fetch_add(&memory->references, 1);
        memory->next = comm->memories;
        comm->memories = memory;
    }
    *out = memory;
    return LKS_OK;
}

void lks_comm_memory_destroy(lks_comm_memory_t *memory)
{
    if (memory) {
        if (memory->number > 0) { /* the communicator unmaps it later */
            (void)madvise(memory->own, memory->nbytes, MADV_REMOVE);
        }
        atomic_store(&memory->given_up, true);
        release(memory);
    }
}

void *lks_comm_memory_data(const lks_comm_memory_t *memory)
{
    return memory->own;
}

/* --- places ------------------------------------------------------------------------------------- */

lks_place_t lks_comm_place(const lks_comm_t *comm, const void *data, size_t nbytes)
{
    for (const lks_comm_memory_t *memory = comm->memories; memory; memory = memory->next) {
        uintptr_t offset = (uintptr_t)data - (uintptr_t)memory->own;
        if (offset < memory->nbytes && nbytes <= memory->nbytes - offset) {
            return (lks_place_t){memory->number, offset};
        }
    }
    return (lks_place_t){0};
}

void lks_comm_views(const lks_comm_t *comm, lks_place_t place, void **views)
{
    const lks_comm_memory_t *memory = comm->memories;
    while (memory->number != place.memory) {
        memory = memory->next;
    }
    for (size_t i = 0; i < memory->world_size; i++) {
        views[i] = (char *)memory->views[i] + place.offset;
    }
}
