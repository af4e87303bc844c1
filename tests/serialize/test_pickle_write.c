/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/pickle_ops.h"
#include "serialize/pickle_read.h"
#include "serialize/pickle_write.h"
#include "serialize/tree_text.h"
#include "serialize/value_node.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>

static lks_tree_t *tree;

static void setup(void)
{
    assert_ok(lks_tree_create(&tree));
}

static void teardown(void)
{
    lks_tree_destroy(tree);
}

TestSuite(pickle_write, .init = setup, .fini = teardown);

static lks_status_t refuse_storage(void *context, lks_pickle_writer_t *writer,
                                   const lks_value_t *value)
{
    (void)context;
    (void)writer;
    (void)value;
    return lks_fail(LKS_ERR_UNSUPPORTED, "tensors are not of this test");
}

static lks_status_t refuse_tensor(void *context, lks_pickle_writer_t *writer,
                                  const lks_value_t *value, size_t step, const lks_value_t **next)
{
    (void)step;
    (void)next;
    return refuse_storage(context, writer, value);
}

static const lks_pickle_write_hooks_t hooks = {.tensor = refuse_tensor, .storage = refuse_storage};

static lks_strbuf_t pickled(lks_value_t *root)
{
    lks_strbuf_t out = {0};
    assert_ok(lks_tree_status(tree));
    lks_tree_set_root(tree, root);
    assert_ok(lks_pickle_write(root, &hooks, &out));
    return out;
}

/* Reading gives the same tree; the text of the pickle is returned for a closer look. */
static lks_strbuf_t assert_survives(lks_value_t *root)
{
    lks_strbuf_t out = pickled(root);
    lks_tree_t *again;
    size_t used = 0;
    lks_value_t *read;
    assert_ok(lks_tree_create(&again));
    assert_ok(lks_pickle_read("x", out.data, out.length, NULL, again, &used, &read));
    cr_assert_eq(used, out.length);
    lks_tree_set_root(again, read);
    lks_strbuf_t a = test_tree_text(tree), b = test_tree_text(again);
    cr_assert_str_eq(lks_strbuf_text(&a), lks_strbuf_text(&b));
    lks_strbuf_fini(&a);
    lks_strbuf_fini(&b);
    lks_tree_destroy(again);
    return out;
}

static void survives(lks_value_t *root)
{
    lks_strbuf_t out = assert_survives(root);
    lks_strbuf_fini(&out);
}

static void assert_pickle(lks_value_t *root, const char *bytes, size_t nbytes)
{
    lks_strbuf_t out = assert_survives(root);
    cr_assert_eq(out.length, nbytes);
    cr_assert(memcmp(out.data, bytes, nbytes) == 0);
    lks_strbuf_fini(&out);
}

#define pickles(root, bytes) assert_pickle(root, bytes, sizeof(bytes) - 1)

Test(pickle_write, ints_take_the_shortest_opcode)
{
    pickles(lks_value_int(tree, 255), "\x80\2K\xff.");
    pickles(lks_value_int(tree, 256), "\x80\2M\0\1.");
    pickles(lks_value_int(tree, 65536), "\x80\2J\0\0\1\0.");
    pickles(lks_value_int(tree, -1), "\x80\2J\xff\xff\xff\xff.");
    pickles(lks_value_int(tree, INT32_MIN), "\x80\2J\0\0\0\x80.");
    pickles(lks_value_int(tree, (int64_t)INT32_MAX + 1), "\x80\2\x8a\5\0\0\0\x80\0.");
    pickles(lks_value_int(tree, INT64_MIN), "\x80\2\x8a\x08\0\0\0\0\0\0\0\x80.");
    survives(lks_value_int(tree, INT64_MAX));
}

Test(pickle_write, bigints_of_any_size_survive)
{
    unsigned char digits[300];
    memset(digits, 0x5a, sizeof digits);
    for (size_t nbytes = 8; nbytes <= sizeof digits; nbytes += nbytes > 250 ? 1 : 13) {
        survives(lks_value_bigint(tree, digits, nbytes));
    }
    pickles(lks_value_bigint(tree, digits, 9), "\x80\2\x8a\x09ZZZZZZZZZ.");
}

Test(pickle_write, scalars_survive)
{
    survives(lks_value_none(tree));
    survives(lks_value_bool(tree, false));
    survives(lks_value_float(tree, -0.0));
    survives(lks_value_float(tree, (double)NAN));
    survives(lks_value_str_n(tree, "a\0\xed\xa0\x80", 5));
    survives(lks_value_bytes(tree, "", 0));
    pickles(lks_value_bytes(tree, "a\xff", 2),
            "\x80\2c_codecs\nencode\nq\0X\3\0\0\0a\xc3\xbfX\6\0\0\0latin1q\1\x86Rq\2.");
    pickles(lks_value_float(tree, 1.5), "\x80\2G\x3f\xf8\0\0\0\0\0\0.");
}

