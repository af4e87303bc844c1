/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint with other keys in its own file: every state of the file on the way is the old one or the new one, and
 * whatever fails leaves the old one. */
#include "serialize/named_tensors.h"
#include "serialize/renamed_tree.h"
#include "serialize/source.h"
#include "serialize/tree_text.h"
#include "serialize/zip_read.h"
#include "serialize/zip_record.h"

#include <fcntl.h>
#include <lockstep/transform.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TENSORS = 20 };

static const char *path;

/* A checkpoint of some tensors under "0", "1", ..., each over a storage of its own. */
static void save_tensors(void)
{
    static float numbers[TENSORS][1000];
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_ordered_dict(tree);
    for (int i = 0; i < TENSORS; i++) {
        char key[8];
        lks_storage_t *storage;
        numbers[i][0] = (float)i;
        assert_ok(lks_storage_wrap(lks_device_host(), numbers[i], sizeof numbers[i], NULL, NULL,
                                   &storage));
        size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
        lks_storage_release(storage);
        (void)snprintf(key, sizeof key, "%d", i);
        lks_value_set_str(tree, root, key,
                          test_tensor(tree, index, 0, LKS_DTYPE_F32, 1, (const int64_t[]){1000}));
    }
    lks_tree_set_root(tree, root);
    path = test_temp_path("a.pt");
    assert_ok(lks_checkpoint_save(path, tree, &(lks_save_options_t){.sync = false}));
    lks_tree_destroy(tree);
}

TestSuite(in_place, .init = save_tensors);

static lks_checkpoint_t *open_at(const char *at)
{
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(at, NULL, &checkpoint));
    return checkpoint;
}

/* Everything in a file, bytes of its tensors included. */
static lks_strbuf_t text_of(const char *at)
{
    lks_checkpoint_t *checkpoint = open_at(at);
    lks_strbuf_t text = test_tree_text(lks_checkpoint_tree(checkpoint));
    lks_checkpoint_close(checkpoint);
    return text;
}

static lks_status_t rename_file(const char *prefix, const lks_update_options_t *options)
{
    lks_checkpoint_t *checkpoint = open_at(path);
    lks_tree_t *tree = test_renamed_tree(lks_checkpoint_tree(checkpoint), prefix);
    lks_status_t status = lks_checkpoint_update(checkpoint, tree, options);
    lks_tree_destroy(tree);
    lks_checkpoint_close(checkpoint);
    return status;
}

static void assert_text(const char *at, const lks_strbuf_t *wanted)
{
    lks_strbuf_t found = text_of(at);
    cr_assert_str_eq(lks_strbuf_text(&found), lks_strbuf_text(wanted));
    lks_strbuf_fini(&found);
}

/* The file after the call is the file before it. */
static void assert_untouched(const unsigned char *before, size_t nbytes)
{
    size_t now;
    unsigned char *after = test_read_file(path, &now);
    cr_assert_eq(now, nbytes);
    cr_assert(memcmp(before, after, nbytes) == 0);
    free(after);
}

Test(in_place, keys_change_and_tensors_stay)
{
    size_t before, after;
    unsigned char *old = test_read_file(path, &before);
    assert_ok(rename_file("module.", NULL));
    unsigned char *new = test_read_file(path, &after);
    cr_assert(memcmp(old, new, before) == 0, "a byte of the old archive was written");
    cr_assert_lt(after, before + 8192);
    lks_checkpoint_t *checkpoint = open_at(path);
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    cr_assert_eq(lks_value_count(root), TENSORS);
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_find(root, "module.7"), NULL, &tensor));
    cr_assert_eq(*(const float *)lks_tensor_data(&tensor), 7.0f);
    lks_checkpoint_close(checkpoint);
    free(old);
    free(new);
}

Test(in_place, again_and_again)
{
    struct stat info;
    assert_ok(rename_file("a.", &(lks_update_options_t){.sync = false}));
    cr_assert_eq(stat(path, &info), 0);
    off_t first = info.st_size;
    for (int i = 0; i < 40; i++) {
        assert_ok(rename_file("", &(lks_update_options_t){.sync = false}));
        cr_assert_eq(stat(path, &info), 0);
        cr_assert(info.st_size % 512 == 0 || info.st_size % 512 >= LKS_ZIP_END_SIZE,
                  "the end lies in two sectors");
    }
    cr_assert_lt(info.st_size, first + 40 * 8192);
    lks_strbuf_t text = text_of(path);
    cr_assert(strstr(lks_strbuf_text(&text), "a.19"));
    lks_strbuf_fini(&text);
}

/* --- every state in between --------------------------------------------------------------------- */

typedef struct states {
    unsigned char *before, *after;
    size_t old_size, new_size, end; /* end: offset of the end records */
    lks_strbuf_t old_text, new_text;
} states_t;

static states_t make_states(void)
{
    states_t states = {.old_text = text_of(path)};
    states.before = test_read_file(path, &states.old_size);
    assert_ok(rename_file("module.", NULL));
    states.after = test_read_file(path, &states.new_size);
    states.new_text = text_of(path);
    states.end = states.new_size - LKS_ZIP_END_SIZE;
    return states;
}

