/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of NumPy's arrays: every form NumPy writes is read, and nothing else is. */
#include "serialize/bytes.h"
#include "serialize/npy.h"
#include "support/support.h"

#include <stdio.h>

/* A header of that text and version; `*size` gets its bytes. */
static unsigned char *header_of(const char *text, unsigned major, size_t *size)
{
    static unsigned char data[1024];
    size_t length = strlen(text);
    unsigned char *at = data + 6;
    memcpy(data, LKS_NPY_MAGIC, 6);
    *at++ = (unsigned char)major;
    *at++ = 0;
    at = lks_put_uint(at, length, major == 1 ? 2 : 4);
    memcpy(at, text, length);
    *size = (size_t)(at - data) + length;
    return data;
}

static lks_status_t read_text(const char *text, size_t nbytes, lks_npy_t *out)
{
    size_t size;
    const unsigned char *data = header_of(text, 1, &size);
    return lks_npy_read(data, size + nbytes, out);
}

#define HEADER(descr, order, shape)                                                                \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

Test(npy, headers_of_every_version_are_read)
{
    for (unsigned major = 1; major <= 3; major++) {
        size_t size;
        lks_npy_t npy;
        const unsigned char *data =
            header_of(HEADER("<f4", "True", "(3, 4)") "   \n", major, &size);
        assert_ok(lks_npy_read(data, size + 48, &npy));
        cr_assert(npy.dtype == LKS_DTYPE_F32 && !npy.big_endian && npy.fortran_order);
        cr_assert(npy.ndim == 2 && npy.shape[0] == 3 && npy.shape[1] == 4);
        cr_assert(npy.header == size && npy.nbytes == 48);
    }
}

Test(npy, spellings_that_mean_the_same_are_read)
{
    static const char *const texts[] = {
        "{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<i2\"}",
        " { 'fortran_order' :False , 'shape' :( 2 , ), 'descr':'=i2' , } \n",
        "{'descr': '|i2', 'fortran_order': False, 'shape': (2L,)}", /* Python 2 */
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        lks_npy_t npy;
        assert_ok(read_text(texts[i], 4, &npy));
        cr_assert(npy.dtype == LKS_DTYPE_I16 && npy.ndim == 1 && npy.shape[0] == 2, "%s", texts[i]);
    }
}

Test(npy, every_dtype_comes_back_as_it_was_written)
{
    const int64_t shape[] = {2, 0, 7};
    for (int dtype = 0; dtype < LKS_DTYPE_COUNT; dtype++) {
        if (!lks_npy_has((lks_dtype_t)dtype)) {
            continue;
        }
        for (int ndim = 0; ndim <= 3; ndim++) {
            lks_strbuf_t header = {0};
            lks_npy_t npy;
            lks_npy_write(&header, (lks_dtype_t)dtype, ndim, shape);
            cr_assert_eq(header.length % 64, 0);
            size_t nbytes = ndim > 1 ? 0 : lks_dtype_size((lks_dtype_t)dtype) << ndim;
            assert_ok(lks_npy_read((unsigned char *)header.data, header.length + nbytes, &npy));
            cr_assert(npy.dtype == (lks_dtype_t)dtype && npy.ndim == ndim);
            cr_assert(memcmp(npy.shape, shape, (size_t)ndim * sizeof *shape) == 0);
            lks_strbuf_fini(&header);
        }
    }
    cr_assert(!lks_npy_has(LKS_DTYPE_BF16) && !lks_npy_has(LKS_DTYPE_C32));
}

Test(npy, a_header_of_the_most_dimensions_fits)
{
    int64_t shape[LKS_NPY_NDIM_MAX];
    for (int i = 0; i < LKS_NPY_NDIM_MAX; i++) {
        shape[i] = i == 0 ? 0 : INT64_MAX;
    }
    lks_strbuf_t header = {0};
    lks_npy_t npy;
    lks_npy_write(&header, LKS_DTYPE_F64, LKS_NPY_NDIM_MAX, shape);
    assert_ok(lks_npy_read((unsigned char *)header.data, header.length, &npy));
    cr_assert(npy.ndim == LKS_NPY_NDIM_MAX && npy.nbytes == 0);
    lks_strbuf_fini(&header);
}

