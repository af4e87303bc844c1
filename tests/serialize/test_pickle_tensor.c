/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors read at once beside the same tensors read opcode by opcode: trees, errors and their places are equal. */
#include "serialize/pickle_torch.h"
#include "serialize/tree_text.h"
#include "serialize/value_node.h"
#include "support/support.h"

#include <stdio.h>

#define LITERAL(text) (text), sizeof(text) - 1
#define DEPTH_MAX 12

/* Memo entries 0 to 4. */
#define NAMES                                                                                      \
    "ccollections\nOrderedDict\nq\0"                                                               \
    "0ctorch._utils\n_rebuild_tensor_v2\nq\1"                                                      \
    "0X\7\0\0\0storageq\2"                                                                         \
    "0ctorch\nFloatStorage\nq\3"                                                                   \
    "0X\3\0\0\0cpuq\4"                                                                             \
    "0"
/* Entries 5 to 11: key, id, shape, stride, hooks, arguments, tensor. */
#define MEMOIZED                                                                                   \
    "h\1((h\2h\3X\1\0\0\0"                                                                         \
    "0q\5h\4K\4tq\6QK\0K\2K\2\x86q\7K\2K\1\x86q\10\x89h\0)Rq\11tq\12Rq\13"
#define BARE                                                                                       \
    "h\1((h\2h\3X\1\0\0\0"                                                                         \
    "1h\4K\4tQK\1K\3\x85K\1\x85\x88h\0)RtR"
#define SCALAR                                                                                     \
    "j\1\0\0\0((h\2h\3X\1\0\0\0"                                                                   \
    "0h\4M\4\0tQJ\3\0\0\0))\x89h\0)RtR"
/* (1, 1, 1, 2) */
#define DEEP                                                                                       \
    "h\1((h\2h\3X\1\0\0\0"                                                                         \
    "2r\14\0\0\0h\4K\4tQK\2(K\1K\1K\1K\2tr\15\0\0\0(K\2K\2K\2K\1t\x89h\0)RtR"

/* A key has as many bytes as its first mention says. */
static lks_status_t find_storage(void *context, lks_tree_t *tree, const lks_torch_storage_id_t *id,
                                 size_t *index)
{
    lks_strmap_t *keys = context;
    size_t nbytes = (size_t)id->numel * (id->itemsize ? id->itemsize : 1);
    if (nbytes > 1000) {
        return lks_fail(LKS_ERR_FORMAT, "storage %.*s is too large", (int)id->key_length, id->key);
    }
    size_t count = lks_tree_storage_count(tree);
    *index = lks_strmap_add(keys, id->key, id->key_length, count);
    if (*index == count) {
        lks_storage_t *storage;
        LKS_TRY(lks_storage_create(lks_device_host(), nbytes, &storage));
        memset(lks_storage_data(storage), 0, nbytes);
        (void)lks_tree_append_storage(tree, storage, id->dtype, id->location);
        lks_storage_release(storage);
    }
    return lks_tree_status(tree);
}

static size_t read_at_once; /* tensors */

static lks_status_t count_call(void *context, struct lks_pickle_machine *machine, bool *done)
{
    LKS_TRY(lks_torch_read_call(context, machine, done));
    read_at_once += *done;
    return LKS_OK;
}

/* What is read, as text; that of the error if there is one. */
static lks_strbuf_t read_text(const void *data, size_t nbytes, bool stream, bool at_once)
{
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    limits.max_depth = DEPTH_MAX;
    lks_tree_t *tree;
    assert_ok(lks_tree_create_limited(&limits, &tree));
    lks_strmap_t keys = {0};
    lks_torch_reader_t torch = {.context = &keys, .storage = find_storage, .stream = stream};
    lks_pickle_hooks_t hooks = lks_torch_read_hooks(&torch);
    cr_assert(hooks.call == lks_torch_read_call);
    hooks.call = at_once ? count_call : NULL;
    size_t used;
    lks_value_t *root;
    lks_strbuf_t text = {0};
    if (lks_pickle_read("x", data, nbytes, &hooks, tree, &used, &root) == LKS_OK) {
        lks_tree_set_root(tree, root);
        text = test_tree_text(tree);
        lks_strbuf_appendf(&text, " of %zu bytes", used);
    } else {
        lks_strbuf_appendf(&text, "%s", lks_last_error()->message);
    }
    lks_strmap_fini(&keys);
    lks_tree_destroy(tree);
    return text;
}

static void assert_same(const void *data, size_t nbytes, bool stream)
{
    lks_strbuf_t one = read_text(data, nbytes, stream, true);
    lks_strbuf_t other = read_text(data, nbytes, stream, false);
    cr_assert_str_eq(lks_strbuf_text(&one), lks_strbuf_text(&other), "at once: %s, by opcodes: %s",
                     lks_strbuf_text(&one), lks_strbuf_text(&other));
    lks_strbuf_fini(&one);
    lks_strbuf_fini(&other);
}

