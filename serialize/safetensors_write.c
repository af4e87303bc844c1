/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_write.c - writing; see safetensors.h. */
#include "core/checked.h"
#include "serialize/bytes.h"
#include "serialize/json_write.h"
#include "serialize/pack.h"
#include "serialize/safetensors_plan.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "writing safetensors: out of memory");
}

/* --- the order of the safetensors library -------------------------------------------------------- */

/* By descending rank of the dtype, which is its place in the list, then by name. */
static int compare_items(const void *a, const void *b)
{
    const lks_safetensors_item_t *x = *(const lks_safetensors_item_t *const *)a;
    const lks_safetensors_item_t *y = *(const lks_safetensors_item_t *const *)b;
    if (x->dtype != y->dtype) {
        return x->dtype > y->dtype ? -1 : 1;
    }
    return lks_name_compare(x->name, y->name);
}

static const lks_safetensors_item_t **sorted_items(const lks_safetensors_plan_t *plan, size_t first,
                                                   size_t count)
{
    const lks_safetensors_item_t **order = calloc(count + 1, sizeof *order);
    for (size_t i = 0; order && i < count; i++) {
        order[i] = &plan->items[first + i];
    }
    if (order) {
        qsort(order, count, sizeof *order, compare_items);
    }
    return order;
}

/* --- the header --------------------------------------------------------------------------------- */

static void append_pair(lks_strbuf_t *text, bool *first, lks_name_t key, lks_name_t value)
{
    lks_strbuf_append_str(text, *first ? "" : ",");
    *first = false;
    lks_json_append(text, key.text, key.length);
    lks_strbuf_append(text, ":", 1);
    lks_json_append(text, value.text, value.length);
}

static lks_name_t text_of(const lks_value_t *value)
{
    lks_name_t name = {0};
    name.text = lks_value_text(value, &name.length);
    return name;
}

/* What the metadata say already is the user's. */
static bool in_metadata(const lks_safetensors_plan_t *plan, lks_name_t name)
{
    const lks_text_node_t key = {
        .head.kind = LKS_VALUE_STR, .text = name.text, .nbytes = name.length};
    return plan->metadata ? lks_dict_find(plan->metadata, &key.head) != NULL
                          : lks_name_equal(name, lks_name("format"));
}

static void append_metadata(lks_strbuf_t *text, const lks_safetensors_plan_t *plan)
{
    size_t count = plan->metadata ? lks_value_count(plan->metadata) : 1;
    bool first = true;
    if (count + plan->aliases == 0) {
        return;
    }
    lks_strbuf_append_str(text, "\"" LKS_SAFETENSORS_METADATA "\":{");
    for (size_t i = 0; plan->metadata && i < count; i++) {
        append_pair(text, &first, text_of(lks_value_key_at(plan->metadata, i)),
                    text_of(lks_value_at(plan->metadata, i)));
    }
    if (!plan->metadata) {
        append_pair(text, &first, lks_name("format"), lks_name("pt"));
    }
    for (size_t i = 0; i < plan->aliases; i++) {
        const lks_safetensors_item_t *alias = &plan->items[plan->count + i];
        if (!in_metadata(plan, alias->name)) {
            append_pair(text, &first, alias->name, alias->kept);
        }
    }
    lks_strbuf_append_str(text, "}");
}

static void append_item(lks_strbuf_t *text, const lks_safetensors_item_t *item, uint64_t begin)
{
    const lks_value_tensor_t *tensor = item->tensor;
    lks_strbuf_append_str(text, text->length > 1 ? "," : "");
    lks_json_append(text, item->name.text, item->name.length);
    lks_strbuf_appendf(text, ":{\"dtype\":\"%s\",\"shape\":[", item->dtype->name);
    for (int i = 0; i < tensor->ndim; i++) {
        uint64_t size = (uint64_t)tensor->shape[i];
        size *= i == tensor->ndim - 1 ? item->dtype->group : 1;
        lks_strbuf_appendf(text, "%s%" PRIu64, i > 0 ? "," : "", size);
    }
    lks_strbuf_appendf(text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                       begin + item->nbytes);
}

