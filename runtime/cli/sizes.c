/* SPDX-License-Identifier: Apache-2.0 */
/* sizes.c - see sizes.h. */
#include "runtime/cli/sizes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    double bytes;
} units[] = {
    {"", 1},      {"B", 1},        {"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
    {"TB", 1e12}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
};

lks_status_t parse_size(const char *text, void *target)
{
    char *end;
    double number = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units && end != text; i++) {
        double bytes = number * units[i].bytes;
        if (strcasecmp(end, units[i].name) == 0 && bytes >= 1.0 && bytes < 0x1p63) {
            *(uint64_t *)target = (uint64_t)bytes;
            return LKS_OK;
        }
    }
    return lks_fail(LKS_ERR_INVALID_ARG, "wants a size as 500MB or 2GiB, not '%s'", text);
}
