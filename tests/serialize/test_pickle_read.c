/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/pickle_read.h"
#include "serialize/tree_text.h"
#include "serialize/value_node.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

#define LITERAL(text) (text), sizeof(text) - 1

static lks_tree_t *tree;

static void setup(void)
{
    assert_ok(lks_tree_create(&tree));
}

static void teardown(void)
{
    lks_tree_destroy(tree);
}

TestSuite(pickle_read, .init = setup, .fini = teardown);

static lks_status_t read_pickle(const void *data, size_t nbytes)
{
    size_t used;
    lks_value_t *root;
    LKS_TRY(lks_pickle_read("data.pkl", data, nbytes, NULL, tree, &used, &root));
    lks_tree_set_root(tree, root);
    return LKS_OK;
}

static void assert_reads(const char *data, size_t nbytes, const char *expected)
{
    teardown();
    setup();
    assert_ok(read_pickle(data, nbytes));
    lks_strbuf_t text = test_tree_text(tree);
    cr_assert_str_eq(lks_strbuf_text(&text), expected, "found %s, expected %s",
                     lks_strbuf_text(&text), expected);
    lks_strbuf_fini(&text);
}

#define reads(bytes, expected) assert_reads(LITERAL(bytes), expected)

/* Every message says where. */
static void assert_refuses(const char *data, size_t nbytes, lks_status_t wanted,
                           const char *message)
{
    teardown();
    setup();
    assert_fails(read_pickle(data, nbytes), wanted, message);
    cr_assert(strstr(lks_last_error()->message, "data.pkl at byte "), "%s",
              lks_last_error()->message);
}

#define refuses(bytes, message) assert_refuses(LITERAL(bytes), LKS_ERR_FORMAT, message)

Test(pickle_read, a_mark_may_close_before_anything_was_pushed)
{
    reads("(1N.", "none");
}

Test(pickle_read, ints_of_every_opcode)
{
    reads("K\xff.", "int 255");
    reads("M\xff\xff.", "int 65535");
    reads("J\xfe\xff\xff\xff.", "int -2");
    reads("\x8a\x00.", "int 0");
    reads("\x8a\x01\x80.", "int -128");
    reads("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", "int 9223372036854775807");
    reads("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00.", "bigint 000000000000008000");
    reads("\x8b\x02\x00\x00\x00\x01\x01.", "int 257");
    reads("I17\n.", "int 17");
    reads("I-17\n.", "int -17");
    reads("I00\n.", "bool false");
    reads("I01\n.", "bool true");
    reads("L17L\n.", "int 17");
    reads("L-9223372036854775808L\n.", "int -9223372036854775808");
    reads("L18446744073709551616L\n.", "bigint 000000000000000001");
    reads("L-18446744073709551617\n.", "bigint fffffffffffffffffe");
}

Test(pickle_read, other_scalars_of_every_opcode)
{
    reads("N.", "none");
    reads("\x88.", "bool true");
    reads("\x89.", "bool false");
    reads("G\x3f\xf8\0\0\0\0\0\0.", "float 3ff8000000000000");
    reads("F1.5\n.", "float 3ff8000000000000");
    reads("F-inf\n.", "float fff0000000000000");
    reads("F1e-5\n.", "float 3ee4f8b588e368f1");
}

Test(pickle_read, texts_of_every_opcode)
{
    reads("X\3\0\0\0a\0b.", "str a\\x00b");
    reads("\x8c\2\xc3\xa4.", "str \\xc3\\xa4");
    reads("\x8d\1\0\0\0\0\0\0\0z.", "str z");
    reads("X\3\0\0\0\xed\xa0\x80.", "str \\xed\\xa0\\x80");
    reads("Va\\u00e4\\U0001f600\\\\u0041\xe4\n.",
          "str a\\xc3\\xa4\\xf0\\x9f\\x98\\x80\\x5c\\x5cu0041\\xc3\\xa4");
    reads("U\2ab.", "str ab");
    reads("T\2\0\0\0\xff\xfe.", "bytes fffe");
    reads("S'a\\x41\\101\\n\\'\\\\'\n.", "str aAA\\x0a'\\x5c");
    reads("S\"it's\"\n.", "str it's");
    reads("C\2\0\1.", "bytes 0001");
    reads("B\1\0\0\0\x7f.", "bytes 7f");
    reads("\x8e\1\0\0\0\0\0\0\0\x7f.", "bytes 7f");
    reads("\x96\1\0\0\0\0\0\0\0\x7f.",
          "#0 object reduce callable global builtins.bytearray arguments #1 (bytes 7f, )");
}

