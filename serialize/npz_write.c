/* SPDX-License-Identifier: Apache-2.0 */
/* npz_write.c - writing; see npz.h. Everything that can be refused is looked at first. Then arrays are written one after
 * the other: their elements are packed twice, once for the checksum, which stands in front of them, and never all in
 * memory. */
#include "core/checked.h"
#include "serialize/crc32.h"
#include "serialize/drop.h"
#include "serialize/npy.h"
#include "serialize/npz.h"
#include "serialize/pack.h"
#include "serialize/utf8.h"
#include "serialize/value_node.h"
#include "serialize/zip_read.h"
#include "serialize/zip_write.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX 65000 /* of a zip record, with its suffix */

typedef struct item {
    const char *key;
    const lks_value_tensor_t *tensor;
    uint64_t nbytes; /* of the elements */
} item_t;

typedef struct plan {
    const lks_tree_t *tree;
    item_t *items;
    size_t count;
    lks_strbuf_t scratch; /* the name of a record, or the header of an array */
} plan_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "writing npz: out of memory");
}

/* --- what can be held --------------------------------------------------------------------------- */

/* NULL, or why the key cannot be the name of an array. */
static const char *complain_key(const lks_value_t *key)
{
    size_t nbytes = 0;
    const char *text = lks_value_text(key, &nbytes);
    if (lks_value_kind(key) != LKS_VALUE_STR) {
        return "npz holds arrays under str keys only";
    }
    if (!lks_utf8_valid(text, nbytes) || lks_utf8_has_surrogate(text, nbytes)) {
        return "its key is no UTF-8";
    }
    if (nbytes > NAME_MAX || (nbytes > 0 && !lks_zip_name_is_allowed(text, nbytes))) {
        return "its key cannot be the name of a file in an archive";
    }
    return NULL;
}

/* NULL, or why the value cannot be an array. `why` is where a sentence can be put together. */
static const char *complain_value(const lks_value_t *value, char why[LKS_WHY_MAX])
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    if (!tensor) {
        return lks_save_no_tensor("npz", value, why);
    }
    if (lks_value_tensor_quantizer(value) || !lks_npy_has(tensor->dtype)) {
        (void)snprintf(why, LKS_WHY_MAX, "NumPy has no arrays of %s",
                       lks_dtype_name(tensor->dtype));
        return why;
    }
    if (tensor->is_conj || tensor->is_neg) {
        return "NumPy has no conjugated or negated views";
    }
    return tensor->ndim > LKS_NPY_NDIM_MAX ? "NumPy has no arrays of more than 64 dimensions"
                                           : NULL;
}

static lks_status_t plan_value(plan_t *plan, const lks_value_t *key, const lks_value_t *value,
                               const lks_save_options_t *options)
{
    char why[LKS_WHY_MAX];
    const char *path = lks_value_kind(key) == LKS_VALUE_STR
                           ? lks_value_text(key, NULL)
                           : lks_value_kind_name(lks_value_kind(key));
    const char *complaint = complain_key(key);
    complaint = complaint ? complaint : complain_value(value, why);
    item_t item = {.key = path, .tensor = lks_value_tensor(value)};
    if (!complaint && lks_tensor_packed_size(item.tensor, &item.nbytes) != LKS_OK) {
        complaint = "its elements need more than 2^63 bytes";
    }
    if (complaint) {
        return lks_save_drop(options, path, complaint);
    }
    LKS_TRY(lks_save_drop_attributes(options, path, "npz", value));
    plan->items[plan->count++] = item;
    return LKS_OK;
}

static lks_status_t make_plan(plan_t *plan, const lks_save_options_t *options)
{
    const lks_value_t *root = lks_tree_root(plan->tree);
    if (lks_value_kind(root) != LKS_VALUE_DICT) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "npz holds a dict of tensors, and the root is of kind %s",
                        lks_value_kind_name(lks_value_kind(root)));
    }
    size_t count = lks_value_count(root);
    plan->items = calloc(count + 1, sizeof *plan->items);
    if (!plan->items) {
        return no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        LKS_TRY(plan_value(plan, lks_value_key_at(root, i), lks_value_at(root, i), options));
    }
    return LKS_OK;
}

