/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy's archives made by hand: what is a tensor, what is refused, and what is written. */
#include "serialize/npy.h"
#include "serialize/opened.h"
#include "serialize/zip_maker.h"
#include "serialize/zip_read.h"

#include <stdlib.h>

#define HEADER(descr, order, shape)                                                                \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

static void setup(void)
{
    path = test_temp_path("a.npz");
}

TestSuite(npz, .init = setup, .fini = close_opened);

/* An array file, version 1.0, its text filled up with spaces to `header` bytes in all. */
static lks_strbuf_t array_of(const char *text, size_t header, const void *data, size_t nbytes)
{
    lks_strbuf_t array = {0};
    size_t length = header - 10;
    const char start[] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, (char)length, (char)(length >> 8)};
    lks_strbuf_append(&array, start, sizeof start);
    lks_strbuf_append_str(&array, text);
    while (array.length < header) {
        lks_strbuf_append(&array, " ", 1);
    }
    lks_strbuf_append(&array, data, nbytes);
    cr_assert(lks_strbuf_ok(&array) && array.length == header + nbytes);
    return array;
}

/* An archive with the one array "w". */
static lks_strbuf_t archive_of(lks_strbuf_t array, test_record_t record)
{
    record.name = "w.npy";
    record.data = array.data;
    record.nbytes = array.length;
    lks_strbuf_t archive = test_zip(&record, 1);
    lks_strbuf_fini(&array);
    return archive;
}

static const unsigned char six[] = {0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6}; /* big-endian */
static const unsigned char six_little[] = {1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0};

static lks_strbuf_t six_of(const char *text, test_record_t record)
{
    return archive_of(array_of(text, 128, strchr(text, '>') ? six : six_little, sizeof six),
                      record);
}

static void assert_six(const int64_t stride[2])
{
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_find(root(), "w"), "w", &tensor));
    cr_assert(tensor.dtype == LKS_DTYPE_I16 && tensor.ndim == 2);
    cr_assert(tensor.shape[0] == 2 && tensor.shape[1] == 3);
    cr_assert(tensor.stride[0] == stride[0] && tensor.stride[1] == stride[1]);
    const int16_t *data = lks_tensor_data(&tensor);
    cr_assert_eq((uintptr_t)data % sizeof *data, 0);
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(data[i], i + 1);
    }
}

/* --- reading ------------------------------------------------------------------------------------ */

Test(npz, arrays_of_every_order_and_method_are_tensors)
{
    static const char *const texts[] = {
        HEADER("<i2", "False", "(2, 3)"), HEADER(">i2", "False", "(2, 3)"),
        HEADER("<i2", "True", "(2, 3)"), HEADER(">i2", "True", "(2, 3)")};
    for (size_t i = 0; i < 8; i++) {
        const bool fortran = i % 4 >= 2;
        assert_ok(open_strbuf(six_of(texts[i % 4], (test_record_t){.deflate = i >= 4})));
        cr_assert_str_eq(lks_checkpoint_format(checkpoint), "npz");
        assert_six(fortran ? (const int64_t[]){1, 2} : (const int64_t[]){3, 1});
        lks_checkpoint_unload(checkpoint, 0);
        assert_six(fortran ? (const int64_t[]){1, 2} : (const int64_t[]){3, 1});
    }
}

Test(npz, a_header_longer_than_the_first_look_is_read)
{
    lks_strbuf_t array =
        array_of(HEADER("<i2", "False", "(2, 3)"), 60000, six_little, sizeof six_little);
    assert_ok(open_strbuf(archive_of(array, (test_record_t){.deflate = true})));
    assert_six((const int64_t[]){3, 1});
}

Test(npz, names_are_those_of_the_files_in_their_order)
{
    const test_record_t records[] = {{.name = "b/w.npy", .data = "", .nbytes = 0},
                                     {.name = "x.npy.npy", .data = "", .nbytes = 0},
                                     {.name = ".npy", .data = "", .nbytes = 0}};
    static const char *const names[] = {"b/w", "x.npy", ""};
    lks_strbuf_t array = array_of(HEADER("|u1", "False", "()"), 128, "7", 1);
    test_record_t filled[3];
    for (size_t i = 0; i < 3; i++) {
        filled[i] = records[i];
        filled[i].data = array.data;
        filled[i].nbytes = array.length;
    }
    assert_ok(open_strbuf(test_zip(filled, 3)));
    lks_strbuf_fini(&array);
    cr_assert_eq(lks_value_count(root()), 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_str_eq(lks_value_text(lks_value_key_at(root(), i), NULL), names[i]);
        cr_assert_eq(lks_value_tensor(lks_value_at(root(), i))->ndim, 0);
    }
}

