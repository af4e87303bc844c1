/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.c - `lockstep inspect`: what a checkpoint holds, without touching a tensor's bytes. */
#include "runtime/cli/cli.h"
#include "runtime/cli/json_out.h"
#include "runtime/cli/leaf_json.h"
#include "runtime/cli/stats.h"
#include "runtime/cli/tensor_hash.h"
#include "runtime/cli/tree_walk.h"

#include <inttypes.h>
#include <lockstep/checkpoint.h>
#include <string.h>

#define BUFFER_SIZE ((size_t)64 << 10)
#define PATH_WIDTH 44 /* of the first column */

typedef struct listing {
    lks_checkpoint_t *checkpoint;
    const char *key;    /* only what is there or below; NULL: everything */
    const char *prefix; /* of paths in text */
    bool hash, stats, first, found;
    size_t tensors, values;
    uint64_t nbytes; /* of all tensors' elements */
} listing_t;

/* At most INT64_MAX: a few bytes that are repeated can claim any number. */
static uint64_t tensor_nbytes(const lks_value_tensor_t *tensor)
{
    int64_t numel = 0;
    if (lks_shape_numel(tensor->ndim, tensor->shape, &numel) != LKS_OK) {
        return 0; /* the reader has checked it */
    }
    int64_t size = (int64_t)lks_dtype_size(tensor->dtype);
    return (uint64_t)(numel > INT64_MAX / size ? INT64_MAX : numel * size);
}

/* Whether a leaf is asked for. */
static bool is_wanted(listing_t *listing, const char *path, size_t nbytes)
{
    size_t length = listing->key ? strlen(listing->key) : 0;
    bool wanted = !listing->key || (nbytes >= length && memcmp(path, listing->key, length) == 0 &&
                                    (nbytes == length || path[length] == '.'));
    listing->found |= wanted;
    return wanted;
}

/* Numbers about the elements; *has is false where they are no numbers. */
static lks_status_t tensor_stats(const listing_t *listing, const lks_value_t *leaf,
                                 const char *path, stats_t *stats, bool *has)
{
    elements_t elements;
    *has = false;
    if (!listing->stats || !lks_dtype_is_convertible(lks_value_tensor(leaf)->dtype)) {
        return LKS_OK;
    }
    LKS_TRY(elements_get(listing->checkpoint, leaf, path, &elements));
    lks_status_t status = stats_of(&elements, stats);
    *has = status == LKS_OK;
    elements_release(&elements);
    return status;
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static void json_ints(const char *key, const int64_t *numbers, int count, bool *first)
{
    json_key(stdout, first, key);
    print_char(stdout, '[');
    (void)print_ints(stdout, count, numbers);
    print_char(stdout, ']');
}

static void json_stats(const stats_t *stats, bool *first)
{
    json_key_float(stdout, first, "min", stats->min);
    json_key_float(stdout, first, "max", stats->max);
    json_key_float(stdout, first, "mean", stats->mean);
    json_key_float(stdout, first, "std", stats->std);
    json_key_int(stdout, first, "zeros", stats->zeros);
    json_key_int(stdout, first, "nans", stats->nans);
    json_key_int(stdout, first, "infinities", stats->infinities);
}

static lks_status_t json_tensor(void *context, const char *path, size_t nbytes,
                                const lks_value_t *leaf)
{
    listing_t *listing = context;
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf);
    if (!tensor || !is_wanted(listing, path, nbytes)) {
        return LKS_OK;
    }
    char hash[65];
    stats_t stats;
    bool has_stats;
    if (listing->hash) {
        LKS_TRY(tensor_hash(listing->checkpoint, leaf, path, hash));
    }
    LKS_TRY(tensor_stats(listing, leaf, path, &stats, &has_stats));
    const lks_tree_storage_t *storage =
        lks_tree_storage(lks_checkpoint_tree(listing->checkpoint), tensor->storage);
    bool first = true;
    fputs(listing->first ? "\n  {" : ",\n  {", stdout);
    listing->first = false;
    json_key(stdout, &first, "path");
    json_text(stdout, path, nbytes);
    json_key_str(stdout, &first, "dtype", lks_dtype_name(tensor->dtype));
    json_ints("shape", tensor->shape, tensor->ndim, &first);
    json_ints("stride", tensor->stride, tensor->ndim, &first);
    json_key_int(stdout, &first, "offset", tensor->offset);
    json_key_int(stdout, &first, "storage", (int64_t)tensor->storage);
    json_key_int(stdout, &first, "nbytes", (int64_t)tensor_nbytes(tensor));
    json_key_str(stdout, &first, "device", storage->location);
    json_key_bool(stdout, &first, "requires_grad", tensor->requires_grad);
    json_key_bool(stdout, &first, "parameter", tensor->is_parameter);
    if (tensor->is_conj || tensor->is_neg) {
        json_key_bool(stdout, &first, "conj", tensor->is_conj);
        json_key_bool(stdout, &first, "neg", tensor->is_neg);
    }
    if (has_stats) {
        json_stats(&stats, &first);
    }
    if (listing->hash) {
        json_key_str(stdout, &first, "sha256", hash);
    }
    fputc('}', stdout);
    return LKS_OK;
}

