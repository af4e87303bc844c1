/* SPDX-License-Identifier: Apache-2.0 */
/* What became of each key, and how it is said. */
#include "serialize/matched.h"

#include <stdio.h>

static const char *message_of(const matched_t *m)
{
    cr_assert_eq(lks_load_report_require(m->report, "a.pt"), LKS_ERR_MISMATCH);
    return lks_last_error()->message;
}

static const lks_load_entry_t *entry_of(const matched_t *m, const char *key)
{
    for (size_t i = 0; i < lks_load_report_count(m->report); i++) {
        const lks_load_entry_t *entry = lks_load_report_entry(m->report, i);
        const char *name = entry->want != SIZE_MAX ? m->specs[entry->want].key
                                                   : lks_state_dict_key(m->dict, entry->found);
        if (strcmp(name, key) == 0) {
            return entry;
        }
    }
    cr_assert_fail("no entry for '%s'", key);
    return NULL;
}

Test(load_report, entries_are_the_models_keys_then_the_unexpected)
{
    matched_t m;
    match_words(&m, "module.x module.b module.w module.y", "w v b");
    cr_assert_eq(lks_load_report_count(m.report), 5);
    static const struct {
        lks_match_t match;
        size_t want, found;
    } wanted[] = {
        {LKS_MATCH_RENAMED, 0, 2},           {LKS_MATCH_MISSING, 1, SIZE_MAX},
        {LKS_MATCH_RENAMED, 2, 1},           {LKS_MATCH_UNEXPECTED, SIZE_MAX, 0},
        {LKS_MATCH_UNEXPECTED, SIZE_MAX, 3},
    };
    for (size_t i = 0; i < 5; i++) {
        const lks_load_entry_t *entry = lks_load_report_entry(m.report, i);
        cr_expect_eq(entry->match, wanted[i].match);
        cr_expect_eq(entry->want, wanted[i].want);
        cr_expect_eq(entry->found, wanted[i].found);
    }
    cr_expect_null(lks_load_report_entry(m.report, 5));
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_RENAMED), 2);
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_COUNT), 0);
    matched_fini(&m);
}

Test(load_report, key_that_keeps_its_name_under_a_rule_is_matched_not_renamed)
{
    matched_t m;
    match_words(&m, "a._orig_mod.w b.w", "a.w b.w");
    cr_expect_eq(entry_of(&m, "a.w")->match, LKS_MATCH_RENAMED);
    cr_expect_eq(entry_of(&m, "b.w")->match, LKS_MATCH_EXACT);
    cr_expect(lks_load_report_is_complete(m.report));
    assert_ok(lks_load_report_require(m.report, "a.pt"));
    matched_fini(&m);
}

/* Reports on one tensor `w` of the file and one of the model. */
static void match_tensors(matched_t *m, lks_dtype_t file_dtype, int file_ndim,
                          const int64_t *file_shape, lks_dtype_t dtype, int ndim,
                          const int64_t *shape)
{
    *m = (matched_t){.count = 1, .specs = calloc(1, sizeof *m->specs)};
    assert_ok(lks_tree_create(&m->tree));
    lks_value_t *root = lks_value_dict(m->tree);
    lks_value_set_str(
        m->tree, root, "w",
        test_tensor(m->tree, test_storage(m->tree), 0, file_dtype, file_ndim, file_shape));
    assert_ok(lks_tree_status(m->tree));
    assert_ok(lks_state_dict_find(m->tree, root, NULL, &m->dict));
    m->specs[0] = (lks_key_spec_t){.key = "w", .dtype = dtype, .ndim = ndim, .shape = shape};
    assert_ok(lks_load_report_create(m->specs, 1, m->dict, &m->report));
}

Test(load_report, shapes_agree_in_number_and_size_of_dimensions)
{
    static const int64_t matrix[] = {8, 4}, wider[] = {16, 4}, flat[] = {32}, row[] = {8, 4, 1};
    static const struct {
        int file_ndim, ndim;
        const int64_t *file_shape, *shape;
        const char *message; /* NULL: they agree */
    } cases[] = {
        {2, 2, matrix, matrix, NULL},
        {0, 0, NULL, NULL, NULL},
        {2, 2, matrix, wider, "1 of another shape (w: file (8, 4), model (16, 4))"},
        {2, 1, matrix, flat, "1 of another shape (w: file (8, 4), model (32,))"},
        {2, 3, matrix, row, "1 of another shape (w: file (8, 4), model (8, 4, 1))"},
        {1, 0, flat, NULL, "1 of another shape (w: file (32,), model ())"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        matched_t m;
        match_tensors(&m, LKS_DTYPE_F32, cases[i].file_ndim, cases[i].file_shape, LKS_DTYPE_F32,
                      cases[i].ndim, cases[i].shape);
        cr_expect_eq(lks_load_report_is_complete(m.report), cases[i].message == NULL);
        if (cases[i].message) {
            cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_SHAPE), 1);
            cr_expect(strstr(message_of(&m), cases[i].message), "%s", message_of(&m));
        }
        matched_fini(&m);
    }
}

