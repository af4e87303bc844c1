/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_torch_write.c - writing tensors and storages as torch does; see pickle_torch.h. */
#include "serialize/pickle_ops.h"
#include "serialize/pickle_torch.h"
#include "serialize/torch_dtypes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "torch.FloatStorage". Of classes with one dtype the first counts: UntypedStorage and the quantized ones come
 * after. */
static const char *class_of(lks_dtype_t dtype)
{
    static const struct {
        const char *name;
        lks_dtype_t dtype;
    } classes[] = {
#define CLASS_OF(name, dtype, plain) {"torch." name, dtype},
        LKS_TORCH_STORAGE_LIST(CLASS_OF)
#undef CLASS_OF
    };
    size_t i = 0;
    while (classes[i].dtype != dtype) {
        i++;
    }
    return classes[i].name;
}

lks_status_t lks_torch_writer_init(const lks_tree_t *tree, lks_torch_writer_t *out)
{
    size_t count = lks_tree_storage_count(tree) + 1; /* never calloc(0) */
    lks_torch_writer_t writer = {.tree = tree,
                                 .order = calloc(count, sizeof *writer.order),
                                 .key_of = malloc(count * sizeof *writer.key_of)};
    if (!writer.order || !writer.key_of) {
        lks_torch_writer_fini(&writer);
        return lks_fail(LKS_ERR_NO_MEMORY, "writing a checkpoint: out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        writer.key_of[i] = SIZE_MAX;
    }
    *out = writer;
    return LKS_OK;
}

void lks_torch_writer_fini(lks_torch_writer_t *writer)
{
    free(writer->order);
    free(writer->key_of);
    *writer = (lks_torch_writer_t){0};
}

/* --- storages ----------------------------------------------------------------------------------- */

/* The key of a storage: they are numbered as they are first named. */
static size_t key_of(lks_torch_writer_t *torch, size_t index)
{
    if (torch->key_of[index] == SIZE_MAX) {
        torch->key_of[index] = torch->count;
        torch->order[torch->count++] = index;
    }
    return torch->key_of[index];
}

/* ('storage', class, key, location, numel) as persistent id. */
static void emit_storage(lks_torch_writer_t *torch, lks_pickle_writer_t *writer, size_t index,
                         const char *class_name, int64_t numel)
{
    char key[24];
    (void)snprintf(key, sizeof key, "%zu", key_of(torch, index));
    const char *location = lks_tree_storage(torch->tree, index)->location;
    lks_pickle_emit(writer, LKS_OP_MARK);
    lks_pickle_emit_str(writer, "storage", 7);
    lks_pickle_emit_global(writer, class_name);
    lks_pickle_emit_text(writer, key, strlen(key));
    lks_pickle_emit_str(writer, location, strlen(location));
    lks_pickle_emit_int(writer, numel);
    lks_pickle_emit(writer, LKS_OP_TUPLE);
    lks_pickle_emit(writer, LKS_OP_BINPERSID);
}

static lks_status_t write_storage(void *context, lks_pickle_writer_t *writer,
                                  const lks_value_t *object)
{
    lks_torch_writer_t *torch = context;
    const lks_value_t *arguments = lks_value_object_arguments(object);
    int64_t index, numel;
    if (lks_value_get_int(lks_value_at(arguments, 0), &index) != LKS_OK ||
        lks_value_get_int(lks_value_at(arguments, 1), &numel) != LKS_OK || index < 0 ||
        (size_t)index >= lks_tree_storage_count(torch->tree) || !lks_value_class_name(object)) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "it is a storage object without a storage");
    }
    emit_storage(torch, writer, (size_t)index, lks_value_class_name(object), numel);
    return LKS_OK;
}

/* --- tensors ------------------------------------------------------------------------------------ */

static void emit_ints(lks_pickle_writer_t *writer, const int64_t *numbers, int count)
{
    static const int small[] = {LKS_OP_EMPTY_TUPLE, LKS_OP_TUPLE1, LKS_OP_TUPLE2, LKS_OP_TUPLE3};
    if (count > 3) {
        lks_pickle_emit(writer, LKS_OP_MARK);
    }
    for (int i = 0; i < count; i++) {
        lks_pickle_emit_int(writer, numbers[i]);
    }
    lks_pickle_emit(writer, count > 3 ? LKS_OP_TUPLE : small[count]);
}

