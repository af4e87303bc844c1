/* SPDX-License-Identifier: Apache-2.0 */
/* materialize.c - lays a tree's parameters out in three blocks and names them.
 * Every parameter begins at a cache line, so that threads and vectors find it aligned; the gap before the next
 * one is zero in every block and stays zero, since an optimizer computes 0 from 0 and 0. */
#include "core/checked.h"
#include "core/storage.h"
#include "core/strbuf.h"
#include "runtime/nn/module_ops.h"

#include <stdlib.h>
#include <string.h>

/* What a walk over the tree collects. */
typedef struct layout {
    lks_dtype_t dtypes[2]; /* by kind */
    size_t leaves;
    size_t counts[2];   /* tensors ... */
    size_t elements[2]; /* ... and elements, padding included */
} layout_t;

static lks_status_t out_of_memory(const lks_module_t *module)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "%s: out of memory", module->ops->kind);
}

static size_t padded(size_t elements, lks_dtype_t dtype)
{
    size_t line = 64 / lks_dtype_size(dtype); /* of the cache */
    return (elements + line - 1) / line * line;
}

static lks_status_t measure(lks_module_t *module, layout_t *layout)
{
    if (module->materialized) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: materialized twice", module->ops->kind);
    }
    for (size_t i = 0; i < module->slot_count; i++) {
        const lks_slot_t *slot = &module->slots[i];
        int64_t numel;
        size_t *sum = &layout->elements[slot->kind];
        LKS_TRY(lks_shape_numel(slot->ndim, slot->shape, &numel));
        if (!lks_add_size(*sum, padded((size_t)numel, layout->dtypes[slot->kind]), sum)) {
            return lks_fail(LKS_ERR_INVALID_ARG, "%s: more parameters than any memory holds",
                            module->ops->kind);
        }
        layout->counts[slot->kind]++;
    }
    if (module->ops != &lks_sequential_ops) {
        module->layer = ++layout->leaves; /* from 1: 0 is where sequences draw (core/rng.h) */
    }
    for (size_t i = 0; i < module->child_count; i++) {
        LKS_TRY(measure(module->children[i], layout));
    }
    return LKS_OK;
}

/* A block of zeros; none for no elements. */
static lks_status_t new_block(lks_device_t *device, const layout_t *layout, lks_param_kind_t kind,
                              lks_storage_t **out)
{
    size_t nbytes, elements = layout->elements[kind];
    if (!lks_mul_size(elements, lks_dtype_size(layout->dtypes[kind]), &nbytes)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "no memory holds %zu parameters", elements);
    }
    if (nbytes == 0) {
        *out = NULL;
        return LKS_OK;
    }
    lks_storage_t *storage;
    LKS_TRY(lks_storage_create(device, nbytes, &storage));
    lks_status_t status = lks_device_fill(device, lks_storage_data(storage), 0, nbytes, NULL);
    if (status != LKS_OK) {
        lks_storage_release(storage);
        return status;
    }
    *out = storage;
    return LKS_OK;
}

/* The second walk, once per kind, gives every slot its place: parameters come before buffers. */
typedef struct placing {
    lks_param_kind_t kind;
    lks_dtype_t dtype;
    lks_storage_t *values, *grads; /* grads NULL for buffers */
    lks_param_t *first, *next;     /* of all parameters */
    int64_t offset;
    lks_strbuf_t *names; /* one behind the other, each with its zero */
} placing_t;

/* Where the layer finds its numbers, if they are float32; else stored.c copies them. */
static void point_slot(lks_slot_t *slot, const lks_param_t *param)
{
    bool is_float = param->value.dtype == LKS_DTYPE_F32;
    void *value = lks_tensor_data(&param->value);
    void *grad = param->grad.storage ? lks_tensor_data(&param->grad) : NULL;
    slot->count = (size_t)lks_tensor_numel(&param->value);
    slot->value = is_float ? value : NULL;
    slot->grad = is_float ? grad : NULL;
    slot->stored_value = is_float ? NULL : value;
    slot->stored_grad = is_float ? NULL : grad;
}

static void place_slot(placing_t *to, lks_slot_t *slot)
{
    slot->param = (size_t)(to->next - to->first);
    lks_param_t *param = to->next++;
    *param = (lks_param_t){.kind = slot->kind};
    lks_tensor_t *value = &param->value;
    *value = (lks_tensor_t){
        .storage = to->values, .dtype = to->dtype, .ndim = slot->ndim, .offset = to->offset};
    memcpy(value->shape, slot->shape, (size_t)slot->ndim * sizeof *slot->shape);
    lks_shape_contiguous_stride(slot->ndim, value->shape, value->stride);
    if (to->grads) {
        param->grad = *value;
        param->grad.storage = to->grads;
    }
    point_slot(slot, param);
    to->offset += (int64_t)padded(slot->count, to->dtype);
}

