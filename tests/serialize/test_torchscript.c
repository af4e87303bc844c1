/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of torch.jit.save: the module and its constants, the records beside them, and what is refused. */
#include "serialize/opened.h"
#include "serialize/tree_text.h"
#include "serialize/zip_maker.h"

#include <lockstep/state_dict.h>
#include <stdio.h>
#include <stdlib.h>

#define CORPUS TEST_DATA_DIR "/corpus/"
#define NAMED(record, bytes)                                                                       \
    {                                                                                              \
        .name = record, .data = bytes, .nbytes = sizeof(bytes) - 1                                 \
    }

/* A tensor of two float32, in the storage of that one-digit key. */
#define TENSOR(key)                                                                                \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" key     \
    "X\3\0\0\0cpuK\2tQK\0(K\2t(K\1t\x89"                                                           \
    "ccollections\nOrderedDict\n)RtR"
#define JIT(function) "ctorch.jit._pickle\n" function "\n"

static void setup(void)
{
    path = test_temp_path("a.pt");
}

TestSuite(torchscript, .init = setup, .fini = close_opened);

static void open_corpus(const char *name)
{
    close_opened();
    char file[256];
    (void)snprintf(file, sizeof file, CORPUS "%s", name);
    assert_ok(lks_checkpoint_open(file, NULL, &checkpoint));
    cr_assert_str_eq(lks_checkpoint_format(checkpoint), "torchscript");
}

static const lks_value_t *attribute(const lks_value_t *module, const char *name)
{
    const lks_value_t *value = lks_value_find(lks_value_object_state(module), name);
    cr_assert(value, "no attribute %s", name);
    return value;
}

/* Index of a record by its name; fails the test if there is none. */
static size_t find_record(const char *name)
{
    for (size_t i = 0; i < lks_checkpoint_record_count(checkpoint); i++) {
        if (strcmp(lks_checkpoint_record(checkpoint, i)->name, name) == 0) {
            return i;
        }
    }
    cr_assert_fail("no record %s", name);
    return 0;
}

/* Its text, to be freed. */
static char *read_record(const char *name)
{
    size_t index = find_record(name);
    uint64_t nbytes = lks_checkpoint_record(checkpoint, index)->nbytes;
    char *text = malloc((size_t)nbytes + 1);
    cr_assert(text);
    assert_ok(lks_checkpoint_record_read(checkpoint, index, text));
    text[nbytes] = '\0';
    return text;
}

/* --- what torch wrote --------------------------------------------------------------------------- */

Test(torchscript, a_module_is_an_object_with_its_attributes)
{
    static const char *const names[] = {"t113_ts_branchy_script.pt", "t26_ts_branchy_script.pt"};
    for (size_t i = 0; i < 2; i++) {
        open_corpus(names[i]);
        cr_assert_str_eq(lks_value_class_name(root()), "__torch__.Branchy");
        cr_assert_eq(lks_value_object_how(root()), LKS_OBJECT_NEW);
        cr_assert(!lks_value_tensor(attribute(root(), "mean"))->requires_grad, "a buffer");
        const lks_value_t *linear = attribute(root(), "lin");
        cr_assert(strncmp(lks_value_class_name(linear), "__torch__.torch.nn.modules.linear.", 34) ==
                  0);
        cr_assert(lks_value_tensor(attribute(linear, "weight"))->requires_grad, "a parameter");
        const lks_value_t *ints = attribute(root(), "ints"), *texts = attribute(root(), "names");
        cr_assert(lks_value_kind(ints) == LKS_VALUE_LIST && lks_value_count(ints) == 3);
        cr_assert(lks_value_kind(texts) == LKS_VALUE_LIST && lks_value_count(texts) == 2);
        double x;
        assert_ok(lks_value_get_float(lks_value_find(attribute(root(), "cfg"), "x"), &x));
        cr_assert_eq(x, 1.5);
    }
}

Test(torchscript, code_and_added_files_are_records)
{
    open_corpus("t113_ts_branchy_script.pt");
    char *code = read_record("code/__torch__.py"), *notes = read_record("extra/notes.txt");
    char *version = read_record("version");
    cr_assert(strncmp(code, "class Branchy(Module):\n  __parameters__ = []\n", 45) == 0, "%s",
              code);
    cr_assert(strstr(code, "def forward(self: __torch__.Branchy,"));
    cr_assert_str_eq(notes, "hello");
    cr_assert_str_eq(version, "4\n");
    for (size_t i = 0; i < lks_checkpoint_record_count(checkpoint); i++) {
        cr_assert_neq(strncmp(lks_checkpoint_record(checkpoint, i)->name, "data/", 5), 0);
    }
    cr_assert_null(lks_checkpoint_record(checkpoint, lks_checkpoint_record_count(checkpoint)));
    assert_fails(lks_checkpoint_record_read(checkpoint, SIZE_MAX, code), LKS_ERR_INVALID_ARG,
                 "records, no number");
    free(version);
    free(notes);
    free(code);
}

