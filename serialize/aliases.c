/* SPDX-License-Identifier: Apache-2.0 */
/* aliases.c - keys of a state dict that name the same elements (tied weights): found by sorting the views. */
#include "serialize/load_report.h"
#include "serialize/name_text.h"
#include "serialize/pack.h"

#include <stdlib.h>

#define LINE_NAMES 16

typedef struct view {
    const lks_value_tensor_t *tensor;
    size_t index; /* in the state dict */
} view_t;

static int compare_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* 0 for two names of the same elements. */
static int compare_tensors(const lks_value_tensor_t *a, const lks_value_tensor_t *b)
{
    int order = (a->storage > b->storage) - (a->storage < b->storage);
    if (order == 0) {
        order = compare_i64(a->offset, b->offset);
    }
    return order != 0 ? order : lks_tensor_compare_layout(a, b);
}

static int compare_views(const void *a, const void *b)
{
    const view_t *x = a, *y = b;
    int order = compare_tensors(x->tensor, y->tensor);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static const lks_value_tensor_t *tensor_of(const lks_state_dict_t *dict, size_t index)
{
    return lks_value_tensor(lks_state_dict_value(dict, index));
}

static bool has_elements(const lks_value_tensor_t *tensor)
{
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] == 0) {
            return false;
        }
    }
    return true;
}

static void write_alias_line(lks_strbuf_t *buf, const lks_state_dict_t *dict, const view_t *views,
                             size_t count)
{
    lks_strbuf_append_str(buf, "aliases ");
    for (size_t i = 0; i < count && i < LINE_NAMES; i++) {
        lks_strbuf_append_str(buf, i > 0 ? ", " : "");
        lks_name_append(buf, lks_name(lks_state_dict_key(dict, views[i].index)),
                        LKS_LINE_NAME_BYTES);
    }
    if (count > LINE_NAMES) {
        lks_strbuf_appendf(buf, " and %zu more", count - LINE_NAMES);
    }
    lks_strbuf_append_str(buf, "\n");
}

bool lks_report_write_aliases(lks_strbuf_t *buf, const lks_state_dict_t *dict)
{
    size_t total = lks_state_dict_count(dict), count = 0;
    view_t *views = calloc(total, sizeof *views);
    if (!views) {
        return false;
    }
    for (size_t i = 0; i < total; i++) {
        if (has_elements(tensor_of(dict, i))) {
            views[count++] = (view_t){.tensor = tensor_of(dict, i), .index = i};
        }
    }
    qsort(views, count, sizeof *views, compare_views);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1;
             next < count && compare_tensors(views[i].tensor, views[next].tensor) == 0;) {
            next++;
        }
        if (next - i > 1) {
            write_alias_line(buf, dict, &views[i], next - i);
        }
    }
    free(views);
    return true;
}
