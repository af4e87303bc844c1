/* SPDX-License-Identifier: Apache-2.0 */
/* zip_read.c - see zip_read.h. Reads from the back: end record, directory, local headers. */
#include "serialize/zip_read.h"
#include "serialize/bytes.h"
#include "serialize/zip_format.h"

#include <stdlib.h>
#include <string.h>

#define COMMENT_MAX 0xffffu

/* Where the directory is. */
typedef struct directory {
    uint64_t offset, size, count;
    uint64_t end; /* offset of the first end record: the directory ends there or before */
} directory_t;

/* --- end records -------------------------------------------------------------------------------- */

/* The last end record whose comment fits behind it. */
static bool find_end(const lks_bytes_t *archive, size_t *out)
{
    size_t size = archive->size;
    if (size < ZIP_END_SIZE) {
        return false;
    }
    size_t first = size > ZIP_END_SIZE + COMMENT_MAX ? size - ZIP_END_SIZE - COMMENT_MAX : 0;
    for (size_t at = size - ZIP_END_SIZE + 1; at-- > first;) {
        lks_bytes_t end = lks_bytes_part(archive, at, size - at);
        if (lks_bytes_u32(&end) == ZIP_END_SIGNATURE) {
            end.at = ZIP_END_SIZE - 2;
            if (lks_bytes_u16(&end) <= lks_bytes_left(&end)) {
                *out = at;
                return true;
            }
        }
    }
    return false;
}

/* A field of the end record, or its zip64 twin where it is saturated; they must not contradict. */
static bool widen(uint64_t narrow, uint64_t saturated, uint64_t wide, uint64_t *out)
{
    *out = wide;
    return narrow == saturated || narrow == wide;
}

static lks_status_t read_end64(const lks_bytes_t *archive, size_t locator_at, directory_t *dir)
{
    lks_bytes_t locator = lks_bytes_part(archive, locator_at + 4, ZIP64_LOCATOR_SIZE - 4);
    uint32_t disk = lks_bytes_u32(&locator);
    uint64_t at = lks_bytes_u64(&locator);
    uint32_t disks = lks_bytes_u32(&locator);
    lks_bytes_t end = lks_bytes_part(archive, at, ZIP64_END_SIZE);
    bool found = lks_bytes_u32(&end) == ZIP64_END_SIGNATURE;
    (void)lks_bytes_take(&end, 8 + 2 + 2); /* size of the record, versions */
    uint32_t this_disk = lks_bytes_u32(&end), start_disk = lks_bytes_u32(&end);
    uint64_t here = lks_bytes_u64(&end), count = lks_bytes_u64(&end);
    uint64_t size = lks_bytes_u64(&end), offset = lks_bytes_u64(&end);
    if (!end.ok || !found || at > locator_at - ZIP64_END_SIZE) {
        return lks_fail(LKS_ERR_FORMAT, "the zip64 end record is not where its locator points");
    }
    if (disk != 0 || disks > 1 || this_disk != 0 || start_disk != 0 || here != count) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "the archive is split over several disks");
    }
    if (!widen(dir->count, ZIP_SATURATED_16, count, &dir->count) ||
        !widen(dir->size, ZIP_SATURATED_32, size, &dir->size) ||
        !widen(dir->offset, ZIP_SATURATED_32, offset, &dir->offset)) {
        return lks_fail(LKS_ERR_FORMAT, "the two end records of the archive contradict each other");
    }
    dir->end = at;
    return LKS_OK;
}

