/* SPDX-License-Identifier: Apache-2.0 */
/* convert.c - `lockstep convert`: a checkpoint as another file, of any format that is written, with other names, fewer
 * keys, other dtypes. The flags make a plan, which is applied to the tree in a fixed order; then it is saved. */
#include "runtime/cli/cli.h"
#include "runtime/cli/print.h"

#include <lockstep/checkpoint.h>
#include <lockstep/rename.h>
#include <lockstep/transform.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { STEPS_MAX = 64 };

typedef struct cast_step {
    bool any; /* every floating dtype */
    lks_dtype_t from, to;
} cast_step_t;

typedef struct plan {
    const char *to, *key;
    bool in_place, state_dict, flatten, drop_unsupported, no_sync;
    uint64_t shard_size, memory;
    lks_rename_t *rename;
    size_t renames;
    lks_key_filter_t filters[STEPS_MAX];
    size_t filter_count;
    cast_step_t casts[STEPS_MAX];
    size_t cast_count;
    const char *locations[STEPS_MAX];
    size_t location_count;
} plan_t;

/* --- flags -------------------------------------------------------------------------------------- */

static lks_status_t too_many(void)
{
    return lks_fail(LKS_ERR_INVALID_ARG, "more than %d times", STEPS_MAX);
}

static lks_status_t parse_strip(const char *text, void *target)
{
    plan_t *plan = target;
    plan->renames++;
    return lks_rename_strip_prefix(plan->rename, text);
}

static lks_status_t parse_add(const char *text, void *target)
{
    plan_t *plan = target;
    plan->renames++;
    return lks_rename_add_prefix(plan->rename, text);
}

static lks_status_t parse_rename(const char *text, void *target)
{
    plan_t *plan = target;
    plan->renames++;
    return lks_rename_regex_text(plan->rename, text);
}

static lks_status_t parse_canonical(const char *text, void *target)
{
    plan_t *plan = target;
    plan->renames++;
    return add_canonical(plan->rename, text);
}

static lks_status_t add_filter(plan_t *plan, const char *text, bool drop)
{
    if (plan->filter_count == STEPS_MAX) {
        return too_many();
    }
    bool is_regex = strncmp(text, "re:", 3) == 0;
    plan->filters[plan->filter_count++] = (lks_key_filter_t){
        .pattern = is_regex ? text + 3 : text, .is_regex = is_regex, .drop = drop};
    return LKS_OK;
}

static lks_status_t parse_select(const char *text, void *target)
{
    return add_filter(target, text, false);
}

static lks_status_t parse_drop(const char *text, void *target)
{
    return add_filter(target, text, true);
}

/* The dtype of the first `length` bytes. */
static lks_status_t parse_dtype(const char *text, size_t length, lks_dtype_t *out)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%.*s", (int)(length < 31 ? length : 31), text);
    if (lks_dtype_from_name(name, out) != LKS_OK) {
        return lks_fail(LKS_ERR_INVALID_ARG, "no dtype is called '%s'", name);
    }
    return LKS_OK;
}

static lks_status_t parse_cast(const char *text, void *target)
{
    plan_t *plan = target;
    if (plan->cast_count == STEPS_MAX) {
        return too_many();
    }
    const char *equal = strchr(text, '=');
    cast_step_t step = {.any = !equal};
    if (equal) {
        LKS_TRY(parse_dtype(text, (size_t)(equal - text), &step.from));
    }
    const char *to = equal ? equal + 1 : text;
    LKS_TRY(parse_dtype(to, strlen(to), &step.to));
    plan->casts[plan->cast_count++] = step;
    return LKS_OK;
}

static lks_status_t parse_location(const char *text, void *target)
{
    plan_t *plan = target;
    if (plan->location_count == STEPS_MAX) {
        return too_many();
    }
    plan->locations[plan->location_count++] = text;
    return LKS_OK;
}

/* --- applying the plan -------------------------------------------------------------------------- */

/* What a step did goes to stderr: the result is the file. */
static void show_report(lks_rename_report_t *report)
{
    fputs(lks_rename_report_text(report), stderr);
    lks_rename_report_destroy(report);
}

static lks_status_t change_names(const plan_t *plan, lks_tree_t *tree)
{
    lks_rename_report_t *report;
    if (plan->filter_count > 0) {
        LKS_TRY(lks_tree_select(tree, plan->key, plan->filters, plan->filter_count, &report));
        show_report(report);
    }
    if (plan->renames > 0) {
        LKS_TRY(lks_rename_apply(plan->rename, tree, plan->key, &report));
        show_report(report);
    }
    return LKS_OK;
}

