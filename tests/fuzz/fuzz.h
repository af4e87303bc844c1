/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h - what the fuzz targets share. */
#ifndef LOCKSTEP_TESTS_FUZZ_H
#define LOCKSTEP_TESTS_FUZZ_H

#include "core/strbuf.h"

#include <lockstep/checkpoint.h>

/** Called by libFuzzer with each input. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/** Small enough that an input which needs more is refused at once: 4 MiB. */
lks_checkpoint_limits_t fuzz_limits(void);

/** Ends the program, so that the input is kept. The sentence of the last error is shown. */
void fuzz_require(bool condition, const char *what);

/** A call that failed has said why, in a sentence. */
void fuzz_require_sentence(lks_status_t status);

/** The tree as a pickle with torch's ids, "" where that cannot be: then it was refused as UNSUPPORTED. Clear with
 *  lks_strbuf_fini. */
lks_strbuf_t fuzz_write(const lks_tree_t *tree);

/** Looks at everything: every byte of the storages, every tensor as a load would, the object written.
 *  What is refused is refused in a sentence. */
void fuzz_look_at(lks_checkpoint_t *checkpoint);

/** A directory in memory where inputs and outputs of this process lie, "$TMPDIR/fuzz-..." or "/dev/shm/fuzz-..."; it is
 *  removed at exit, but not where an input ended the process. */
const char *fuzz_folder(void);

/** "<fuzz_folder()>/<name>", until the next call. */
const char *fuzz_path(const char *name);

/** Writes a file of the directory. */
void fuzz_write_file(const char *name, const void *data, size_t nbytes);

/** Of libFuzzer. */
size_t LLVMFuzzerMutate(unsigned char *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(unsigned char *data, size_t size, size_t max_size, unsigned seed);

#endif