Test(pickle_read, containers_of_every_opcode)
{
    reads(").", "()");
    reads("N\x85.", "#0 (none, )");
    reads("NN\x86.", "#0 (none, none, )");
    reads("NNN\x87.", "#0 (none, none, none, )");
    reads("(K\1K\2K\3K\4t.", "#0 (int 1, int 2, int 3, int 4, )");
    reads("(t.", "()");
    reads("].", "#0 []");
    reads("(K\1K\2l.", "#0 [int 1, int 2, ]");
    reads("]K\1a.", "#0 [int 1, ]");
    reads("](K\1K\2e.", "#0 [int 1, int 2, ]");
    reads("}.", "#0 {}");
    reads("(K\1K\2d.", "#0 {int 1: int 2,\n}");
    reads("}K\1K\2s.", "#0 {int 1: int 2,\n}");
    reads("}(K\1K\2K\3K\4u.", "#0 {int 1: int 2,\nint 3: int 4,\n}");
    reads("\x8f(K\1\x90.",
          "#0 object reduce callable global builtins.set arguments #1 (#2 [int 1, ], )");
    reads("(K\1\x91.",
          "#0 object reduce callable global builtins.frozenset arguments #1 (#2 [int 1, ], )");
}

Test(pickle_read, names_become_those_of_python_3)
{
    reads("\x80\2c__builtin__\nxrange\n.", "global builtins.range");
    reads("\x80\2c__builtin__\nset\n.", "global builtins.set");
    reads("\x80\2ccopy_reg\n_reconstructor\n.", "global copyreg._reconstructor");
    reads("\x80\2cexceptions\nValueError\n.", "global builtins.ValueError");
    reads("\x80\2ctorch\nfloat32\n.", "global torch.float32");
    reads("\x80\3c__builtin__\nset\n.", "global __builtin__.set");
    reads("\x80\4\x8c\1a\x8c\3b.c\x93.", "global a.b.c");
}

Test(pickle_read, calls_and_instances_stay_data)
{
    reads("cos\nsystem\nX\2\0\0\0ls\x85R.",
          "#0 object reduce callable global os.system arguments #1 (str ls, )");
    reads("ca\nB\n)\x81}X\1\0\0\0kK\1sb.",
          "#0 object new callable global a.B arguments ()\n state #1 {str k: int 1,\n}");
    reads("(ia\nB\n.", "#0 object new callable global a.B arguments ()");
    reads("(K\1ia\nB\n.", "#0 object reduce callable global a.B arguments #1 (int 1, )");
    reads("(ca\nB\nK\1o.", "#0 object reduce callable global a.B arguments #1 (int 1, )");
    reads("ca\nB\n)}\x92.", "#0 object new callable global a.B arguments ()");
    reads("ca\nB\n)}K\1K\2s\x92.",
          "#0 object reduce callable global copyreg.__newobj_ex__ arguments "
          "#1 (global a.B, (), #2 {int 1: int 2,\n}, )");
    reads("ca\nB\n)\x81K\1aK\2K\3s.",
          "#0 object new callable global a.B arguments ()\n items #1 [int 1, ]\n entries "
          "#2 {int 2: int 3,\n}");
    reads("N)R.", "#0 object reduce callable none arguments ()");
}

