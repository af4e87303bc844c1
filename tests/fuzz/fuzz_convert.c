/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_convert.c - a file of any format, converted or changed in place: what is written can be opened again, every byte
 * of it verified, and says the same. The first byte of an input says what is done, the rest is the file. */
#include "archive.h"
#include "fuzz.h"
#include "serialize/crc32.h"
#include "serialize/value_node.h"

#include <lockstep/rename.h>
#include <lockstep/transform.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bits of the first byte; the lowest three are an index into `formats`. */
#define FLATTEN 0x08
#define CAST 0x10
#define RENAME 0x20
#define DROP 0x40
#define IN_PLACE 0x80 /* then the format is torch_zip */
#define IN_PLACE_NAME "input"
#define ELEMENTS_MAX (1 << 20)

static const struct {
    const char *name;
    bool holds_all;   /* every value that it does not refuse comes back as it was */
    bool holds_dicts; /* tensors of a dict come back in a dict, under their names */
} formats[8] = {
    {"torch_zip", true, true}, {"torch_legacy", true, true}, {"safetensors", false, true},
    {"npz", false, true},      {"dcp", false, false},        {"sharded", false, true},
    {"torch_zip", true, true}, {"safetensors", false, true},
};

typedef struct conversion {
    unsigned what, format;
    const char *name; /* of the file that is written */
    size_t dropped;
} conversion_t;

static void count_dropped(void *context, const char *path, const char *why)
{
    conversion_t *conversion = context;
    conversion->dropped++;
    fuzz_require(path && strlen(why) > 0, "what is dropped has a path and a reason");
}

/* --- what is done ------------------------------------------------------------------------------- */

static lks_status_t rename_keys(lks_tree_t *tree)
{
    lks_rename_t *rename;
    LKS_TRY(lks_rename_create(&rename));
    lks_status_t status = lks_rename_canonical(rename, false);
    if (status == LKS_OK) {
        status = lks_rename_apply(rename, tree, NULL, NULL);
    }
    lks_rename_destroy(rename);
    return status;
}

static lks_status_t transform(lks_checkpoint_t *checkpoint, unsigned what)
{
    lks_tree_t *tree = lks_checkpoint_edit(checkpoint);
    if (what & FLATTEN) {
        LKS_TRY(lks_tree_flatten(tree));
    }
    if (what & CAST) {
        LKS_TRY(lks_tree_cast(tree, NULL, LKS_DTYPE_BF16, NULL));
    }
    return what & RENAME ? rename_keys(tree) : LKS_OK;
}

static lks_status_t save(lks_checkpoint_t *checkpoint, conversion_t *conversion)
{
    lks_save_options_t options = lks_save_options_default();
    options.format = formats[conversion->format].name;
    options.sync = false;
    options.shard_size = 256;
    options.drop = (conversion->what & DROP) != 0;
    options.dropped = count_dropped;
    options.dropped_context = conversion;
    options.threads = 1;
    return lks_checkpoint_save(fuzz_path(conversion->name), lks_checkpoint_tree(checkpoint),
                               &options);
}

static lks_status_t update(lks_checkpoint_t *checkpoint)
{
    lks_update_options_t options = lks_update_options_default();
    options.sync = false;
    return lks_checkpoint_update(checkpoint, lks_checkpoint_tree(checkpoint), &options);
}

static lks_status_t convert(lks_checkpoint_t *checkpoint, conversion_t *conversion)
{
    LKS_TRY(transform(checkpoint, conversion->what));
    return conversion->what & IN_PLACE ? update(checkpoint) : save(checkpoint, conversion);
}

/* --- what must hold ----------------------------------------------------------------------------- */

static void add_bytes(void *context, const void *data, size_t nbytes)
{
    uint32_t *crc = context;
    *crc = lks_crc32(*crc, data, nbytes);
}

/* A view may claim to repeat a few bytes into terabytes; of such it says how many elements. */
static uint32_t checksum(lks_checkpoint_t *checkpoint, const lks_value_t *tensor)
{
    uint32_t crc = 0;
    int64_t count = 0;
    const lks_value_tensor_t *view = lks_value_tensor(tensor);
    fuzz_require(lks_shape_numel(view->ndim, view->shape, &count) == LKS_OK, "shapes are checked");
    if (count > ELEMENTS_MAX) {
        return lks_crc32(0, &count, sizeof count);
    }
    lks_status_t status = lks_checkpoint_elements(checkpoint, tensor, "tensor", add_bytes, &crc);
    return status == LKS_OK ? crc : UINT32_MAX - (uint32_t)status; /* bad in place, bad as before */
}

