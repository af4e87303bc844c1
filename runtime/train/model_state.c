/* SPDX-License-Identifier: Apache-2.0 */
/* model_state.c - a module's tensors to and from a checkpoint's state dict. */
#include "runtime/train/job.h"

#include <stdlib.h>
#include <string.h>

lks_value_t *lks_tensor_save(lks_tree_t *tree, const lks_tensor_t *tensor)
{
    lks_storage_t *storage;
    lks_tensor_t view;
    if (lks_storage_wrap(lks_storage_device(tensor->storage), lks_tensor_data(tensor),
                         lks_tensor_nbytes(tensor), NULL, NULL, &storage) != LKS_OK) {
        return NULL;
    }
    lks_value_t *value = NULL;
    if (lks_tensor_view(storage, tensor->dtype, 0, tensor->ndim, tensor->shape, NULL, &view) ==
        LKS_OK) {
        value = lks_value_tensor_from(tree, &view);
    }
    lks_storage_release(storage); /* the tree holds it now */
    return value;
}

/* PyTorch notes a version for every module of the tree under its path: {'': {'version': 1}, ...}. */
static lks_value_t *metadata(lks_tree_t *tree, const lks_module_t *module, const char *prefix)
{
    lks_value_t *all = lks_value_ordered_dict(tree);
    lks_strbuf_t path = {0};
    for (size_t i = 0; i < lks_module_param_count(module); i++) {
        lks_strbuf_clear(&path);
        lks_strbuf_appendf(&path, "%s%s", prefix, lks_module_param(module, i)->name);
        /* every leading part of "fc.0.weight": "", "fc", "fc.0" */
        size_t end = 0;
        for (size_t at = 0; at < path.length; at++) {
            if (at > 0 && path.data[at] != '.') {
                continue;
            }
            end = at;
            lks_value_t *key = lks_value_str_n(tree, path.data, end);
            lks_value_t *version = lks_value_dict(tree);
            lks_value_set_str(tree, version, "version", lks_value_int(tree, 1));
            lks_value_set(tree, all, key, version);
        }
    }
    bool ok = lks_strbuf_ok(&path);
    lks_strbuf_fini(&path);
    return ok ? all : NULL;
}

/* What parameter `i` is to a dict: its value or, with an optimizer, its master value; no tensor if it has none. */
static lks_tensor_t tensor_of(const lks_module_t *module, const lks_optim_t *optim, size_t i)
{
    return optim ? lks_optim_master(optim, i) : lks_module_param(module, i)->value;
}

static lks_value_t *save_tensors(lks_tree_t *tree, const lks_module_t *module,
                                 const lks_optim_t *optim, const char *prefix)
{
    lks_value_t *dict = lks_value_ordered_dict(tree);
    lks_strbuf_t key = {0};
    for (size_t i = 0; i < lks_module_param_count(module); i++) {
        lks_tensor_t tensor = tensor_of(module, optim, i);
        if (tensor.storage) {
            lks_strbuf_clear(&key);
            lks_strbuf_appendf(&key, "%s%s", prefix, lks_module_param(module, i)->name);
            lks_value_set_str(tree, dict, lks_strbuf_text(&key), lks_tensor_save(tree, &tensor));
        }
    }
    bool ok = lks_strbuf_ok(&key);
    lks_strbuf_fini(&key);
    return ok ? dict : NULL;
}

lks_value_t *lks_model_state_save(lks_tree_t *tree, const lks_module_t *module, const char *prefix)
{
    lks_value_t *dict = save_tensors(tree, module, NULL, prefix);
    lks_value_t *attributes = lks_value_dict(tree);
    lks_value_set_str(tree, attributes, "_metadata", metadata(tree, module, prefix));
    lks_value_dict_set_attributes(tree, dict, attributes);
    return dict;
}

lks_value_t *lks_masters_save(lks_tree_t *tree, const lks_module_t *module,
                              const lks_optim_t *optim, const char *prefix)
{
    return save_tensors(tree, module, optim, prefix);
}

/* --- loading ------------------------------------------------------------------------------------- */

/* What is wanted: tensors, and their names behind the prefix. */
typedef struct wants {
    lks_key_spec_t *specs;
    lks_strbuf_t *keys;
    lks_tensor_t *tensors;
    size_t count;
} wants_t;

static void wants_fini(wants_t *wants)
{
    for (size_t i = 0; wants->keys && i < wants->count; i++) {
        lks_strbuf_fini(&wants->keys[i]);
    }
    free(wants->keys);
    free(wants->specs);
    free(wants->tensors);
}