static lks_status_t read_end(const lks_bytes_t *archive, directory_t *dir)
{
    size_t at;
    if (!find_end(archive, &at)) {
        return lks_fail(LKS_ERR_FORMAT,
                        "no end record of a zip archive in its last bytes: the file is truncated");
    }
    lks_bytes_t end = lks_bytes_part(archive, at + 4, ZIP_END_SIZE - 4);
    uint16_t disk = lks_bytes_u16(&end), start_disk = lks_bytes_u16(&end);
    uint16_t here = lks_bytes_u16(&end);
    *dir = (directory_t){.count = lks_bytes_u16(&end), .end = at};
    dir->size = lks_bytes_u32(&end);
    dir->offset = lks_bytes_u32(&end);
    if (disk != 0 || start_disk != 0 || here != dir->count) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "the archive is split over several disks");
    }
    if (at >= ZIP64_LOCATOR_SIZE + ZIP64_END_SIZE) {
        size_t locator_at = at - ZIP64_LOCATOR_SIZE;
        lks_bytes_t locator = lks_bytes_part(archive, locator_at, ZIP64_LOCATOR_SIZE);
        if (lks_bytes_u32(&locator) == ZIP64_LOCATOR_SIGNATURE) {
            LKS_TRY(read_end64(archive, locator_at, dir));
        }
    }
    if (dir->offset > dir->end || dir->size > dir->end - dir->offset) {
        return lks_fail(LKS_ERR_FORMAT,
                        "the archive's directory does not end before its end record");
    }
    if (dir->count > dir->size / ZIP_CENTRAL_SIZE) {
        return lks_fail(LKS_ERR_FORMAT, "%llu records do not fit the archive's directory",
                        (unsigned long long)dir->count);
    }
    return LKS_OK;
}

/* --- one record --------------------------------------------------------------------------------- */

/* Replaces the saturated ones of size, stored and header by the fields of the zip64 extra. */
static lks_status_t read_extra64(lks_bytes_t extra, lks_zip_entry_t *entry, bool central)
{
    bool want_size = entry->size == ZIP_SATURATED_32,
         want_stored = entry->stored == ZIP_SATURATED_32;
    bool want_header = central && entry->header == ZIP_SATURATED_32;
    if (!want_size && !want_stored && !want_header) {
        return LKS_OK;
    }
    while (lks_bytes_left(&extra) >= 4) {
        uint16_t id = lks_bytes_u16(&extra), length = lks_bytes_u16(&extra);
        if (id != ZIP_EXTRA_ZIP64) {
            (void)lks_bytes_take(&extra, length);
            continue;
        }
        lks_bytes_t field = lks_bytes_part(&extra, extra.at, length);
        entry->size = want_size ? lks_bytes_u64(&field) : entry->size;
        entry->stored = want_stored ? lks_bytes_u64(&field) : entry->stored;
        entry->header = want_header ? lks_bytes_u64(&field) : entry->header;
        if (field.ok) {
            return LKS_OK;
        }
        break;
    }
    return lks_fail(LKS_ERR_FORMAT, "record '%.*s' has no zip64 sizes", LKS_ZIP_NAME(entry));
}

/* The others are for breaking out of a folder. */
bool lks_zip_name_is_allowed(const char *name, size_t length)
{
    if (length == 0 || name[0] == '/' || memchr(name, '\0', length)) {
        return false;
    }
    for (size_t start = 0; start < length;) {
        const char *slash = memchr(name + start, '/', length - start);
        size_t end = slash ? (size_t)(slash - name) : length;
        if (end - start == 2 && name[start] == '.' && name[start + 1] == '.') {
            return false;
        }
        start = end + 1;
    }
    return true;
}

static lks_status_t check_method(const lks_zip_entry_t *entry, uint16_t flags, uint16_t method)
{
    if (flags & (ZIP_FLAG_ENCRYPTED | ZIP_FLAG_STRONG_ENCRYPTION | ZIP_FLAG_MASKED)) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "record '%.*s' is encrypted", LKS_ZIP_NAME(entry));
    }
    if (method != ZIP_STORED && method != ZIP_DEFLATED) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "record '%.*s' is compressed by method %d",
                        LKS_ZIP_NAME(entry), method);
    }
    if (method == ZIP_STORED && entry->stored != entry->size) {
        return lks_fail(LKS_ERR_FORMAT, "record '%.*s' is stored, but has two sizes",
                        LKS_ZIP_NAME(entry));
    }
    return LKS_OK;
}

