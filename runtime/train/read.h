/* SPDX-License-Identifier: Apache-2.0 */
/* read.h - values out of a checkpoint's dicts, with the sentence for what is not there. `where` is what messages call
 * the dict: "lockstep['sampler']['step'] wants int, found str". */
#ifndef LOCKSTEP_RUNTIME_TRAIN_READ_H
#define LOCKSTEP_RUNTIME_TRAIN_READ_H

#include <lockstep/value.h>

/** Errors, of all: MISMATCH (absent, or of another kind). */
LKS_NODISCARD lks_status_t lks_read_value(const lks_value_t *dict, const char *where,
                                          const char *key, const lks_value_t **out);
/** A number that counts something: at least 0. */
LKS_NODISCARD lks_status_t lks_read_count(const lks_value_t *dict, const char *where,
                                          const char *key, int64_t *out);
LKS_NODISCARD lks_status_t lks_read_float(const lks_value_t *dict, const char *where,
                                          const char *key, double *out);
/** The first item of a list, or the number itself. */
LKS_NODISCARD lks_status_t lks_read_first_float(const lks_value_t *dict, const char *where,
                                                const char *key, double *out);

/** As above where there is such a key and it is not None; else *out stays. */
LKS_NODISCARD lks_status_t lks_read_float_if(const lks_value_t *dict, const char *where,
                                             const char *key, double *out);
LKS_NODISCARD lks_status_t lks_read_bool_if(const lks_value_t *dict, const char *where,
                                            const char *key, bool *out);

#endif
