/* SPDX-License-Identifier: Apache-2.0 */
/* Tar archives made by hand: which headers are believed, and what the members must agree on. */
#include "serialize/tar_read.h"
#include "serialize/tree_text.h"
#include "serialize/value_node.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

#define LITERAL(text) (text), sizeof(text) - 1

static lks_strbuf_t archive;
static lks_checkpoint_t *checkpoint;

static void teardown(void)
{
    lks_checkpoint_close(checkpoint);
    checkpoint = NULL;
    lks_strbuf_fini(&archive);
    archive = (lks_strbuf_t){0};
}

TestSuite(tar_read, .fini = teardown);
TestSuite(torch_tar, .fini = teardown);

/* --- archives ----------------------------------------------------------------------------------- */

static void set_checksum(unsigned char *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < 512; i++) {
        sum += header[i];
    }
    (void)snprintf((char *)header + 148, 7, "%06o", sum);
}

static unsigned char *begin_member(const char *name, char type, size_t size)
{
    unsigned char header[512] = {0};
    (void)snprintf((char *)header, 100, "%s", name);
    (void)snprintf((char *)header + 124, 12, "%011o", (unsigned)size);
    header[156] = (unsigned char)type;
    memcpy(header + 257, "ustar\00000", 8);
    set_checksum(header);
    lks_strbuf_append(&archive, header, sizeof header);
    return (unsigned char *)archive.data + archive.length - sizeof header;
}

/* The header; it is valid until the next member. */
static unsigned char *add_member(const char *name, char type, const char *data, size_t nbytes)
{
    static const char zeros[512];
    (void)begin_member(name, type, nbytes);
    size_t at = archive.length - 512;
    lks_strbuf_append(&archive, data, nbytes);
    lks_strbuf_append(&archive, zeros, (512 - nbytes % 512) % 512);
    return (unsigned char *)archive.data + at;
}

/* --- headers ------------------------------------------------------------------------------------ */

static lks_tar_member_t wanted;

static lks_status_t find(void)
{
    wanted = (lks_tar_member_t){.name = "wanted"};
    return lks_tar_find((const unsigned char *)archive.data, archive.length, &wanted, 1);
}

static void assert_contents(const char *contents)
{
    assert_ok(find());
    cr_assert(wanted.found);
    cr_assert_eq(lks_bytes_left(&wanted.contents), strlen(contents));
    cr_assert(memcmp(wanted.contents.data + wanted.contents.at, contents, strlen(contents)) == 0);
}

Test(tar_read, finds_a_member_among_others)
{
    static const char zeros[512];
    (void)add_member("wanted.not", '0', LITERAL("no"));
    (void)add_member("wanted", '5', LITERAL(""));
    (void)add_member("wanted", '0', LITERAL("contents"));
    lks_strbuf_append(&archive, zeros, sizeof zeros);
    lks_strbuf_append_str(&archive, "what follows the end");
    assert_contents("contents");
}

Test(tar_read, an_archive_may_end_without_its_last_zeros)
{
    (void)add_member("wanted", '0', LITERAL("contents"));
    archive.length -= 504;
    assert_contents("contents");
}

Test(tar_read, sizes_may_be_binary_or_in_a_record_before)
{
    unsigned char *header = add_member("wanted", '0', LITERAL("contents"));
    memset(header + 124, 0, 12);
    header[124] = 0x80;
    header[135] = 8;
    set_checksum(header);
    assert_contents("contents");
    teardown();
    (void)add_member("records", 'x', LITERAL("17 mtime=123.456\n9 size=8\n15 path=wanted\n"));
    header = add_member("a/much/longer/name", '0', LITERAL("contents"));
    memset(header + 124, '0', 11);
    set_checksum(header);
    (void)add_member("wanted2", '0', LITERAL("the records are forgotten"));
    assert_contents("contents");
}

Test(tar_read, headers_that_are_wrong_are_refused)
{
    add_member("wanted", '0', LITERAL("contents"))[3] ^= 1;
    assert_fails(find(), LKS_ERR_FORMAT, "no valid header at byte 0");
    teardown();
    unsigned char *header = add_member("wanted", '0', LITERAL("contents"));
    header[130] = '9';
    set_checksum(header);
    assert_fails(find(), LKS_ERR_FORMAT, "at byte 0 has no valid size");
    memset(header + 124, 0xff, 12);
    header[124] = 0x80;
    set_checksum(header);
    assert_fails(find(), LKS_ERR_FORMAT, "at byte 0 has no valid size");
    memcpy(header + 124, "77777777777", 12);
    set_checksum(header);
    assert_fails(find(), LKS_ERR_FORMAT, "wants 8589934591 bytes from byte 512 on, 512 left");
}

