/* SPDX-License-Identifier: Apache-2.0 */
/* tree_text.h - value trees as text, for comparing them. Neither function recurses: trees may be deep, shared and
 * cyclic. */
#ifndef LOCKSTEP_TESTS_TREE_TEXT_H
#define LOCKSTEP_TESTS_TREE_TEXT_H

#include "core/strbuf.h"

#include <lockstep/checkpoint.h>

/** Everything that is in a tree: two trees with one text are the same but for equal strings being one node or
 *  two. A container, object or tensor is "#n" where it stands first and "*n" afterwards; storages appear with
 *  the checksum of their bytes. Clear the buffer with lks_strbuf_fini. */
lks_strbuf_t test_tree_text(const lks_tree_t *tree);

/** One line for each leaf of a checkpoint that is a tensor or scalar, "path<TAB>kind value", as
 *  tests/data/corpus/expected.txt has them (see the NOTICE there). */
lks_strbuf_t test_listing(lks_checkpoint_t *checkpoint);

#endif
