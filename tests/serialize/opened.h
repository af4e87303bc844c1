/* SPDX-License-Identifier: Apache-2.0 */
/* opened.h - for suites about one format: a file made by hand, opened, one at a time. A suite's .init sets `path`, its
 * .fini is close_opened. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_OPENED_H
#define LOCKSTEP_TESTS_SERIALIZE_OPENED_H

#include "core/strbuf.h"
#include "support/support.h"

#include <lockstep/checkpoint.h>

static lks_checkpoint_t *checkpoint; /* what is open, or NULL */
static const char *path;             /* of the file */

static inline void close_opened(void)
{
    lks_checkpoint_close(checkpoint);
    checkpoint = NULL;
}

static inline lks_status_t open_bytes(const void *bytes, size_t nbytes)
{
    close_opened();
    test_write_file(path, bytes, nbytes);
    return lks_checkpoint_open(path, NULL, &checkpoint);
}

/** Takes the bytes over. */
static inline lks_status_t open_strbuf(lks_strbuf_t bytes)
{
    lks_status_t status = open_bytes(bytes.data, bytes.length);
    lks_strbuf_fini(&bytes);
    return status;
}

static inline const lks_value_t *root(void)
{
    return lks_tree_root(lks_checkpoint_tree(checkpoint));
}

#endif