/* The length and the header; `*nbytes` is the size of the data. */
static lks_status_t make_header(const lks_safetensors_plan_t *plan,
                                const lks_safetensors_item_t *const *order, size_t count,
                                lks_strbuf_t *text, uint64_t *nbytes)
{
    uint64_t end = 0;
    lks_strbuf_append_str(text, "{");
    append_metadata(text, plan);
    for (size_t i = 0; i < count; i++) {
        append_item(text, order[i], end);
        if (__builtin_add_overflow(end, order[i]->nbytes, &end) || end > INT64_MAX) {
            return lks_fail(LKS_ERR_UNSUPPORTED, "the tensors need more than 2^63 bytes");
        }
    }
    lks_strbuf_append_str(text, "}");
    lks_strbuf_append(text, "       ", (8 - text->length % 8) % 8);
    if (!lks_strbuf_ok(text)) {
        return no_memory();
    }
    if (text->length > LKS_SAFETENSORS_HEADER_MAX) {
        return lks_fail(
            LKS_ERR_UNSUPPORTED,
            "the names of the tensors make a header of %zu bytes, safetensors allows %d",
            text->length, LKS_SAFETENSORS_HEADER_MAX);
    }
    *nbytes = end;
    return LKS_OK;
}

/* --- the data ----------------------------------------------------------------------------------- */

static void write_chunk(void *sink, const void *data, size_t nbytes)
{
    lks_sink_write(sink, data, nbytes);
}

static lks_status_t write_item(lks_safetensors_plan_t *plan, const lks_safetensors_item_t *item,
                               lks_sink_t *sink)
{
    size_t storage = item->tensor->storage;
    LKS_TRY(lks_tree_load_storage(plan->tree, storage, item->name.text));
    LKS_TRY(lks_tensor_pack(plan->tree, item->tensor, write_chunk, sink));
    if (--plan->users[storage] == 0) {
        lks_tree_unload_storage(plan->tree, storage);
    }
    return LKS_OK;
}

static lks_status_t write_file(lks_safetensors_plan_t *plan,
                               const lks_safetensors_item_t *const *order, size_t count,
                               const lks_strbuf_t *header, lks_sink_t *sink)
{
    unsigned char length[8];
    (void)lks_put_uint(length, header->length, sizeof length);
    lks_sink_write(sink, length, sizeof length);
    lks_sink_write(sink, header->data, header->length);
    for (size_t i = 0; i < count; i++) {
        LKS_TRY(write_item(plan, order[i], sink));
    }
    return LKS_OK;
}

lks_status_t lks_safetensors_plan_write(lks_safetensors_plan_t *plan, size_t first, size_t count,
                                        lks_sink_t *sink)
{
    lks_status_t status;
    lks_strbuf_t header = {0};
    uint64_t nbytes;
    const lks_safetensors_item_t **order = sorted_items(plan, first, count);
    if (!order) {
        return no_memory();
    }
    LKS_GOTO(make_header(plan, order, count, &header, &nbytes), free_header);
    LKS_GOTO(lks_sink_reserve(sink, 8 + header.length + nbytes), free_header);
    status = write_file(plan, order, count, &header, sink);

free_header:
    lks_strbuf_fini(&header);
    free(order);
    return status;
}

lks_status_t lks_safetensors_save(const lks_tree_t *tree, const char *path,
                                  const lks_save_options_t *options, lks_sink_t *sink)
{
    (void)path;
    lks_safetensors_plan_t plan;
    lks_status_t status = lks_safetensors_plan_init(tree, options, &plan);
    if (status == LKS_OK) {
        status = lks_safetensors_plan_write(&plan, 0, plan.count, sink);
    }
    lks_safetensors_plan_fini(&plan);
    return status;
}
