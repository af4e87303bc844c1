/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.c - names and sizes of element types. */
#include <lockstep/dtype.h>

#include <string.h>

#define DTYPE_ROW(id, name, size) [id] = {name, size},
static const struct {
    const char *name;
    size_t size;
} dtypes[] = {LKS_DTYPE_LIST(DTYPE_ROW)};
#undef DTYPE_ROW

size_t lks_dtype_size(lks_dtype_t dtype)
{
    return (unsigned)dtype < LKS_DTYPE_COUNT ? dtypes[dtype].size : 0;
}

const char *lks_dtype_name(lks_dtype_t dtype)
{
    return (unsigned)dtype < LKS_DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

bool lks_dtype_is_complex(lks_dtype_t dtype)
{
    return dtype == LKS_DTYPE_C32 || dtype == LKS_DTYPE_C64 || dtype == LKS_DTYPE_C128;
}

bool lks_dtype_is_quantized(lks_dtype_t dtype)
{
    return dtype >= LKS_DTYPE_QI8 && dtype <= LKS_DTYPE_QU2X4;
}

bool lks_dtype_is_convertible(lks_dtype_t dtype)
{
    return (unsigned)dtype <= LKS_DTYPE_BOOL;
}

lks_status_t lks_dtype_from_name(const char *name, lks_dtype_t *out)
{
    for (int i = 0; i < LKS_DTYPE_COUNT; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *out = (lks_dtype_t)i;
            return LKS_OK;
        }
    }
    return lks_fail(LKS_ERR_NOT_FOUND, "no dtype is called '%s'", name);
}