static void free_states(states_t *states)
{
    free(states->before);
    free(states->after);
    lks_strbuf_fini(&states->old_text);
    lks_strbuf_fini(&states->new_text);
}

/* The file with its first end: of the tail only the bytes that `has` says are there. */
static unsigned char *make_interim(const states_t *states)
{
    unsigned char *file = calloc(1, states->new_size);
    lks_zip_t zip;
    cr_assert(file);
    memcpy(file, states->before, states->old_size);
    assert_ok(lks_zip_open(states->before, states->old_size, &zip));
    const lks_zip_directory_t old = {
        .offset = zip.directory, .size = zip.directory_size, .count = zip.count};
    lks_zip_put_end(file + states->end, &old, states->end);
    lks_zip_close(&zip);
    return file;
}

static void assert_file_is(const unsigned char *file, size_t nbytes, const lks_strbuf_t *text)
{
    static const char *other;
    other = other ? other : test_temp_path("b.pt");
    test_write_file(other, file, nbytes);
    assert_text(other, text);
}

/* Whatever part of the tail has reached the file, in whatever order: it is not looked at. */
Test(in_place, before_the_last_write_it_is_the_old_file)
{
    states_t states = make_states();
    unsigned char *file = make_interim(&states);
    assert_file_is(file, states.new_size, &states.old_text);
    for (size_t at = states.old_size; at < states.end; at += 97) {
        memcpy(file + states.old_size, states.after + states.old_size, at - states.old_size);
        assert_file_is(file, states.new_size, &states.old_text);
    }
    memset(file + states.old_size, 0xff, states.end - states.old_size);
    assert_file_is(file, states.new_size, &states.old_text);
    free(file);
    free_states(&states);
}

Test(in_place, after_the_last_write_it_is_the_new_file)
{
    states_t states = make_states();
    unsigned char *file = make_interim(&states);
    memcpy(file + states.old_size, states.after + states.old_size, states.end - states.old_size);
    memcpy(file + states.end, states.after + states.end, LKS_ZIP_END_SIZE);
    assert_file_is(file, states.new_size, &states.new_text);
    free(file);
    free_states(&states);
}

/* And the interim file can be updated itself, as any other. */
Test(in_place, an_interrupted_update_is_done_again)
{
    states_t states = make_states();
    unsigned char *file = make_interim(&states);
    test_write_file(path, file, states.new_size);
    assert_ok(rename_file("module.", NULL));
    assert_text(path, &states.new_text);
    free(file);
    free_states(&states);
}

/* --- refusals ----------------------------------------------------------------------------------- */

Test(in_place, hard_links_are_refused_unless_asked_for)
{
    const char *other = test_temp_path("link.pt");
    cr_assert_eq(link(path, other), 0);
    assert_fails(rename_file("m.", NULL), LKS_ERR_IO, "2 hard links lead to it");
    lks_update_options_t options = lks_update_options_default();
    options.linked = true;
    assert_ok(rename_file("m.", &options));
    lks_strbuf_t text = text_of(path);
    assert_text(other, &text);
    lks_strbuf_fini(&text);
}

Test(in_place, two_processes_do_not_meet)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    assert_fails(rename_file("m.", NULL), LKS_ERR_IO, "another process is changing it");
    (void)close(fd);
    assert_ok(rename_file("m.", NULL));
}

Test(in_place, a_file_that_changed_since_it_was_opened_is_refused)
{
    lks_checkpoint_t *checkpoint = open_at(path);
    assert_ok(rename_file("m.", NULL));
    assert_fails(lks_checkpoint_update(checkpoint, lks_checkpoint_tree(checkpoint), NULL),
                 LKS_ERR_IO, "no longer the file that was opened");
    lks_checkpoint_close(checkpoint);
}

Test(in_place, a_tensor_from_elsewhere_is_refused)
{
    lks_checkpoint_t *checkpoint = open_at(path);
    lks_tree_t *tree = test_renamed_tree(lks_checkpoint_tree(checkpoint), "m.");
    lks_value_set_str(tree, lks_tree_root(tree), "new", test_scalar(tree));
    size_t nbytes;
    unsigned char *before = test_read_file(path, &nbytes);
    assert_fails(lks_checkpoint_update(checkpoint, tree, NULL), LKS_ERR_UNSUPPORTED,
                 "storage 20 is not one of the file");
    assert_untouched(before, nbytes);
    free(before);
    lks_tree_destroy(tree);
    lks_checkpoint_close(checkpoint);
}

/* The checkpoint's own tree, edited, has storages that the file does not have. */
static void assert_edit_refused(void (*edit)(lks_tree_t *tree), const char *sentence)
{
    size_t nbytes;
    unsigned char *before = test_read_file(path, &nbytes);
    lks_checkpoint_t *checkpoint = open_at(path);
    edit(lks_checkpoint_edit(checkpoint));
    assert_fails(lks_checkpoint_update(checkpoint, lks_checkpoint_tree(checkpoint), NULL),
                 LKS_ERR_UNSUPPORTED, sentence);
    lks_checkpoint_close(checkpoint);
    assert_untouched(before, nbytes);
    free(before);
}

