/* SPDX-License-Identifier: Apache-2.0 */
/* dataset.h - the table behind lks_dataset_t, and how a reader fills it:
 *     struct lks_dataset table = {.features = 4};        (targets = 1 for regression)
 *     lks_dataset_reserve(&table, path, rows)             rows can be written at table.count; as often as needed
 *     lks_dataset_set_classes(&table, path, 3, names)     unless it has targets
 *     lks_dataset_publish(&table, path, out)              or, after a failure, lks_dataset_fini(&table) */
#ifndef LOCKSTEP_RUNTIME_DATA_DATASET_H
#define LOCKSTEP_RUNTIME_DATA_DATASET_H

#include <lockstep/data.h>

struct lks_dataset {
    int64_t count, features;
    int64_t classes;          /* 0: regression */
    int64_t targets;          /* 0: classes */
    bool is_table;            /* of a CSV file */
    int64_t capacity;         /* rows there is memory for */
    float *feature_data;      /* (capacity, features) */
    int64_t *label_data;      /* (capacity), unless there are targets */
    float *target_data;       /* (capacity, targets), if there are any */
    const char **class_names; /* (classes) into class_text */
    char *class_text;
};

/** Makes room for `rows` rows in all. Where that grows the table it at least doubles, so that appending row by
 *  row is linear. `path` is for the sentence. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_dataset_reserve(lks_dataset_t *table, const char *path,
                                               int64_t rows);

/** Sets the number of classes and copies their names; NULL: "0", "1", ... Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_dataset_set_classes(lks_dataset_t *table, const char *path,
                                                   int64_t classes, const char *const *names);

/** Moves *table into a new data set. Errors: NO_MEMORY (*table stays). */
LKS_NODISCARD lks_status_t lks_dataset_publish(lks_dataset_t *table, const char *path,
                                               lks_dataset_t **out);

/** Frees what is in the table, not the struct. */
void lks_dataset_fini(lks_dataset_t *table);

#endif
