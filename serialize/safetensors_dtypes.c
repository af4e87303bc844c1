/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_dtypes.c - the dtypes of the format, and what they are here. */
#include "serialize/safetensors.h"

#include <string.h>

#define DTYPE_ENTRY(name, dtype, bits, group) {name, sizeof(name) - 1, dtype, bits, group},
static const lks_safetensors_dtype_t dtypes[] = {LKS_SAFETENSORS_DTYPE_LIST(DTYPE_ENTRY)};
#undef DTYPE_ENTRY

#define DTYPE_COUNT (sizeof dtypes / sizeof *dtypes)

const lks_safetensors_dtype_t *lks_safetensors_dtype_named(const char *name, size_t nbytes)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (dtypes[i].name_length == nbytes && memcmp(dtypes[i].name, name, nbytes) == 0) {
            return &dtypes[i];
        }
    }
    return NULL;
}

const lks_safetensors_dtype_t *lks_safetensors_dtype_of(lks_dtype_t dtype)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (dtypes[i].dtype == dtype) {
            return &dtypes[i];
        }
    }
    return NULL;
}
