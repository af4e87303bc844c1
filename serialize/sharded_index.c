/* SPDX-License-Identifier: Apache-2.0 */
/* sharded_index.c - see sharded_index.h. */
#include "serialize/sharded_index.h"
#include "core/grow.h"
#include "serialize/json_read.h"
#include "serialize/name_text.h"

#include <limits.h>
#include <stdlib.h>

#define PROBED ((size_t)1 << 20) /* bytes that are searched */

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "the index: out of memory");
}

bool lks_sharded_index_probe(const lks_source_t *source)
{
    size_t end = source->size < PROBED ? source->size : PROBED, at = 0;
    while (at < end && strchr(" \t\r\n", source->data[at]) && source->data[at] != '\0') {
        at++;
    }
    return at < end && source->data[at] == '{' &&
           memmem(source->data + at, end - at, "\"weight_map\"", 12);
}

/* No way out of the directory, and no way into another. */
static bool is_plain(const char *file, size_t nbytes)
{
    bool dots = (nbytes == 1 && file[0] == '.') || (nbytes == 2 && memcmp(file, "..", 2) == 0);
    return nbytes > 0 && nbytes <= NAME_MAX && !dots && !memchr(file, '/', nbytes) &&
           !memchr(file, '\0', nbytes);
}

static lks_status_t add_shard(lks_sharded_index_t *index, lks_tree_t *tree, const char *file,
                              size_t nbytes)
{
    const char *copy = lks_tree_copy_text(tree, file, nbytes);
    LKS_TRY(lks_tree_status(tree));
    lks_shard_t *shards =
        lks_grow(index->shards, &index->shard_capacity, index->shard_count + 1, sizeof *shards);
    if (!shards) {
        return no_memory();
    }
    index->shards = shards;
    if (lks_strmap_add(&index->files, copy, nbytes, index->shard_count) == SIZE_MAX) {
        return no_memory();
    }
    index->shards[index->shard_count++] = (lks_shard_t){.file = copy};
    return LKS_OK;
}

lks_status_t lks_sharded_index_shard(lks_sharded_index_t *index, lks_tree_t *tree, const char *file,
                                     size_t nbytes, size_t *number)
{
    if (!is_plain(file, nbytes)) {
        lks_strbuf_t shown = {0};
        lks_name_append(&shown, (lks_name_t){.text = file, .length = nbytes}, 200);
        lks_status_t status = lks_fail(
            LKS_ERR_FORMAT, "the index names the shard '%s', which is no file beside the index",
            lks_strbuf_text(&shown));
        lks_strbuf_fini(&shown);
        return status;
    }
    size_t known = lks_strmap_get(&index->files, file, nbytes);
    if (known == SIZE_MAX) {
        LKS_TRY(add_shard(index, tree, file, nbytes));
        known = index->shard_count - 1;
    }
    *number = known;
    return LKS_OK;
}

static lks_status_t add_entry(lks_sharded_index_t *index, lks_value_t *name, size_t shard)
{
    lks_shard_entry_t *entries =
        lks_grow(index->entries, &index->entry_capacity, index->entry_count + 1, sizeof *entries);
    if (!entries) {
        return no_memory();
    }
    index->entries = entries;
    index->entries[index->entry_count++] = (lks_shard_entry_t){.name = name, .shard = shard};
    return LKS_OK;
}

static lks_status_t read_map(lks_json_t *json, lks_tree_t *tree, lks_sharded_index_t *index)
{
    lks_json_text_t text;
    (void)lks_json_enter(json, '{');
    while (lks_json_next_key(json, &text)) {
        lks_value_t *name = lks_value_str_n(tree, text.text, text.nbytes);
        LKS_TRY(lks_tree_status(tree));
        size_t shard;
        if (lks_json_string(json, &text)) {
            LKS_TRY(lks_sharded_index_shard(index, tree, text.text, text.nbytes, &shard));
            LKS_TRY(add_entry(index, name, shard));
        }
    }
    return json->status;
}

/* What else is in an index (total_size, which counts tied tensors once or twice) is not looked at. */
static lks_status_t read_object(lks_json_t *json, lks_tree_t *tree, lks_sharded_index_t *index)
{
    bool seen = false;
    lks_json_text_t key;
    (void)lks_json_enter(json, '{');
    while (lks_json_next_key(json, &key)) {
        if (!lks_json_is(key, "weight_map")) {
            lks_json_skip(json);
        } else if (seen) {
            return lks_fail(LKS_ERR_FORMAT, "the index has 'weight_map' twice");
        } else {
            seen = true;
            LKS_TRY(read_map(json, tree, index));
        }
    }
    lks_json_end(json);
    LKS_TRY(json->status);
    return seen ? LKS_OK : lks_fail(LKS_ERR_FORMAT, "the index has no 'weight_map'");
}

lks_status_t lks_sharded_index_read(const lks_source_t *source,
                                    const lks_checkpoint_limits_t *limits, lks_tree_t *tree,
                                    lks_sharded_index_t *index)
{
    if (source->size > limits->memory) {
        return lks_fail(LKS_ERR_FORMAT, "the index has %zu bytes, the memory limit is %zu",
                        source->size, limits->memory);
    }
    lks_json_t json;
    lks_json_init(&json, "the index", source->data, source->size);
    lks_status_t status = json.status;
    if (status == LKS_OK) {
        status = read_object(&json, tree, index);
    }
    lks_json_fini(&json);
    return status;
}

void lks_sharded_index_fini(lks_sharded_index_t *index)
{
    free(index->entries);
    free(index->shards);
    lks_strmap_fini(&index->files);
    *index = (lks_sharded_index_t){0};
}
