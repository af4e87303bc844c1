/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever strikes a save, a save in the background, an overwrite, a rename in place or a checkpoint of several files,
 * at whatever call or instant: what is there is the old checkpoint or the new one, and the next save leaves nothing
 * else. Each test runs fault_job (job.c) over and over. LOCKSTEP_FAULT_INSTANTS=N kills it at N random instants per
 * operation instead of 40. */
#include "serialize/tree_text.h"
#include "support/support.h"

#include <criterion/parameterized.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OLD "old"
#define NEW "new"
#define PARTS 3

typedef struct operation {
    const char *name; /* of fault_job */
    bool fresh;       /* there is nothing before */
    char directory[64], path[96], errors[96], count[96];
    lks_strbuf_t old_text, new_text; /* what the checkpoint is before and after */
    unsigned char *old_bytes;        /* of its file */
    size_t old_size;
} operation_t;

/* --- the job ------------------------------------------------------------------------------------ */

typedef struct fault {
    long at; /* 0: none */
    const char *kind;
} fault_t;

static void set_fault(fault_t fault, const char *count)
{
    char at[32];
    (void)snprintf(at, sizeof at, "%ld", fault.at);
    (void)setenv("FAULT_AT", at, 1);
    (void)setenv("FAULT_KIND", fault.kind ? fault.kind : "", 1);
    (void)(count ? setenv("FAULT_COUNT", count, 1) : unsetenv("FAULT_COUNT"));
}

/* Starts the job; with a second word it goes on until it is killed. */
static pid_t start(const operation_t *op, const char *word, const char *other, fault_t fault,
                   const char *count)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        int errors = open(op->errors, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        (void)dup2(errors, STDERR_FILENO);
        set_fault(fault, count);
        (void)execl(FAULT_JOB, FAULT_JOB, op->name, op->path, word, other, (char *)NULL);
        _exit(127);
    }
    return child;
}

/* Its exit code, or minus the signal that killed it. */
static int finish(pid_t child)
{
    int ended;
    cr_assert_eq(waitpid(child, &ended, 0), child);
    return WIFSIGNALED(ended) ? -WTERMSIG(ended) : WEXITSTATUS(ended);
}

static int run(const operation_t *op, const char *word, fault_t fault)
{
    return finish(start(op, word, NULL, fault, NULL));
}

/* --- what is there ------------------------------------------------------------------------------ */

static void read_parts(const operation_t *op, lks_strbuf_t *text)
{
    for (int i = 0; i < PARTS; i++) {
        char path[128];
        size_t nbytes;
        (void)snprintf(path, sizeof path, "%s/part%d", op->path, i);
        unsigned char *bytes = test_read_file(path, &nbytes);
        lks_strbuf_append(text, bytes, nbytes);
        free(bytes);
    }
}

/* The checkpoint as text, every checksum verified; "nothing" where there is none. */
static lks_strbuf_t look(const operation_t *op)
{
    lks_strbuf_t text = {0};
    lks_checkpoint_t *checkpoint;
    struct stat info;
    if (stat(op->path, &info) != 0) {
        lks_strbuf_append_str(&text, "nothing");
    } else if (S_ISDIR(info.st_mode)) {
        read_parts(op, &text);
    } else {
        assert_ok(lks_checkpoint_open(op->path, NULL, &checkpoint));
        text = test_tree_text(lks_checkpoint_tree(checkpoint));
        lks_checkpoint_close(checkpoint);
    }
    return text;
}

static bool is_there(const operation_t *op, const lks_strbuf_t *wanted)
{
    lks_strbuf_t text = look(op);
    bool equal = strcmp(lks_strbuf_text(&text), lks_strbuf_text(wanted)) == 0;
    lks_strbuf_fini(&text);
    return equal;
}

static size_t entry_count(const operation_t *op)
{
    size_t count = 0;
    DIR *entries = opendir(op->directory);
    cr_assert(entries);
    while (readdir(entries)) {
        count++;
    }
    (void)closedir(entries);
    return count - 2; /* without . and .. */
}

/* --- before each run ---------------------------------------------------------------------------- */

static void remove_checkpoint(const operation_t *op)
{
    char command[160];
    (void)snprintf(command, sizeof command, "rm -rf %s && mkdir %s", op->directory, op->directory);
    cr_assert_eq(system(command), 0);
}

static void restore(const operation_t *op)
{
    remove_checkpoint(op);
    if (op->old_bytes) {
        test_write_file(op->path, op->old_bytes, op->old_size);
    } else if (!op->fresh) {
        cr_assert_eq(run(op, OLD, (fault_t){0}), 0);
    }
}

static operation_t begin(const char *name, bool fresh)
{
    operation_t op = {.name = name, .fresh = fresh};
    (void)snprintf(op.directory, sizeof op.directory, "%s/w", test_temp_dir());
    (void)snprintf(op.path, sizeof op.path, "%s/a.pt", op.directory);
    (void)snprintf(op.errors, sizeof op.errors, "%s/errors", test_temp_dir());
    (void)snprintf(op.count, sizeof op.count, "%s/count", test_temp_dir());
    remove_checkpoint(&op);
    if (!fresh) {
        bool renames = strcmp(name, "update") == 0;
        op.name = renames ? "save" : name;
        cr_assert_eq(run(&op, OLD, (fault_t){0}), 0);
        op.name = name;
        struct stat info;
        if (stat(op.path, &info) == 0 && S_ISREG(info.st_mode)) {
            op.old_bytes = test_read_file(op.path, &op.old_size);
        }
    }
    op.old_text = look(&op);
    cr_assert_eq(run(&op, NEW, (fault_t){0}), 0);
    op.new_text = look(&op);
    cr_assert_not(is_there(&op, &op.old_text));
    return op;
}

