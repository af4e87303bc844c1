/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_read.c - the machine: its loop, its stack and its memo. What the opcodes make is in
 * pickle_scalars.c, pickle_text.c and pickle_values.c. */
#include "serialize/pickle_read.h"
#include "core/checked.h"
#include "serialize/pickle_machine.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOL_MAX 5
#define MEMO_INDEX_MAX UINT32_MAX

typedef struct op {
    const char *name; /* NULL: no such opcode */
    lks_status_t (*run)(lks_pickle_machine_t *machine, unsigned argument);
    unsigned argument;
} op_t;

#define OP_ENTRY(op, byte, handler, argument) [byte] = {#op, lks_op_##handler, argument},
static const op_t ops[256] = {LKS_PICKLE_OP_LIST(OP_ENTRY)};
#undef OP_ENTRY

/* --- errors ------------------------------------------------------------------------------------- */

lks_status_t lks_pickle_fail(const lks_pickle_machine_t *machine, lks_status_t status,
                             const char *format, ...)
{
    char message[LKS_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return lks_fail(status, "%s at byte %zu: %s %s", machine->name, machine->op_at,
                    ops[machine->op].name, message);
}

lks_status_t lks_pickle_tree_status(const lks_pickle_machine_t *machine)
{
    lks_status_t status = lks_tree_status(machine->tree);
    if (status == LKS_ERR_INVALID_ARG) {
        status = LKS_ERR_FORMAT; /* what a builder calls a wrong argument is here a wrong file */
    }
    return status == LKS_OK ? LKS_OK
                            : lks_error_prefix(status, "%s at byte %zu: %s", machine->name,
                                               machine->op_at, ops[machine->op].name);
}

/* --- input -------------------------------------------------------------------------------------- */

lks_status_t lks_pickle_take(lks_pickle_machine_t *machine, uint64_t nbytes,
                             const unsigned char **out)
{
    size_t left = lks_bytes_left(&machine->input);
    if (nbytes > left) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants %" PRIu64 " bytes, %zu left", nbytes,
                               left);
    }
    *out = lks_bytes_take(&machine->input, nbytes);
    return LKS_OK;
}

lks_status_t lks_pickle_uint(lks_pickle_machine_t *machine, unsigned width, uint64_t *out)
{
    size_t left = lks_bytes_left(&machine->input);
    if (width > left) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants a number of %u bytes, %zu left",
                               width, left);
    }
    *out = width == 4   ? lks_bytes_u32(&machine->input)
           : width == 1 ? lks_bytes_u8(&machine->input)
                        : lks_bytes_uint(&machine->input, width);
    return LKS_OK;
}

lks_status_t lks_pickle_line(lks_pickle_machine_t *machine, const char **text, size_t *nbytes)
{
    const unsigned char *line = lks_bytes_line(&machine->input, nbytes);
    if (!line) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants a line, and no line ends");
    }
    *text = (const char *)line;
    return LKS_OK;
}

/* --- stack -------------------------------------------------------------------------------------- */

static lks_status_t fail_limit(const lks_pickle_machine_t *machine)
{
    return lks_pickle_fail(machine, LKS_ERR_FORMAT, "needs more than the limit of %zu bytes",
                           machine->tree->arena.limit);
}

/* Doubles an array of the machine. They count towards the memory limit, though they are given back. */
static lks_status_t grow(lks_pickle_machine_t *machine, void **array, size_t *capacity,
                         size_t itemsize)
{
    size_t wanted = *capacity ? *capacity * 2 : 256, nbytes, scratch;
    if (!lks_mul_size(wanted, itemsize, &nbytes) ||
        !lks_add_size(machine->scratch, nbytes, &scratch) || scratch > machine->tree->arena.limit) {
        return fail_limit(machine);
    }
    void *bigger = realloc(*array, nbytes);
    if (!bigger) {
        return lks_pickle_fail(machine, LKS_ERR_NO_MEMORY, "finds no memory");
    }
    machine->scratch = scratch;
    *array = bigger;
    *capacity = wanted;
    return LKS_OK;
}