Test(pickle_write, names_are_spelled_as_in_python_2)
{
    pickles(lks_value_global(tree, "builtins", "set"), "\x80\2c__builtin__\nset\nq\0.");
    pickles(lks_value_global(tree, "builtins", "range"), "\x80\2c__builtin__\nxrange\nq\0.");
    pickles(lks_value_global(tree, "copyreg", "x"), "\x80\2c"
                                                    "copy_reg\nx\nq\0.");
    pickles(lks_value_global(tree, "torch", "float32"), "\x80\2ctorch\nfloat32\nq\0.");
}

/* Protocol 2 knows no dots in names. */
Test(pickle_write, a_nested_class_is_fetched_by_getattr)
{
    lks_strbuf_t out = pickled(lks_value_global(tree, "mod", "Outer.Inner.Leaf"));
    static const char expected[] =
        "\x80\2c__builtin__\ngetattr\nq\0h\0cmod\nOuter\nq\1X\5\0\0\0Innerq\2\x86q\3Rq\4"
        "X\4\0\0\0Leafq\5\x86q\6Rq\7.";
    cr_assert_eq(out.length, sizeof expected - 1);
    cr_assert(memcmp(out.data, expected, out.length) == 0);
    lks_strbuf_fini(&out);
}

/* Two classes of one and the same other class share its name; what they are read as is written the same. */
Test(pickle_write, nested_classes_are_written_as_the_calls_they_are_read_as)
{
    lks_value_t *list = lks_value_list(tree), *root;
    lks_value_append(tree, list, lks_value_global(tree, "mod", "Outer.Inner"));
    lks_value_append(tree, list, lks_value_global(tree, "mod", "Outer.Other"));
    lks_value_append(tree, list, lks_value_global(tree, "mod", "Outer"));
    lks_value_append(tree, list, lks_value_str(tree, "Inner"));
    lks_strbuf_t first = pickled(list);
    size_t used;
    const lks_pickle_hooks_t none = {0};
    assert_ok(lks_pickle_read("first", first.data, first.length, &none, tree, &used, &root));
    lks_strbuf_t second = pickled(root);
    cr_assert_eq(second.length, first.length);
    cr_assert(memcmp(second.data, first.data, first.length) == 0);
    lks_strbuf_fini(&first);
    lks_strbuf_fini(&second);
}

Test(pickle_write, equal_strings_and_names_are_written_once)
{
    lks_value_t *list = lks_value_list(tree);
    for (int i = 0; i < 3; i++) {
        lks_value_append(tree, list, lks_value_str(tree, "weight"));
        lks_value_append(tree, list, lks_value_global(tree, "a", "B"));
    }
    pickles(list, "\x80\2]q\0(X\6\0\0\0weightq\1ca\nB\nq\2h\1h\2h\1h\2e.");
}

Test(pickle_write, batches_hold_up_to_a_thousand)
{
    static const size_t sizes[] = {0, 1, 2, 999, 1000, 1001, 1002, 2000, 2001, 3500};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        lks_value_t *list = lks_value_list(tree), *dict = lks_value_dict(tree);
        for (size_t n = 0; n < sizes[i]; n++) {
            lks_value_append(tree, list, lks_value_int(tree, (int64_t)n));
            lks_value_set_int(tree, dict, (int64_t)n, lks_value_none(tree));
        }
        lks_value_t *both = lks_value_tuple(tree);
        lks_value_append(tree, both, list);
        lks_value_append(tree, both, dict);
        survives(both);
    }
}

Test(pickle_write, tuples_of_every_size_survive)
{
    lks_value_t *all = lks_value_list(tree);
    for (int n = 0; n < 6; n++) {
        lks_value_t *tuple = lks_value_tuple(tree);
        for (int i = 0; i < n; i++) {
            lks_value_append(tree, tuple, lks_value_int(tree, i));
        }
        lks_value_append(tree, all, tuple);
        lks_value_append(tree, all, tuple);
    }
    survives(all);
}

