/* SPDX-License-Identifier: Apache-2.0 */
/* Streams made by hand: what is refused, how slices share memory, and what the writer lays out. */
#include "serialize/opened.h"
#include "serialize/tree_text.h"
#include "serialize/value_node.h"

#include <stdlib.h>

#define CORPUS TEST_DATA_DIR "/corpus/"
#define LITERAL(text) (text), sizeof(text) - 1

#define MAGIC "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#define VERSION "\x80\2M\xe9\3."
#define SYSTEM "}."
#define HEAD MAGIC VERSION SYSTEM

/* ('storage', torch.<class>, <one digit>, 'cpu', <one byte>, slice) */
#define STORAGE(class, key, numel, slice)                                                          \
    "(X\7\0\0\0storagectorch\n" class "\nX\1\0\0\0" key "X\3\0\0\0cpuK" numel slice "tQ"
#define SLICE(offset, numel) "X\1\0\0\0sK" offset "K" numel "\x87"
/* one dimension, stride 1 */
#define TENSOR(storage, offset, size)                                                              \
    "ctorch._utils\n_rebuild_tensor\n(" storage "K" offset "K" size "\x85K\1\x85tR"
#define FLOATS TENSOR(STORAGE("FloatStorage", "0", "\4", "N"), "\1", "\3")
#define KEYS_0                                                                                     \
    "]X\1\0\0\0"                                                                                   \
    "0a."
#define COUNT(n) n "\0\0\0\0\0\0\0"
#define NUMBERS "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40" /* 0, 1, 2, 3 */

static void setup(void)
{
    path = test_temp_path("a.pt");
}

TestSuite(torch_legacy, .init = setup, .fini = close_opened);

#define opens(stream) assert_ok(open_bytes(LITERAL(stream)))
#define refuses(stream, status, message) assert_fails(open_bytes(LITERAL(stream)), status, message)

static const lks_tree_t *tree(void)
{
    return lks_checkpoint_tree(checkpoint);
}

static void assert_floats(const lks_value_t *value, size_t count, const float *wanted)
{
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, value, "w", &tensor));
    cr_assert(tensor.ndim == 1 && (size_t)tensor.shape[0] == count);
    cr_assert_eq((uintptr_t)lks_tensor_data(&tensor) % sizeof(float), 0);
    cr_assert(memcmp(lks_tensor_data(&tensor), wanted, count * sizeof *wanted) == 0);
}

/* --- reading ------------------------------------------------------------------------------------ */

Test(torch_legacy, elements_that_are_not_aligned_are_copied_when_wanted)
{
    static const float wanted[] = {1, 2, 3};
    opens(HEAD FLOATS "." KEYS_0 COUNT("\4") NUMBERS);
    cr_assert_str_eq(lks_checkpoint_format(checkpoint), "torch_legacy");
    assert_floats(root(), 3, wanted);
    lks_checkpoint_unload(checkpoint, 0);
    const float *memory = lks_storage_data(lks_tree_storage(tree(), 0)->storage);
    cr_assert_eq(memory[1], 0, "its memory was given back");
    assert_floats(root(), 3, wanted);
}

Test(torch_legacy, storages_that_were_added_since_are_left_alone)
{
    opens(HEAD "]."
               "].");
    lks_tree_t *edited = lks_checkpoint_edit(checkpoint);
    for (uint8_t i = 0; i < 40; i++) {
        const int64_t shape[] = {1};
        lks_tensor_t tensor;
        assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_U8, 1, shape, &tensor));
        *(uint8_t *)lks_tensor_data(&tensor) = i;
        lks_value_append(edited, lks_tree_root(edited), lks_value_tensor_from(edited, &tensor));
        lks_tensor_release(&tensor);
    }
    const char *copy = test_temp_path("b.pt");
    assert_ok(lks_checkpoint_save(copy, edited, NULL));
    lks_checkpoint_close(checkpoint);
    assert_ok(lks_checkpoint_open(copy, NULL, &checkpoint));
    lks_tensor_t last;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root(), 39), "x", &last));
    cr_assert_eq(*(const uint8_t *)lks_tensor_data(&last), 39);
}

