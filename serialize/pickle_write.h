/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_write.h - writing a value tree as a pickle of protocol 2, with no opcode and no order of opcodes that
 * torch.load(weights_only=True) of torch 2.6 refuses: names by GLOBAL and as Python 2 spells them, bytes through
 * _codecs.encode, containers filled in batches of up to 1000, ints up to 255 bytes by LONG1.
 * A node that stands in several places is written once and comes back as one; so do equal strings and names.
 * The writer does not recurse. */
#ifndef LOCKSTEP_SERIALIZE_PICKLE_WRITE_H
#define LOCKSTEP_SERIALIZE_PICKLE_WRITE_H

#include "core/strbuf.h"

#include <lockstep/value.h>

typedef struct lks_pickle_writer lks_pickle_writer_t;

/** How the format around the pickle writes tensors and bare storages. A tensor leaves one value on the
 *  machine's stack. It is written in steps 0, 1, ...: where a value of the tree belongs (attributes, a quantizer)
 *  a step ends by setting *next to it, and after the writer wrote that it calls the next step. The last step
 *  leaves *next NULL. */
typedef struct lks_pickle_write_hooks {
    void *context;
    lks_status_t (*tensor)(void *context, lks_pickle_writer_t *writer, const lks_value_t *tensor,
                           size_t step, const lks_value_t **next);
    lks_status_t (*storage)(void *context, lks_pickle_writer_t *writer, const lks_value_t *object);
} lks_pickle_write_hooks_t;

/** Appends the pickle of `root` to `out`.
 *  Errors: UNSUPPORTED (a value that protocol 2 cannot hold; the message names its path), NO_MEMORY, and the
 *  hooks'. */
LKS_NODISCARD lks_status_t lks_pickle_write(const lks_value_t *root,
                                            const lks_pickle_write_hooks_t *hooks,
                                            lks_strbuf_t *out);

/* For the hooks: single opcodes and scalars. Running out of memory is noticed at the end. */
void lks_pickle_emit(lks_pickle_writer_t *writer, int op);
void lks_pickle_emit_bool(lks_pickle_writer_t *writer, bool value);
void lks_pickle_emit_int(lks_pickle_writer_t *writer, int64_t value);

/** A str of fewer than 2^32 bytes, as such; and the same through the memo, where equal texts are one value:
 *  that text must live as long as the writer. */
void lks_pickle_emit_text(lks_pickle_writer_t *writer, const char *text, size_t nbytes);
void lks_pickle_emit_str(lks_pickle_writer_t *writer, const char *text, size_t nbytes);

/** "module.name" as in Python 3, through the memo; it must live as long as the writer. */
void lks_pickle_emit_global(lks_pickle_writer_t *writer, const char *dotted);

#endif
