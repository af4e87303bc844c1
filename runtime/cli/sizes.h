/* SPDX-License-Identifier: Apache-2.0 */
/* sizes.h - sizes in bytes on the command line: 4096, 64kB, 1.5GB (powers of 1000), 16MiB (powers of 1024). */
#ifndef LOCKSTEP_CLI_SIZES_H
#define LOCKSTEP_CLI_SIZES_H

#include <lockstep/status.h>

/** Parses a size into a uint64_t; for OPTION_CUSTOM. Errors: INVALID_ARG (no size, none at all, 2^63 or more). */
LKS_NODISCARD lks_status_t parse_size(const char *text, void *target);

#endif
