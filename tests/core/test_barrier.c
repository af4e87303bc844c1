/* SPDX-License-Identifier: Apache-2.0 */
/* test_barrier.c - rounds of a barrier, and the ways out of it. */
#include "core/thread.h"
#include "support/support.h"

#include <time.h>

enum { THREADS_MAX = 8 };

typedef struct crew crew_t;

typedef struct member {
    crew_t *crew;
    uint32_t index;
    uint32_t value; /* plain: ordered by the barrier */
    int mistakes, passed;
    lks_thread_t *thread;
} member_t;

struct crew {
    lks_barrier_t barrier;
    uint32_t count, rounds;
    member_t members[THREADS_MAX];
};

static void start_crew(crew_t *crew, uint32_t count, uint32_t spin, void (*run)(void *context))
{
    crew->count = count;
    lks_barrier_init(&crew->barrier, count, spin);
    for (uint32_t i = 0; i < count; i++) {
        crew->members[i].crew = crew;
        crew->members[i].index = i;
        assert_ok(lks_thread_create("member", run, &crew->members[i], &crew->members[i].thread));
    }
}

static void join_crew(crew_t *crew)
{
    for (uint32_t i = 0; i < crew->count; i++) {
        lks_thread_join(crew->members[i].thread);
    }
}

/* Writes its own slot, then reads everybody's: a barrier that lets one through early shows a stale slot. */
static void write_then_read(void *context)
{
    member_t *self = context;
    crew_t *crew = self->crew;
    for (uint32_t round = 1; round <= crew->rounds; round++) {
        self->value = round;
        self->mistakes += !lks_barrier_wait(&crew->barrier);
        for (uint32_t i = 0; i < crew->count; i++) {
            self->mistakes += crew->members[i].value != round;
        }
        self->mistakes += !lks_barrier_wait(&crew->barrier);
    }
}

static void check_rounds(uint32_t count, uint32_t spin, uint32_t rounds)
{
    crew_t crew = {.rounds = rounds};
    start_crew(&crew, count, spin, write_then_read);
    join_crew(&crew);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(crew.members[i].mistakes, 0, "thread %u", i);
        cr_assert_eq(crew.members[i].value, rounds);
    }
}

Test(barrier, one_thread_passes_alone)
{
    lks_barrier_t barrier;
    lks_barrier_init(&barrier, 1, 0);
    for (int i = 0; i < 10; i++) {
        cr_assert(lks_barrier_wait(&barrier));
    }
}

Test(barrier, holds_all_back_round_after_round)
{
    check_rounds(2, 0, 2000);
    check_rounds(3, 0, 500);
}

Test(barrier, holds_more_threads_than_cores_back)
{
    check_rounds(THREADS_MAX, 0, 300);
}

Test(barrier, holds_spinning_threads_back)
{
    check_rounds(2, LKS_SPIN_ROUNDS, 2000);
}

static void wait_until_aborted(void *context)
{
    member_t *self = context;
    while (lks_barrier_wait(&self->crew->barrier)) {
        self->passed++;
    }
}

Test(barrier, abort_frees_all_who_wait_after_the_same_round)
{
    for (int i = 0; i < 100; i++) {
        crew_t crew = {0};
        start_crew(&crew, 3, 0, wait_until_aborted);
        lks_barrier_abort(&crew.barrier); /* somewhere in mid-round */
        join_crew(&crew);
        for (uint32_t k = 1; k < crew.count; k++) {
            cr_assert_eq(crew.members[k].passed, crew.members[0].passed);
        }
    }
}

Test(barrier, abort_frees_a_thread_whose_peer_never_comes)
{
    crew_t crew = {0};
    member_t lonely = {.crew = &crew};
    lks_barrier_init(&crew.barrier, 2, 0);
    assert_ok(lks_thread_create("lonely", wait_until_aborted, &lonely, &lonely.thread));
    lks_barrier_abort(&crew.barrier);
    lks_thread_join(lonely.thread);
    cr_assert_eq(lonely.passed, 0);
}

Test(barrier, stays_aborted)
{
    lks_barrier_t barrier;
    lks_barrier_init(&barrier, 1, 0);
    cr_assert(lks_barrier_wait(&barrier));
    lks_barrier_abort(&barrier);
    lks_barrier_abort(&barrier);
    for (int i = 0; i < 3; i++) {
        cr_assert_not(lks_barrier_wait(&barrier));
    }
}

/* One of the members leaves by aborting; the others must not wait for it. */
static void leave_in_round_ten(void *context)
{
    member_t *self = context;
    while (lks_barrier_wait(&self->crew->barrier)) {
        if (++self->passed == 10 && self->index == 0) {
            lks_barrier_abort(&self->crew->barrier);
            return;
        }
    }
}

Test(barrier, a_member_that_aborts_takes_the_others_along)
{
    for (int i = 0; i < 50; i++) {
        crew_t crew = {0};
        start_crew(&crew, 4, 0, leave_in_round_ten);
        join_crew(&crew);
        for (uint32_t k = 0; k < crew.count; k++) {
            int passed = crew.members[k].passed; /* of the tenth, too: it ended before the abort */
            cr_assert(passed == 10, "thread %u passed %d times", k, passed);
        }
    }
}

/* --- waiting too long --------------------------------------------------------------------------- */

typedef struct lateness {
    lks_barrier_t *barrier;
    int calls;
    bool abort;
} lateness_t;

static void note_late(void *context)
{
    lateness_t *lateness = context;
    lateness->calls++;
    if (lateness->abort) {
        lks_barrier_abort(lateness->barrier);
    }
}

static void come_in_50_ms(void *context)
{
    struct timespec pause = {.tv_nsec = 50000000};
    (void)nanosleep(&pause, NULL);
    (void)lks_barrier_wait(context);
}

/* Waits 1 ms for a thread that comes in 50. */
static bool wait_too_short(lateness_t *lateness)
{
    lks_barrier_t barrier;
    lks_thread_t *thread;
    lks_barrier_init(&barrier, 2, 0);
    lateness->barrier = &barrier;
    assert_ok(lks_thread_create("late", come_in_50_ms, &barrier, &thread));
    bool complete = lks_barrier_wait_for(&barrier, 1000000, note_late, lateness);
    lks_thread_join(thread);
    return complete;
}

Test(barrier, tells_once_that_it_waits_too_long_and_waits_on)
{
    lateness_t lateness = {0};
    cr_assert(wait_too_short(&lateness));
    cr_assert_eq(lateness.calls, 1);
}

Test(barrier, may_be_aborted_by_who_waits_too_long)
{
    lateness_t lateness = {.abort = true};
    cr_assert_not(wait_too_short(&lateness));
    cr_assert_eq(lateness.calls, 1);
}
