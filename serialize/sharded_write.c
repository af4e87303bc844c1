/* SPDX-License-Identifier: Apache-2.0 */
/* sharded_write.c - writing; see sharded.h. */
#include "core/strbuf.h"
#include "serialize/json_write.h"
#include "serialize/safetensors_plan.h"
#include "serialize/sharded.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 80

typedef struct splitter {
    lks_safetensors_plan_t plan; /* its items come to lie shard by shard */
    size_t *shard_of;            /* by item */
    size_t
        *number; /* of a shard, given when it is closed; until then they are as they were begun */
    size_t *counts; /* items of each shard, by number */
    size_t begun, shard_count;
    uint64_t nbytes; /* of all tensors */
    const lks_save_options_t *options;
    lks_folder_t *folder;
} splitter_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "writing shards: out of memory");
}

/* --- splitting ---------------------------------------------------------------------------------- */

static size_t begin_shard(splitter_t *splitter)
{
    return splitter->begun++;
}

static void close_shard(splitter_t *splitter, size_t shard)
{
    splitter->number[shard] = splitter->shard_count++;
}

/* As huggingface_hub: in the order of the dict, a shard is closed when the next tensor does not fit; one that is
 * larger than a shard may be goes past the open one. */
static void assign(splitter_t *splitter)
{
    const lks_safetensors_plan_t *plan = &splitter->plan;
    uint64_t most = splitter->options->shard_size, used = 0;
    most = most > 0 ? most : lks_save_options_default().shard_size;
    size_t open = begin_shard(splitter), count = 0; /* items in the open one */
    for (size_t i = 0; i < plan->count; i++) {
        uint64_t nbytes = plan->items[i].nbytes;
        splitter->nbytes += nbytes;
        if (nbytes > most) {
            splitter->shard_of[i] = begin_shard(splitter);
            close_shard(splitter, splitter->shard_of[i]);
            continue;
        }
        if (nbytes > most - used) {
            close_shard(splitter, open);
            open = begin_shard(splitter);
            used = count = 0;
        }
        splitter->shard_of[i] = open;
        used += nbytes;
        count++;
    }
    if (count > 0 || splitter->shard_count == 0) {
        close_shard(splitter, open);
    }
}

static void count_items(splitter_t *splitter)
{
    for (size_t i = 0; i < splitter->plan.count; i++) {
        splitter->shard_of[i] = splitter->number[splitter->shard_of[i]];
        splitter->counts[splitter->shard_of[i]]++;
    }
}

/* Moves the items of each shard together. */
static lks_status_t gather(splitter_t *splitter)
{
    lks_safetensors_plan_t *plan = &splitter->plan;
    lks_safetensors_item_t *gathered = calloc(plan->count + 1, sizeof *gathered);
    size_t *next = calloc(splitter->shard_count + 1, sizeof *next); /* place in each shard */
    if (!gathered || !next) {
        free(gathered);
        free(next);
        return no_memory();
    }
    for (size_t shard = 1; shard < splitter->shard_count; shard++) {
        next[shard] = next[shard - 1] + splitter->counts[shard - 1];
    }
    for (size_t i = 0; i < plan->count; i++) {
        gathered[next[splitter->shard_of[i]]++] = plan->items[i];
    }
    memcpy(plan->items, gathered, plan->count * sizeof *gathered);
    free(gathered);
    free(next);
    return LKS_OK;
}

static lks_status_t split(splitter_t *splitter)
{
    size_t room =
        splitter->plan.count + 1; /* a shard for each item, and the one that is open first */
    splitter->shard_of = calloc(room, sizeof *splitter->shard_of);
    splitter->counts = calloc(room, sizeof *splitter->counts);
    splitter->number = calloc(room, sizeof *splitter->number);
    if (!splitter->shard_of || !splitter->counts || !splitter->number) {
        return no_memory();
    }
    assign(splitter);
    count_items(splitter);
    return gather(splitter);
}

/* --- files -------------------------------------------------------------------------------------- */

static void name_shard(const splitter_t *splitter, size_t shard, char name[NAME_SIZE])
{
    if (splitter->shard_count == 1) {
        (void)snprintf(name, NAME_SIZE, "%s", LKS_SHARDED_SINGLE);
    } else {
        (void)snprintf(name, NAME_SIZE, "model-%05zu-of-%05zu.safetensors", shard + 1,
                       splitter->shard_count);
    }
}