/* No hooks: an empty OrderedDict. */
static void emit_hooks(lks_pickle_writer_t *writer)
{
    lks_pickle_emit_global(writer, "collections.OrderedDict");
    lks_pickle_emit(writer, LKS_OP_EMPTY_TUPLE);
    lks_pickle_emit(writer, LKS_OP_REDUCE);
}

/* The arguments of _rebuild_tensor_v2, as a tuple. */
static void emit_tensor_arguments(lks_torch_writer_t *torch, lks_pickle_writer_t *writer,
                                  const lks_value_tensor_t *tensor, bool requires_grad)
{
    const lks_tree_storage_t *storage = lks_tree_storage(torch->tree, tensor->storage);
    size_t numel = lks_storage_nbytes(storage->storage) / lks_dtype_size(storage->dtype);
    lks_pickle_emit(writer, LKS_OP_MARK);
    emit_storage(torch, writer, tensor->storage, class_of(storage->dtype), (int64_t)numel);
    lks_pickle_emit_int(writer, tensor->offset);
    emit_ints(writer, tensor->shape, tensor->ndim);
    emit_ints(writer, tensor->stride, tensor->ndim);
    lks_pickle_emit_bool(writer, requires_grad);
    emit_hooks(writer);
    lks_pickle_emit(writer, LKS_OP_TUPLE);
}

static void emit_tensor(lks_torch_writer_t *torch, lks_pickle_writer_t *writer,
                        const lks_value_tensor_t *tensor, bool requires_grad)
{
    lks_pickle_emit_global(writer, "torch._utils._rebuild_tensor_v2");
    emit_tensor_arguments(torch, writer, tensor, requires_grad);
    lks_pickle_emit(writer, LKS_OP_REDUCE);
}

/* Up to the attributes, where there are some:
 *     _rebuild_tensor_v2(...)                             a tensor
 *     _rebuild_from_type_v2(_rebuild_tensor_v2, Tensor, (...), attributes)
 *     _rebuild_parameter(tensor, requires_grad, hooks)    a parameter
 *     _rebuild_parameter_with_state(tensor, requires_grad, hooks, attributes) */
static lks_status_t write_tensor(void *context, lks_pickle_writer_t *writer,
                                 const lks_value_t *value)
{
    lks_torch_writer_t *torch = context;
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    bool attributes = lks_value_tensor_attributes(value);
    lks_dtype_t typed = lks_tree_storage(torch->tree, tensor->storage)->dtype;
    if (typed != tensor->dtype) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "a tensor of %s over a storage of %s",
                        lks_dtype_name(tensor->dtype), lks_dtype_name(typed));
    }
    if (tensor->is_parameter) {
        lks_pickle_emit_global(writer, attributes ? "torch._utils._rebuild_parameter_with_state"
                                                  : "torch._utils._rebuild_parameter");
        lks_pickle_emit(writer, LKS_OP_MARK);
        emit_tensor(torch, writer, tensor, false);
        lks_pickle_emit_bool(writer, tensor->requires_grad);
        emit_hooks(writer);
        if (!attributes) {
            lks_pickle_emit(writer, LKS_OP_TUPLE);
            lks_pickle_emit(writer, LKS_OP_REDUCE);
        }
    } else if (attributes) {
        lks_pickle_emit_global(writer, "torch._tensor._rebuild_from_type_v2");
        lks_pickle_emit(writer, LKS_OP_MARK);
        lks_pickle_emit_global(writer, "torch._utils._rebuild_tensor_v2");
        lks_pickle_emit_global(writer, "torch.Tensor");
        emit_tensor_arguments(torch, writer, tensor, tensor->requires_grad);
    } else {
        emit_tensor(torch, writer, tensor, tensor->requires_grad);
    }
    return LKS_OK;
}

static lks_status_t write_tensor_end(void *context, lks_pickle_writer_t *writer,
                                     const lks_value_t *value)
{
    (void)context;
    (void)value;
    lks_pickle_emit(writer, LKS_OP_TUPLE);
    lks_pickle_emit(writer, LKS_OP_REDUCE);
    return LKS_OK;
}

lks_pickle_write_hooks_t lks_torch_write_hooks(lks_torch_writer_t *writer)
{
    return (lks_pickle_write_hooks_t){.context = writer,
                                      .tensor = write_tensor,
                                      .tensor_end = write_tensor_end,
                                      .storage = write_storage};
}
