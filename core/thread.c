/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - threads, and waiting on a word.
 * A waiter spins, then sleeps in the kernel. No wake-up is lost: the kernel compares the word once more
 * before it lets a thread sleep, and a gate's two sides each write (value or sleepers) before they read the
 * other one, all sequentially consistent, so at least one of them sees the other. */
#include "core/thread.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct lks_thread {
    pthread_t id;
    char name[16]; /* what the kernel keeps, with its zero */
    void (*run)(void *context);
    void *context;
};

static void *thread_main(void *argument)
{
    lks_thread_t *thread = argument;
    (void)pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->context);
    return NULL;
}

/* Signals that come from outside belong to the program's own threads; those a thread brings upon itself
 * (a bad access in a mapped file, a write nobody reads) must stay deliverable to it. */
static void fill_foreign_signals(sigset_t *signals)
{
    static const int own[] = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL, SIGTRAP,
                              SIGSYS,  SIGABRT, SIGPROF, SIGPIPE};
    (void)sigfillset(signals);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        (void)sigdelset(signals, own[i]);
    }
}

lks_status_t lks_thread_create(const char *name, void (*run)(void *context), void *context,
                               lks_thread_t **out)
{
    lks_thread_t *thread = malloc(sizeof *thread);
    if (!thread) {
        return lks_fail(LKS_ERR_NO_MEMORY, "thread '%s': out of memory", name);
    }
    *thread = (lks_thread_t){.run = run, .context = context};
    (void)snprintf(thread->name, sizeof thread->name, "%s", name);
    sigset_t foreign, before;
    fill_foreign_signals(&foreign);
    (void)pthread_sigmask(SIG_BLOCK, &foreign, &before); /* inherited by the new thread */
    int error = pthread_create(&thread->id, NULL, thread_main, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        free(thread);
        return lks_fail(LKS_ERR_IO, "cannot start thread '%s': %s", name, strerror(error));
    }
    *out = thread;
    return LKS_OK;
}

void lks_thread_join(lks_thread_t *thread)
{
    if (thread) {
        (void)pthread_join(thread->id, NULL);
        free(thread);
    }
}

void lks_thread_stand_back(void)
{
    const struct sched_param none = {0};
    cpu_set_t cores;
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    (void)sched_setscheduler(0, SCHED_BATCH, &none); /* does not interrupt others when it wakes */
    if (sched_getaffinity(getpid(), sizeof cores, &cores) == 0) {
        (void)sched_setaffinity(0, sizeof cores, &cores);
    }
}

void lks_futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void lks_futex_wake_all(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

uint64_t lks_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t lks_deadline_in(uint64_t timeout)
{
    uint64_t now = timeout == UINT64_MAX ? 0 : lks_now_ns();
    return timeout < UINT64_MAX - now ? now + timeout : UINT64_MAX;
}

/* The word after at most `spin` rounds; still `value` if it did not change. */
static uint32_t spin_while_equal(_Atomic uint32_t *word, uint32_t value, uint32_t spin)
{
    uint32_t now = atomic_load_explicit(word, memory_order_acquire);
    for (uint32_t i = 0; now == value && i < spin; i++) {
        lks_pause();
        now = atomic_load_explicit(word, memory_order_acquire);
    }
    return now;
}

uint32_t lks_wait_while_equal(_Atomic uint32_t *word, uint32_t value, uint32_t spin)
{
    uint32_t now = spin_while_equal(word, value, spin);
    while (now == value) {
        lks_futex_wait(word, value);
        now = atomic_load_explicit(word, memory_order_acquire);
    }
    return now;
}

/* Sleeps while the value is `value`, until `deadline` at most; may wake spuriously. */
static void gate_sleep(lks_gate_t *gate, uint32_t value, uint64_t deadline)
{
    const struct timespec until = {.tv_sec = (time_t)(deadline / 1000000000u),
                                   .tv_nsec = (long)(deadline % 1000000000u)};
    int operation = FUTEX_WAIT_BITSET | (gate->shared ? 0 : FUTEX_PRIVATE_FLAG);
    (void)syscall(SYS_futex, &gate->value, operation, value, deadline == UINT64_MAX ? NULL : &until,
                  NULL, FUTEX_BITSET_MATCH_ANY);
}

uint32_t lks_gate_wait_until(lks_gate_t *gate, uint32_t value, uint32_t spin, uint64_t deadline)
{
    uint32_t now = spin_while_equal(&gate->value, value, spin);
    if (now != value) {
        return now;
    }
    atomic_fetch_add(&gate->sleepers, 1);
    while ((now = atomic_load(&gate->value)) == value &&
           (deadline == UINT64_MAX || lks_now_ns() < deadline)) {
        gate_sleep(gate, value, deadline);
    }
    atomic_fetch_sub(&gate->sleepers, 1);
    return now;
}

uint32_t lks_gate_wait(lks_gate_t *gate, uint32_t value, uint32_t spin)
{
    return lks_gate_wait_until(gate, value, spin, UINT64_MAX);
}

void lks_gate_advance(lks_gate_t *gate)
{
    atomic_fetch_add(&gate->value, 1);
    if (atomic_load(&gate->sleepers) > 0) {
        int operation = FUTEX_WAKE | (gate->shared ? 0 : FUTEX_PRIVATE_FLAG);
        (void)syscall(SYS_futex, &gate->value, operation, INT_MAX, NULL, NULL, 0);
    }
}
