/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/key_table.h"
#include "serialize/keys.h"
#include "serialize/name_text.h"
#include "support/support.h"

#include <lockstep/state_dict.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *key, *wanted;
} canonical_cases[] = {
    {"fc.0.weight", "fc.0.weight"},
    {"weight", "weight"},
    {"", ""},
    {"module.fc.0.weight", "fc.0.weight"},
    {"module.module.weight", "weight"},
    {"module.0.weight", "0.weight"},
    {"fc.module.weight", "fc.module.weight"},
    {"submodule.weight", "submodule.weight"},
    {"module_list.0.weight", "module_list.0.weight"},
    {"modules.0", "modules.0"},
    {"MODULE.weight", "MODULE.weight"},
    {"_orig_mod.fc.weight", "fc.weight"},
    {"module._orig_mod.fc.weight", "fc.weight"},
    {"_orig_mod.module.fc.weight", "fc.weight"},
    {"module._orig_mod.module.fc.weight", "fc.weight"},
    {"fc._orig_mod.module.weight", "fc.module.weight"},
    {"my_orig_mod.x", "my_orig_mod.x"},
    {"_orig_mod_2.x", "_orig_mod_2.x"},
    {"layers._checkpoint_wrapped_module.0.weight", "layers.0.weight"},
    {"_fsdp_wrapped_module._fpw_module.a._fsdp_wrapped_module.b", "a.b"},
    {"a._orig_mod", "a._orig_mod"}, /* the tensor's own name */
    {"_orig_mod", "_orig_mod"},
    {"module", "module"},
    {"module.", "module."}, /* nothing would be left */
    {"module.module.", "module."},
    {"_orig_mod.", "_orig_mod."},
    {"module._orig_mod.", "_orig_mod."},
    {"_orig_mod.module.", "module."},
    {"module..", "."},
    {"....", "...."},
    {".module.x", ".module.x"},
    {"module.\xff\xfe.w", "\xff\xfe.w"},
};

Test(keys, canonical_form_drops_whole_wrapper_components_and_nothing_else)
{
    for (size_t i = 0; i < sizeof canonical_cases / sizeof canonical_cases[0]; i++) {
        char out[128];
        cr_assert(lks_key_canonicalize(canonical_cases[i].key, out, sizeof out));
        cr_expect_str_eq(out, canonical_cases[i].wanted, "'%s' became '%s'", canonical_cases[i].key,
                         out);
    }
}

Test(keys, canonical_form_is_its_own_canonical_form)
{
    for (size_t i = 0; i < sizeof canonical_cases / sizeof canonical_cases[0]; i++) {
        char out[128];
        cr_assert(lks_key_canonicalize(canonical_cases[i].wanted, out, sizeof out));
        cr_expect_str_eq(out, canonical_cases[i].wanted);
    }
}

Test(keys, canonical_form_needs_room_for_itself_alone)
{
    char out[10] = "untouched";
    cr_assert_not(lks_key_canonicalize("module.fc.weight", out, 9));
    cr_assert_str_eq(out, "untouched");
    cr_assert(lks_key_canonicalize("module.fc.weight", out, 10));
    cr_assert_str_eq(out, "fc.weight");
    cr_assert_not(lks_key_canonicalize("", out, 0));
    cr_assert(lks_key_canonicalize("", out, 1));
}

Test(keys, very_long_key_is_stripped_in_one_pass)
{
    size_t repeats = 200000, length = repeats * LKS_NAME_MODULE_LENGTH;
    char *key = malloc(length + 2);
    for (size_t i = 0; i < repeats; i++) {
        memcpy(key + i * LKS_NAME_MODULE_LENGTH, LKS_NAME_MODULE, LKS_NAME_MODULE_LENGTH);
    }
    memcpy(key + length, "w", 2);
    char out[2];
    cr_assert(lks_key_canonicalize(key, out, sizeof out));
    cr_assert_str_eq(out, "w");
    cr_assert_eq(lks_name_modules(lks_name(key), 3), 3);
    free(key);
}

Test(keys, front_with_a_wrapper_is_recognized)
{
    cr_expect(lks_front_has_wrapper(lks_name("module.")));
    cr_expect(lks_front_has_wrapper(lks_name("module.encoder.")));
    cr_expect(lks_front_has_wrapper(lks_name("encoder._orig_mod.")));
    cr_expect(lks_front_has_wrapper(lks_name("a._fsdp_wrapped_module.b.")));
    cr_expect_not(lks_front_has_wrapper(lks_name("encoder.module.")), "not in front");
    cr_expect_not(lks_front_has_wrapper(lks_name("submodule.")));
    cr_expect_not(lks_front_has_wrapper(lks_name("my_orig_mod.")));
    cr_expect_not(lks_front_has_wrapper(lks_name("")));
}

static size_t front_of(const char *a, const char *b)
{
    const lks_name_t names[] = {lks_name(a), lks_name(b)};
    size_t front = lks_names_shared_front(names, 2);
    const lks_name_t reversed[] = {names[1], names[0]};
    cr_expect_eq(lks_names_shared_front(reversed, 2), front);
    return front;
}

