/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.c - `lockstep inspect`: what a checkpoint holds, without touching a tensor's bytes. */
#include "runtime/cli/cli.h"
#include "runtime/cli/json_out.h"
#include "runtime/cli/tensor_hash.h"
#include "runtime/cli/tree_walk.h"

#include <inttypes.h>
#include <lockstep/checkpoint.h>
#include <string.h>

typedef struct listing {
    lks_checkpoint_t *checkpoint;
    bool hash, first;
    size_t tensors, values;
    uint64_t nbytes; /* of all tensors' elements */
} listing_t;

static uint64_t tensor_nbytes(const lks_value_tensor_t *tensor)
{
    int64_t numel = 0;
    if (lks_shape_numel(tensor->ndim, tensor->shape, &numel) != LKS_OK) {
        return 0; /* the reader has checked it */
    }
    return (uint64_t)numel * lks_dtype_size(tensor->dtype);
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static void json_ints(const char *key, const int64_t *numbers, int count, bool *first)
{
    json_key(stdout, first, key);
    fputc('[', stdout);
    for (int i = 0; i < count; i++) {
        printf("%s%" PRId64, i ? ", " : "", numbers[i]);
    }
    fputc(']', stdout);
}

static lks_status_t json_tensor(void *context, const char *path, size_t nbytes,
                                const lks_value_t *leaf)
{
    listing_t *listing = context;
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf);
    if (!tensor) {
        return LKS_OK;
    }
    char hash[65];
    if (listing->hash) {
        LKS_TRY(tensor_hash(listing->checkpoint, leaf, path, hash));
    }
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
    json_key(stdout, &first, "requires_grad");
    fputs(tensor->requires_grad ? "true" : "false", stdout);
    if (listing->hash) {
        json_key_str(stdout, &first, "sha256", hash);
    }
    fputc('}', stdout);
    return LKS_OK;
}

static void print_hex(const char *key, const char *bytes, size_t nbytes)
{
    printf("{\"%s\": \"", key);
    for (size_t i = 0; i < nbytes; i++) {
        printf("%02x", (unsigned char)bytes[i]);
    }
    fputs("\"}", stdout);
}

/* A leaf that is no tensor as a JSON value. What JSON lacks is an object with one key that names its kind. */
static void json_leaf(const lks_value_t *leaf)
{
    size_t nbytes = 0;
    const char *text = lks_value_text(leaf, &nbytes);
    bool flag = false;
    int64_t number = 0;
    double real = 0.0;
    switch (lks_value_kind(leaf)) {
    case LKS_VALUE_NONE: fputs("null", stdout); return;
    case LKS_VALUE_BOOL:
        fputs(lks_value_get_bool(leaf, &flag) == LKS_OK && flag ? "true" : "false", stdout);
        return;
    case LKS_VALUE_INT:
        if (lks_value_get_int(leaf, &number) == LKS_OK) {
            printf("%" PRId64, number);
        }
        return;
    case LKS_VALUE_FLOAT:
        if (lks_value_get_float(leaf, &real) == LKS_OK) {
            json_float(stdout, real);
        }
        return;
    case LKS_VALUE_STR: json_text(stdout, text, nbytes); return;
    case LKS_VALUE_BYTES: print_hex("bytes", text, nbytes); return;
    case LKS_VALUE_BIGINT: print_hex("bigint", text, nbytes); return;
    case LKS_VALUE_LIST: fputs("[]", stdout); return;
    case LKS_VALUE_TUPLE: fputs("{\"tuple\": []}", stdout); return;
    case LKS_VALUE_DICT: fputs("{}", stdout); return;
    default:
        printf("{\"%s\": ", lks_value_kind_name(lks_value_kind(leaf)));
        text = lks_value_class_name(leaf);
        json_str(stdout, text ? text : "?");
        fputc('}', stdout);
    }
}

static lks_status_t json_value(void *context, const char *path, size_t nbytes,
                               const lks_value_t *leaf)
{
    listing_t *listing = context;
    if (lks_value_tensor(leaf)) {
        return LKS_OK;
    }
    bool first = true;
    fputs(listing->first ? "\n  {" : ",\n  {", stdout);
    listing->first = false;
    json_key(stdout, &first, "path");
    json_text(stdout, path, nbytes);
    json_key(stdout, &first, "value");
    json_leaf(leaf);
    fputc('}', stdout);
    return LKS_OK;
}

