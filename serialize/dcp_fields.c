/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_fields.c - see dcp_fields.h. */
#include "serialize/dcp_fields.h"
#include "core/checked.h"
#include "serialize/value_node.h"

#include <limits.h>
#include <string.h>

lks_status_t lks_dcp_no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "out of memory, or over the memory limit");
}

void *lks_dcp_alloc(lks_arena_t *arena, size_t count, size_t size)
{
    size_t nbytes;
    return lks_mul_size(count, size, &nbytes) ? lks_arena_zalloc(arena, nbytes, _Alignof(int64_t))
                                              : NULL;
}

bool lks_dcp_is(const lks_value_t *value, const char *class_name)
{
    static const char package[] = "torch.distributed.";
    const char *name =
        value && value->kind == LKS_VALUE_OBJECT ? lks_value_class_name(value) : NULL;
    const char *dot = name ? strrchr(name, '.') : NULL;
    return dot && strncmp(name, package, sizeof package - 1) == 0 &&
           strcmp(dot + 1, class_name) == 0;
}

const lks_value_t *lks_dcp_field(const lks_value_t *object, const char *name)
{
    return lks_value_find(lks_value_object_state(object), name);
}

bool lks_dcp_is_none(const lks_value_t *value)
{
    return !value || value->kind == LKS_VALUE_NONE;
}

const char *lks_dcp_text(const lks_value_t *value, size_t *nbytes)
{
    return value && value->kind == LKS_VALUE_STR ? lks_value_text(value, nbytes) : NULL;
}

bool lks_dcp_get_size(const lks_value_t *value, size_t *out)
{
    int64_t number;
    if (lks_value_get_int(value, &number) != LKS_OK || number < 0) {
        return false;
    }
    *out = (size_t)number;
    return true;
}

/* The tuple in a torch.Size, or a tuple as such; NULL for anything else. */
static const lks_value_t *tuple_of(const lks_value_t *value)
{
    const char *name = value ? lks_value_class_name(value) : NULL;
    if (name && value->kind == LKS_VALUE_OBJECT && strcmp(name, "torch.Size") == 0) {
        value = lks_value_at(lks_value_object_arguments(value), 0);
    }
    return value && value->kind == LKS_VALUE_TUPLE ? value : NULL;
}

lks_status_t lks_dcp_get_numbers(lks_arena_t *arena, const lks_value_t *value, const char *what,
                                 int *count, const int64_t **out)
{
    const lks_value_t *tuple = tuple_of(value);
    size_t length = lks_value_count(tuple);
    if (!tuple || length > INT_MAX) {
        return lks_fail(LKS_ERR_FORMAT, "its %s is no torch.Size", what);
    }
    int64_t *numbers = lks_dcp_alloc(arena, length, sizeof *numbers);
    if (!numbers) {
        return lks_dcp_no_memory();
    }
    for (size_t i = 0; i < length; i++) {
        if (lks_value_get_int(lks_value_at(tuple, i), &numbers[i]) != LKS_OK || numbers[i] < 0) {
            return lks_fail(LKS_ERR_FORMAT, "its %s has an entry that is no size", what);
        }
    }
    *count = (int)length;
    *out = numbers;
    return LKS_OK;
}