Test(npz, an_array_alone_is_a_tensor)
{
    for (size_t header = 127; header <= 128; header++) { /* not aligned, and aligned */
        static const char *const texts[] = {HEADER("<i2", "False", "(6,)"),
                                            HEADER(">i2", "False", "(6,)")};
        for (size_t i = 0; i < 2; i++) {
            lks_tensor_t tensor;
            assert_ok(open_strbuf(array_of(texts[i], header, i ? six : six_little, sizeof six)));
            cr_assert_str_eq(lks_checkpoint_format(checkpoint), "npy");
            assert_ok(lks_checkpoint_tensor(checkpoint, root(), "w", &tensor));
            cr_assert(memcmp(lks_tensor_data(&tensor), six_little, sizeof six_little) == 0);
        }
    }
}

Test(npz, an_archive_of_no_arrays_is_an_empty_dict)
{
    assert_ok(open_strbuf(test_zip(NULL, 0)));
    cr_assert(lks_value_kind(root()) == LKS_VALUE_DICT && lks_value_count(root()) == 0);
}

Test(npz, archives_with_other_files_are_none)
{
    lks_strbuf_t array = array_of(HEADER("|u1", "False", "()"), 128, "7", 1);
    const test_record_t records[] = {
        {.name = "a/w.npy", .data = array.data, .nbytes = array.length},
        {.name = "a/readme", .data = "x", .nbytes = 1}};
    assert_fails(open_strbuf(test_zip(records, 2)), LKS_ERR_FORMAT, "no record 'version'");
    lks_strbuf_fini(&array);
}

/* --- refused ------------------------------------------------------------------------------------ */

Test(npz, a_bad_array_is_named)
{
    for (int deflate = 0; deflate < 2; deflate++) {
        const test_record_t record = {.deflate = deflate};
        assert_fails(open_strbuf(six_of(HEADER("|O", "False", "(2, 3)"), record)),
                     LKS_ERR_UNSUPPORTED, "a.npz': array 'w.npy': its elements, '|O', are pickled");
        assert_fails(open_strbuf(six_of(HEADER("<i2", "False", "(2, 4)"), record)), LKS_ERR_FORMAT,
                     "array 'w.npy': its elements need 16 bytes, it has 12");
        lks_strbuf_t none = {0};
        lks_strbuf_append_str(&none, "no array");
        assert_fails(open_strbuf(archive_of(none, record)), LKS_ERR_FORMAT,
                     "array 'w.npy': it does not begin as a NumPy array");
        lks_strbuf_t cut = array_of("", 64, "", 0);
        lks_strbuf_truncate(&cut, 40);
        assert_fails(open_strbuf(archive_of(cut, record)), LKS_ERR_FORMAT,
                     "array 'w.npy': its header has 64 bytes, it has 40");
    }
    const test_record_t latin = {.name = "\xe9.npy", .data = "", .nbytes = 0};
    assert_fails(open_strbuf(test_zip(&latin, 1)), LKS_ERR_FORMAT, "is no UTF-8");
}

Test(npz, damage_is_found_when_the_array_is_wanted)
{
    for (int deflate = 0; deflate < 2; deflate++) {
        lks_tensor_t tensor;
        assert_ok(open_strbuf(six_of(HEADER("<i2", "False", "(2, 3)"),
                                     (test_record_t){.deflate = deflate, .wrong_crc = 1})));
        assert_fails(lks_checkpoint_tensor(checkpoint, lks_value_find(root(), "w"), "w", &tensor),
                     LKS_ERR_CORRUPT, "a.npz': tensor 'w' (record w.npy) is corrupt: CRC-32 is");
    }
}

Test(npz, deflated_arrays_stay_within_the_memory_limit)
{
    lks_strbuf_t file = six_of(HEADER("<i2", "False", "(2, 3)"), (test_record_t){.deflate = true});
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    limits.memory = 139;
    test_write_file(path, file.data, file.length);
    lks_strbuf_fini(&file);
    assert_fails(lks_checkpoint_open(path, &limits, &checkpoint), LKS_ERR_FORMAT, "limit");
}