static lks_status_t read_central(lks_bytes_t *dir, lks_zip_entry_t *entry)
{
    bool found = lks_bytes_u32(dir) == ZIP_CENTRAL_SIGNATURE;
    (void)lks_bytes_take(dir, 2 + 2); /* versions */
    uint16_t flags = lks_bytes_u16(dir), method = lks_bytes_u16(dir);
    (void)lks_bytes_take(dir, 2 + 2); /* time, date */
    *entry = (lks_zip_entry_t){.crc = lks_bytes_u32(dir), .deflated = method == ZIP_DEFLATED};
    entry->stored = lks_bytes_u32(dir);
    entry->size = lks_bytes_u32(dir);
    entry->name_length = lks_bytes_u16(dir);
    uint16_t extra_length = lks_bytes_u16(dir), comment_length = lks_bytes_u16(dir);
    uint16_t disk = lks_bytes_u16(dir);
    (void)lks_bytes_take(dir, 2 + 4); /* attributes */
    entry->header = lks_bytes_u32(dir);
    entry->name = (const char *)lks_bytes_take(dir, entry->name_length);
    const unsigned char *extra = lks_bytes_take(dir, extra_length);
    (void)lks_bytes_take(dir, comment_length);
    if (!dir->ok || !found) {
        return lks_fail(LKS_ERR_FORMAT, "the archive's directory is damaged");
    }
    if (!lks_zip_name_is_allowed(entry->name, entry->name_length)) {
        return lks_fail(LKS_ERR_FORMAT, "the record name '%.*s' is not allowed",
                        LKS_ZIP_NAME(entry));
    }
    LKS_TRY(read_extra64(lks_bytes_of(extra, extra_length), entry, true));
    if (disk != 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "record '%.*s' is on another disk",
                        LKS_ZIP_NAME(entry));
    }
    return check_method(entry, flags, method);
}

/* What the local header of a record says. */
typedef struct local_header {
    uint64_t data; /* where the payload starts */
    lks_bytes_t extra;
} local_header_t;

/* Compares the two headers; `head` starts with the local one. A record whose sizes follow its payload may have zeros
 * there. */
static lks_status_t compare_headers(const lks_zip_t *zip, const lks_zip_entry_t *entry,
                                    lks_bytes_t head, local_header_t *out)
{
    bool found = lks_bytes_u32(&head) == ZIP_LOCAL_SIGNATURE;
    (void)lks_bytes_u16(&head); /* version */
    uint16_t flags = lks_bytes_u16(&head), method = lks_bytes_u16(&head);
    (void)lks_bytes_take(&head, 2 + 2); /* time, date */
    lks_zip_entry_t local = {.name = entry->name, .name_length = entry->name_length};
    local.crc = lks_bytes_u32(&head);
    local.stored = lks_bytes_u32(&head);
    local.size = lks_bytes_u32(&head);
    uint16_t name_length = lks_bytes_u16(&head), extra_length = lks_bytes_u16(&head);
    const void *name = lks_bytes_take(&head, name_length);
    lks_bytes_t extra = lks_bytes_of(lks_bytes_take(&head, extra_length), extra_length);
    uint64_t data = head.ok ? entry->header + head.at : UINT64_MAX;
    if (!found || data > zip->directory || entry->stored > zip->directory - data) {
        return lks_fail(LKS_ERR_FORMAT, "record '%.*s' is not inside the archive",
                        LKS_ZIP_NAME(entry));
    }
    LKS_TRY(read_extra64(extra, &local, false));
    bool later =
        (flags & ZIP_FLAG_DESCRIPTOR) && local.crc == 0 && local.size == 0 && local.stored == 0;
    if (name_length != entry->name_length || memcmp(name, entry->name, name_length) != 0 ||
        method != (entry->deflated ? ZIP_DEFLATED : ZIP_STORED) ||
        (!later &&
         (local.crc != entry->crc || local.size != entry->size || local.stored != entry->stored))) {
        return lks_fail(LKS_ERR_FORMAT, "the two headers of record '%.*s' contradict each other",
                        LKS_ZIP_NAME(entry));
    }
    *out = (local_header_t){.data = data, .extra = extra};
    return LKS_OK;
}