Test(torch_legacy, what_follows_the_last_storage_is_ignored)
{
    opens(HEAD FLOATS "." KEYS_0 COUNT("\4") NUMBERS "trailing");
}

Test(torch_legacy, an_object_without_storages_is_read)
{
    opens(HEAD "K\7."
               "].");
    int64_t number;
    assert_ok(lks_value_get_int(root(), &number));
    cr_assert_eq(number, 7);
}

Test(torch_legacy, heads_of_another_shape_are_refused)
{
    refuses(MAGIC "\x80\2M\xea\3." SYSTEM "N."
                  "].",
            LKS_ERR_UNSUPPORTED, "protocol version 1002, the only known one is 1001");
    refuses(MAGIC "N." SYSTEM "N."
                  "].",
            LKS_ERR_FORMAT, "the protocol version is no int");
    refuses(MAGIC VERSION "N."
                          "N."
                          "].",
            LKS_ERR_FORMAT, "the system's description is no dict");
    refuses(HEAD "N."
                 "}.",
            LKS_ERR_FORMAT, "the list of storages is no list but a dict");
    refuses(HEAD "N."
                 "]K\1a.",
            LKS_ERR_FORMAT, "has a int in it, not a key");
    refuses(MAGIC, LKS_ERR_FORMAT, "the protocol version at byte 0: the pickle ends without STOP");
    refuses(HEAD, LKS_ERR_FORMAT, "the object at byte 0: the pickle ends without STOP");
    refuses(HEAD "N.", LKS_ERR_FORMAT, "the list of storages at byte 0");
}

Test(torch_legacy, lists_that_disagree_with_the_object_are_refused)
{
    refuses(HEAD FLOATS "."
                        "].",
            LKS_ERR_FORMAT, "the list of storages lacks '0', which the object uses");
    refuses(HEAD FLOATS "."
                        "](X\1\0\0\0"
                        "0X\1\0\0\0"
                        "0e." COUNT("\4") NUMBERS COUNT("\4") NUMBERS,
            LKS_ERR_FORMAT, "the list of storages names '0' twice");
    refuses(HEAD FLOATS "."
                        "]X\1\0\0\0"
                        "1a." COUNT("\4") NUMBERS,
            LKS_ERR_FORMAT, "names '1', which the object does not use");
}

Test(torch_legacy, storages_that_are_not_there_are_refused)
{
    refuses(HEAD FLOATS "." KEYS_0 COUNT("\3") NUMBERS, LKS_ERR_FORMAT,
            "storage '0' has 3 elements, the object wants 4 of them");
    refuses(HEAD FLOATS "." KEYS_0 COUNT("\4") "\0\0\0\0", LKS_ERR_FORMAT,
            "wants 4 elements of 4 bytes, 4 bytes left");
    refuses(HEAD FLOATS "." KEYS_0 "\4\0\0", LKS_ERR_FORMAT, "wants a count of 8 bytes, 3 left");
    refuses(HEAD FLOATS "." KEYS_0 "\4\0\0\0\0\0\0\x80" NUMBERS, LKS_ERR_FORMAT,
            "wants -9223372036854775804 ");
    refuses(HEAD FLOATS "." KEYS_0 "\0\0\0\0\0\0\0\x40" NUMBERS, LKS_ERR_FORMAT,
            "elements of 4 bytes");
    refuses(HEAD STORAGE("FloatStorage", "0", "\xff", "N") ".", LKS_ERR_FORMAT,
            "with a torch.FloatStorage of 255 elements the storages are larger than the file");
    refuses(HEAD STORAGE("WideStorage", "0", "\1", "N") ".", LKS_ERR_UNSUPPORTED,
            "storages of class 'torch.WideStorage' have elements of unknown size");
    refuses(HEAD TENSOR(STORAGE("FloatStorage", "0", "\4", "N"), "\2", "\3") ".", LKS_ERR_FORMAT,
            "a tensor spans 3 elements from offset 2, its storage holds 4");
}

