/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule is taken, and what is found under it. */
#include "serialize/matched.h"

#include <stdio.h>

typedef struct rule_case {
    const char *file, *model, *rule;
    size_t found, missing, unexpected;
} rule_case_t;

static void check_cases(const rule_case_t *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const rule_case_t *c = &cases[i];
        matched_t m;
        match_words(&m, c->file, c->model);
        size_t missing = lks_load_report_count_of(m.report, LKS_MATCH_MISSING);
        size_t unexpected = lks_load_report_count_of(m.report, LKS_MATCH_UNEXPECTED);
        cr_expect_str_eq(lks_load_report_rule(m.report), c->rule,
                         "{%s} into {%s}: '%s', wanted '%s'", c->file, c->model,
                         lks_load_report_rule(m.report), c->rule);
        cr_expect_eq(m.count - missing, c->found, "{%s} into {%s}: found %zu", c->file, c->model,
                     m.count - missing);
        cr_expect_eq(missing, c->missing, "{%s} into {%s}: missing %zu", c->file, c->model,
                     missing);
        cr_expect_eq(unexpected, c->unexpected, "{%s} into {%s}: unexpected %zu", c->file, c->model,
                     unexpected);
        matched_fini(&m);
    }
}
#define CHECK_CASES(cases) check_cases(cases, sizeof(cases) / sizeof(cases)[0])

Test(match, exact)
{
    static const rule_case_t cases[] = {
        {"fc.0.weight fc.0.bias", "fc.0.weight fc.0.bias", "exact", 2, 0, 0},
        {"fc.0.bias fc.0.weight", "fc.0.weight fc.0.bias", "exact", 2, 0, 0},
        {"w extra", "w", "exact", 1, 0, 1},
        {"w", "v", "exact", 0, 1, 1},
        {"w", "", "exact", 0, 0, 1},
        {"module.w", "module.w", "exact", 1, 0, 0},
        {"_orig_mod.w", "_orig_mod.w", "exact", 1, 0, 0},
    };
    CHECK_CASES(cases);
}

Test(match, module_goes_from_every_key_or_from_none)
{
    static const rule_case_t cases[] = {
        {"module.fc.weight module.fc.bias", "fc.weight fc.bias", "strip module.", 2, 0, 0},
        {"module.module.w module.module.b", "w b", "strip module. x2", 2, 0, 0},
        {"module.module.w module.b", "w b", "strip module.", 1, 1, 1},
        {"module.w b", "w c", "exact", 0, 2, 2},
        {"module.w module.x", "w", "strip module.", 1, 0, 1},
        {"modules.w modules.b", "w b", "strip prefix \"modules.\"", 2, 0, 0},
        {"MODULE.w", "w", "strip prefix \"MODULE.\"", 1, 0, 0},
    };
    CHECK_CASES(cases);
}

Test(match, real_submodule_called_module_is_left_alone)
{
    static const rule_case_t cases[] = {
        {"module.0.weight module.0.bias", "module.0.weight module.0.bias", "exact", 2, 0, 0},
        {"module.module.0.weight", "module.0.weight", "strip module.", 1, 0, 0},
        {"module.module.module.0.weight", "module.0.weight", "strip module. x2", 1, 0, 0},
        {"0.weight", "module.0.weight", "add prefix \"module.\"", 1, 0, 0},
        {"fc.weight module.weight", "fc.weight module.weight", "exact", 2, 0, 0},
        {"module.fc.weight module.module.weight", "fc.weight module.weight", "strip module.", 2, 0,
         0},
        {"submodule.weight module_list.0", "submodule.weight module_list.0", "exact", 2, 0, 0},
        {"module.submodule.weight", "submodule.weight", "strip module.", 1, 0, 0},
        {"module.fc.module.weight", "fc.module.weight", "strip module.", 1, 0, 0},
        {"_orig_mod.module.0.weight", "module.0.weight", "strip wrappers", 1, 0, 0},
    };
    CHECK_CASES(cases);
}

Test(match, averaged_model_has_a_counter_beside_its_module)
{
    static const rule_case_t cases[] = {
        {"n_averaged module.fc.weight", "fc.weight", "strip module.", 1, 0, 1},
        {"n_averaged module.module.w", "w", "strip module. x2", 1, 0, 1},
        {"n_averaged module.w", "n_averaged w", "strip module.", 2, 0, 0},
        {"n_averaged", "w", "exact", 0, 1, 1},
        {"x.n_averaged module.w", "w v", "exact", 0, 2, 2},
    };
    CHECK_CASES(cases);
}

