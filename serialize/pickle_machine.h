/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_machine.h - the state of the machine that reads a pickle, for the handlers of its opcodes. */
#ifndef LOCKSTEP_SERIALIZE_PICKLE_MACHINE_H
#define LOCKSTEP_SERIALIZE_PICKLE_MACHINE_H

#include "serialize/bytes.h"
#include "serialize/hashmap.h"
#include "serialize/pickle_ops.h"
#include "serialize/pickle_read.h"

/* Indices come in order from every known writer: those live in an array. Any other number below 2^32 is legal
 * and goes to a table. */
typedef struct lks_pickle_memo {
    lks_value_t **dense; /* also of values that are not made yet: lks_pickle_pass_over */
    size_t dense_count, dense_capacity;
    lks_intmap_t sparse; /* index -> address of the value */
} lks_pickle_memo_t;

typedef struct lks_pickle_machine {
    const char *name;
    lks_bytes_t input;
    size_t op_at;
    unsigned char op;
    unsigned protocol;
    bool stopped;
    bool whole_calls; /* hooks->call may be asked */
    bool making;      /* what was passed over */

    lks_value_t **stack; /* of values; a mark is the height it was put at */
    size_t height, capacity;
    size_t *marks;
    size_t mark_count, mark_capacity;
    lks_pickle_memo_t memo;
    size_t scratch; /* bytes of the arrays above; bounded like the tree */

    lks_tree_t *tree;
    const lks_pickle_hooks_t *hooks;
} lks_pickle_machine_t;

/* Every handler. */
#define LKS_PICKLE_HANDLER(name)                                                                   \
    lks_status_t lks_op_##name(lks_pickle_machine_t *machine, unsigned argument)
#define LKS_PICKLE_DECLARE(op, byte, handler, argument) LKS_PICKLE_HANDLER(handler);
LKS_PICKLE_OP_LIST(LKS_PICKLE_DECLARE)
#undef LKS_PICKLE_DECLARE

/** Fails with "<name> at byte <n>: <OPCODE> <message>". */
lks_status_t lks_pickle_fail(const lks_pickle_machine_t *machine, lks_status_t status,
                             const char *format, ...) LKS_PRINTF(3, 4);

/** lks_pickle_push where the stack is full or there is no value. */
LKS_NODISCARD lks_status_t lks_pickle_push_slow(lks_pickle_machine_t *machine, lks_value_t *value);

/** Pushes a value; NULL is the tree's failure. */
LKS_NODISCARD static inline lks_status_t lks_pickle_push(lks_pickle_machine_t *machine,
                                                         lks_value_t *value)
{
    if (!value || machine->height == machine->capacity) {
        return lks_pickle_push_slow(machine, value);
    }
    machine->stack[machine->height++] = value;
    return LKS_OK;
}

/** Reports the want of a value. */
void lks_pickle_fail_empty(const lks_pickle_machine_t *machine);

/** Height of the last mark; values below it are out of reach. */
static inline size_t lks_pickle_fence(const lks_pickle_machine_t *machine)
{
    return machine->mark_count > 0 ? machine->marks[machine->mark_count - 1] : 0;
}

/** Pops a value, which must be above the last mark. */
LKS_NODISCARD static inline lks_status_t lks_pickle_pop(lks_pickle_machine_t *machine,
                                                        lks_value_t **out)
{
    if (machine->height <= lks_pickle_fence(machine)) {
        lks_pickle_fail_empty(machine);
        return LKS_ERR_FORMAT;
    }
    *out = machine->stack[--machine->height];
    return LKS_OK;
}

/** The value on top of the stack, above the last mark; NULL if there is none. */
static inline const lks_value_t *lks_pickle_top(const lks_pickle_machine_t *machine)
{
    return machine->height > lks_pickle_fence(machine) ? machine->stack[machine->height - 1] : NULL;
}

/** Pops the last mark and what is above it; the items are valid until the next push. */
LKS_NODISCARD lks_status_t lks_pickle_pop_items(lks_pickle_machine_t *machine, lks_value_t ***items,
                                                size_t *count);

/** Checks that `nbytes` bytes follow and takes them. */
LKS_NODISCARD lks_status_t lks_pickle_take(lks_pickle_machine_t *machine, uint64_t nbytes,
                                           const unsigned char **out);

/** Reads a number of `width` bytes. */
LKS_NODISCARD lks_status_t lks_pickle_uint(lks_pickle_machine_t *machine, unsigned width,
                                           uint64_t *out);

/** Reads the text up to the end of the line. */
LKS_NODISCARD lks_status_t lks_pickle_line(lks_pickle_machine_t *machine, const char **text,
                                           size_t *nbytes);

/** A value of the memo that is made, among those in order; else NULL. */
const lks_value_t *lks_pickle_peek(const lks_pickle_machine_t *machine, uint64_t index);

/** For hooks->call: pops the function, and goes on behind the REDUCE that ends at byte `end` of the input. The next
 *  `puts` entries of the memo, which are put in between, are made when somebody gets one. The opcodes in between must
 *  get along with what they push, and with values that lks_pickle_peek showed. */
LKS_NODISCARD lks_status_t lks_pickle_pass_over(lks_pickle_machine_t *machine, size_t end,
                                                size_t puts);

/** The tree's failure, with the place in the pickle in front; OK if there is none. */
LKS_NODISCARD lks_status_t lks_pickle_tree_status(const lks_pickle_machine_t *machine);

#endif
