/* SPDX-License-Identifier: Apache-2.0 */
/* test_thread.c - threads, and waiting on a word. */
#include "core/thread.h"
#include "support/support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct portrait {
    char name[16];
    sigset_t blocked;
} portrait_t;

static void take_portrait(void *context)
{
    portrait_t *portrait = context;
    (void)pthread_getname_np(pthread_self(), portrait->name, sizeof portrait->name);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &portrait->blocked);
}

Test(thread, runs_under_its_name_cut_to_what_the_kernel_keeps)
{
    portrait_t portrait;
    lks_thread_t *thread;
    assert_ok(lks_thread_create("lks-a-rather-long-name", take_portrait, &portrait, &thread));
    lks_thread_join(thread);
    cr_assert_str_eq(portrait.name, "lks-a-rather-lo");
}

Test(thread, leaves_outside_signals_to_the_program)
{
    portrait_t portrait;
    lks_thread_t *thread;
    assert_ok(lks_thread_create("portrait", take_portrait, &portrait, &thread));
    lks_thread_join(thread);
    cr_assert(sigismember(&portrait.blocked, SIGINT));
    cr_assert(sigismember(&portrait.blocked, SIGTERM));
    cr_assert_not(sigismember(&portrait.blocked, SIGSEGV));
    cr_assert_not(sigismember(&portrait.blocked, SIGBUS));
    sigset_t mine;
    cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
    cr_assert_not(sigismember(&mine, SIGINT), "the creator's own mask is back");
}

Test(thread, join_of_nothing_does_nothing)
{
    lks_thread_join(NULL);
}

Test(thread, one_that_cannot_start_is_an_io_error)
{
    pthread_attr_t attributes; /* no address space has room for such a stack */
    cr_assert_eq(pthread_attr_init(&attributes), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attributes, (size_t)1 << 50), 0);
    cr_assert_eq(pthread_setattr_default_np(&attributes), 0);
    lks_thread_t *thread = NULL;
    lks_team_t *team = NULL;
    assert_fails(lks_thread_create("giant", take_portrait, NULL, &thread), LKS_ERR_IO,
                 "cannot start thread 'giant'");
    assert_fails(lks_team_create(3, 0, NULL, NULL, &team), LKS_ERR_IO, "cannot start thread");
    cr_assert_null(thread);
    cr_assert_null(team);
    (void)pthread_attr_destroy(&attributes);
}

typedef struct handover {
    _Atomic uint32_t word;
    uint32_t spin, seen;
    int payload, received; /* plain: ordered by the word */
} handover_t;

static void receive(void *context)
{
    handover_t *handover = context;
    handover->seen = lks_wait_while_equal(&handover->word, 0, handover->spin);
    handover->received = handover->payload;
}

static void hand_over(uint32_t spin)
{
    handover_t handover = {.spin = spin};
    lks_thread_t *thread;
    assert_ok(lks_thread_create("receiver", receive, &handover, &thread));
    handover.payload = 42;
    atomic_store_explicit(&handover.word, 7, memory_order_release);
    lks_futex_wake_all(&handover.word);
    lks_thread_join(thread);
    cr_assert_eq(handover.seen, 7);
    cr_assert_eq(handover.received, 42);
}

Test(thread, sleeping_waiter_sees_what_was_written_before_the_word)
{
    for (int i = 0; i < 200; i++) {
        hand_over(0);
    }
}

Test(thread, spinning_waiter_sees_what_was_written_before_the_word)
{
    for (int i = 0; i < 200; i++) {
        hand_over(LKS_SPIN_ROUNDS);
    }
}

Test(thread, wait_returns_at_once_where_the_word_has_changed)
{
    _Atomic uint32_t word = 3;
    cr_assert_eq(lks_wait_while_equal(&word, 2, 0), 3);
    lks_gate_t gate = {.value = 3};
    cr_assert_eq(lks_gate_wait(&gate, 2, 0), 3);
    cr_assert_eq(gate.sleepers, 0);
}

/* Two threads answer each other; one wake-up lost and the test never ends. */
typedef struct table {
    lks_gate_t ping, pong;
    uint32_t rounds, spin;
    uint32_t ball; /* plain: ordered by the gates */
} table_t;

static void answer(void *context)
{
    table_t *table = context;
    for (uint32_t i = 0; i < table->rounds; i++) {
        (void)lks_gate_wait(&table->ping, i, table->spin);
        table->ball++;
        lks_gate_advance(&table->pong);
    }
}

static void play(uint32_t spin)
{
    table_t table = {.rounds = 5000, .spin = spin};
    lks_thread_t *thread;
    assert_ok(lks_thread_create("answer", answer, &table, &thread));
    for (uint32_t i = 0; i < table.rounds; i++) {
        table.ball++;
        lks_gate_advance(&table.ping);
        cr_assert_eq(lks_gate_wait(&table.pong, i, spin), i + 1);
    }
    lks_thread_join(thread);
    cr_assert_eq(table.ball, 2 * table.rounds);
    cr_assert_eq(table.ping.sleepers, 0);
    cr_assert_eq(table.pong.sleepers, 0);
}

Test(thread, gates_lose_no_wake_up_asleep)
{
    play(0);
}

Test(thread, gates_lose_no_wake_up_on_the_way_to_sleep)
{
    play(20);
}

typedef struct place {
    int priority, policy;
    cpu_set_t cores;
} place_t;

static void stand_back(void *context)
{
    place_t *place = context;
    lks_thread_stand_back();
    place->priority = getpriority(PRIO_PROCESS, 0);
    place->policy = sched_getscheduler(0);
    (void)sched_getaffinity(0, sizeof place->cores, &place->cores);
}

/* Its creator is bound to one core; the process's first thread is not. */
static void create_bound(void *context)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    lks_thread_t *thread;
    if (sched_setaffinity(0, sizeof one, &one) == 0 &&
        lks_thread_create("back", stand_back, context, &thread) == LKS_OK) {
        lks_thread_join(thread);
    }
}

Test(thread, stands_back_on_all_cores)
{
    place_t place = {0};
    cpu_set_t all;
    lks_thread_t *thread;
    assert_ok(lks_thread_create("bound", create_bound, &place, &thread));
    lks_thread_join(thread);
    cr_assert_eq(place.priority, 19);
    cr_assert_eq(place.policy, SCHED_BATCH);
    cr_assert_eq(sched_getaffinity(getpid(), sizeof all, &all), 0);
    cr_assert(CPU_EQUAL(&place.cores, &all));
    cr_assert_eq(getpriority(PRIO_PROCESS, 0), getpriority(PRIO_PROCESS, (id_t)getpid()));
}
