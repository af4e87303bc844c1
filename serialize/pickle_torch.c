/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_torch.c - reading torch's storages and tensors; see pickle_torch.h. */
#include "serialize/pickle_torch.h"
#include "core/checked.h"
#include "serialize/torch_dtypes.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

typedef struct storage_class {
    const char *name;
    lks_dtype_t dtype;
} storage_class_t;

#define STORAGE_CLASS(name, dtype) {"torch." name, dtype},
static const storage_class_t storage_classes[] = {LKS_TORCH_STORAGE_LIST(STORAGE_CLASS)};
#undef STORAGE_CLASS

/* By the last part of the name alone: "torch.FloatStorage", "torch.cuda.FloatStorage". NULL if unknown. */
static const storage_class_t *find_class(const char *class_name)
{
    const char *dot = strrchr(class_name, '.');
    const char *name = dot ? dot + 1 : class_name;
    for (size_t i = 0; i < sizeof storage_classes / sizeof *storage_classes; i++) {
        if (strcmp(name, storage_classes[i].name + strlen("torch.")) == 0) {
            return &storage_classes[i];
        }
    }
    return NULL;
}

lks_dtype_t lks_torch_class_dtype(const char *class_name, size_t *itemsize)
{
    const storage_class_t *known = find_class(class_name);
    *itemsize = known ? lks_dtype_size(known->dtype) : 0;
    return known ? known->dtype : LKS_DTYPE_U8;
}

const char *lks_torch_dtype_class(lks_dtype_t dtype)
{
    for (size_t i = 0; i < sizeof storage_classes / sizeof *storage_classes; i++) {
        if (storage_classes[i].dtype == dtype) {
            return storage_classes[i].name;
        }
    }
    return NULL;
}

/* --- storages ----------------------------------------------------------------------------------- */

static bool is_str(const lks_value_t *value)
{
    return value->kind == LKS_VALUE_STR;
}

static lks_status_t parse_storage_id(const lks_value_t *id, lks_torch_storage_id_t *out)
{
    lks_value_t *const *parts = id->kind == LKS_VALUE_TUPLE && lks_value_count(id) >= 5
                                    ? ((const lks_sequence_node_t *)id)->items
                                    : NULL;
    if (!parts || !is_str(parts[0]) || strcmp(lks_value_text(parts[0], NULL), "storage") != 0 ||
        parts[1]->kind != LKS_VALUE_GLOBAL || !is_str(parts[2]) || !is_str(parts[3]) ||
        lks_value_get_int(parts[4], &out->numel) != LKS_OK || out->numel < 0) {
        return lks_fail(LKS_ERR_FORMAT, "a persistent id is not ('storage', class, key, location, "
                                        "number of elements)");
    }
    out->class_name = lks_value_class_name(parts[1]);
    if (!strstr(out->class_name, "Storage")) {
        return lks_fail(LKS_ERR_FORMAT, "'%s' is no storage class", out->class_name);
    }
    out->dtype = lks_torch_class_dtype(out->class_name, &out->itemsize);
    out->key = lks_value_text(parts[2], &out->key_length);
    out->location = lks_value_text(parts[3], NULL);
    return LKS_OK;
}

/* What a storage's id may end with: (key of the slice, offset, number of elements), all within the whole. */
static lks_status_t parse_slice(const lks_value_t *slice, int64_t whole, int64_t *offset,
                                int64_t *numel)
{
    if (slice->kind != LKS_VALUE_TUPLE || lks_value_count(slice) != 3 ||
        lks_value_get_int(lks_value_at(slice, 1), offset) != LKS_OK ||
        lks_value_get_int(lks_value_at(slice, 2), numel) != LKS_OK || *offset < 0 || *numel < 0) {
        return lks_fail(LKS_ERR_FORMAT, "a slice of a storage is not (key, offset, number of "
                                        "elements)");
    }
    if (*offset > whole || *numel > whole - *offset) {
        return lks_fail(LKS_ERR_FORMAT,
                        "a slice has %" PRId64 " elements from offset %" PRId64
                        ", its storage has %" PRId64,
                        *numel, *offset, whole);
    }
    return LKS_OK;
}

/* The first mention of a key made the storage, and decides what its elements are and how many, whatever later ones say.
 * As in torch. How many an archive has of an unknown class is for its own mentions to say: they are bytes here. Returns
 * the number. */
