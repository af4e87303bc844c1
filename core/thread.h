/* SPDX-License-Identifier: Apache-2.0 */
/* thread.h - threads, a barrier that can be aborted, and a team that runs a function on several cores.
 * Waiting is a short spin where the caller says that every waiter has a core of its own, then a futex: more
 * threads than cores cost nothing but their turns. */
#ifndef LOCKSTEP_CORE_THREAD_H
#define LOCKSTEP_CORE_THREAD_H

#include <lockstep/status.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lks_thread lks_thread_t;

/** Starts `run(context)` on a new thread called `name` (15 bytes show in tools). Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_thread_create(const char *name, void (*run)(void *context),
                                             void *context, lks_thread_t **out);
/** Waits for its end and frees it. NULL does nothing. */
void lks_thread_join(lks_thread_t *thread);

/** Makes the calling thread one that takes what others leave: the lowest priority, and all cores that the process's
 *  first thread may use instead of those its creator is bound to. What cannot be had is done without. */
void lks_thread_stand_back(void);

/** Sleeps while *word == value; may wake spuriously. */
void lks_futex_wait(_Atomic uint32_t *word, uint32_t value);
/** Wakes everyone who sleeps on it. */
void lks_futex_wake_all(_Atomic uint32_t *word);

/** Nanoseconds on the monotonic clock. */
uint64_t lks_now_ns(void);

/** lks_now_ns in `timeout` nanoseconds; UINT64_MAX, for ever, where that is beyond all numbers. */
uint64_t lks_deadline_in(uint64_t timeout);

/** Between two looks at a word that another thread will change soon. */
static inline void lks_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/** Waits until *word != value: spins for about `spin` rounds of a pause instruction, then sleeps.
 *  Returns the new value (acquire). */
uint32_t lks_wait_while_equal(_Atomic uint32_t *word, uint32_t value, uint32_t spin);

/** Rounds for threads that each have a core (20 to 150 us: a pause takes 5 to 40 ns); 0 for threads that
 *  share one. */
#define LKS_SPIN_ROUNDS 4000u

/** A word to wait on that counts its sleepers: a change that nobody sleeps on costs no system call.
 *  Zeroed is ready. */
typedef struct lks_gate {
    _Atomic uint32_t value, sleepers;
    bool shared; /* lies in memory that several processes map */
} lks_gate_t;

/** Waits until gate->value != value, as lks_wait_while_equal does. */
uint32_t lks_gate_wait(lks_gate_t *gate, uint32_t value, uint32_t spin);

/** The same, but not for longer than until `deadline` (lks_now_ns; UINT64_MAX: for ever): returns `value` then. */
uint32_t lks_gate_wait_until(lks_gate_t *gate, uint32_t value, uint32_t spin, uint64_t deadline);

/** Adds one to the value (release) and wakes all sleepers. */
void lks_gate_advance(lks_gate_t *gate);

/** A barrier of `count` threads. It may be freed once every thread has returned from it. */
typedef struct lks_barrier {
    lks_gate_t gate;
    _Atomic uint64_t arrivals; /* since init; the top bit: aborted */
    uint32_t count, spin;
} lks_barrier_t;

void lks_barrier_init(lks_barrier_t *barrier, uint32_t count, uint32_t spin);

/** Waits for all. False if the barrier was aborted before the last one arrived: all threads of one round get
 *  the same answer. */
bool lks_barrier_wait(lks_barrier_t *barrier);

/** The same, for at most `timeout` nanoseconds (UINT64_MAX: for ever). Then `late(context)` is called, which may abort
 *  the barrier, and the waiting goes on. */
bool lks_barrier_wait_for(lks_barrier_t *barrier, uint64_t timeout, void (*late)(void *context),
                          void *context);

/** Wakes all waiters and makes every later wait return false. From any thread. */
void lks_barrier_abort(lks_barrier_t *barrier);

/** A caller and `threads - 1` helpers, asleep between runs. */
typedef struct lks_team lks_team_t;

/** `on_start(context, index)` runs first in each helper, e.g. to bind it; may be NULL.
 *  `spin` as above, for helpers that wait for work. Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_team_create(size_t threads, uint32_t spin,
                                           void (*on_start)(void *context, size_t index),
                                           void *context, lks_team_t **out);
void lks_team_destroy(lks_team_t *team);
size_t lks_team_size(const lks_team_t *team);

/** Runs `run(context, index, threads)` for index 0 (in the caller) to threads - 1, and waits for all. */
void lks_team_run(lks_team_t *team, void (*run)(void *context, size_t index, size_t threads),
                  void *context);

#endif