static size_t count_tensors(const lks_value_t *dict)
{
    size_t count = 0;
    for (size_t i = 0; i < lks_value_count(dict); i++) {
        count += lks_value_tensor(lks_value_at(dict, i)) != NULL;
    }
    return count;
}

static void compare_tensors(lks_checkpoint_t *from, lks_checkpoint_t *to, bool all)
{
    const lks_value_t *before = lks_tree_root(lks_checkpoint_tree(from));
    const lks_value_t *after = lks_tree_root(lks_checkpoint_tree(to));
    if (lks_value_kind(before) != LKS_VALUE_DICT) {
        return;
    }
    size_t count = count_tensors(after);
    fuzz_require(all ? count == count_tensors(before) : count <= count_tensors(before),
                 "as many tensors are read as were written");
    for (size_t i = 0; i < lks_value_count(after); i++) {
        const lks_value_t *tensor = lks_value_at(after, i);
        const lks_value_t *was = lks_dict_find(before, lks_value_key_at(after, i));
        if (lks_value_tensor(tensor)) {
            fuzz_require(was && lks_value_tensor(was), "no tensor is made up");
            fuzz_require(checksum(from, was) == checksum(to, tensor),
                         "elements are read as they were written");
        }
    }
}

static void compare_pickles(lks_checkpoint_t *from, lks_checkpoint_t *to)
{
    lks_strbuf_t before = fuzz_write(lks_checkpoint_tree(from));
    lks_strbuf_t after = fuzz_write(lks_checkpoint_tree(to));
    fuzz_require(before.length == after.length &&
                     (before.length == 0 || memcmp(before.data, after.data, before.length) == 0),
                 "what is read is what was written");
    lks_strbuf_fini(&before);
    lks_strbuf_fini(&after);
}

static void check(lks_checkpoint_t *from, const conversion_t *conversion)
{
    unsigned format = conversion->format;
    lks_checkpoint_t *to;
    fuzz_require(lks_checkpoint_open(fuzz_path(conversion->name), NULL, &to) == LKS_OK,
                 "what was written can be opened");
    fuzz_require(conversion->what & IN_PLACE || lks_checkpoint_verify(to, NULL, NULL) == LKS_OK,
                 "its checksums are right");
    if (formats[format].holds_dicts) {
        compare_tensors(from, to, conversion->dropped == 0);
    }
    if (formats[format].holds_all && conversion->dropped == 0) {
        compare_pickles(from, to);
    }
    fuzz_look_at(to);
    lks_checkpoint_close(to);
}

static lks_status_t open_input(const conversion_t *conversion, const unsigned char *data,
                               size_t size, lks_checkpoint_t **out)
{
    const lks_checkpoint_limits_t limits = fuzz_limits();
    if (!(conversion->what & IN_PLACE)) {
        return lks_checkpoint_open_memory(data, size, "input", &limits, out);
    }
    fuzz_write_file(IN_PLACE_NAME, data, size);
    return lks_checkpoint_open(fuzz_path(IN_PLACE_NAME), &limits, out);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    lks_checkpoint_t *checkpoint;
    if (size == 0) {
        return 0;
    }
    conversion_t conversion = {.what = data[0]};
    conversion.format = conversion.what & IN_PLACE ? 0 : conversion.what % 8;
    conversion.name = conversion.what & IN_PLACE ? IN_PLACE_NAME : formats[conversion.format].name;
    lks_status_t status = open_input(&conversion, data + 1, size - 1, &checkpoint);
    if (status != LKS_OK) {
        fuzz_require_sentence(status);
        return 0;
    }
    status = convert(checkpoint, &conversion);
    if (status == LKS_OK) {
        check(checkpoint, &conversion);
    } else {
        fuzz_require_sentence(status);
    }
    lks_checkpoint_close(checkpoint);
    return 0;
}

size_t LLVMFuzzerCustomMutator(unsigned char *data, size_t size, size_t max_size, unsigned seed)
{
    if (size < 2 || size > max_size || seed % 8 == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    if (seed % 8 == 1) {
        data[0] = (unsigned char)(seed >> 8);
        return size;
    }
    return 1 + fuzz_mutate_archives(data + 1, size - 1, max_size - 1, seed >> 8);
}