Test(torch_legacy, one_storage_in_several_classes_is_what_it_was_first)
{
    opens(HEAD "(" STORAGE("FloatStorage", "0", "\4", "N")
              STORAGE("ByteStorage", "0", "\x63", "N") "t." KEYS_0 COUNT("\4") NUMBERS);
    cr_assert_eq(lks_tree_storage_count(tree()), 1);
    cr_assert_eq(lks_tree_storage(tree(), 0)->dtype, LKS_DTYPE_F32);
}

/* --- slices and classes ------------------------------------------------------------------------- */

#define SLICED(offset, numel) STORAGE("FloatStorage", "0", "\4", SLICE(offset, numel))

Test(torch_legacy, slices_of_a_storage_share_its_memory)
{
    static const float wanted[] = {2, 3};
    opens(HEAD "(" TENSOR(SLICED("\1", "\3"), "\1", "\2") TENSOR(
        STORAGE("FloatStorage", "0", "\4", "N"), "\0", "\4") "t." KEYS_0 COUNT("\4") NUMBERS);
    cr_assert_eq(lks_tree_storage_count(tree()), 1);
    cr_assert_eq(lks_value_tensor(lks_value_at(root(), 0))->offset, 2);
    assert_floats(lks_value_at(root(), 0), 2, wanted);
}

Test(torch_legacy, slices_have_bounds_of_their_own)
{
    refuses(HEAD TENSOR(SLICED("\1", "\2"), "\0", "\3") ".", LKS_ERR_FORMAT,
            "a tensor spans 3 elements from offset 0, its slice of a storage holds 2");
    refuses(HEAD SLICED("\2", "\3") ".", LKS_ERR_FORMAT,
            "a slice has 3 elements from offset 2, its storage has 4");
    refuses(HEAD SLICED("\5", "\0") ".", LKS_ERR_FORMAT, "a slice has 0 elements from offset 5");
    refuses(HEAD STORAGE("FloatStorage", "0", "\4", "X\1\0\0\0sJ\xff\xff\xff\xffK\1\x87") ".",
            LKS_ERR_FORMAT, "is not (key, offset, number of elements)");
    refuses(HEAD STORAGE("FloatStorage", "0", "\4", "K\1") ".", LKS_ERR_FORMAT,
            "is not (key, offset, number of elements)");
}

Test(torch_legacy, a_bare_slice_survives_in_streams_alone)
{
    const char *copy = test_temp_path("copy.pt");
    opens(HEAD "(" SLICED("\1", "\2") SLICED("\0", "\2") SLICED("\0", "\4") "t." KEYS_0 COUNT("\4")
              NUMBERS);
    assert_fails(lks_checkpoint_save(copy, tree(), NULL), LKS_ERR_UNSUPPORTED,
                 "it is a slice of a storage");
    assert_ok(lks_checkpoint_save(copy, tree(), &(lks_save_options_t){.format = "torch_legacy"}));
    lks_checkpoint_t *again;
    assert_ok(lks_checkpoint_open(copy, NULL, &again));
    lks_strbuf_t a = test_tree_text(tree()), b = test_tree_text(lks_checkpoint_tree(again));
    cr_assert_str_eq(lks_strbuf_text(&a), lks_strbuf_text(&b));
    lks_strbuf_fini(&a);
    lks_strbuf_fini(&b);
    lks_checkpoint_close(again);
}

Test(torch_legacy, a_class_may_bring_its_source_text)
{
    opens(HEAD "(X\6\0\0\0modulec__main__\nNet\nX\4\0\0\0n.pyX\11\0\0\0class NettQ."
               "].");
    cr_assert_eq(lks_value_kind(root()), LKS_VALUE_GLOBAL);
    cr_assert_str_eq(lks_value_class_name(root()), "__main__.Net");
    refuses(HEAD "(X\6\0\0\0moduleNNNtQ."
                 "].",
            LKS_ERR_FORMAT, "a persistent id is not");
    refuses(HEAD "(X\6\0\0\0modulec__main__\nNet\ntQ."
                 "].",
            LKS_ERR_FORMAT, "a persistent id is not");
}

/* --- writing ------------------------------------------------------------------------------------ */

static lks_tree_t *work;
static unsigned char *written;
static size_t written_size;