static void end(operation_t *op)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf %s", op->directory);
    cr_assert_eq(system(command), 0);
    lks_strbuf_fini(&op->old_text);
    lks_strbuf_fini(&op->new_text);
    free(op->old_bytes);
}

/* Calls that one run makes. */
static long call_count(const operation_t *op)
{
    restore(op);
    cr_assert_eq(finish(start(op, NEW, NULL, (fault_t){0}, op->count)), 0);
    size_t nbytes;
    char *text = (char *)test_read_file(op->count, &nbytes);
    long count = atol(text);
    free(text);
    cr_assert_gt(count, 3);
    return count;
}

/* --- killed ------------------------------------------------------------------------------------- */

/* It is the old or the new one, and the next save makes it the new one and nothing else. */
static void assert_survived(const operation_t *op, const char *when)
{
    cr_assert(is_there(op, &op->old_text) || is_there(op, &op->new_text),
              "%s, killed %s: neither the old checkpoint nor the new one", op->name, when);
    cr_assert_eq(run(op, NEW, (fault_t){0}), 0, "%s, killed %s: the next one fails", op->name,
                 when);
    cr_assert(is_there(op, &op->new_text), "%s, killed %s: the next one is wrong", op->name, when);
    cr_assert_eq(entry_count(op), 1, "%s, killed %s: something is left behind", op->name, when);
}

static void kill_at_calls(operation_t *op)
{
    static const char *const kinds[] = {"before", "within", "after"};
    long count = call_count(op);
    for (long at = 1; at <= count; at++) {
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            char when[64];
            (void)snprintf(when, sizeof when, "%s call %ld of %ld", kinds[k], at, count);
            restore(op);
            cr_assert_eq(run(op, NEW, (fault_t){at, kinds[k]}), -SIGKILL, "%s", when);
            assert_survived(op, when);
        }
    }
}

static void kill_at_instants(operation_t *op)
{
    const char *wanted = getenv("LOCKSTEP_FAULT_INSTANTS");
    long count = wanted ? atol(wanted) : 40;
    unsigned seed = 1;
    restore(op);
    for (long i = 0; i < count; i++) {
        unsigned delay =
            3000 + (unsigned)rand_r(&seed) % 40000; /* the program has started by then */
        char when[64];
        (void)snprintf(when, sizeof when, "after %u us", delay);
        pid_t child = start(op, OLD, NEW, (fault_t){0}, NULL);
        (void)usleep(delay);
        (void)kill(child, SIGKILL);
        cr_assert_eq(finish(child), -SIGKILL);
        assert_survived(op, when);
    }
}

/* --- failing calls ------------------------------------------------------------------------------ */

static void assert_error_names_path(const operation_t *op, const char *when)
{
    size_t nbytes;
    char *text = (char *)test_read_file(op->errors, &nbytes);
    cr_assert(strstr(text, op->path), "%s, %s: '%s' does not name the file", op->name, when, text);
    free(text);
}

/* A call may fail unnoticed where it only helps. The last one syncs the directory when all is in place. */
static void fail_calls(operation_t *op, int reason)
{
    char kind[16], when[64];
    long count = call_count(op);
    bool renames = strcmp(op->name, "update") == 0;
    (void)snprintf(kind, sizeof kind, "%d", reason);
    for (long at = 1; at <= count; at++) {
        (void)snprintf(when, sizeof when, "errno %d at call %ld of %ld", reason, at, count);
        restore(op);
        int code = run(op, NEW, (fault_t){at, kind});
        cr_assert(code == 0 || code == 1, "%s, %s: exit %d", op->name, when, code);
        bool done = code == 0 || (at == count && !renames);
        cr_assert(is_there(op, done ? &op->new_text : &op->old_text), "%s, %s", op->name, when);
        cr_assert_eq(entry_count(op), op->fresh && !done ? 0 : 1, "%s, %s: left behind", op->name,
                     when);
        if (code != 0) {
            assert_error_names_path(op, when);
        }
    }
}

static void cut_writes(operation_t *op)
{
    long count = call_count(op);
    for (long at = 1; at <= count; at++) {
        restore(op);
        cr_assert_eq(run(op, NEW, (fault_t){at, "short"}), 0);
        cr_assert(is_there(op, &op->new_text), "%s: call %ld cut short", op->name, at);
    }
}

/* --- the tests ---------------------------------------------------------------------------------- */

static void strike(const char *name, bool fresh)
{
    operation_t op = begin(name, fresh);
    kill_at_calls(&op);
    if (!fresh) { /* else only the first round would find nothing */
        kill_at_instants(&op);
    }
    fail_calls(&op, ENOSPC);
    fail_calls(&op, EIO);
    fail_calls(&op, EINTR);
    cut_writes(&op);
    end(&op);
}

Test(faults, a_new_file)
{
    strike("save", true);
}

Test(faults, a_file_that_is_replaced)
{
    strike("save", false);
}

Test(faults, a_save_in_the_background)
{
    strike("async", false);
}

Test(faults, a_rename_in_place)
{
    strike("update", false);
}

Test(faults, a_new_directory)
{
    strike("folder", true);
}

Test(faults, a_directory_that_is_replaced)
{
    strike("folder", false);
}

Test(faults, a_process_that_ends_waits_for_its_save)
{
    operation_t op = begin("leave", false); /* which has seen that the file is there */
    long count = call_count(&op);
    char kind[16];
    (void)snprintf(kind, sizeof kind, "%d", EIO);
    restore(&op);
    cr_assert_eq(run(&op, NEW, (fault_t){count - 2, kind}),
                 0); /* the sync, before rename and directory */
    cr_assert(is_there(&op, &op.old_text));
    assert_error_names_path(&op, "while it ends");
    end(&op);
}
