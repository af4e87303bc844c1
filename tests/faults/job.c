/* SPDX-License-Identifier: Apache-2.0 */
/* job.c - what is done to a checkpoint while faults strike (faulty_calls.c):
 *     fault_job OPERATION PATH WORD            once
 *     fault_job OPERATION PATH WORD WORD       again and again, with one word and the other
 * save, async, leave and folder write a checkpoint that is full of the word; update renames the keys of a file to it.
 * Exit 0, or 1 with the sentence on stderr. */
#include "serialize/folder.h"
#include "serialize/value_copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 8, LARGE = 4, SMALL_FLOATS = 1000, LARGE_FLOATS = 65536 };

static float numbers[LARGE_FLOATS];

/* --- trees -------------------------------------------------------------------------------------- */

static lks_value_t *make_tensor(lks_tree_t *tree, int64_t count)
{
    lks_storage_t *storage;
    if (lks_storage_wrap(lks_device_host(), numbers, (size_t)count * sizeof *numbers, NULL, NULL,
                         &storage) != LKS_OK) {
        return NULL;
    }
    const lks_value_tensor_t tensor = {
        .storage = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu"),
        .dtype = LKS_DTYPE_F32,
        .ndim = 1,
        .shape = &count,
        .stride = (const int64_t[]){1},
    };
    lks_storage_release(storage);
    return lks_value_tensor_new(tree, &tensor);
}

static void set(lks_tree_t *tree, lks_value_t *dict, const char *word, size_t number,
                lks_value_t *value)
{
    char key[64];
    (void)snprintf(key, sizeof key, "%s.%zu", word, number);
    lks_value_set_str(tree, dict, key, value);
}

static lks_status_t make_tree(const char *word, lks_tree_t **out)
{
    LKS_TRY(lks_tree_create(out));
    for (size_t i = 0; i < LARGE_FLOATS; i++) {
        numbers[i] = (float)word[0];
    }
    lks_value_t *root = lks_value_ordered_dict(*out);
    for (size_t i = 0; i < SMALL + LARGE; i++) {
        set(*out, root, word, i, make_tensor(*out, i < SMALL ? SMALL_FLOATS : LARGE_FLOATS));
    }
    lks_tree_set_root(*out, root);
    return lks_tree_status(*out);
}

/* The same values under other keys. */
static lks_status_t rename_tree(const lks_tree_t *from, const char *word, lks_tree_t **out)
{
    LKS_TRY(lks_tree_create(out));
    size_t map[SMALL + LARGE];
    const lks_value_t *root = lks_tree_root(from);
    lks_value_t *copy = lks_value_ordered_dict(*out);
    for (size_t i = 0; i < SMALL + LARGE; i++) {
        map[i] = SIZE_MAX;
    }
    for (size_t i = 0; i < lks_value_count(root); i++) {
        set(*out, copy, word, i, lks_tree_graft(*out, from, lks_value_at(root, i), map));
    }
    lks_tree_set_root(*out, copy);
    return lks_tree_status(*out);
}

/* --- operations --------------------------------------------------------------------------------- */

static lks_status_t save(const char *path, const char *word)
{
    lks_tree_t *tree;
    LKS_TRY(make_tree(word, &tree));
    lks_status_t status = lks_checkpoint_save(path, tree, NULL);
    lks_tree_destroy(tree);
    return status;
}

static lks_status_t save_async(const char *path, const char *word)
{
    lks_tree_t *tree;
    lks_save_handle_t *handle = NULL;
    LKS_TRY(make_tree(word, &tree));
    lks_status_t status = lks_checkpoint_save_async(path, tree, NULL, &handle);
    lks_tree_destroy(tree);
    if (status == LKS_OK) {
        status = lks_save_handle_wait(handle);
    }
    lks_save_handle_destroy(handle);
    return status;
}

/* Ends with the save still going on. */
static lks_status_t save_and_leave(const char *path, const char *word)
{
    static lks_save_handle_t *handle;
    lks_tree_t *tree;
    LKS_TRY(make_tree(word, &tree));
    lks_status_t status = lks_checkpoint_save_async(path, tree, NULL, &handle);
    lks_tree_destroy(tree);
    return status;
}

static lks_status_t update(const char *path, const char *word)
{
    lks_checkpoint_t *checkpoint;
    lks_tree_t *tree;
    LKS_TRY(lks_checkpoint_open(path, NULL, &checkpoint));
    lks_status_t status;
    LKS_GOTO(rename_tree(lks_checkpoint_tree(checkpoint), word, &tree), close_checkpoint);
    status = lks_checkpoint_update(checkpoint, tree, NULL);
    lks_tree_destroy(tree);

close_checkpoint:
    lks_checkpoint_close(checkpoint);
    return status;
}

static bool is_part(const char *name)
{
    return strncmp(name, "part", 4) == 0;
}

static lks_status_t write_parts(lks_folder_t *folder, const char *word)
{
    for (int i = 0; i < 3; i++) {
        char name[16];
        lks_sink_t *sink;
        (void)snprintf(name, sizeof name, "part%d", i);
        LKS_TRY(lks_folder_file(folder, name, &sink));
        lks_sink_write(sink, word, strlen(word));
        LKS_TRY(lks_sink_commit(sink, true));
    }
    return LKS_OK;
}

static lks_status_t save_folder(const char *path, const char *word)
{
    lks_folder_t *folder;
    LKS_TRY(lks_folder_create(path, is_part, &folder));
    lks_status_t status = write_parts(folder, word);
    if (status != LKS_OK) {
        lks_folder_discard(folder);
        return status;
    }
    return lks_folder_commit(folder, true);
}

static const struct {
    const char *name;
    lks_status_t (*run)(const char *path, const char *word);
} operations[] = {{"save", save},
                  {"async", save_async},
                  {"leave", save_and_leave},
                  {"update", update},
                  {"folder", save_folder}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc >= 4 && i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(argv[1], operations[i].name) == 0) {
            lks_status_t status = operations[i].run(argv[2], argv[3]);
            for (int turn = 1; argc > 4 && status == LKS_OK; turn++) {
                status = operations[i].run(argv[2], argv[3 + turn % 2]);
            }
            if (status != LKS_OK) {
                fprintf(stderr, "%s\n", lks_last_error()->message);
            }
            return status == LKS_OK ? 0 : 1;
        }
    }
    fprintf(stderr, "usage: fault_job save|async|leave|update|folder PATH WORD [WORD]\n");
    return 2;
}
