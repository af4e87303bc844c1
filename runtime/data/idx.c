/* SPDX-License-Identifier: Apache-2.0 */
/* idx.c - images and labels of the MNIST family. All numbers are big-endian uint32.
 *     images: 0x00000803, count, rows, columns, then count x rows x columns bytes, 0 black to 255 white
 *     labels: 0x00000801, count, then count bytes
 * In the magic number 08 means unsigned bytes and 03 or 01 is the number of dimensions.
 * Source: http://yann.lecun.com/exdb/mnist/ */
#include "core/checked.h"
#include "runtime/data/dataset.h"
#include "runtime/data/input.h"

#define MAGIC_IMAGES 0x00000803u
#define MAGIC_LABELS 0x00000801u
#define CHUNK ((size_t)64 << 10)

typedef struct idx_file {
    lks_input_t input;
    int64_t count;  /* samples */
    int64_t nbytes; /* of each */
    int64_t total;  /* count x nbytes */
} idx_file_t;

static uint32_t read_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

/* Sizes that could not be in a file of this size end here, before anybody asks for memory. */
static lks_status_t check_sizes(idx_file_t *idx)
{
    const char *path = idx->input.path;
    if (idx->count == 0 || idx->nbytes == 0) {
        return lks_fail(LKS_ERR_FORMAT, "reading '%s': the header says %lld samples of %lld bytes",
                        path, (long long)idx->count, (long long)idx->nbytes);
    }
    if (!lks_mul_i64(idx->count, idx->nbytes, &idx->total) ||
        (size_t)idx->total > idx->input.limit) {
        return lks_fail(LKS_ERR_FORMAT,
                        "reading '%s': the header says %lld samples of %lld bytes, more than a "
                        "file of this size can hold",
                        path, (long long)idx->count, (long long)idx->nbytes);
    }
    return LKS_OK;
}

static lks_status_t read_header(idx_file_t *idx, uint32_t magic)
{
    unsigned char header[16];
    const size_t ndim = magic & 0xff, want = 4 + 4 * ndim;
    size_t got;
    LKS_TRY(lks_input_read(&idx->input, header, want, &got));
    const char *path = idx->input.path;
    if (got >= 4 && read_u32(header) != magic) {
        return lks_fail(LKS_ERR_FORMAT,
                        "reading '%s': the magic number is 0x%08x, IDX %s have 0x%08x", path,
                        (unsigned)read_u32(header), magic == MAGIC_IMAGES ? "images" : "labels",
                        (unsigned)magic);
    }
    if (got < want) {
        return lks_fail(LKS_ERR_FORMAT,
                        "reading '%s': the header wants %zu bytes, the file has %zu", path, want,
                        got);
    }
    idx->count = read_u32(header + 4);
    idx->nbytes = 1;
    for (size_t i = 1; i < ndim; i++) {
        if (!lks_mul_i64(idx->nbytes, read_u32(header + 4 + 4 * i), &idx->nbytes)) {
            return lks_fail(LKS_ERR_FORMAT, "reading '%s': the header's image size overflows",
                            path);
        }
    }
    return check_sizes(idx);
}

static lks_status_t open_file(const char *path, uint32_t magic, idx_file_t *out)
{
    idx_file_t idx = {0};
    LKS_TRY(lks_input_open(path, &idx.input));
    lks_status_t status = read_header(&idx, magic);
    if (status != LKS_OK) {
        lks_input_close(&idx.input);
        return status;
    }
    *out = idx;
    return LKS_OK;
}

/* Reads the samples in pieces; `take` stores each, `first` being the number of bytes before it. */
static lks_status_t read_samples(idx_file_t *idx, lks_dataset_t *table,
                                 void (*take)(lks_dataset_t *table, int64_t first,
                                              const unsigned char *bytes, size_t nbytes))
{
    unsigned char bytes[CHUNK];
    const size_t total = (size_t)idx->total;
    size_t done = 0, got;
    while (done < total) {
        size_t want = total - done < CHUNK ? total - done : CHUNK;
        LKS_TRY(lks_input_read(&idx->input, bytes, want, &got));
        take(table, (int64_t)done, bytes, got);
        done += got;
        if (got < want) {
            return lks_fail(LKS_ERR_FORMAT,
                            "reading '%s': the header says %lld samples of %lld bytes, but the "
                            "file ends in number %zu",
                            idx->input.path, (long long)idx->count, (long long)idx->nbytes,
                            done / (size_t)idx->nbytes + 1);
        }
    }
    LKS_TRY(lks_input_read(&idx->input, bytes, 1, &got)); /* compares gzip's checksum, too */
    if (got > 0) {
        return lks_fail(LKS_ERR_FORMAT,
                        "reading '%s': there are more bytes behind the %lld samples",
                        idx->input.path, (long long)idx->count);
    }
    return LKS_OK;
}

static void take_pixels(lks_dataset_t *table, int64_t first, const unsigned char *bytes,
                        size_t nbytes)
{
    float *to = table->feature_data + first;
    for (size_t i = 0; i < nbytes; i++) {
        to[i] = (float)bytes[i] / 255.0f;
    }
}

/* Also counts the classes: one more than the highest label. */
static void take_labels(lks_dataset_t *table, int64_t first, const unsigned char *bytes,
                        size_t nbytes)
{
    int64_t *to = table->label_data + first;
    for (size_t i = 0; i < nbytes; i++) {
        to[i] = bytes[i];
        table->classes = to[i] < table->classes ? table->classes : to[i] + 1;
    }
}

static lks_status_t read_files(idx_file_t *images, idx_file_t *labels, lks_dataset_t *table)
{
    if (images->count != labels->count) {
        return lks_fail(LKS_ERR_FORMAT, "'%s' has %lld images, '%s' has %lld labels",
                        images->input.path, (long long)images->count, labels->input.path,
                        (long long)labels->count);
    }
    table->features = images->nbytes;
    LKS_TRY(lks_dataset_reserve(table, images->input.path, images->count));
    LKS_TRY(read_samples(labels, table, take_labels));
    LKS_TRY(read_samples(images, table, take_pixels));
    table->count = images->count;
    return lks_dataset_set_classes(table, labels->input.path, table->classes, NULL);
}

lks_status_t lks_dataset_open_idx(const char *images, const char *labels, lks_dataset_t **out)
{
    idx_file_t image_file, label_file;
    lks_dataset_t table = {0};
    lks_status_t status;
    LKS_TRY(open_file(images, MAGIC_IMAGES, &image_file));
    LKS_GOTO(open_file(labels, MAGIC_LABELS, &label_file), close_images);
    LKS_GOTO(read_files(&image_file, &label_file, &table), close_labels);
    status = lks_dataset_publish(&table, images, out);
close_labels:
    lks_dataset_fini(&table);
    lks_input_close(&label_file.input);
close_images:
    lks_input_close(&image_file.input);
    return status;
}
