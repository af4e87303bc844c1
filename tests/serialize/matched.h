/* SPDX-License-Identifier: Apache-2.0 */
/* matched.h - load reports of lists of names: every tensor is a float32 scalar unless a test changes it. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_MATCHED_H
#define LOCKSTEP_TESTS_SERIALIZE_MATCHED_H

#include "serialize/named_tensors.h"

#include <lockstep/state_dict.h>
#include <stdlib.h>

typedef struct matched {
    lks_tree_t *tree;
    lks_state_dict_t *dict;
    lks_key_spec_t *specs;
    size_t count;
    lks_load_report_t *report;
    char *text; /* what split names lie in */
} matched_t;

/** The report of a file with `file_count` keys on a model with `count`. */
static inline void match_names(matched_t *m, const char *const *file, size_t file_count,
                               const char *const *model, size_t count)
{
    *m = (matched_t){.count = count, .specs = calloc(count + 1, sizeof *m->specs)};
    assert_ok(lks_tree_create(&m->tree));
    lks_value_t *root = lks_value_ordered_dict(m->tree);
    lks_tree_set_root(m->tree, root);
    for (size_t i = 0; i < file_count; i++) {
        lks_value_set_str(m->tree, root, file[i], test_scalar(m->tree));
    }
    assert_ok(lks_tree_status(m->tree));
    assert_ok(lks_state_dict_find(m->tree, root, NULL, &m->dict));
    for (size_t i = 0; i < count; i++) {
        m->specs[i] = (lks_key_spec_t){.key = model[i], .dtype = LKS_DTYPE_F32};
    }
    assert_ok(lks_load_report_create(m->specs, count, m->dict, &m->report));
}

/** The same of names that spaces separate. */
static inline void match_words(matched_t *m, const char *file, const char *model)
{
    const char *file_words[64], *model_words[64];
    size_t file_size = strlen(file) + 1, model_size = strlen(model) + 1;
    char *text = malloc(file_size + model_size);
    memcpy(text, file, file_size);
    memcpy(text + file_size, model, model_size);
    size_t file_count = test_split(text, file_words, 64);
    size_t count = test_split(text + file_size, model_words, 64);
    match_names(m, file_words, file_count, model_words, count);
    m->text = text;
}

static inline void matched_fini(matched_t *m)
{
    lks_load_report_destroy(m->report);
    lks_state_dict_destroy(m->dict);
    lks_tree_destroy(m->tree);
    free(m->specs);
    free(m->text);
}

#endif