static lks_status_t json_value(void *context, const char *path, size_t nbytes,
                               const lks_value_t *leaf)
{
    listing_t *listing = context;
    if (lks_value_tensor(leaf) || !is_wanted(listing, path, nbytes)) {
        return LKS_OK;
    }
    bool first = true;
    fputs(listing->first ? "\n  {" : ",\n  {", stdout);
    listing->first = false;
    json_key(stdout, &first, "path");
    json_text(stdout, path, nbytes);
    json_key(stdout, &first, "value");
    leaf_json(stdout, leaf);
    fputc('}', stdout);
    return LKS_OK;
}

static lks_status_t json_leaves(listing_t *listing, const lks_value_t *root, bool *first)
{
    json_key(stdout, first, "tensors");
    fputc('[', stdout);
    listing->first = true;
    LKS_TRY(tree_walk(root, WALK_ATTRIBUTES, json_tensor, listing));
    fputs("],\n\"values\": [", stdout);
    listing->first = true;
    LKS_TRY(tree_walk(root, WALK_ATTRIBUTES, json_value, listing));
    fputc(']', stdout);
    return LKS_OK;
}

/* What an archive has beside its root. */
static lks_status_t json_others(listing_t *listing, bool *first)
{
    const lks_value_t *constants = lks_checkpoint_constants(listing->checkpoint);
    size_t count = lks_checkpoint_record_count(listing->checkpoint);
    if (constants) {
        bool first_part = true;
        json_key(stdout, first, "constants");
        fputc('{', stdout);
        LKS_TRY(json_leaves(listing, constants, &first_part));
        fputc('}', stdout);
    }
    if (count > 0) {
        json_key(stdout, first, "records");
        for (size_t i = 0; i < count; i++) {
            const lks_record_t *record = lks_checkpoint_record(listing->checkpoint, i);
            bool first_part = true;
            fputs(i == 0 ? "[\n  {" : ",\n  {", stdout);
            json_key_str(stdout, &first_part, "name", record->name);
            json_key_int(stdout, &first_part, "size", (int64_t)record->nbytes);
            fputc('}', stdout);
        }
        fputc(']', stdout);
    }
    return LKS_OK;
}

static lks_status_t print_as_json(listing_t *listing)
{
    const lks_checkpoint_t *checkpoint = listing->checkpoint;
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    bool first = true;
    fputc('{', stdout);
    json_key_str(stdout, &first, "file", lks_checkpoint_path(checkpoint));
    json_key_str(stdout, &first, "format", lks_checkpoint_format(checkpoint));
    json_key_int(stdout, &first, "size", (int64_t)lks_checkpoint_file_size(checkpoint));
    LKS_TRY(json_leaves(listing, root, &first));
    if (!listing->key) {
        LKS_TRY(json_others(listing, &first));
    }
    fputs("}\n", stdout);
    return LKS_OK;
}

