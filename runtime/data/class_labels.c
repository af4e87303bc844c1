/* SPDX-License-Identifier: Apache-2.0 */
/* class_labels.c - a balanced tree of names (tsearch: no input makes it slow), then one sort. */
#include "runtime/data/class_labels.h"
#include "runtime/data/cell.h"

#include <search.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lks_class_entry {
    const char *name;
    size_t length;
    int64_t line;  /* where it first appeared */
    int64_t label; /* provisional, then final */
    int64_t value; /* where it is an integer */
};

void lks_class_labels_init(lks_class_labels_t *labels, const char *path, size_t column)
{
    *labels = (lks_class_labels_t){.path = path, .column = column};
    lks_arena_init(&labels->arena, 0, 0);
}

static void keep_entry(void *entry)
{
    (void)entry; /* the arena's */
}

void lks_class_labels_fini(lks_class_labels_t *labels)
{
    tdestroy(labels->tree, keep_entry);
    free(labels->entries);
    lks_arena_fini(&labels->arena);
    *labels = (lks_class_labels_t){0};
}

static int compare_names(const void *a, const void *b)
{
    const lks_class_entry_t *x = a, *y = b;
    size_t length = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->name, y->name, length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_names(*(lks_class_entry_t *const *)a, *(lks_class_entry_t *const *)b);
}

static lks_status_t no_memory(const lks_class_labels_t *labels)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "reading '%s': out of memory", labels->path);
}

static lks_status_t check_name(const lks_class_labels_t *labels, const lks_class_entry_t *entry)
{
    float number;
    if (lks_cell_float(entry->name, entry->length, &number) == LKS_CELL_EMPTY) {
        return lks_fail(LKS_ERR_FORMAT, "reading '%s': line %lld, column %zu: the label is empty",
                        labels->path, (long long)entry->line, labels->column);
    }
    if (!lks_cell_is_utf8(entry->name, entry->length)) {
        char excerpt[LKS_CELL_EXCERPT];
        return lks_fail(LKS_ERR_FORMAT,
                        "reading '%s': line %lld, column %zu: the label '%s' is not UTF-8",
                        labels->path, (long long)entry->line, labels->column,
                        lks_cell_excerpt(entry->name, entry->length, excerpt));
    }
    return LKS_OK;
}

static lks_class_entry_t *copy_entry(lks_class_labels_t *labels, const lks_class_entry_t *entry)
{
    lks_class_entry_t *copy =
        lks_arena_alloc(&labels->arena, sizeof *copy, alignof(lks_class_entry_t));
    char *name = lks_arena_copy_text(&labels->arena, entry->name, entry->length);
    if (!copy || !name) {
        return NULL;
    }
    *copy = *entry;
    copy->name = name;
    copy->label = (int64_t)labels->count;
    return copy;
}

static lks_status_t insert(lks_class_labels_t *labels, const lks_class_entry_t *entry, int64_t *out)
{
    LKS_TRY(check_name(labels, entry));
    if (labels->count == labels->capacity) {
        size_t capacity = labels->capacity ? labels->capacity * 2 : 16;
        lks_class_entry_t **entries =
            reallocarray(labels->entries, capacity, sizeof(lks_class_entry_t *));
        if (!entries) {
            return no_memory(labels);
        }
        labels->entries = entries;
        labels->capacity = capacity;
    }
    lks_class_entry_t *copy = copy_entry(labels, entry);
    if (!copy || !tsearch(copy, &labels->tree, compare_names)) {
        return no_memory(labels);
    }
    labels->entries[labels->count++] = copy;
    *out = copy->label;
    return LKS_OK;
}

lks_status_t lks_class_labels_add(lks_class_labels_t *labels, const char *name, size_t length,
                                  int64_t line, int64_t *out)
{
    const lks_class_entry_t entry = {.name = name, .length = length, .line = line};
    void *found = tfind(&entry, &labels->tree, compare_names);
    if (!found) {
        return insert(labels, &entry, out);
    }
    *out = (*(lks_class_entry_t **)found)->label;
    return LKS_OK;
}

/* Sets the value of every entry; false if one is no integer. */
static bool read_values(const lks_class_labels_t *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        lks_class_entry_t *entry = labels->entries[i];
        if (!lks_cell_integer(entry->name, entry->length, &entry->value)) {
            return false;
        }
    }
    return true;
}

static int compare_values(const void *a, const void *b)
{
    const lks_class_entry_t *x = *(lks_class_entry_t *const *)a;
    const lks_class_entry_t *y = *(lks_class_entry_t *const *)b;
    int order = (x->value > y->value) - (x->value < y->value);
    return order ? order : (x->label > y->label) - (x->label < y->label);
}

