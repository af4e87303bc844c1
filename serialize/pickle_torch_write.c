/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_torch_write.c - writing tensors and storages as torch does; see pickle_torch.h. */
#include "serialize/cast.h"
#include "serialize/pickle_ops.h"
#include "serialize/pickle_torch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNTYPED "torch.storage.UntypedStorage"

/* Dtypes without a class of their own lie in plain bytes. */
static const char *class_of(lks_dtype_t dtype)
{
    const char *class = lks_torch_dtype_class(dtype);
    return class ? class : UNTYPED;
}

lks_status_t lks_torch_writer_init(const lks_tree_t *tree, lks_torch_writer_t *out)
{
    size_t count = lks_tree_storage_count(tree) + 1; /* never calloc(0) */
    lks_torch_writer_t writer = {.tree = tree,
                                 .order = calloc(count, sizeof *writer.order),
                                 .key_of = malloc(count * sizeof *writer.key_of),
                                 .itemsize = calloc(count, sizeof *writer.itemsize)};
    if (!writer.order || !writer.key_of || !writer.itemsize) {
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
    free(writer->itemsize);
    *writer = (lks_torch_writer_t){0};
}

void lks_torch_writer_reset(lks_torch_writer_t *writer)
{
    for (size_t key = 0; key < writer->count; key++) {
        writer->key_of[writer->order[key]] = SIZE_MAX;
    }
    writer->count = 0;
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

static void emit_key(lks_torch_writer_t *torch, lks_pickle_writer_t *writer, size_t index)
{
    char number[24];
    if (torch->keys) {
        lks_pickle_emit_text(writer, torch->keys[index].text, torch->keys[index].length);
    } else {
        (void)snprintf(number, sizeof number, "%zu", key_of(torch, index));
        lks_pickle_emit_text(writer, number, strlen(number));
    }
}

/* Elements [offset, offset + numel) of a storage of the tree, as a class of storages sees them. */
typedef struct part {
    size_t index;
    const char *class_name;
    int64_t numel, offset;
} part_t;

/* A stream has elements where an archive has bytes, so all mentions of a storage must agree on what one is. */
static lks_status_t note_itemsize(lks_torch_writer_t *torch, const part_t *part)
{
    size_t *known = &torch->itemsize[part->index], itemsize;
    (void)lks_torch_class_dtype(part->class_name, &itemsize);
    *known = *known ? *known : itemsize;
    if (torch->stream && strcmp(part->class_name, UNTYPED) == 0) {
        return lks_fail(
            LKS_ERR_UNSUPPORTED,
            "its elements have no storage class of their own, and torch reads no untyped "
            "storage from a stream");
    }
    if (torch->stream && (itemsize == 0 || itemsize != *known)) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "it sees a storage as a %s, which %s, and a stream cannot say that",
                        part->class_name,
                        itemsize == 0 ? "is an unknown class" : "others see differently");
    }
    return LKS_OK;
}

/* Elements of a whole storage, of the class that it was named with first. */
static int64_t elements_of(const lks_torch_writer_t *torch, size_t index)
{
    size_t itemsize = torch->itemsize[index];
    size_t nbytes = lks_storage_nbytes(lks_tree_storage(torch->tree, index)->storage);
    return (int64_t)(nbytes / (itemsize ? itemsize : 1));
}

/* (key of the slice, offset, number of elements): equal slices have one key, which no whole storage has. */
static void emit_slice(lks_pickle_writer_t *writer, const part_t *part)
{
    char key[80];
    (void)snprintf(key, sizeof key, "%zu[%" PRId64 "+%" PRId64 "]", part->index, part->offset,
                   part->numel);
    lks_pickle_emit(writer, LKS_OP_MARK);
    lks_pickle_emit_text(writer, key, strlen(key));
    lks_pickle_emit_int(writer, part->offset);
    lks_pickle_emit_int(writer, part->numel);
    lks_pickle_emit(writer, LKS_OP_TUPLE);
}

/* ('storage', class, key, location, numel[, slice or None]) as persistent id. */
static void emit_storage(lks_torch_writer_t *torch, lks_pickle_writer_t *writer, const part_t *part)
{
    const lks_tree_storage_t *storage = lks_tree_storage(torch->tree, part->index);
    int64_t whole = torch->stream ? elements_of(torch, part->index) : part->numel;
    lks_pickle_emit(writer, LKS_OP_MARK);
    lks_pickle_emit_str(writer, "storage", 7);
    lks_pickle_emit_global(writer, part->class_name);
    emit_key(torch, writer, part->index);
    lks_pickle_emit_str(writer, storage->location, strlen(storage->location));
    lks_pickle_emit_int(writer, whole);
    if (part->numel < whole) {
        emit_slice(writer, part);
    } else if (torch->stream) {
        lks_pickle_emit(writer, LKS_OP_NONE);
    }
    lks_pickle_emit(writer, LKS_OP_TUPLE);
    lks_pickle_emit(writer, LKS_OP_BINPERSID);
}

