/* SPDX-License-Identifier: Apache-2.0 */
/* zip_payload.c - the bytes of a record: checked, and inflated where need be. */
#include "serialize/crc32.h"
#include "serialize/zip_read.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#define BUFFER_SIZE ((size_t)32 << 10)

/* zlib counts in 32 bits: give it pieces. */
static uInt piece(uint64_t nbytes)
{
    return nbytes < UINT_MAX ? (uInt)nbytes : UINT_MAX;
}

/* One call of inflate: takes from the `*stored` bytes that are left, and gives of the `*size` that are wanted. */
static int inflate_piece(z_stream *stream, uint64_t *stored, uint64_t *size, uint64_t most)
{
    uInt in = piece(*stored), out = piece(*size < most ? *size : most);
    stream->avail_in = in;
    stream->avail_out = out;
    int rc = inflate(stream, Z_NO_FLUSH);
    *stored -= in - stream->avail_in;
    *size -= out - stream->avail_out;
    return rc == Z_STREAM_END && (*stored > 0 || *size > 0) ? Z_DATA_ERROR : rc;
}

static int inflate_all(z_stream *stream, uint64_t stored, uint64_t size)
{
    int rc = Z_OK;
    while (rc == Z_OK) {
        rc = inflate_piece(stream, &stored, &size, UINT64_MAX);
    }
    return rc;
}

/* The first `nbytes` bytes; Z_STREAM_END where these are all, or are enough. */
static int inflate_entry(const lks_zip_t *zip, const lks_zip_entry_t *entry, void *out,
                         uint64_t nbytes)
{
    z_stream stream = {0};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        return Z_MEM_ERROR;
    }
    unsigned char nothing;
    stream.next_in = (z_const Bytef *)(uintptr_t)(zip->data + entry->data);
    stream.next_out = nbytes > 0 ? out : &nothing;
    int rc = inflate_all(&stream, entry->stored, nbytes);
    bool enough = nbytes < entry->size && stream.total_out == nbytes;
    (void)inflateEnd(&stream);
    return enough ? Z_STREAM_END : rc;
}

static lks_status_t inflate_status(const lks_zip_entry_t *entry, int rc)
{
    switch (rc) {
    case Z_STREAM_END: return LKS_OK;
    case Z_MEM_ERROR: return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    case Z_BUF_ERROR:
        return lks_fail(LKS_ERR_CORRUPT, "its deflated bytes do not give the %llu it should have",
                        (unsigned long long)entry->size);
    default: return lks_fail(LKS_ERR_CORRUPT, "its deflated bytes cannot be inflated");
    }
}

lks_status_t lks_zip_inflate(const lks_zip_t *zip, const lks_zip_entry_t *entry, void *out)
{
    return inflate_status(entry, inflate_entry(zip, entry, out, entry->size));
}

lks_status_t lks_zip_inflate_start(const lks_zip_t *zip, const lks_zip_entry_t *entry, void *out,
                                   size_t nbytes)
{
    return inflate_status(entry, inflate_entry(zip, entry, out, nbytes));
}

/* All of it, a buffer at a time. */
static int inflate_through(z_stream *stream, const lks_zip_entry_t *entry, uint32_t *crc)
{
    unsigned char buffer[BUFFER_SIZE];
    uint64_t stored = entry->stored, size = entry->size;
    int rc = Z_OK;
    while (rc == Z_OK) {
        stream->next_out = buffer;
        rc = inflate_piece(stream, &stored, &size, sizeof buffer);
        *crc = lks_crc32(*crc, buffer, (size_t)(stream->next_out - buffer));
    }
    return rc;
}

lks_status_t lks_zip_crc(const lks_zip_t *zip, const lks_zip_entry_t *entry, uint32_t *out)
{
    const unsigned char *data = zip->data + entry->data;
    z_stream stream = {.next_in = (z_const Bytef *)(uintptr_t)data};
    uint32_t crc = 0;
    if (!entry->deflated) {
        *out = lks_crc32(0, data, (size_t)entry->size);
        return LKS_OK;
    }
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        return inflate_status(entry, Z_MEM_ERROR);
    }
    int rc = inflate_through(&stream, entry, &crc);
    (void)inflateEnd(&stream);
    LKS_TRY(inflate_status(entry, rc));
    *out = crc;
    return LKS_OK;
}

static lks_status_t check_crc(const lks_zip_entry_t *entry, const unsigned char *data)
{
    uint32_t crc = lks_crc32(0, data, (size_t)entry->size);
    if (crc != entry->crc) {
        return lks_fail(LKS_ERR_CORRUPT, "CRC-32 is %08" PRIx32 ", the archive says %08" PRIx32,
                        crc, entry->crc);
    }
    return LKS_OK;
}

static lks_status_t inflate_record(const lks_zip_t *zip, const lks_zip_entry_t *entry, size_t limit,
                                   unsigned char **out)
{
    if (entry->size > limit) {
        return lks_fail(LKS_ERR_FORMAT, "it inflates to %" PRIu64 " bytes, over the limit of %zu",
                        entry->size, limit);
    }
    unsigned char *inflated = malloc((size_t)entry->size + 1); /* never malloc(0) */
    if (!inflated) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    lks_status_t status = lks_zip_inflate(zip, entry, inflated);
    if (status != LKS_OK) {
        free(inflated);
        return status;
    }
    *out = inflated;
    return LKS_OK;
}

lks_status_t lks_zip_read(const lks_zip_t *zip, const lks_zip_entry_t *entry, size_t limit,
                          const unsigned char **data, void **owned)
{
    const unsigned char *bytes = zip->data + entry->data;
    unsigned char *inflated = NULL;
    lks_status_t status;
    LKS_GOTO(lks_zip_check(zip, entry), name_record);
    if (entry->deflated) {
        LKS_GOTO(inflate_record(zip, entry, limit, &inflated), name_record);
        bytes = inflated;
    }
    LKS_GOTO(check_crc(entry, bytes), free_inflated);
    *data = bytes;
    *owned = inflated;
    return LKS_OK;

free_inflated:
    free(inflated);
name_record:
    return lks_error_prefix(status, "record '%.*s' is unusable", LKS_ZIP_NAME(entry));
}