/* --- text ----------------------------------------------------------------------------------------- */

static lks_status_t count_leaf(void *context, const char *path, size_t nbytes,
                               const lks_value_t *leaf)
{
    listing_t *listing = context;
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf);
    if (!is_wanted(listing, path, nbytes)) {
        return LKS_OK;
    }
    listing->tensors += tensor != NULL;
    listing->values += tensor == NULL;
    uint64_t nbytes_here = tensor ? tensor_nbytes(tensor) : 0;
    listing->nbytes += nbytes_here <= UINT64_MAX - listing->nbytes ? nbytes_here : 0;
    return LKS_OK;
}

static void print_path(const char *path, size_t nbytes, size_t width)
{
    print_plain(stdout, path, nbytes);
    print_spaces(stdout, nbytes, width);
}

/* A line of its own below the tensor's. */
static lks_status_t print_stats(const listing_t *listing, const lks_value_t *leaf, const char *path)
{
    stats_t stats;
    bool has;
    LKS_TRY(tensor_stats(listing, leaf, path, &stats, &has));
    if (has) {
        printf("    min %.6g  max %.6g  mean %.6g  std %.6g  zeros %" PRId64 "  nan %" PRId64
               "  inf %" PRId64 "\n",
               stats.min, stats.max, stats.mean, stats.std, stats.zeros, stats.nans,
               stats.infinities);
    }
    return LKS_OK;
}

static void print_tensor(const lks_value_tensor_t *tensor, const lks_tree_storage_t *storage)
{
    char nbytes[BYTES_TEXT_MAX];
    (void)print_text(stdout, "  ");
    print_spaces(stdout, print_text(stdout, lks_dtype_name(tensor->dtype)), 10);
    size_t shape = print_text(stdout, " (");
    shape += print_ints(stdout, tensor->ndim, tensor->shape);
    shape += print_text(stdout, tensor->ndim == 1 ? ",)" : ")");
    print_spaces(stdout, shape, 20);
    print_spaces(stdout, strlen(format_bytes(nbytes, tensor_nbytes(tensor))), 10);
    (void)print_text(stdout, nbytes);
    (void)print_text(stdout, "  ");
    print_path(storage->location, strlen(storage->location), 0);
}

static lks_status_t print_leaf(void *context, const char *path, size_t nbytes,
                               const lks_value_t *leaf)
{
    listing_t *listing = context;
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf);
    if (!is_wanted(listing, path, nbytes)) {
        return LKS_OK;
    }
    print_path(path, nbytes, PATH_WIDTH - print_text(stdout, listing->prefix));
    if (!tensor) {
        fputs("  ", stdout);
        leaf_json(stdout, leaf);
        fputc('\n', stdout);
        return LKS_OK;
    }
    char hash[65] = "";
    if (listing->hash) {
        LKS_TRY(tensor_hash(listing->checkpoint, leaf, path, hash));
    }
    print_tensor(tensor,
                 lks_tree_storage(lks_checkpoint_tree(listing->checkpoint), tensor->storage));
    (void)print_text(stdout, hash[0] ? "  " : "");
    (void)print_text(stdout, hash);
    print_char(stdout, '\n');
    return print_stats(listing, leaf, path);
}

