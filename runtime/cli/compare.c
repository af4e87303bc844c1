/* SPDX-License-Identifier: Apache-2.0 */
/* compare.c - see compare.h. */
#include "runtime/cli/compare.h"
#include "runtime/cli/elements.h"
#include "runtime/cli/leaf_json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool near(double a, double b, const compare_options_t *options)
{
    if (isnan(a) || isnan(b)) {
        return isnan(a) && isnan(b);
    }
    return a == b || fabs(a - b) <= options->atol + options->rtol * fabs(b);
}

/* --- values that are no tensors ----------------------------------------------------------------- */

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "comparing two values: out of memory");
}

/* To be freed. */
static lks_status_t text_of(const lks_value_t *value, char **text, size_t *nbytes)
{
    char *made = NULL;
    FILE *out = open_memstream(&made, nbytes);
    if (!out) {
        return no_memory();
    }
    leaf_json(out, value);
    if (fclose(out) != 0) {
        free(made);
        return no_memory();
    }
    *text = made;
    return LKS_OK;
}

static const char *kind_of(const lks_value_t *value)
{
    return lks_value_kind_name(lks_value_kind(value));
}

/* Two numbers of any kind, where a tolerance is given. */
static bool floats_are_near(const lks_value_t *a, const lks_value_t *b,
                            const compare_options_t *options)
{
    double x, y;
    return lks_value_kind(a) == LKS_VALUE_FLOAT && lks_value_kind(b) == LKS_VALUE_FLOAT &&
           (options->rtol > 0.0 || options->atol > 0.0) && lks_value_get_float(a, &x) == LKS_OK &&
           lks_value_get_float(b, &y) == LKS_OK && near(x, y, options);
}

static lks_status_t compare_values(const lks_value_t *a, const lks_value_t *b,
                                   const compare_options_t *options, bool *equal,
                                   char difference[DIFFERENCE_MAX])
{
    *equal = floats_are_near(a, b, options);
    if (*equal) {
        return LKS_OK;
    }
    if (lks_value_kind(a) != lks_value_kind(b)) {
        (void)snprintf(difference, DIFFERENCE_MAX, "%s -> %s", kind_of(a), kind_of(b));
        return LKS_OK;
    }
    if (options->strict && lks_value_dict_is_ordered(a) != lks_value_dict_is_ordered(b)) {
        (void)snprintf(difference, DIFFERENCE_MAX, "%s -> %s",
                       lks_value_dict_is_ordered(a) ? "OrderedDict" : "dict",
                       lks_value_dict_is_ordered(b) ? "OrderedDict" : "dict");
        return LKS_OK;
    }
    char *texts[2] = {NULL, NULL};
    size_t nbytes[2] = {0, 0};
    lks_status_t status = text_of(a, &texts[0], &nbytes[0]);
    if (status == LKS_OK) {
        status = text_of(b, &texts[1], &nbytes[1]);
    }
    if (status == LKS_OK) {
        *equal = nbytes[0] == nbytes[1] && memcmp(texts[0], texts[1], nbytes[0]) == 0;
        (void)snprintf(difference, DIFFERENCE_MAX, "%.200s -> %.200s", texts[0], texts[1]);
    }
    free(texts[0]);
    free(texts[1]);
    return status;
}

/* --- elements ----------------------------------------------------------------------------------- */

typedef struct tally {
    int64_t differing;
    double absolute, relative; /* the largest differences */
} tally_t;

static void count_differences(const double *a, const double *b, int64_t count,
                              const compare_options_t *options, tally_t *tally)
{
    for (int64_t i = 0; i < count; i++) {
        if (near(a[i], b[i], options)) {
            continue;
        }
        double distance = fabs(a[i] - b[i]);
        tally->differing++;
        tally->absolute = fmax(tally->absolute, distance);
        tally->relative = fmax(tally->relative, distance / fabs(b[i]));
    }
}

static lks_status_t compare_numbers(const elements_t *a, const elements_t *b,
                                    const compare_options_t *options, tally_t *tally)
{
    double x[ELEMENTS_CHUNK], y[ELEMENTS_CHUNK];
    for (int64_t done = 0; done < a->count; done += ELEMENTS_CHUNK) {
        int64_t left = a->count - done;
        int64_t count = left < ELEMENTS_CHUNK ? left : ELEMENTS_CHUNK;
        LKS_TRY(elements_numbers(a, done, count, x));
        LKS_TRY(elements_numbers(b, done, count, y));
        count_differences(x, y, count, options, tally);
    }
    return LKS_OK;
}

static void compare_bits(const elements_t *a, const elements_t *b, tally_t *tally)
{
    size_t size = lks_dtype_size(a->dtype);
    for (int64_t i = 0; i < a->count; i++) {
        size_t at = (size_t)i * size;
        tally->differing += memcmp(a->data + at, b->data + at, size) != 0;
    }
}

static bool same_bits(const elements_t *a, const elements_t *b)
{
    return a->dtype == b->dtype && a->nbytes == b->nbytes &&
           (a->nbytes == 0 || memcmp(a->data, b->data, a->nbytes) == 0);
}

