/* SPDX-License-Identifier: Apache-2.0 */
#include "all_reduce_floor.h"

#include "bench.h"

#include <pthread.h>
#include <sched.h>

static void meet(floor_team_t *team)
{
    int round = atomic_load_explicit(&team->round, memory_order_relaxed);
    if (atomic_fetch_add(&team->arrived, 1) == team->ranks - 1) {
        atomic_store(&team->arrived, 0);
        atomic_store_explicit(&team->round, round + 1, memory_order_release);
        return;
    }
    for (int i = 0; atomic_load_explicit(&team->round, memory_order_acquire) == round; i++) {
        if (team->crowded && i > 50) {
            (void)sched_yield();
        } else {
            __builtin_ia32_pause();
        }
    }
}

static void sum_two(float *restrict a, float *restrict b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float sum = a[i] + b[i];
        a[i] = sum;
        b[i] = sum;
    }
}

static void sum_four(float *restrict a, float *restrict b, float *restrict c, float *restrict d,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float sum = (a[i] + b[i]) + (c[i] + d[i]);
        a[i] = sum;
        b[i] = sum;
        c[i] = sum;
        d[i] = sum;
    }
}

static void sum_any(const floor_team_t *team, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        float sum = 0;
        for (int r = 0; r < team->ranks; r++) {
            sum += team->buffers[r][i];
        }
        for (int r = 0; r < team->ranks; r++) {
            team->buffers[r][i] = sum;
        }
    }
}

static void sum_slice(const floor_team_t *team, int rank, size_t count)
{
    enum { LINE = 16 };
    size_t ranks = (size_t)team->ranks, each = (count / ranks + LINE) / LINE * LINE;
    size_t first = each * (size_t)rank;
    if (first >= count) {
        return;
    }
    size_t n = count - first < each ? count - first : each;
    float *const *b = team->buffers;
    if (team->ranks == 2) {
        sum_two(b[0] + first, b[1] + first, n);
    } else if (team->ranks == 4) {
        sum_four(b[0] + first, b[1] + first, b[2] + first, b[3] + first, n);
    } else {
        sum_any(team, first, n);
    }
}

void floor_all_reduce(floor_team_t *team, int rank, size_t count)
{
    meet(team);
    sum_slice(team, rank, count);
    meet(team);
}

enum { ROUND_TRIPS = 20000 };

typedef struct ball {
    _Alignas(128) _Atomic int there;
    _Alignas(128) _Atomic int back;
} ball_t;

static void bind_to(size_t core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void *give_back(void *argument)
{
    ball_t *ball = argument;
    bind_to(1);
    for (int i = 1; i <= ROUND_TRIPS; i++) {
        while (atomic_load_explicit(&ball->there, memory_order_acquire) != i) {
            __builtin_ia32_pause();
        }
        atomic_store_explicit(&ball->back, i, memory_order_release);
    }
    return NULL;
}

double floor_round_trip(void)
{
    static ball_t ball;
    cpu_set_t before;
    pthread_t other;
    ball.there = ball.back = 0;
    (void)pthread_getaffinity_np(pthread_self(), sizeof before, &before);
    if (pthread_create(&other, NULL, give_back, &ball) != 0) {
        return 0;
    }
    bind_to(0);
    double start = bench_now();
    for (int i = 1; i <= ROUND_TRIPS; i++) {
        atomic_store_explicit(&ball.there, i, memory_order_release);
        while (atomic_load_explicit(&ball.back, memory_order_acquire) != i) {
            __builtin_ia32_pause();
        }
    }
    double seconds = bench_now() - start;
    (void)pthread_join(other, NULL);
    (void)pthread_setaffinity_np(pthread_self(), sizeof before, &before);
    return seconds / ROUND_TRIPS * 1e9;
}