static lks_status_t read_local(const lks_zip_t *zip, const lks_zip_entry_t *entry,
                               local_header_t *out)
{
    const lks_bytes_t payloads = lks_bytes_of(zip->data, (size_t)zip->directory);
    uint64_t left = entry->header < zip->directory ? zip->directory - entry->header : 0;
    return compare_headers(zip, entry, lks_bytes_part(&payloads, entry->header, left), out);
}

static lks_status_t check_place(const lks_zip_entry_t *entry, const local_header_t *local)
{
    if (local->data != entry->data) {
        return lks_fail(LKS_ERR_FORMAT,
                        "record '%.*s' does not lie where its archive has the others",
                        LKS_ZIP_NAME(entry));
    }
    return LKS_OK;
}

lks_status_t lks_zip_check(const lks_zip_t *zip, const lks_zip_entry_t *entry)
{
    local_header_t local = {0};
    LKS_TRY(read_local(zip, entry, &local));
    return check_place(entry, &local);
}

lks_status_t lks_zip_check_copy(const lks_zip_t *zip, const lks_zip_entry_t *entry,
                                const void *head, size_t nbytes)
{
    local_header_t local = {0};
    LKS_TRY(compare_headers(zip, entry, lks_bytes_of(head, nbytes), &local));
    return check_place(entry, &local);
}

/* --- where payloads start ----------------------------------------------------------------------- */

/* Only the local header says where a payload starts, and reading all of those would fetch a page from all over
 * the file. But torch, and our writer, put payloads at multiples of 64 bytes, and behind each nothing or a
 * descriptor of 16 or 24 bytes before the next header: one start fits. False if none does. */
static bool predict_data(const lks_zip_entry_t *entry, uint64_t next, uint64_t *out)
{
    uint64_t least = entry->header + ZIP_LOCAL_SIZE + entry->name_length + 4;
    for (uint64_t descriptor = 0; descriptor <= 24; descriptor += descriptor ? 8 : 16) {
        uint64_t behind = entry->stored + descriptor;
        if (behind >= descriptor && behind <= next && (next - behind) % ZIP_ALIGNMENT == 0 &&
            next - behind >= least && next - behind < least + ZIP_LOCAL_EXTRA_MAX) {
            *out = next - behind;
            return true;
        }
    }
    return false;
}

static uint64_t next_header(const lks_zip_t *zip, size_t index)
{
    return index + 1 < zip->count ? zip->entries[index + 1].header : zip->directory;
}

static bool has_padding(lks_bytes_t extra)
{
    while (lks_bytes_left(&extra) >= 4) {
        if (lks_bytes_u16(&extra) == ZIP_EXTRA_PADDING) {
            return true;
        }
        (void)lks_bytes_take(&extra, lks_bytes_u16(&extra));
    }
    return false;
}

/* Whether the archive is one of those: by the order of its records and the look of the first. */
static lks_status_t is_regular(const lks_zip_t *zip, bool *out)
{
    local_header_t first = {0};
    uint64_t predicted;
    *out = false;
    for (size_t i = 1; i < zip->count; i++) {
        if (zip->entries[i].header <= zip->entries[i - 1].header) {
            return LKS_OK;
        }
    }
    if (zip->count > 0) {
        LKS_TRY(read_local(zip, &zip->entries[0], &first));
        *out = has_padding(first.extra) &&
               predict_data(&zip->entries[0], next_header(zip, 0), &predicted) &&
               predicted == first.data;
    }
    return LKS_OK;
}

static lks_status_t locate_payloads(lks_zip_t *zip)
{
    bool regular;
    LKS_TRY(is_regular(zip, &regular));
    for (size_t i = 0; i < zip->count; i++) {
        lks_zip_entry_t *entry = &zip->entries[i];
        if (!regular || !predict_data(entry, next_header(zip, i), &entry->data)) {
            local_header_t local = {0};
            LKS_TRY(read_local(zip, entry, &local));
            entry->data = local.data;
        }
    }
    return LKS_OK;
}

