/* SPDX-License-Identifier: Apache-2.0 */
/* Reading. What the files of the safetensors library hold is compared in test_corpus.c. */
#include "core/thread.h"
#include "serialize/safetensors.h"
#include "serialize/safetensors_maker.h"
#include "serialize/value_node.h"

#include <stdio.h>
#include <stdlib.h>

static lks_checkpoint_t *checkpoint;
static lks_strbuf_t file;

static void teardown(void)
{
    lks_checkpoint_close(checkpoint);
    lks_strbuf_fini(&file);
    checkpoint = NULL;
}

TestSuite(safetensors, .fini = teardown);

/* Opens the file that `file` holds, in memory of exactly its size: a sanitizer sees who reads on. */
static lks_status_t open_file(void)
{
    static unsigned char *copy;
    lks_checkpoint_close(checkpoint);
    checkpoint = NULL;
    free(copy);
    copy = malloc(file.length > 0 ? file.length : 1);
    cr_assert(copy);
    memcpy(copy, file.data, file.length);
    return lks_checkpoint_open_memory(copy, file.length, "a", NULL, &checkpoint);
}

static lks_status_t open_header(const char *header, size_t data_size)
{
    lks_strbuf_fini(&file);
    file = test_safetensors(header, data_size);
    return open_file();
}

static const lks_value_t *root(void)
{
    return lks_tree_root(lks_checkpoint_tree(checkpoint));
}

static const lks_value_tensor_t *tensor_at(const char *name)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(lks_value_find(root(), name));
    cr_assert(tensor, "no tensor '%s'", name);
    return tensor;
}

#define F32_AT(begin, end)                                                                         \
    "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #begin "," #end "]}"
#define U8_AT(size, begin, end)                                                                    \
    "{\"dtype\":\"U8\",\"shape\":[" #size "],\"data_offsets\":[" #begin "," #end "]}"

Test(safetensors, tensors_stand_in_the_order_of_the_header)
{
    assert_ok(open_header("{\"b\":" F32_AT(8, 16) ",\"a\":" F32_AT(0, 8) "}", 16));
    cr_assert_str_eq(lks_checkpoint_format(checkpoint), "safetensors");
    cr_assert_eq(lks_checkpoint_file_size(checkpoint), file.length);
    cr_assert(lks_value_dict_is_ordered(root()));
    cr_assert_str_eq(lks_value_text(lks_value_key_at(root(), 0), NULL), "b");
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root(), 0), "b", &tensor));
    cr_assert(tensor.ndim == 1 && tensor.shape[0] == 2 && tensor.dtype == LKS_DTYPE_F32);
    cr_assert_eq(*(const unsigned char *)lks_tensor_data(&tensor), 8);
}

Test(safetensors, metadata_is_an_attribute)
{
    assert_ok(
        open_header("{\"__metadata__\":{\"a\":\"1\",\"\":\"\\u00e9\"},\"t\":" F32_AT(0, 8) "}", 8));
    const lks_value_t *metadata = lks_value_find(lks_value_dict_attributes(root()), "__metadata__");
    cr_assert_eq(lks_value_count(metadata), 2);
    cr_assert_str_eq(lks_value_text(lks_value_find(metadata, "a"), NULL), "1");
    cr_assert_str_eq(lks_value_text(lks_value_find(metadata, ""), NULL), "\xc3\xa9");
    cr_assert_eq(lks_value_count(root()), 1);
    static const char *const none[] = {"{}", "{\"__metadata__\":null}", "{\"__metadata__\":{}}",
                                       " {\n\t}\r "};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_ok(open_header(none[i], 0));
        metadata = lks_value_find(lks_value_dict_attributes(root()), "__metadata__");
        cr_assert_eq(lks_value_count(metadata), 0);
        cr_assert_eq(lks_value_count(root()), 0);
    }
}

Test(safetensors, names_may_be_anything)
{
    assert_ok(open_header("{\"\":" U8_AT(1, 0, 1) ",\"a\\u0000b\":" U8_AT(
                              1, 1, 2) ",\"\\ud83d\\ude00\":" U8_AT(1, 2, 3) "}",
                          3));
    size_t nbytes;
    cr_assert(memcmp(lks_value_text(lks_value_key_at(root(), 1), &nbytes), "a\0b", 3) == 0);
    cr_assert_eq(nbytes, 3);
    cr_assert_eq(tensor_at("")->storage, 0);
    cr_assert_eq(tensor_at("\xf0\x9f\x98\x80")->storage, 2);
}

