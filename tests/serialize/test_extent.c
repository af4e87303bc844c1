/* SPDX-License-Identifier: Apache-2.0 */
/* Extents are cut, shared out and joined: every byte is visited once, and the checksum is that of one thread. */
#include "serialize/crc32.h"
#include "serialize/extent.h"
#include "support/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { EXTENTS = 9, TOTAL = 41 << 20 };

static unsigned char *bytes;
static lks_extent_t extents[EXTENTS];

static void setup(void)
{
    bytes = malloc(TOTAL);
    cr_assert(bytes);
    uint32_t random = 1;
    for (size_t i = 0; i < TOTAL; i++) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(random >> 24);
    }
    static const size_t sizes[EXTENTS] = {0,
                                          1,
                                          LKS_EXTENT_BLOCK - 1,
                                          LKS_EXTENT_BLOCK,
                                          LKS_EXTENT_BLOCK + 1,
                                          7,
                                          2 * LKS_EXTENT_BLOCK + 12345,
                                          0,
                                          999};
    for (size_t i = 0, at = 0; i < EXTENTS; at += sizes[i++]) {
        extents[i] = (lks_extent_t){.data = bytes + at, .nbytes = sizes[i], .crc = 1};
        cr_assert_leq(at + sizes[i], TOTAL);
    }
}

static void teardown(void)
{
    free(bytes);
}

TestSuite(extent, .init = setup, .fini = teardown);

static void assert_checksums(void)
{
    for (size_t i = 0; i < EXTENTS; i++) {
        cr_assert_eq(extents[i].crc, lks_crc32(0, extents[i].data, extents[i].nbytes), "extent %zu",
                     i);
    }
}

Test(extent, checksums_do_not_depend_on_the_number_of_threads)
{
    for (size_t threads = 0; threads < 6; threads++) {
        assert_ok(lks_extents_pass(extents, EXTENTS, threads, NULL, NULL));
        assert_checksums();
    }
}

typedef struct visits {
    _Atomic size_t nbytes, wrong_sizes;
    unsigned char *seen; /* times each byte was visited */
} visits_t;

static uint32_t visit(void *context, const lks_extent_t *extent, size_t at, size_t nbytes)
{
    visits_t *visits = context;
    visits->nbytes += nbytes;
    visits->wrong_sizes += nbytes == 0 || nbytes > LKS_EXTENT_BLOCK;
    for (size_t i = 0; i < nbytes; i++) {
        visits->seen[extent->data - bytes + (ptrdiff_t)(at + i)]++;
    }
    return lks_crc32(0, extent->data + at, nbytes);
}

Test(extent, every_byte_is_visited_once)
{
    visits_t visits = {.seen = calloc(TOTAL, 1)};
    cr_assert(visits.seen);
    assert_ok(lks_extents_pass(extents, EXTENTS, 3, visit, &visits));
    assert_checksums();
    size_t total = 0;
    for (size_t i = 0; i < EXTENTS; i++) {
        total += extents[i].nbytes;
    }
    cr_assert_eq(visits.nbytes, total);
    cr_assert_eq(visits.wrong_sizes, 0);
    for (size_t i = 0; i < TOTAL; i++) {
        cr_assert_eq(visits.seen[i], i < total, "byte %zu", i);
    }
    free(visits.seen);
}

static pthread_t caller;

static uint32_t note_thread(void *context, const lks_extent_t *extent, size_t at, size_t nbytes)
{
    (void)extent, (void)at, (void)nbytes;
    *(bool *)context = *(bool *)context || !pthread_equal(pthread_self(), caller);
    return 0;
}

Test(extent, few_bytes_stay_in_the_calling_thread)
{
    bool elsewhere = false;
    caller = pthread_self();
    extents[0].nbytes = 3 << 20;
    assert_ok(lks_extents_pass(extents, 2, 8, note_thread, &elsewhere));
    cr_assert_not(elsewhere);
}

Test(extent, nothing_is_fine)
{
    assert_ok(lks_extents_pass(NULL, 0, 4, NULL, NULL));
}