static int64_t agree_with_first(const lks_torch_reader_t *reader, lks_tree_t *tree,
                                const lks_torch_storage_id_t *id, size_t index, lks_value_t **class)
{
    const lks_tree_storage_t *storage = lks_tree_storage(tree, index);
    size_t itemsize = id->itemsize;
    const char *first = lks_torch_dtype_class(storage->dtype);
    if (itemsize == 0 && reader->stream) {
        itemsize = lks_dtype_size(storage->dtype); /* the first was of a class that is known */
    }
    if (id->dtype != storage->dtype && first) {
        itemsize = lks_dtype_size(storage->dtype);
        *class = lks_value_global(tree, "torch", first + strlen("torch."));
    }
    size_t nbytes = lks_storage_nbytes(storage->storage);
    return itemsize > 0 ? (int64_t)(nbytes / itemsize) : id->numel;
}

static lks_status_t read_storage(const lks_torch_reader_t *reader, lks_tree_t *tree,
                                 const lks_value_t *id, lks_value_t **out)
{
    lks_torch_storage_id_t storage;
    size_t index;
    LKS_TRY(parse_storage_id(id, &storage));
    LKS_TRY(reader->storage(reader->context, tree, &storage, &index));
    lks_value_t *class = lks_value_at(id, 1);
    const int64_t whole = agree_with_first(reader, tree, &storage, index, &class);
    const lks_value_t *slice = reader->stream ? lks_value_at(id, 5) : NULL;
    int64_t offset = 0, numel = whole;
    if (slice && slice->kind != LKS_VALUE_NONE) {
        LKS_TRY(parse_slice(slice, whole, &offset, &numel));
    }
    *out = lks_value_bare_storage(tree, class, index, numel, numel < whole ? &offset : NULL);
    return LKS_OK; /* the tree's failure is the caller's to report */
}

/* ('module', class, source file, source text): the class. Its text would only be compared with the one installed. */
static bool is_class(const lks_value_t *id)
{
    const lks_value_t *tag = lks_value_at(id, 0), *class = lks_value_at(id, 1);
    return id->kind == LKS_VALUE_TUPLE && lks_value_count(id) == 4 && is_str(tag) &&
           strcmp(lks_value_text(tag, NULL), "module") == 0 && class->kind == LKS_VALUE_GLOBAL;
}

static lks_status_t read_persistent(void *context, lks_tree_t *tree, lks_value_t *id,
                                    lks_value_t **out)
{
    const lks_torch_reader_t *reader = context;
    if (reader->stream && is_class(id)) {
        *out = lks_value_at(id, 1);
        return LKS_OK;
    }
    return read_storage(reader, tree, id, out);
}

/* --- tensors ------------------------------------------------------------------------------------ */

/* None, or a dict without anything in it: hooks and metadata that say nothing. */
static bool is_nothing(const lks_value_t *value)
{
    return !value || value->kind == LKS_VALUE_NONE ||
           (value->kind == LKS_VALUE_DICT && lks_value_count(value) == 0 &&
            !lks_value_dict_attributes(value));
}

/* A storage of a known class. */
static bool get_storage(const lks_value_t *value, size_t *index)
{
    int64_t number;
    if (!value || value->kind != LKS_VALUE_OBJECT ||
        lks_value_object_how(value) != LKS_OBJECT_STORAGE ||
        lks_value_get_int(lks_value_at(lks_value_object_arguments(value), 0), &number) != LKS_OK) {
        return false;
    }
    *index = (size_t)number;
    return find_class(lks_value_class_name(value)) != NULL;
}

/* The ints of a tuple, in the tree. */
static lks_status_t read_ints(lks_tree_t *tree, const lks_value_t *tuple, const char *what,
                              const int64_t **out)
{
    size_t count = lks_value_count(tuple);
    if (!tuple || (tuple->kind != LKS_VALUE_TUPLE && tuple->kind != LKS_VALUE_LIST) ||
        count > INT_MAX) {
        return lks_fail(LKS_ERR_FORMAT, "the %s of a tensor is not a tuple of ints", what);
    }
    lks_value_t *const *items = ((const lks_sequence_node_t *)tuple)->items;
    int64_t *numbers = lks_tree_alloc(tree, count * sizeof *numbers);
    for (size_t i = 0; numbers && i < count; i++) {
        if (lks_value_get_int(items[i], &numbers[i]) != LKS_OK) {
            return lks_fail(LKS_ERR_FORMAT, "the %s of a tensor is not a tuple of ints", what);
        }
    }
    *out = numbers;
    return LKS_OK;
}

