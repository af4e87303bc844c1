/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_header.c - see safetensors_header.h. First what the JSON says of each tensor, then whether all of them
 * fill the data. */
#include "serialize/safetensors_header.h"
#include "core/checked.h"
#include "serialize/bytes.h"
#include "serialize/json_read.h"
#include "serialize/name_text.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct reader {
    lks_json_t json;
    lks_tree_t *tree;
    size_t memory; /* the limit */
    lks_safetensors_header_t *header;
    size_t data_size;
    bool has_metadata;
    struct {
        int64_t *sizes;
        size_t count, capacity;
    } shape; /* of the tensor being read */
} reader_t;

/* --- one tensor --------------------------------------------------------------------------------- */

/* Room for one more of `count` items, within the limit. */
static lks_status_t grow(const reader_t *reader, void **items, size_t count, size_t *capacity,
                         size_t size)
{
    if (count < *capacity) {
        return LKS_OK;
    }
    size_t larger = *capacity > 0 ? *capacity * 2 : 32, nbytes;
    if (!lks_mul_size(larger, size, &nbytes) || nbytes > reader->memory) {
        return lks_fail(LKS_ERR_FORMAT, "the header needs more than the limit of %zu bytes",
                        reader->memory);
    }
    void *moved = realloc(*items, nbytes);
    if (!moved) {
        return lks_fail(LKS_ERR_NO_MEMORY, "the header: out of memory");
    }
    *items = moved;
    *capacity = larger;
    return LKS_OK;
}

static lks_status_t read_dtype(reader_t *reader, lks_safetensors_entry_t *entry)
{
    lks_json_text_t text;
    if (!lks_json_string(&reader->json, &text)) {
        return reader->json.status;
    }
    entry->dtype = lks_safetensors_dtype_named(text.text, text.nbytes);
    if (!entry->dtype) {
        lks_strbuf_t shown = {0};
        lks_name_append(&shown, (lks_name_t){.text = text.text, .length = text.nbytes}, 32);
        lks_status_t status =
            lks_fail(LKS_ERR_UNSUPPORTED, "its dtype '%s' is not known", lks_strbuf_text(&shown));
        lks_strbuf_fini(&shown);
        return status;
    }
    return LKS_OK;
}

static lks_status_t read_shape(reader_t *reader)
{
    reader->shape.count = 0;
    (void)lks_json_enter(&reader->json, '[');
    while (lks_json_next_item(&reader->json)) {
        uint64_t size = 0;
        if (!lks_json_uint(&reader->json, &size)) {
            break;
        }
        if (size > INT64_MAX || reader->shape.count == INT32_MAX) {
            return lks_fail(LKS_ERR_FORMAT, "its shape has a size, or as many of them, as no "
                                            "tensor can have");
        }
        void *sizes = reader->shape.sizes;
        LKS_TRY(grow(reader, &sizes, reader->shape.count, &reader->shape.capacity,
                     sizeof *reader->shape.sizes));
        reader->shape.sizes = sizes;
        reader->shape.sizes[reader->shape.count++] = (int64_t)size;
    }
    return reader->json.status;
}

static lks_status_t read_offsets(reader_t *reader, lks_safetensors_entry_t *entry)
{
    uint64_t offsets[2] = {0};
    size_t count = 0;
    (void)lks_json_enter(&reader->json, '[');
    while (lks_json_next_item(&reader->json)) {
        if (count == 2) {
            return lks_fail(LKS_ERR_FORMAT, "its data_offsets are more than two");
        }
        if (!lks_json_uint(&reader->json, &offsets[count++])) {
            break;
        }
    }
    LKS_TRY(reader->json.status);
    if (count < 2) {
        return lks_fail(LKS_ERR_FORMAT, "its data_offsets are fewer than two");
    }
    if (offsets[1] < offsets[0]) {
        return lks_fail(LKS_ERR_FORMAT,
                        "it ends at byte %" PRIu64 ", before it begins, at %" PRIu64, offsets[1],
                        offsets[0]);
    }
    if (offsets[1] > reader->data_size) {
        return lks_fail(LKS_ERR_FORMAT,
                        "it ends at byte %" PRIu64 " of the data, of which there are %zu",
                        offsets[1], reader->data_size);
    }
    entry->begin = (size_t)offsets[0];
    entry->end = (size_t)offsets[1];
    return LKS_OK;
}

