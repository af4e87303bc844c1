/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_places.c - whether the tensors of a header fill the data: each begins where another ends. */
#include "serialize/name_text.h"
#include "serialize/safetensors_header.h"

#include <stdlib.h>

lks_status_t lks_safetensors_fail_twice(const lks_value_t *name)
{
    return lks_tensor_error(lks_fail(LKS_ERR_FORMAT, "the header has it twice"), name);
}

static int compare_places(const void *a, const void *b, void *context)
{
    const lks_safetensors_entry_t *entries = context;
    const lks_safetensors_entry_t *x = &entries[*(const size_t *)a];
    const lks_safetensors_entry_t *y = &entries[*(const size_t *)b];
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return x->end < y->end ? -1 : x->end > y->end;
}

/* The tensor at `entry` begins where the one before it ended. */
static lks_status_t check_begin(const lks_safetensors_entry_t *entry, size_t end)
{
    if (entry->begin == end) {
        return LKS_OK;
    }
    lks_status_t status = lks_fail(LKS_ERR_FORMAT,
                                   "it begins at byte %zu of the data, but the one before it ends "
                                   "at %zu, and there are no %s",
                                   entry->begin, end, entry->begin > end ? "holes" : "overlaps");
    return lks_tensor_error(status, entry->name);
}

static lks_status_t check_end(size_t end, size_t data_size)
{
    if (end == data_size) {
        return LKS_OK;
    }
    return lks_fail(LKS_ERR_FORMAT,
                    "%zu bytes follow the last tensor, which ends at byte %zu of the "
                    "data",
                    data_size - end, end);
}

/* Mostly the header has the tensors in the order of their data. */
static bool in_order(const lks_safetensors_header_t *header)
{
    for (size_t i = 1; i < header->count; i++) {
        if (header->entries[i].begin < header->entries[i - 1].end) {
            return false;
        }
    }
    return true;
}

static lks_status_t check_places(const lks_safetensors_header_t *header, size_t data_size)
{
    size_t *order = NULL, end = 0;
    if (!in_order(header)) {
        order = calloc(header->count, sizeof *order);
        if (!order) {
            return lks_fail(LKS_ERR_NO_MEMORY, "the header: out of memory");
        }
        for (size_t i = 0; i < header->count; i++) {
            order[i] = i;
        }
        qsort_r(order, header->count, sizeof *order, compare_places, header->entries);
    }
    lks_status_t status = LKS_OK;
    for (size_t i = 0; i < header->count && status == LKS_OK; i++) {
        const lks_safetensors_entry_t *entry = &header->entries[order ? order[i] : i];
        status = check_begin(entry, end);
        end = entry->end;
    }
    free(order);
    return status == LKS_OK ? check_end(end, data_size) : status;
}

/* Tensors that are out of place are mostly one that is there twice: says so if it is. */
static lks_status_t explain_places(const lks_safetensors_header_t *header)
{
    lks_strmap_t names = {0};
    lks_status_t status = LKS_ERR_FORMAT;
    for (size_t i = 0; i < header->count; i++) {
        size_t nbytes;
        const char *name = lks_value_text(header->entries[i].name, &nbytes);
        if (lks_strmap_add(&names, name, nbytes, i) < i) {
            status = lks_safetensors_fail_twice(header->entries[i].name);
            break;
        }
    }
    lks_strmap_fini(&names);
    return status;
}

lks_status_t lks_safetensors_check_places(const lks_safetensors_header_t *header, size_t data_size)
{
    lks_status_t status = check_places(header, data_size);
    return status == LKS_ERR_FORMAT ? explain_places(header) : status;
}
