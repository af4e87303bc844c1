/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_writer.h - the state of the pickle writer, for pickle_write.c (the walk over the tree) and pickle_emit.c
 * (single opcodes). */
#ifndef LOCKSTEP_SERIALIZE_PICKLE_WRITER_H
#define LOCKSTEP_SERIALIZE_PICKLE_WRITER_H

#include "serialize/hashmap.h"
#include "serialize/pickle_ops.h"
#include "serialize/pickle_python.h"
#include "serialize/pickle_write.h"

typedef enum {
    FRAME_ITEMS,   /* of a list, which is on the stack */
    FRAME_ENTRIES, /* of a dict, which is on the stack */
    FRAME_TUPLE,
    FRAME_CALL,  /* callable and arguments of an object */
    FRAME_BUILD, /* state of an object, attributes of a dict */
    FRAME_TENSOR /* values inside a tensor */
} lks_pickle_frame_role_t;

typedef struct lks_pickle_frame {
    lks_pickle_frame_role_t role;
    const lks_value_t *value;
    size_t next; /* part to write */
} lks_pickle_frame_t;

struct lks_pickle_writer {
    lks_strbuf_t *out;
    const lks_pickle_write_hooks_t *hooks;
    lks_intmap_t memo;    /* address of a node -> memo index */
    lks_intmap_t entered; /* address of a tuple or object -> memo_count when last begun */
    lks_strmap_t strings, globals;
    size_t memo_count;
    lks_pickle_frame_t *frames;
    size_t depth, capacity;
    bool no_memory;
};

void lks_pickle_emit_bytes(lks_pickle_writer_t *writer, const void *data, size_t nbytes);

/** An opcode and a number of `width` bytes behind it. */
void lks_pickle_emit_number(lks_pickle_writer_t *writer, int op, uint64_t number, unsigned width);

/** An int of any size: two's complement, little-endian. */
void lks_pickle_emit_long(lks_pickle_writer_t *writer, const void *bytes, size_t nbytes);
void lks_pickle_emit_float(lks_pickle_writer_t *writer, double value);

/** GLOBAL, spelled as in Python 2, through the memo. Module and name lie in one text, "module.name", which must live as
 *  long as the writer. */
void lks_pickle_emit_name(lks_pickle_writer_t *writer, lks_python_name_t name);

/** Gives the value on top of the stack the next place in the memo. */
void lks_pickle_emit_put(lks_pickle_writer_t *writer);

/** The same, as the value of this node. */
void lks_pickle_memoize(lks_pickle_writer_t *writer, const lks_value_t *value);
void lks_pickle_emit_get(lks_pickle_writer_t *writer, size_t index);

#endif
