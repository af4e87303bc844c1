/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_keys.c - hostile names in a state dict: renamed by every rule, chosen, and matched with other names. The input is
 * lines: a prefix, then the names; the names of the model are those without their first letter. */
#include "fuzz.h"
#include "serialize/keys.h"
#include "serialize/value_node.h"

#include <lockstep/rename.h>
#include <lockstep/state_dict.h>

#include <stdlib.h>

#define NAMES_MAX 24

static const int64_t shape[1] = {1};

/* Lines of the input, each a name. */
static size_t split(const unsigned char *data, size_t size, lks_name_t *names)
{
    size_t count = 0, start = 0;
    for (size_t at = 0; at <= size && count < NAMES_MAX; at++) {
        if (at == size || data[at] == '\n') {
            names[count++] = (lks_name_t){.text = (const char *)data + start, .length = at - start};
            start = at + 1;
        }
    }
    return count;
}

static lks_tree_t *build(const lks_name_t *names, size_t count)
{
    lks_tree_t *tree;
    lks_storage_t *storage;
    fuzz_require(lks_tree_create(&tree) == LKS_OK, "there is memory");
    fuzz_require(lks_storage_create(lks_device_host(), 1, &storage) == LKS_OK, "there is memory");
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_U8, "cpu");
    lks_storage_release(storage);
    lks_value_t *dict = lks_value_ordered_dict(tree);
    for (size_t i = 0; i < count; i++) {
        const lks_value_tensor_t tensor = {
            .storage = index, .dtype = LKS_DTYPE_U8, .ndim = 1, .shape = shape, .stride = shape};
        lks_value_set(tree, dict, lks_value_str_n(tree, names[i].text, names[i].length),
                      lks_value_tensor_new(tree, &tensor));
    }
    lks_tree_set_root(tree, dict);
    return tree;
}

/* --- names alone -------------------------------------------------------------------------------- */

static void unwrap(const lks_name_t *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *out = malloc(names[i].length + 1), *again = malloc(names[i].length + 1);
        size_t length = lks_name_unwrap(names[i], out);
        fuzz_require(length <= names[i].length, "unwrapping makes no name longer");
        fuzz_require(length == lks_name_unwrap(names[i], NULL), "its length is the one foretold");
        fuzz_require(length > 0 || names[i].length == 0, "a name is never stripped to nothing");
        size_t left = lks_name_unwrap((lks_name_t){.text = out, .length = length}, again);
        fuzz_require(left == length && memcmp(out, again, length) == 0,
                     "unwrapping twice is unwrapping once");
        free(out);
        free(again);
    }
    size_t front = lks_names_shared_front(names, count);
    for (size_t i = 0; i < count; i++) {
        fuzz_require(front == 0 || front < names[i].length, "something is left of each name");
    }
    fuzz_require(lks_names_modules(names, count) <= 4, "module. is counted up to 4 times");
}

/* --- trees -------------------------------------------------------------------------------------- */

static void apply(const lks_name_t *names, size_t count,
                  lks_status_t (*step)(lks_rename_t *rename, const char *prefix),
                  const char *prefix)
{
    lks_tree_t *tree = build(names, count);
    size_t before = lks_value_count(lks_tree_root(tree));
    lks_rename_t *rename;
    lks_rename_report_t *report = NULL;
    fuzz_require(lks_rename_create(&rename) == LKS_OK, "there is memory");
    lks_status_t status = step(rename, prefix);
    if (status == LKS_OK) {
        status = lks_rename_apply(rename, tree, NULL, &report);
    }
    if (status == LKS_OK) {
        fuzz_require(lks_value_count(lks_tree_root(tree)) == before, "no key is lost");
        (void)strlen(lks_rename_report_text(report));
        lks_rename_report_destroy(report);
    } else {
        fuzz_require_sentence(status);
    }
    lks_rename_destroy(rename);
    lks_tree_destroy(tree);
}

static lks_status_t canonical(lks_rename_t *rename, const char *prefix)
{
    return lks_rename_canonical(rename, prefix[0] == 'c');
}

/* Patterns are the user's and names the file's: only these are hostile. */
static lks_status_t by_regex(lks_rename_t *rename, const char *prefix)
{
    (void)prefix;
    return lks_rename_regex(rename, "^([^.]*)\\.(0|1)?", "\\2.&\\1");
}

static void choose(const lks_name_t *names, size_t count, const char *prefix)
{
    const lks_key_filter_t filters[] = {{.pattern = "*", .drop = false},
                                        {.pattern = prefix, .drop = true}};
    lks_tree_t *tree = build(names, count);
    lks_status_t status = lks_tree_select(tree, NULL, filters, 2, NULL);
    if (status != LKS_OK) {
        fuzz_require_sentence(status);
    }
    lks_tree_destroy(tree);
}

static void match(const lks_name_t *names, size_t count)
{
    lks_tree_t *tree = build(names, count);
    lks_key_spec_t want[NAMES_MAX];
    char *texts[NAMES_MAX];
    for (size_t i = 0; i < count; i++) {
        size_t drop = names[i].length > 0;
        texts[i] = strndup(names[i].text + drop, names[i].length - drop);
        want[i] =
            (lks_key_spec_t){.key = texts[i], .dtype = LKS_DTYPE_U8, .ndim = 1, .shape = shape};
    }
    lks_state_dict_t *dict;
    lks_load_report_t *report;
    if (lks_state_dict_find(tree, NULL, "", &dict) == LKS_OK) {
        lks_status_t status = lks_load_report_create(want, count, dict, &report);
        if (status == LKS_OK) {
            (void)strlen(lks_load_report_text(report));
            (void)!lks_load_report_require(report, "input");
            lks_load_report_destroy(report);
        } else {
            fuzz_require_sentence(status);
        }
        lks_state_dict_destroy(dict);
    }
    for (size_t i = 0; i < count; i++) {
        free(texts[i]);
    }
    lks_tree_destroy(tree);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    lks_name_t names[NAMES_MAX];
    size_t count = split(data, size, names) - 1;
    char *prefix = strndup(names[0].text, names[0].length);
    unwrap(names + 1, count);
    apply(names + 1, count, lks_rename_strip_prefix, prefix);
    apply(names + 1, count, lks_rename_add_prefix, prefix);
    apply(names + 1, count, canonical, prefix);
    apply(names + 1, count, by_regex, prefix);
    choose(names + 1, count, prefix);
    match(names + 1, count);
    free(prefix);
    return 0;
}
