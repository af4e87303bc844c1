/* SPDX-License-Identifier: Apache-2.0 */
/* leaves.c - see leaves.h. */
#include "runtime/cli/leaves.h"
#include "runtime/cli/tree_walk.h"

#include <stdlib.h>
#include <string.h>

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "listing the values of a checkpoint: out of memory");
}

static lks_status_t add(void *context, const char *path, size_t nbytes, const lks_value_t *value)
{
    leaves_t *leaves = context;
    if (leaves->count == leaves->capacity) {
        size_t capacity = leaves->capacity ? leaves->capacity * 2 : 256;
        leaf_t *items = realloc(leaves->items, capacity * sizeof *items);
        if (!items) {
            return no_memory();
        }
        leaves->items = items;
        leaves->capacity = capacity;
    }
    char *copy = malloc(nbytes + 1);
    if (!copy) {
        return no_memory();
    }
    memcpy(copy, path, nbytes);
    copy[nbytes] = '\0';
    leaves->items[leaves->count] =
        (leaf_t){.path = copy, .nbytes = nbytes, .position = leaves->count, .value = value};
    leaves->count++;
    return LKS_OK;
}

int leaf_compare_paths(const leaf_t *a, const leaf_t *b)
{
    size_t shorter = a->nbytes < b->nbytes ? a->nbytes : b->nbytes;
    int order = memcmp(a->path, b->path, shorter);
    return order != 0 ? order : (a->nbytes > b->nbytes) - (a->nbytes < b->nbytes);
}

/* Leaves under one path stay in the tree's order. */
static int by_path(const void *a, const void *b)
{
    const leaf_t *x = a, *y = b;
    int order = leaf_compare_paths(x, y);
    return order != 0 ? order : (x->position > y->position) - (x->position < y->position);
}

lks_status_t leaves_collect(const lks_value_t *root, unsigned flags, leaves_t *out)
{
    leaves_t leaves = {0};
    lks_status_t status = tree_walk(root, flags, add, &leaves);
    if (status != LKS_OK) {
        leaves_fini(&leaves);
        return status;
    }
    if (leaves.count > 0) {
        qsort(leaves.items, leaves.count, sizeof *leaves.items, by_path);
    }
    *out = leaves;
    return LKS_OK;
}

void leaves_fini(leaves_t *leaves)
{
    for (size_t i = 0; i < leaves->count; i++) {
        free(leaves->items[i].path);
    }
    free(leaves->items);
    *leaves = (leaves_t){0};
}