Test(tar_read, records_that_are_wrong_are_refused)
{
    static const char *const records[] = {"9 size=x\n",
                                          "11 size=8\n",
                                          "8 size=8\n",
                                          "size=8\n",
                                          "3 \n",
                                          "6 size\n",
                                          "99999999999999999999 a=b\n",
                                          "0 size=8\n"};
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        teardown();
        (void)add_member("records", 'x', records[i], strlen(records[i]));
        assert_fails(find(), LKS_ERR_FORMAT, "no valid pax records at byte 0");
    }
}

Test(tar_read, a_name_stands_once)
{
    (void)add_member("wanted", '0', LITERAL("one"));
    (void)add_member("wanted", '0', LITERAL("two"));
    assert_fails(find(), LKS_ERR_FORMAT, "two members 'wanted'");
}

/* --- checkpoints -------------------------------------------------------------------------------- */

#define COUNT(n) n "\0\0\0\0\0\0\0"
#define NUMBERS "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40" /* 0, 1, 2, 3 */
#define STORAGE(key, class) "K" key "X\3\0\0\0cpuctorch\n" class "\n\x87."
#define FLOATS "K\1." STORAGE("\7", "FloatStorage") COUNT("\4") NUMBERS
#define SLICE(key, whole, offset, numel) "(K" key "K" whole "K" offset "K" numel "t"
#define TENSOR(key, storage, size, offset)                                                         \
    "K" key "K" storage "ctorch\nFloatTensor\n\x87.\1\0\0\0????" COUNT(size) COUNT("\1")           \
        COUNT(offset)

static lks_status_t open_parts(const char *storages, size_t storages_size, const char *tensors,
                               size_t tensors_size, const char *object, size_t object_size)
{
    teardown();
    (void)add_member("storages", '0', storages, storages_size);
    (void)add_member("tensors", '0', tensors, tensors_size);
    (void)add_member("pickle", '0', object, object_size);
    return lks_checkpoint_open_memory(archive.data, archive.length, "a.tar", NULL, &checkpoint);
}

#define opens(storages, tensors, object)                                                           \
    assert_ok(open_parts(LITERAL(storages), LITERAL(tensors), LITERAL(object)))
#define refuses(storages, tensors, object, message)                                                \
    assert_fails(open_parts(LITERAL(storages), LITERAL(tensors), LITERAL(object)), LKS_ERR_FORMAT, \
                 message)

static const lks_value_t *root(void)
{
    return lks_tree_root(lks_checkpoint_tree(checkpoint));
}

static void assert_floats(const lks_value_t *value, size_t count, const float *floats)
{
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, value, "w", &tensor));
    cr_assert(tensor.ndim == 1 && (size_t)tensor.shape[0] == count);
    cr_assert(memcmp(lks_tensor_data(&tensor), floats, count * sizeof *floats) == 0);
}

Test(torch_tar, tensors_and_slices_share_one_storage)
{
    static const float all[] = {0, 1, 2, 3};
    opens(FLOATS "](" SLICE("\x8", "\7", "\1", "\3") "e.",
          "K\2." TENSOR("\1", "\7", "\4", "\0") TENSOR("\2", "\x8", "\2", "\1"),
          "(X\1\0\0\0"
          "1QX\1\0\0\0"
          "2QX\1\0\0\0"
          "1QX\2\0\0\0"
          "8LQt.");
    cr_assert_str_eq(lks_checkpoint_format(checkpoint), "torch_tar");
    cr_assert_eq(lks_tree_storage_count(lks_checkpoint_tree(checkpoint)), 1);
    assert_floats(lks_value_at(root(), 0), 4, all);
    assert_floats(lks_value_at(root(), 1), 2, all + 2);
    cr_assert_eq(lks_value_at(root(), 0), lks_value_at(root(), 2), "one key is one tensor");
    cr_assert_eq(lks_value_object_how(lks_value_at(root(), 3)), LKS_OBJECT_STORAGE);
}