lks_status_t lks_torch_place_tensor(const lks_value_t *storage, lks_value_tensor_t *tensor)
{
    const lks_value_t *arguments = lks_value_object_arguments(storage);
    int64_t numel, start, span;
    if (lks_value_count(arguments) < 3 ||
        lks_value_get_int(lks_value_at(arguments, 2), &start) != LKS_OK ||
        lks_value_get_int(lks_value_at(arguments, 1), &numel) != LKS_OK) {
        return LKS_OK; /* no slice */
    }
    if (lks_shape_span(tensor->ndim, tensor->shape, tensor->stride, &span) != LKS_OK) {
        return lks_error_prefix(LKS_ERR_FORMAT, "a tensor of a slice");
    }
    if (!lks_add_i64(start, tensor->offset, &start) ||
        (span > 0 &&
         (tensor->offset < 0 || tensor->offset > numel || span > numel - tensor->offset))) {
        return lks_fail(LKS_ERR_FORMAT,
                        "a tensor spans %" PRId64 " elements from offset %" PRId64
                        ", its slice of a storage holds %" PRId64,
                        span, tensor->offset, numel);
    }
    tensor->offset = start;
    return LKS_OK;
}

/* storage, offset, size, stride: what every kind of tensor begins with. */
static lks_status_t read_view(lks_tree_t *tree, const lks_value_t *arguments,
                              lks_value_tensor_t *out)
{
    const lks_value_t *size = lks_value_at(arguments, 2), *stride = lks_value_at(arguments, 3);
    if (lks_value_get_int(lks_value_at(arguments, 1), &out->offset) != LKS_OK) {
        return lks_fail(LKS_ERR_FORMAT, "the offset of a tensor is no int");
    }
    LKS_TRY(read_ints(tree, size, "shape", &out->shape));
    LKS_TRY(read_ints(tree, stride, "stride", &out->stride));
    if (lks_value_count(size) != lks_value_count(stride)) {
        return lks_fail(LKS_ERR_FORMAT, "a tensor has %zu dimensions and %zu strides",
                        lks_value_count(size), lks_value_count(stride));
    }
    out->ndim = (int)lks_value_count(size);
    /* Where memory ran out there is no shape, and no tensor will be made. */
    return lks_tree_ok(tree) ? lks_torch_place_tensor(lks_value_at(arguments, 0), out) : LKS_OK;
}

static lks_status_t read_requires_grad(const lks_value_t *value, bool *out)
{
    if (value && lks_value_get_bool(value, out) != LKS_OK) {
        return lks_fail(LKS_ERR_FORMAT, "the requires_grad of a tensor is no bool");
    }
    return LKS_OK;
}

/* {'conj': True, 'neg': True}, either or none. False if there is more in it. */
static bool read_metadata(const lks_value_t *metadata, lks_value_tensor_t *out)
{
    if (is_nothing(metadata)) {
        return true;
    }
    size_t known = 0;
    const lks_value_t *conj = lks_value_find(metadata, "conj");
    const lks_value_t *neg = lks_value_find(metadata, "neg");
    known += conj && lks_value_get_bool(conj, &out->is_conj) == LKS_OK;
    known += neg && lks_value_get_bool(neg, &out->is_neg) == LKS_OK;
    return metadata->kind == LKS_VALUE_DICT && known == lks_value_count(metadata);
}

/* torch.float8_e5m2 and so on. */
static bool read_dtype(const lks_value_t *value, lks_dtype_t *out)
{
    const char *name = value && value->kind == LKS_VALUE_GLOBAL ? lks_value_class_name(value) : "";
    return strncmp(name, "torch.", 6) == 0 && lks_dtype_from_name(name + 6, out) == LKS_OK;
}

static lks_value_t *create_tensor(lks_tree_t *tree, const lks_value_tensor_t *tensor)
{
    return lks_tree_ok(tree) ? lks_tensor_node_create(tree, tensor) : NULL;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]) and, without its last
 * arguments, the _rebuild_tensor of the first versions. The elements are what the storage says. */
static lks_status_t rebuild_tensor(lks_tree_t *tree, const lks_value_t *arguments,
                                   lks_value_t **out)
{
    lks_value_tensor_t tensor = {0};
    if (!get_storage(lks_value_at(arguments, 0), &tensor.storage) ||
        lks_dtype_is_quantized(tree->storages[tensor.storage].dtype) ||
        !is_nothing(lks_value_at(arguments, 5)) ||
        !read_metadata(lks_value_at(arguments, 6), &tensor)) {
        return LKS_OK; /* kept as a call */
    }
    LKS_TRY(read_view(tree, arguments, &tensor));
    LKS_TRY(read_requires_grad(lks_value_at(arguments, 4), &tensor.requires_grad));
    tensor.dtype = tree->storages[tensor.storage].dtype;
    *out = create_tensor(tree, &tensor);
    return LKS_OK;
}

