/* SPDX-License-Identifier: Apache-2.0 */
/* class_labels.h - numbers the class names of a table. Which number a name gets is known only when all names
 * are: until then a label is provisional, the order in which names first appeared. */
#ifndef LOCKSTEP_RUNTIME_DATA_CLASS_LABELS_H
#define LOCKSTEP_RUNTIME_DATA_CLASS_LABELS_H

#include "core/arena.h"
#include "runtime/data/dataset.h"

typedef struct lks_class_entry lks_class_entry_t;

typedef struct lks_class_labels {
    const char *path; /* for sentences */
    size_t column;    /* for sentences, from 1 */
    lks_arena_t arena;
    void *tree;                  /* of entries, by name */
    lks_class_entry_t **entries; /* (count), by provisional label */
    size_t count, capacity;
} lks_class_labels_t;

/** `path` must outlive the labels. */
void lks_class_labels_init(lks_class_labels_t *labels, const char *path, size_t column);
void lks_class_labels_fini(lks_class_labels_t *labels);

/** The provisional label of a name; `line` is where it stands. Errors: NO_MEMORY, FORMAT (empty, not UTF-8). */
LKS_NODISCARD lks_status_t lks_class_labels_add(lks_class_labels_t *labels, const char *name,
                                                size_t length, int64_t line, int64_t *out);

/** Replaces the provisional labels in `table` by final ones and sets its classes: those of `classes` (`count` names in
 *  order) unless that is NULL; else by value where all names are integers, or in byte order of the names.
 *  Errors: NO_MEMORY, FORMAT (integers that are not 0..K-1; a label that is none of the classes). */
LKS_NODISCARD lks_status_t lks_class_labels_finish(lks_class_labels_t *labels,
                                                   const char *const *classes, int64_t count,
                                                   lks_dataset_t *table);

#endif
