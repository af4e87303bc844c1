/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_write.c - writing; see safetensors.h. */
#include "core/checked.h"
#include "serialize/bytes.h"
#include "serialize/check.h"
#include "serialize/json_write.h"
#include "serialize/pack.h"
#include "serialize/safetensors_plan.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LARGE                                                                                      \
    ((uint64_t)256 << 10) /* bytes from which on a tensor does not go through the sink's buffer */
#define BATCH_ITEMS 256
/* Bytes that are written together, and those of them that take memory until then. */
#define BATCH_BYTES ((uint64_t)256 << 20)
#define BATCH_LOADED ((uint64_t)8 << 20)

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

/* A file on its way. Large tensors that lie in one piece are written first, several threads at a time; the rest then
 * follows in order. */
typedef struct writer {
    lks_safetensors_plan_t *plan;
    const lks_safetensors_item_t *const *order;
    size_t count;
    lks_sink_t *sink;
    const lks_safetensors_item_t *together[BATCH_ITEMS];
    lks_extent_t extents[BATCH_ITEMS]; /* of those */
    size_t waiting;
    uint64_t nbytes, loaded; /* of those; and what will take memory */
} writer_t;

static bool is_large(const lks_safetensors_item_t *item)
{
    return item->nbytes >= LARGE && lks_tensor_is_packed(item->tensor);
}

static lks_status_t load(const writer_t *writer, const lks_safetensors_item_t *item)
{
    const lks_tree_t *tree = writer->plan->tree;
    bool *held = &writer->plan->held[item->tensor->storage];
    LKS_TRY(lks_tree_load_storage(tree, item->tensor->storage, item->name.text));
    if (*held) {
        lks_tree_unload_storage(tree, item->tensor->storage); /* once is enough */
    }
    *held = true;
    return LKS_OK;
}

static void unload(const writer_t *writer, const lks_safetensors_item_t *item)
{
    if (--writer->plan->users[item->tensor->storage] == 0) {
        writer->plan->held[item->tensor->storage] = false;
        lks_tree_unload_storage(writer->plan->tree, item->tensor->storage);
    }
}

/* Checksums are verified by all threads together where they can be; loading finds the work done. */
static lks_status_t load_large(writer_t *writer)
{
    const lks_tree_t *tree = writer->plan->tree;
    size_t storages[BATCH_ITEMS];
    for (size_t i = 0; i < writer->waiting; i++) {
        storages[i] = writer->together[i]->tensor->storage;
    }
    LKS_TRY(lks_checks_run_mapped(tree, storages, writer->waiting, lks_sink_threads(writer->sink)));
    for (size_t i = 0; i < writer->waiting; i++) {
        const lks_value_tensor_t *tensor = writer->together[i]->tensor;
        LKS_TRY(load(writer, writer->together[i]));
        const unsigned char *data = lks_storage_data(lks_tree_storage(tree, storages[i])->storage);
        writer->extents[i].data = data + (size_t)tensor->offset * lks_dtype_size(tensor->dtype);
    }
    return LKS_OK;
}

static lks_status_t flush_large(writer_t *writer)
{
    LKS_TRY(load_large(writer));
    LKS_TRY(lks_sink_write_extents(writer->sink, writer->extents, writer->waiting));
    for (size_t i = 0; i < writer->waiting; i++) {
        unload(writer, writer->together[i]);
    }
    writer->waiting = 0;
    writer->nbytes = writer->loaded = 0;
    return LKS_OK;
}

static bool stays_within(uint64_t most, uint64_t sum, uint64_t nbytes)
{
    return nbytes <= most && sum <= most - nbytes;
}

/* One that is larger than all of them may be has no other beside it. */
static lks_status_t add_large(writer_t *writer, const lks_safetensors_item_t *item, uint64_t offset)
{
    bool takes_memory = lks_storage_takes_memory(writer->plan->tree, item->tensor->storage);
    uint64_t loaded = takes_memory ? item->nbytes : 0;
    if (writer->waiting == BATCH_ITEMS ||
        (writer->waiting > 0 && (!stays_within(BATCH_BYTES, writer->nbytes, item->nbytes) ||
                                 !stays_within(BATCH_LOADED, writer->loaded, loaded)))) {
        LKS_TRY(flush_large(writer));
    }
    writer->together[writer->waiting] = item;
    writer->extents[writer->waiting++] =
        (lks_extent_t){.nbytes = (size_t)item->nbytes, .offset = offset};
    writer->nbytes += item->nbytes;
    writer->loaded += loaded;
    return LKS_OK;
}

static lks_status_t write_large(writer_t *writer)
{
    uint64_t offset = lks_sink_position(writer->sink);
    for (size_t i = 0; i < writer->count; i++) {
        if (is_large(writer->order[i])) {
            LKS_TRY(add_large(writer, writer->order[i], offset));
        }
        offset += writer->order[i]->nbytes;
    }
    return flush_large(writer);
}

static void write_chunk(void *sink, const void *data, size_t nbytes)
{
    lks_sink_write(sink, data, nbytes);
}

static lks_status_t write_rest(const writer_t *writer)
{
    for (size_t i = 0; i < writer->count; i++) {
        const lks_safetensors_item_t *item = writer->order[i];
        if (is_large(item)) {
            lks_sink_skip(writer->sink, item->nbytes);
            continue;
        }
        LKS_TRY(load(writer, item));
        LKS_TRY(lks_tensor_pack(writer->plan->tree, item->tensor, write_chunk, writer->sink));
        unload(writer, item);
    }
    return LKS_OK;
}

static lks_status_t write_file(writer_t *writer, const lks_strbuf_t *header)
{
    unsigned char length[8];
    (void)lks_put_uint(length, header->length, sizeof length);
    lks_sink_write(writer->sink, length, sizeof length);
    lks_sink_write(writer->sink, header->data, header->length);
    LKS_TRY(write_large(writer));
    return write_rest(writer);
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
    writer_t writer = {.plan = plan, .order = order, .count = count, .sink = sink};
    status = write_file(&writer, &header);

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