static void cast_all(lks_tree_t *tree)
{
    assert_ok(lks_tree_cast(tree, NULL, LKS_DTYPE_BF16, NULL));
}

static void add_many(lks_tree_t *tree)
{
    lks_value_t *list = lks_value_list(tree);
    for (size_t i = 0; i < 100; i++) {
        lks_value_append(tree, list, test_scalar(tree));
    }
    lks_value_set_str(tree, lks_tree_root(tree), "new", list);
}

Test(in_place, an_edited_tree_with_other_bytes_is_refused)
{
    assert_edit_refused(cast_all, "storage 0 is not one of the file");
    assert_edit_refused(add_many, "storage 20 is not one of the file");
}

Test(in_place, a_checkpoint_in_memory_has_no_file)
{
    size_t nbytes;
    unsigned char *bytes = test_read_file(path, &nbytes);
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open_memory(bytes, nbytes, path, NULL, &checkpoint));
    assert_fails(lks_checkpoint_update(checkpoint, lks_checkpoint_tree(checkpoint), NULL),
                 LKS_ERR_UNSUPPORTED, "not a file of its own");
    lks_checkpoint_close(checkpoint);
    free(bytes);
}

Test(in_place, a_missing_file_is_named)
{
    lks_checkpoint_t *checkpoint = open_at(path);
    cr_assert_eq(unlink(path), 0);
    assert_fails(lks_checkpoint_update(checkpoint, lks_checkpoint_tree(checkpoint), NULL),
                 LKS_ERR_IO, path);
    lks_checkpoint_close(checkpoint);
}

static void turn_byte(size_t at)
{
    FILE *file = fopen(path, "r+b");
    cr_assert(file && fseek(file, (long)at, SEEK_SET) == 0);
    int byte = getc(file);
    cr_assert(byte != EOF && fseek(file, (long)at, SEEK_SET) == 0);
    cr_assert(putc(byte ^ 1, file) != EOF && fclose(file) == 0);
}

/* Such a file opens as long as nobody needs the header. */
Test(in_place, a_damaged_header_of_a_record_that_stays_is_found_before)
{
    lks_strbuf_t before = text_of(path);
    for (size_t i = 2; i < TENSORS + 2; i++) { /* behind data.pkl and byteorder */
        lks_source_t *source;
        lks_zip_t zip;
        assert_ok(lks_source_open(path, &source));
        assert_ok(lks_zip_open(source->data, source->size, &zip));
        size_t at = (size_t)zip.entries[i].header + 30; /* its name */
        lks_zip_close(&zip);
        lks_source_release(source);
        turn_byte(at);
        lks_checkpoint_close(open_at(path));
        assert_fails(rename_file("p.", NULL), LKS_ERR_FORMAT, "contradict each other");
        lks_checkpoint_close(open_at(path));
        turn_byte(at);
        assert_text(path, &before);
    }
    lks_strbuf_fini(&before);
}

Test(in_place, no_room_leaves_the_old_file)
{
    size_t nbytes;
    unsigned char *before = test_read_file(path, &nbytes);
    (void)signal(SIGXFSZ, SIG_IGN);
    const rlim_t rooms[] = {nbytes, nbytes + 100, nbytes + 2000};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct rlimit limit = {.rlim_cur = rooms[i], .rlim_max = RLIM_INFINITY};
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_fails(rename_file("module.", NULL), LKS_ERR_IO, path);
        limit.rlim_cur = RLIM_INFINITY;
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_untouched(before, nbytes);
    }
    free(before);
}

/* --- files of torch ----------------------------------------------------------------------------- */

/* False for a file of another format. */
static bool update_copy(const char *name)
{
    char from[512];
    (void)snprintf(from, sizeof from, TEST_DATA_DIR "/corpus/%s", name);
    struct stat info;
    cr_assert_eq(stat(from, &info), 0);
    if (S_ISDIR(info.st_mode)) {
        return false;
    }
    assert_ok(lks_checkpoint_copy(from, path));
    lks_checkpoint_t *checkpoint = open_at(path);
    if (strcmp(lks_checkpoint_format(checkpoint), "torch_zip") != 0) {
        lks_checkpoint_close(checkpoint);
        return false;
    }
    lks_strbuf_t before = text_of(path);
    assert_ok(lks_checkpoint_update(checkpoint, lks_checkpoint_tree(checkpoint),
                                    &(lks_update_options_t){.sync = false}));
    lks_checkpoint_close(checkpoint);
    assert_text(path, &before);
    lks_strbuf_fini(&before);
    return true;
}

Test(in_place, files_of_torch_keep_all_they_hold)
{
    size_t nbytes, count = 0;
    char *text = (char *)test_read_file(TEST_DATA_DIR "/corpus/expected.txt", &nbytes);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "file ", 5) == 0) {
            count += update_copy(line + 5);
        }
    }
    cr_assert_gt(count, 90);
    free(text);
}
