/* SPDX-License-Identifier: Apache-2.0 */
/* state_dict.c - the tensors of one dict of a value tree, as an array. */
#include "core/checked.h"
#include "serialize/name_text.h"
#include "serialize/state_dict_search.h"

#include <lockstep/state_dict.h>
#include <stdlib.h>

typedef struct entry {
    const char *key;
    const lks_value_t *value;
} entry_t;

struct lks_state_dict {
    lks_strbuf_t path;
    size_t count;
    entry_t entries[];
};

/* From here on names are C strings. */
static lks_status_t check_key(const char *key, size_t nbytes)
{
    if (strlen(key) == nbytes) {
        return LKS_OK;
    }
    lks_strbuf_t name = {0};
    lks_name_append(&name, (lks_name_t){.text = key, .length = nbytes}, 200);
    lks_status_t status = lks_fail(
        LKS_ERR_FORMAT, "the state dict's key '%s' has a zero byte in it", lks_strbuf_text(&name));
    lks_strbuf_fini(&name);
    return status;
}

static lks_status_t fill(lks_state_dict_t *created, const lks_value_t *dict)
{
    for (size_t i = 0; i < lks_value_count(dict); i++) {
        if (lks_dict_has_tensor_at(dict, i)) {
            size_t nbytes;
            const char *key = lks_value_text(lks_value_key_at(dict, i), &nbytes);
            LKS_TRY(check_key(key, nbytes));
            created->entries[created->count++] =
                (entry_t){.key = key, .value = lks_value_at(dict, i)};
        }
    }
    return LKS_OK;
}

static lks_status_t create(const lks_value_t *dict, const char *path, lks_state_dict_t **out)
{
    size_t count = lks_dict_count_tensors(dict), nbytes;
    if (count == 0) {
        return lks_fail(LKS_ERR_NOT_FOUND, "the dict '%s' has no tensor under a str key",
                        *path ? path : "(root)");
    }
    lks_state_dict_t *created = NULL;
    if (lks_mul_size(count, sizeof(entry_t), &nbytes) &&
        lks_add_size(nbytes, sizeof *created, &nbytes)) {
        created = calloc(1, nbytes);
    }
    if (!created) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a state dict of %zu tensors: out of memory", count);
    }
    lks_strbuf_append_str(&created->path, path);
    lks_status_t status = fill(created, dict);
    if (status == LKS_OK && !lks_strbuf_ok(&created->path)) {
        status = lks_fail(LKS_ERR_NO_MEMORY, "the path of a state dict: out of memory");
    }
    if (status != LKS_OK) {
        lks_state_dict_destroy(created);
        return status;
    }
    *out = created;
    return LKS_OK;
}

lks_status_t lks_state_dict_find(const lks_tree_t *tree, const lks_value_t *root, const char *path,
                                 lks_state_dict_t **out)
{
    root = root ? root : lks_tree_root(tree);
    if (!root) {
        return lks_fail(LKS_ERR_NOT_FOUND, "the tree has no root");
    }
    const lks_value_t *dict;
    if (!path) {
        char found_path[LKS_PATH_MAX];
        LKS_TRY(lks_state_dict_search(root, &dict, found_path));
        return create(dict, found_path, out);
    }
    LKS_TRY(lks_value_at_path(root, path, &dict));
    if (lks_value_kind(dict) != LKS_VALUE_DICT) {
        return lks_fail(LKS_ERR_MISMATCH, "'%s' is a %s where a dict of tensors is wanted",
                        *path ? path : "(root)", lks_value_kind_name(lks_value_kind(dict)));
    }
    return create(dict, path, out);
}

void lks_state_dict_destroy(lks_state_dict_t *dict)
{
    if (dict) {
        lks_strbuf_fini(&dict->path);
        free(dict);
    }
}

size_t lks_state_dict_count(const lks_state_dict_t *dict)
{
    return dict->count;
}

const char *lks_state_dict_key(const lks_state_dict_t *dict, size_t index)
{
    return index < dict->count ? dict->entries[index].key : NULL;
}

const lks_value_t *lks_state_dict_value(const lks_state_dict_t *dict, size_t index)
{
    return index < dict->count ? dict->entries[index].value : NULL;
}

const char *lks_state_dict_path(const lks_state_dict_t *dict)
{
    return lks_strbuf_text(&dict->path);
}