static lks_status_t place(lks_module_t *module, const char *prefix, placing_t *to)
{
    for (size_t i = 0; i < module->slot_count; i++) {
        if (module->slots[i].kind == to->kind) {
            place_slot(to, &module->slots[i]);
            lks_strbuf_appendf(to->names, "%s%s", prefix, module->slots[i].name);
            lks_strbuf_append(to->names, "", 1);
        }
    }
    for (size_t i = 0; i < module->child_count; i++) {
        lks_strbuf_t path = {0};
        lks_strbuf_appendf(&path, "%s%zu.", prefix, i);
        lks_status_t status = lks_strbuf_ok(&path)
                                  ? place(module->children[i], lks_strbuf_text(&path), to)
                                  : out_of_memory(module);
        lks_strbuf_fini(&path);
        LKS_TRY(status);
    }
    return LKS_OK;
}

static lks_status_t place_all(lks_module_t *root, lks_module_memory_t *memory,
                              const layout_t *layout)
{
    size_t weights = layout->counts[LKS_PARAM_WEIGHT];
    memory->param_count = weights + layout->counts[LKS_PARAM_BUFFER];
    memory->params = calloc(memory->param_count ? memory->param_count : 1, sizeof *memory->params);
    if (!memory->params) {
        return out_of_memory(root);
    }
    lks_strbuf_t names = {0};
    placing_t to = {.kind = LKS_PARAM_WEIGHT,
                    .dtype = layout->dtypes[LKS_PARAM_WEIGHT],
                    .values = memory->values,
                    .grads = memory->grads,
                    .first = memory->params,
                    .next = memory->params,
                    .names = &names};
    lks_status_t status = place(root, "", &to);
    if (status == LKS_OK) {
        to = (placing_t){.kind = LKS_PARAM_BUFFER,
                         .dtype = layout->dtypes[LKS_PARAM_BUFFER],
                         .values = memory->buffers,
                         .first = memory->params,
                         .next = memory->params + weights,
                         .names = &names};
        status = place(root, "", &to);
    }
    if (status == LKS_OK && !lks_strbuf_ok(&names)) {
        status = out_of_memory(root);
    }
    if (status != LKS_OK) {
        lks_strbuf_fini(&names);
        return status;
    }
    memory->names = names.data; /* the buffer's memory is the module's from here on */
    const char *name = memory->names;
    for (size_t i = 0; i < memory->param_count; i++) {
        memory->params[i].name = name;
        name += strlen(name) + 1;
    }
    return LKS_OK;
}

static void mark(lks_module_t *module, lks_dtype_t dtype)
{
    module->materialized = true;
    module->dtype = dtype;
    for (size_t i = 0; i < module->child_count; i++) {
        mark(module->children[i], dtype);
    }
}

static void point_slots(lks_module_t *module, const lks_param_t *params)
{
    for (size_t i = 0; i < module->slot_count; i++) {
        point_slot(&module->slots[i], &params[module->slots[i].param]);
    }
    for (size_t i = 0; i < module->child_count; i++) {
        point_slots(module->children[i], params);
    }
}

void lks_module_move_grads(lks_module_t *module, lks_storage_t *to)
{
    lks_storage_t *grads = module->memory.grads;
    memcpy(lks_storage_data(to), lks_storage_data(grads), lks_storage_nbytes(grads));
    lks_storage_swap(grads, to);
    point_slots(module, module->memory.params);
}

void lks_module_memory_fini(lks_module_memory_t *memory)
{
    lks_storage_release(memory->values);
    lks_storage_release(memory->grads);
    lks_storage_release(memory->buffers);
    free(memory->params);
    free(memory->names);
    *memory = (lks_module_memory_t){0};
}

lks_status_t lks_module_materialize(lks_module_t *module, lks_device_t *device)
{
    if (module->owned) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: it is part of another module; materialize that",
                        module->ops->kind);
    }
    layout_t layout = {
        .dtypes = {[LKS_PARAM_WEIGHT] = module->dtype, [LKS_PARAM_BUFFER] = LKS_DTYPE_F32}};
    LKS_TRY(measure(module, &layout));
    lks_module_memory_t memory = {0};
    lks_status_t status;
    LKS_GOTO(new_block(device, &layout, LKS_PARAM_WEIGHT, &memory.values), release);
    LKS_GOTO(new_block(device, &layout, LKS_PARAM_WEIGHT, &memory.grads), release);
    LKS_GOTO(new_block(device, &layout, LKS_PARAM_BUFFER, &memory.buffers), release);
    LKS_GOTO(place_all(module, &memory, &layout), release);
    module->memory = memory;
    mark(module, module->dtype);
    return LKS_OK;

release:
    lks_module_memory_fini(&memory);
    return status;
}