static lks_status_t fail_range(const lks_class_labels_t *labels, const lks_class_entry_t *entry,
                               int64_t wanted)
{
    char excerpt[LKS_CELL_EXCERPT], why[64] = "is negative";
    if (entry->value >= 0) {
        (void)snprintf(why, sizeof why, "where no row has label %lld", (long long)wanted);
    }
    return lks_fail(LKS_ERR_FORMAT,
                    "reading '%s': line %lld, column %zu: label %s %s; labels that are integers "
                    "must be 0, 1, 2, ... with none left out",
                    labels->path, (long long)entry->line, labels->column,
                    lks_cell_excerpt(entry->name, entry->length, excerpt), why);
}

/* Final labels of entries in order of value; one value may be spelled in several ways ("1", "01"). */
static lks_status_t number_values(const lks_class_labels_t *labels, lks_class_entry_t **sorted,
                                  int64_t *classes)
{
    int64_t next = 0;
    for (size_t i = 0; i < labels->count; i++) {
        bool again = i > 0 && sorted[i]->value == sorted[i - 1]->value;
        if (!again && sorted[i]->value != next) {
            return fail_range(labels, sorted[i], next);
        }
        next += !again;
        sorted[i]->label = sorted[i]->value;
    }
    *classes = next;
    return LKS_OK;
}

static lks_status_t finish_values(lks_class_labels_t *labels, lks_class_entry_t **sorted,
                                  lks_dataset_t *table)
{
    int64_t classes = 0;
    qsort(sorted, labels->count, sizeof(lks_class_entry_t *), compare_values);
    LKS_TRY(number_values(labels, sorted, &classes));
    return lks_dataset_set_classes(table, labels->path, classes, NULL);
}

static lks_status_t finish_names(lks_class_labels_t *labels, lks_class_entry_t **sorted,
                                 lks_dataset_t *table)
{
    const char **names = calloc(labels->count, sizeof *names);
    if (!names) {
        return no_memory(labels);
    }
    qsort(sorted, labels->count, sizeof(lks_class_entry_t *), compare_entries);
    for (size_t i = 0; i < labels->count; i++) {
        sorted[i]->label = (int64_t)i;
        names[i] = sorted[i]->name;
    }
    lks_status_t status =
        lks_dataset_set_classes(table, labels->path, (int64_t)labels->count, names);
    free(names);
    return status;
}

/* True if the entry means the class called `name`: the same text, or the same integer ("01" for "1"). */
static bool is_class(const lks_class_entry_t *entry, const char *name)
{
    int64_t a, b;
    size_t length = strlen(name);
    if (length == entry->length && memcmp(name, entry->name, length) == 0) {
        return true;
    }
    return lks_cell_integer(name, length, &a) && lks_cell_integer(entry->name, entry->length, &b) &&
           a == b;
}

static lks_status_t finish_known(lks_class_labels_t *labels, const char *const *classes,
                                 int64_t count, lks_dataset_t *table)
{
    for (size_t i = 0; i < labels->count; i++) {
        lks_class_entry_t *entry = labels->entries[i];
        int64_t label = 0;
        while (label < count && !is_class(entry, classes[label])) {
            label++;
        }
        if (label == count) {
            char excerpt[LKS_CELL_EXCERPT];
            return lks_fail(LKS_ERR_FORMAT,
                            "reading '%s': line %lld, column %zu: label '%s' is none of the "
                            "model's %lld classes",
                            labels->path, (long long)entry->line, labels->column,
                            lks_cell_excerpt(entry->name, entry->length, excerpt),
                            (long long)count);
        }
        entry->label = label;
    }
    return lks_dataset_set_classes(table, labels->path, count, classes);
}

static lks_status_t finish_found(lks_class_labels_t *labels, lks_dataset_t *table)
{
    lks_class_entry_t **sorted = calloc(labels->count, sizeof(lks_class_entry_t *));
    if (!sorted) {
        return no_memory(labels);
    }
    memcpy(sorted, labels->entries, labels->count * sizeof(lks_class_entry_t *));
    lks_status_t status = read_values(labels) ? finish_values(labels, sorted, table)
                                              : finish_names(labels, sorted, table);
    free(sorted);
    return status;
}

lks_status_t lks_class_labels_finish(lks_class_labels_t *labels, const char *const *classes,
                                     int64_t count, lks_dataset_t *table)
{
    LKS_TRY(classes ? finish_known(labels, classes, count, table) : finish_found(labels, table));
    for (int64_t i = 0; i < table->count; i++) {
        table->label_data[i] = labels->entries[table->label_data[i]]->label;
    }
    return LKS_OK;
}