lks_status_t lks_pickle_push_slow(lks_pickle_machine_t *machine, lks_value_t *value)
{
    if (!value) {
        return lks_pickle_tree_status(machine);
    }
    if (machine->height == machine->capacity) {
        LKS_TRY(
            grow(machine, (void **)&machine->stack, &machine->capacity, sizeof *machine->stack));
    }
    machine->stack[machine->height++] = value;
    return LKS_OK;
}

void lks_pickle_fail_empty(const lks_pickle_machine_t *machine)
{
    (void)lks_pickle_fail(machine, LKS_ERR_FORMAT, "finds no value on the stack");
}

lks_status_t lks_pickle_pop_items(lks_pickle_machine_t *machine, lks_value_t ***items,
                                  size_t *count)
{
    if (machine->mark_count == 0) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "finds no mark on the stack");
    }
    size_t mark = lks_pickle_fence(machine);
    *items = machine->stack ? machine->stack + mark : NULL; /* nothing was ever pushed */
    *count = machine->height - mark;
    machine->height = mark;
    machine->mark_count--;
    return LKS_OK;
}

LKS_PICKLE_HANDLER(mark)
{
    (void)argument;
    bool done = false;
    if (machine->whole_calls && !machine->making) {
        LKS_TRY(machine->hooks->call(machine->hooks->context, machine, &done));
    }
    if (done) {
        return LKS_OK;
    }
    if (machine->mark_count >= machine->tree->max_depth && !machine->making) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "nests deeper than the limit of %zu",
                               machine->tree->max_depth);
    }
    if (machine->mark_count == machine->mark_capacity) {
        LKS_TRY(grow(machine, (void **)&machine->marks, &machine->mark_capacity,
                     sizeof *machine->marks));
    }
    machine->marks[machine->mark_count++] = machine->height;
    return LKS_OK;
}

LKS_PICKLE_HANDLER(pop)
{
    (void)argument;
    if (machine->mark_count > 0 && machine->height == lks_pickle_fence(machine)) {
        machine->mark_count--;
        return LKS_OK;
    }
    lks_value_t *dropped;
    return lks_pickle_pop(machine, &dropped);
}

LKS_PICKLE_HANDLER(pop_mark)
{
    (void)argument;
    lks_value_t **items;
    size_t count;
    return lks_pickle_pop_items(machine, &items, &count);
}

LKS_PICKLE_HANDLER(dup)
{
    (void)argument;
    lks_value_t *value;
    LKS_TRY(lks_pickle_pop(machine, &value));
    LKS_TRY(lks_pickle_push(machine, value));
    return lks_pickle_push(machine, value);
}

/* --- memo --------------------------------------------------------------------------------------- */

/* In the place of a value that was passed over: where the opcodes begin that make it, and a bit that no address has.
 * The input is in memory, so its offsets leave a bit. */
static lks_value_t *passed_over(size_t from)
{
    return (lks_value_t *)(uintptr_t)(from << 1 | 1);
}

static bool is_passed_over(const lks_value_t *value)
{
    return (uintptr_t)value & 1;
}

static lks_status_t step(lks_pickle_machine_t *machine);

/* Carries out the opcodes that were passed over where the entry was, and forgets what they leave on the stack. All
 * entries of that place are made together: values may be shared among them. How deep the asking is does not matter. */
static lks_status_t make_passed_over(lks_pickle_machine_t *machine, size_t index)
{
    lks_pickle_memo_t *memo = &machine->memo;
    const lks_value_t *place = memo->dense[index];
    const lks_pickle_machine_t before = *machine;
    while (index + 1 < memo->dense_count && memo->dense[index + 1] == place) {
        index++;
    }
    machine->input.at = (uintptr_t)place >> 1;
    machine->making = true;
    while (is_passed_over(memo->dense[index])) {
        LKS_TRY(step(machine));
    }
    machine->input.at = before.input.at;
    machine->op_at = before.op_at;
    machine->op = before.op;
    machine->height = before.height;
    machine->mark_count = before.mark_count;
    machine->making = false;
    return LKS_OK;
}

