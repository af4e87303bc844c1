/* SPDX-License-Identifier: Apache-2.0 */
/* sharded.c - reading; see sharded.h. */
#include "serialize/sharded.h"
#include "core/strbuf.h"
#include "serialize/name_text.h"
#include "serialize/parts.h"
#include "serialize/sharded_index.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sharded {
    lks_tree_t *tree;
    lks_checkpoint_limits_t left; /* of the limits, for the shards that are not open yet */
    lks_sharded_index_t index;
    lks_parts_t parts;
    lks_strbuf_t folder; /* where the shards lie, with a slash behind it */
} sharded_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "opening shards: out of memory");
}

/* --- which file is the index -------------------------------------------------------------------- */

typedef struct indices {
    size_t count;
    char first[NAME_MAX + 1], second[NAME_MAX + 1];
} indices_t;

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static indices_t find_indices(const char *path)
{
    indices_t found = {0};
    DIR *entries = opendir(path);
    if (!entries) {
        return found;
    }
    for (const struct dirent *entry; (entry = readdir(entries));) {
        if (ends_with(entry->d_name, ".index.json")) {
            char *name = found.count == 0 ? found.first : found.second;
            (void)snprintf(name, sizeof found.first, "%s", entry->d_name);
            found.count++;
        }
    }
    (void)closedir(entries);
    return found;
}

static bool probe(lks_origin_t *origin)
{
    if (origin->source) {
        return lks_sharded_index_probe(origin->source);
    }
    return find_indices(origin->path).count > 0 || lks_origin_has_entry(origin, LKS_SHARDED_SINGLE);
}

/* --- shards ------------------------------------------------------------------------------------- */

static lks_status_t open_beside(const sharded_t *sharded, const char *file, lks_source_t **out)
{
    lks_strbuf_t path = {0};
    lks_strbuf_appendf(&path, "%s%s", lks_strbuf_text(&sharded->folder), file);
    lks_status_t status =
        lks_strbuf_ok(&path) ? lks_source_open(lks_strbuf_text(&path), out) : no_memory();
    lks_strbuf_fini(&path);
    return status;
}

/* What the limits leave to the next shards. 0 would be no limit. */
static void use_up(size_t *left, size_t used)
{
    *left = used < *left ? *left - used : 1;
}

static lks_status_t open_part(sharded_t *sharded, lks_source_t *source, lks_checkpoint_t **out)
{
    if (lks_sharded_index_probe(source)) {
        return lks_fail(LKS_ERR_FORMAT, "the shard '%s' is an index itself", source->path);
    }
    LKS_TRY(lks_checkpoint_open_source(source, &sharded->left, out));
    const lks_tree_t *tree = lks_checkpoint_tree(*out);
    sharded->tree->unchecked &= tree->unchecked;
    use_up(&sharded->left.memory, tree->arena.used);
    use_up(&sharded->left.max_nodes, tree->node_count);
    return LKS_OK;
}

static lks_status_t open_shard(sharded_t *sharded, lks_shard_t *shard, lks_origin_t *origin)
{
    lks_source_t *source;
    lks_checkpoint_t *part;
    size_t number;
    LKS_TRY(open_beside(sharded, shard->file, &source));
    lks_status_t status = open_part(sharded, source, &part);
    lks_source_release(source);
    LKS_TRY(status);
    LKS_TRY(lks_parts_add(&sharded->parts, part, &number)); /* which takes it over */
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(part));
    if (lks_value_kind(root) != LKS_VALUE_DICT) {
        return lks_fail(LKS_ERR_FORMAT, "the shard '%s' is of kind %s, not a dict of tensors",
                        shard->file, lks_value_kind_name(lks_value_kind(root)));
    }
    origin->nbytes += lks_checkpoint_file_size(part);
    lks_value_t *dict;
    LKS_TRY(lks_parts_graft(&sharded->parts, number, root, &dict));
    shard->dict = dict;
    return LKS_OK;
}

/* --- the tree ----------------------------------------------------------------------------------- */

static lks_status_t add_entries(const sharded_t *sharded, lks_value_t *dict)
{
    const lks_sharded_index_t *index = &sharded->index;
    for (size_t i = 0; i < index->entry_count; i++) {
        const lks_shard_entry_t *entry = &index->entries[i];
        const lks_shard_t *shard = &index->shards[entry->shard];
        lks_value_t *value = lks_dict_find(shard->dict, entry->name);
        if (!value) {
            return lks_tensor_error(lks_fail(LKS_ERR_FORMAT,
                                             "it is not in the shard '%s', where the index has it",
                                             shard->file),
                                    entry->name);
        }
        lks_value_set(sharded->tree, dict, entry->name, value);
        LKS_TRY(lks_tree_status(sharded->tree));
        if (lks_value_count(dict) != i + 1) {
            return lks_tensor_error(lks_fail(LKS_ERR_FORMAT, "the index has it twice"),
                                    entry->name);
        }
    }
    return LKS_OK;
}

