/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - see read.h. */
#include "runtime/train/read.h"

#define COUNT_MAX                                                                                  \
    (INT64_C(1) << 53) /* no job counts further, and sums of two counts stay numbers */

static bool is_absent(const lks_value_t *value)
{
    return !value || lks_value_kind(value) == LKS_VALUE_NONE;
}

/* Puts "where['key']" in front of the sentence of a value that is of another kind. */
static lks_status_t name(lks_status_t status, const char *where, const char *key)
{
    return status == LKS_OK ? LKS_OK : lks_error_prefix(status, "%s['%s']", where, key);
}

lks_status_t lks_read_value(const lks_value_t *dict, const char *where, const char *key,
                            const lks_value_t **out)
{
    const lks_value_t *value = lks_value_find(dict, key);
    if (!value) {
        return lks_fail(LKS_ERR_MISMATCH, "%s has no '%s'", where, key);
    }
    *out = value;
    return LKS_OK;
}

lks_status_t lks_read_count(const lks_value_t *dict, const char *where, const char *key,
                            int64_t *out)
{
    const lks_value_t *value;
    int64_t number = 0;
    LKS_TRY(lks_read_value(dict, where, key, &value));
    LKS_TRY(name(lks_value_get_int(value, &number), where, key));
    if (number < 0 || number > COUNT_MAX) {
        return lks_fail(LKS_ERR_MISMATCH, "%s['%s'] is %lld", where, key, (long long)number);
    }
    *out = number;
    return LKS_OK;
}

lks_status_t lks_read_float(const lks_value_t *dict, const char *where, const char *key,
                            double *out)
{
    const lks_value_t *value;
    LKS_TRY(lks_read_value(dict, where, key, &value));
    return name(lks_value_get_float(value, out), where, key);
}

lks_status_t lks_read_first_float(const lks_value_t *dict, const char *where, const char *key,
                                  double *out)
{
    const lks_value_t *value;
    LKS_TRY(lks_read_value(dict, where, key, &value));
    const lks_value_t *first = lks_value_count(value) > 0 ? lks_value_at(value, 0) : value;
    return name(lks_value_get_float(first, out), where, key);
}

lks_status_t lks_read_float_if(const lks_value_t *dict, const char *where, const char *key,
                               double *out)
{
    const lks_value_t *value = lks_value_find(dict, key);
    return is_absent(value) ? LKS_OK : name(lks_value_get_float(value, out), where, key);
}

lks_status_t lks_read_bool_if(const lks_value_t *dict, const char *where, const char *key,
                              bool *out)
{
    const lks_value_t *value = lks_value_find(dict, key);
    return is_absent(value) ? LKS_OK : name(lks_value_get_bool(value, out), where, key);
}