Test(pickle_write, objects_survive_with_all_their_parts)
{
    lks_value_t *class = lks_value_global(tree, "argparse", "Namespace");
    lks_value_t *all = lks_value_list(tree);
    for (unsigned parts = 0; parts < 16; parts++) {
        lks_value_t *object = lks_value_object(tree, parts & 1 ? LKS_OBJECT_NEW : LKS_OBJECT_REDUCE,
                                               class, lks_value_tuple(tree));
        if (parts & 2) {
            lks_value_object_set_state(tree, object, lks_value_dict(tree));
        }
        if (parts & 4) {
            lks_value_append(tree, object, lks_value_int(tree, 1));
        }
        if (parts & 8) {
            lks_value_set_str(tree, object, "key", object);
        }
        lks_value_append(tree, all, object);
    }
    survives(all);
}

Test(pickle_write, ordered_dicts_keep_their_attributes)
{
    lks_value_t *dict = lks_value_ordered_dict(tree), *attributes = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "a", lks_value_int(tree, 1));
    lks_value_set_str(tree, attributes, "_metadata", lks_value_ordered_dict(tree));
    lks_value_dict_set_attributes(tree, dict, attributes);
    survives(dict);
}

Test(pickle_write, shared_values_come_back_shared)
{
    lks_value_t *shared = lks_value_list(tree), *all = lks_value_list(tree);
    for (int i = 0; i < 400; i++) { /* memo indices beyond one byte */
        lks_value_t *own = lks_value_list(tree);
        lks_value_append(tree, own, shared);
        lks_value_append(tree, all, own);
    }
    survives(all);
}

Test(pickle_write, cycles_through_containers_survive)
{
    lks_value_t *list = lks_value_list(tree), *dict = lks_value_dict(tree);
    lks_value_append(tree, list, dict);
    lks_value_append(tree, list, list);
    lks_value_set_str(tree, dict, "list", list);
    survives(list);
    lks_value_t *object = lks_value_object(tree, LKS_OBJECT_NEW, lks_value_global(tree, "a", "B"),
                                           lks_value_tuple(tree));
    lks_value_object_set_state(tree, object, object);
    survives(object);
}

/* t = ([t, t],) and object(..., [object]): what CPython writes with POP and a second look into the memo. */
Test(pickle_write, cycles_through_tuples_and_arguments_survive)
{
    lks_value_t *list = lks_value_list(tree), *tuple = lks_value_tuple(tree);
    lks_value_append(tree, list, tuple);
    lks_value_append(tree, list, tuple);
    lks_value_append(tree, tuple, list);
    lks_value_append(tree, tuple, lks_value_list(tree));
    lks_strbuf_t out = pickled(tuple);
    lks_tree_t *again;
    size_t used;
    lks_value_t *read;
    assert_ok(lks_tree_create(&again));
    assert_ok(lks_pickle_read("x", out.data, out.length, NULL, again, &used, &read));
    cr_assert_eq(lks_value_at(lks_value_at(read, 0), 0), read);
    cr_assert_eq(lks_value_at(lks_value_at(read, 0), 1), read);
    lks_tree_destroy(again);
    lks_strbuf_fini(&out);
}

Test(pickle_write, a_tuple_of_nothing_but_itself_is_refused)
{
    lks_value_t *tuple = lks_value_tuple(tree), *dict = lks_value_dict(tree);
    lks_value_append(tree, tuple, lks_value_int(tree, 7));
    lks_value_append(tree, tuple, tuple);
    lks_value_set_str(tree, dict, "bad", tuple);
    lks_strbuf_t out = {0};
    assert_fails(lks_pickle_write(dict, &hooks, &out), LKS_ERR_UNSUPPORTED,
                 "value 'bad.1': it contains itself");
    lks_strbuf_fini(&out);
}

Test(pickle_write, errors_name_the_path_of_the_value)
{
    lks_value_t *root = lks_value_dict(tree), *list = lks_value_list(tree);
    lks_value_t *inner = lks_value_dict(tree);
    lks_value_append(tree, list, lks_value_none(tree));
    lks_value_append(tree, list, inner);
    lks_value_set_int(tree, inner, -3, lks_value_global(tree, "a", "b\nc"));
    lks_value_set_str(tree, root, "optimizer", list);
    lks_strbuf_t out = {0};
    assert_fails(lks_pickle_write(root, &hooks, &out), LKS_ERR_UNSUPPORTED,
                 "value 'optimizer.1.-3': a name with a line break");
    lks_strbuf_fini(&out);
}

