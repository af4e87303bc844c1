/* SPDX-License-Identifier: Apache-2.0 */
/* npy.c - see npy.h. */
#include "serialize/npy.h"
#include "core/checked.h"
#include "serialize/bytes.h"
#include "serialize/keys.h"

#include <inttypes.h>

#define MAGIC_SIZE (sizeof LKS_NPY_MAGIC - 1)
#define WRITE_ALIGNMENT 64

/* X(dtype, kind, size) */
#define NPY_DTYPE_LIST(X)                                                                          \
    X(LKS_DTYPE_BOOL, 'b', 1)                                                                      \
    X(LKS_DTYPE_I8, 'i', 1)                                                                        \
    X(LKS_DTYPE_I16, 'i', 2)                                                                       \
    X(LKS_DTYPE_I32, 'i', 4)                                                                       \
    X(LKS_DTYPE_I64, 'i', 8)                                                                       \
    X(LKS_DTYPE_U8, 'u', 1)                                                                        \
    X(LKS_DTYPE_U16, 'u', 2)                                                                       \
    X(LKS_DTYPE_U32, 'u', 4)                                                                       \
    X(LKS_DTYPE_U64, 'u', 8)                                                                       \
    X(LKS_DTYPE_F16, 'f', 2)                                                                       \
    X(LKS_DTYPE_F32, 'f', 4)                                                                       \
    X(LKS_DTYPE_F64, 'f', 8)                                                                       \
    X(LKS_DTYPE_C64, 'c', 8)                                                                       \
    X(LKS_DTYPE_C128, 'c', 16)

typedef struct npy_dtype {
    lks_dtype_t dtype;
    char kind;
    unsigned size;
} npy_dtype_t;

#define NPY_DTYPE(dtype, kind, size) {dtype, kind, size},
static const npy_dtype_t npy_dtypes[] = {NPY_DTYPE_LIST(NPY_DTYPE)};
#undef NPY_DTYPE

#define DTYPE_COUNT (sizeof npy_dtypes / sizeof *npy_dtypes)

/* --- the text ----------------------------------------------------------------------------------- */

typedef struct parser {
    const char *at, *end;
} parser_t;

typedef struct fields {
    bool has_descr, has_order, has_shape;
    bool structured; /* the descr is a list of fields */
    lks_name_t descr;
    lks_npy_t *npy;
} fields_t;

static void skip_spaces(parser_t *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n')) {
        p->at++;
    }
}

static bool take(parser_t *p, const char *token)
{
    size_t length = strlen(token);
    skip_spaces(p);
    if ((size_t)(p->end - p->at) < length || memcmp(p->at, token, length) != 0) {
        return false;
    }
    p->at += length;
    return true;
}

/* In either kind of quotes, without escapes. */
static bool take_string(parser_t *p, lks_name_t *out)
{
    bool single = take(p, "'");
    if (!single && !take(p, "\"")) {
        return false;
    }
    const char *end = memchr(p->at, single ? '\'' : '"', (size_t)(p->end - p->at));
    if (!end || memchr(p->at, '\\', (size_t)(end - p->at))) {
        return false;
    }
    *out = (lks_name_t){.text = p->at, .length = (size_t)(end - p->at)};
    p->at = end + 1;
    return true;
}

static bool take_bool(parser_t *p, bool *out)
{
    *out = take(p, "True");
    return *out || take(p, "False");
}

static bool take_digits(parser_t *p, int64_t *out)
{
    const char *first = p->at;
    int64_t value = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        if (!lks_mul_i64(value, 10, &value) || !lks_add_i64(value, *p->at - '0', &value)) {
            return false;
        }
    }
    *out = value;
    return p->at > first;
}

/* Not negative; Python 2 wrote an L behind some. */
static bool take_int(parser_t *p, int64_t *out)
{
    skip_spaces(p);
    bool found = take_digits(p, out);
    (void)take(p, "L");
    return found;
}

static bool take_shape(parser_t *p, lks_npy_t *npy)
{
    bool comma = true;
    if (!take(p, "(")) {
        return false;
    }
    while (!take(p, ")")) {
        if (!comma || npy->ndim == LKS_NPY_NDIM_MAX || !take_int(p, &npy->shape[npy->ndim])) {
            return false;
        }
        npy->ndim++;
        comma = take(p, ",");
    }
    return npy->ndim != 1 || comma; /* (3) is no tuple */
}

