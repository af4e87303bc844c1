/* SPDX-License-Identifier: Apache-2.0 */
/* private_load.c - see private_load.h.
 * Bytes are read by the file's descriptor, not copied from its map: that spares the page faults, does not count
 * the file twice as memory in use, and meets a file that was shortened as an error, not as SIGBUS. Each slice is
 * checksummed while it is in the cache. */
#include "serialize/private_load.h"
#include "core/checked.h"
#include "serialize/check.h"
#include "serialize/crc32.h"
#include "serialize/extent.h"
#include "serialize/memory.h"
#include "serialize/value_node.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define SLICE ((size_t)128 << 10)
#define ALIGNMENT ((size_t)64)
/* Headers that settling looks at before their pages are given back: each brings 64 KiB. */
#define HEADERS_MAPPED 64

/* One storage to be read. */
typedef struct item {
    size_t index;  /* of the storage */
    size_t offset; /* in the memory */
    bool fused;    /* its checksum is that of the bytes that are read */
    lks_storage_t *copy;
} item_t;

typedef struct job {
    lks_tree_t *tree;
    const lks_source_t *source;
    int fd; /* of the source; -1: it can only be reached through the map */
    item_t *items;
    size_t count;
    size_t *wanted; /* all that must be valid, whether it is read or lies in memory already */
    size_t wanted_count;
    size_t checked;        /* the first storages of the tree, which have a checksum */
    lks_extent_t *extents; /* by item; `data` is where the bytes go */
    lks_memory_t *memory;
    _Atomic int reason; /* of the first failure to read; 0: none */
} job_t;

/* --- what is wanted ------------------------------------------------------------------------------- */

/* Each storage once, however often it is named. */
static lks_status_t mark_wanted(const lks_tree_t *tree, const lks_load_options_t *options,
                                bool *marks)
{
    for (size_t i = 0; i < tree->storage_count; i++) {
        marks[i] = options->storages == NULL;
    }
    for (size_t i = 0; options->storages && i < options->count; i++) {
        if (options->storages[i] >= tree->storage_count) {
            return lks_fail(LKS_ERR_INVALID_ARG, "there are %zu storages, no number %zu",
                            tree->storage_count, options->storages[i]);
        }
        marks[options->storages[i]] = true;
    }
    return LKS_OK;
}

static lks_status_t add_item(job_t *job, size_t index, size_t *size)
{
    const lks_storage_t *storage = job->tree->storages[index].storage;
    const unsigned char *data = lks_storage_data(storage);
    size_t nbytes = lks_storage_nbytes(storage);
    bool fused = false;
    if (index < job->checked) {
        lks_check_t check = lks_check_get(job->tree, index);
        fused = check.data == data && check.nbytes == nbytes;
    }
    job->extents[job->count] =
        (lks_extent_t){.nbytes = nbytes, .offset = (uint64_t)(data - job->source->data)};
    job->items[job->count++] = (item_t){.index = index, .offset = *size, .fused = fused};
    size_t rounded;
    if (!lks_add_size(nbytes, ALIGNMENT - 1, &rounded) ||
        !lks_add_size(*size, rounded & ~(ALIGNMENT - 1), size)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "the storages exceed the address space");
    }
    return LKS_OK;
}

static lks_status_t plan(job_t *job, const bool *marks)
{
    size_t size = 0;
    for (size_t i = 0; i < job->tree->storage_count; i++) {
        if (marks[i]) {
            job->wanted[job->wanted_count++] = i;
            if (lks_source_holds(job->source, lks_storage_data(job->tree->storages[i].storage))) {
                LKS_TRY(add_item(job, i, &size));
            }
        }
    }
    LKS_TRY(lks_memory_create(size, &job->memory));
    for (size_t i = 0; i < job->count; i++) {
        job->extents[i].data = job->memory->data + job->items[i].offset;
    }
    return LKS_OK;
}

/* --- reading ---------------------------------------------------------------------------------------- */

/* False once a read has failed, here or elsewhere. */
static bool read_slice(job_t *job, uint64_t offset, unsigned char *out, size_t nbytes)
{
    if (job->fd < 0) {
        memcpy(out, job->source->data + offset, nbytes);
        return true;
    }
    int none = 0, reason = job->reason ? 0 : lks_source_read(job->fd, offset, out, nbytes);
    if (reason != 0) {
        (void)atomic_compare_exchange_strong(&job->reason, &none, reason);
    }
    return job->reason == 0;
}

