/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernels_exec.c - an exec's scratch, threads and division of work. */
#include "runtime/kernels/exec_team.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdint.h>

static lks_exec_t *new_exec(size_t threads)
{
    lks_exec_config_t config = lks_exec_config_default();
    config.threads = threads;
    lks_exec_t *exec;
    assert_ok(lks_exec_create(lks_device_host(), &config, &exec));
    return exec;
}

Test(kernels_exec, threads_default_to_the_cores_of_the_device)
{
    lks_exec_t *exec;
    assert_ok(lks_exec_create(lks_device_host(), NULL, &exec));
    cr_assert(lks_exec_threads(exec) == lks_device_core_count(lks_device_host()));
    cr_assert(lks_exec_device(exec) == lks_device_host());
    cr_assert(!lks_exec_is_training(exec));
    lks_exec_set_training(exec, true);
    cr_assert(lks_exec_is_training(exec));
    lks_exec_destroy(exec);
    lks_exec_destroy(NULL);
}

Test(kernels_exec, scratch_is_aligned_separate_and_reused_after_reset)
{
    lks_exec_t *exec = new_exec(1);
    uint64_t generation = lks_exec_generation(exec);
    void *first_address = NULL;
    for (int step = 0; step < 4; step++) {
        lks_tensor_t a, b;
        assert_ok(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, (int64_t[]){3, 5}, &a));
        assert_ok(lks_exec_scratch(exec, LKS_DTYPE_F64, 1, (int64_t[]){100000}, &b));
        cr_assert((uintptr_t)lks_tensor_data(&a) % 64 == 0);
        cr_assert((uintptr_t)lks_tensor_data(&b) % 64 == 0);
        memset(lks_tensor_data(&a), 1, lks_tensor_nbytes(&a));
        memset(lks_tensor_data(&b), 2, lks_tensor_nbytes(&b));
        cr_assert(((unsigned char *)lks_tensor_data(&a))[59] == 1);
        if (step == 1) { /* the first step's blocks have become one */
            first_address = lks_tensor_data(&a);
        }
        cr_assert(step < 2 || lks_tensor_data(&a) == first_address);
        lks_exec_reset(exec);
    }
    cr_assert(lks_exec_generation(exec) == generation + 4);
    lks_exec_destroy(exec);
}

Test(kernels_exec, scratch_of_no_elements_and_of_absurd_sizes)
{
    lks_exec_t *exec = new_exec(1);
    lks_tensor_t tensor;
    assert_ok(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, (int64_t[]){0, 4}, &tensor));
    cr_assert(lks_tensor_data(&tensor) && lks_tensor_numel(&tensor) == 0);
    assert_fails(lks_exec_scratch(exec, LKS_DTYPE_F32, 1, (int64_t[]){INT64_MAX}, &tensor),
                 LKS_ERR_INVALID_ARG, "too large");
    assert_fails(lks_exec_scratch(exec, LKS_DTYPE_F32, 1, (int64_t[]){-1}, &tensor),
                 LKS_ERR_INVALID_ARG, "negative");
    lks_exec_destroy(exec);
}

Test(kernels_exec, workspace_grows_and_is_kept)
{
    lks_exec_t *exec = new_exec(1);
    void *small, *large, *again;
    assert_ok(lks_exec_workspace(exec, 100, &small));
    assert_ok(lks_exec_workspace(exec, 1 << 20, &large));
    assert_ok(lks_exec_workspace(exec, 50, &again));
    cr_assert(again == large && (uintptr_t)large % 64 == 0);
    lks_exec_destroy(exec);
}

typedef struct tally {
    _Atomic size_t runs, indices, threads;
} tally_t;

static void count_run(void *context, size_t index, size_t threads)
{
    tally_t *tally = context;
    atomic_fetch_add(&tally->runs, 1);
    atomic_fetch_add(&tally->indices, index);
    atomic_store(&tally->threads, threads);
}

Test(kernels_exec, large_jobs_use_every_thread_and_small_ones_only_the_caller)
{
    lks_exec_t *exec = new_exec(3);
    tally_t tally = {0};
    lks_exec_run(exec, SIZE_MAX, count_run, &tally);
    cr_assert(tally.runs == 3 && tally.indices == 3 && tally.threads == 3);
    tally = (tally_t){0};
    lks_exec_run(exec, 10, count_run, &tally);
    cr_assert(tally.runs == 1 && tally.indices == 0 && tally.threads == 1);
    lks_exec_destroy(exec);
}

Test(kernels_exec, parts_cover_everything_once_in_whole_grains)
{
    for (size_t count = 0; count < 70; count++) {
        for (size_t parts = 1; parts < 6; parts++) {
            size_t at = 0, most = 0, least = SIZE_MAX;
            for (size_t i = 0; i < parts; i++) {
                lks_part_t part = lks_exec_part(count, 16, i, parts);
                cr_assert(part.begin == at && part.end >= at, "count %zu part %zu", count, i);
                cr_assert(part.begin % 16 == 0 || part.begin == count);
                size_t grains = (part.end - part.begin + 15) / 16;
                most = grains > most ? grains : most;
                least = grains < least ? grains : least;
                at = part.end;
            }
            cr_assert(at == count && most - least <= 1);
        }
    }
}