/* Bytes that its elements need. As in the safetensors library a size of 0 excuses no overflow before it. */
static lks_status_t check_size(const reader_t *reader, const lks_safetensors_entry_t *entry)
{
    uint64_t bits = 1;
    bool fits = true;
    for (size_t i = 0; i < reader->shape.count; i++) {
        fits = fits && !__builtin_mul_overflow(bits, (uint64_t)reader->shape.sizes[i], &bits);
    }
    if (!fits || __builtin_mul_overflow(bits, entry->dtype->bits, &bits)) {
        return lks_fail(LKS_ERR_FORMAT, "its shape needs more than 2^64 bits");
    }
    if (bits % 8 != 0) {
        return lks_fail(LKS_ERR_FORMAT, "its %" PRIu64 " bits do not fill bytes", bits);
    }
    if (bits / 8 != entry->end - entry->begin) {
        return lks_fail(LKS_ERR_FORMAT,
                        "its dtype and shape need %" PRIu64
                        " bytes, its data_offsets are %zu apart",
                        bits / 8, entry->end - entry->begin);
    }
    return LKS_OK;
}

/* The shape counted in elements of ours, and its strides. */
static lks_status_t set_shape(reader_t *reader, lks_safetensors_entry_t *entry)
{
    size_t ndim = reader->shape.count, nbytes;
    int64_t group = entry->dtype->group;
    const int64_t *sizes = reader->shape.sizes;
    if (group > 1 && (ndim == 0 || sizes[ndim - 1] % group != 0)) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "its last dimension is no multiple of %d elements of dtype %s, which fill "
                        "%d bytes together",
                        (int)group, entry->dtype->name, (int)lks_dtype_size(entry->dtype->dtype));
    }
    entry->shape = lks_mul_size(ndim, 2 * sizeof *entry->shape, &nbytes)
                       ? lks_tree_alloc(reader->tree, nbytes)
                       : NULL;
    LKS_TRY(lks_tree_status(reader->tree));
    if (ndim > 0) {
        memcpy(entry->shape, sizes, ndim * sizeof *sizes);
        entry->shape[ndim - 1] /= group;
    }
    entry->ndim = (int)ndim;
    lks_shape_contiguous_stride(entry->ndim, entry->shape, entry->shape + ndim);
    return LKS_OK;
}

enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };

static const struct {
    const char *name;
    unsigned bit;
} fields[] = {{"dtype", DTYPE}, {"shape", SHAPE}, {"data_offsets", OFFSETS}};

#define FIELD_COUNT (sizeof fields / sizeof *fields)

static lks_status_t read_field(reader_t *reader, lks_json_text_t key,
                               lks_safetensors_entry_t *entry, unsigned *seen)
{
    size_t i = 0;
    while (i < FIELD_COUNT && !lks_json_is(key, fields[i].name)) {
        i++;
    }
    if (i == FIELD_COUNT) {
        lks_json_skip(&reader->json);
        return reader->json.status;
    }
    if (*seen & fields[i].bit) {
        return lks_fail(LKS_ERR_FORMAT, "it has '%s' twice", fields[i].name);
    }
    *seen |= fields[i].bit;
    return fields[i].bit == DTYPE   ? read_dtype(reader, entry)
           : fields[i].bit == SHAPE ? read_shape(reader)
                                    : read_offsets(reader, entry);
}

static lks_status_t read_entry(reader_t *reader, lks_safetensors_entry_t *entry)
{
    unsigned seen = 0;
    lks_json_text_t key;
    (void)lks_json_enter(&reader->json, '{');
    while (lks_json_next_key(&reader->json, &key)) {
        LKS_TRY(read_field(reader, key, entry, &seen));
    }
    LKS_TRY(reader->json.status);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (!(seen & fields[i].bit)) {
            return lks_fail(LKS_ERR_FORMAT, "it has no '%s'", fields[i].name);
        }
    }
    LKS_TRY(check_size(reader, entry));
    return set_shape(reader, entry);
}