/* --- the archive -------------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
    const lks_zip_entry_t *x = *(const lks_zip_entry_t *const *)a;
    const lks_zip_entry_t *y = *(const lks_zip_entry_t *const *)b;
    return (x->header > y->header) - (x->header < y->header);
}

static lks_status_t check_apart(const lks_zip_entry_t *before, const lks_zip_entry_t *after)
{
    if (after->header < before->data + before->stored) {
        return lks_fail(LKS_ERR_FORMAT, "records '%.*s' and '%.*s' overlap", LKS_ZIP_NAME(before),
                        LKS_ZIP_NAME(after));
    }
    return LKS_OK;
}

/* Writers put records in the directory's order, so sorting is rarely needed. */
static lks_status_t check_overlaps(const lks_zip_t *zip)
{
    size_t i = 1;
    while (i < zip->count && zip->entries[i].header > zip->entries[i - 1].header) {
        LKS_TRY(check_apart(&zip->entries[i - 1], &zip->entries[i]));
        i++;
    }
    if (i >= zip->count) {
        return LKS_OK;
    }
    const lks_zip_entry_t **sorted = malloc(zip->count * sizeof *sorted);
    if (!sorted) {
        return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
    }
    for (i = 0; i < zip->count; i++) {
        sorted[i] = &zip->entries[i];
    }
    qsort(sorted, zip->count, sizeof *sorted, by_offset);
    lks_status_t status = LKS_OK;
    for (i = 1; i < zip->count && status == LKS_OK; i++) {
        status = check_apart(sorted[i - 1], sorted[i]);
    }
    free(sorted);
    return status;
}

static lks_status_t index_name(lks_zip_t *zip, size_t index)
{
    const lks_zip_entry_t *entry = &zip->entries[index];
    size_t known = lks_strmap_add(&zip->by_name, entry->name, entry->name_length, index);
    if (known == SIZE_MAX) {
        return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
    }
    if (known != index) {
        return lks_fail(LKS_ERR_FORMAT, "the archive has two records '%.*s'", LKS_ZIP_NAME(entry));
    }
    return LKS_OK;
}

static lks_status_t read_directory(lks_zip_t *zip, const lks_bytes_t *archive,
                                   const directory_t *where)
{
    lks_bytes_t dir = lks_bytes_part(archive, where->offset, where->size);
    for (size_t i = 0; i < where->count; i++) {
        LKS_TRY(read_central(&dir, &zip->entries[i]));
        LKS_TRY(index_name(zip, i));
        zip->count++;
    }
    if (lks_bytes_left(&dir) > 0) {
        return lks_fail(LKS_ERR_FORMAT, "the archive's directory has %zu bytes too many",
                        lks_bytes_left(&dir));
    }
    LKS_TRY(locate_payloads(zip));
    return check_overlaps(zip);
}

lks_status_t lks_zip_open(const void *data, size_t size, lks_zip_t *out)
{
    lks_bytes_t archive = lks_bytes_of(data, size);
    directory_t where = {0};
    LKS_TRY(read_end(&archive, &where));
    lks_zip_t zip = {
        .data = data, .size = size, .directory = where.offset, .directory_size = where.size};
    /* The count was compared with the directory's size, so this is a small multiple of the file. */
    zip.entries = calloc((size_t)where.count + 1, sizeof *zip.entries);
    if (!zip.entries || !lks_strmap_reserve(&zip.by_name, (size_t)where.count)) {
        lks_zip_close(&zip);
        return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
    }
    lks_status_t status = read_directory(&zip, &archive, &where);
    if (status != LKS_OK) {
        lks_zip_close(&zip);
        return status;
    }
    *out = zip;
    return LKS_OK;
}

void lks_zip_close(lks_zip_t *zip)
{
    free(zip->entries);
    lks_strmap_fini(&zip->by_name);
    *zip = (lks_zip_t){0};
}

const lks_zip_entry_t *lks_zip_find(const lks_zip_t *zip, const char *name, size_t nbytes)
{
    size_t index = lks_strmap_get(&zip->by_name, name, nbytes);
    return index == SIZE_MAX ? NULL : &zip->entries[index];
}