Test(torchscript, a_frozen_module_has_its_weights_in_constants)
{
    static const char *const names[] = {"t113_ts_cnn_frozen.pt", "t26_ts_cnn_frozen.pt"};
    for (size_t i = 0; i < 2; i++) {
        open_corpus(names[i]);
        cr_assert_eq(lks_value_count(lks_value_object_state(root())), 0);
        const lks_value_t *constants = lks_checkpoint_constants(checkpoint);
        cr_assert_eq(lks_value_count(constants), 7);
        for (size_t j = 0; j < 7; j++) {
            lks_tensor_t tensor;
            assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(constants, j), "c", &tensor));
        }
        const lks_value_tensor_t *weight = lks_value_tensor(lks_value_at(constants, 1));
        cr_assert(weight->ndim == 4 && weight->shape[0] == 3 && weight->shape[3] == 3);
        lks_state_dict_t *dict;
        assert_fails(lks_state_dict_find(lks_checkpoint_tree(checkpoint), NULL, NULL, &dict),
                     LKS_ERR_NOT_FOUND, "a frozen one keeps its weights as constants of its code");
    }
}

Test(torchscript, other_formats_have_no_constants_but_records)
{
    assert_ok(lks_checkpoint_open(CORPUS "t26_iris_sd.pth", NULL, &checkpoint));
    cr_assert_null(lks_checkpoint_constants(checkpoint));
    char *order = read_record("byteorder"), *id = read_record(".data/serialization_id");
    cr_assert_str_eq(order, "little");
    cr_assert_eq(strlen(id), 40);
    free(id);
    free(order);
}

/* --- made by hand ------------------------------------------------------------------------------- */

static const float numbers[2] = {1.5f, -2};

#define STORAGE(record)                                                                            \
    {                                                                                              \
        .name = record, .data = numbers, .nbytes = sizeof numbers                                  \
    }

/* data.pkl and constants.pkl as given, data/0, constants/0 and a version. */
#define archive_of(pickle, constants)                                                              \
    test_zip((const test_record_t[]){STORAGE("m/data/0"), NAMED("m/data.pkl", pickle),             \
                                     STORAGE("m/constants/0"),                                     \
                                     NAMED("m/constants.pkl", constants),                          \
                                     NAMED("m/version", "10\n")},                                  \
             5)

Test(torchscript, each_pickle_has_storages_of_its_own)
{
    assert_ok(open_strbuf(archive_of(TENSOR("0") ".", "(" TENSOR("0") "t.")));
    const lks_value_tensor_t *weight = lks_value_tensor(root());
    const lks_value_tensor_t *constant =
        lks_value_tensor(lks_value_at(lks_checkpoint_constants(checkpoint), 0));
    cr_assert(weight && constant);
    cr_assert_neq(weight->storage, constant->storage);
    assert_fails(open_strbuf(archive_of(TENSOR("1") ".", ").")), LKS_ERR_FORMAT,
                 "data.pkl at byte 84: the archive has no record 'data/1'");
    assert_fails(open_strbuf(archive_of("N.", "(" TENSOR("7") "t.")), LKS_ERR_FORMAT,
                 "the archive has no record 'constants/7'");
}

Test(torchscript, typed_lists_and_tags_are_plain_values)
{
    assert_ok(open_strbuf(archive_of(JIT("build_intlist") "(](K\1K\2etR.", ").")));
    cr_assert(lks_value_kind(root()) == LKS_VALUE_LIST && lks_value_count(root()) == 2);
    assert_ok(open_strbuf(archive_of(JIT("restore_type_tag") "}X\3\0\0\0Any\x86R.",
                                     "(" JIT("build_boollist") "(]tRt.")));
    cr_assert_eq(lks_value_kind(root()), LKS_VALUE_DICT);
    cr_assert_eq(lks_value_kind(lks_value_at(lks_checkpoint_constants(checkpoint), 0)),
                 LKS_VALUE_LIST);
}

Test(torchscript, calls_that_are_none_of_those_stay_calls)
{
    static const struct {
        const char *pickle;
        size_t nbytes;
    } cases[] = {
#define CASE(pickle) {pickle, sizeof(pickle) - 1}
        CASE(JIT("build_intlist") "(K\1tR."),         /* of no list */
        CASE(JIT("build_intlist") ")R."),             /* of nothing */
        CASE(JIT("build_intlist") "(]]tR."),          /* of two */
        CASE(JIT("restore_type_tag") "(]tR."),        /* without a tag */
        CASE(JIT("build_tensor_from_id") "(K\1tR."),  /* of old files */
        CASE(JIT("build_") "(]tR."),                  /* nothing is called so */
        CASE("ctorch.jit._pickl\nbuild_list\n(]tR."), /* of another module */
        CASE(JIT("build_intlist") "(]t\x81."),        /* an instance */
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const test_record_t records[] = {
            {.name = "m/data.pkl", .data = cases[i].pickle, .nbytes = cases[i].nbytes},
            NAMED("m/constants.pkl", ")."),
            NAMED("m/version", "3\n")};
        assert_ok(open_strbuf(test_zip(records, 3)));
        cr_assert_eq(lks_value_kind(root()), LKS_VALUE_OBJECT, "case %zu", i);
    }
}

