/* SPDX-License-Identifier: Apache-2.0 */
/* torch_legacy.c - reading; see torch_legacy.h.
 * Where a storage lies is known once the list of keys was read, after the object: until then the tree holds a
 * storage of the right size without bytes. */
#include "serialize/torch_legacy.h"
#include "core/checked.h"
#include "serialize/format.h"
#include "serialize/pickle_torch.h"
#include "serialize/stream_storage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct legacy {
    lks_stream_t stream;
    lks_tree_t *tree;
    lks_bytes_t input;  /* over the whole file */
    lks_strmap_t keys;  /* key -> storage of the tree */
    size_t claimed;     /* bytes that the storages of the object have together */
    lks_tree_t *header; /* values that say how to read, but are no part of the checkpoint */
    lks_checkpoint_limits_t limits;
} legacy_t;

/* --- the magic number --------------------------------------------------------------------------- */

#define MAGIC_LONG1 "\x8a\x0a" LKS_LEGACY_MAGIC "."
#define MAGIC_TEXT "L119547037146038801333356L\n."

/* Bytes of the first pickle: as torch, or Python below it, writes the magic number in each protocol. 0: it is
 * something else. */
static size_t magic_length(const lks_origin_t *origin)
{
    static const struct {
        size_t offset, nbytes;
        const char *bytes;
    } forms[] = {
        {0, sizeof MAGIC_TEXT - 1, MAGIC_TEXT},   /* 0 and 1 */
        {2, sizeof MAGIC_LONG1 - 1, MAGIC_LONG1}, /* 2 and 3, behind PROTO */
        {11, sizeof MAGIC_LONG1 - 1, MAGIC_LONG1} /* 4 and 5, behind PROTO and FRAME */
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (lks_origin_has(origin, forms[i].offset, forms[i].bytes, forms[i].nbytes)) {
            return forms[i].offset + forms[i].nbytes;
        }
    }
    return 0;
}

static bool probe(lks_origin_t *origin)
{
    return magic_length(origin) > 0;
}

/* --- pickles ------------------------------------------------------------------------------------ */

static lks_status_t read_pickle(legacy_t *legacy, const char *name, const lks_pickle_hooks_t *hooks,
                                lks_tree_t *tree, lks_value_t **out)
{
    lks_bytes_t *input = &legacy->input;
    size_t used;
    LKS_TRY(lks_pickle_read(name, input->data + input->at, lks_bytes_left(input), hooks, tree,
                            &used, out));
    (void)lks_bytes_take(input, used);
    return LKS_OK;
}

static lks_status_t read_header(legacy_t *legacy)
{
    lks_value_t *version, *system;
    int64_t number;
    LKS_TRY(read_pickle(legacy, "the protocol version", NULL, legacy->header, &version));
    if (lks_value_get_int(version, &number) != LKS_OK) {
        return lks_fail(LKS_ERR_FORMAT, "the protocol version is no int");
    }
    if (number != LKS_LEGACY_VERSION) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "the stream has protocol version %" PRId64 ", the only known one is %d",
                        number, LKS_LEGACY_VERSION);
    }
    LKS_TRY(read_pickle(legacy, "the system's description", NULL, legacy->header, &system));
    if (lks_value_kind(system) != LKS_VALUE_DICT) {
        return lks_fail(LKS_ERR_FORMAT, "the system's description is no dict");
    }
    return LKS_OK;
}

/* --- storages ----------------------------------------------------------------------------------- */

/* A storage of the right size, whose bytes are not known yet. */
static lks_status_t add_storage(legacy_t *legacy, const lks_torch_storage_id_t *id)
{
    size_t nbytes;
    if (id->itemsize == 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "storages of class '%s' have elements of unknown size",
                        id->class_name);
    }
    if (!lks_mul_size((size_t)id->numel, id->itemsize, &nbytes) ||
        !lks_add_size(legacy->claimed, nbytes, &legacy->claimed) ||
        legacy->claimed > legacy->input.size) {
        return lks_fail(LKS_ERR_FORMAT,
                        "with a %s of %" PRId64 " elements the storages are larger than the file",
                        id->class_name, id->numel);
    }
    lks_storage_t *storage;
    LKS_TRY(lks_storage_wrap(lks_device_host(), NULL, nbytes, NULL, NULL, &storage));
    (void)lks_tree_append_storage(legacy->tree, storage, id->dtype, id->location);
    lks_storage_release(storage); /* the tree has its own reference */
    return lks_tree_status(legacy->tree);
}

/* The first mention of a key decides its type, as in torch. */
static lks_status_t find_storage(void *context, lks_tree_t *tree, const lks_torch_storage_id_t *id,
                                 size_t *index)
{
    legacy_t *legacy = context;
    size_t count = lks_tree_storage_count(tree);
    *index = lks_strmap_add(&legacy->keys, id->key, id->key_length, count);
    if (*index == SIZE_MAX) {
        return lks_fail(LKS_ERR_NO_MEMORY, "no memory for %zu storages", count);
    }
    return *index == count ? add_storage(legacy, id) : LKS_OK;
}

/* Not longer than a message can show. */
static int shown(size_t length)
{
    return length < 200 ? (int)length : 200;
}

