/* SPDX-License-Identifier: Apache-2.0 */
/* Every job runs once, whatever the number of threads, and is done when the call returns. */
#include "core/parallel.h"
#include "support/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { JOBS = 1000 };

typedef struct jobs {
    int done[JOBS]; /* plain: each is one thread's, read after the loop */
    _Atomic size_t elsewhere;
    pthread_t caller;
} jobs_t;

static void do_job(void *context, size_t index)
{
    jobs_t *jobs = context;
    jobs->done[index]++;
    jobs->elsewhere += !pthread_equal(jobs->caller, pthread_self());
}

/* Returns how many jobs ran in another thread than the caller. */
static size_t run(size_t threads, size_t count)
{
    jobs_t jobs = {.caller = pthread_self()};
    lks_parallel_for(threads, count, do_job, &jobs);
    for (size_t i = 0; i < JOBS; i++) {
        cr_assert_eq(jobs.done[i], i < count, "job %zu of %zu", i, count);
    }
    return jobs.elsewhere;
}

Test(parallel, every_job_runs_once)
{
    for (size_t threads = 0; threads < 6; threads++) {
        for (size_t count = 0; count <= JOBS; count += count < 8 ? 1 : 248) {
            (void)run(threads, count);
        }
    }
    (void)run(100000, JOBS);
}

static void meet(void *context, size_t index)
{
    (void)index;
    (void)pthread_barrier_wait(context); /* returns only if as many threads are in the loop */
}

Test(parallel, jobs_run_at_the_same_time, .timeout = 60)
{
    pthread_barrier_t barrier;
    cr_assert_eq(pthread_barrier_init(&barrier, NULL, 4), 0);
    lks_parallel_for(4, 4, meet, &barrier);
    cr_assert_eq(pthread_barrier_destroy(&barrier), 0);
}

Test(parallel, one_thread_is_the_caller)
{
    cr_assert_eq(run(1, JOBS), 0);
    cr_assert_eq(run(8, 1), 0);
}

/* Root becomes somebody else for a while: the limit does not hold for root. */
static void become(uid_t user)
{
    cr_assert_eq(setresuid(user, user, 0), 0);
    cr_assert_eq(prctl(PR_SET_DUMPABLE, 1), 0); /* the leak checker looks at this process */
}

Test(parallel, without_helpers_the_caller_does_it_all)
{
    bool root = geteuid() == 0;
    struct rlimit before, none;
    cr_assert_eq(getrlimit(RLIMIT_NPROC, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    if (root) {
        become(65534);
    }
    cr_assert_eq(setrlimit(RLIMIT_NPROC, &none), 0);
    cr_assert_eq(run(4, JOBS), 0);
    cr_assert_eq(setrlimit(RLIMIT_NPROC, &before), 0);
    if (root) {
        become(0);
    }
}

Test(parallel, cores_are_those_of_the_affinity_mask)
{
    cpu_set_t all, one;
    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    cr_assert_eq(lks_allowed_cores(), (size_t)CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (size_t i = 0; CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &all)) {
            CPU_SET(i, &one);
        }
    }
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(lks_allowed_cores(), 1);
}
