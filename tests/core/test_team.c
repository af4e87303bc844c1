/* SPDX-License-Identifier: Apache-2.0 */
/* test_team.c - a team does every part of a job once and has finished when the call returns. */
#include "core/thread.h"
#include "support/support.h"

#include <pthread.h>

enum { THREADS_MAX = 6 };

typedef struct work {
    int done[THREADS_MAX]; /* plain: each part is one thread's, read after the run */
    size_t threads[THREADS_MAX];
    pthread_t who[THREADS_MAX];
} work_t;

static void do_part(void *context, size_t index, size_t threads)
{
    work_t *work = context;
    work->done[index]++;
    work->threads[index] = threads;
    work->who[index] = pthread_self();
}

static void check_team(size_t threads, uint32_t spin, int runs)
{
    lks_team_t *team;
    assert_ok(lks_team_create(threads, spin, NULL, NULL, &team));
    cr_assert_eq(lks_team_size(team), threads);
    work_t work = {0};
    for (int run = 1; run <= runs; run++) {
        lks_team_run(team, do_part, &work);
        for (size_t i = 0; i < threads; i++) {
            cr_assert_eq(work.done[i], run, "part %zu of run %d", i, run);
            cr_assert_eq(work.threads[i], threads);
        }
    }
    cr_assert(pthread_equal(work.who[0], pthread_self()), "part 0 is the caller's");
    for (size_t i = 1; i < threads; i++) {
        cr_assert_not(pthread_equal(work.who[i], pthread_self()));
    }
    lks_team_destroy(team);
}

Test(team, of_one_is_a_plain_call)
{
    check_team(1, 0, 3);
}

Test(team, does_every_part_once_asleep_between_runs)
{
    check_team(2, 0, 2000);
    check_team(3, 0, 500);
}

Test(team, does_every_part_once_spinning_between_runs)
{
    check_team(2, LKS_SPIN_ROUNDS, 5000);
}

Test(team, may_be_larger_than_the_machine)
{
    check_team(THREADS_MAX, 0, 300);
}

Test(team, of_nobody_is_the_caller)
{
    lks_team_t *team;
    assert_ok(lks_team_create(0, 0, NULL, NULL, &team));
    cr_assert_eq(lks_team_size(team), 1);
    work_t work = {0};
    lks_team_run(team, do_part, &work);
    cr_assert_eq(work.done[0], 1);
    lks_team_destroy(team);
}

static void count_start(void *context, size_t index)
{
    ((int *)context)[index]++;
}

static void copy_starts(void *context, size_t index, size_t threads)
{
    int *starts = context; /* (2, threads) */
    starts[threads + index] = starts[index];
}

Test(team, on_start_runs_once_in_each_helper_before_its_first_part)
{
    int starts[2][4] = {0};
    lks_team_t *team;
    assert_ok(lks_team_create(4, 0, count_start, starts, &team));
    lks_team_run(team, copy_starts, starts);
    lks_team_run(team, copy_starts, starts);
    lks_team_destroy(team);
    const int wanted[4] = {0, 1, 1, 1};
    cr_assert_arr_eq(starts[0], wanted, sizeof wanted);
    cr_assert_arr_eq(starts[1], wanted, sizeof wanted);
}

Test(team, may_be_destroyed_without_a_run)
{
    lks_team_t *team;
    assert_ok(lks_team_create(3, 0, NULL, NULL, &team));
    lks_team_destroy(team);
    lks_team_destroy(NULL);
}

Test(team, too_large_for_memory_is_a_sentence)
{
    lks_team_t *team = NULL;
    assert_fails(lks_team_create(SIZE_MAX, 0, NULL, NULL, &team), LKS_ERR_NO_MEMORY, "threads");
    cr_assert_null(team);
}
