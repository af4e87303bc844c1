/* SPDX-License-Identifier: Apache-2.0 */
/* torchscript.c - reading what torch.jit.save writes, scripted or traced:
 *     ROOT/data.pkl, data/0 ...              the module: an object whose state is its attributes, submodules included
 *     ROOT/constants.pkl, constants/0 ...    a tuple; the code calls its items CONSTANTS.c0, CONSTANTS.c1, ...
 *     ROOT/code/__torch__/torch/nn.py ...    the code of the classes __torch__.torch.nn.*, generated Python
 *     ROOT/code/__torch__/torch/nn.py.debug_pkl, traced_inputs.pkl, bytecode.pkl, extra/NAME, version ...
 * Parameters stand in data.pkl as tensors that require a gradient. A frozen module has no attributes: its weights are
 * among the constants. Code is not looked at; it is an opaque record. */
#include "serialize/format.h"
#include "serialize/torch_archive.h"

#include <string.h>

#define JIT_MODULE "torch.jit._pickle."

static bool probe(lks_origin_t *origin)
{
    return lks_torch_archive_probe(origin, "constants.pkl");
}

/* build_intlist, build_doublelist, build_boollist, build_tensorlist */
static bool is_list_builder(const char *name)
{
    size_t length = strlen(name);
    return length > 10 && strncmp(name, "build_", 6) == 0 && strcmp(name + length - 4, "list") == 0;
}

/* build_intlist([1, 2]) is the list, restore_type_tag(value, "List[str]") the value: Python's lists have no types. */
static lks_status_t create(void *context, lks_tree_t *tree, lks_object_how_t how,
                           lks_value_t *callable, lks_value_t *arguments, lks_value_t **out)
{
    (void)context;
    (void)tree;
    const char *name = lks_value_class_name(callable);
    if (how != LKS_OBJECT_REDUCE || strncmp(name, JIT_MODULE, sizeof JIT_MODULE - 1) != 0) {
        return LKS_OK;
    }
    name += sizeof JIT_MODULE - 1;
    lks_value_t *value = lks_value_at(arguments, 0);
    size_t count = lks_value_count(arguments);
    bool is_list = value && lks_value_kind(value) == LKS_VALUE_LIST;
    if ((count == 1 && is_list && is_list_builder(name)) ||
        (count == 2 && strcmp(name, "restore_type_tag") == 0)) {
        *out = value;
    }
    return LKS_OK;
}

static lks_status_t open_script(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                lks_tree_t *tree, void **state)
{
    LKS_TRY(lks_torch_archive_open(origin, limits, tree, state));
    lks_torch_archive_t *archive = *state;
    lks_value_t *root;
    LKS_TRY(lks_torch_archive_read(archive, "data.pkl", "data/", create, &root));
    LKS_TRY(lks_torch_archive_read(archive, "constants.pkl", "constants/", create,
                                   &archive->constants));
    if (lks_value_kind(archive->constants) != LKS_VALUE_TUPLE) {
        return lks_fail(LKS_ERR_FORMAT, "constants.pkl holds a %s, not a tuple",
                        lks_value_kind_name(lks_value_kind(archive->constants)));
    }
    lks_tree_set_root(tree, root);
    return lks_torch_archive_list(archive);
}

static const lks_value_t *constants(const void *state)
{
    const lks_torch_archive_t *archive = state;
    return archive->constants;
}

const lks_format_t lks_format_torchscript = {
    .name = "torchscript",
    .probe = probe,
    .open = open_script,
    .close = lks_torch_archive_close,
    .records = lks_torch_archive_records,
    .constants = constants,
};