static void assert_reads(const void *data, size_t nbytes, const char *wanted)
{
    assert_same(data, nbytes, false);
    lks_strbuf_t text = read_text(data, nbytes, false, true);
    cr_assert(strstr(lks_strbuf_text(&text), wanted), "%s", lks_strbuf_text(&text));
    lks_strbuf_fini(&text);
}

#define reads(pickle, wanted) assert_reads(LITERAL("\x80\2" NAMES pickle), wanted)

Test(pickle_tensor, every_spelling_gives_the_tensor)
{
    reads(MEMOIZED ".", "tensor float32 (2, 2) (2, 1) 0 ");
    reads(BARE ".", "tensor float32 (3,) (1,) 1 ");
    reads(SCALAR ".", "tensor float32 () () 3 ");
    read_at_once = 0;
    reads("(" MEMOIZED DEEP BARE SCALAR "t.", "tensor float32 (1, 1, 1, 2) (2, 2, 2, 1) 2 ");
    cr_assert_eq(read_at_once, 2 * 4);
}

Test(pickle_tensor, what_was_passed_over_can_be_had)
{
    reads("(" MEMOIZED "h\5h\6h\7h\10h\11h\12h\13t.", "");
    reads("(" MEMOIZED "h\12h\7h\12h\7t.", "");
    reads(MEMOIZED "0h\11X\1\0\0\0aK\1s0h\12h\11\x86.", "str a: int 1"); /* the one dict, changed */
}

/* However deep that is asked for. */
Test(pickle_tensor, what_was_passed_over_is_made_at_any_depth)
{
    reads(MEMOIZED "((((((((((((h\6"
                   "111111111111.",
          "tensor float32 (2, 2) (2, 1) 0 ");
    reads(MEMOIZED "((((((((((((N111111111111"
                   "0h\6.",
          "str storage");
    reads(MEMOIZED "(((((((((((((", "nests deeper than the limit of 12");
}

/* A later entry of a number is none of those that a tensor before was spelled with. */
Test(pickle_tensor, an_entry_that_changes_is_what_it_was_before)
{
    reads("(" MEMOIZED "X\1\0\0\0?q\2h\6t.", "str storage");
    reads("(" MEMOIZED "K\7q\7h\7h\12" BARE "t.", "");
    reads("(" MEMOIZED "K\7q\13h\13t.", "");
    reads("(K\7q\6" MEMOIZED "h\6h\7t.",
          "str storage"); /* a number that was put ahead of its turn */
}

Test(pickle_tensor, errors_tell_the_place)
{
    reads("h\1((h\2h\3X\1\0\0\0" /* the storage has 4 elements */
          "0h\4K\4tQK\1K\4\x85K\1\x85\x89h\0)RtR.",
          "x at byte 149: REDUCE: a tensor spans 4 elements from offset 1");
    reads("h\1((h\2h\3X\1\0\0\0"
          "0h\4M\xff\xfftQK\1K\4\x85K\1\x85\x89h\0)RtR.",
          "x at byte 135: storage 0 is too large");
}

/* --- every byte of a pickle that has everything in it --------------------------------------------- */

static const char whole[] =
    "\x80\2" NAMES "(" MEMOIZED DEEP "h\11}bh\10h\6K\7q\2h\14" BARE SCALAR "h\7t.";

/* Opcodes that mean something there, numbers and what is none of both. */
static const unsigned char bytes[] = "\0\1\2\3\4\5\7\x10\x7f\x80\xff(tQR)hqjrKMJX0NGIs}bu.\x85\x86"
                                     "\x87\x88\x89\x94";

Test(pickle_tensor, a_changed_byte_gives_the_same_either_way, .timeout = 300)
{
    for (size_t at = 0; at < sizeof whole - 1; at++) {
        unsigned char copy[sizeof whole];
        memcpy(copy, whole, sizeof whole);
        for (size_t i = 0; i < sizeof bytes - 1; i++) {
            copy[at] = bytes[i];
            assert_same(copy, sizeof whole - 1, false);
        }
    }
}

Test(pickle_tensor, a_byte_more_or_less_gives_the_same_either_way, .timeout = 300)
{
    for (size_t at = 0; at < sizeof whole - 1; at++) {
        unsigned char copy[sizeof whole + 1];
        memcpy(copy, whole, at);
        memcpy(copy + at, whole + at + 1, sizeof whole - at - 1);
        assert_same(copy, sizeof whole - 2, false);
        assert_same(whole, at, false);
        memcpy(copy + at + 1, whole + at, sizeof whole - at);
        for (size_t i = 0; i < sizeof bytes - 1; i++) {
            copy[at] = bytes[i];
            assert_same(copy, sizeof whole, true);
        }
    }
}
