/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_pickle.c - a pickle with torch's ids. What can be read and written is the same when it is read and written
 * again, and when tensors are not read at once but opcode by opcode. */
#include "core/checked.h"
#include "fuzz.h"
#include "serialize/pickle_torch.h"
#include "serialize/value_node.h"

#define STORAGE_BYTES_MAX 4096

/* Every key has its storage, of zeros. */
static lks_status_t find_storage(void *context, lks_tree_t *tree, const lks_torch_storage_id_t *id,
                                 size_t *index)
{
    lks_strmap_t *keys = context;
    size_t nbytes, count = lks_tree_storage_count(tree);
    size_t itemsize = id->itemsize ? id->itemsize : 1;
    if (!lks_mul_size((size_t)id->numel, itemsize, &nbytes) || nbytes > STORAGE_BYTES_MAX) {
        return lks_fail(LKS_ERR_FORMAT, "a storage of %s is larger than here allowed",
                        id->class_name);
    }
    *index = lks_strmap_add(keys, id->key, id->key_length, count);
    if (*index != count) {
        return LKS_OK;
    }
    lks_storage_t *storage;
    LKS_TRY(lks_storage_create(lks_device_host(), nbytes, &storage));
    (void)lks_tree_append_storage(tree, storage, id->dtype, id->location);
    lks_storage_release(storage);
    return lks_tree_status(tree);
}

static lks_status_t read_pickle(const void *data, size_t size,
                                const lks_checkpoint_limits_t *limits, bool at_once,
                                lks_tree_t **out)
{
    lks_tree_t *tree;
    lks_strmap_t keys = {0};
    lks_torch_reader_t torch = {.context = &keys, .storage = find_storage, .stream = true};
    lks_pickle_hooks_t hooks = lks_torch_read_hooks(&torch);
    hooks.call = at_once ? hooks.call : NULL;
    lks_value_t *root;
    size_t used;
    LKS_TRY(lks_tree_create_limited(limits, &tree));
    lks_status_t status = lks_pickle_read("input", data, size, &hooks, tree, &used, &root);
    lks_strmap_fini(&keys);
    if (status != LKS_OK) {
        lks_tree_destroy(tree);
        return status;
    }
    fuzz_require(used <= size, "no more was read than is there");
    lks_tree_set_root(tree, root);
    *out = tree;
    return LKS_OK;
}

/* `data` reads, that way, as what `pickle` was written of. */
static void check_same(const void *data, size_t size, bool at_once, const lks_strbuf_t *pickle)
{
    const lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    lks_tree_t *tree;
    fuzz_require(read_pickle(data, size, &limits, at_once, &tree) == LKS_OK,
                 "what was written, or read another way, is read");
    lks_strbuf_t again = fuzz_write(tree);
    fuzz_require(again.length == pickle->length &&
                     memcmp(again.data, pickle->data, pickle->length) == 0,
                 "what was read is written as it was");
    lks_strbuf_fini(&again);
    lks_tree_destroy(tree);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const lks_checkpoint_limits_t limits = fuzz_limits();
    lks_tree_t *tree;
    lks_status_t status = read_pickle(data, size, &limits, true, &tree);
    if (status != LKS_OK) {
        fuzz_require_sentence(status);
        fuzz_require(read_pickle(data, size, &limits, false, &tree) != LKS_OK,
                     "opcode by opcode it is refused, too");
        return 0;
    }
    lks_strbuf_t pickle = fuzz_write(tree);
    lks_tree_destroy(tree);
    if (pickle.length > 0) {
        check_same(data, size, false, &pickle);
        check_same(pickle.data, pickle.length, true, &pickle);
    }
    lks_strbuf_fini(&pickle);
    return 0;
}