Test(npy, texts_that_are_no_header_are_refused)
{
    static const char *const texts[] = {
        "",
        "{",
        "{}",
        "{'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False}",
        HEADER("<f4", "False", "(2,)") "x",
        HEADER("<f4", "False", "(2,)") "{}",
        HEADER("<f4", "false", "(2,)"),
        HEADER("<f4", "0", "(2,)"),
        HEADER("<f4", "False", "2"),
        HEADER("<f4", "False", "(2)"),
        HEADER("<f4", "False", "[2]"),
        HEADER("<f4", "False", "(2 2)"),
        HEADER("<f4", "False", "(,)"),
        HEADER("<f4", "False", "(-2,)"),
        HEADER("<f4", "False", "(2.0,)"),
        HEADER("<f4", "False", "(L,)"),
        HEADER("<f4", "False", "(2,"),
        HEADER("<f4", "False", "(9223372036854775808,)"),
        HEADER("<f4", "False", "(99999999999999999999999999,)"),
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,) 'x': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'other': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,),, }",
        "{'descr': '<f4\", 'fortran_order': False, 'shape': (2,)}",
        "{'de\\x73cr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': u'<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (2,)}",
        "__import__('os').system('true')",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        lks_npy_t npy;
        cr_assert_eq(read_text(texts[i], 8, &npy), LKS_ERR_FORMAT, "%s", texts[i]);
        cr_assert(strstr(lks_last_error()->message, "its header is not {'descr': ..."), "%s: %s",
                  texts[i], lks_last_error()->message);
    }
}

Test(npy, sixty_five_dimensions_are_too_many)
{
    char text[1024] = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
    for (int i = 0; i < 65; i++) {
        strcat(text, "1, ");
    }
    strcat(text, ")}");
    lks_npy_t npy;
    assert_fails(read_text(text, 4, &npy), LKS_ERR_FORMAT, "its header is not");
}

Test(npy, elements_that_are_no_numbers_are_named)
{
    static const struct {
        const char *descr, *message;
    } cases[] = {
        {"|O", "its elements, '|O', are pickled Python objects"},
        {"O", "pickled Python objects"},
        {"|V2", "its elements, '|V2', are bytes without a type (bfloat16"},
        {"<V2", "bytes without a type"},
        {"<U3", "no numbers that PyTorch has"},
        {"|S3", "no numbers"},
        {"<M8[D]", "no numbers"},
        {"<f16", "no numbers"},
        {"<f3", "no numbers"},
        {"<c4", "no numbers"},
        {"<f", "no numbers"},
        {"<f4L", "no numbers"},
        {"<f 4", "no numbers"},
        {"f4", "no numbers"},
        {"", "no numbers"},
        {"<f4,<f4", "no numbers"},
        {"<f99999999999999999999", "no numbers"},
        {"bfloat16", "no numbers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        lks_npy_t npy;
        (void)snprintf(text, sizeof text,
                       "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }", cases[i].descr);
        assert_fails(read_text(text, 8, &npy), LKS_ERR_UNSUPPORTED, cases[i].message);
    }
    lks_npy_t npy;
    assert_fails(
        read_text("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8, &npy),
        LKS_ERR_UNSUPPORTED, "its elements are structures");
}

Test(npy, elements_must_be_there_and_no_more)
{
    lks_npy_t npy;
    assert_fails(read_text(HEADER("<f4", "False", "(2, 3)"), 23, &npy), LKS_ERR_FORMAT,
                 "its elements need 24 bytes, it has 23");
    assert_fails(read_text(HEADER("<f4", "False", "(2, 3)"), 25, &npy), LKS_ERR_FORMAT,
                 "its elements need 24 bytes, it has 25");
    assert_fails(read_text(HEADER("<f8", "False", "(2305843009213693952,)"), 0, &npy),
                 LKS_ERR_FORMAT, "more than 2^64 bytes");
    assert_fails(read_text(HEADER("<f8", "False", "(4294967296, 4294967296)"), 0, &npy),
                 LKS_ERR_FORMAT, "more than 2^63 elements");
    assert_ok(read_text(HEADER("<f8", "False", "(0, 4294967296, 4294967296)"), 0, &npy));
}

Test(npy, beginnings_of_another_kind_are_refused)
{
    size_t size, found;
    unsigned char *data = header_of("{}", 1, &size);
    data[6] = 4;
    assert_fails(lks_npy_header_size(data, size + 2, &found), LKS_ERR_UNSUPPORTED, "version 4.0");
    data[6] = 0;
    assert_fails(lks_npy_header_size(data, size + 2, &found), LKS_ERR_UNSUPPORTED, "version 0.0");
    data[6] = 2;
    memset(data + 8, 0xff, 4);
    assert_fails(lks_npy_header_size(data, size + 2, &found), LKS_ERR_UNSUPPORTED,
                 "its header has 4294967295 bytes");
    for (size_t i = 0; i < 10; i++) {
        assert_fails(lks_npy_header_size(header_of("{}", 1, &size), i, &found), LKS_ERR_FORMAT,
                     "does not begin as a NumPy array");
    }
    data[0] = 0x94;
    assert_fails(lks_npy_header_size(data, size, &found), LKS_ERR_FORMAT, "does not begin");
}

Test(npy, a_header_cut_anywhere_is_refused)
{
    size_t size;
    lks_npy_t npy;
    const unsigned char *data = header_of(HEADER("<f4", "False", "(2, 3)") "\n", 1, &size);
    for (size_t i = 0; i < size; i++) {
        cr_assert_eq(lks_npy_read(data, i, &npy), LKS_ERR_FORMAT, "%zu bytes", i);
    }
}