/* An entry is about to change that opcodes which were passed over may name: they are carried out while it is what it
 * was. No known writer does that, so none are passed over any more. */
static lks_status_t make_all(lks_pickle_machine_t *machine)
{
    machine->whole_calls = false;
    for (size_t i = 0; i < machine->memo.dense_count; i++) {
        if (is_passed_over(machine->memo.dense[i])) {
            LKS_TRY(make_passed_over(machine, i));
        }
    }
    return LKS_OK;
}

static lks_status_t memo_set_sparse(lks_pickle_machine_t *machine, uint64_t index,
                                    lks_value_t *value)
{
    lks_intmap_t *sparse = &machine->memo.sparse;
    size_t before = sparse->mask;
    if (!lks_intmap_set(sparse, index, (size_t)(uintptr_t)value)) {
        return lks_pickle_fail(machine, LKS_ERR_NO_MEMORY, "finds no memory");
    }
    machine->scratch += (sparse->mask - before) * sizeof *sparse->slots;
    return machine->scratch <= machine->tree->arena.limit ? LKS_OK : fail_limit(machine);
}

/* Puts the value on top of the stack, which stays there. */
static lks_status_t memo_set(lks_pickle_machine_t *machine, uint64_t index)
{
    lks_value_t *value;
    LKS_TRY(lks_pickle_pop(machine, &value));
    machine->height++;
    lks_pickle_memo_t *memo = &machine->memo;
    if (index > memo->dense_count) {
        return memo_set_sparse(machine, index, value);
    }
    if (index < memo->dense_count && machine->whole_calls && !machine->making) {
        LKS_TRY(make_all(machine));
    }
    if (index == memo->dense_capacity) {
        LKS_TRY(grow(machine, (void **)&memo->dense, &memo->dense_capacity, sizeof *memo->dense));
    }
    memo->dense[index] = value;
    memo->dense_count += index == memo->dense_count;
    return LKS_OK;
}

static lks_status_t memo_get(lks_pickle_machine_t *machine, uint64_t index)
{
    lks_pickle_memo_t *memo = &machine->memo;
    if (index < memo->dense_count) {
        if (is_passed_over(memo->dense[index])) {
            LKS_TRY(make_passed_over(machine, index));
        }
        return lks_pickle_push(machine, memo->dense[index]);
    }
    size_t address = lks_intmap_get(&memo->sparse, index);
    if (address == SIZE_MAX) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT,
                               "wants memo entry %" PRIu64 ", which was never put", index);
    }
    return lks_pickle_push(machine, (lks_value_t *)(uintptr_t)address);
}

const lks_value_t *lks_pickle_peek(const lks_pickle_machine_t *machine, uint64_t index)
{
    const lks_pickle_memo_t *memo = &machine->memo;
    const lks_value_t *value = index < memo->dense_count ? memo->dense[index] : NULL;
    return is_passed_over(value) ? NULL : value;
}

lks_status_t lks_pickle_pass_over(lks_pickle_machine_t *machine, size_t end, size_t puts)
{
    lks_pickle_memo_t *memo = &machine->memo;
    for (size_t i = 0; i < puts; i++) {
        if (memo->dense_count == memo->dense_capacity) {
            LKS_TRY(
                grow(machine, (void **)&memo->dense, &memo->dense_capacity, sizeof *memo->dense));
        }
        memo->dense[memo->dense_count++] = passed_over(machine->op_at);
    }
    machine->height--;
    machine->input.at = end;
    machine->op_at = end - 1;
    machine->op = LKS_OP_REDUCE;
    return LKS_OK;
}

/* An index as protocol 0 writes it: a line of digits. */
static lks_status_t index_line(lks_pickle_machine_t *machine, uint64_t *out)
{
    const char *text = NULL;
    size_t nbytes = 0;
    LKS_TRY(lks_pickle_line(machine, &text, &nbytes));
    uint64_t index = 0;
    for (size_t i = 0; i < nbytes && index <= MEMO_INDEX_MAX; i++) {
        if (text[i] < '0' || text[i] > '9') {
            nbytes = 0;
            break;
        }
        index = index * 10 + (uint64_t)(text[i] - '0');
    }
    if (nbytes == 0 || index > MEMO_INDEX_MAX) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants a memo index below 2^32");
    }
    *out = index;
    return LKS_OK;
}

