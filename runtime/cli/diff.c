/* SPDX-License-Identifier: Apache-2.0 */
/* diff.c - `lockstep diff`: what two checkpoints, of any two formats, have that differs. */
#include "runtime/cli/cli.h"
#include "runtime/cli/compare.h"
#include "runtime/cli/json_out.h"
#include "runtime/cli/leaves.h"
#include "runtime/cli/print.h"
#include "runtime/cli/tree_walk.h"

#include <lockstep/rename.h>
#include <stdlib.h>
#include <string.h>

typedef struct diff_flags {
    compare_options_t compare;
    lks_rename_t *canonical; /* applied to both sides; NULL: none */
    bool quiet, json;
    const char *only; /* "tensors" */
    uint64_t memory;
} diff_flags_t;

typedef struct diff {
    const diff_flags_t *flags;
    lks_checkpoint_t *sides[2];
    leaves_t leaves[2];
    size_t equal, changed, missing, added; /* leaves */
    bool first;                            /* of the JSON list */
} diff_t;

/* --- what is printed ---------------------------------------------------------------------------- */

static void print_json(diff_t *diff, const char *what, const leaf_t *leaf, const char *difference)
{
    bool first = true;
    fputs(diff->first ? "\n  {" : ",\n  {", stdout);
    diff->first = false;
    json_key(stdout, &first, "path");
    json_text(stdout, leaf->path, leaf->nbytes);
    json_key_str(stdout, &first, "what", what);
    if (difference) {
        json_key_str(stdout, &first, "difference", difference);
    }
    fputc('}', stdout);
}

static void print_line(diff_t *diff, const char *what, const leaf_t *leaf, const char *difference)
{
    if (diff->flags->json) {
        print_json(diff, what, leaf, difference);
    } else if (!diff->flags->quiet) {
        printf("%c ", *what == 'c' ? '~' : *what == 'm' ? '-' : '+');
        print_plain(stdout, leaf->path, leaf->nbytes);
        printf("%s%s\n", difference ? ": " : "", difference ? difference : "");
    }
}

/* --- leaf by leaf ------------------------------------------------------------------------------- */

static lks_status_t compare_pair(diff_t *diff, const leaf_t *a, const leaf_t *b)
{
    char difference[DIFFERENCE_MAX] = "";
    bool equal = false;
    compare_side_t x = {.checkpoint = diff->sides[0], .value = a->value};
    compare_side_t y = {.checkpoint = diff->sides[1], .value = b->value};
    LKS_TRY(compare_leaves(x, y, a->path, &diff->flags->compare, &equal, difference));
    if (equal) {
        diff->equal++;
    } else {
        diff->changed++;
        print_line(diff, "changed", a, difference);
    }
    return LKS_OK;
}

/* Both are sorted: the smaller path of the two heads is missing on the other side. */
static lks_status_t compare_all(diff_t *diff)
{
    const leaves_t *a = &diff->leaves[0], *b = &diff->leaves[1];
    for (size_t i = 0, j = 0; i < a->count || j < b->count;) {
        int order = i == a->count   ? 1
                    : j == b->count ? -1
                                    : leaf_compare_paths(&a->items[i], &b->items[j]);
        if (order == 0) {
            LKS_TRY(compare_pair(diff, &a->items[i++], &b->items[j++]));
        } else if (order < 0) {
            diff->missing++;
            print_line(diff, "missing", &a->items[i++], NULL);
        } else {
            diff->added++;
            print_line(diff, "added", &b->items[j++], NULL);
        }
    }
    return LKS_OK;
}

/* Leaves that are not asked for go. */
static void keep_tensors(leaves_t *leaves)
{
    size_t kept = 0;
    for (size_t i = 0; i < leaves->count; i++) {
        if (lks_value_tensor(leaves->items[i].value)) {
            leaves->items[kept++] = leaves->items[i];
        } else {
            free(leaves->items[i].path);
        }
    }
    leaves->count = kept;
}

static lks_status_t open_side(diff_t *diff, int side, const char *path)
{
    LKS_TRY(open_checkpoint(path, diff->flags->memory, &diff->sides[side]));
    if (diff->flags->canonical) {
        lks_tree_t *tree = lks_checkpoint_edit(diff->sides[side]);
        LKS_TRY(lks_rename_apply(diff->flags->canonical, tree, NULL, NULL));
    }
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(diff->sides[side]));
    unsigned flags = WALK_REPEATED | (diff->flags->compare.strict ? WALK_ATTRIBUTES : 0);
    LKS_TRY(leaves_collect(root, flags, &diff->leaves[side]));
    if (diff->flags->only) {
        keep_tensors(&diff->leaves[side]);
    }
    return LKS_OK;
}

static bool any_difference(const diff_t *diff)
{
    return diff->changed + diff->missing + diff->added > 0;
}