static lks_status_t change_tensors(const plan_t *plan, lks_tree_t *tree)
{
    for (size_t i = 0; i < plan->cast_count; i++) {
        const cast_step_t *step = &plan->casts[i];
        LKS_TRY(lks_tree_cast(tree, step->any ? NULL : &step->from, step->to, NULL));
    }
    for (size_t i = 0; i < plan->location_count; i++) {
        LKS_TRY(lks_tree_map_location(tree, plan->locations[i], NULL));
    }
    return LKS_OK;
}

static lks_status_t apply_plan(const plan_t *plan, lks_tree_t *tree)
{
    LKS_TRY(change_names(plan, tree));
    LKS_TRY(change_tensors(plan, tree));
    if (plan->state_dict) {
        LKS_TRY(lks_tree_keep_state_dict(tree, plan->key));
    }
    return plan->flatten ? lks_tree_flatten(tree) : LKS_OK;
}

/* --- saving ------------------------------------------------------------------------------------- */

static void show_dropped(void *context, const char *path, const char *why)
{
    (void)context;
    fputs("left out '", stderr);
    print_plain(stderr, path, strlen(path));
    fprintf(stderr, "': %s\n", why);
}

static lks_status_t save(const plan_t *plan, const lks_checkpoint_t *checkpoint, const char *path)
{
    lks_save_options_t options = lks_save_options_default();
    options.format = plan->to;
    options.sync = !plan->no_sync;
    options.drop = plan->drop_unsupported;
    options.dropped = show_dropped;
    if (plan->shard_size > 0) {
        options.shard_size = plan->shard_size;
        options.format = plan->to ? plan->to : "sharded";
    }
    return lks_checkpoint_save_as(checkpoint, path, lks_checkpoint_tree(checkpoint), &options);
}

static void print_written(const char *path, const char *format, uint64_t nbytes)
{
    char size[BYTES_TEXT_MAX];
    printf("%s: %s, %s\n", path, format, format_bytes(size, nbytes));
}

/* Reading what was written is one more check, and tells its format and size. The limit is for what others wrote. */
static lks_status_t read_written(const char *path)
{
    lks_checkpoint_t *written;
    LKS_TRY(open_checkpoint(path, 0, &written));
    print_written(path, lks_checkpoint_format(written), lks_checkpoint_file_size(written));
    lks_checkpoint_close(written);
    return LKS_OK;
}

static lks_status_t convert(plan_t *plan, const char *from, const char *to)
{
    lks_checkpoint_t *checkpoint;
    LKS_TRY(open_checkpoint(from, plan->memory, &checkpoint));
    lks_tree_t *tree = lks_checkpoint_edit(checkpoint);
    lks_status_t status = apply_plan(plan, tree);
    if (status != LKS_OK) {
        status = lks_error_prefix(status, "converting '%s'", from);
    } else {
        status = save(plan, checkpoint, to);
    }
    lks_checkpoint_close(checkpoint);
    return status == LKS_OK ? read_written(to) : status;
}

/* --- in place ----------------------------------------------------------------------------------- */

static lks_status_t check_in_place(const plan_t *plan)
{
    if (plan->cast_count > 0 || plan->filter_count > 0 || plan->state_dict || plan->flatten ||
        plan->to || plan->shard_size > 0 || plan->drop_unsupported) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "--in-place changes names and device tags; everything else needs an OUT");
    }
    if (plan->renames == 0 && plan->location_count == 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "--in-place: what is to be changed?");
    }
    return LKS_OK;
}

static lks_status_t convert_in_place(plan_t *plan, const char *path)
{
    lks_checkpoint_t *checkpoint;
    LKS_TRY(open_checkpoint(path, plan->memory, &checkpoint));
    lks_tree_t *tree = lks_checkpoint_edit(checkpoint);
    lks_update_options_t options = lks_update_options_default();
    options.sync = !plan->no_sync;
    lks_status_t status = apply_plan(plan, tree);
    if (status != LKS_OK) {
        status = lks_error_prefix(status, "changing '%s'", path);
    } else {
        status = lks_checkpoint_update(checkpoint, tree, &options);
    }
    struct stat info;
    if (status == LKS_OK && stat(path, &info) == 0) {
        print_written(path, lks_checkpoint_format(checkpoint), (uint64_t)info.st_size);
    }
    lks_checkpoint_close(checkpoint);
    return status;
}