Test(load_report, real_dtypes_convert_and_complex_ones_do_not)
{
    static const struct {
        lks_dtype_t file, model;
        lks_match_t match;
    } cases[] = {
        {LKS_DTYPE_F32, LKS_DTYPE_F32, LKS_MATCH_EXACT},
        {LKS_DTYPE_F64, LKS_DTYPE_F32, LKS_MATCH_DTYPE},
        {LKS_DTYPE_BF16, LKS_DTYPE_F32, LKS_MATCH_DTYPE},
        {LKS_DTYPE_BOOL, LKS_DTYPE_I64, LKS_MATCH_DTYPE},
        {LKS_DTYPE_C64, LKS_DTYPE_C64, LKS_MATCH_EXACT},
        {LKS_DTYPE_C64, LKS_DTYPE_F32, LKS_MATCH_COMPLEX},
        {LKS_DTYPE_F32, LKS_DTYPE_C64, LKS_MATCH_COMPLEX},
        {LKS_DTYPE_C64, LKS_DTYPE_C128, LKS_MATCH_COMPLEX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        matched_t m;
        match_tensors(&m, cases[i].file, 0, NULL, cases[i].model, 0, NULL);
        cr_expect_eq(entry_of(&m, "w")->match, cases[i].match, "%s into %s",
                     lks_dtype_name(cases[i].file), lks_dtype_name(cases[i].model));
        cr_expect_eq(lks_load_report_is_complete(m.report), cases[i].match != LKS_MATCH_COMPLEX);
        matched_fini(&m);
    }
}

Test(load_report, dtypes_that_differ_are_reported)
{
    matched_t m;
    match_tensors(&m, LKS_DTYPE_F64, 0, NULL, LKS_DTYPE_F32, 0, NULL);
    cr_expect(strstr(lks_load_report_text(m.report),
                     "\ndtype mismatch w: file float64, model float32, converted\n"),
              "%s", lks_load_report_text(m.report));
    matched_fini(&m);
    match_tensors(&m, LKS_DTYPE_C64, 0, NULL, LKS_DTYPE_F32, 0, NULL);
    cr_expect_str_eq(message_of(&m), "'a.pt' does not fit the model: 1 of a dtype that is not "
                                     "converted (w: file complex64, model float32)");
    cr_expect(strstr(lks_load_report_text(m.report),
                     "\ncomplex mismatch w: file complex64, model float32, no conversion\n"),
              "%s", lks_load_report_text(m.report));
    matched_fini(&m);
}

Test(load_report, sentence_counts_and_names_each_kind)
{
    matched_t m;
    match_words(&m, "fc.0.weight fc.0.bias head.gamma",
                "fc.0.weight fc.0.bias fc.2.weight fc.2.bias");
    cr_expect_str_eq(message_of(&m), "'a.pt' does not fit the model: 2 missing (fc.2.weight, "
                                     "fc.2.bias), 1 unexpected (head.gamma)");
    matched_fini(&m);
}

Test(load_report, sentence_lists_four_names_of_a_kind)
{
    matched_t m;
    match_words(&m, "w", "w k0000 l1111 m2222 n3333");
    cr_expect_str_eq(message_of(&m),
                     "'a.pt' does not fit the model: 4 missing (k0000, l1111, m2222, n3333)");
    matched_fini(&m);
    match_words(&m, "w", "w k0000 l1111 m2222 n3333 o4444 p5555");
    cr_expect_str_eq(message_of(&m),
                     "'a.pt' does not fit the model: 6 missing (k0000, l1111, m2222, "
                     "n3333 and 2 more)");
    matched_fini(&m);
}

Test(load_report, near_names_are_suggested)
{
    static const struct {
        const char *file, *model, *missing,
            *unexpected; /* which suggest each other; NULL: none does */
    } cases[] = {
        {"a fc.2.wieght", "a fc.2.weight", "fc.2.weight", "fc.2.wieght"},
        {"a fc.3.weight", "a fc.2.weight", "fc.2.weight", "fc.3.weight"},
        {"a layer1.conv_1.weight", "a layer1.conv1.weight", "layer1.conv1.weight",
         "layer1.conv_1.weight"},
        {"a trunk.head.w", "a head.w", "head.w", "trunk.head.w"},
        {"a head.w", "a trunk.head.w", "trunk.head.w", "head.w"},
        {"module.a module.fc.wieght", "a fc.weight", "fc.weight", "module.fc.wieght"},
        {"a fc.wieght", "net.a net.fc.weight", "net.fc.weight", "fc.wieght"},
        {"a b", "a c", NULL, NULL},
        {"a fc.weight", "a conv.kernel", NULL, NULL},
        {"a bn1.running_mean", "a bn1.running_var", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        matched_t m;
        match_words(&m, cases[i].file, cases[i].model);
        cr_assert_eq(lks_load_report_count(m.report), 3, "case %zu", i);
        const lks_load_entry_t *missing = lks_load_report_entry(m.report, 1);
        const lks_load_entry_t *unexpected = lks_load_report_entry(m.report, 2);
        if (!cases[i].missing) {
            cr_expect_null(missing->suggest, "case %zu: %s", i, missing->suggest);
            cr_expect_null(unexpected->suggest, "case %zu: %s", i, unexpected->suggest);
        } else {
            cr_assert(missing->suggest && unexpected->suggest, "case %zu", i);
            cr_expect_str_eq(missing->suggest, cases[i].unexpected);
            cr_expect_str_eq(unexpected->suggest, cases[i].missing);
        }
        matched_fini(&m);
    }
}

Test(load_report, nearest_name_is_suggested_and_the_first_on_a_tie)
{
    matched_t m;
    match_words(&m, "layer.weighxyz layer.weighty layer.weighti", "layer.weight");
    cr_expect_str_eq(entry_of(&m, "layer.weight")->suggest, "layer.weighty");
    matched_fini(&m);
}

Test(load_report, suggestion_is_in_the_sentence_and_in_the_line)
{
    matched_t m;
    match_words(&m, "a fc.2.bais", "a fc.2.bias");
    cr_expect_str_eq(
        message_of(&m),
        "'a.pt' does not fit the model: 1 missing (fc.2.bias; did you mean fc.2.bais?), "
        "1 unexpected (fc.2.bais; did you mean fc.2.bias?)");
    cr_expect(
        strstr(lks_load_report_text(m.report), "\nmissing fc.2.bias; did you mean fc.2.bais?\n"));
    matched_fini(&m);
}

Test(load_report, too_many_pairs_are_compared_by_suffix_only)
{
    enum { COUNT = 300 };
    static char text[2 * COUNT + 2][32];
    const char *file[COUNT + 1], *model[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(text[2 * i], sizeof text[0], "layer.%zu.wieght", i);
        (void)snprintf(text[2 * i + 1], sizeof text[0], "layer.%zu.weight", i);
        file[i] = text[2 * i];
        model[i] = text[2 * i + 1];
    }
    file[COUNT] = "trunk.head.w";
    model[COUNT] = "head.w";
    matched_t m;
    match_names(&m, file, COUNT + 1, model, COUNT + 1);
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_MISSING), COUNT + 1);
    cr_expect_null(lks_load_report_entry(m.report, 0)->suggest);
    cr_expect_str_eq(entry_of(&m, "head.w")->suggest, "trunk.head.w");
    matched_fini(&m);
    match_names(&m, file, 1, model, COUNT + 1);
    cr_expect_not_null(lks_load_report_entry(m.report, 0)->suggest, "few pairs are compared");
    matched_fini(&m);
}

