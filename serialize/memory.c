/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c - see memory.h. First touch of ordinary pages is slower than any disk cache: 1 to 2 GB/s, and a
 * multiple of that in huge ones. */
#include "serialize/memory.h"
#include "core/checked.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* Memory of at least a huge page begins at one. */
static bool map_memory(lks_memory_t *memory, size_t size)
{
    size_t slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    if (!lks_add_size(size > 0 ? size : 1, slack, &memory->map_size)) {
        return false;
    }
    memory->map = mmap(NULL, memory->map_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory->map == MAP_FAILED) {
        return false;
    }
    size_t past = (uintptr_t)memory->map % HUGE_PAGE;
    memory->data = (unsigned char *)memory->map + (slack > 0 && past > 0 ? HUGE_PAGE - past : 0);
    memory->size = size;
    if (slack > 0) {
        (void)madvise(memory->data, size, MADV_HUGEPAGE); /* as good as it gets without */
    }
    return true;
}

lks_status_t lks_memory_create(size_t size, lks_memory_t **out)
{
    lks_memory_t *memory = calloc(1, sizeof *memory);
    if (!memory || !map_memory(memory, size)) {
        free(memory);
        return lks_fail(LKS_ERR_NO_MEMORY, "no memory for storages of %zu bytes", size);
    }
    atomic_init(&memory->references, 1);
    *out = memory;
    return LKS_OK;
}

void lks_memory_release(lks_memory_t *memory)
{
    if (memory && atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) == 1) {
        (void)munmap(memory->map, memory->map_size);
        free(memory);
    }
}

static void release_memory(void *context)
{
    lks_memory_release(context);
}

lks_status_t lks_memory_storage(lks_memory_t *memory, size_t offset, size_t nbytes,
                                lks_storage_t **out)
{
    LKS_TRY(lks_storage_wrap(lks_device_host(), memory->data + offset, nbytes, release_memory,
                             memory, out));
    atomic_fetch_add_explicit(&memory->references, 1, memory_order_relaxed);
    return LKS_OK;
}
