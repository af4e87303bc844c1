/* SPDX-License-Identifier: Apache-2.0 */
/* zip_records.c - see zip_records.h. */
#include "serialize/zip_records.h"
#include "serialize/value_node.h"

#include <stdlib.h>

static size_t count_others(const lks_zip_t *zip, const size_t *storage_of)
{
    size_t count = 0;
    for (size_t i = 0; i < zip->count; i++) {
        count += storage_of[i] == 0;
    }
    return count;
}

lks_status_t lks_zip_records_init(const lks_zip_t *zip, const size_t *storage_of,
                                  size_t root_length, lks_tree_t *tree, lks_zip_records_t *out)
{
    size_t count = count_others(zip, storage_of);
    lks_zip_records_t records = {.zip = zip};
    records.items = calloc(count + 1, sizeof *records.items);
    records.entries = calloc(count + 1, sizeof(const lks_zip_entry_t *));
    if (!records.items || !records.entries) {
        lks_zip_records_fini(&records);
        return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
    }
    for (size_t i = 0; i < zip->count; i++) {
        const lks_zip_entry_t *entry = &zip->entries[i];
        if (storage_of[i] == 0) {
            const char *name = lks_tree_copy_text(tree, entry->name + root_length,
                                                  entry->name_length - root_length);
            records.items[records.count] = (lks_record_t){.name = name, .nbytes = entry->size};
            records.entries[records.count++] = entry;
        }
    }
    *out = records;
    return lks_tree_status(tree);
}

void lks_zip_records_fini(lks_zip_records_t *records)
{
    free(records->items);
    free(records->entries);
    *records = (lks_zip_records_t){0};
}

lks_status_t lks_zip_records_read(const lks_zip_records_t *records, size_t index, void *data)
{
    const lks_zip_entry_t *entry = records->entries[index];
    const unsigned char *bytes;
    void *owned;
    LKS_TRY(lks_zip_read(records->zip, entry, SIZE_MAX, &bytes, &owned));
    if (entry->size > 0) {
        memcpy(data, bytes, (size_t)entry->size);
    }
    free(owned);
    return LKS_OK;
}