Test(pickle_read, a_few_calls_are_plain_values)
{
    reads("ccollections\nOrderedDict\n)R(K\1K\2u.", "#0 ordered {int 1: int 2,\n}");
    reads("ccollections\nOrderedDict\n]((K\1K\2l(K\1K\3l(K\4K\5le\x85R.",
          "#0 ordered {int 1: int 3,\nint 4: int 5,\n}");
    reads("ccollections\nOrderedDict\n)R}X\1\0\0\0aK\1sb.",
          "#0 ordered {} attributes #1 {str a: int 1,\n}");
    reads("c_codecs\nencode\nX\3\0\0\0a\xc3\xbfX\6\0\0\0latin1\x86R.", "bytes 61ff");
    reads("(c_codecs\nencode\nX\3\0\0\0a\xc3\xbfX\6\0\0\0latin1o.", "bytes 61ff");
    reads("(X\3\0\0\0a\xc3\xbfX\6\0\0\0latin1i_codecs\nencode\n.", "bytes 61ff");
    reads("\x80\2c__builtin__\nbytes\n)R.", "bytes ");
    reads("c_codecs\nencode\nX\2\0\0\0\xc4\x80X\6\0\0\0latin1\x86R.",
          "#0 object reduce callable global _codecs.encode arguments #1 (str \\xc4\\x80, str "
          "latin1, )");
    reads("ccollections\nOrderedDict\nK\1\x85R.",
          "#0 object reduce callable global collections.OrderedDict arguments #1 (int 1, )");
}

Test(pickle_read, the_memo_shares_and_closes_cycles)
{
    reads("]q\0h\0a.", "#0 [*0, ]");
    reads("]p5\n0g5\ng5\n\x86.", "#0 (#1 [], *1, )");
    reads("]r\xff\xff\xff\xffj\xff\xff\xff\xff\x86.", "#0 (#1 [], *1, )");
    reads("]\x94]\x94h\0h\1\x86\x86\x86.", "#0 (#1 [], #2 (#3 [], #4 (*1, *3, ), ), )");
    reads("K\1q\5K\2q\0K\3q\1(h\5h\0h\1t.", "#0 (int 1, int 2, int 3, )");
    reads("]]q\1h\1\x87.", "#0 (#1 [], #2 [], *2, )");
}

Test(pickle_read, the_machine_pops_marks_and_values)
{
    reads("K\1(K\2K\0031.", "int 1");
    reads("K\1(0.", "int 1");
    reads("K\1K\0020.", "int 1");
    reads("]2\x86.", "#0 (#1 [], *1, )");
    reads("\x80\4\x95\2\0\0\0\0\0\0\0N.", "none");
}

/* A recursive tuple, as pickle.dumps writes it: t = ([t],). */
Test(pickle_read, a_recursive_tuple_is_read)
{
    reads("\x80\2]q\0h\0\x85q\1a0h\1.", "#0 (#1 [*0, ], )");
}

Test(pickle_read, truncated_arguments_say_what_is_missing)
{
    refuses("X\x28\x23\0\0abc.", "data.pkl at byte 0: BINUNICODE wants 9000 bytes, 4 left");
    refuses("X\1\0", "BINUNICODE wants a number of 4 bytes, 2 left");
    refuses("\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
            "BINUNICODE8 wants 18446744073709551615 bytes");
    refuses("B\xff\xff\xff\xff.", "BINBYTES wants 4294967295 bytes, 1 left");
    refuses("\x8b\xff\xff\xff\xff.", "LONG4 has the negative length -1");
    refuses("\x8b\xff\xff\xff\x7f.", "LONG4 wants 2147483647 bytes");
    refuses("G\0\0.", "BINFLOAT wants 8 bytes");
    refuses("\x95\xff\0\0\0\0\0\0\0N.", "FRAME wants 255 bytes");
    refuses("ca\nb", "GLOBAL wants a line");
    refuses("I17", "INT wants a line");
}

