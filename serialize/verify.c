/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - every checksum of a file: all of them checked together, then asked for one by one in the file's
 * order. */
#include "core/checked.h"
#include "core/parallel.h"
#include "serialize/check.h"
#include "serialize/value_node.h"

#include <lockstep/checkpoint.h>
#include <stdlib.h>

typedef struct placed {
    uint64_t place;
    size_t index; /* of the check */
} placed_t;

static int by_place(const void *a, const void *b)
{
    const placed_t *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

/* Indices of all checks as they come in the file. */
static lks_status_t list_checks(const lks_tree_t *tree, size_t count, size_t **out,
                                uint64_t *nbytes)
{
    placed_t *placed = calloc(count + 1, sizeof *placed);
    size_t *indices = calloc(count + 1, sizeof *indices);
    if (!placed || !indices) {
        free(placed);
        free(indices);
        return lks_fail(LKS_ERR_NO_MEMORY, "verifying %zu records: out of memory", count);
    }
    for (size_t i = 0; i < count; i++) {
        lks_check_t check = lks_check_get(tree, i);
        placed[i] = (placed_t){.place = check.place, .index = i};
        *nbytes += check.nbytes;
    }
    qsort(placed, count, sizeof *placed, by_place);
    for (size_t i = 0; i < count; i++) {
        indices[i] = placed[i].index;
    }
    free(placed);
    *out = indices;
    return LKS_OK;
}

/* Storages that have to be loaded to be checked. */
typedef struct trial {
    const lks_tree_t *tree;
    const size_t *indices;
    bool *good; /* by place in `indices` */
} trial_t;

/* An error is met again, and reported, by whoever asks for the verdict. */
static void try_storage(void *context, size_t i)
{
    const trial_t *trial = context;
    trial->good[i] = lks_tree_load_storage(trial->tree, trial->indices[i], NULL) == LKS_OK;
    if (trial->good[i]) {
        lks_tree_unload_storage(trial->tree, trial->indices[i]);
    }
}

static lks_status_t run(const lks_tree_t *tree, const size_t *indices, size_t count, size_t threads,
                        bool *good)
{
    if (tree->checks) {
        return lks_checks_run(tree, indices, count, threads);
    }
    trial_t trial = {.tree = tree, .indices = indices, .good = good};
    lks_parallel_for(threads > 0 ? threads : lks_allowed_cores(), count, try_storage, &trial);
    return LKS_OK;
}

/* The verdicts, in order, on all that are not known to be good. `*first` is the first bad one. */
static lks_status_t collect(const lks_tree_t *tree, const size_t *indices, const bool *good,
                            const lks_verify_options_t *options, lks_verify_report_t *report,
                            lks_error_t *first)
{
    lks_storage_names_t *names = NULL;
    lks_status_t status = LKS_OK;
    for (size_t i = 0; i < report->records; i++) {
        status = good[i] ? LKS_OK : lks_check_verdict(tree, indices[i], &names);
        if (status != LKS_OK && status != LKS_ERR_CORRUPT && status != LKS_ERR_FORMAT) {
            break; /* nothing is known of this one */
        }
        if (status == LKS_OK) {
            continue;
        }
        const lks_error_t error = *lks_last_error();
        if (report->bad++ == 0) {
            *first = error;
        }
        if (options->on_bad) {
            options->on_bad(options->context, &error);
        }
        status = LKS_OK;
    }
    lks_storage_names_destroy(names);
    return status;
}

lks_status_t lks_checkpoint_verify(lks_checkpoint_t *checkpoint,
                                   const lks_verify_options_t *options, lks_verify_report_t *report)
{
    const lks_verify_options_t defaults = {0};
    const lks_tree_t *tree = lks_checkpoint_tree(checkpoint);
    options = options ? options : &defaults;
    lks_verify_report_t found = {.records = tree->unchecked ? 0 : lks_check_count(tree, NULL)};
    lks_error_t first = {.status = LKS_OK};
    size_t *indices;
    LKS_TRY(list_checks(tree, found.records, &indices, &found.nbytes));
    lks_status_t status;
    bool *good = calloc(found.records + 1, sizeof *good);
    if (!good) {
        status = lks_fail(LKS_ERR_NO_MEMORY, "verifying %zu records: out of memory", found.records);
        goto free_indices;
    }
    LKS_GOTO(run(tree, indices, found.records, options->threads, good), free_good);
    LKS_GOTO(collect(tree, indices, good, options, &found, &first), free_good);
    if (report) {
        *report = found;
    }
    status = found.bad > 0 ? lks_error_raise(&first) : LKS_OK;

free_good:
    free(good);
free_indices:
    free(indices);
    return status;
}
