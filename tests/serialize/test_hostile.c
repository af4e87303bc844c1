/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged files: every length a file can be cut to, every byte that can be wrong. Each is read without a fault or
 * refused in a sentence; what was read can be written. Run under the sanitizers this is the fuzz test. */
#include "serialize/tree_text.h"
#include "serialize/zip_maker.h"
#include "serialize/zip_read.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

static const char *copy;
static size_t readable;

static void setup(void)
{
    copy = test_temp_path("copy.pt");
}

TestSuite(hostile, .init = setup);

/* Reads everything; true if nothing was wrong with it. */
static bool read_all(lks_checkpoint_t *checkpoint)
{
    bool good = true;
    for (size_t i = 0; i < lks_tree_storage_count(lks_checkpoint_tree(checkpoint)); i++) {
        const void *data;
        size_t nbytes;
        good &= lks_checkpoint_storage(checkpoint, i, NULL, &data, &nbytes) == LKS_OK;
    }
    return good;
}

static void assert_harmless(const void *data, size_t nbytes)
{
    const lks_checkpoint_limits_t limits = {
        .memory = (size_t)4 << 20, .max_depth = 10000, .max_nodes = 100000};
    lks_checkpoint_t *checkpoint;
    void *exact =
        malloc(nbytes + (nbytes == 0)); /* so that a sanitizer sees the first byte too far */
    memcpy(exact, data, nbytes);
    if (lks_checkpoint_open_memory(exact, nbytes, "hostile.pt", &limits, &checkpoint) != LKS_OK) {
        cr_assert_gt(strlen(lks_last_error()->message), 20);
        free(exact);
        return;
    }
    readable++;
    if (read_all(checkpoint)) {
        lks_strbuf_t listing = test_listing(checkpoint);
        lks_strbuf_fini(&listing);
        /* As it came, so that what only streams can hold is written too. */
        bool zip = strcmp(lks_checkpoint_format(checkpoint), "torch_zip") == 0;
        const lks_save_options_t options = {.format = zip ? "torch_zip" : "torch_legacy"};
        lks_status_t status = lks_checkpoint_save(copy, lks_checkpoint_tree(checkpoint), &options);
        cr_assert(status == LKS_OK || status == LKS_ERR_UNSUPPORTED, "%s",
                  lks_last_error()->message);
        lks_checkpoint_t *again;
        if (status == LKS_OK) {
            assert_ok(lks_checkpoint_open(copy, NULL, &again));
            lks_checkpoint_close(again);
            (void)unlink(copy); /* replacing it would make some file systems write it out first */
        }
    }
    lks_checkpoint_close(checkpoint);
    free(exact);
}

static void cut_anywhere(const char *victim, size_t least, size_t most)
{
    size_t nbytes;
    unsigned char *data = test_read_file(victim, &nbytes);
    for (size_t length = least; length < nbytes && length < most; length++) {
        assert_harmless(data, length);
    }
    free(data);
}

static void damage_anywhere(const char *victim, size_t most)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    size_t nbytes;
    unsigned char *data = test_read_file(victim, &nbytes);
    for (size_t at = 0; at < nbytes && at < most; at++) {
        for (size_t f = 0; f < sizeof flips; f++) {
            data[at] ^= flips[f];
            assert_harmless(data, nbytes);
            data[at] ^= flips[f];
        }
    }
    free(data);
}

static const char *const victims[] = {CORPUS "t113_iris_sd.pth", CORPUS "x_repack_deflated.pth",
                                      CORPUS "x_old_views_param.pth", CORPUS "x_py2_legacy_sd.pth"};
#define TAR CORPUS "x_tar_views.pt"
#define TAR_CONTENTS_END 3883 /* zeros follow, which nobody misses */

Test(hostile, a_file_cut_anywhere_is_harmless)
{
    for (size_t v = 0; v < sizeof victims / sizeof *victims; v++) {
        cut_anywhere(victims[v], 0, SIZE_MAX);
    }
    cut_anywhere(TAR, 0, TAR_CONTENTS_END);
    cr_assert_eq(readable, 0, "a file without its end is no archive");
    cut_anywhere(TAR, TAR_CONTENTS_END, SIZE_MAX);
    cr_assert_gt(readable, 0);
}

Test(hostile, a_wrong_byte_anywhere_is_harmless)
{
    for (size_t v = 0; v < sizeof victims / sizeof *victims; v++) {
        damage_anywhere(victims[v], SIZE_MAX);
    }
    cr_assert_gt(readable, 0, "bytes of tensors do not matter when opening");
}