Test(pickle_read, a_broken_stack_is_refused)
{
    refuses(".", "STOP finds no value on the stack");
    refuses("0.", "POP finds no value");
    refuses("a.", "APPEND finds no value");
    refuses("K\1t.", "TUPLE finds no mark");
    refuses("1.", "POP_MARK finds no mark");
    refuses("K\1\x86.", "TUPLE2 finds no value");
    refuses("K\1(\x85.", "TUPLE1 finds no value");
    refuses("](K\1.", "STOP finds a mark");
    refuses("K\1q\0000q\1.", "BINPUT finds no value");
    refuses("(o.", "OBJ finds no class");
    refuses("N", "the pickle ends without STOP");
    refuses("", "the pickle ends without STOP");
    refuses("\x01", "0x01 is no pickle opcode");
}

Test(pickle_read, values_of_the_wrong_kind_are_refused)
{
    refuses("K\1K\2a.", "APPEND wants list, found int");
    refuses(")K\2a.", "APPEND wants list, found tuple");
    refuses("]K\1K\2s.", "SETITEM wants dict, found list");
    refuses("}(K\1u.", "SETITEMS has a key without a value");
    refuses("}]K\1s.", "SETITEM: a dict key of kind list is not hashable");
    refuses("ca\nb\nK\1R.", "REDUCE wants a tuple of arguments, found int");
    refuses("ca\nb\nK\1\x81.", "NEWOBJ wants a tuple");
    refuses("ca\nb\n)K\1\x92.", "NEWOBJ_EX wants a dict of keywords");
    refuses("]}b.", "BUILD wants an object, found list");
    refuses("}}b.", "BUILD wants an object, found dict");
    refuses("ca\nB\n)\x81}b}b.", "BUILD sets the state of an object twice");
    refuses("K\1K\2\x93.", "STACK_GLOBAL wants two str, found int");
    refuses("c\nb\n.", "GLOBAL wants the names");
    refuses("ca\n\xff\n.", "GLOBAL wants the names");
    refuses("\x8c\2a\0\x8c\1b\x93.", "STACK_GLOBAL wants the names");
    refuses("X\1\0\0\0\xff.", "BINUNICODE wants UTF-8");
    refuses("I1x\n.", "INT wants a decimal int");
    refuses("I\n.", "INT wants a decimal int");
    refuses("F0x1p3\n.", "FLOAT wants a decimal float");
    refuses("F\n.", "FLOAT wants a decimal float");
    refuses("Sabc\n.", "STRING wants a quoted string");
    refuses("S'\n.", "STRING wants a quoted string");
    refuses("S'\\q'\n.", "STRING wants a valid escape");
    refuses("S'\\'\n.", "STRING wants a valid escape");
    refuses("V\\u12\n.", "UNICODE wants hex digits");
    refuses("h\7.", "BINGET wants memo entry 7, which was never put");
    refuses("g99999999999\n.", "GET wants a memo index below 2^32");
    refuses("g\n.", "GET wants a memo index");
    refuses("K\1Q.", "BINPERSID names something outside");
    refuses("P1\n.", "PERSID names something outside");
}

Test(pickle_read, what_only_its_writer_could_read_is_unsupported)
{
    assert_refuses(LITERAL("\x82\1."), LKS_ERR_UNSUPPORTED, "EXT1");
    assert_refuses(LITERAL("\x97."), LKS_ERR_UNSUPPORTED, "NEXT_BUFFER");
    assert_refuses(LITERAL("\x80\6N."), LKS_ERR_UNSUPPORTED, "PROTO names protocol 6");
}

Test(pickle_read, where_the_pickle_ended_is_told)
{
    size_t used = 0;
    lks_value_t *root;
    assert_ok(lks_pickle_read("x", LITERAL("K\1.K\2."), NULL, tree, &used, &root));
    cr_assert_eq(used, 3);
}

static char *repeated(const char *piece, size_t count, const char *tail)
{
    size_t length = strlen(piece), end = strlen(tail);
    char *text = malloc(length * count + end + 1);
    cr_assert(text);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + i * length, piece, length);
    }
    memcpy(text + length * count, tail, end + 1);
    return text;
}