static lks_status_t write_shard(splitter_t *splitter, size_t shard, size_t first)
{
    char name[NAME_SIZE];
    lks_sink_t *sink;
    name_shard(splitter, shard, name);
    LKS_TRY(lks_folder_file(splitter->folder, name, &sink));
    lks_sink_set_source(sink, splitter->plan.tree->source);
    lks_status_t status =
        lks_safetensors_plan_write(&splitter->plan, first, splitter->counts[shard], sink);
    if (status != LKS_OK) {
        lks_sink_discard(sink);
        return status;
    }
    return lks_sink_commit(sink, splitter->options->sync);
}

/* An entry of the index. */
typedef struct line {
    lks_name_t name;
    size_t shard;
} line_t;

static int compare_lines(const void *a, const void *b)
{
    return lks_name_compare(((const line_t *)a)->name, ((const line_t *)b)->name);
}

/* As json.dumps(index, indent=2, sort_keys=True) of transformers. */
static void append_index(const splitter_t *splitter, const line_t *lines, lks_strbuf_t *text)
{
    lks_strbuf_appendf(text, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n",
                       splitter->nbytes);
    lks_strbuf_append_str(text, "  \"weight_map\": {");
    for (size_t i = 0; i < splitter->plan.count; i++) {
        char name[NAME_SIZE];
        name_shard(splitter, lines[i].shard, name);
        lks_strbuf_append_str(text, i > 0 ? ",\n    " : "\n    ");
        lks_json_append(text, lines[i].name.text, lines[i].name.length);
        lks_strbuf_appendf(text, ": \"%s\"", name);
    }
    lks_strbuf_append_str(text, "\n  }\n}\n");
}

static lks_status_t write_index(const splitter_t *splitter)
{
    size_t count = splitter->plan.count;
    line_t *lines = calloc(count + 1, sizeof *lines);
    lks_strbuf_t text = {0};
    lks_sink_t *sink;
    lks_status_t status;
    if (!lines) {
        return no_memory();
    }
    for (size_t shard = 0, i = 0; shard < splitter->shard_count; shard++) {
        for (size_t end = i + splitter->counts[shard]; i < end; i++) {
            lines[i] = (line_t){.name = splitter->plan.items[i].name, .shard = shard};
        }
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    append_index(splitter, lines, &text);
    if (!lks_strbuf_ok(&text)) {
        status = no_memory();
        goto free_lines;
    }
    LKS_GOTO(lks_folder_file(splitter->folder, LKS_SHARDED_INDEX, &sink), free_lines);
    lks_sink_write(sink, text.data, text.length);
    status = lks_sink_commit(sink, splitter->options->sync);

free_lines:
    lks_strbuf_fini(&text);
    free(lines);
    return status;
}

static lks_status_t write_all(splitter_t *splitter)
{
    LKS_TRY(split(splitter));
    size_t first = 0;
    for (size_t shard = 0; shard < splitter->shard_count; shard++) {
        LKS_TRY(write_shard(splitter, shard, first));
        first += splitter->counts[shard];
    }
    return splitter->shard_count > 1 ? write_index(splitter) : LKS_OK;
}

lks_status_t lks_sharded_save(const lks_tree_t *tree, const lks_save_options_t *options,
                              lks_folder_t *folder)
{
    splitter_t splitter = {.options = options, .folder = folder};
    lks_status_t status = lks_safetensors_plan_init(tree, options, &splitter.plan);
    if (status == LKS_OK) {
        status = write_all(&splitter);
    }
    lks_safetensors_plan_fini(&splitter.plan);
    free(splitter.shard_of);
    free(splitter.counts);
    free(splitter.number);
    return status;
}

/* Five digits or more. NULL if they are not there, else the place behind them. */
static const char *skip_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits >= 5 ? text + digits : NULL;
}

bool lks_sharded_is_part(const char *name)
{
    if (strcmp(name, LKS_SHARDED_INDEX) == 0 || strcmp(name, LKS_SHARDED_SINGLE) == 0) {
        return true;
    }
    const char *at = strncmp(name, "model-", 6) == 0 ? skip_number(name + 6) : NULL;
    at = at && strncmp(at, "-of-", 4) == 0 ? skip_number(at + 4) : NULL;
    return at && strcmp(at, ".safetensors") == 0;
}