Test(keys, shared_front_is_whole_components)
{
    cr_expect_eq(front_of("fc.0.weight", "fc.0.bias"), 5);
    cr_expect_eq(front_of("fc.0.weight", "fc.01.weight"), 3);
    cr_expect_eq(front_of("encoder.weight", "encoders.weight"), 0);
    cr_expect_eq(front_of("a.b", "a.b.c"), 2);
    cr_expect_eq(front_of("a.", "a.b"), 0, "nothing would be left of the first");
    cr_expect_eq(front_of("a", "a"), 0);
    cr_expect_eq(front_of("", "a.b"), 0);
    cr_expect_eq(lks_names_shared_front(NULL, 0), 0);
    const lks_name_t one = lks_name("a.b.c");
    cr_expect_eq(lks_names_shared_front(&one, 1), 4);
}

Test(keys, table_finds_names_and_reports_repeats)
{
    lks_name_t names[1000];
    char text[1000][8];
    for (size_t i = 0; i < 1000; i++) {
        (void)snprintf(text[i], sizeof text[i], "k%zu", i % 999);
        names[i] = lks_name(text[i]);
    }
    lks_key_table_t table;
    size_t repeated;
    assert_ok(lks_key_table_init(&table, names, 999, &repeated));
    cr_assert_eq(repeated, SIZE_MAX);
    for (size_t i = 0; i < 999; i++) {
        cr_expect_eq(lks_key_table_find(&table, names[i]), i);
    }
    cr_expect_eq(lks_key_table_find(&table, lks_name("")), SIZE_MAX);
    cr_expect_eq(lks_key_table_find(&table, lks_name("k")), SIZE_MAX);
    lks_key_table_fini(&table);
    assert_ok(lks_key_table_init(&table, names, 1000, &repeated));
    cr_expect_eq(repeated, 999);
    cr_expect_eq(lks_key_table_find(&table, lks_name("k0")), 0);
    lks_key_table_fini(&table);
}

Test(keys, suffix_walk_meets_every_suffix_in_the_table_shortest_first)
{
    const lks_name_t names[] = {lks_name("weight"), lks_name("0.weight"), lks_name("x.fc.0.weight"),
                                lks_name("eight"), lks_name("")};
    lks_key_table_t table;
    size_t repeated, front, index;
    assert_ok(lks_key_table_init(&table, names, 5, &repeated));
    lks_suffix_walk_t walk;
    lks_suffix_walk_init(&walk, &table, lks_name("fc.0.weight"));
    cr_assert(lks_suffix_walk_next(&walk, &front, &index));
    cr_expect(front == 5 && index == 0);
    cr_assert(lks_suffix_walk_next(&walk, &front, &index));
    cr_expect(front == 3 && index == 1);
    cr_expect_not(lks_suffix_walk_next(&walk, &front, &index));
    lks_suffix_walk_init(&walk, &table, lks_name("a."));
    cr_expect_not(lks_suffix_walk_next(&walk, &front, &index), "the empty name is no rest");
    lks_suffix_walk_init(&walk, &table, lks_name("a.b.c.d.e.f.g.h.weight"));
    cr_expect(lks_suffix_walk_next(&walk, &front, &index), "8 components in front");
    lks_suffix_walk_init(&walk, &table, lks_name("a.b.c.d.e.f.g.h.i.weight"));
    cr_expect_not(lks_suffix_walk_next(&walk, &front, &index), "9 components in front");
    lks_key_table_fini(&table);
}

static const struct {
    const char *name, *wanted;
} shown_cases[] = {
    {"fc.weight", "fc.weight"},
    {"", "''"},
    {"a\x1b[2Jb\n", "a\\x1b[2Jb\\x0a"},
    {"\x7f", "\\x7f"},
    {"Gewicht \xc3\xbc", "Gewicht \xc3\xbc"},
    {"\xe2\x82\xac \xf0\x9f\x94\xa5", "\xe2\x82\xac \xf0\x9f\x94\xa5"},
    {"\xc2\x9b", "\\xc2\\x9b"},                   /* a C1 control */
    {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* a surrogate */
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
    {"\xe2\x82", "\\xe2\\x82"},                   /* cut off */
    {"\xe2\x82x", "\\xe2\\x82x"},
    {"\xff\x80", "\\xff\\x80"},
};

Test(keys, shown_name_has_no_controls_and_is_utf8)
{
    for (size_t i = 0; i < sizeof shown_cases / sizeof shown_cases[0]; i++) {
        lks_strbuf_t buf = {0};
        lks_name_append(&buf, lks_name(shown_cases[i].name), 100);
        cr_expect_str_eq(lks_strbuf_text(&buf), shown_cases[i].wanted);
        lks_strbuf_fini(&buf);
    }
}

Test(keys, shown_name_is_cut_between_characters)
{
    lks_strbuf_t buf = {0};
    lks_name_append(&buf, lks_name("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"), 4);
    cr_expect_str_eq(lks_strbuf_text(&buf), "\xe2\x82\xac\xe2\x82\xac...");
    lks_strbuf_clear(&buf);
    lks_name_append(&buf, lks_name("abcd"), 4);
    cr_expect_str_eq(lks_strbuf_text(&buf), "abcd");
    lks_strbuf_fini(&buf);
}