static lks_status_t read_tensor(reader_t *reader, lks_json_text_t key)
{
    lks_safetensors_header_t *header = reader->header;
    lks_safetensors_entry_t entry = {.name = lks_value_str_n(reader->tree, key.text, key.nbytes)};
    LKS_TRY(lks_tree_status(reader->tree));
    lks_status_t status = read_entry(reader, &entry);
    if (status != LKS_OK) {
        return lks_tensor_error(status, entry.name);
    }
    void *entries = header->entries;
    LKS_TRY(grow(reader, &entries, header->count, &header->capacity, sizeof entry));
    header->entries = entries;
    header->entries[header->count++] = entry;
    return LKS_OK;
}

/* --- the header --------------------------------------------------------------------------------- */

static lks_status_t read_metadata(reader_t *reader)
{
    lks_json_text_t text;
    lks_tree_t *tree = reader->tree;
    if (reader->has_metadata) {
        return lks_fail(LKS_ERR_FORMAT, "the header has '" LKS_SAFETENSORS_METADATA "' twice");
    }
    reader->has_metadata = true;
    if (lks_json_take_null(&reader->json)) {
        return LKS_OK;
    }
    lks_value_t *metadata = reader->header->metadata = lks_value_dict(tree);
    (void)lks_json_enter(&reader->json, '{');
    while (lks_json_next_key(&reader->json, &text)) {
        lks_value_t *key = lks_value_str_n(tree, text.text, text.nbytes);
        LKS_TRY(lks_tree_status(tree));
        if (lks_dict_find(metadata, key)) {
            return lks_fail(LKS_ERR_FORMAT,
                            "'" LKS_SAFETENSORS_METADATA "' of the header has a key twice");
        }
        if (lks_json_string(&reader->json, &text)) {
            lks_value_set(tree, metadata, key, lks_value_str_n(tree, text.text, text.nbytes));
        }
    }
    LKS_TRY(reader->json.status);
    return lks_tree_status(tree);
}

static lks_status_t read_object(reader_t *reader)
{
    lks_json_text_t key;
    (void)lks_json_enter(&reader->json, '{');
    while (lks_json_next_key(&reader->json, &key)) {
        LKS_TRY(lks_json_is(key, LKS_SAFETENSORS_METADATA) ? read_metadata(reader)
                                                           : read_tensor(reader, key));
    }
    lks_json_end(&reader->json);
    return reader->json.status;
}

static lks_status_t find_header(const lks_source_t *source, size_t *length)
{
    lks_bytes_t bytes = lks_bytes_of(source->data, source->size);
    uint64_t claimed = lks_bytes_u64(&bytes);
    if (!bytes.ok) {
        return lks_fail(LKS_ERR_FORMAT, "%zu bytes are too few for the length of a header",
                        source->size);
    }
    if (claimed > LKS_SAFETENSORS_HEADER_MAX) {
        return lks_fail(LKS_ERR_FORMAT, "the header claims %" PRIu64 " bytes, the most is %d",
                        claimed, LKS_SAFETENSORS_HEADER_MAX);
    }
    if (claimed > lks_bytes_left(&bytes)) {
        return lks_fail(LKS_ERR_FORMAT, "the header claims %" PRIu64 " bytes, %zu are left",
                        claimed, lks_bytes_left(&bytes));
    }
    *length = (size_t)claimed;
    return LKS_OK;
}

lks_status_t lks_safetensors_header_read(const lks_source_t *source,
                                         const lks_checkpoint_limits_t *limits, lks_tree_t *tree,
                                         lks_safetensors_header_t *out)
{
    size_t length;
    *out = (lks_safetensors_header_t){0};
    LKS_TRY(find_header(source, &length));
    out->data = 8 + length;
    reader_t reader = {.tree = tree,
                       .memory = limits->memory,
                       .header = out,
                       .data_size = source->size - out->data};
    lks_json_init(&reader.json, "the header", source->data + 8, length);
    lks_status_t status = reader.json.status;
    if (status == LKS_OK) {
        status = read_object(&reader);
    }
    if (status == LKS_OK) {
        status = lks_safetensors_check_places(out, reader.data_size);
    }
    lks_json_fini(&reader.json);
    free(reader.shape.sizes);
    return status;
}

void lks_safetensors_header_fini(lks_safetensors_header_t *header)
{
    free(header->entries);
    *header = (lks_safetensors_header_t){0};
}
