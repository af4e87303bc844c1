/* SPDX-License-Identifier: Apache-2.0 */
/* pattern.h - regular expressions and globs of users, against names from files. */
#ifndef LOCKSTEP_SERIALIZE_PATTERN_H
#define LOCKSTEP_SERIALIZE_PATTERN_H

#include "serialize/keys.h"

#include <lockstep/status.h>
#include <regex.h>

/** Matching takes time and memory that grow faster than a name; nobody's name is longer. */
#define LKS_PATTERN_NAME_MAX 4095

/** Errors: INVALID_ARG with the reason. */
LKS_NODISCARD lks_status_t lks_pattern_compile(regex_t *regex, const char *pattern);

/** Errors: UNSUPPORTED (too long, or with a zero byte). */
LKS_NODISCARD lks_status_t lks_pattern_check_name(lks_name_t name);

/** Refuses what stands behind a backslash without a meaning, and groups that the pattern does not have.
 *  Errors: INVALID_ARG. */
LKS_NODISCARD lks_status_t lks_pattern_check_replacement(const regex_t *regex, const char *pattern,
                                                         const char *replacement);

#endif