/* _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata]): elements that no
 * storage class is for. */
static lks_status_t rebuild_tensor_v3(lks_tree_t *tree, const lks_value_t *arguments,
                                      lks_value_t **out)
{
    lks_value_tensor_t tensor = {0};
    if (!get_storage(lks_value_at(arguments, 0), &tensor.storage) ||
        !read_dtype(lks_value_at(arguments, 6), &tensor.dtype) ||
        lks_dtype_is_quantized(tensor.dtype) || !is_nothing(lks_value_at(arguments, 5)) ||
        !read_metadata(lks_value_at(arguments, 7), &tensor)) {
        return LKS_OK;
    }
    LKS_TRY(read_view(tree, arguments, &tensor));
    LKS_TRY(read_requires_grad(lks_value_at(arguments, 4), &tensor.requires_grad));
    *out = create_tensor(tree, &tensor);
    return LKS_OK;
}

/* _rebuild_qtensor(storage, offset, size, stride, quantizer, requires_grad, hooks) */
static lks_status_t rebuild_qtensor(lks_tree_t *tree, const lks_value_t *arguments,
                                    lks_value_t **out)
{
    lks_value_tensor_t tensor = {0};
    lks_value_t *quantizer = lks_value_at(arguments, 4);
    if (!get_storage(lks_value_at(arguments, 0), &tensor.storage) ||
        !lks_dtype_is_quantized(tree->storages[tensor.storage].dtype) ||
        quantizer->kind != LKS_VALUE_TUPLE || !is_nothing(lks_value_at(arguments, 6))) {
        return LKS_OK;
    }
    LKS_TRY(read_view(tree, arguments, &tensor));
    LKS_TRY(read_requires_grad(lks_value_at(arguments, 5), &tensor.requires_grad));
    tensor.dtype = tree->storages[tensor.storage].dtype;
    lks_value_t *value = create_tensor(tree, &tensor);
    lks_value_tensor_set_quantizer(tree, value, quantizer);
    *out = value;
    return LKS_OK;
}

static lks_status_t make_parameter(lks_tree_t *tree, const lks_value_t *data, bool requires_grad,
                                   lks_value_t *state, lks_value_t **out)
{
    /* A second view, so that marking it leaves the first alone. */
    lks_tensor_node_t *parameter = lks_tensor_node_clone(tree, data);
    if (!parameter) {
        return LKS_OK;
    }
    parameter->tensor.requires_grad = requires_grad;
    parameter->tensor.is_parameter = true;
    if (state) {
        lks_value_tensor_set_attributes(tree, &parameter->head, state);
    }
    *out = &parameter->head;
    return LKS_OK;
}

static bool is_bare_tensor(const lks_value_t *value)
{
    return lks_value_tensor(value) && !lks_value_tensor_attributes(value) &&
           !lks_value_tensor(value)->is_parameter;
}

/* _rebuild_parameter(tensor, requires_grad, hooks), and with the attributes of the parameter as `state`. */
static lks_status_t rebuild_parameter(lks_tree_t *tree, const lks_value_t *arguments,
                                      lks_value_t **out)
{
    const lks_value_t *data = lks_value_at(arguments, 0);
    bool requires_grad;
    if (!is_bare_tensor(data) ||
        lks_value_get_bool(lks_value_at(arguments, 1), &requires_grad) != LKS_OK ||
        !is_nothing(lks_value_at(arguments, 2))) {
        return LKS_OK; /* kept as a call */
    }
    return make_parameter(tree, data, requires_grad, lks_value_at(arguments, 3), out);
}

/* torch.nn.parameter.Parameter(tensor[, requires_grad]), called or as a new instance: before 0.4. */
static lks_status_t new_parameter(lks_tree_t *tree, const lks_value_t *arguments, lks_value_t **out)
{
    const lks_value_t *data = lks_value_at(arguments, 0), *flag = lks_value_at(arguments, 1);
    bool requires_grad = true;
    if (!is_bare_tensor(data) || (flag && lks_value_get_bool(flag, &requires_grad) != LKS_OK)) {
        return LKS_OK;
    }
    return make_parameter(tree, data, requires_grad, NULL, out);
}

