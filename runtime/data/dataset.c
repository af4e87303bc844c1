/* SPDX-License-Identifier: Apache-2.0 */
/* dataset.c - the table in memory, its numbers and its statistics. */
#include "runtime/data/dataset.h"
#include "core/checked.h"
#include "core/strbuf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static lks_status_t no_memory(const char *path)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "reading '%s': out of memory", path);
}

/* `data` with room for (rows, columns) items; NULL, and `data` as it was, when out of memory. */
static void *resize(void *data, int64_t rows, int64_t columns, size_t item)
{
    size_t nbytes;
    if (!lks_mul_size((size_t)rows, (size_t)columns, &nbytes) ||
        !lks_mul_size(nbytes, item, &nbytes)) {
        return NULL;
    }
    return realloc(data, nbytes ? nbytes : 1);
}

static lks_status_t set_capacity(lks_dataset_t *table, const char *path, int64_t rows)
{
    float *features = resize(table->feature_data, rows, table->features, sizeof *features);
    if (!features) {
        return no_memory(path);
    }
    table->feature_data = features;
    if (table->targets > 0) {
        float *targets = resize(table->target_data, rows, table->targets, sizeof *targets);
        if (!targets) {
            return no_memory(path);
        }
        table->target_data = targets;
    } else {
        int64_t *labels = resize(table->label_data, rows, 1, sizeof *labels);
        if (!labels) {
            return no_memory(path);
        }
        table->label_data = labels;
    }
    table->capacity = rows;
    return LKS_OK;
}

lks_status_t lks_dataset_reserve(lks_dataset_t *table, const char *path, int64_t rows)
{
    if (rows <= table->capacity) {
        return LKS_OK;
    }
    int64_t twice;
    if (!lks_mul_i64(table->capacity, 2, &twice)) {
        return no_memory(path);
    }
    return set_capacity(table, path, rows > twice ? rows : twice);
}

/* The names one after the other, a zero behind each. */
static char *join_names(int64_t classes, const char *const *names)
{
    lks_strbuf_t text = {0};
    for (int64_t i = 0; i < classes; i++) {
        if (names) {
            lks_strbuf_append_str(&text, names[i]);
        } else {
            lks_strbuf_appendf(&text, "%lld", (long long)i);
        }
        lks_strbuf_append(&text, "", 1);
    }
    if (!lks_strbuf_ok(&text)) {
        lks_strbuf_fini(&text);
        return NULL;
    }
    return text.data;
}

lks_status_t lks_dataset_set_classes(lks_dataset_t *table, const char *path, int64_t classes,
                                     const char *const *names)
{
    char *text = join_names(classes, names);
    const char **pointers = text ? calloc((size_t)classes, sizeof *pointers) : NULL;
    if (!pointers) {
        free(text);
        return no_memory(path);
    }
    const char *name = text;
    for (int64_t i = 0; i < classes; i++) {
        pointers[i] = name;
        name += strlen(name) + 1;
    }
    table->classes = classes;
    table->class_names = pointers;
    table->class_text = text;
    return LKS_OK;
}

lks_status_t lks_dataset_publish(lks_dataset_t *table, const char *path, lks_dataset_t **out)
{
    if (table->capacity > table->count) {
        LKS_TRY(set_capacity(table, path, table->count));
    }
    lks_dataset_t *dataset = malloc(sizeof *dataset);
    if (!dataset) {
        return no_memory(path);
    }
    *dataset = *table;
    *table = (lks_dataset_t){0};
    *out = dataset;
    return LKS_OK;
}

void lks_dataset_fini(lks_dataset_t *table)
{
    free(table->feature_data);
    free(table->label_data);
    free(table->target_data);
    free(table->class_names);
    free(table->class_text);
    *table = (lks_dataset_t){0};
}

void lks_dataset_close(lks_dataset_t *dataset)
{
    if (dataset) {
        lks_dataset_fini(dataset);
        free(dataset);
    }
}

int64_t lks_dataset_count(const lks_dataset_t *dataset)
{
    return dataset->count;
}

int64_t lks_dataset_features(const lks_dataset_t *dataset)
{
    return dataset->features;
}

int64_t lks_dataset_classes(const lks_dataset_t *dataset)
{
    return dataset->classes;
}

int64_t lks_dataset_targets(const lks_dataset_t *dataset)
{
    return dataset->targets;
}

const char *lks_dataset_class_name(const lks_dataset_t *dataset, int64_t index)
{
    return index >= 0 && index < dataset->classes ? dataset->class_names[index] : NULL;
}

bool lks_dataset_is_table(const lks_dataset_t *dataset)
{
    return dataset->is_table;
}

const float *lks_dataset_feature_data(const lks_dataset_t *dataset)
{
    return dataset->feature_data;
}

const int64_t *lks_dataset_label_data(const lks_dataset_t *dataset)
{
    return dataset->label_data;
}

const float *lks_dataset_target_data(const lks_dataset_t *dataset)
{
    return dataset->target_data;
}

/* Features whose sums are kept at a time: on the stack, and whole cache lines of every row. */
#define BLOCK 64

/* Mean, then the mean square distance from it, of `width` features from `first` on. Two passes: one pass over
 * squares would lose what a large mean hides. The second is corrected by what the mean's rounding left over. */
static void block_statistics(const lks_dataset_t *dataset, const int64_t *indices, int64_t count,
                             int64_t first, int width, float *mean, float *std)
{
    double sum[BLOCK] = {0}, rest[BLOCK] = {0}, square[BLOCK] = {0};
    const double samples = count > 0 ? (double)count : 1;
    const float *data = dataset->feature_data + first;
    for (int64_t i = 0; i < count; i++) {
        const float *row = data + (indices ? indices[i] : i) * dataset->features;
        for (int j = 0; j < width; j++) {
            sum[j] += (double)row[j];
        }
    }
    for (int j = 0; j < width; j++) {
        sum[j] /= samples; /* the mean from here on */
    }
    for (int64_t i = 0; i < count; i++) {
        const float *row = data + (indices ? indices[i] : i) * dataset->features;
        for (int j = 0; j < width; j++) {
            double distance = (double)row[j] - sum[j];
            rest[j] += distance;
            square[j] += distance * distance;
        }
    }
    for (int j = 0; j < width; j++) {
        double variance = (square[j] - rest[j] * rest[j] / samples) / samples;
        float deviation = (float)sqrt(variance > 0 ? variance : 0);
        mean[first + j] = (float)sum[j];
        std[first + j] = deviation > 0 ? deviation : 1.0f;
    }
}

void lks_dataset_statistics(const lks_dataset_t *dataset, const int64_t *indices, int64_t count,
                            float *mean, float *std)
{
    int64_t rows = indices ? count : dataset->count;
    for (int64_t first = 0; first < dataset->features; first += BLOCK) {
        int64_t left = dataset->features - first;
        int width = left < BLOCK ? (int)left : BLOCK;
        block_statistics(dataset, indices, rows, first, width, mean, std);
    }
}

void lks_dataset_standardize(lks_dataset_t *dataset, const float *mean, const float *std)
{
    float *row = dataset->feature_data;
    for (int64_t i = 0; i < dataset->count; i++, row += dataset->features) {
        for (int64_t j = 0; j < dataset->features; j++) {
            row[j] = (row[j] - mean[j]) / std[j];
        }
    }
}