/* Opens bytes that may be anything, and looks at all that was read. */
static bool is_read(const void *data, size_t nbytes)
{
    const void *bytes;
    size_t count;
    if (lks_checkpoint_open_memory(data, nbytes, "damaged", NULL, &checkpoint) != LKS_OK) {
        cr_assert_gt(strlen(lks_last_error()->message), 10);
        return false;
    }
    bool good = true;
    for (size_t i = 0; i < lks_tree_storage_count(lks_checkpoint_tree(checkpoint)); i++) {
        good &= lks_checkpoint_storage(checkpoint, i, NULL, &bytes, &count) == LKS_OK;
    }
    close_opened();
    return good;
}

Test(npz, a_file_damaged_anywhere_is_harmless)
{
    for (int deflate = 0; deflate < 2; deflate++) {
        lks_strbuf_t file =
            six_of(HEADER(">i2", "True", "(2, 3)"), (test_record_t){.deflate = deflate});
        cr_assert(is_read(file.data, file.length));
        for (size_t at = 0; at < file.length; at++) {
            cr_assert(at == 0 || !is_read(file.data, at), "cut to %zu bytes it was read", at);
            for (int bit = 0; bit < 8; bit++) {
                file.data[at] ^= (char)(1 << bit);
                (void)is_read(file.data, file.length);
                file.data[at] ^= (char)(1 << bit);
            }
        }
        lks_strbuf_fini(&file);
    }
}

/* --- writing ------------------------------------------------------------------------------------ */

static float numbers[6] = {1, 2, 3, 4, 5, 6};

/* A tree whose root is an empty dict, with one storage. */
static lks_tree_t *tree_of_numbers(void)
{
    lks_tree_t *tree;
    lks_storage_t *storage;
    assert_ok(lks_tree_create(&tree));
    assert_ok(lks_storage_wrap(lks_device_host(), numbers, sizeof numbers, NULL, NULL, &storage));
    (void)lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
    lks_storage_release(storage);
    lks_tree_set_root(tree, lks_value_dict(tree));
    return tree;
}

static lks_value_t *add_tensor(lks_tree_t *tree, const char *key, lks_value_tensor_t tensor)
{
    static const int64_t shape[] = {3, 2}, stride[] = {1, 3};
    tensor.ndim = 2;
    tensor.shape = tensor.shape ? tensor.shape : shape;
    tensor.stride = tensor.stride ? tensor.stride : stride;
    lks_value_t *value = lks_value_tensor_new(tree, &tensor);
    lks_value_set_str(tree, lks_tree_root(tree), key, value);
    return value;
}

Test(npz, strided_tensors_are_written_in_c_order)
{
    lks_tree_t *tree = tree_of_numbers();
    (void)add_tensor(tree, "t", (lks_value_tensor_t){.dtype = LKS_DTYPE_F32});
    assert_ok(lks_checkpoint_save(path, tree, NULL)); /* .npz says the format */
    lks_tree_destroy(tree);
    size_t nbytes;
    unsigned char *file = test_read_file(path, &nbytes);
    lks_zip_t zip;
    assert_ok(lks_zip_open(file, nbytes, &zip));
    cr_assert(zip.count == 1 && zip.entries[0].name_length == 5 && !zip.entries[0].deflated);
    cr_assert(memcmp(zip.entries[0].name, "t.npy", 5) == 0);
    cr_assert_eq(zip.entries[0].data % 64, 0);
    static const float wanted[] = {1, 4, 2, 5, 3, 6};
    cr_assert(memcmp(file + zip.entries[0].data + 128, wanted, sizeof wanted) == 0);
    cr_assert(memcmp(file + zip.entries[0].data + 10, HEADER("<f4", "False", "(3, 2)"), 58) == 0);
    lks_zip_close(&zip);
    free(file);
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_find(root(), "t"), "t", &tensor));
    cr_assert(memcmp(lks_tensor_data(&tensor), wanted, sizeof wanted) == 0);
}

typedef struct dropped {
    char paths[512];
} dropped_t;

static void note_dropped(void *context, const char *name, const char *why)
{
    dropped_t *dropped = context;
    cr_assert_gt(strlen(why), 10);
    strcat(strcat(dropped->paths, name), ";");
}

/* One thing that npz cannot hold, in a tree with one that it can. */
typedef struct bad {
    const char *message;
    void (*add)(lks_tree_t *tree);
} bad_t;

static void add_bfloat16(lks_tree_t *tree)
{
    (void)add_tensor(tree, "bad", (lks_value_tensor_t){.dtype = LKS_DTYPE_BF16});
}

static void add_quantized(lks_tree_t *tree)
{
    lks_value_t *value = add_tensor(tree, "bad", (lks_value_tensor_t){.dtype = LKS_DTYPE_I32});
    lks_value_tensor_set_quantizer(tree, value, lks_value_tuple(tree));
}