/* --- writing ------------------------------------------------------------------------------------ */

#define HEADER_BOUND (128 + 24 * LKS_NPY_NDIM_MAX)

static lks_status_t reserve(const plan_t *plan, lks_sink_t *sink)
{
    uint64_t total = lks_zip_end_bound();
    for (size_t i = 0; i < plan->count; i++) {
        const item_t *item = &plan->items[i];
        uint64_t bound = lks_zip_record_bound(strlen(item->key) + sizeof LKS_NPY_SUFFIX,
                                              item->nbytes + HEADER_BOUND);
        if (bound > UINT64_MAX / 2 - total) {
            return lks_fail(LKS_ERR_UNSUPPORTED, "its tensors need more than 2^63 bytes");
        }
        total += bound;
    }
    return lks_sink_reserve(sink, total);
}

static void add_crc(void *context, const void *data, size_t nbytes)
{
    uint32_t *crc = context;
    *crc = lks_crc32(*crc, data, nbytes);
}

static void add_bytes(void *context, const void *data, size_t nbytes)
{
    lks_sink_write(context, data, nbytes);
}

/* Header and elements, whose storage is loaded. */
static lks_status_t write_array(plan_t *plan, const item_t *item, lks_zip_writer_t *zip)
{
    const lks_value_tensor_t *tensor = item->tensor;
    lks_strbuf_t *header = &plan->scratch;
    lks_strbuf_clear(header);
    lks_npy_write(header, tensor->dtype, tensor->ndim, tensor->shape);
    size_t length = header->length;
    lks_strbuf_append_str(header, item->key); /* the record's name, behind it */
    lks_strbuf_append_str(header, LKS_NPY_SUFFIX);
    if (!lks_strbuf_ok(header)) {
        return no_memory();
    }
    uint32_t crc = lks_crc32(0, header->data, length);
    LKS_TRY(lks_tensor_pack(plan->tree, tensor, add_crc, &crc));
    LKS_TRY(lks_zip_writer_begin(zip, header->data + length, length + item->nbytes, crc));
    lks_sink_write(zip->sink, header->data, length);
    return lks_tensor_pack(plan->tree, tensor, add_bytes, zip->sink);
}

static lks_status_t write_arrays(plan_t *plan, lks_sink_t *sink)
{
    lks_zip_writer_t zip = {.sink = sink};
    lks_status_t status = LKS_OK;
    for (size_t i = 0; i < plan->count && status == LKS_OK; i++) {
        const item_t *item = &plan->items[i];
        status = lks_tree_load_storage(plan->tree, item->tensor->storage, item->key);
        if (status == LKS_OK) {
            status = write_array(plan, item, &zip);
            lks_tree_unload_storage(plan->tree, item->tensor->storage);
        }
    }
    status = status == LKS_OK ? lks_zip_writer_finish(&zip) : status;
    lks_zip_writer_fini(&zip);
    return status;
}

/* NumPy knows an archive without arrays by the old end record alone. */
static lks_status_t write_nothing(lks_sink_t *sink)
{
    unsigned char end[LKS_ZIP_END_SIZE];
    lks_zip_put_end(end, &(lks_zip_directory_t){0}, 0);
    lks_sink_write(sink, end + sizeof end - ZIP_END_SIZE, ZIP_END_SIZE);
    return LKS_OK;
}

lks_status_t lks_npz_save(const lks_tree_t *tree, const char *path,
                          const lks_save_options_t *options, lks_sink_t *sink)
{
    (void)path; /* names nothing in it */
    plan_t plan = {.tree = tree};
    lks_status_t status = make_plan(&plan, options);
    status = status == LKS_OK ? reserve(&plan, sink) : status;
    if (status == LKS_OK) {
        status = plan.count > 0 ? write_arrays(&plan, sink) : write_nothing(sink);
    }
    free(plan.items);
    lks_strbuf_fini(&plan.scratch);
    return status;
}
