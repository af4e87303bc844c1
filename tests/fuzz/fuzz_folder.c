/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_folder.c - a directory in the format FUZZ_FORMAT: written, opened, every byte of it looked at, closed.
 * An input is a row of files: which of the names below (1 byte, modulo their number), how many bytes (2 bytes,
 * little-endian), the bytes. scripts/fuzz packs real directories so, in the order of the names. */
#include "archive.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD 3 /* bytes in front of a file's */
#define FILES_MAX 4

static const char *const names_of_dcp[FILES_MAX] = {".metadata", "__0_0.distcp", "__1_0.distcp",
                                                    "__0_1.distcp"};
static const char *const names_of_sharded[FILES_MAX] = {
    "model.safetensors.index.json", "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors", "model.safetensors"};

typedef struct file {
    const unsigned char *data; /* NULL: there is no such file */
    size_t nbytes;
} file_t;

static const char *const *names(void)
{
    return strcmp(FUZZ_FORMAT, "dcp") == 0 ? names_of_dcp : names_of_sharded;
}

/* The file at `*at`, which is moved behind it. */
static file_t next_file(const unsigned char *data, size_t size, size_t *at, unsigned *name)
{
    const unsigned char *head = data + *at;
    size_t left = size - *at - HEAD, nbytes = (size_t)head[1] | (size_t)head[2] << 8;
    *name = head[0] % FILES_MAX;
    nbytes = nbytes < left ? nbytes : left;
    *at += HEAD + nbytes;
    return (file_t){.data = head + HEAD, .nbytes = nbytes};
}

/* --- on disk ------------------------------------------------------------------------------------ */

/* Makes the file what it is in this input, if it was something else in the last one. */
static void place(unsigned name, const file_t *file)
{
    static unsigned char *last[FILES_MAX];
    static size_t last_nbytes[FILES_MAX];
    if (!file->data) {
        if (last[name]) {
            fuzz_require(unlink(fuzz_path(names()[name])) == 0, "files can be removed");
        }
        free(last[name]);
        last[name] = NULL;
        return;
    }
    if (last[name] && last_nbytes[name] == file->nbytes &&
        memcmp(last[name], file->data, file->nbytes) == 0) {
        return;
    }
    fuzz_write_file(names()[name], file->data, file->nbytes);
    free(last[name]);
    last[name] = malloc(file->nbytes + 1);
    fuzz_require(last[name] != NULL, "there is memory");
    memcpy(last[name], file->data, file->nbytes);
    last_nbytes[name] = file->nbytes;
}

static void place_all(const unsigned char *data, size_t size)
{
    file_t files[FILES_MAX] = {0};
    for (size_t at = 0; size - at >= HEAD;) {
        unsigned name;
        file_t file = next_file(data, size, &at, &name);
        files[name] = file;
    }
    for (unsigned i = 0; i < FILES_MAX; i++) {
        place(i, &files[i]);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const lks_checkpoint_limits_t limits = fuzz_limits();
    lks_checkpoint_t *checkpoint;
    place_all(data, size);
    lks_status_t status = lks_checkpoint_open(fuzz_folder(), &limits, &checkpoint);
    if (status != LKS_OK) {
        fuzz_require_sentence(status);
        return 0;
    }
    fuzz_look_at(checkpoint);
    lks_checkpoint_close(checkpoint);
    return 0;
}

/* --- mutation ----------------------------------------------------------------------------------- */

/* Mutates one file and says how long it is then. */
static size_t mutate_file(unsigned char *data, size_t size, size_t max_size, size_t at,
                          unsigned seed)
{
    unsigned name;
    size_t end = at;
    file_t file = next_file(data, size, &end, &name);
    size_t room = max_size - size + file.nbytes, nbytes = file.nbytes;
    room = room < UINT16_MAX ? room : UINT16_MAX;
    unsigned char *copy = malloc(room + 1);
    if (!copy || nbytes > room || room == 0) { /* libFuzzer makes a byte even of no room */
        free(copy);
        return size;
    }
    memcpy(copy, file.data, nbytes);
    nbytes = fuzz_mutate_archives(copy, nbytes, room, seed);
    memmove(data + at + HEAD + nbytes, data + end, size - end);
    memcpy(data + at + HEAD, copy, nbytes);
    free(copy);
    data[at + 1] = (unsigned char)nbytes;
    data[at + 2] = (unsigned char)(nbytes >> 8);
    return size - file.nbytes + nbytes;
}

size_t LLVMFuzzerCustomMutator(unsigned char *data, size_t size, size_t max_size, unsigned seed)
{
    size_t starts[8], count = 0;
    for (size_t at = 0; count < 8 && size - at >= HEAD;) {
        unsigned name;
        starts[count++] = at;
        (void)next_file(data, size, &at, &name);
    }
    if (count == 0 || size > max_size || seed % 8 == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    return mutate_file(data, size, max_size, starts[(seed >> 4) % count], seed >> 8);
}