Test(load_report, text_says_it_all)
{
    matched_t m;
    match_words(&m, "module.fc.0.weight module.fc.0.bias module.extra",
                "fc.0.weight fc.0.bias fc.2.w");
    cr_expect_str_eq(lks_load_report_text(m.report),
                     "state dict (3 tensors): 2 of the model's 3 keys fit, rule: strip module.\n"
                     "renamed 2 keys: strip module. (module.fc.0.weight -> fc.0.weight)\n"
                     "missing fc.2.w\n"
                     "unexpected module.extra\n");
    matched_fini(&m);
}

Test(load_report, text_of_a_plain_match_is_one_line)
{
    matched_t m;
    match_words(&m, "w", "w");
    cr_expect_str_eq(lks_load_report_text(m.report),
                     "state dict (1 tensor): 1 of the model's 1 keys fit, rule: exact\n");
    matched_fini(&m);
}

Test(load_report, text_lists_shapes)
{
    static const int64_t file_shape[] = {8, 4}, shape[] = {16, 4};
    matched_t m;
    match_tensors(&m, LKS_DTYPE_F64, 2, file_shape, LKS_DTYPE_F32, 2, shape);
    cr_expect(strstr(lks_load_report_text(m.report),
                     "0 of the model's 1 keys fit, rule: exact\n"
                     "shape mismatch w: file (8, 4), model (16, 4)\n"),
              "%s", lks_load_report_text(m.report));
    matched_fini(&m);
}

