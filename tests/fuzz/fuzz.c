/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.c - see fuzz.h. */
#include "fuzz.h"
#include "serialize/pickle_torch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

lks_checkpoint_limits_t fuzz_limits(void)
{
    return (lks_checkpoint_limits_t){
        .memory = (size_t)4 << 20, .max_depth = 10000, .max_nodes = 100000};
}

void fuzz_require(bool condition, const char *what)
{
    if (!condition) {
        (void)fprintf(stderr, "fuzz: not so: %s\nlast error: %s\n", what,
                      lks_last_error()->message);
        abort();
    }
}

void fuzz_require_sentence(lks_status_t status)
{
    fuzz_require(lks_last_error()->status == status, "the error is the one that was returned");
    fuzz_require(strlen(lks_last_error()->message) > 15, "the error is a sentence");
}

lks_strbuf_t fuzz_write(const lks_tree_t *tree)
{
    lks_strbuf_t out = {0};
    lks_torch_writer_t torch;
    fuzz_require(lks_torch_writer_init(tree, &torch) == LKS_OK, "there is memory");
    torch.stream = true; /* which can hold more than an archive */
    const lks_pickle_write_hooks_t hooks = lks_torch_write_hooks(&torch);
    lks_status_t status = lks_pickle_write(lks_tree_root(tree), &hooks, &out);
    if (status != LKS_OK) {
        fuzz_require(status == LKS_ERR_UNSUPPORTED, "what was read is written or unsupported");
        fuzz_require_sentence(status);
        lks_strbuf_fini(&out);
        out = (lks_strbuf_t){0};
    }
    lks_torch_writer_fini(&torch);
    return out;
}