/* A TorchScript archive: what its code calls by these names, and the code. */
static lks_status_t print_script(listing_t *listing, const lks_value_t *constants)
{
    listing->prefix = "CONSTANTS.c";
    if (lks_value_count(constants) > 0) {
        LKS_TRY(tree_walk(constants, 0, print_leaf, listing));
    }
    for (size_t i = 0; i < lks_checkpoint_record_count(listing->checkpoint); i++) {
        const lks_record_t *record = lks_checkpoint_record(listing->checkpoint, i);
        char nbytes[BYTES_TEXT_MAX];
        print_path(record->name, strlen(record->name), PATH_WIDTH);
        printf("  record %34s\n", format_bytes(nbytes, record->nbytes));
    }
    return LKS_OK;
}

static lks_status_t print_as_text(listing_t *listing)
{
    const lks_checkpoint_t *checkpoint = listing->checkpoint;
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    const lks_value_t *constants =
        listing->key ? NULL : lks_checkpoint_constants(listing->checkpoint);
    char size[BYTES_TEXT_MAX], nbytes[BYTES_TEXT_MAX];
    LKS_TRY(tree_walk(root, 0, count_leaf, listing));
    if (lks_value_count(constants) > 0) {
        LKS_TRY(tree_walk(constants, 0, count_leaf, listing));
    }
    printf("%s: %s, %s, %zu tensors of %s, %zu other values\n", lks_checkpoint_path(checkpoint),
           lks_checkpoint_format(checkpoint),
           format_bytes(size, lks_checkpoint_file_size(checkpoint)), listing->tensors,
           format_bytes(nbytes, listing->nbytes), listing->values);
    LKS_TRY(tree_walk(root, 0, print_leaf, listing));
    return constants ? print_script(listing, constants) : LKS_OK;
}

static lks_status_t print_listing(listing_t *listing, bool json)
{
    LKS_TRY(json ? print_as_json(listing) : print_as_text(listing));
    if (listing->key && !listing->found) {
        return lks_fail(LKS_ERR_NOT_FOUND, "'%s' has nothing called '%s'",
                        lks_checkpoint_path(listing->checkpoint), listing->key);
    }
    return LKS_OK;
}

static int inspect(const char *path, listing_t listing, uint64_t memory, bool json)
{
    static char buffer[BUFFER_SIZE];
    (void)setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    if (open_checkpoint(path, memory, &listing.checkpoint) != LKS_OK) {
        return report_failure();
    }
    int code =
        print_listing(&listing, json) == LKS_OK ? finish_output(EXIT_DONE) : report_failure();
    lks_checkpoint_close(listing.checkpoint);
    return code;
}

static int run(int argc, char **argv)
{
    bool json = false;
    uint64_t memory = 0;
    listing_t listing = {.prefix = ""};
    const option_t options[] = {
        OPTION_SWITCH("json", &json, false,
                      "one JSON object: file, format, size, tensors, values; of "
                      "archives also records and constants"),
        OPTION_STR("key", "PATH", &listing.key, false,
                   "only what is there or below, 'model.fc.0' (default: everything)"),
        OPTION_MEMORY(&memory),
        OPTION_SWITCH("hash", &listing.hash, false, "with the SHA-256 of every tensor's elements"),
        OPTION_SWITCH("stats", &listing.stats, false,
                      "with minimum, maximum, mean and deviation of every tensor, zeros, NaN, inf"),
    };
    size_t count = sizeof options / sizeof *options, words;
    if (options_want_help(argc, argv)) {
        options_print_help(&inspect_command, options, count);
        return finish_output(EXIT_DONE);
    }
    const char *path[1] = {NULL};
    lks_status_t status = options_parse(options, count, argc, argv, false, path, 1, &words);
    if (status == LKS_OK && words != 1) {
        status = lks_fail(LKS_ERR_INVALID_ARG, "which file?");
    }
    return status == LKS_OK ? inspect(path[0], listing, memory, json)
                            : report_usage(&inspect_command);
}

const command_t inspect_command = {
    .name = "inspect",
    .arguments = "FILE",
    .summary =
        "What a checkpoint holds. Names, dtypes, shapes and every other value; nothing in the "
        "file is executed.",
    .run = run,
};