Test(load_report, keys_over_the_same_elements_are_aliases)
{
    static const int64_t matrix[] = {4, 4}, empty[] = {0};
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_dict(tree);
    size_t storage = test_storage(tree), other = test_storage(tree);
    lks_value_t *shared = test_tensor(tree, storage, 0, LKS_DTYPE_F32, 2, matrix);
    static const int64_t transposed[] = {1, 4};
    lks_value_tensor_t flipped = *lks_value_tensor(shared);
    flipped.stride = transposed;
    lks_value_set_str(tree, root, "decoder.weight", shared);
    lks_value_set_str(tree, root, "embed.weight", shared);
    lks_value_set_str(tree, root, "tied", test_tensor(tree, storage, 0, LKS_DTYPE_F32, 2, matrix));
    lks_value_set_str(tree, root, "flipped", lks_value_tensor_new(tree, &flipped));
    lks_value_set_str(tree, root, "bits", test_tensor(tree, storage, 0, LKS_DTYPE_I32, 2, matrix));
    lks_value_set_str(tree, root, "later",
                      test_tensor(tree, storage, 16, LKS_DTYPE_F32, 2, matrix));
    lks_value_set_str(tree, root, "part", test_tensor(tree, storage, 0, LKS_DTYPE_F32, 1, matrix));
    lks_value_set_str(tree, root, "other", test_tensor(tree, other, 0, LKS_DTYPE_F32, 2, matrix));
    lks_value_set_str(tree, root, "none", test_tensor(tree, storage, 0, LKS_DTYPE_F32, 1, empty));
    lks_value_set_str(tree, root, "nil", test_tensor(tree, storage, 0, LKS_DTYPE_F32, 1, empty));
    assert_ok(lks_tree_status(tree));
    lks_state_dict_t *dict;
    lks_load_report_t *report;
    assert_ok(lks_state_dict_find(tree, root, NULL, &dict));
    assert_ok(lks_load_report_create(NULL, 0, dict, &report));
    const char *line = strstr(lks_load_report_text(report), "aliases ");
    cr_assert(line);
    cr_expect_str_eq(line, "aliases decoder.weight, embed.weight, tied\n");
    lks_load_report_destroy(report);
    lks_state_dict_destroy(dict);
    lks_tree_destroy(tree);
}

Test(load_report, hostile_names_are_shown_harmless)
{
    char *key = malloc(100001);
    memset(key, 'x', 100000);
    key[100000] = '\0';
    memcpy(key, "\x1b[2J\n\xff", 6);
    const char *const file[] = {key, ""}, *const model[] = {"w"};
    matched_t m;
    match_names(&m, file, 2, model, 1);
    const char *message = message_of(&m);
    cr_expect(strstr(message, "2 unexpected (\\x1b[2J\\x0a\\xffxxxx"), "%s", message);
    cr_expect(strstr(message, "xx..., '')"), "%s", message);
    const char *text = lks_load_report_text(m.report);
    cr_expect_null(strchr(text, '\x1b'));
    cr_expect_lt(strlen(text), 2000);
    matched_fini(&m);
    free(key);
}

Test(load_report, match_names_are_words)
{
    cr_expect_str_eq(lks_match_name(LKS_MATCH_RENAMED), "renamed");
    cr_expect_str_eq(lks_match_name(LKS_MATCH_COUNT), "unknown match");
    lks_load_report_destroy(NULL);
}
