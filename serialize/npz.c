/* SPDX-License-Identifier: Apache-2.0 */
/* npz.c - reading; see npz.h. Opening looks at the directory and at the header of each array. */
#include "serialize/npz.h"
#include "serialize/format.h"
#include "serialize/npy.h"
#include "serialize/swap.h"
#include "serialize/utf8.h"
#include "serialize/value_node.h"
#include "serialize/zip_storages.h"

#include <stdlib.h>

#define SUFFIX_LENGTH (sizeof LKS_NPY_SUFFIX - 1)
#define FIRST_PIECE ((size_t)512) /* of a deflated array: nearly always the whole header */

typedef struct npz {
    lks_zip_t zip;
    lks_zip_storages_t storages;
    unsigned char
        *head; /* of a deflated array; LKS_NPY_HEADER_MAX bytes, NULL until there is one */
} npz_t;

static bool is_array(const lks_zip_entry_t *entry)
{
    return entry->name_length >= SUFFIX_LENGTH &&
           memcmp(entry->name + entry->name_length - SUFFIX_LENGTH, LKS_NPY_SUFFIX,
                  SUFFIX_LENGTH) == 0;
}

static bool probe(lks_origin_t *origin)
{
    const lks_zip_t *zip = lks_origin_zip(origin);
    for (size_t i = 0; zip && i < zip->count; i++) {
        if (!is_array(&zip->entries[i])) {
            return false;
        }
    }
    return zip != NULL;
}

/* --- headers ------------------------------------------------------------------------------------ */

static lks_status_t inflate_head(npz_t *npz, const lks_zip_entry_t *entry)
{
    size_t size, most = LKS_NPY_HEADER_MAX, nbytes = FIRST_PIECE;
    npz->head = npz->head ? npz->head : malloc(most);
    if (!npz->head) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    nbytes = entry->size < nbytes ? (size_t)entry->size : nbytes;
    LKS_TRY(lks_zip_inflate_start(&npz->zip, entry, npz->head, nbytes));
    LKS_TRY(lks_npy_header_size(npz->head, nbytes, &size));
    return size > nbytes && size <= entry->size
               ? lks_zip_inflate_start(&npz->zip, entry, npz->head, size)
               : LKS_OK;
}

static lks_status_t read_header(npz_t *npz, const lks_zip_entry_t *entry, lks_npy_t *out)
{
    const unsigned char *head = npz->zip.data + entry->data;
    LKS_TRY(lks_zip_check(&npz->zip, entry));
    if (entry->deflated) {
        LKS_TRY(inflate_head(npz, entry));
        head = npz->head;
    }
    return lks_npy_read(head, entry->size, out);
}

/* --- arrays ------------------------------------------------------------------------------------- */

static lks_status_t read_array(npz_t *npz, const lks_zip_entry_t *entry, lks_value_t **out)
{
    lks_npy_t npy;
    size_t index;
    LKS_TRY(read_header(npz, entry, &npy));
    const lks_zip_view_t view = {.entry = entry,
                                 .skip = npy.header,
                                 .nbytes = npy.nbytes,
                                 .dtype = npy.dtype,
                                 .alignment = lks_dtype_size(npy.dtype),
                                 .swapped = npy.big_endian,
                                 .location = "cpu"};
    LKS_TRY(lks_zip_storages_get(&npz->storages, &view, &index));
    *out = lks_npy_tensor(npz->storages.tree, &npy, index);
    return lks_tree_status(npz->storages.tree);
}

static lks_status_t add_array(npz_t *npz, lks_value_t *dict, const lks_zip_entry_t *entry)
{
    lks_tree_t *tree = npz->storages.tree;
    size_t length = entry->name_length - SUFFIX_LENGTH;
    if (!lks_utf8_valid(entry->name, length)) {
        return lks_fail(LKS_ERR_FORMAT, "the name '%.*s' is no UTF-8", LKS_ZIP_NAME(entry));
    }
    lks_value_t *array = NULL;
    lks_status_t status = read_array(npz, entry, &array);
    if (status != LKS_OK) {
        return lks_error_prefix(status, "array '%.*s'", LKS_ZIP_NAME(entry));
    }
    lks_value_set(tree, dict, lks_value_str_n(tree, entry->name, length), array);
    return lks_tree_status(tree);
}

static lks_status_t open_npz(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                             lks_tree_t *tree, void **state)
{
    npz_t *npz = calloc(1, sizeof *npz);
    if (!npz) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    *state = npz; /* from here on closing frees it */
    LKS_TRY(lks_origin_take_zip(origin, &npz->zip));
    LKS_TRY(lks_zip_storages_init(&npz->storages, origin->source, &npz->zip, tree, limits->memory));
    lks_value_t *dict = lks_value_ordered_dict(tree);
    for (size_t i = 0; i < npz->zip.count; i++) {
        LKS_TRY(add_array(npz, dict, &npz->zip.entries[i]));
    }
    lks_tree_set_root(tree, dict);
    lks_zip_storages_complete(&npz->storages);
    return lks_tree_status(tree);
}

static void close_npz(void *state)
{
    npz_t *npz = state;
    lks_zip_storages_fini(&npz->storages);
    lks_zip_close(&npz->zip);
    free(npz->head);
    free(npz);
}

const lks_format_t lks_format_npz = {
    .name = "npz",
    .probe = probe,
    .open = open_npz,
    .close = close_npz,
    .save = lks_npz_save,
};

/* --- a single array ------------------------------------------------------------------------------ */

static bool probe_array(lks_origin_t *origin)
{
    return lks_origin_has(origin, 0, LKS_NPY_MAGIC, sizeof LKS_NPY_MAGIC - 1);
}

/* In the file where that can be, else a copy at once. */
static lks_status_t create_storage(lks_source_t *source, const lks_npy_t *npy, size_t limit,
                                   lks_storage_t **out)
{
    if (!npy->big_endian && npy->header % lks_dtype_size(npy->dtype) == 0) {
        return lks_source_storage(source, npy->header, npy->nbytes, out);
    }
    if (npy->nbytes > limit) {
        return lks_fail(LKS_ERR_FORMAT, "its elements have to be moved, which takes more than the "
                                        "memory limit");
    }
    lks_memory_t *memory;
    LKS_TRY(lks_memory_create(npy->nbytes, &memory));
    memcpy(memory->data, source->data + npy->header, npy->nbytes);
    if (npy->big_endian) {
        lks_swap_bytes(memory->data, npy->nbytes, lks_swap_width(npy->dtype));
    }
    lks_status_t status = lks_memory_storage(memory, 0, npy->nbytes, out);
    lks_memory_release(memory); /* the storage has its own reference */
    return status;
}

static lks_status_t open_array(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                               lks_tree_t *tree, void **state)
{
    (void)state; /* there is none */
    lks_npy_t npy;
    lks_storage_t *storage;
    LKS_TRY(lks_npy_read(origin->source->data, origin->source->size, &npy));
    tree->unchecked = true;
    LKS_TRY(create_storage(origin->source, &npy, limits->memory, &storage));
    size_t index = lks_tree_append_storage(tree, storage, npy.dtype, "cpu");
    lks_storage_release(storage);
    lks_tree_set_root(tree, lks_npy_tensor(tree, &npy, index));
    return lks_tree_status(tree);
}

const lks_format_t lks_format_npy = {
    .name = "npy",
    .probe = probe_array,
    .open = open_array,
};