Test(pickle_write, three_hundred_thousand_nested_values_are_written)
{
    lks_value_t *value = lks_value_list(tree);
    for (int i = 0; i < 300000; i++) {
        lks_value_t *outer = i % 3 == 0   ? lks_value_list(tree)
                             : i % 3 == 1 ? lks_value_tuple(tree)
                                          : lks_value_dict(tree);
        if (i % 3 == 2) {
            lks_value_set_int(tree, outer, i, value);
        } else {
            lks_value_append(tree, outer, value);
        }
        value = outer;
    }
    survives(value);
}

/* Every opcode that a tree without cycles through tuples makes is one that weights_only allows. */
Test(pickle_write, only_opcodes_that_weights_only_allows)
{
    static const char allowed[] = {
        (char)LKS_OP_PROTO,   LKS_OP_GLOBAL,       (char)LKS_OP_NEWOBJ, LKS_OP_REDUCE,
        LKS_OP_BUILD,         LKS_OP_APPEND,       LKS_OP_APPENDS,      LKS_OP_SETITEM,
        LKS_OP_SETITEMS,      LKS_OP_MARK,         LKS_OP_TUPLE,        (char)LKS_OP_TUPLE1,
        (char)LKS_OP_TUPLE2,  (char)LKS_OP_TUPLE3, LKS_OP_NONE,         (char)LKS_OP_NEWFALSE,
        (char)LKS_OP_NEWTRUE, LKS_OP_EMPTY_TUPLE,  LKS_OP_EMPTY_LIST,   LKS_OP_EMPTY_DICT,
        LKS_OP_BININT,        LKS_OP_BININT1,      LKS_OP_BININT2,      LKS_OP_BINFLOAT,
        LKS_OP_BINUNICODE,    LKS_OP_BINPERSID,    LKS_OP_BINGET,       LKS_OP_LONG_BINGET,
        LKS_OP_BINPUT,        LKS_OP_LONG_BINPUT,  (char)LKS_OP_LONG1,  LKS_OP_STOP};
    lks_value_t *list = lks_value_list(tree), *dict = lks_value_ordered_dict(tree);
    for (int i = 0; i < 300; i++) {
        lks_value_append(tree, list, lks_value_list(tree));
    }
    lks_value_append(tree, list, lks_value_int(tree, INT64_MAX));
    lks_value_append(tree, list, lks_value_float(tree, 0.5));
    lks_value_set(tree, dict, lks_value_none(tree), list);
    lks_value_set(tree, dict, lks_value_bool(tree, true), list);
    lks_value_dict_set_attributes(tree, dict, lks_value_dict(tree));
    lks_strbuf_t out = pickled(dict);
    /* No text in this tree: walk by the opcodes' fixed lengths. */
    for (size_t at = 0; at < out.length;) {
        unsigned char op = (unsigned char)out.data[at++];
        cr_assert(memchr(allowed, op, sizeof allowed), "opcode 0x%02x", op);
        switch (op) {
        case LKS_OP_GLOBAL:
            at = (size_t)(strchr(strchr(out.data + at, '\n') + 1, '\n') - out.data) + 1;
            break;
        case LKS_OP_LONG1: at += 1 + (size_t)(unsigned char)out.data[at]; break;
        case LKS_OP_PROTO:
        case LKS_OP_BININT1:
        case LKS_OP_BINPUT:
        case LKS_OP_BINGET: at += 1; break;
        case LKS_OP_BININT2: at += 2; break;
        case LKS_OP_BININT:
        case LKS_OP_LONG_BINPUT:
        case LKS_OP_LONG_BINGET: at += 4; break;
        case LKS_OP_BINFLOAT: at += 8; break;
        default: break;
        }
    }
    lks_strbuf_fini(&out);
}

Test(pickle_write, a_name_with_nothing_between_its_dots_is_refused)
{
    static const char *const names[] = {".", "Outer.", ".Inner", "a..b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lks_strbuf_t out = {0};
        assert_fails(lks_pickle_write(lks_value_global(tree, "m", names[i]), &hooks, &out),
                     LKS_ERR_UNSUPPORTED, "nothing between its dots");
        lks_strbuf_fini(&out);
    }
}

/* Python 2 had other names for these, and what a pickle calls so is read as what they are now. */
Test(pickle_write, a_name_that_would_be_read_as_another_is_refused)
{
    static const char *const names[][2] = {
        {"cPickle", "c"}, {"builtins", "basestring"}, {"__builtin__", "set"}, {"Queue", "a.b"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lks_strbuf_t out = {0};
        lks_value_t *name = lks_value_global(tree, names[i][0], names[i][1]);
        assert_fails(lks_pickle_write(name, &hooks, &out), LKS_ERR_UNSUPPORTED,
                     "have this name for something else");
        lks_strbuf_fini(&out);
    }
}