static lks_status_t wants_init(const lks_module_t *module, const lks_optim_t *optim,
                               const char *prefix, wants_t *wants)
{
    size_t count = lks_module_param_count(module);
    wants->specs = calloc(count, sizeof *wants->specs);
    wants->keys = calloc(count, sizeof *wants->keys);
    wants->tensors = calloc(count, sizeof *wants->tensors);
    bool ok = wants->specs && wants->keys && wants->tensors;
    for (size_t i = 0; ok && i < count; i++) {
        lks_tensor_t *tensor = &wants->tensors[wants->count];
        lks_strbuf_t *key = &wants->keys[wants->count];
        *tensor = tensor_of(module, optim, i);
        if (!tensor->storage) {
            continue;
        }
        lks_strbuf_appendf(key, "%s%s", prefix, lks_module_param(module, i)->name);
        ok = lks_strbuf_ok(key);
        wants->specs[wants->count++] = (lks_key_spec_t){.key = lks_strbuf_text(key),
                                                        .dtype = tensor->dtype,
                                                        .ndim = tensor->ndim,
                                                        .shape = tensor->shape};
    }
    return ok ? LKS_OK : lks_fail(LKS_ERR_NO_MEMORY, "load: out of memory");
}

static bool is_loadable(const lks_load_entry_t *entry)
{
    return entry->match == LKS_MATCH_EXACT || entry->match == LKS_MATCH_RENAMED ||
           entry->match == LKS_MATCH_DTYPE;
}

/* Two passes: every checksum is verified before the first byte of the model changes. */
static lks_status_t copy_matched(lks_checkpoint_t *checkpoint, const lks_load_report_t *report,
                                 const lks_state_dict_t *found, const wants_t *wants)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < lks_load_report_count(report); i++) {
            const lks_load_entry_t *entry = lks_load_report_entry(report, i);
            if (!is_loadable(entry)) {
                continue;
            }
            lks_tensor_t tensor;
            LKS_TRY(lks_checkpoint_tensor(checkpoint, lks_state_dict_value(found, entry->found),
                                          lks_state_dict_key(found, entry->found), &tensor));
            if (pass == 1) {
                LKS_TRY(lks_tensor_convert(&wants->tensors[entry->want], &tensor));
            }
        }
    }
    return LKS_OK;
}

static lks_status_t apply_report(lks_checkpoint_t *checkpoint, const lks_load_report_t *report,
                                 const lks_state_dict_t *found, const wants_t *wants, bool strict)
{
    const char *path = lks_checkpoint_path(checkpoint);
    if (strict) {
        LKS_TRY(lks_load_report_require(report, path));
    } else if (lks_load_report_count_of(report, LKS_MATCH_EXACT) +
                   lks_load_report_count_of(report, LKS_MATCH_RENAMED) +
                   lks_load_report_count_of(report, LKS_MATCH_DTYPE) ==
               0) {
        return lks_fail(LKS_ERR_MISMATCH, "'%s' holds no tensor that fits the model", path);
    }
    return copy_matched(checkpoint, report, found, wants);
}

/* From the dict at `path`; NULL: the one with the most tensors. */
static lks_status_t load_tensors(lks_checkpoint_t *checkpoint, const char *path,
                                 const lks_module_t *module, const lks_optim_t *optim,
                                 const char *prefix, bool strict, lks_strbuf_t *report_text)
{
    const lks_tree_t *tree = lks_checkpoint_tree(checkpoint);
    lks_state_dict_t *found;
    lks_status_t status = lks_state_dict_find(tree, lks_tree_root(tree), path, &found);
    if (status != LKS_OK) {
        return lks_error_prefix(status, "'%s'", lks_checkpoint_path(checkpoint));
    }
    wants_t wants = {0};
    lks_load_report_t *report = NULL;
    LKS_GOTO(wants_init(module, optim, prefix, &wants), fini);
    LKS_GOTO(lks_load_report_create(wants.specs, wants.count, found, &report), fini);
    lks_strbuf_append_str(report_text, lks_load_report_text(report));
    status = apply_report(checkpoint, report, found, &wants, strict);
fini:
    lks_load_report_destroy(report);
    wants_fini(&wants);
    lks_state_dict_destroy(found);
    return status;
}

lks_status_t lks_model_state_load(lks_checkpoint_t *checkpoint, lks_module_t *module,
                                  const char *prefix, bool strict, lks_strbuf_t *report_text)
{
    return load_tensors(checkpoint, NULL, module, NULL, prefix, strict, report_text);
}

static lks_status_t masters_from_values(const lks_module_t *module, const lks_optim_t *optim)
{
    for (size_t i = 0; i < lks_module_param_count(module); i++) {
        lks_tensor_t master = lks_optim_master(optim, i);
        if (master.storage) {
            LKS_TRY(lks_tensor_convert(&master, &lks_module_param(module, i)->value));
        }
    }
    return LKS_OK;
}

lks_status_t lks_masters_load(lks_checkpoint_t *checkpoint, const lks_module_t *module,
                              const lks_optim_t *optim, const char *prefix)
{
    static const char key[] = "master_params";
    const lks_tree_t *tree = checkpoint ? lks_checkpoint_tree(checkpoint) : NULL;
    bool found = tree && lks_value_find(lks_tree_root(tree), key);
    if (!found || lks_module_flat_values(module).dtype == LKS_DTYPE_F32) {
        return masters_from_values(module, optim);
    }
    lks_strbuf_t report = {0};
    lks_status_t status = load_tensors(checkpoint, key, module, optim, prefix, true, &report);
    lks_strbuf_fini(&report);
    return status == LKS_OK ? LKS_OK : lks_error_prefix(status, "%s", key);
}