Test(torch_tar, a_class_may_bring_its_source_text)
{
    opens("K\0.].", "K\0.", "c__main__\nNet\nX\4\0\0\0n.pyX\1\0\0\0s\x87Q.");
    cr_assert_str_eq(lks_value_class_name(root()), "__main__.Net");
}

Test(torch_tar, is_only_read)
{
    opens("K\0.].", "K\0.", "N.");
    assert_fails(lks_checkpoint_save(test_temp_path("b"), lks_checkpoint_tree(checkpoint),
                                     &(lks_save_options_t){.format = "torch_tar"}),
                 LKS_ERR_UNSUPPORTED, "'torch_tar' is only read");
}

Test(torch_tar, archives_without_a_member_are_refused)
{
    (void)add_member("storages", '0', LITERAL("K\0.]."));
    (void)add_member("pickle", '0', LITERAL("N."));
    assert_fails(
        lks_checkpoint_open_memory(archive.data, archive.length, "a.tar", NULL, &checkpoint),
        LKS_ERR_FORMAT, "a tar archive without a member 'tensors'");
}

Test(torch_tar, storages_that_make_no_sense_are_refused)
{
    refuses("N.].", "K\0.", "N.", "storages: their number is no int");
    refuses("K\1.].", "K\0.", "N.", "not described as (key, location, class)");
    refuses("K\1." STORAGE("\7", "FloatStorage") COUNT("\4") "\0\0", "K\0.", "N.",
            "wants 4 elements of 4 bytes, 2 bytes left");
    refuses(FLOATS "N.", "K\0.", "N.", "the slices are no list");
    refuses(FLOATS "]Na.", "K\0.", "N.", "a slice is not described as");
    refuses(FLOATS "]" SLICE("\x8", "\7", "\2", "\3") "a.", "K\0.", "N.",
            "slice 8 is not within storage 7");
    refuses(FLOATS "]" SLICE("\x8", "\x9", "\2", "\3") "a.", "K\0.", "N.", "has the key 9");
    refuses(FLOATS "]" SLICE("\7", "\7", "\1", "\1") "a.", "K\0.", "N.",
            "two tensors or storages have the key 7");
    assert_fails(open_parts(LITERAL("K\1." STORAGE("\7", "WideStorage")), LITERAL("K\0."), "N.", 2),
                 LKS_ERR_UNSUPPORTED, "'torch.WideStorage'");
}

Test(torch_tar, tensors_that_make_no_sense_are_refused)
{
    refuses(FLOATS "].", "N.", "N.", "tensors: their number is no int");
    refuses(FLOATS "].", "K\1.N.", "N.", "not described as (key, key of its storage, class)");
    refuses(FLOATS "].", "K\1." TENSOR("\1", "\x8", "\4", "\0"), "N.", "has the key 8");
    refuses(FLOATS "].", "K\2." TENSOR("\1", "\7", "\4", "\0") TENSOR("\2", "\1", "\4", "\0"), "N.",
            "the key 1 is no storage's");
    refuses(FLOATS "].", "K\1." TENSOR("\1", "\7", "\4", "\1"), "N.",
            "a tensor spans 4 elements from offset 1, its storage holds 4");
    refuses(FLOATS "]" SLICE("\x8", "\7", "\1", "\2") "a.", "K\1." TENSOR("\1", "\x8", "\3", "\0"),
            "N.", "a tensor spans 3 elements from offset 0, its slice of a storage holds 2");
    refuses(FLOATS "].", "K\1.K\1K\7N\x87.\xff\xff\xff\x7f????", "N.",
            "2147483647 dimensions do not fit the 0 bytes left");
    refuses(FLOATS "].", "K\1.K\1K\7N\x87.\xff\xff\xff\xff????", "N.", "-1 dimensions do not fit");
}

Test(torch_tar, persistent_ids_that_are_no_keys_are_refused)
{
    refuses("K\0.].", "K\0.",
            "X\1\0\0\0"
            "5Q.",
            "no tensor or storage has the key 5");
    refuses("K\0.].", "K\0.", "X\1\0\0\0xQ.", "a persistent id is neither");
    refuses("K\0.].", "K\0.", "X\0\0\0\0Q.", "a persistent id is neither");
    refuses("K\0.].", "K\0.", "NQ.", "a persistent id is neither");
}