static void print_summary(const diff_t *diff, const char *const paths[2])
{
    if (diff->flags->json) {
        bool first = false;
        fputs("]", stdout);
        json_key_int(stdout, &first, "equal", (int64_t)diff->equal);
        json_key_int(stdout, &first, "changed", (int64_t)diff->changed);
        json_key_int(stdout, &first, "missing", (int64_t)diff->missing);
        json_key_int(stdout, &first, "added", (int64_t)diff->added);
        fputs("}\n", stdout);
    } else if (any_difference(diff)) {
        printf("'%s' and '%s' differ: %zu changed, %zu only in the first, %zu only in the second, "
               "%zu equal\n",
               paths[0], paths[1], diff->changed, diff->missing, diff->added, diff->equal);
    } else {
        printf("'%s' and '%s' are equal: %zu values\n", paths[0], paths[1], diff->equal);
    }
}

static int diff_files(const char *const paths[2], const diff_flags_t *flags)
{
    diff_t diff = {.flags = flags, .first = true};
    lks_status_t status = open_side(&diff, 0, paths[0]);
    if (status == LKS_OK) {
        status = open_side(&diff, 1, paths[1]);
    }
    if (status == LKS_OK) {
        fputs(flags->json ? "{\"differences\": [" : "", stdout);
        status = compare_all(&diff);
    }
    int code = EXIT_FAILED;
    if (status == LKS_OK) {
        print_summary(&diff, paths);
        code = finish_output(any_difference(&diff) ? EXIT_DIFFERS : EXIT_DONE);
    } else {
        (void)report_failure(); /* whatever it is, it is no difference */
    }
    for (int side = 0; side < 2; side++) {
        leaves_fini(&diff.leaves[side]);
        lks_checkpoint_close(diff.sides[side]);
    }
    return code;
}

/* --- the command -------------------------------------------------------------------------------- */

static lks_status_t parse_only(const char *text, void *target)
{
    if (strcmp(text, "tensors") != 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "wants 'tensors', not '%s'", text);
    }
    *(const char **)target = text;
    return LKS_OK;
}

static lks_status_t parse_tolerance(const char *text, void *target)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0.0)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "wants a number that is not negative, not '%s'", text);
    }
    *(double *)target = value;
    return LKS_OK;
}

static lks_status_t parse_canonical(const char *text, void *target)
{
    lks_rename_t **rename = target;
    if (!*rename) {
        LKS_TRY(lks_rename_create(rename));
    }
    return add_canonical(*rename, text);
}

static int run(int argc, char **argv)
{
    diff_flags_t flags = {0};
    const option_t options[] = {
        OPTION_CUSTOM("rtol", "X", &flags.compare.rtol, parse_tolerance, false,
                      "equal is |a - b| <= atol + rtol x |b| (default: 0, bit by bit)"),
        OPTION_CUSTOM("atol", "X", &flags.compare.atol, parse_tolerance, false,
                      "see --rtol (default: 0)"),
        OPTION_SWITCH("ignore-dtype", &flags.compare.ignore_dtype, false,
                      "compare numbers of two dtypes as numbers"),
        OPTION_SWITCH("strict", &flags.compare.strict, false,
                      "strides, device tags, requires_grad and attributes count, too"),
        OPTION_CUSTOM("only", "WHAT", &flags.only, parse_only, false,
                      "tensors: nothing else counts"),
        OPTION_CUSTOM(
            "canonical", "WHAT", &flags.canonical, parse_canonical, false,
            "wrappers: without what DataParallel, DDP, FSDP, torch.compile left in names; "
            "prefix: and what all share"),
        OPTION_MEMORY(&flags.memory),
        OPTION_SWITCH("quiet", &flags.quiet, false, "the summary alone"),
        OPTION_SWITCH("json", &flags.json, false,
                      "one JSON object: differences, and how many of each kind"),
    };
    size_t count = sizeof options / sizeof *options, words;
    if (options_want_help(argc, argv)) {
        options_print_help(&diff_command, options, count);
        return finish_output(EXIT_DONE);
    }
    const char *paths[2] = {NULL, NULL};
    lks_status_t status = options_parse(options, count, argc, argv, false, paths, 2, &words);
    if (status == LKS_OK && words != 2) {
        status = lks_fail(LKS_ERR_INVALID_ARG, "which two files?");
    }
    int code = status == LKS_OK ? diff_files(paths, &flags) : report_usage(&diff_command);
    lks_rename_destroy(flags.canonical);
    return code;
}

const command_t diff_command = {
    .name = "diff",
    .arguments = "A B",
    .summary = "What differs between two checkpoints. Names, dtypes, shapes, elements and other "
               "values; the formats may differ. Exit code 3 if anything does.",
    .run = run,
};