static lks_status_t compare_elements(const elements_t *a, const elements_t *b,
                                     const compare_options_t *options, bool *equal,
                                     char difference[DIFFERENCE_MAX])
{
    tally_t tally = {0};
    *equal = same_bits(a, b);
    if (*equal) {
        return LKS_OK;
    }
    bool numbers = elements_are_numbers(a) && elements_are_numbers(b);
    bool exact = options->rtol == 0.0 && options->atol == 0.0 && a->dtype == b->dtype;
    if (numbers) {
        LKS_TRY(compare_numbers(a, b, options, &tally));
    }
    if (exact || !numbers) {
        tally.differing = 0;
        compare_bits(a, b, &tally);
    }
    *equal = tally.differing == 0;
    int length = snprintf(difference, DIFFERENCE_MAX, "%lld of %lld elements",
                          (long long)tally.differing, (long long)a->count);
    if (numbers && length > 0) {
        (void)snprintf(difference + length, DIFFERENCE_MAX - (size_t)length,
                       ", at most by %.6g (relative %.6g)", tally.absolute, tally.relative);
    }
    return LKS_OK;
}

/* --- tensors ------------------------------------------------------------------------------------ */

static bool same_numbers(const int64_t *a, const int64_t *b, int count)
{
    return count == 0 || memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static bool differs(char difference[DIFFERENCE_MAX], const char *format, ...) LKS_PRINTF(2, 3);

static bool differs(char difference[DIFFERENCE_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(difference, DIFFERENCE_MAX, format, args);
    va_end(args);
    return true;
}

static const char *flags_of(const lks_value_tensor_t *tensor)
{
    return tensor->is_conj ? "conjugated" : tensor->is_neg ? "negated" : "plain";
}

static const char *location_of(compare_side_t side)
{
    return lks_tree_storage(lks_checkpoint_tree(side.checkpoint),
                            lks_value_tensor(side.value)->storage)
        ->location;
}

/* What counts always. */
static bool views_differ(const lks_value_tensor_t *a, const lks_value_tensor_t *b,
                         const compare_options_t *options, char difference[DIFFERENCE_MAX])
{
    char x[96], y[96];
    if (a->ndim != b->ndim || !same_numbers(a->shape, b->shape, a->ndim)) {
        return differs(difference, "shape %s -> %s",
                       lks_shape_format(x, sizeof x, a->ndim, a->shape),
                       lks_shape_format(y, sizeof y, b->ndim, b->shape));
    }
    bool convertible = lks_dtype_is_convertible(a->dtype) && lks_dtype_is_convertible(b->dtype);
    if (a->dtype != b->dtype && !(options->ignore_dtype && convertible)) {
        return differs(difference, "%s -> %s", lks_dtype_name(a->dtype), lks_dtype_name(b->dtype));
    }
    if (a->is_conj != b->is_conj || a->is_neg != b->is_neg) {
        return differs(difference, "%s -> %s", flags_of(a), flags_of(b));
    }
    return false;
}

/* What counts when strict. */
static bool manners_differ(compare_side_t a, compare_side_t b, char difference[DIFFERENCE_MAX])
{
    const lks_value_tensor_t *x = lks_value_tensor(a.value), *y = lks_value_tensor(b.value);
    if (!same_numbers(x->stride, y->stride, x->ndim)) {
        return differs(difference, "other strides");
    }
    if (x->requires_grad != y->requires_grad || x->is_parameter != y->is_parameter) {
        return differs(difference, "%s%s -> %s%s", x->is_parameter ? "parameter" : "tensor",
                       x->requires_grad ? " with gradient" : "",
                       y->is_parameter ? "parameter" : "tensor",
                       y->requires_grad ? " with gradient" : "");
    }
    if (strcmp(location_of(a), location_of(b)) != 0) {
        return differs(difference, "device %.64s -> %.64s", location_of(a), location_of(b));
    }
    return false;
}

static lks_status_t compare_tensors(compare_side_t a, compare_side_t b, const char *path,
                                    const compare_options_t *options, bool *equal,
                                    char difference[DIFFERENCE_MAX])
{
    if (views_differ(lks_value_tensor(a.value), lks_value_tensor(b.value), options, difference) ||
        (options->strict && manners_differ(a, b, difference))) {
        return LKS_OK;
    }
    elements_t x = {0}, y = {0};
    lks_status_t status;
    LKS_GOTO(elements_get(a.checkpoint, a.value, path, &x), release);
    LKS_GOTO(elements_get(b.checkpoint, b.value, path, &y), release);
    status = compare_elements(&x, &y, options, equal, difference);
release:
    elements_release(&x);
    elements_release(&y);
    return status;
}

lks_status_t compare_leaves(compare_side_t a, compare_side_t b, const char *path,
                            const compare_options_t *options, bool *equal,
                            char difference[DIFFERENCE_MAX])
{
    *equal = false;
    if (lks_value_tensor(a.value) && lks_value_tensor(b.value)) {
        return compare_tensors(a, b, path, options, equal, difference);
    }
    return compare_values(a.value, b.value, options, equal, difference);
}