/* --- the command -------------------------------------------------------------------------------- */

static lks_status_t run_plan(plan_t *plan, const char *const paths[2])
{
    if (plan->in_place) {
        LKS_TRY(check_in_place(plan));
        return convert_in_place(plan, paths[0]);
    }
    return convert(plan, paths[0], paths[1]);
}

/* Parses the command line into the plan and carries it out; the exit code. */
static int run_with(plan_t *plan, int argc, char **argv)
{
    const option_t options[] = {
        OPTION_STR("to", "FORMAT", &plan->to, false,
                   "torch_zip, torch_legacy, safetensors, sharded, dcp or npz (default: by OUT's "
                   "extension, else torch_zip)"),
        OPTION_SWITCH("in-place", &plan->in_place, false,
                      "change names in IN itself by writing kilobytes; no OUT"),
        OPTION_CUSTOM(
            "canonical", "WHAT", plan, parse_canonical, false,
            "wrappers: take off what DataParallel, DDP, FSDP, torch.compile left; prefix: "
            "and what all names share"),
        OPTION_CUSTOM("strip-prefix", "P", plan, parse_strip, false,
                      "take P (\"module.\") from the names that have it"),
        OPTION_CUSTOM("add-prefix", "P", plan, parse_add, false, "put P in front of every name"),
        OPTION_CUSTOM("rename", "REGEX=REPL", plan, parse_rename, false,
                      "as sed -E s/REGEX/REPL/g on every name"),
        OPTION_CUSTOM("select", "GLOB", plan, parse_select, false,
                      "keep the names that match; re:REGEX for a regular expression"),
        OPTION_CUSTOM("drop", "GLOB", plan, parse_drop, false, "leave out the names that match"),
        OPTION_CUSTOM("cast", "[FROM=]TO", plan, parse_cast, false,
                      "convert tensors of dtype FROM, or all floating ones"),
        OPTION_CUSTOM("map-location", "[FROM=]TO", plan, parse_location, false,
                      "rewrite device tags: cpu, cuda=cpu, cuda:1=cuda:0"),
        OPTION_SWITCH("state-dict", &plan->state_dict, false,
                      "write the state dict alone, without what is around it"),
        OPTION_STR("key", "PATH", &plan->key, false,
                   "the state dict that is meant (default: all for names, the largest to keep)"),
        OPTION_SWITCH("flatten", &plan->flatten, false,
                      "nested names become dotted ones: for formats that hold one dict"),
        OPTION_SWITCH("drop-unsupported", &plan->drop_unsupported, false,
                      "leave out what the format cannot hold, instead of refusing"),
        OPTION_CUSTOM("shard-size", "SIZE", &plan->shard_size, parse_size, false,
                      "write a directory of files of at most that size: 5GB"),
        OPTION_MEMORY(&plan->memory),
        OPTION_SWITCH("no-sync", &plan->no_sync, false,
                      "do not wait until the disk has it: a power failure may lose it"),
    };
    size_t count = sizeof options / sizeof *options, words = 0;
    const char *paths[2] = {NULL, NULL};
    if (options_want_help(argc, argv)) {
        options_print_help(&convert_command, options, count);
        return finish_output(EXIT_DONE);
    }
    lks_status_t status = options_parse(options, count, argc, argv, false, paths, 2, &words);
    if (status == LKS_OK && words != (plan->in_place ? 1u : 2u)) {
        status = lks_fail(LKS_ERR_INVALID_ARG,
                          plan->in_place ? "which file, and only that one?" : "which two files?");
    }
    if (status != LKS_OK) {
        return report_usage(&convert_command);
    }
    return run_plan(plan, paths) == LKS_OK ? finish_output(EXIT_DONE) : report_failure();
}

static int run(int argc, char **argv)
{
    plan_t plan = {0};
    if (lks_rename_create(&plan.rename) != LKS_OK) {
        return report_failure();
    }
    int code = run_with(&plan, argc, argv);
    lks_rename_destroy(plan.rename);
    return code;
}

const command_t convert_command = {
    .name = "convert",
    .arguments = "IN OUT",
    .summary =
        "A checkpoint in another format, with other names, dtypes or fewer keys. Keys are chosen "
        "by "
        "the names they have in IN; then names change, flag by flag from left to right; then the "
        "rest.",
    .run = run,
};
