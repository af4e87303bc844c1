/* SPDX-License-Identifier: Apache-2.0 */
/* mlp.c - the multilayer perceptron "mlp:IN,HIDDEN,...,OUT[,dropout=P]": Linear layers with ReLU, and Dropout
 * where P is given, between them. */
#include "runtime/models/model_kinds.h"

#include <stdbool.h>
#include <string.h>

#define SYNTAX "mlp:IN,HIDDEN,...,OUT[,dropout=P]"
#define DROPOUT "dropout="

/* Larger numbers of features are typing mistakes. */
#define FEATURES_MAX 100000000

/* Digits up to a comma or the end, where *text is left: 1 to FEATURES_MAX. */
static lks_status_t read_features(const char **text, int64_t *out)
{
    size_t length = strcspn(*text, ",");
    int64_t value = 0;
    bool good = length > 0;
    for (size_t i = 0; i < length && good; i++) {
        char c = (*text)[i];
        good = c >= '0' && c <= '9';
        value = good ? 10 * value + (c - '0') : 0;
        good = good && value <= FEATURES_MAX;
    }
    if (!good || value == 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "'%.*s' is no number of features (1 to %d) in " SYNTAX,
                        (int)(length < 100 ? length : 100), *text, FEATURES_MAX);
    }
    *text += length;
    *out = value;
    return LKS_OK;
}

/* Digits with at most one point, up to 15 of them: exact in float64, and unlike strtod the same in every
 * locale. */
static lks_status_t read_probability(const char *text, double *out)
{
    double digits = 0, scale = 1;
    int count = 0;
    bool point = false, good = true;
    const char *c = text;
    for (; *c && good; c++) {
        if (*c == '.') {
            good = !point;
            point = true;
        } else {
            good = *c >= '0' && *c <= '9' && ++count <= 15;
            digits = 10 * digits + (*c - '0');
            scale *= point ? 10 : 1;
        }
    }
    if (!good || count == 0 || digits > scale) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "'" DROPOUT "%.100s' is no probability from 0 to 1 in " SYNTAX, text);
    }
    *out = digits / scale;
    return LKS_OK;
}

/* Takes `layer` over, whose making returned `made`. */
static lks_status_t append(lks_module_t *model, lks_status_t made, lks_module_t *layer)
{
    return made == LKS_OK ? lks_sequential_append(model, layer) : made;
}

static lks_status_t append_hidden(lks_module_t *model, double dropout)
{
    lks_module_t *layer = NULL;
    lks_status_t made = lks_relu_create(&layer);
    LKS_TRY(append(model, made, layer));
    if (dropout < 0) {
        return LKS_OK;
    }
    made = lks_dropout_create(dropout, &layer);
    return append(model, made, layer);
}

/* The layers of the sizes in [sizes, end). */
static lks_status_t build(lks_module_t *model, const char *sizes, const char *end, double dropout)
{
    int64_t in;
    LKS_TRY(read_features(&sizes, &in));
    if (sizes == end) {
        return lks_fail(LKS_ERR_INVALID_ARG, "one number of features is no layer; wanted " SYNTAX);
    }
    for (bool first = true; sizes != end; first = false) {
        sizes++; /* the comma */
        int64_t out;
        LKS_TRY(read_features(&sizes, &out));
        if (!first) {
            LKS_TRY(append_hidden(model, dropout));
        }
        lks_module_t *layer = NULL;
        lks_status_t made = lks_linear_create(in, out, true, &layer);
        LKS_TRY(append(model, made, layer));
        in = out;
    }
    return LKS_OK;
}

static lks_status_t create(const char *options, lks_module_t **out)
{
    double dropout = -1; /* none */
    const char *end = strstr(options, "," DROPOUT);
    if (end) {
        LKS_TRY(read_probability(end + 1 + strlen(DROPOUT), &dropout));
    } else {
        end = options + strlen(options);
    }
    lks_module_t *model;
    LKS_TRY(lks_sequential_create(&model));
    lks_status_t status = build(model, options, end, dropout);
    if (status != LKS_OK) {
        lks_module_destroy(model);
        return status;
    }
    *out = model;
    return LKS_OK;
}

const lks_model_kind_t lks_model_mlp = {
    .name = "mlp",
    .syntax = SYNTAX,
    .create = create,
};
