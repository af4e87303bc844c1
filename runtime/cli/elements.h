/* SPDX-License-Identifier: Apache-2.0 */
/* elements.h - the elements of a tensor of a checkpoint, packed in C order: in the file where they lie so, else in
 * memory. */
#ifndef LOCKSTEP_CLI_ELEMENTS_H
#define LOCKSTEP_CLI_ELEMENTS_H

#include <lockstep/checkpoint.h>

typedef struct elements {
    const unsigned char *data;
    size_t nbytes;
    int64_t count;
    lks_dtype_t dtype;
    lks_checkpoint_t *checkpoint;
    size_t storage;
    unsigned char *owned; /* NULL: `data` is the file's */
} elements_t;

/** How many a tensor has. Errors: UNSUPPORTED (a few bytes that are expanded to more than anybody can wait for). */
LKS_NODISCARD lks_status_t elements_count(const lks_checkpoint_t *checkpoint,
                                          const lks_value_t *value, const char *path, int64_t *out);

/** Gets and verifies them. Errors: CORRUPT, UNSUPPORTED (as elements_count), NO_MEMORY. */
LKS_NODISCARD lks_status_t elements_get(lks_checkpoint_t *checkpoint, const lks_value_t *value,
                                        const char *path, elements_t *out);
void elements_release(elements_t *elements);

/** Elements [first, first + count) as numbers; `count` is at most ELEMENTS_CHUNK. Only where elements_are_numbers. */
enum { ELEMENTS_CHUNK = 4096 };
bool elements_are_numbers(const elements_t *elements);
LKS_NODISCARD lks_status_t elements_numbers(const elements_t *elements, int64_t first,
                                            int64_t count, double *out);

#endif