/* The shard that a value came from. */
static const char *file_of(const sharded_t *sharded, const lks_value_t *key,
                           const lks_value_t *value)
{
    for (size_t i = 0; i < sharded->index.shard_count; i++) {
        if (lks_dict_find(sharded->index.shards[i].dict, key) == value) {
            return sharded->index.shards[i].file;
        }
    }
    return "?";
}

/* What the index does not name is not lost, as long as there is one of it. */
static lks_status_t add_rest(const sharded_t *sharded, const lks_shard_t *shard, lks_value_t *dict)
{
    for (size_t i = 0; i < lks_value_count(shard->dict); i++) {
        lks_value_t *key = lks_value_key_at(shard->dict, i);
        lks_value_t *value = lks_value_at(shard->dict, i), *there = lks_dict_find(dict, key);
        if (there && there != value) {
            return lks_tensor_error(lks_fail(LKS_ERR_FORMAT, "it is in two shards, '%s' and '%s'",
                                             file_of(sharded, key, there), shard->file),
                                    key);
        }
        if (!there) {
            lks_value_set(sharded->tree, dict, key, value);
        }
    }
    return lks_tree_status(sharded->tree);
}

static lks_status_t build_tree(const sharded_t *sharded)
{
    lks_tree_t *tree = sharded->tree;
    const lks_sharded_index_t *index = &sharded->index;
    lks_value_t *dict = lks_value_ordered_dict(tree);
    LKS_TRY(lks_tree_status(tree));
    LKS_TRY(add_entries(sharded, dict));
    for (size_t i = 0; i < index->shard_count; i++) {
        LKS_TRY(add_rest(sharded, &index->shards[i], dict));
    }
    /* The metadata of safetensors shards are the same in all of them. */
    lks_value_t *attributes =
        index->shard_count > 0 ? lks_value_dict_attributes(index->shards[0].dict) : NULL;
    if (attributes) {
        lks_value_dict_set_attributes(tree, dict, attributes);
    }
    lks_tree_set_root(tree, dict);
    return lks_tree_status(tree);
}

/* --- the format --------------------------------------------------------------------------------- */

static void close_shards(void *state)
{
    sharded_t *sharded = state;
    lks_parts_fini(&sharded->parts);
    lks_sharded_index_fini(&sharded->index);
    lks_strbuf_fini(&sharded->folder);
    free(sharded);
}

/* The directory that shards lie in: the origin itself, or that of the index. */
static lks_status_t set_folder(sharded_t *sharded, const lks_origin_t *origin)
{
    const char *slash = strrchr(origin->path, '/');
    if (!origin->source) {
        lks_strbuf_appendf(&sharded->folder, "%s/", origin->path);
    } else if (slash) {
        lks_strbuf_append(&sharded->folder, origin->path, (size_t)(slash - origin->path) + 1);
    }
    return lks_strbuf_ok(&sharded->folder) ? LKS_OK : no_memory();
}

static lks_status_t read_index_of_folder(sharded_t *sharded, lks_origin_t *origin)
{
    indices_t found = find_indices(origin->path);
    size_t number;
    lks_source_t *source;
    if (found.count == 0) {
        return lks_sharded_index_shard(&sharded->index, sharded->tree, LKS_SHARDED_SINGLE,
                                       strlen(LKS_SHARDED_SINGLE), &number);
    }
    if (found.count > 1) {
        return lks_fail(LKS_ERR_FORMAT,
                        "the directory has %zu indices of shards, '%s' and '%s' among them; open "
                        "one of them by its own path",
                        found.count, found.first, found.second);
    }
    LKS_TRY(open_beside(sharded, found.first, &source));
    origin->nbytes += source->size;
    lks_status_t status =
        lks_sharded_index_read(source, &sharded->left, sharded->tree, &sharded->index);
    lks_source_release(source);
    return status;
}

static lks_status_t open_shards(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                lks_tree_t *tree, void **state)
{
    sharded_t *sharded = calloc(1, sizeof *sharded);
    if (!sharded) {
        return no_memory();
    }
    sharded->tree = tree;
    tree->unchecked = true; /* unless a shard is not */
    sharded->left = *limits;
    lks_parts_init(tree, &sharded->parts);
    *state = sharded; /* from here on closing frees it */
    LKS_TRY(set_folder(sharded, origin));
    if (origin->source) {
        LKS_TRY(lks_sharded_index_read(origin->source, limits, tree, &sharded->index));
    } else {
        LKS_TRY(read_index_of_folder(sharded, origin));
    }
    for (size_t i = 0; i < sharded->index.shard_count; i++) {
        LKS_TRY(open_shard(sharded, &sharded->index.shards[i], origin));
    }
    return build_tree(sharded);
}

const lks_format_t lks_format_sharded = {
    .name = "sharded",
    .probe = probe,
    .open = open_shards,
    .close = close_shards,
    .save_folder = lks_sharded_save,
    .is_part = lks_sharded_is_part,
};
