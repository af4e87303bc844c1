/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_plan.c - see safetensors_plan.h. */
#include "serialize/safetensors_plan.h"
#include "core/checked.h"
#include "serialize/drop.h"
#include "serialize/name_text.h"
#include "serialize/pack.h"
#include "serialize/places.h"
#include "serialize/utf8.h"
#include "serialize/value_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct planner {
    lks_safetensors_plan_t *plan;
    const lks_save_options_t *options;
} planner_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "preparing safetensors: out of memory");
}

/* --- what cannot be held ------------------------------------------------------------------------ */

/* NULL, or why a value cannot be held. `why` is where a sentence can be put together. */
static const char *complain_value(const lks_value_t *value, char why[LKS_WHY_MAX])
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    if (!tensor) {
        return lks_save_no_tensor("safetensors", value, why);
    }
    if (lks_value_tensor_quantizer(value) || !lks_safetensors_dtype_of(tensor->dtype)) {
        (void)snprintf(why, LKS_WHY_MAX, "safetensors has no tensors of %s",
                       lks_dtype_name(tensor->dtype));
        return why;
    }
    if (tensor->is_conj || tensor->is_neg) {
        return "safetensors has no conjugated or negated views";
    }
    if (tensor->ndim == 0 && lks_safetensors_dtype_of(tensor->dtype)->group > 1) {
        return "safetensors has no scalars of a dtype that groups elements";
    }
    return NULL;
}

static const char *complain_key(const lks_value_t *key)
{
    size_t nbytes = 0;
    const char *text = lks_value_text(key, &nbytes);
    if (lks_value_kind(key) != LKS_VALUE_STR) {
        return "safetensors holds tensors under str keys only";
    }
    if (!lks_utf8_valid(text, nbytes) || lks_utf8_has_surrogate(text, nbytes)) {
        return "its key is no UTF-8";
    }
    if (nbytes == strlen(LKS_SAFETENSORS_METADATA) &&
        memcmp(text, LKS_SAFETENSORS_METADATA, nbytes) == 0) {
        return "safetensors keeps this name for its metadata";
    }
    return NULL;
}

/* --- items -------------------------------------------------------------------------------------- */

static lks_status_t add_item(const planner_t *planner, const lks_value_t *dict, size_t index)
{
    lks_safetensors_plan_t *plan = planner->plan;
    const lks_value_t *key = lks_value_key_at(dict, index), *value = lks_value_at(dict, index);
    char digits[LKS_STEP_MAX], why[LKS_WHY_MAX];
    lks_name_t path;
    if (!lks_step_name(dict, index, digits, &path)) {
        path = lks_name(lks_value_kind_name(lks_value_kind(key)));
    }
    const char *complaint = complain_key(key);
    complaint = complaint ? complaint : complain_value(value, why);
    if (complaint) {
        return lks_save_drop(planner->options, path.text, complaint);
    }
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    uint64_t nbytes;
    if (lks_tensor_packed_size(tensor, &nbytes) != LKS_OK) {
        return lks_save_drop(planner->options, path.text, "its elements need more than 2^63 bytes");
    }
    LKS_TRY(lks_save_drop_attributes(planner->options, path.text, "safetensors", value));
    lks_safetensors_item_t *item = &plan->items[plan->count++];
    *item = (lks_safetensors_item_t){
        .tensor = tensor, .dtype = lks_safetensors_dtype_of(tensor->dtype), .nbytes = nbytes};
    item->name.text = lks_value_text(key, &item->name.length); /* with any zero bytes in it */
    return LKS_OK;
}

/* Tells, or refuses, that `item` shares bytes with `other`, and notes which of them is not written. */
static lks_status_t found_shared(void *context, lks_safetensors_item_t *item,
                                 const lks_safetensors_item_t *other, bool same)
{
    const planner_t *planner = context;
    char why[320];
    lks_strbuf_t shown = {0};
    lks_name_append(&shown, other->name, 200);
    (void)snprintf(why, sizeof why, "it shares bytes with '%s', which safetensors cannot say%s",
                   lks_strbuf_text(&shown),
                   !planner->options->drop ? ""
                   : same                  ? ": only that one is written"
                                           : ": it becomes a copy");
    lks_strbuf_fini(&shown);
    LKS_TRY(lks_save_drop(planner->options, item->name.text, why));
    if (same) {
        item->kept = other->name;
    }
    return LKS_OK;
}

