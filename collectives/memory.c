/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/memory.h"
#include "collectives/backend.h"

#include <lockstep/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* What a rank says of its memory file. */
typedef struct offer {
    int64_t pid, file, error;
    int64_t nbytes;
} offer_t;
enum { OFFER_WORDS = sizeof(offer_t) / sizeof(int64_t) };

static offer_t make_file(size_t nbytes)
{
    offer_t offer = {.pid = getpid(), .nbytes = (int64_t)nbytes};
    offer.file = memfd_create("lockstep", MFD_CLOEXEC);
    if (offer.file < 0 || ftruncate((int)offer.file, (off_t)nbytes) != 0) {
        offer.error = errno;
    }
    return offer;
}

static int map_view(const offer_t *offer, void **view)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)offer->pid, (int)offer->file);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) {
        return errno;
    }
    void *data = mmap(NULL, (size_t)offer->nbytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int error = data == MAP_FAILED ? errno : 0;
    (void)close(file);
    if (!error) {
        (void)madvise(data, (size_t)offer->nbytes, MADV_HUGEPAGE); /* a wish */
        *view = data;
    }
    return error;
}

/* The first errno that any rank met; no rank's memory is mapped then. */
static int map_all(lks_comm_memory_t *memory, const offer_t *offers)
{
    int error = 0;
    for (size_t i = 0; i < memory->world_size && !error; i++) {
        error = (int)offers[i].error;
    }
    memory->views = error ? NULL : calloc(memory->world_size, sizeof *memory->views);
    if (!error && !memory->views) {
        return ENOMEM;
    }
    for (size_t i = 0; i < memory->world_size && !error; i++) {
        error = map_view(&offers[i], &memory->views[i]);
    }
    return error;
}

static lks_status_t check_sizes(const lks_comm_memory_t *memory, const offer_t *offers)
{
    for (size_t i = 1; i < memory->world_size; i++) {
        if (offers[i].nbytes != offers[0].nbytes) {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "memory of ranks: rank 0 wants %lld bytes, rank %zu %lld",
                            (long long)offers[0].nbytes, i, (long long)offers[i].nbytes);
        }
    }
    return LKS_OK;
}

/* All ranks have it mapped, or none has. */
static lks_status_t map_together(lks_comm_t *comm, lks_comm_memory_t *memory, const offer_t *offers)
{
    LKS_TRY(check_sizes(memory, offers));
    int64_t error = map_all(memory, offers);
    LKS_TRY(lks_comm_all_reduce(comm, &error, &error, 1, LKS_DTYPE_I64, LKS_REDUCE_MAX, NULL));
    if (error) {
        lks_log(LKS_LOG_DEBUG, "memory of ranks: %zu bytes are private: %s", memory->nbytes,
                strerror((int)error));
        unmap(memory);
        return LKS_OK;
    }
    memory->number = ++comm->memory_count;
    memory->own = memory->views[memory->rank];
    return LKS_OK;
}

static lks_status_t share(lks_comm_t *comm, lks_comm_memory_t *memory)
{
    offer_t *offers = calloc(memory->world_size, sizeof *offers);
    if (!offers) {
        return lks_fail(LKS_ERR_NO_MEMORY, "memory of ranks: out of memory");
    }
    offer_t mine = make_file(memory->nbytes);
    lks_status_t status =
        lks_comm_all_gather(comm, &mine, offers, OFFER_WORDS, LKS_DTYPE_I64, NULL);
    if (status == LKS_OK) {
        status = map_together(comm, memory, offers);
    }
    if (mine.file >= 0) {
        (void)close((int)mine.file);
    }
    free(offers);
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