static bool parse_part(const lks_torch_writer_t *torch, const lks_value_t *object, part_t *out)
{
    const lks_value_t *arguments = lks_value_object_arguments(object);
    const lks_value_t *offset = lks_value_at(arguments, 2);
    int64_t index;
    *out = (part_t){.class_name = lks_value_class_name(object)};
    if (lks_value_get_int(lks_value_at(arguments, 0), &index) != LKS_OK ||
        lks_value_get_int(lks_value_at(arguments, 1), &out->numel) != LKS_OK ||
        (offset && lks_value_get_int(offset, &out->offset) != LKS_OK) || index < 0 ||
        out->numel < 0 || out->offset < 0) {
        return false;
    }
    out->index = (size_t)index;
    if (out->index >= lks_tree_storage_count(torch->tree) || !out->class_name) {
        return false;
    }
    const lks_tree_storage_t *storage = lks_tree_storage(torch->tree, out->index);
    if (lks_cast_of(torch->tree, out->index)) { /* it is not what it was read as */
        out->class_name = class_of(storage->dtype);
        out->numel =
            offset
                ? out->numel
                : (int64_t)(lks_storage_nbytes(storage->storage) / lks_dtype_size(storage->dtype));
    }
    return true;
}

static lks_status_t write_storage(void *context, lks_pickle_writer_t *writer,
                                  const lks_value_t *object)
{
    lks_torch_writer_t *torch = context;
    part_t part;
    if (!parse_part(torch, object, &part)) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "it is a storage object without a storage");
    }
    LKS_TRY(note_itemsize(torch, &part));
    int64_t whole = elements_of(torch, part.index);
    if (torch->stream && (part.offset > whole || part.numel > whole - part.offset)) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "it is a storage object larger than its storage");
    }
    if (!torch->stream && part.offset > 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "it is a slice of a storage, without a tensor; only "
                                             "the stream before torch 1.6 knows such");
    }
    emit_storage(torch, writer, &part);
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

static bool is_quantized(const lks_value_t *value)
{
    return lks_value_tensor_quantizer(value) != NULL;
}

/* True where the class of the storage does not say what the elements are. */
static bool needs_dtype(const lks_torch_writer_t *torch, const lks_value_tensor_t *tensor)
{
    lks_dtype_t typed = lks_tree_storage(torch->tree, tensor->storage)->dtype;
    return typed != tensor->dtype || strcmp(class_of(typed), UNTYPED) == 0;
}

static const char *function_of(const lks_torch_writer_t *torch, const lks_value_t *value)
{
    if (is_quantized(value)) {
        return "torch._utils._rebuild_qtensor";
    }
    return needs_dtype(torch, lks_value_tensor(value)) ? "torch._utils._rebuild_tensor_v3"
                                                       : "torch._utils._rebuild_tensor_v2";
}

/* The whole storage of a tensor: one that only says "bytes" where its tensors say what they are. */
static part_t storage_of(const lks_torch_writer_t *torch, const lks_value_tensor_t *tensor)
{
    const lks_tree_storage_t *storage = lks_tree_storage(torch->tree, tensor->storage);
    const char *class = class_of(storage->dtype);
    if (storage->dtype == LKS_DTYPE_U8 && tensor->dtype != LKS_DTYPE_U8) {
        class = UNTYPED;
    }
    size_t itemsize = strcmp(class, UNTYPED) == 0 ? 1 : lks_dtype_size(storage->dtype);
    size_t numel = lks_storage_nbytes(storage->storage) / itemsize;
    return (part_t){.index = tensor->storage, .class_name = class, .numel = (int64_t)numel};
}

static void emit_flag(lks_pickle_writer_t *writer, const char *name)
{
    lks_pickle_emit_str(writer, name, strlen(name));
    lks_pickle_emit_bool(writer, true);
    lks_pickle_emit(writer, LKS_OP_SETITEM);
}

/* {'conj': True, 'neg': True} of what is true; nothing if nothing is. */
static void emit_metadata(lks_pickle_writer_t *writer, const lks_value_tensor_t *tensor)
{
    if (!tensor->is_conj && !tensor->is_neg) {
        return;
    }
    lks_pickle_emit(writer, LKS_OP_EMPTY_DICT);
    if (tensor->is_conj) {
        emit_flag(writer, "conj");
    }
    if (tensor->is_neg) {
        emit_flag(writer, "neg");
    }
}

/* "torch.float8_e5m2"; the names live as long as the program. */
static void emit_dtype(lks_pickle_writer_t *writer, lks_dtype_t dtype)
{
    static const char *const names[] = {
#define DTYPE_NAME(id, name, size) [id] = "torch." name,
        LKS_DTYPE_LIST(DTYPE_NAME)
#undef DTYPE_NAME
    };
    lks_pickle_emit_global(writer, names[dtype]);
}

