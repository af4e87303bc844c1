/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_places.c - see dcp_places.h. */
#include "serialize/dcp_places.h"
#include "serialize/dcp_fields.h"
#include "serialize/value_node.h"

#include <stdlib.h>
#include <string.h>

/* A text for the table: how many dimensions (-1: a value, no tensor), the offsets, the name. */
static void index_key(lks_dcp_places_t *places, const char *name, size_t nbytes, int ndim,
                      const int64_t *offsets)
{
    lks_strbuf_clear(&places->key);
    lks_strbuf_append(&places->key, &ndim, sizeof ndim);
    if (ndim > 0) {
        lks_strbuf_append(&places->key, offsets, (size_t)ndim * sizeof *offsets);
    }
    lks_strbuf_append(&places->key, name, nbytes);
}

static bool is_plain_name(const char *name, size_t nbytes)
{
    return nbytes > 0 && strlen(name) == nbytes && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static lks_status_t read_place(lks_dcp_places_t *places, const lks_value_t *info,
                               lks_dcp_place_t *out)
{
    size_t length;
    const lks_value_t *transforms = lks_dcp_field(info, "transform_descriptors");
    const char *name = lks_dcp_text(lks_dcp_field(info, "relative_path"), &length);
    if (!lks_dcp_is(info, "_StorageInfo") || !name ||
        !lks_dcp_get_size(lks_dcp_field(info, "offset"), &out->start) ||
        !lks_dcp_get_size(lks_dcp_field(info, "length"), &out->nbytes)) {
        return lks_fail(LKS_ERR_FORMAT, "its _StorageInfo has no file, offset and length");
    }
    if (!lks_dcp_is_none(transforms) && lks_value_count(transforms) > 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "its bytes are transformed (compressed, for example), "
                                             "which this version does not read");
    }
    if (!is_plain_name(name, length)) {
        return lks_fail(LKS_ERR_FORMAT, "its file '%.200s' is not a plain name", name);
    }
    out->file = lks_strmap_add(&places->by_file, name, length, places->file_count);
    if (out->file == SIZE_MAX) {
        return lks_dcp_no_memory();
    }
    if (out->file == places->file_count) {
        places->files[places->file_count++] = name;
    }
    return LKS_OK;
}

static lks_status_t index_place(lks_dcp_places_t *places, const lks_value_t *key, size_t index)
{
    size_t length;
    int ndim = -1;
    const int64_t *offsets = NULL;
    const char *name = lks_dcp_text(lks_dcp_field(key, "fqn"), &length);
    places->items[index].owner = name;
    if (!lks_dcp_is_none(lks_dcp_field(key, "offset"))) {
        LKS_TRY(lks_dcp_get_numbers(places->arena, lks_dcp_field(key, "offset"), "offset", &ndim,
                                    &offsets));
    }
    index_key(places, name, length, ndim, offsets);
    const char *text =
        lks_strbuf_ok(&places->key)
            ? lks_arena_copy_text(places->arena, places->key.data, places->key.length)
            : NULL;
    size_t known =
        text ? lks_strmap_add(&places->by_key, text, places->key.length, index) : SIZE_MAX;
    if (known == SIZE_MAX) {
        return lks_dcp_no_memory();
    }
    if (known != index) {
        return lks_fail(LKS_ERR_FORMAT, "the same part of it is stored twice");
    }
    return LKS_OK;
}

static lks_status_t read_all(lks_dcp_places_t *places, const lks_value_t *storage_data)
{
    size_t count = lks_value_count(storage_data);
    if (!storage_data || storage_data->kind != LKS_VALUE_DICT) {
        return lks_fail(LKS_ERR_FORMAT, "its storage_data is no dict");
    }
    places->items = lks_dcp_alloc(places->arena, count, sizeof *places->items);
    places->files = lks_dcp_alloc(places->arena, count, sizeof *places->files);
    if (!places->items || !places->files) {
        return lks_dcp_no_memory();
    }
    places->count = count;
    for (size_t i = 0; i < count; i++) {
        const lks_value_t *key = lks_value_key_at(storage_data, i);
        const char *name = lks_dcp_text(lks_dcp_field(key, "fqn"), NULL);
        if (!lks_dcp_is(key, "MetadataIndex") || !name) {
            return lks_fail(LKS_ERR_FORMAT, "a key of its storage_data is no MetadataIndex");
        }
        lks_status_t status = read_place(places, lks_value_at(storage_data, i), &places->items[i]);
        status = status == LKS_OK ? index_place(places, key, i) : status;
        if (status != LKS_OK) {
            return lks_error_prefix(status, "item '%.200s'", name);
        }
    }
    return LKS_OK;
}

lks_status_t lks_dcp_places_read(const lks_value_t *storage_data, lks_arena_t *arena,
                                 lks_dcp_places_t *out)
{
    *out = (lks_dcp_places_t){.arena = arena};
    return read_all(out, storage_data);
}

void lks_dcp_places_fini(lks_dcp_places_t *places)
{
    lks_strmap_fini(&places->by_key);
    lks_strmap_fini(&places->by_file);
    lks_strbuf_fini(&places->key);
}

const lks_dcp_place_t *lks_dcp_places_find(lks_dcp_places_t *places, const char *name,
                                           size_t nbytes, int ndim, const int64_t *offsets)
{
    index_key(places, name, nbytes, ndim, offsets);
    size_t found = lks_strbuf_ok(&places->key)
                       ? lks_strmap_get(&places->by_key, places->key.data, places->key.length)
                       : SIZE_MAX;
    return found == SIZE_MAX ? NULL : &places->items[found];
}

static int compare(const void *a, const void *b)
{
    const lks_dcp_place_t *left = a, *right = b;
    if (left->file != right->file) {
        return left->file < right->file ? -1 : 1;
    }
    return left->start < right->start ? -1 : left->start > right->start;
}

lks_status_t lks_dcp_places_check_apart(lks_dcp_places_t *places)
{
    qsort(places->items, places->count, sizeof *places->items, compare);
    for (size_t i = 1; i < places->count; i++) {
        const lks_dcp_place_t *before = &places->items[i - 1], *place = &places->items[i];
        if (place->file == before->file && place->start - before->start < before->nbytes) {
            return lks_fail(LKS_ERR_FORMAT, "items '%.200s' and '%.200s' overlap in '%.200s'",
                            before->owner, place->owner, places->files[place->file]);
        }
    }
    return LKS_OK;
}