Test(pickle_read, three_hundred_thousand_nested_lists_are_read)
{
    const size_t depth = 300000;
    char *open = repeated("]", depth, ""), *all = malloc(2 * depth + 1);
    cr_assert(all);
    memcpy(all, open, depth);
    memset(all + depth, 'a', depth - 1);
    all[2 * depth - 1] = '.';
    assert_ok(read_pickle(all, 2 * depth));
    size_t found = 0;
    for (const lks_value_t *at = lks_tree_root(tree); at; at = lks_value_at(at, 0)) {
        found++;
    }
    cr_assert_eq(found, depth);
    free(open);
    free(all);
}

/* Limits hold against the stack, the marks, the memo and the nesting, and name themselves. */
Test(pickle_read, limits_stop_bombs)
{
    const struct {
        const char *piece;
        size_t count;
        const char *tail;
        const char *message;
    } cases[] = {
        {"N", 3000000, ".", "needs more than the limit of 10000000 bytes"},
        {"(", 3000000, ".", "nests deeper than the limit of 100000"},
        {"]", 3000000, ".", "limit of"},
        {"N2", 3000000, ".", "needs more than the limit of 10000000 bytes"},
    };
    const lks_checkpoint_limits_t limits = {
        .memory = 10000000, .max_depth = 100000, .max_nodes = 1000000};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_tree_t *limited;
        size_t used;
        lks_value_t *root;
        assert_ok(lks_tree_create_limited(&limits, &limited));
        char *text = repeated(cases[i].piece, cases[i].count, cases[i].tail);
        assert_fails(lks_pickle_read("x", text, strlen(text), NULL, limited, &used, &root),
                     LKS_ERR_FORMAT, cases[i].message);
        free(text);
        lks_tree_destroy(limited);
    }
}

Test(pickle_read, a_memo_bomb_stops_at_the_memory_limit)
{
    const size_t count = 1000000;
    unsigned char *text = malloc(5 * count + 3), *at = text;
    cr_assert(text);
    *at++ = 'N';
    for (size_t i = 0; i < count; i++) {
        uint32_t index = (uint32_t)(i * 7 + 3);
        *at++ = 'r';
        memcpy(at, &index, 4);
        at += 4;
    }
    *at++ = '.';
    const lks_checkpoint_limits_t limits = {
        .memory = 1000000, .max_depth = 1000, .max_nodes = 1000};
    lks_tree_t *limited;
    size_t used;
    lks_value_t *root;
    assert_ok(lks_tree_create_limited(&limits, &limited));
    assert_fails(lks_pickle_read("x", text, (size_t)(at - text), NULL, limited, &used, &root),
                 LKS_ERR_FORMAT, "LONG_BINPUT needs more than the limit of 1000000 bytes");
    lks_tree_destroy(limited);
    free(text);
}

Test(pickle_read, nested_tuples_count_as_depth)
{
    const lks_checkpoint_limits_t limits = {
        .memory = SIZE_MAX, .max_depth = 1000, .max_nodes = SIZE_MAX};
    lks_tree_t *limited;
    size_t used;
    lks_value_t *root;
    assert_ok(lks_tree_create_limited(&limits, &limited));
    char *text = repeated("\x85", 2000, ".");
    text[0] = 'N';
    assert_fails(lks_pickle_read("x", text, 2001, NULL, limited, &used, &root), LKS_ERR_FORMAT,
                 "TUPLE1: values nested deeper than the limit of 1000");
    free(text);
    lks_tree_destroy(limited);
}

Test(pickle_read, decimal_ints_beyond_pythons_limit_are_refused)
{
    char *text = repeated("9", 4301, "\n.");
    text[0] = 'I';
    assert_ok(read_pickle(text, strlen(text)));
    free(text);
    text = repeated("9", 4302, "\n.");
    text[0] = 'I';
    assert_refuses(text, strlen(text), LKS_ERR_FORMAT, "up to 4300 digits");
    free(text);
}