/* The arguments that all functions begin with: storage, offset, size, stride. */
static void emit_view(lks_torch_writer_t *torch, lks_pickle_writer_t *writer,
                      const lks_value_tensor_t *tensor)
{
    const part_t storage = storage_of(torch, tensor);
    lks_pickle_emit(writer, LKS_OP_MARK);
    emit_storage(torch, writer, &storage);
    lks_pickle_emit_int(writer, tensor->offset);
    emit_ints(writer, tensor->shape, tensor->ndim);
    emit_ints(writer, tensor->stride, tensor->ndim);
}

/* And the others. The inner tensor of a parameter does not require a gradient itself. */
static void emit_rest(const lks_torch_writer_t *torch, lks_pickle_writer_t *writer,
                      const lks_value_t *value)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    lks_pickle_emit_bool(writer, tensor->requires_grad && !tensor->is_parameter);
    emit_hooks(writer);
    if (!is_quantized(value)) {
        if (needs_dtype(torch, tensor)) {
            emit_dtype(writer, tensor->dtype);
        }
        emit_metadata(writer, tensor);
    }
    lks_pickle_emit(writer, LKS_OP_TUPLE);
}

static void emit_call(lks_pickle_writer_t *writer)
{
    lks_pickle_emit(writer, LKS_OP_TUPLE);
    lks_pickle_emit(writer, LKS_OP_REDUCE);
}

/* What comes before the view:
 *     function(                                              a tensor
 *     _rebuild_from_type_v2(function, Tensor, (              one with attributes
 *     _rebuild_parameter(function(                           a parameter
 *     _rebuild_parameter_with_state(function(                one with attributes */
static void emit_front(const lks_torch_writer_t *torch, lks_pickle_writer_t *writer,
                       const lks_value_t *value)
{
    bool attributes = lks_value_tensor_attributes(value);
    if (lks_value_tensor(value)->is_parameter) {
        lks_pickle_emit_global(writer, attributes ? "torch._utils._rebuild_parameter_with_state"
                                                  : "torch._utils._rebuild_parameter");
        lks_pickle_emit(writer, LKS_OP_MARK);
    } else if (attributes) {
        lks_pickle_emit_global(writer, "torch._tensor._rebuild_from_type_v2");
        lks_pickle_emit(writer, LKS_OP_MARK);
    }
    lks_pickle_emit_global(writer, function_of(torch, value));
    if (attributes && !lks_value_tensor(value)->is_parameter) {
        lks_pickle_emit_global(writer, "torch.Tensor");
    }
}

/* What comes behind the tuple of the function's arguments, up to the attributes. */
static void emit_back(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    if (!lks_value_tensor_attributes(value) || tensor->is_parameter) {
        lks_pickle_emit(writer, LKS_OP_REDUCE);
    }
    if (tensor->is_parameter) {
        lks_pickle_emit_bool(writer, tensor->requires_grad);
        emit_hooks(writer);
    }
}

static lks_status_t check_dtype(const lks_torch_writer_t *torch, const lks_value_t *value)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    lks_dtype_t typed = lks_tree_storage(torch->tree, tensor->storage)->dtype;
    bool quantized = lks_dtype_is_quantized(tensor->dtype);
    if (quantized != is_quantized(value) || (quantized && typed != tensor->dtype)) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "a tensor of %s over a storage of %s, %s",
                        lks_dtype_name(tensor->dtype), lks_dtype_name(typed),
                        is_quantized(value) ? "with a quantizer" : "without a quantizer");
    }
    return LKS_OK;
}

/* Stops where a value of the tree is due: at the quantizer, which is among the arguments of its function, and at
 * the attributes, which are the last of all. */
static lks_status_t write_tensor(void *context, lks_pickle_writer_t *writer,
                                 const lks_value_t *value, size_t step, const lks_value_t **next)
{
    lks_torch_writer_t *torch = context;
    const lks_value_t *attributes = lks_value_tensor_attributes(value);
    const size_t quantizer_steps = is_quantized(value) ? 1 : 0;
    if (step == 0) {
        const part_t storage = storage_of(torch, lks_value_tensor(value));
        LKS_TRY(check_dtype(torch, value));
        LKS_TRY(note_itemsize(torch, &storage));
        emit_front(torch, writer, value);
        emit_view(torch, writer, lks_value_tensor(value));
        *next = lks_value_tensor_quantizer(value);
    }
    if (step == quantizer_steps) {
        emit_rest(torch, writer, value);
        emit_back(writer, value);
        *next = attributes;
    }
    if (!*next && (attributes || lks_value_tensor(value)->is_parameter)) {
        emit_call(writer);
    }
    return LKS_OK;
}

lks_pickle_write_hooks_t lks_torch_write_hooks(lks_torch_writer_t *writer)
{
    return (lks_pickle_write_hooks_t){
        .context = writer, .tensor = write_tensor, .storage = write_storage};
}