/* Moves the items that are not written behind the others. */
static lks_status_t set_aliases_aside(lks_safetensors_plan_t *plan)
{
    lks_safetensors_item_t *sorted = calloc(plan->count + 1, sizeof *sorted);
    if (!sorted) {
        return no_memory();
    }
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        if (!plan->items[i].kept.text) {
            sorted[count++] = plan->items[i];
        }
    }
    size_t written = count;
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->items[i].kept.text) {
            sorted[count++] = plan->items[i];
        }
    }
    free(plan->items);
    plan->items = sorted;
    plan->count = written;
    plan->aliases = count - written;
    return LKS_OK;
}

static lks_status_t count_users(lks_safetensors_plan_t *plan)
{
    size_t room = lks_tree_storage_count(plan->tree) + 1;
    plan->users = calloc(room, sizeof *plan->users);
    plan->held = calloc(room, sizeof *plan->held);
    if (!plan->users || !plan->held) {
        return no_memory();
    }
    for (size_t i = 0; i < plan->count; i++) {
        plan->users[plan->items[i].tensor->storage]++;
    }
    return LKS_OK;
}

/* The attribute "__metadata__" of the dict if it is fit to be metadata. */
static const lks_value_t *metadata_of(const lks_value_t *dict)
{
    const lks_value_t *metadata =
        lks_value_find(lks_value_dict_attributes(dict), LKS_SAFETENSORS_METADATA);
    if (!metadata || lks_value_kind(metadata) != LKS_VALUE_DICT) {
        return NULL;
    }
    for (size_t i = 0; i < lks_value_count(metadata); i++) {
        const lks_value_t *parts[] = {lks_value_key_at(metadata, i), lks_value_at(metadata, i)};
        for (int part = 0; part < 2; part++) {
            size_t nbytes = 0;
            const char *text = lks_value_text(parts[part], &nbytes);
            if (lks_value_kind(parts[part]) != LKS_VALUE_STR || !lks_utf8_valid(text, nbytes) ||
                lks_utf8_has_surrogate(text, nbytes)) {
                return NULL;
            }
        }
    }
    return metadata;
}

lks_status_t lks_safetensors_plan_init(const lks_tree_t *tree, const lks_save_options_t *options,
                                       lks_safetensors_plan_t *out)
{
    const lks_value_t *root = lks_tree_root(tree);
    *out = (lks_safetensors_plan_t){.tree = tree, .metadata = metadata_of(root)};
    if (lks_value_kind(root) != LKS_VALUE_DICT) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "safetensors holds a dict of tensors, and the root is of kind %s",
                        lks_value_kind_name(lks_value_kind(root)));
    }
    planner_t planner = {.plan = out, .options = options};
    out->items = calloc(lks_value_count(root) + 1, sizeof *out->items);
    if (!out->items) {
        return no_memory();
    }
    for (size_t i = 0; i < lks_value_count(root); i++) {
        LKS_TRY(add_item(&planner, root, i));
    }
    LKS_TRY(lks_safetensors_find_shared(out, found_shared, &planner));
    LKS_TRY(set_aliases_aside(out));
    return count_users(out);
}

void lks_safetensors_plan_fini(lks_safetensors_plan_t *plan)
{
    for (size_t i = 0; plan->held && i < lks_tree_storage_count(plan->tree); i++) {
        if (plan->held[i]) {
            lks_tree_unload_storage(plan->tree, i); /* writing ended early */
        }
    }
    free(plan->items);
    free(plan->users);
    free(plan->held);
    *plan = (lks_safetensors_plan_t){0};
}