/* Storages of no bytes are placed too: `seen` marks which were. */
static lks_status_t find_listed(const legacy_t *legacy, const lks_value_t *key, bool *seen,
                                size_t *index)
{
    if (lks_value_kind(key) != LKS_VALUE_STR) {
        return lks_fail(LKS_ERR_FORMAT, "the list of storages has a %s in it, not a key",
                        lks_value_kind_name(lks_value_kind(key)));
    }
    size_t length;
    const char *text = lks_value_text(key, &length);
    *index = lks_strmap_get(&legacy->keys, text, length);
    if (*index == SIZE_MAX) {
        return lks_fail(LKS_ERR_FORMAT,
                        "the list of storages names '%.*s', which the object does not use",
                        shown(length), text);
    }
    if (seen[*index]) {
        return lks_fail(LKS_ERR_FORMAT, "the list of storages names '%.*s' twice", shown(length),
                        text);
    }
    seen[*index] = true;
    return LKS_OK;
}

static lks_status_t place_storage(legacy_t *legacy, const lks_value_t *key, size_t index)
{
    const lks_tree_storage_t *storage = lks_tree_storage(legacy->tree, index);
    size_t itemsize = lks_dtype_size(storage->dtype);
    size_t wanted = lks_storage_nbytes(storage->storage);
    lks_storage_t *placed;
    LKS_TRY(lks_stream_take(&legacy->stream, &legacy->input, itemsize, index, &placed));
    size_t found = lks_storage_nbytes(placed);
    if (found == wanted) {
        lks_tree_replace_storage(legacy->tree, index, placed);
    }
    lks_storage_release(placed);
    if (found != wanted) {
        return lks_fail(LKS_ERR_FORMAT,
                        "storage '%s' has %zu elements, the object wants %zu of them",
                        lks_value_text(key, NULL), found / itemsize, wanted / itemsize);
    }
    return LKS_OK;
}

static lks_status_t place_listed(legacy_t *legacy, const lks_value_t *list, bool *seen)
{
    for (size_t i = 0; i < lks_value_count(list); i++) {
        const lks_value_t *key = lks_value_at(list, i);
        size_t index;
        LKS_TRY(find_listed(legacy, key, seen, &index));
        LKS_TRY(place_storage(legacy, key, index));
    }
    for (size_t i = 0; i < legacy->keys.count; i++) {
        const lks_strmap_entry_t *entry = &legacy->keys.entries[i];
        if (!seen[entry->value]) {
            return lks_fail(LKS_ERR_FORMAT,
                            "the list of storages lacks '%.*s', which the object uses",
                            shown(entry->nbytes), entry->text);
        }
    }
    return LKS_OK;
}

static lks_status_t place_storages(legacy_t *legacy)
{
    lks_value_t *list;
    LKS_TRY(read_pickle(legacy, "the list of storages", NULL, legacy->header, &list));
    if (lks_value_kind(list) != LKS_VALUE_LIST) {
        return lks_fail(LKS_ERR_FORMAT, "the list of storages is no list but a %s",
                        lks_value_kind_name(lks_value_kind(list)));
    }
    bool *seen = calloc(lks_tree_storage_count(legacy->tree) + 1, sizeof *seen);
    if (!seen) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    lks_status_t status = place_listed(legacy, list, seen);
    free(seen);
    return status;
}

/* --- the format --------------------------------------------------------------------------------- */

static lks_status_t read_object(legacy_t *legacy)
{
    lks_torch_reader_t torch = {.context = legacy, .storage = find_storage, .stream = true};
    const lks_pickle_hooks_t hooks = lks_torch_read_hooks(&torch);
    lks_value_t *root;
    LKS_TRY(read_pickle(legacy, "the object", &hooks, legacy->tree, &root));
    lks_tree_set_root(legacy->tree, root);
    return LKS_OK;
}

static lks_status_t read_stream(legacy_t *legacy)
{
    LKS_TRY(lks_tree_create_limited(&legacy->limits, &legacy->header));
    LKS_TRY(read_header(legacy));
    LKS_TRY(read_object(legacy));
    return place_storages(legacy);
}

/* What only reading needed. The keys are texts of the tree or the input. */
static void finish_reading(legacy_t *legacy)
{
    lks_tree_destroy(legacy->header);
    legacy->header = NULL;
    lks_strmap_fini(&legacy->keys);
    legacy->keys = (lks_strmap_t){0};
}

static void close_stream(void *state)
{
    legacy_t *legacy = state;
    lks_stream_fini(&legacy->stream);
    free(legacy);
}

static lks_status_t open_stream(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                lks_tree_t *tree, void **state)
{
    legacy_t *legacy = calloc(1, sizeof *legacy);
    if (!legacy) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    lks_stream_init(origin->source, tree, &legacy->stream);
    legacy->tree = tree;
    legacy->limits = *limits;
    legacy->input = lks_bytes_of(origin->source->data, origin->source->size);
    (void)lks_bytes_take(&legacy->input, magic_length(origin));
    *state = legacy; /* from here on closing frees it */
    lks_status_t status = read_stream(legacy);
    finish_reading(legacy);
    return status;
}

const lks_format_t lks_format_torch_legacy = {
    .name = "torch_legacy",
    .probe = probe,
    .open = open_stream,
    .close = close_stream,
    .save = lks_torch_legacy_save,
};