static lks_status_t rebuild_from_type(lks_tree_t *tree, const lks_value_t *arguments,
                                      lks_value_t **out);

static const struct {
    const char *name;
    size_t least, most; /* arguments */
    lks_status_t (*rebuild)(lks_tree_t *tree, const lks_value_t *arguments, lks_value_t **out);
} callables[] = {
    {"torch._utils._rebuild_tensor_v2", 6, 7, rebuild_tensor},
    {"torch._utils._rebuild_parameter", 3, 3, rebuild_parameter},
    {"torch._utils._rebuild_parameter_with_state", 4, 4, rebuild_parameter},
    {"torch._utils._rebuild_tensor_v3", 7, 8, rebuild_tensor_v3},
    {"torch._utils._rebuild_qtensor", 7, 7, rebuild_qtensor},
    {"torch._tensor._rebuild_from_type_v2", 4, 4, rebuild_from_type},
    {"torch._utils._rebuild_tensor", 4, 4, rebuild_tensor},
    {"torch.nn.parameter.Parameter", 1, 2, new_parameter},
};

#define CALLABLE_COUNT (sizeof callables / sizeof *callables)

/* The tensor that callable(*arguments) makes; *out stays NULL if it is none of the table, or unusual. */
static lks_status_t rebuild(lks_tree_t *tree, const char *name, const lks_value_t *arguments,
                            lks_value_t **out)
{
    size_t i = 0, count = lks_value_count(arguments);
    while (i < CALLABLE_COUNT && strcmp(name, callables[i].name) != 0) {
        i++;
    }
    if (i == CALLABLE_COUNT) {
        return LKS_OK;
    }
    if (count < callables[i].least || count > callables[i].most) {
        return lks_fail(LKS_ERR_FORMAT, "%s wants %zu to %zu arguments, found %zu", name,
                        callables[i].least, callables[i].most, count);
    }
    return callables[i].rebuild(tree, arguments, out);
}

/* _rebuild_from_type_v2(function, class, arguments, state): a tensor with attributes, or of another class. */
static lks_status_t rebuild_from_type(lks_tree_t *tree, const lks_value_t *arguments,
                                      lks_value_t **out)
{
    const lks_value_t *function = lks_value_at(arguments, 0), *inner = lks_value_at(arguments, 2);
    lks_value_t *state = lks_value_at(arguments, 3);
    if (function->kind != LKS_VALUE_GLOBAL || inner->kind != LKS_VALUE_TUPLE ||
        !lks_value_is_global(lks_value_at(arguments, 1), "torch.Tensor") ||
        lks_value_is_global(function, "torch._tensor._rebuild_from_type_v2")) {
        return LKS_OK; /* kept as a call */
    }
    lks_value_t *tensor = NULL;
    LKS_TRY(rebuild(tree, lks_value_class_name(function), inner, &tensor));
    if (tensor && state->kind != LKS_VALUE_NONE) {
        lks_value_tensor_set_attributes(tree, tensor, state);
    }
    *out = tensor;
    return LKS_OK;
}

static lks_status_t create(void *context, lks_tree_t *tree, lks_object_how_t how,
                           lks_value_t *callable, lks_value_t *arguments, lks_value_t **out)
{
    const lks_torch_reader_t *reader = context;
    if (reader->create) {
        LKS_TRY(reader->create(reader->context, tree, how, callable, arguments, out));
    }
    return *out ? LKS_OK : rebuild(tree, lks_value_class_name(callable), arguments, out);
}

/* (requires_grad, volatile, hooks), the state of a parameter before 0.4. */
static bool set_state(void *context, lks_value_t *tensor, const lks_value_t *state)
{
    (void)context;
    lks_tensor_node_t *node = (lks_tensor_node_t *)tensor;
    return node->tensor.is_parameter && state->kind == LKS_VALUE_TUPLE &&
           lks_value_count(state) == 3 && is_nothing(lks_value_at(state, 2)) &&
           lks_value_get_bool(lks_value_at(state, 0), &node->tensor.requires_grad) == LKS_OK;
}

lks_pickle_hooks_t lks_torch_read_hooks(lks_torch_reader_t *reader)
{
    reader->class = NULL;
    return (lks_pickle_hooks_t){.context = reader,
                                .persistent = read_persistent,
                                .create = create,
                                .set_state = set_state,
                                .call = reader->storage && !reader->create ? lks_torch_read_call
                                                                           : NULL};
}