Test(match, wrappers_go_anywhere_as_whole_components)
{
    static const rule_case_t cases[] = {
        {"_orig_mod.fc.weight other", "fc.weight other", "strip wrappers", 2, 0, 0},
        {"_orig_mod.fc.weight _orig_mod.fc.bias", "fc.weight fc.bias", "strip wrappers", 2, 0, 0},
        {"fc._fsdp_wrapped_module.w b", "fc.w b", "strip wrappers", 2, 0, 0},
        {"layers._checkpoint_wrapped_module.0.w layers.1.w", "layers.0.w layers.1.w",
         "strip wrappers", 2, 0, 0},
        {"_fsdp_wrapped_module._fpw_module.w", "w", "strip wrappers", 1, 0, 0},
        {"module._orig_mod.w module._orig_mod.b", "w b", "strip wrappers, strip module.", 2, 0, 0},
        {"_orig_mod.module.w", "w", "strip wrappers, strip module.", 1, 0, 0},
        {"module._orig_mod.module.w", "w", "strip wrappers, strip module. x2", 1, 0, 0},
        {"my_orig_mod.x", "my.x", "exact", 0, 1, 1},
        {"my_orig_mod.x", "x", "strip prefix \"my_orig_mod.\"", 1, 0, 0},
        {"a._orig_mod", "a", "exact", 0, 1, 1},
    };
    CHECK_CASES(cases);
}

Test(match, rule_that_makes_two_keys_equal_is_not_applied)
{
    static const rule_case_t cases[] = {
        {"a._orig_mod.w a.w b._orig_mod.w", "a.w b.w", "exact", 1, 1, 2},
        {"_orig_mod.x x _orig_mod.w", "w v", "exact", 0, 2, 3},
        {"fc.weight backbone.fc.weight backbone.fc.bias", "fc.weight fc.bias", "exact", 1, 1, 2},
    };
    CHECK_CASES(cases);
}

Test(match, prefix_is_stripped)
{
    static const rule_case_t cases[] = {
        {"backbone.fc.0.weight", "fc.0.weight", "strip prefix \"backbone.\"", 1, 0, 0},
        {"model.net.w model.net.b", "w b", "strip prefix \"model.net.\"", 2, 0, 0},
        {"model.w model.b model.c", "w b", "strip prefix \"model.\"", 2, 0, 1},
        {"model.w model.b", "w c", "strip prefix \"model.\"", 1, 1, 1},
        {"a.b.w", "b.w", "strip prefix \"a.\"", 1, 0, 0},
        {"a.b.w a.b.b.w", "w b.w", "strip prefix \"a.b.\"", 2, 0, 0},
        {"encoder.weight encoders.bias", "weight bias", "exact", 0, 2, 2},
    };
    CHECK_CASES(cases);
}

Test(match, prefix_of_some_keys_is_stripped_if_it_alone_finds_everything)
{
    static const rule_case_t cases[] = {
        {"backbone.w backbone.b head.w", "w b", "strip prefix \"backbone.\"", 2, 0, 1},
        {"student.w student.b teacher.w teacher.b", "w b", "exact", 0, 2, 4},
        {"student.w student.b teacher.w", "w b", "strip prefix \"student.\"", 2, 0, 1},
        {"backbone.w head.w", "w b", "exact", 0, 2, 2},
        {"module.w module.b other", "w b", "exact", 0, 2, 3},
        {"module.encoder.w other", "w", "exact", 0, 1, 2},
    };
    CHECK_CASES(cases);
}

Test(match, prefix_is_added)
{
    static const rule_case_t cases[] = {
        {"0.weight", "fc.0.weight", "add prefix \"fc.\"", 1, 0, 0},
        {"0.w 0.b", "net.fc.0.w net.fc.0.b", "add prefix \"net.fc.\"", 2, 0, 0},
        {"0.w 2.w", "fc.0.w fc.1.w", "add prefix \"fc.\"", 1, 1, 1},
        {"w b", "backbone.w backbone.b head.w", "add prefix \"backbone.\"", 2, 1, 0},
        {"w b", "left.w left.b right.w right.b", "exact", 0, 4, 2},
        {"w c", "backbone.w head.b", "exact", 0, 2, 2},
    };
    CHECK_CASES(cases);
}

Test(match, prefixes_combine_with_what_wrappers_left)
{
    static const rule_case_t cases[] = {
        {"module.0.weight", "fc.0.weight", "strip module., add prefix \"fc.\"", 1, 0, 0},
        {"module.module.0.w", "fc.0.w", "strip module. x2, add prefix \"fc.\"", 1, 0, 0},
        {"module.backbone.w module.head.w module.backbone.b", "w b",
         "strip module., strip prefix \"backbone.\"", 2, 0, 1},
        {"_orig_mod.module.model.w", "w", "strip wrappers, strip module., strip prefix \"model.\"",
         1, 0, 0},
        {"model._orig_mod.w", "w", "strip wrappers, strip prefix \"model.\"", 1, 0, 0},
        {"module.0._orig_mod.w", "fc.0.w", "strip wrappers, strip module., add prefix \"fc.\"", 1,
         0, 0},
        {"backbone.module.0.w", "module.0.w", "strip prefix \"backbone.\"", 1, 0, 0},
    };
    CHECK_CASES(cases);
}