Test(torchscript, lite_interpreter_records_are_tolerated)
{
    const test_record_t records[] = {NAMED("m/data.pkl", "N."), NAMED("m/constants.pkl", ")."),
                                     NAMED("m/bytecode.pkl", "garbage"),
                                     NAMED("m/mobile_debug_handles.pkl", ""),
                                     NAMED("m/.data/version", "7\n")};
    assert_ok(open_strbuf(test_zip(records, 5)));
    char *bytecode = read_record("bytecode.pkl"), *empty = read_record("mobile_debug_handles.pkl");
    cr_assert_str_eq(bytecode, "garbage");
    cr_assert_str_eq(empty, "");
    free(empty);
    free(bytecode);
}

/* --- refused ------------------------------------------------------------------------------------ */

Test(torchscript, broken_archives_are_refused)
{
    const test_record_t bare[] = {NAMED("m/constants.pkl", ")."), NAMED("m/version", "3\n")};
    assert_fails(open_strbuf(test_zip(bare, 2)), LKS_ERR_FORMAT, "without a record 'data.pkl'");
    assert_fails(open_strbuf(archive_of("N.", ")..")), LKS_ERR_FORMAT,
                 "constants.pkl: 1 bytes follow the end of the pickle");
    assert_fails(open_strbuf(archive_of("N.", "(")), LKS_ERR_FORMAT, "constants.pkl at byte 1");
    assert_fails(open_strbuf(archive_of("N.", "N.")), LKS_ERR_FORMAT,
                 "constants.pkl holds a none, not a tuple");
    const test_record_t newer[] = {NAMED("m/data.pkl", "N."), NAMED("m/constants.pkl", ")."),
                                   NAMED("m/version", "11\n")};
    assert_fails(open_strbuf(test_zip(newer, 3)), LKS_ERR_UNSUPPORTED, "version 11");
    const test_record_t elsewhere[] = {NAMED("m/data.pkl", "N."), NAMED("m/constants.pkl", ")."),
                                       NAMED("n/version", "3\n")};
    assert_fails(open_strbuf(test_zip(elsewhere, 3)), LKS_ERR_FORMAT, "outside of the folder 'm/'");
}

Test(torchscript, damage_is_found_where_it_is_read)
{
    const test_record_t records[] = {
        {.name = "m/data/0", .data = numbers, .nbytes = sizeof numbers, .wrong_crc = 1},
        NAMED("m/data.pkl", TENSOR("0") "."),
        NAMED("m/constants.pkl", ")."),
        {.name = "m/code/__torch__.py",
         .data = "pass",
         .nbytes = 4,
         .deflate = true,
         .wrong_crc = 1},
        NAMED("m/version", "3\n")};
    assert_ok(open_strbuf(test_zip(records, 5)));
    lks_tensor_t tensor;
    char code[4];
    assert_fails(lks_checkpoint_tensor(checkpoint, root(), "weight", &tensor), LKS_ERR_CORRUPT,
                 "a.pt': tensor 'weight' (record data/0) is corrupt: CRC-32 is");
    assert_fails(lks_checkpoint_record_read(checkpoint, find_record("code/__torch__.py"), code),
                 LKS_ERR_CORRUPT, "a.pt': record 'm/code/__torch__.py' is unusable: CRC-32 is");
}

/* Everything that can be read of a file, without a fault. */
static void read_everything(void)
{
    for (size_t i = 0; i < lks_checkpoint_record_count(checkpoint); i++) {
        uint64_t nbytes = lks_checkpoint_record(checkpoint, i)->nbytes;
        if (nbytes < 1 << 20) {
            void *data = malloc((size_t)nbytes + 1);
            cr_assert(data);
            (void)!lks_checkpoint_record_read(checkpoint, i, data);
            free(data);
        }
    }
    for (size_t i = 0; i < lks_tree_storage_count(lks_checkpoint_tree(checkpoint)); i++) {
        const void *data;
        size_t nbytes;
        (void)!lks_checkpoint_storage(checkpoint, i, NULL, &data, &nbytes);
    }
}

Test(torchscript, a_file_damaged_anywhere_is_harmless)
{
    size_t nbytes;
    unsigned char *file = test_read_file(CORPUS "t113_ts_cnn_frozen.pt", &nbytes);
    for (size_t at = 0; at < nbytes; at++) {
        if (lks_checkpoint_open_memory(file, at ? at : 1, "cut", NULL, &checkpoint) == LKS_OK) {
            cr_assert_fail("cut to %zu bytes it was read", at);
        }
        file[at] ^= 0x41;
        if (lks_checkpoint_open_memory(file, nbytes, "flipped", NULL, &checkpoint) == LKS_OK) {
            read_everything();
            close_opened();
        }
        file[at] ^= 0x41;
    }
    free(file);
}