Test(hostile, a_wrong_byte_anywhere_in_a_tar_archive_is_harmless)
{
    damage_anywhere(TAR, TAR_CONTENTS_END);
    cr_assert_gt(readable, 0);
}

/* The records of a file, so that its pickle can be changed under a checksum that is right. */
typedef struct parts {
    unsigned char *file, *pickle;
    size_t nbytes, pickle_size, count, pickle_at;
    lks_zip_t zip;
    test_record_t records[100];
    char names[100][64];
} parts_t;

static parts_t *take_apart(const char *victim)
{
    parts_t *parts = calloc(1, sizeof *parts);
    parts->file = test_read_file(victim, &parts->nbytes);
    assert_ok(lks_zip_open(parts->file, parts->nbytes, &parts->zip));
    parts->count = parts->zip.count;
    cr_assert_leq(parts->count, 100);
    for (size_t i = 0; i < parts->count; i++) {
        const lks_zip_entry_t *entry = &parts->zip.entries[i];
        (void)snprintf(parts->names[i], sizeof parts->names[i], "%.*s", (int)entry->name_length,
                       entry->name);
        parts->records[i] = (test_record_t){.name = parts->names[i],
                                            .data = parts->file + entry->data,
                                            .nbytes = (size_t)entry->size};
        if (strstr(parts->names[i], "/data.pkl")) {
            parts->pickle_at = i;
            parts->pickle_size = (size_t)entry->size;
        }
    }
    parts->pickle = malloc(parts->pickle_size + 64);
    memcpy(parts->pickle, parts->records[parts->pickle_at].data, parts->pickle_size);
    return parts;
}

static void try_pickle(parts_t *parts, const unsigned char *pickle, size_t nbytes)
{
    parts->records[parts->pickle_at].data = pickle;
    parts->records[parts->pickle_at].nbytes = nbytes;
    lks_strbuf_t archive = test_zip(parts->records, parts->count);
    assert_harmless(archive.data, archive.length);
    lks_strbuf_fini(&archive);
}

static void put_away(parts_t *parts)
{
    lks_zip_close(&parts->zip);
    free(parts->file);
    free(parts->pickle);
    free(parts);
}

Test(hostile, a_wrong_byte_in_the_pickle_is_harmless)
{
    static const unsigned char flips[] = {0x01, 0x10, 0xff};
    parts_t *parts = take_apart(CORPUS "t113_iris_sd.pth");
    for (size_t at = 0; at < parts->pickle_size; at++) {
        for (size_t f = 0; f < sizeof flips; f++) {
            parts->pickle[at] ^= flips[f];
            try_pickle(parts, parts->pickle, parts->pickle_size);
            parts->pickle[at] ^= flips[f];
        }
    }
    put_away(parts);
    cr_assert_gt(readable, 100);
}

Test(hostile, a_pickle_cut_anywhere_is_harmless)
{
    parts_t *parts = take_apart(CORPUS "t113_nested_proto5.pt");
    for (size_t length = 0; length < parts->pickle_size; length++) {
        try_pickle(parts, parts->pickle, length);
    }
    put_away(parts);
}

static uint32_t random_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Opcodes swapped, repeated and dropped, a few at a time. */
Test(hostile, shuffled_pickles_are_harmless)
{
    static const char *const sources[] = {
        CORPUS "t113_misc_objects.pt", CORPUS "t113_views.pt", CORPUS "t113_params_buffers.pt",
        CORPUS "t113_cyclic_shared.pt", CORPUS "t26_tensor_attrs.pt"};
    static const char opcodes[] = "()]}aestuRbQ0N2\x81\x85\x86\x94\x8f\x90K\1h\1q\2";
    uint32_t state = 12345;
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++) {
        parts_t *parts = take_apart(sources[s]);
        unsigned char *work = malloc(parts->pickle_size + 64);
        for (int round = 0; round < 600; round++) {
            size_t nbytes = parts->pickle_size;
            memcpy(work, parts->pickle, nbytes);
            for (uint32_t edits = random_number(&state) % 4 + 1; edits > 0; edits--) {
                size_t at = random_number(&state) % nbytes;
                unsigned char op =
                    (unsigned char)opcodes[random_number(&state) % (sizeof opcodes - 1)];
                if (random_number(&state) % 3 == 0) {
                    memmove(work + at + 1, work + at, nbytes++ - at);
                }
                work[at] = op;
            }
            try_pickle(parts, work, nbytes);
        }
        free(work);
        put_away(parts);
    }
}