Test(match, rule_that_finds_everything_beats_one_that_has_less_left_over)
{
    static const rule_case_t cases[] = {
        {"w x.w", "w", "exact", 1, 0, 1},
        {"w x.w x.b", "w b", "exact", 1, 1, 2}, /* stripping x. would collide */
        {"module.w module.fc.w module.fc.b", "w", "strip module.", 1, 0, 2},
    };
    CHECK_CASES(cases);
}

Test(match, names_of_nothing_but_dots_and_wrappers_are_just_names)
{
    static const rule_case_t cases[] = {
        {"module.", "module.", "exact", 1, 0, 0},
        {"module.", "w", "exact", 0, 1, 1},
        {"module.module.", "module.", "strip module.", 1, 0, 0},
        {". .. ...", ". .. ...", "exact", 3, 0, 0},
        {"module.. module...", ". ..", "strip module.", 2, 0, 0},
        {"_orig_mod. _orig_mod.x", "x y", "strip wrappers", 1, 1, 1},
        {"module.\xff.\xfe module.w", "\xff.\xfe w", "strip module.", 2, 0, 0},
    };
    CHECK_CASES(cases);
}

Test(match, empty_key_is_a_key)
{
    const char *const with[] = {"", "module.w"}, *const model[] = {"", "w"};
    matched_t m;
    match_names(&m, with, 2, with, 2);
    cr_expect(lks_load_report_is_complete(m.report));
    matched_fini(&m);
    match_names(&m, with, 2, model, 2);
    cr_expect_str_eq(lks_load_report_rule(m.report), "exact", "not every key has module.");
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_MISSING), 1);
    matched_fini(&m);
    const char *const behind[] = {"a."}, *const empty[] = {""};
    match_names(&m, behind, 1, empty, 1);
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_MISSING), 1);
    matched_fini(&m);
    match_names(&m, empty, 1, behind, 1);
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_MISSING), 1);
    matched_fini(&m);
}

Test(match, repeated_key_of_the_model_is_invalid)
{
    matched_t m;
    match_words(&m, "a b", "a b");
    lks_key_spec_t twice[] = {m.specs[0], m.specs[1], m.specs[0]};
    lks_load_report_t *report = NULL;
    assert_fails(lks_load_report_create(twice, 3, m.dict, &report), LKS_ERR_INVALID_ARG,
                 "the model has the key 'a' twice");
    cr_assert_null(report);
    matched_fini(&m);
}

Test(match, module_repeated_without_end_is_stripped_a_few_times)
{
    size_t repeats = 100000, length = repeats * strlen("module.");
    char *key = malloc(length + 2);
    for (size_t i = 0; i < repeats; i++) {
        memcpy(key + i * strlen("module."), "module.", strlen("module."));
    }
    memcpy(key + length, "w", 2);
    const char *const file[] = {key}, *const model[] = {"w"};
    const char *const nearly[] = {key + 4 * strlen("module.")};
    matched_t m;
    match_names(&m, file, 1, model, 1);
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_MISSING), 1);
    matched_fini(&m);
    match_names(&m, file, 1, nearly, 1);
    cr_expect_str_eq(lks_load_report_rule(m.report), "strip module. x4");
    cr_expect(lks_load_report_is_complete(m.report));
    matched_fini(&m);
    free(key);
}

#define MANY 100000
#define ROOM 40

static char *many_names(const char *format, const char **names)
{
    char *text = malloc((size_t)MANY * ROOM);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(text + (size_t)i * ROOM, ROOM, format, i);
        names[i] = text + (size_t)i * ROOM;
    }
    return text;
}

Test(match, hundred_thousand_keys_under_a_late_rule)
{
    static const char *file[MANY], *model[MANY];
    char *file_text = many_names("module.blocks.%d.weight", file);
    char *model_text = many_names("net.blocks.%d.weight", model);
    matched_t m;
    match_names(&m, file, MANY, model, MANY);
    cr_expect_str_eq(lks_load_report_rule(m.report), "strip module., add prefix \"net.\"");
    cr_expect(lks_load_report_is_complete(m.report));
    matched_fini(&m);
    free(file_text);
    free(model_text);
}

Test(match, hundred_thousand_keys_that_have_nothing_in_common)
{
    static const char *file[MANY], *model[MANY];
    char *file_text = many_names("a.b.c.d.e.f.%d.weight", file);
    char *model_text = many_names("g.h.i.j.k.l.%d.bias", model);
    matched_t m;
    match_names(&m, file, MANY, model, MANY);
    cr_expect_str_eq(lks_load_report_rule(m.report), "exact");
    cr_expect_eq(lks_load_report_count(m.report), 2 * MANY);
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_MISSING), MANY);
    cr_expect_eq(lks_load_report_count_of(m.report, LKS_MATCH_UNEXPECTED), MANY);
    matched_fini(&m);
    free(file_text);
    free(model_text);
}