static uint32_t read_block(void *context, const lks_extent_t *extent, size_t at, size_t nbytes)
{
    job_t *job = context;
    unsigned char *out = job->memory->data + (extent->data - job->memory->data) + at;
    uint64_t offset = extent->offset + at;
    uint32_t crc = 0;
    for (size_t done = 0; done < nbytes;) {
        size_t slice = nbytes - done < SLICE ? nbytes - done : SLICE;
        if (!read_slice(job, offset + done, out + done, slice)) {
            break;
        }
        crc = lks_crc32(crc, out + done, slice);
        done += slice;
    }
    return crc;
}

static lks_status_t read_all(job_t *job, size_t threads)
{
    LKS_TRY(lks_extents_pass(job->extents, job->count, threads, read_block, job));
    if (job->reason != 0) {
        return lks_fail(LKS_ERR_IO, "cannot read '%s': %s", job->source->path,
                        lks_source_reason(job->reason));
    }
    size_t headers = 0;
    for (size_t i = 0; i < job->count; i++) {
        if (job->items[i].fused) {
            job->tree->checks->settle(job->tree->load_context, job->items[i].index,
                                      job->extents[i].crc);
            headers++;
        }
        if (headers > 0 && (headers == HEADERS_MAPPED || i == job->count - 1)) {
            lks_source_drop_pages(job->source);
            headers = 0;
        }
    }
    return LKS_OK;
}

/* Checks the rest, asks for all verdicts, and has everything that is not read unpacked or converted. */
static lks_status_t verify(const job_t *job, size_t threads)
{
    LKS_TRY(lks_checks_run_storages(job->tree, job->wanted, job->wanted_count, threads));
    lks_storage_names_t *names = NULL;
    lks_status_t status = LKS_OK;
    for (size_t i = 0; i < job->wanted_count && status == LKS_OK; i++) {
        size_t index = job->wanted[i];
        status = index < job->checked ? lks_check_verdict(job->tree, index, &names) : LKS_OK;
        if (status == LKS_OK) {
            status = lks_tree_show_storage(job->tree, index, NULL);
        }
    }
    lks_storage_names_destroy(names);
    return status;
}

/* --- the tree --------------------------------------------------------------------------------------- */

static lks_status_t wrap_copies(job_t *job)
{
    for (size_t i = 0; i < job->count; i++) {
        LKS_TRY(lks_memory_storage(job->memory, job->items[i].offset, job->extents[i].nbytes,
                                   &job->items[i].copy));
    }
    return LKS_OK;
}

static void swap_storages(job_t *job)
{
    for (size_t i = 0; i < job->count; i++) {
        lks_tree_storage_t *storage = &job->tree->storages[job->items[i].index];
        lks_storage_t *mapped = storage->storage;
        storage->storage = job->items[i].copy;
        job->items[i].copy = mapped; /* let go with the job */
    }
}

static lks_status_t run(job_t *job, const lks_load_options_t *options, bool *marks)
{
    LKS_TRY(mark_wanted(job->tree, options, marks));
    LKS_TRY(plan(job, marks));
    LKS_TRY(read_all(job, options->threads));
    LKS_TRY(verify(job, options->threads));
    LKS_TRY(wrap_copies(job));
    swap_storages(job);
    return LKS_OK;
}

static void job_fini(job_t *job)
{
    for (size_t i = 0; i < job->count; i++) {
        lks_storage_release(job->items[i].copy);
    }
    lks_memory_release(job->memory);
    free(job->items);
    free(job->wanted);
    free(job->extents);
    if (job->fd >= 0) {
        (void)close(job->fd);
    }
}

lks_status_t lks_private_load(lks_tree_t *tree, const lks_source_t *source,
                              const lks_load_options_t *options)
{
    size_t room = tree->storage_count + 1;
    job_t job = {.tree = tree,
                 .source = source,
                 .fd = lks_source_reopen(source),
                 .items = calloc(room, sizeof *job.items),
                 .wanted = calloc(room, sizeof *job.wanted),
                 .extents = calloc(room, sizeof *job.extents)};
    bool *marks = calloc(room, sizeof *marks);
    (void)lks_check_count(tree, &job.checked);
    lks_status_t status;
    if (job.items && job.wanted && job.extents && marks) {
        status = run(&job, options, marks);
    } else {
        status = lks_fail(LKS_ERR_NO_MEMORY, "loading '%s': out of memory", source->path);
    }
    free(marks);
    job_fini(&job);
    return status;
}