static lks_status_t print_json(listing_t *listing)
{
    const lks_checkpoint_t *checkpoint = listing->checkpoint;
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    bool first = true;
    fputc('{', stdout);
    json_key_str(stdout, &first, "file", lks_checkpoint_path(checkpoint));
    json_key_str(stdout, &first, "format", lks_checkpoint_format(checkpoint));
    json_key_int(stdout, &first, "size", (int64_t)lks_checkpoint_file_size(checkpoint));
    json_key(stdout, &first, "tensors");
    fputc('[', stdout);
    listing->first = true;
    LKS_TRY(tree_walk(root, false, json_tensor, listing));
    fputs("],\n\"values\": [", stdout);
    listing->first = true;
    LKS_TRY(tree_walk(root, false, json_value, listing));
    fputs("]}\n", stdout);
    return LKS_OK;
}

/* --- text ----------------------------------------------------------------------------------------- */

static lks_status_t count_leaf(void *context, const char *path, size_t nbytes,
                               const lks_value_t *leaf)
{
    (void)path;
    (void)nbytes;
    listing_t *listing = context;
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf);
    listing->tensors += tensor != NULL;
    listing->values += tensor == NULL;
    listing->nbytes += tensor ? tensor_nbytes(tensor) : 0;
    return LKS_OK;
}

/* Control characters in names must not reach a terminal. */
static void print_path(const char *path, size_t nbytes, int width)
{
    for (size_t i = 0; i < nbytes; i++) {
        unsigned char c = (unsigned char)path[i];
        fputc(c < 0x20 || c == 0x7f ? '?' : c, stdout);
    }
    printf("%*s", nbytes < (size_t)width ? width - (int)nbytes : 0, "");
}

static lks_status_t print_leaf(void *context, const char *path, size_t nbytes,
                               const lks_value_t *leaf)
{
    listing_t *listing = context;
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf);
    print_path(path, nbytes, 44);
    if (!tensor) {
        fputs("  ", stdout);
        json_leaf(leaf);
        fputc('\n', stdout);
        return LKS_OK;
    }
    char shape[128], bytes[32], hash[65] = "";
    if (listing->hash) {
        LKS_TRY(tensor_hash(listing->checkpoint, leaf, path, hash));
    }
    const lks_tree_storage_t *storage =
        lks_tree_storage(lks_checkpoint_tree(listing->checkpoint), tensor->storage);
    printf("  %-10s %-18s %10s  ", lks_dtype_name(tensor->dtype),
           lks_shape_format(shape, sizeof shape, tensor->ndim, tensor->shape),
           format_bytes(bytes, sizeof bytes, tensor_nbytes(tensor)));
    print_path(storage->location, strlen(storage->location), 0);
    printf("%s%s\n", hash[0] ? "  " : "", hash);
    return LKS_OK;
}

static lks_status_t print_text(listing_t *listing)
{
    const lks_checkpoint_t *checkpoint = listing->checkpoint;
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    char size[32], nbytes[32];
    LKS_TRY(tree_walk(root, false, count_leaf, listing));
    printf("%s: %s, %s, %zu tensors of %s, %zu other values\n", lks_checkpoint_path(checkpoint),
           lks_checkpoint_format(checkpoint),
           format_bytes(size, sizeof size, lks_checkpoint_file_size(checkpoint)), listing->tensors,
           format_bytes(nbytes, sizeof nbytes, listing->nbytes), listing->values);
    return tree_walk(root, false, print_leaf, listing);
}

static int inspect(const char *path, bool json, bool hash)
{
    listing_t listing = {.hash = hash};
    if (lks_checkpoint_open(path, NULL, &listing.checkpoint) != LKS_OK) {
        return report_failure();
    }
    lks_status_t status = json ? print_json(&listing) : print_text(&listing);
    int code = status == LKS_OK ? finish_output(EXIT_DONE) : report_failure();
    lks_checkpoint_close(listing.checkpoint);
    return code;
}

static int run(int argc, char **argv)
{
    bool json = false, hash = false;
    const option_t options[] = {
        OPTION_SWITCH("json", &json, false, "one JSON object: file, format, size, tensors, values"),
        OPTION_SWITCH("hash", &hash, false, "with the SHA-256 of every tensor's elements"),
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
    return status == LKS_OK ? inspect(path[0], json, hash) : report_usage(&inspect_command);
}

const command_t inspect_command = {
    .name = "inspect",
    .arguments = "FILE",
    .summary =
        "What a checkpoint holds. Names, dtypes, shapes and every other value; nothing in the "
        "file is executed.",
    .run = run,
};
