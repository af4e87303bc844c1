/* SPDX-License-Identifier: Apache-2.0 */
/* drop.h - values that a format cannot hold: refused, or left out if the user says so. */
#ifndef LOCKSTEP_SERIALIZE_DROP_H
#define LOCKSTEP_SERIALIZE_DROP_H

#include <lockstep/checkpoint.h>

/** OK where the value at that path is to be left out, after telling options->dropped; else UNSUPPORTED, with `why`. */
LKS_NODISCARD lks_status_t lks_save_drop(const lks_save_options_t *options, const char *path,
                                         const char *why);

/** The same for the attributes of a tensor at that path, in a format of that name, which has room for none. OK if the
 *  tensor has none. */
LKS_NODISCARD lks_status_t lks_save_drop_attributes(const lks_save_options_t *options,
                                                    const char *path, const char *format,
                                                    const lks_value_t *tensor);

#define LKS_WHY_MAX 160

/** Why a value that is no tensor cannot be held by a format of that name; returns `why`. */
const char *lks_save_no_tensor(const char *format, const lks_value_t *value, char why[LKS_WHY_MAX]);

#endif
