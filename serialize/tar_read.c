/* SPDX-License-Identifier: Apache-2.0 */
/* tar_read.c - see tar_read.h. */
#include "serialize/tar_read.h"

#include <inttypes.h>
#include <string.h>

#define BLOCK 512
#define NAME_BYTES 100
#define SIZE_AT 124
#define SIZE_BYTES 12
#define CHECKSUM_AT 148
#define CHECKSUM_BYTES 8
#define TYPE_AT 156
#define MAGIC_AT 257
#define PREFIX_AT 345

/* A member as its header, and the pax records before it, describe it. */
typedef struct entry {
    const char *name;
    size_t name_length;
    uint64_t size;
    char type;
} entry_t;

/* What pax records say of the next member. */
typedef struct overrides {
    const char *path; /* NULL: nothing */
    size_t path_length;
    uint64_t size;
    bool has_size;
} overrides_t;

bool lks_tar_probe(const unsigned char *data, size_t size)
{
    return size >= BLOCK && memcmp(data + MAGIC_AT, "ustar", 5) == 0;
}

/* --- numbers ------------------------------------------------------------------------------------ */

/* Digits of a base with blanks or zeros around them. */
static bool read_digits(const unsigned char *text, size_t nbytes, unsigned base, uint64_t *out)
{
    uint64_t value = 0;
    size_t at = 0, digits = 0;
    while (at < nbytes && text[at] == ' ') {
        at++;
    }
    for (; at < nbytes && text[at] >= '0' && text[at] < '0' + (int)base; at++, digits++) {
        if (value > (UINT64_MAX - 9) / base) {
            return false;
        }
        value = value * base + (uint64_t)(text[at] - '0');
    }
    while (at < nbytes && (text[at] == ' ' || text[at] == '\0')) {
        at++;
    }
    *out = value;
    return at == nbytes && digits > 0;
}

static bool read_number(const unsigned char *field, size_t nbytes, uint64_t *out)
{
    if (field[0] != 0x80) {
        return read_digits(field, nbytes, 8, out);
    }
    uint64_t value = 0;
    for (size_t i = 1; i < nbytes; i++) {
        if (value >> 56 != 0) {
            return false;
        }
        value = value << 8 | field[i];
    }
    *out = value;
    return true;
}

/* The sum of the header's bytes, with blanks for the sum itself. */
static bool checksum_matches(const unsigned char *header)
{
    uint64_t wanted, sum = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        sum += i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES ? ' ' : header[i];
    }
    return read_digits(header + CHECKSUM_AT, CHECKSUM_BYTES, 8, &wanted) && wanted == sum;
}

/* --- pax records -------------------------------------------------------------------------------- */

/* One record, "LENGTH KEY=VALUE\n"; LENGTH counts all of it. */
static bool read_record(lks_bytes_t *records, overrides_t *overrides)
{
    const char *record = (const char *)records->data + records->at;
    size_t left = lks_bytes_left(records);
    const char *blank = memchr(record, ' ', left < 20 ? left : 20);
    uint64_t length;
    if (!blank ||
        !read_digits((const unsigned char *)record, (size_t)(blank - record), 10, &length) ||
        length > left || length < (size_t)(blank - record) + 3 || record[length - 1] != '\n') {
        return false;
    }
    const char *key = blank + 1, *end = record + length - 1;
    const char *equals = memchr(key, '=', (size_t)(end - key));
    if (!equals) {
        return false;
    }
    const char *value = equals + 1;
    size_t key_length = (size_t)(equals - key), value_length = (size_t)(end - value);
    if (key_length == 4 && memcmp(key, "path", 4) == 0) {
        overrides->path = value;
        overrides->path_length = value_length;
    }
    if (key_length == 4 && memcmp(key, "size", 4) == 0) {
        overrides->has_size =
            read_digits((const unsigned char *)value, value_length, 10, &overrides->size);
        if (!overrides->has_size) {
            return false;
        }
    }
    return lks_bytes_take(records, length) != NULL;
}

static bool read_records(lks_bytes_t records, overrides_t *overrides)
{
    while (lks_bytes_left(&records) > 0) {
        if (!read_record(&records, overrides)) {
            return false;
        }
    }
    return true;
}

