/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_tensor.c - reading a plain tensor at once.
 * This is how torch.save spells one whose function, storage class and location it has named before:
 *     h _rebuild_tensor_v2
 *     ( ( h 'storage'  h class  X key q  h location  K elements  t q  Q      (in a stream N before that t)
 *       K offset
 *       K K K \x87 q                    shape: ( t beyond three dimensions, ) for none
 *       K K K \x87 q                    stride
 *       \x89                            requires_grad
 *       h OrderedDict ) R q             hooks
 *     t q R
 * where h is one of BINGET and LONG_BINGET, q of BINPUT and LONG_BINPUT or missing, K of BININT1, BININT2 and BININT.
 * One by one these opcodes make ten values that nobody looks at again, and reading a checkpoint of many tensors is
 * mostly that. Here the tensor alone is made, and the memo learns where the others are spelled; they do not count towards
 * the limits until they are made. Whatever is spelled differently is left to the opcodes. */
#include "serialize/pickle_machine.h"
#include "serialize/pickle_torch.h"
#include "serialize/value_node.h"

#include <string.h>

#define NDIM_MAX 16      /* more than anybody uses: the opcodes read those */
#define KEY_BYTES_MAX 20 /* of a 64-bit number */

/* What lies ahead, as far as it was read. The input is a copy: the machine's stays where it is. */
typedef struct call {
    const lks_pickle_machine_t *machine;
    lks_bytes_t input;
    size_t puts;
    size_t persid_at; /* place of the Q */
} call_t;

typedef struct numbers {
    int64_t items[NDIM_MAX];
    int count;
} numbers_t;

/* --- opcodes; false (NULL) for others ------------------------------------------------------------- */

static unsigned peek(const call_t *call)
{
    return lks_bytes_left(&call->input) > 0 ? call->input.data[call->input.at] : 0;
}

static bool take(call_t *call, unsigned op)
{
    return lks_bytes_u8(&call->input) == op;
}

static bool take_number(call_t *call, int64_t *out)
{
    switch (lks_bytes_u8(&call->input)) {
    case LKS_OP_BININT1: *out = lks_bytes_u8(&call->input); return true;
    case LKS_OP_BININT2: *out = lks_bytes_u16(&call->input); return true;
    case LKS_OP_BININT: *out = (int32_t)lks_bytes_u32(&call->input); return *out >= 0;
    default: return false;
    }
}

static const lks_value_t *take_get(call_t *call, lks_value_kind_t kind)
{
    uint64_t index;
    switch (lks_bytes_u8(&call->input)) {
    case LKS_OP_BINGET: index = lks_bytes_u8(&call->input); break;
    case LKS_OP_LONG_BINGET: index = lks_bytes_u32(&call->input); break;
    default: return NULL;
    }
    const lks_value_t *value = lks_pickle_peek(call->machine, index);
    return value && value->kind == kind ? value : NULL;
}

/* An entry that comes next in the memo, or none. */
static bool take_put(call_t *call)
{
    unsigned op = peek(call);
    if (op != LKS_OP_BINPUT && op != LKS_OP_LONG_BINPUT) {
        return true;
    }
    call->input.at++;
    uint64_t index = op == LKS_OP_BINPUT ? lks_bytes_u8(&call->input) : lks_bytes_u32(&call->input);
    return index == call->machine->memo.dense_count + call->puts++;
}

static bool take_numbers(call_t *call, numbers_t *out)
{
    static const unsigned char ends[] = {LKS_OP_EMPTY_TUPLE, LKS_OP_TUPLE1, LKS_OP_TUPLE2,
                                         LKS_OP_TUPLE3};
    bool marked = peek(call) == LKS_OP_MARK;
    call->input.at += marked;
    out->count = 0;
    while (out->count < NDIM_MAX && (peek(call) == LKS_OP_BININT1 || peek(call) == LKS_OP_BININT2 ||
                                     peek(call) == LKS_OP_BININT)) {
        if (!take_number(call, &out->items[out->count++])) {
            return false;
        }
    }
    return (marked || out->count < (int)sizeof ends) &&
           take(call, marked ? LKS_OP_TUPLE : ends[out->count]) && take_put(call);
}

static bool take_bool(call_t *call, bool *out)
{
    unsigned op = lks_bytes_u8(&call->input);
    *out = op == LKS_OP_NEWTRUE;
    return *out || op == LKS_OP_NEWFALSE;
}

/* --- the parts of the call ------------------------------------------------------------------------ */

/* No slice of the storage, which only ids in a stream can name. */
static void skip_none(call_t *call)
{
    call->input.at += peek(call) == LKS_OP_NONE;
}

static bool take_persid(call_t *call)
{
    call->persid_at = call->input.at;
    return take(call, LKS_OP_BINPERSID);
}

/* Keys are numbers; others are left to the opcodes, which know what is allowed. */
static bool take_key(call_t *call, lks_torch_storage_id_t *id)
{
    if (!take(call, LKS_OP_BINUNICODE)) {
        return false;
    }
    id->key_length = lks_bytes_u32(&call->input);
    if (id->key_length > KEY_BYTES_MAX) {
        return false;
    }
    id->key = (const char *)lks_bytes_take(&call->input, id->key_length);
    for (size_t i = 0; id->key && i < id->key_length; i++) {
        if (id->key[i] < '0' || id->key[i] > '9') {
            return false;
        }
    }
    return id->key && take_put(call);
}

/* ('storage', class, key, location, number of elements), of a class that is known. */
static bool take_storage(call_t *call, lks_torch_reader_t *reader, lks_torch_storage_id_t *id)
{
    const lks_value_t *tag, *class, *location;
    if (!take(call, LKS_OP_MARK) || !(tag = take_get(call, LKS_VALUE_STR)) ||
        !(class = take_get(call, LKS_VALUE_GLOBAL)) || !take_key(call, id) ||
        !(location = take_get(call, LKS_VALUE_STR)) || !take_number(call, &id->numel)) {
        return false;
    }
    if (reader->stream) {
        skip_none(call);
    }
    if (!take(call, LKS_OP_TUPLE) || !take_put(call) || !take_persid(call)) {
        return false;
    }
    id->class_name = lks_value_class_name(class);
    id->location = lks_value_text(location, NULL);
    if (class != reader->class) {
        reader->dtype = lks_torch_class_dtype(id->class_name, &reader->itemsize);
        reader->class = class;
    }
    id->dtype = reader->dtype;
    id->itemsize = reader->itemsize;
    return id->itemsize > 0 && !lks_dtype_is_quantized(id->dtype) &&
           strcmp(lks_value_text(tag, NULL), "storage") == 0;
}

static bool take_hooks(call_t *call)
{
    return lks_value_is_global(take_get(call, LKS_VALUE_GLOBAL), "collections.OrderedDict") &&
           take(call, LKS_OP_EMPTY_TUPLE) && take(call, LKS_OP_REDUCE) && take_put(call);
}

lks_status_t lks_torch_read_call(void *context, lks_pickle_machine_t *machine, bool *done)
{
    lks_torch_reader_t *reader = context;
    lks_tree_t *tree = machine->tree;
    call_t call = {.machine = machine, .input = machine->input};
    lks_torch_storage_id_t id = {0};
    lks_value_tensor_t tensor = {0};
    numbers_t shape, stride;
    *done = false;
    if (peek(&call) != LKS_OP_MARK ||
        !lks_value_is_global(lks_pickle_top(machine), "torch._utils._rebuild_tensor_v2") ||
        !take_storage(&call, reader, &id) || !take_number(&call, &tensor.offset) ||
        !take_numbers(&call, &shape) || !take_numbers(&call, &stride) ||
        shape.count != stride.count || !take_bool(&call, &tensor.requires_grad) ||
        !take_hooks(&call) || !take(&call, LKS_OP_TUPLE) || !take_put(&call) ||
        !take(&call, LKS_OP_REDUCE) || !call.input.ok) {
        return LKS_OK;
    }
    lks_status_t status = reader->storage(reader->context, tree, &id, &tensor.storage);
    if (status != LKS_OK) {
        return lks_error_prefix(status, "%s at byte %zu", machine->name, call.persid_at);
    }
    if (lks_tree_storage(tree, tensor.storage)->dtype != id.dtype) {
        return LKS_OK; /* it was named with another class before */
    }
    tensor.dtype = id.dtype;
    tensor.ndim = shape.count;
    tensor.shape = shape.items;
    tensor.stride = stride.items;
    LKS_TRY(lks_pickle_pass_over(machine, call.input.at, call.puts));
    *done = true;
    return lks_pickle_push(machine, lks_value_tensor_new(tree, &tensor));
}