static void start(void)
{
    setup();
    assert_ok(lks_tree_create(&work));
    lks_tree_set_root(work, lks_value_list(work));
}

static void finish(void)
{
    lks_tree_destroy(work);
    free(written);
    close_opened();
}

TestSuite(torch_legacy_write, .init = start, .fini = finish);

static lks_status_t save(void)
{
    LKS_TRY(lks_checkpoint_save(path, work, &(lks_save_options_t){.format = "torch_legacy"}));
    written = test_read_file(path, &written_size);
    return LKS_OK;
}

/* A storage of one byte. */
static size_t add_byte(unsigned char byte)
{
    lks_storage_t *storage;
    assert_ok(lks_storage_create(lks_device_host(), 1, &storage));
    *(unsigned char *)lks_storage_data(storage) = byte;
    size_t index = lks_tree_add_storage(work, storage, LKS_DTYPE_U8, "cpu");
    lks_storage_release(storage);
    return index;
}

static void append_tensor(size_t storage, lks_dtype_t dtype)
{
    static const int64_t zero[1] = {0};
    lks_value_append(work, lks_tree_root(work),
                     lks_value_tensor_new(work, &(lks_value_tensor_t){.storage = storage,
                                                                      .dtype = dtype,
                                                                      .ndim = 1,
                                                                      .shape = zero,
                                                                      .stride = zero}));
}

Test(torch_legacy_write, begins_as_torch_does)
{
    size_t theirs_size, head = sizeof MAGIC VERSION - 1 + 116;
    unsigned char *theirs = test_read_file(CORPUS "t113_iris_sd_legacy.pth", &theirs_size);
    assert_ok(save());
    cr_assert_gt(theirs_size, head);
    cr_assert_eq(theirs[head - 1], '.', "the end of the third pickle");
    cr_assert(written_size > head && memcmp(written, theirs, head) == 0);
    free(theirs);
}

Test(torch_legacy_write, storages_come_in_the_order_of_their_keys_as_texts)
{
    for (unsigned char i = 0; i < 12; i++) {
        append_tensor(add_byte(i), LKS_DTYPE_U8);
    }
    assert_ok(save());
    static const unsigned char order[] = {0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9};
    const unsigned char *at = written + written_size - sizeof order * 9;
    for (size_t i = 0; i < sizeof order; i++, at += 9) {
        cr_assert(memcmp(at, "\1\0\0\0\0\0\0\0", 8) == 0 && at[8] == order[i], "storage %zu", i);
    }
}

Test(torch_legacy_write, a_storage_has_elements_of_one_size)
{
    size_t index = add_byte(1);
    append_tensor(index, LKS_DTYPE_U8);
    assert_ok(save());
    lks_value_t *numbers = lks_value_tuple(work);
    lks_value_append(work, numbers, lks_value_int(work, (int64_t)index));
    lks_value_append(work, numbers, lks_value_int(work, 0));
    lks_value_append(work, lks_tree_root(work),
                     lks_value_object(work, LKS_OBJECT_STORAGE,
                                      lks_value_global(work, "torch", "FloatStorage"), numbers));
    assert_fails(save(), LKS_ERR_UNSUPPORTED, "others see differently");
}

Test(torch_legacy_write, elements_without_a_class_are_refused_as_torch_cannot_read_them)
{
    append_tensor(add_byte(1), LKS_DTYPE_U16);
    assert_fails(save(), LKS_ERR_UNSUPPORTED, "value '0': its elements have no storage class");
}

Test(torch_legacy_write, a_storage_of_an_unknown_class_is_refused)
{
    lks_value_t *numbers = lks_value_tuple(work);
    lks_value_append(work, numbers, lks_value_int(work, (int64_t)add_byte(1)));
    lks_value_append(work, numbers, lks_value_int(work, 1));
    lks_value_append(work, lks_tree_root(work),
                     lks_value_object(work, LKS_OBJECT_STORAGE,
                                      lks_value_global(work, "torch", "WideStorage"), numbers));
    assert_fails(save(), LKS_ERR_UNSUPPORTED, "torch.WideStorage, which is an unknown class");
}