static bool first_time(bool *seen)
{
    bool first = !*seen;
    *seen = true;
    return first;
}

static bool take_field(parser_t *p, fields_t *fields)
{
    lks_name_t key;
    if (!take_string(p, &key) || !take(p, ":")) {
        return false;
    }
    if (lks_name_equal(key, lks_name("descr"))) {
        fields->structured = take(p, "[");
        return first_time(&fields->has_descr) && take_string(p, &fields->descr);
    }
    if (lks_name_equal(key, lks_name("fortran_order"))) {
        return first_time(&fields->has_order) && take_bool(p, &fields->npy->fortran_order);
    }
    return lks_name_equal(key, lks_name("shape")) && first_time(&fields->has_shape) &&
           take_shape(p, fields->npy);
}

static bool take_dict(parser_t *p, fields_t *fields)
{
    bool comma = true;
    if (!take(p, "{")) {
        return false;
    }
    while (!take(p, "}")) {
        if (!comma || !take_field(p, fields)) {
            return false;
        }
        comma = take(p, ",");
    }
    skip_spaces(p);
    return p->at == p->end && fields->has_descr && fields->has_order && fields->has_shape;
}

/* --- what it says ------------------------------------------------------------------------------- */

static lks_status_t refuse_descr(lks_name_t descr)
{
    char kind = descr.length > 1 ? descr.text[1] : descr.length > 0 ? descr.text[0] : ' ';
    const char *what = kind == 'O'   ? "pickled Python objects, which are not read"
                       : kind == 'V' ? "bytes without a type (bfloat16 and float8 come so: save "
                                       "them as float32 or as integers)"
                                     : "no numbers that PyTorch has";
    int length = (int)(descr.length < 40 ? descr.length : 40);
    return lks_fail(LKS_ERR_UNSUPPORTED, "its elements, '%.*s', are %s", length, descr.text, what);
}

/* '<f4': byte order, kind, size. */
static lks_status_t read_descr(lks_name_t descr, lks_npy_t *npy)
{
    parser_t p = {.at = descr.text, .end = descr.text + descr.length};
    int64_t size = 0;
    bool ordered = descr.length > 2 && memchr("<>|=", p.at[0], 4);
    char order = ordered ? *p.at++ : ' ', kind = ordered ? *p.at++ : ' ';
    bool read = ordered && take_digits(&p, &size) && p.at == p.end;
    for (size_t i = 0; read && i < DTYPE_COUNT; i++) {
        if (npy_dtypes[i].kind == kind && npy_dtypes[i].size == size) {
            npy->dtype = npy_dtypes[i].dtype;
            npy->big_endian = order == '>' && size > 1;
            return LKS_OK;
        }
    }
    return refuse_descr(descr);
}

static lks_status_t measure(lks_npy_t *npy)
{
    int64_t numel;
    if (lks_shape_numel(npy->ndim, npy->shape, &numel) != LKS_OK) {
        return lks_fail(LKS_ERR_FORMAT, "its shape has more than 2^63 elements");
    }
    if (!lks_mul_size((size_t)numel, lks_dtype_size(npy->dtype), &npy->nbytes)) {
        return lks_fail(LKS_ERR_FORMAT, "its elements need more than 2^64 bytes");
    }
    return LKS_OK;
}

/* The text of the header, whose size is known. */
static lks_status_t read_text(const unsigned char *data, lks_npy_t *npy)
{
    const char *text = (const char *)data;
    fields_t fields = {.npy = npy};
    parser_t parser = {.at = text + (data[MAGIC_SIZE] == 1 ? 10 : 12), .end = text + npy->header};
    bool read = take_dict(&parser, &fields);
    if (fields.structured) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "its elements are structures, not numbers");
    }
    if (!read) {
        return lks_fail(LKS_ERR_FORMAT,
                        "its header is not {'descr': ..., 'fortran_order': ..., 'shape': ...}");
    }
    return read_descr(fields.descr, npy);
}