static void add_conjugated(lks_tree_t *tree)
{
    static const int64_t stride[] = {0, 1};
    (void)add_tensor(
        tree, "bad",
        (lks_value_tensor_t){.dtype = LKS_DTYPE_C64, .is_conj = true, .stride = stride});
}

static void add_dict(lks_tree_t *tree)
{
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "x", lks_value_int(tree, 1));
    lks_value_set_str(tree, lks_tree_root(tree), "bad", dict);
}

static void add_int(lks_tree_t *tree)
{
    lks_value_set_str(tree, lks_tree_root(tree), "bad", lks_value_int(tree, 1));
}

static void add_int_key(lks_tree_t *tree)
{
    lks_value_set_int(tree, lks_tree_root(tree), 3, lks_value_int(tree, 1));
}

static void add_parent(lks_tree_t *tree)
{
    (void)add_tensor(tree, "../bad", (lks_value_tensor_t){.dtype = LKS_DTYPE_F32});
}

static void add_absolute(lks_tree_t *tree)
{
    (void)add_tensor(tree, "/bad", (lks_value_tensor_t){.dtype = LKS_DTYPE_F32});
}

static void add_zero(lks_tree_t *tree)
{
    lks_value_set(tree, lks_tree_root(tree), lks_value_str_n(tree, "b\0d", 3),
                  lks_value_find(lks_tree_root(tree), "good"));
}

static void add_surrogate(lks_tree_t *tree)
{
    (void)add_tensor(tree, "\xed\xb0\x80", (lks_value_tensor_t){.dtype = LKS_DTYPE_F32});
}

Test(npz, what_numpy_cannot_hold_is_refused_or_dropped)
{
    static const bad_t cases[] = {
        {"value 'bad': NumPy has no arrays of bfloat16", add_bfloat16},
        {"value 'bad': NumPy has no arrays of int32", add_quantized},
        {"value 'bad': NumPy has no conjugated or negated views", add_conjugated},
        {"value 'bad': npz holds tensors only, and it is a dict (keep the state dict alone",
         add_dict},
        {"value 'bad': npz holds tensors only, and it is an int", add_int},
        {"value 'int': npz holds arrays under str keys only", add_int_key},
        {"value '../bad': its key cannot be the name of a file", add_parent},
        {"value '/bad': its key cannot be the name of a file", add_absolute},
        {"value 'b': its key cannot be the name of a file", add_zero},
        {"its key is no UTF-8", add_surrogate},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_tree_t *tree = tree_of_numbers();
        dropped_t dropped = {{0}};
        lks_save_options_t options = lks_save_options_default();
        (void)add_tensor(tree, "good", (lks_value_tensor_t){.dtype = LKS_DTYPE_F32});
        cases[i].add(tree);
        assert_fails(lks_checkpoint_save(path, tree, NULL), LKS_ERR_UNSUPPORTED, cases[i].message);
        options.drop = true;
        options.dropped = note_dropped;
        options.dropped_context = &dropped;
        assert_ok(lks_checkpoint_save(path, tree, &options));
        cr_assert_gt(strlen(dropped.paths), 1, "case %zu", i);
        assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
        cr_assert_eq(lks_value_count(root()), 1);
        cr_assert(lks_value_find(root(), "good"));
        close_opened();
        lks_tree_destroy(tree);
    }
}

Test(npz, a_root_that_is_no_dict_is_refused)
{
    lks_tree_t *tree = tree_of_numbers();
    lks_tree_set_root(tree, lks_value_list(tree));
    assert_fails(lks_checkpoint_save(path, tree, NULL), LKS_ERR_UNSUPPORTED,
                 "npz holds a dict of tensors, and the root is of kind list");
    lks_tree_destroy(tree);
}

Test(npz, a_corrupt_source_leaves_the_old_file)
{
    const char *copy = test_temp_path("copy.npz");
    test_write_file(copy, "old", 3);
    assert_ok(
        open_strbuf(six_of(HEADER("<i2", "False", "(2, 3)"), (test_record_t){.wrong_crc = 1})));
    assert_fails(lks_checkpoint_save(copy, lks_checkpoint_tree(checkpoint), NULL), LKS_ERR_CORRUPT,
                 "record w.npy) is corrupt");
    size_t nbytes;
    unsigned char *old = test_read_file(copy, &nbytes);
    cr_assert(nbytes == 3 && memcmp(old, "old", 3) == 0);
    free(old);
}