Test(safetensors, every_dtype_of_the_format)
{
    static const struct {
        const char *name, *dtype, *shape;
        size_t nbytes;
        int64_t last; /* dimension, as ours counts it */
    } cases[] = {
        {"BOOL", "bool", "[3]", 3, 3},
        {"U8", "uint8", "[3]", 3, 3},
        {"I8", "int8", "[3]", 3, 3},
        {"U16", "uint16", "[3]", 6, 3},
        {"I16", "int16", "[3]", 6, 3},
        {"F16", "float16", "[3]", 6, 3},
        {"BF16", "bfloat16", "[3]", 6, 3},
        {"U32", "uint32", "[3]", 12, 3},
        {"I32", "int32", "[3]", 12, 3},
        {"F32", "float32", "[3]", 12, 3},
        {"U64", "uint64", "[3]", 24, 3},
        {"I64", "int64", "[3]", 24, 3},
        {"F64", "float64", "[3]", 24, 3},
        {"C64", "complex64", "[3]", 24, 3},
        {"F8_E5M2", "float8_e5m2", "[3]", 3, 3},
        {"F8_E4M3", "float8_e4m3fn", "[3]", 3, 3},
        {"F8_E8M0", "float8_e8m0fnu", "[3]", 3, 3},
        {"F8_E4M3FNUZ", "float8_e4m3fnuz", "[3]", 3, 3},
        {"F8_E5M2FNUZ", "float8_e5m2fnuz", "[3]", 3, 3},
        {"F4", "float4_e2m1fn_x2", "[5,6]", 15, 3},
        {"F4", "float4_e2m1fn_x2", "[1,0]", 0, 0},
        {"F6_E2M3", "float6_e2m3fn_x4", "[3,8]", 18, 2},
        {"F6_E3M2", "float6_e3m2fn_x4", "[4]", 3, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[128];
        (void)snprintf(header, sizeof header,
                       "{\"t\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%zu]}}",
                       cases[i].name, cases[i].shape, cases[i].nbytes);
        assert_ok(open_header(header, cases[i].nbytes));
        const lks_value_tensor_t *tensor = tensor_at("t");
        cr_assert_str_eq(lks_dtype_name(tensor->dtype), cases[i].dtype);
        cr_assert_eq(tensor->shape[tensor->ndim - 1], cases[i].last);
        cr_assert_eq(tensor->stride[tensor->ndim - 1], 1);
    }
}

/* --- what is refused ---------------------------------------------------------------------------- */

#define TENSOR(fields) "{\"t\":{" fields "}}"
#define D "\"dtype\":\"F32\""
#define S "\"shape\":[2]"
#define O "\"data_offsets\":[0,8]"

static const struct {
    const char *header;
    size_t data_size;
    lks_status_t status;
    const char *why;
} bad[] = {
    /* the JSON */
    {"{\"\xff\":1}", 0, LKS_ERR_FORMAT, "the header is no valid UTF-8"},
    {"{\"t\":}", 0, LKS_ERR_FORMAT, "tensor 't': the header at byte 5: wants an object, found '}'"},
    {"{\"t\":[]}", 0, LKS_ERR_FORMAT, "tensor 't': the header at byte 5: wants an object"},
    {"{\"t\":" F32_AT(0, 8) "} {}", 8, LKS_ERR_FORMAT, "wants its end, found '{'"},
    {"{\"t\":" F32_AT(0, 8) "}\v", 8, LKS_ERR_FORMAT, "wants its end, found byte 0b"},
    {"{\"t\":" F32_AT(0, 8) ",}", 8, LKS_ERR_FORMAT, "wants a key"},
    {"{\"\\ud800\":" F32_AT(0, 8) "}", 8, LKS_ERR_FORMAT, "a surrogate"},
    /* an entry */
    {TENSOR(S "," O), 8, LKS_ERR_FORMAT, "tensor 't': it has no 'dtype'"},
    {TENSOR(D "," O), 8, LKS_ERR_FORMAT, "tensor 't': it has no 'shape'"},
    {TENSOR(D "," S), 8, LKS_ERR_FORMAT, "tensor 't': it has no 'data_offsets'"},
    {TENSOR(""), 8, LKS_ERR_FORMAT, "tensor 't': it has no 'dtype'"},
    {TENSOR(D "," S "," O "," D), 8, LKS_ERR_FORMAT, "tensor 't': it has 'dtype' twice"},
    {TENSOR(D "," S "," S "," O), 8, LKS_ERR_FORMAT, "tensor 't': it has 'shape' twice"},
    {TENSOR(O "," D "," S "," O), 8, LKS_ERR_FORMAT, "tensor 't': it has 'data_offsets' twice"},
    {TENSOR(S "," O ",\"dtype\":\"F33\\n\""), 8, LKS_ERR_UNSUPPORTED,
     "its dtype 'F33\\x0a' is not known"},
    {TENSOR(S "," O ",\"dtype\":\"f32\""), 8, LKS_ERR_UNSUPPORTED, "its dtype 'f32' is not known"},
    {TENSOR(S "," O ",\"dtype\":1"), 8, LKS_ERR_FORMAT, "wants a string, found '1'"},
    {TENSOR(D "," O ",\"shape\":[2.0]"), 8, LKS_ERR_FORMAT, "not made of digits alone"},
    {TENSOR(D "," O ",\"shape\":[2e0]"), 8, LKS_ERR_FORMAT, "not made of digits alone"},
    {TENSOR(D "," O ",\"shape\":[-2]"), 8, LKS_ERR_FORMAT, "a number without sign, found '-'"},
    {TENSOR(D "," O ",\"shape\":[-0]"), 8, LKS_ERR_FORMAT, "a number without sign, found '-'"},
    {TENSOR(D "," O ",\"shape\":[02]"), 8, LKS_ERR_FORMAT, "not made of digits alone"},
    {TENSOR(D "," O ",\"shape\":[\"2\"]"), 8, LKS_ERR_FORMAT, "a number without sign"},
    {TENSOR(D "," O ",\"shape\":2"), 8, LKS_ERR_FORMAT, "wants an array, found '2'"},
    {TENSOR(D "," O ",\"shape\":null"), 8, LKS_ERR_FORMAT, "wants an array, found 'n'"},
    {TENSOR(D "," O ",\"shape\":[0,9223372036854775808]"), 8, LKS_ERR_FORMAT, "no tensor can have"},
    {TENSOR(D "," O ",\"shape\":[18446744073709551616]"), 8, LKS_ERR_FORMAT, "more than 64 bits"},
    {TENSOR(D "," S ",\"data_offsets\":[8]"), 8, LKS_ERR_FORMAT, "data_offsets are fewer than two"},
    {TENSOR(D "," S ",\"data_offsets\":[]"), 8, LKS_ERR_FORMAT, "data_offsets are fewer than two"},
    {TENSOR(D "," S ",\"data_offsets\":[0,8,8]"), 8, LKS_ERR_FORMAT,
     "data_offsets are more than two"},
    {TENSOR(D "," S ",\"data_offsets\":[8,0]"), 8, LKS_ERR_FORMAT,
     "it ends at byte 0, before it begins, at 8"},
    {TENSOR(D "," S ",\"data_offsets\":[0,8.0]"), 8, LKS_ERR_FORMAT, "not made of digits alone"},
    {TENSOR(D "," S ",\"data_offsets\":[0,18446744073709551615]"), 8, LKS_ERR_FORMAT,
     "it ends at byte 18446744073709551615 of the data, of which there are 8"},
    {TENSOR(D "," S "," O ",\"x\":[{\"y\":tru}]"), 8, LKS_ERR_FORMAT, "wants a value"},
    {"{\"t\":" F32_AT(0, 8) ",\"t\":" F32_AT(0, 8) "}", 8, LKS_ERR_FORMAT,
     "tensor 't': the header has it twice"},
    {"{\"t\":" F32_AT(0, 8) ",\"\\u0074\":" U8_AT(0, 8, 8) "}", 8, LKS_ERR_FORMAT,
     "the header has it twice"},
    /* sizes */
    {TENSOR(D "," S ",\"data_offsets\":[0,7]"), 8, LKS_ERR_FORMAT,
     "its dtype and shape need 8 bytes, its data_offsets are 7 apart"},
    {TENSOR(D "," O ",\"shape\":[4294967296,4294967296]"), 8, LKS_ERR_FORMAT,
     "more than 2^64 bits"},
    {TENSOR(D "," O ",\"shape\":[4294967296,4294967296,0]"), 8, LKS_ERR_FORMAT,
     "more than 2^64 bits"},
    {TENSOR(D "," O ",\"shape\":[1152921504606846976]"), 8, LKS_ERR_FORMAT, "more than 2^64 bits"},
    {TENSOR(S "," O ",\"dtype\":\"F4\""), 8, LKS_ERR_FORMAT,
     "need 1 bytes, its data_offsets are 8 apart"},
    {TENSOR("\"shape\":[3]," O ",\"dtype\":\"F4\""), 8, LKS_ERR_FORMAT,
     "its 12 bits do not fill bytes"},
    {TENSOR("\"shape\":[]," O ",\"dtype\":\"F4\""), 8, LKS_ERR_FORMAT,
     "its 4 bits do not fill bytes"},
    {TENSOR("\"shape\":[2]," O ",\"dtype\":\"F6_E2M3\""), 8, LKS_ERR_FORMAT,
     "its 12 bits do not fill bytes"},
    {TENSOR("\"shape\":[2,1],\"data_offsets\":[0,1],\"dtype\":\"F4\""), 1, LKS_ERR_UNSUPPORTED,
     "its last dimension is no multiple of 2 elements of dtype F4, which fill 1 bytes together"},
    {TENSOR("\"shape\":[2,2],\"data_offsets\":[0,3],\"dtype\":\"F6_E3M2\""), 3, LKS_ERR_UNSUPPORTED,
     "no multiple of 4 elements of dtype F6_E3M2, which fill 3 bytes together"},
    /* places */
    {"{\"t\":" F32_AT(1, 9) "}", 9, LKS_ERR_FORMAT,
     "tensor 't': it begins at byte 1 of the data, but the one before it ends at 0, and there are "
     "no holes"},
    {"{\"s\":" F32_AT(0, 8) ",\"t\":" F32_AT(9, 17) "}", 17, LKS_ERR_FORMAT,
     "tensor 't': it begins at byte 9"},
    {"{\"t\":" F32_AT(9, 17) ",\"s\":" F32_AT(0, 8) "}", 17, LKS_ERR_FORMAT,
     "tensor 't': it begins at byte 9"},
    {"{\"s\":" F32_AT(0, 8) ",\"t\":" F32_AT(7, 15) "}", 15, LKS_ERR_FORMAT,
     "tensor 't': it begins at byte 7 of the data, but the one before it ends at 8, and there are "
     "no overlaps"},
    {"{\"s\":" F32_AT(0, 8) ",\"t\":" F32_AT(0, 8) "}", 8, LKS_ERR_FORMAT, "no overlaps"},
    {"{\"s\":" F32_AT(0, 8) ",\"t\":" U8_AT(0, 4, 4) "}", 8, LKS_ERR_FORMAT,
     "tensor 't': it begins at byte 4"},
    {"{\"t\":" F32_AT(0, 8) "}", 9, LKS_ERR_FORMAT,
     "1 bytes follow the last tensor, which ends at byte 8 of the data"},
    {"{\"t\":" F32_AT(0, 8) "}", 7, LKS_ERR_FORMAT,
     "it ends at byte 8 of the data, of which there are 7"},
    {"{}", 1, LKS_ERR_FORMAT, "1 bytes follow the last tensor"},
    /* metadata */
    {"{\"__metadata__\":{\"a\":1}}", 0, LKS_ERR_FORMAT, "wants a string, found '1'"},
    {"{\"__metadata__\":{\"a\":null}}", 0, LKS_ERR_FORMAT, "wants a string, found 'n'"},
    {"{\"__metadata__\":[]}", 0, LKS_ERR_FORMAT, "wants an object, found '['"},
    {"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, LKS_ERR_FORMAT, "has a key twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, LKS_ERR_FORMAT, "has '__metadata__' twice"},
    {"{\"__metadata__\":null,\"__metadata__\":{}}", 0, LKS_ERR_FORMAT, "has '__metadata__' twice"},
};

Test(safetensors, every_rule_has_its_sentence)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lks_status_t status = open_header(bad[i].header, bad[i].data_size);
        cr_assert_eq(status, bad[i].status, "%s: %s", bad[i].header,
                     status == LKS_OK ? "it was read" : lks_last_error()->message);
        cr_assert(strstr(lks_last_error()->message, bad[i].why), "%s: %s", bad[i].header,
                  lks_last_error()->message);
        cr_assert(strstr(lks_last_error()->message, "reading 'a': "));
    }
}