lks_status_t lks_npy_header_size(const unsigned char *data, size_t nbytes, size_t *out)
{
    lks_bytes_t bytes = lks_bytes_of(data, nbytes);
    const void *magic = lks_bytes_take(&bytes, MAGIC_SIZE);
    unsigned major = lks_bytes_u8(&bytes), minor = lks_bytes_u8(&bytes);
    uint64_t length = major == 1 ? lks_bytes_u16(&bytes) : lks_bytes_u32(&bytes);
    if (!bytes.ok || memcmp(magic, LKS_NPY_MAGIC, MAGIC_SIZE) != 0) {
        return lks_fail(LKS_ERR_FORMAT, "it does not begin as a NumPy array");
    }
    if (major < 1 || major > 3 || minor != 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "it is a NumPy array of version %u.%u, known are 1.0 "
                        "to 3.0",
                        major, minor);
    }
    size_t start = nbytes - lks_bytes_left(&bytes);
    if (length > LKS_NPY_HEADER_MAX - start) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "its header has %" PRIu64 " bytes, the most is %zu",
                        length, LKS_NPY_HEADER_MAX - start);
    }
    *out = start + (size_t)length;
    return LKS_OK;
}

lks_status_t lks_npy_read(const unsigned char *data, uint64_t size, lks_npy_t *out)
{
    lks_npy_t npy = {0};
    size_t known = size < LKS_NPY_HEADER_MAX ? (size_t)size : LKS_NPY_HEADER_MAX;
    LKS_TRY(lks_npy_header_size(data, known, &npy.header));
    if (npy.header > size) {
        return lks_fail(LKS_ERR_FORMAT, "its header has %zu bytes, it has %" PRIu64, npy.header,
                        size);
    }
    LKS_TRY(read_text(data, &npy));
    LKS_TRY(measure(&npy));
    if (npy.nbytes != size - npy.header) {
        return lks_fail(LKS_ERR_FORMAT, "its elements need %zu bytes, it has %" PRIu64, npy.nbytes,
                        size - npy.header);
    }
    *out = npy;
    return LKS_OK;
}

lks_value_t *lks_npy_tensor(lks_tree_t *tree, const lks_npy_t *npy, size_t index)
{
    int64_t reversed[LKS_NPY_NDIM_MAX], stride[LKS_NPY_NDIM_MAX], swapped[LKS_NPY_NDIM_MAX];
    for (int i = 0; i < npy->ndim; i++) {
        reversed[i] = npy->shape[npy->ndim - 1 - i];
    }
    lks_shape_contiguous_stride(npy->ndim, npy->fortran_order ? reversed : npy->shape, stride);
    for (int i = 0; i < npy->ndim; i++) {
        swapped[i] = stride[npy->ndim - 1 - i];
    }
    const lks_value_tensor_t tensor = {.storage = index,
                                       .dtype = npy->dtype,
                                       .ndim = npy->ndim,
                                       .shape = npy->shape,
                                       .stride = npy->fortran_order ? swapped : stride};
    return lks_value_tensor_new(tree, &tensor);
}

/* --- writing ------------------------------------------------------------------------------------ */

static const npy_dtype_t *find_dtype(lks_dtype_t dtype)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (npy_dtypes[i].dtype == dtype) {
            return &npy_dtypes[i];
        }
    }
    return NULL;
}

bool lks_npy_has(lks_dtype_t dtype)
{
    return find_dtype(dtype) != NULL;
}

void lks_npy_write(lks_strbuf_t *out, lks_dtype_t dtype, int ndim, const int64_t *shape)
{
    const npy_dtype_t *known = find_dtype(dtype);
    size_t start = out->length;
    lks_strbuf_append(out, LKS_NPY_MAGIC "\1\0\0\0", MAGIC_SIZE + 4);
    lks_strbuf_appendf(out, "{'descr': '%c%c%u', 'fortran_order': False, 'shape': (",
                       known->size > 1 ? '<' : '|', known->kind, known->size);
    for (int i = 0; i < ndim; i++) {
        lks_strbuf_appendf(out, "%s%" PRId64, i > 0 ? ", " : "", shape[i]);
    }
    lks_strbuf_append_str(out, ndim == 1 ? ",), }" : "), }");
    while ((out->length - start + 1) % WRITE_ALIGNMENT != 0 && lks_strbuf_ok(out)) {
        lks_strbuf_append(out, " ", 1);
    }
    lks_strbuf_append(out, "\n", 1);
    if (lks_strbuf_ok(out)) {
        (void)lks_put_uint((unsigned char *)out->data + start + MAGIC_SIZE + 2,
                           out->length - start - MAGIC_SIZE - 4, 2);
    }
}