/* --- members ------------------------------------------------------------------------------------ */

static bool is_zero(const unsigned char *block)
{
    return block[0] == 0 && memcmp(block, block + 1, BLOCK - 1) == 0;
}

static lks_status_t read_entry(const unsigned char *header, size_t at, const overrides_t *overrides,
                               entry_t *out)
{
    entry_t entry = {.name = (const char *)header, .type = (char)header[TYPE_AT]};
    if (memcmp(header + MAGIC_AT, "ustar", 5) != 0 || !checksum_matches(header)) {
        return lks_fail(LKS_ERR_FORMAT, "the tar archive has no valid header at byte %zu", at);
    }
    if (!read_number(header + SIZE_AT, SIZE_BYTES, &entry.size)) {
        return lks_fail(LKS_ERR_FORMAT, "the tar header at byte %zu has no valid size", at);
    }
    entry.name_length = strnlen(entry.name, NAME_BYTES);
    if (header[PREFIX_AT] != '\0' && header[MAGIC_AT + 5] == '\0') {
        entry.name_length = 0; /* in a folder: none that anybody looks for */
    }
    if (overrides->path) {
        entry.name = overrides->path;
        entry.name_length = overrides->path_length;
    }
    entry.size = overrides->has_size ? overrides->size : entry.size;
    *out = entry;
    return LKS_OK;
}

static lks_status_t note_member(const entry_t *entry, lks_bytes_t contents,
                                lks_tar_member_t *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        lks_tar_member_t *member = &members[i];
        if (strlen(member->name) != entry->name_length ||
            memcmp(member->name, entry->name, entry->name_length) != 0) {
            continue;
        }
        if (member->found) {
            return lks_fail(LKS_ERR_FORMAT, "the tar archive has two members '%s'", member->name);
        }
        member->found = true;
        member->contents = contents;
    }
    return LKS_OK;
}

/* Takes a member's contents and what fills its last block, which may be cut off at the end of the archive. */
static lks_status_t take_contents(lks_bytes_t *archive, uint64_t size, lks_bytes_t *out)
{
    size_t at = archive->at;
    if (!lks_bytes_take(archive, size)) {
        return lks_fail(LKS_ERR_FORMAT,
                        "a member of the tar archive wants %" PRIu64
                        " bytes from byte %zu on, %zu left",
                        size, at, archive->size - at);
    }
    *out = (lks_bytes_t){.data = archive->data, .size = archive->at, .at = at, .ok = true};
    size_t fill = (BLOCK - size % BLOCK) % BLOCK, left = lks_bytes_left(archive);
    (void)lks_bytes_take(archive, fill < left ? fill : left);
    return LKS_OK;
}

static lks_status_t read_member(lks_bytes_t *archive, const unsigned char *header,
                                overrides_t *overrides, lks_tar_member_t *members, size_t count)
{
    entry_t entry;
    lks_bytes_t contents;
    size_t at = archive->at - BLOCK;
    LKS_TRY(read_entry(header, at, overrides, &entry));
    LKS_TRY(take_contents(archive, entry.size, &contents));
    *overrides = (overrides_t){0};
    if (entry.type == 'x' && !read_records(contents, overrides)) {
        return lks_fail(LKS_ERR_FORMAT, "the tar archive has no valid pax records at byte %zu", at);
    }
    bool regular = entry.type == '0' || entry.type == '\0';
    return regular ? note_member(&entry, contents, members, count) : LKS_OK;
}

lks_status_t lks_tar_find(const unsigned char *data, size_t size, lks_tar_member_t *members,
                          size_t count)
{
    lks_bytes_t archive = lks_bytes_of(data, size);
    overrides_t overrides = {0};
    while (lks_bytes_left(&archive) > 0) {
        size_t at = archive.at;
        const unsigned char *header = lks_bytes_take(&archive, BLOCK);
        if (!header) {
            return lks_fail(LKS_ERR_FORMAT, "the tar archive ends within the header at byte %zu",
                            at);
        }
        if (is_zero(header)) {
            break;
        }
        LKS_TRY(read_member(&archive, header, &overrides, members, count));
    }
    return LKS_OK;
}
