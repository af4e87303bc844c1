/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/progress.h"
#include "support/support.h"

#include <stdatomic.h>
#include <unistd.h>

typedef struct work {
    _Atomic int left, looks;
} work_t;

/* One thing at a time. */
static bool look(void *context)
{
    work_t *work = context;
    work->looks++;
    if (work->left > 0) {
        work->left--;
    }
    return work->left > 0;
}

static void wait_until_done(work_t *work)
{
    for (int i = 0; i < 10000 && work->left > 0; i++) {
        (void)usleep(1000);
    }
    cr_assert_eq(work->left, 0);
}

Test(progress, looks_until_nothing_is_left_and_again_when_woken)
{
    work_t work = {.left = 5};
    lks_progress_t *progress;
    assert_ok(lks_progress_create(look, &work, &progress));
    for (int round = 0; round < 20; round++) {
        wait_until_done(&work);
        work.left = 3;
        lks_progress_wake(progress);
    }
    wait_until_done(&work);
    lks_progress_destroy(progress);
    cr_assert_geq(work.looks, 5 + 20 * 3);
}

Test(progress, sleeps_while_nothing_is_under_way)
{
    work_t work = {0};
    lks_progress_t *progress;
    assert_ok(lks_progress_create(look, &work, &progress));
    (void)usleep(50000); /* a thousand looks, if it did not */
    lks_progress_destroy(progress);
    cr_assert_leq(work.looks, 2);
}

Test(progress, ends_in_the_middle_of_work)
{
    work_t work = {.left = 1 << 30};
    lks_progress_t *progress;
    assert_ok(lks_progress_create(look, &work, &progress));
    (void)usleep(1000);
    lks_progress_destroy(progress);
    int looks = work.looks;
    (void)usleep(1000);
    cr_assert_eq(work.looks, looks);
    lks_progress_destroy(NULL);
}