Test(safetensors, lengths_that_lie)
{
    static const struct {
        unsigned char length[8];
        const char *why;
    } cases[] = {
        {{255, 0, 0, 0, 0, 0, 0, 0}, "the header claims 255 bytes, 9 are left"},
        {{10, 0, 0, 0, 0, 0, 0, 0}, "the header claims 10 bytes, 9 are left"},
        {{1, 225, 245, 5, 0, 0, 0, 0}, "the header claims 100000001 bytes, the most is 100000000"},
        {{0, 225, 245, 5, 0, 0, 0, 0}, "the header claims 100000000 bytes, 9 are left"},
        {{255, 255, 255, 255, 255, 255, 255, 0}, "bytes, the most is 100000000"},
        {{255, 255, 255, 255, 255, 255, 255, 255}, "it is no checkpoint"},
        {{0, 0, 0, 0, 0, 0, 0, 0}, "the header at byte 0: it ends where an object is wanted"},
        {{1, 0, 0, 0, 0, 0, 0, 0}, "the header at byte 1: it ends where a key is wanted"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_strbuf_fini(&file);
        lks_strbuf_append(&file, cases[i].length, 8);
        lks_strbuf_append_str(&file, "{\"t\":   }");
        assert_fails(open_file(), LKS_ERR_FORMAT, cases[i].why);
    }
}

Test(safetensors, cut_short_at_any_byte_it_is_refused)
{
    size_t nbytes;
    unsigned char *whole = test_read_file(TEST_DATA_DIR "/corpus/t26_dtypes.safetensors", &nbytes);
    for (size_t length = 1; length < nbytes; length++) {
        lks_strbuf_clear(&file);
        lks_strbuf_append(&file, whole, length);
        cr_assert_eq(open_file(), LKS_ERR_FORMAT, "%zu bytes", length);
    }
    free(whole);
}

/* Any byte of the header may be anything: it is refused or it is read, and what is read lies in the file. */
Test(safetensors, a_changed_byte_leads_nowhere)
{
    size_t nbytes;
    unsigned char *whole =
        test_read_file(TEST_DATA_DIR "/corpus/x_leading_ws.safetensors", &nbytes);
    static const unsigned char values[] = {0, '0', '9', '"', '{', '}', '[', ']', ',', '\\', 0xff};
    for (size_t at = 0; at < 8 + 114; at++) {
        for (size_t i = 0; i < sizeof values; i++) {
            lks_strbuf_clear(&file);
            lks_strbuf_append(&file, whole, nbytes);
            file.data[at] = (char)values[i];
            if (open_file() == LKS_OK) {
                lks_tensor_t tensor;
                for (size_t t = 0; t < lks_value_count(root()); t++) {
                    assert_ok(
                        lks_checkpoint_tensor(checkpoint, lks_value_at(root(), t), NULL, &tensor));
                    cr_assert_leq(lks_tensor_nbytes(&tensor), 12);
                }
            }
        }
    }
    free(whole);
}

Test(safetensors, limits_are_kept)
{
    lks_strbuf_t header = {0};
    lks_strbuf_append_str(&header, "{\"t\":{\"shape\":[0");
    for (int i = 0; i < 100000; i++) {
        lks_strbuf_append_str(&header, ",1");
    }
    lks_strbuf_append_str(&header, "]," D ",\"data_offsets\":[0,0]}}");
    file = test_safetensors_n(header.data, header.length, 0);
    lks_strbuf_fini(&header);
    assert_ok(open_file());
    cr_assert_eq(tensor_at("t")->ndim, 100001);
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    lks_checkpoint_t *none;
    limits.memory = 1 << 19;
    assert_fails(lks_checkpoint_open_memory(file.data, file.length, "a", &limits, &none),
                 LKS_ERR_FORMAT, "the header needs more than the limit of 524288 bytes");
    limits = lks_checkpoint_limits_default();
    limits.max_nodes = 3;
    assert_fails(lks_checkpoint_open_memory(file.data, file.length, "a", &limits, &none),
                 LKS_ERR_FORMAT, "more values than the limit of 3");
}

/* --- bytes -------------------------------------------------------------------------------------- */

/* A header of an odd length: nothing but bytes is aligned. */
Test(safetensors, tensors_are_aligned_wherever_they_lie)
{
    for (size_t pad = 0; pad < 8; pad++) {
        char header[256];
        (void)snprintf(header, sizeof header,
                       "{\"a\":{\"dtype\":\"I64\",\"shape\":[600],\"data_offsets\":[0,4800]},"
                       "\"b\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[4800,4804]}}%.*s",
                       (int)pad, "       ");
        assert_ok(open_header(header, 4804));
        for (size_t i = 0; i < 6; i++) {
            size_t begin = i % 2 ? 4800 : 0;
            lks_tensor_t tensor;
            assert_ok(
                lks_checkpoint_tensor(checkpoint, lks_value_at(root(), i % 2), NULL, &tensor));
            const unsigned char *data = lks_tensor_data(&tensor);
            cr_assert_eq((uintptr_t)data % lks_dtype_size(tensor.dtype), 0);
            for (size_t k = 0; k < lks_tensor_nbytes(&tensor); k++) {
                cr_assert_eq(data[k], (unsigned char)(begin + k));
            }
            lks_checkpoint_unload(checkpoint, tensor_at(i % 2 ? "b" : "a")->storage);
        }
    }
}

static void load_all(void *context)
{
    lks_checkpoint_t *shared = context;
    for (size_t i = 0; i < lks_tree_storage_count(lks_checkpoint_tree(shared)); i++) {
        const void *data;
        size_t nbytes;
        cr_expect(lks_checkpoint_storage(shared, i, NULL, &data, &nbytes) == LKS_OK);
        cr_expect_eq(*(const unsigned char *)data, (unsigned char)(4 * i));
    }
}

/* Copies of tensors that are not aligned are filled by one of them. */
Test(safetensors, many_threads_may_load_at_once)
{
    lks_strbuf_t header = {0};
    for (int i = 0; i < 200; i++) {
        lks_strbuf_appendf(&header,
                           "%s\"%d\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[%d,%d]}",
                           i ? "," : "{", i, 4 * i, 4 * i + 4);
    }
    lks_strbuf_append_str(&header, header.length % 2 ? "} " : "}"); /* an odd place for the data */
    lks_strbuf_append_str(&header, header.length % 2 ? "" : " ");
    file = test_safetensors_n(header.data, header.length, 800);
    lks_strbuf_fini(&header);
    assert_ok(open_file());
    lks_thread_t *threads[4];
    for (int i = 0; i < 4; i++) {
        assert_ok(lks_thread_create("load", load_all, checkpoint, &threads[i]));
    }
    for (int i = 0; i < 4; i++) {
        lks_thread_join(threads[i]);
    }
}

Test(safetensors, many_tensors_of_a_misaligned_file_need_one_mapping)
{
    enum { COUNT = 70000 }; /* more than the mappings a process may have */
    lks_strbuf_t header = {0};
    for (int i = 0; i < COUNT; i++) {
        lks_strbuf_appendf(&header,
                           "%s\"%d\":{\"dtype\":\"I16\",\"shape\":[],\"data_offsets\":[%d,%d]}",
                           i ? "," : "{", i, 2 * i, 2 * i + 2);
    }
    lks_strbuf_append_str(&header, header.length % 2 ? "} " : "}");
    lks_strbuf_append_str(&header, header.length % 2 ? "" : " ");
    file = test_safetensors_n(header.data, header.length, 2 * (size_t)COUNT);
    lks_strbuf_fini(&header);
    assert_ok(open_file());
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root(), COUNT - 1), NULL, &tensor));
    cr_assert_eq(*(const unsigned char *)lks_tensor_data(&tensor), (2 * (COUNT - 1)) & 255);
}