LKS_PICKLE_HANDLER(put)
{
    uint64_t index = 0;
    LKS_TRY(lks_pickle_uint(machine, argument, &index));
    return memo_set(machine, index);
}

LKS_PICKLE_HANDLER(put_text)
{
    (void)argument;
    uint64_t index = 0;
    LKS_TRY(index_line(machine, &index));
    return memo_set(machine, index);
}

LKS_PICKLE_HANDLER(memoize)
{
    (void)argument;
    return memo_set(machine, machine->memo.dense_count);
}

LKS_PICKLE_HANDLER(get)
{
    uint64_t index = 0;
    LKS_TRY(lks_pickle_uint(machine, argument, &index));
    return memo_get(machine, index);
}

LKS_PICKLE_HANDLER(get_text)
{
    (void)argument;
    uint64_t index = 0;
    LKS_TRY(index_line(machine, &index));
    return memo_get(machine, index);
}

/* --- the loop ----------------------------------------------------------------------------------- */

LKS_PICKLE_HANDLER(proto)
{
    (void)argument;
    uint64_t protocol = 0;
    LKS_TRY(lks_pickle_uint(machine, 1, &protocol));
    if (protocol > PROTOCOL_MAX) {
        return lks_pickle_fail(machine, LKS_ERR_UNSUPPORTED, "names protocol %u, the newest is %d",
                               (unsigned)protocol, PROTOCOL_MAX);
    }
    machine->protocol = (unsigned)protocol;
    return LKS_OK;
}

/* Frames only tell a reader how much to fetch at once. */
LKS_PICKLE_HANDLER(frame)
{
    (void)argument;
    uint64_t nbytes = 0;
    LKS_TRY(lks_pickle_uint(machine, 8, &nbytes));
    if (nbytes > lks_bytes_left(&machine->input)) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants %" PRIu64 " bytes, %zu left", nbytes,
                               lks_bytes_left(&machine->input));
    }
    return LKS_OK;
}

LKS_PICKLE_HANDLER(stop)
{
    (void)argument;
    machine->stopped = true;
    if (machine->mark_count > 0) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "finds a mark that nothing has closed");
    }
    return LKS_OK;
}

static lks_status_t step(lks_pickle_machine_t *machine)
{
    machine->op_at = machine->input.at;
    const unsigned char *byte = lks_bytes_take(&machine->input, 1);
    if (!byte) {
        return lks_fail(LKS_ERR_FORMAT, "%s at byte %zu: the pickle ends without STOP",
                        machine->name, machine->op_at);
    }
    const op_t *op = &ops[*byte];
    if (!op->name) {
        return lks_fail(LKS_ERR_FORMAT, "%s at byte %zu: 0x%02x is no pickle opcode", machine->name,
                        machine->op_at, *byte);
    }
    machine->op = *byte;
    return op->run(machine, op->argument);
}

static lks_status_t run(lks_pickle_machine_t *machine, lks_value_t **out)
{
    while (!machine->stopped) {
        LKS_TRY(step(machine));
    }
    return lks_pickle_pop(machine, out);
}

lks_status_t lks_pickle_read(const char *name, const void *data, size_t size,
                             const lks_pickle_hooks_t *hooks, lks_tree_t *tree, size_t *used,
                             lks_value_t **out)
{
    lks_pickle_machine_t machine = {.name = name,
                                    .input = lks_bytes_of(data, size),
                                    .tree = tree,
                                    .hooks = hooks,
                                    .whole_calls = hooks && hooks->call};
    lks_value_t *value = NULL;
    lks_status_t status = run(&machine, &value);
    if (status == LKS_OK) {
        *used = machine.input.at;
        *out = value;
    }
    free(machine.stack);
    free(machine.marks);
    free(machine.memo.dense);
    lks_intmap_fini(&machine.memo.sparse);
    return status;
}
