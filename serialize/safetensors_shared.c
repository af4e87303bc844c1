/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_shared.c - tensors that share bytes: neighbours, once all are sorted by where they lie. Addresses are
 * compared, since two storages can lie in one piece of memory. */
#include "core/checked.h"
#include "serialize/pack.h"
#include "serialize/safetensors_plan.h"

#include <stdlib.h>

typedef struct place {
    uintptr_t begin, end; /* from the first element to behind the last */
    lks_safetensors_item_t *item;
} place_t;

static int compare_places(const void *a, const void *b)
{
    const place_t *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    int order = lks_tensor_compare_layout(x->item->tensor, y->item->tensor);
    return order != 0 ? order : (x->item > y->item) - (x->item < y->item);
}

/* False for an empty tensor. */
static bool place_of(const lks_tree_t *tree, lks_safetensors_item_t *item, place_t *out)
{
    const lks_value_tensor_t *tensor = item->tensor;
    int64_t span;
    if (item->nbytes == 0 ||
        lks_shape_span(tensor->ndim, tensor->shape, tensor->stride, &span) != LKS_OK) {
        return false;
    }
    size_t itemsize = lks_dtype_size(tensor->dtype);
    uintptr_t data = (uintptr_t)lks_storage_data(lks_tree_storage(tree, tensor->storage)->storage);
    out->begin = data + (size_t)tensor->offset * itemsize;
    out->end = out->begin + (size_t)span * itemsize;
    out->item = item;
    return true;
}

static lks_status_t pass_over(const place_t *places, size_t count,
                              lks_status_t (*found)(void *context, lks_safetensors_item_t *item,
                                                    const lks_safetensors_item_t *other, bool same),
                              void *context)
{
    const place_t *widest = places; /* reaches furthest so far */
    for (size_t i = 0, first = 0; i < count; i++) {
        bool same =
            i > 0 && places[i].begin == places[first].begin &&
            lks_tensor_compare_layout(places[i].item->tensor, places[first].item->tensor) == 0;
        if (same) {
            LKS_TRY(found(context, places[i].item, places[first].item, true));
            continue;
        }
        first = i;
        if (i > 0 && places[i].begin < widest->end) {
            LKS_TRY(found(context, places[i].item, widest->item, false));
        }
        widest = places[i].end > widest->end ? &places[i] : widest;
    }
    return LKS_OK;
}

lks_status_t lks_safetensors_find_shared(const lks_safetensors_plan_t *plan,
                                         lks_status_t (*found)(void *context,
                                                               lks_safetensors_item_t *item,
                                                               const lks_safetensors_item_t *other,
                                                               bool same),
                                         void *context)
{
    place_t *places = calloc(plan->count + 1, sizeof *places);
    if (!places) {
        return lks_fail(LKS_ERR_NO_MEMORY, "looking for shared tensors: out of memory");
    }
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        count += place_of(plan->tree, &plan->items[i], &places[count]);
    }
    qsort(places, count, sizeof *places, compare_places);
    lks_status_t status = pass_over(places, count, found, context);
    free(places);
    return status;
}
