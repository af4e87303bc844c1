/* SPDX-License-Identifier: Apache-2.0 */
/* key_prefix.c - collects the fronts, sorts them, and looks at the runs of equal ones. */
#include "serialize/key_prefix.h"
#include "core/checked.h"

#include <stdlib.h>

/* Fronts behind which a name of the other side begins, one for each pair. */
typedef struct fronts {
    lks_name_t *items;
    size_t count, capacity;
} fronts_t;

static bool fronts_add(fronts_t *fronts, lks_name_t front)
{
    if (fronts->count == fronts->capacity) {
        size_t capacity = fronts->capacity ? fronts->capacity : 32, nbytes;
        if (!lks_mul_size(capacity, 2, &capacity) ||
            !lks_mul_size(capacity, sizeof *fronts->items, &nbytes)) {
            return false;
        }
        lks_name_t *items = realloc(fronts->items, nbytes);
        if (!items) {
            return false;
        }
        fronts->items = items;
        fronts->capacity = capacity;
    }
    fronts->items[fronts->count++] = front;
    return true;
}

static lks_status_t fronts_collect(fronts_t *fronts, const lks_name_t *names, size_t count,
                                   const lks_key_table_t *others, bool skip_wrappers)
{
    for (size_t i = 0; i < count; i++) {
        lks_suffix_walk_t walk;
        lks_suffix_walk_init(&walk, others, names[i]);
        for (size_t length, other; lks_suffix_walk_next(&walk, &length, &other);) {
            lks_name_t front = {.text = names[i].text, .length = length};
            bool skipped = skip_wrappers && lks_front_has_wrapper(front);
            if (!skipped && !fronts_add(fronts, front)) {
                return lks_fail(LKS_ERR_NO_MEMORY,
                                "counting the prefixes of %zu names: out of memory", count);
            }
        }
    }
    return LKS_OK;
}

static int by_length_and_text(const void *a, const void *b)
{
    const lks_name_t *x = a, *y = b;
    if (x->length != y->length) {
        return x->length < y->length ? -1 : 1;
    }
    return memcmp(x->text, y->text, x->length);
}

static lks_prefixes_t choose(fronts_t *fronts, size_t shared_length, size_t other_count)
{
    lks_prefixes_t chosen = {{0}, {0}};
    size_t most = 0, complete = 0;
    if (fronts->count > 0) {
        qsort(fronts->items, fronts->count, sizeof *fronts->items, by_length_and_text);
    }
    for (size_t i = 0, next; i < fronts->count; i = next) {
        lks_name_t front = fronts->items[i];
        for (next = i + 1; next < fronts->count && lks_name_equal(fronts->items[next], front);) {
            next++;
        }
        if (front.length <= shared_length && next - i > most) {
            chosen.shared = front;
            most = next - i;
        }
        if (next - i == other_count) {
            chosen.sole = front;
            complete++;
        }
    }
    if (complete != 1 || lks_name_equal(chosen.sole, chosen.shared)) {
        chosen.sole.length = 0; /* two that fit equally well: neither is right */
    }
    return chosen;
}

lks_status_t lks_prefixes_find(const lks_name_t *names, size_t count, const lks_key_table_t *others,
                               size_t other_count, bool skip_wrappers, lks_prefixes_t *out)
{
    fronts_t fronts = {0};
    lks_status_t status = fronts_collect(&fronts, names, count, others, skip_wrappers);
    if (status == LKS_OK) {
        *out = choose(&fronts, lks_names_shared_front(names, count), other_count);
    }
    free(fronts.items);
    return status;
}
