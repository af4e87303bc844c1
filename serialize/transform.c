/* SPDX-License-Identifier: Apache-2.0 */
/* transform.c - keeping the state dict of a tree, and device tags; see transform.h. */
#include "serialize/state_dict_search.h"
#include "serialize/value_node.h"

#include <lockstep/state_dict.h>
#include <lockstep/transform.h>

/* --- keeping a state dict ----------------------------------------------------------------------- */

/* The dict that a state dict is a view of; NULL where it is the view of something else, e.g. of modules. */
static lks_value_t *dict_of(const lks_tree_t *tree, const lks_state_dict_t *found)
{
    const lks_value_t *dict = NULL;
    if (lks_value_at_path(lks_tree_root(tree), lks_state_dict_path(found), &dict) != LKS_OK ||
        lks_value_kind(dict) != LKS_VALUE_DICT ||
        lks_value_find(dict, lks_state_dict_key(found, 0)) != lks_state_dict_value(found, 0)) {
        return NULL;
    }
    return (lks_value_t *)(uintptr_t)dict;
}

static lks_value_t *dict_of_entries(lks_tree_t *tree, const lks_state_dict_t *found)
{
    lks_value_t *dict = lks_value_ordered_dict(tree);
    for (size_t i = 0; i < lks_state_dict_count(found); i++) {
        lks_value_set_str(tree, dict, lks_state_dict_key(found, i),
                          (lks_value_t *)(uintptr_t)lks_state_dict_value(found, i));
    }
    return dict;
}

lks_status_t lks_tree_keep_state_dict(lks_tree_t *tree, const char *path)
{
    lks_state_dict_t *found;
    LKS_TRY(lks_state_dict_find(tree, NULL, path, &found));
    lks_value_t *dict = dict_of(tree, found);
    if (!dict) {
        dict = dict_of_entries(tree, found);
    }
    lks_state_dict_destroy(found);
    LKS_TRY(lks_tree_status(tree));
    lks_tree_set_root(tree, dict);
    return LKS_OK;
}

/* --- device tags -------------------------------------------------------------------------------- */

/* "cuda" fits "cuda" and "cuda:7"; "cuda:1" fits itself. */
static bool fits(const char *location, const char *from, size_t length)
{
    return strncmp(location, from, length) == 0 &&
           (location[length] == '\0' || (location[length] == ':' && !memchr(from, ':', length)));
}

static bool is_tag(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c > '~' || c == '=') {
            return false;
        }
    }
    return length > 0 && length <= 64;
}

lks_status_t lks_tree_map_location(lks_tree_t *tree, const char *rule, size_t *count)
{
    const char *equal = strchr(rule, '=');
    size_t length = equal ? (size_t)(equal - rule) : 0;
    const char *to = equal ? equal + 1 : rule;
    if ((equal && !is_tag(rule, length)) || !is_tag(to, strlen(to))) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "'%s' is neither a device tag nor 'FROM=TO' with two of them", rule);
    }
    const char *label = lks_tree_copy_text(tree, to, strlen(to));
    LKS_TRY(lks_tree_status(tree));
    size_t changed = 0;
    for (size_t i = 0; i < tree->storage_count; i++) {
        lks_tree_storage_t *storage = &tree->storages[i];
        if ((!equal || fits(storage->location, rule, length)) &&
            strcmp(storage->location, to) != 0) {
            storage->location = label;
            changed++;
        }
    }
    if (count) {
        *count = changed;
    }
    return LKS_OK;
}
