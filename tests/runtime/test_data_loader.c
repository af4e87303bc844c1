/* SPDX-License-Identifier: Apache-2.0 */
/* test_data_loader.c - batches against a naive gather, resuming, ranks, and stopping at any time. */
#include "runtime/data/dataset.h"
#include "support/support.h"

#include <criterion/parameterized.h>
#include <sched.h>
#include <stdlib.h>

/* A test for narrow samples, whose batches the call gathers, and for wide ones, which have a thread. */
#define BOTH_WAYS(name)                                                                            \
    ParameterizedTestParameters(data_loader, name)                                                 \
    {                                                                                              \
        static int64_t widths[] = {3, 5000};                                                       \
        return cr_make_param_array(int64_t, widths, 2);                                            \
    }                                                                                              \
    ParameterizedTest(int64_t *width, data_loader, name)

/* Sample i has features 10 i, 10 i + 1, ... and label i % 5, or targets i, -i. */
static lks_dataset_t *make_dataset(int64_t count, int64_t width, bool regression)
{
    lks_dataset_t table = {.features = width, .targets = regression ? 2 : 0}, *dataset = NULL;
    assert_ok(lks_dataset_reserve(&table, "test", count));
    for (int64_t i = 0; i < count; i++) {
        for (int64_t j = 0; j < width; j++) {
            table.feature_data[i * width + j] = (float)(10 * i + j);
        }
        if (regression) {
            table.target_data[2 * i] = (float)i;
            table.target_data[2 * i + 1] = (float)-i;
        } else {
            table.label_data[i] = i % 5;
        }
    }
    table.count = count;
    if (!regression) {
        assert_ok(lks_dataset_set_classes(&table, "test", 5, NULL));
    }
    assert_ok(lks_dataset_publish(&table, "test", &dataset));
    return dataset;
}

static lks_sampler_t make_sampler(int64_t count, int64_t batch_size)
{
    lks_sampler_t sampler;
    assert_ok(lks_sampler_init(&sampler, count, batch_size, true, 11));
    return sampler;
}

static lks_loader_t *make_loader(const lks_dataset_t *dataset, const lks_sampler_t *sampler,
                                 int rank, int world, int64_t epoch, int64_t step, int depth)
{
    lks_loader_t *loader = NULL;
    assert_ok(lks_loader_create(dataset, NULL, sampler, rank, world, epoch, step, depth, &loader));
    return loader;
}

/* The batch is the sampler's part of (epoch, step), gathered by hand. */
static void assert_batch(const lks_batch_t *batch, const lks_dataset_t *dataset,
                         const int64_t *subset, lks_sampler_t *sampler, int rank, int world,
                         int64_t epoch, int64_t step)
{
    if (sampler->epoch != epoch) {
        lks_sampler_set_epoch(sampler, epoch);
    }
    lks_batch_part_t part = lks_sampler_part(sampler, step, rank, world);
    cr_assert(batch->epoch == epoch && batch->step == step, "(%lld, %lld), wanted (%lld, %lld)",
              (long long)batch->epoch, (long long)batch->step, (long long)epoch, (long long)step);
    cr_assert(batch->part.count == part.count && batch->part.first == part.first &&
              batch->part.global_count == part.global_count);
    cr_assert(batch->features.ndim == 2 && batch->features.shape[0] == part.count &&
              batch->features.shape[1] == dataset->features);
    cr_assert(batch->features.dtype == LKS_DTYPE_F32);
    cr_assert(lks_tensor_is_contiguous(&batch->features));
    const int64_t width = dataset->features;
    const float *features = lks_tensor_data(&batch->features);
    for (int64_t i = 0; i < part.count; i++) {
        cr_assert_eq(batch->part.indices[i], part.indices[i]);
        int64_t sample = subset ? subset[part.indices[i]] : part.indices[i];
        cr_assert_eq(memcmp(features + i * width, dataset->feature_data + sample * width,
                            (size_t)width * sizeof(float)),
                     0);
        if (dataset->targets) {
            const float *targets = lks_tensor_data(&batch->targets);
            cr_assert(targets[2 * i] == (float)sample && targets[2 * i + 1] == (float)-sample);
        } else {
            cr_assert_eq(((const int64_t *)lks_tensor_data(&batch->labels))[i], sample % 5);
        }
    }
}

/* The loader gives `batches` batches from (epoch, step) on. */
static void assert_batches(lks_loader_t *loader, const lks_dataset_t *dataset,
                           lks_sampler_t *sampler, int rank, int world, int64_t epoch, int64_t step,
                           int batches)
{
    for (int i = 0; i < batches; i++) {
        lks_batch_t batch;
        assert_ok(lks_loader_next(loader, &batch));
        assert_batch(&batch, dataset, NULL, sampler, rank, world, epoch, step);
        if (++step == lks_sampler_steps(sampler)) {
            step = 0;
            epoch++;
        }
    }
}

BOTH_WAYS(gives_every_batch_of_every_epoch)
{
    lks_dataset_t *dataset = make_dataset(23, *width, false);
    for (int depth = 1; depth <= 5; depth++) {
        for (int64_t batch_size = 1; batch_size <= 24; batch_size += 5) {
            lks_sampler_t sampler = make_sampler(23, batch_size);
            lks_loader_t *loader = make_loader(dataset, &sampler, 0, 1, 0, 0, depth);
            assert_batches(loader, dataset, &sampler, 0, 1, 0, 0, 100);
            lks_loader_destroy(loader);
            lks_sampler_fini(&sampler);
        }
    }
    lks_dataset_close(dataset);
}

BOTH_WAYS(regression_gives_targets_and_no_labels)
{
    lks_dataset_t *dataset = make_dataset(10, *width, true);
    lks_sampler_t sampler = make_sampler(10, 4);
    lks_loader_t *loader = make_loader(dataset, &sampler, 0, 1, 0, 0, 2);
    lks_batch_t batch;
    for (int64_t step = 0; step < 3; step++) {
        static const lks_tensor_t none;
        assert_ok(lks_loader_next(loader, &batch));
        assert_batch(&batch, dataset, NULL, &sampler, 0, 1, 0, step);
        cr_assert(batch.targets.shape[0] == batch.part.count && batch.targets.shape[1] == 2);
        cr_assert_eq(memcmp(&batch.labels, &none, sizeof none), 0);
    }
    lks_loader_destroy(loader);
    lks_sampler_fini(&sampler);
    lks_dataset_close(dataset);
}

BOTH_WAYS(resuming_anywhere_continues_the_uninterrupted_run)
{
    lks_dataset_t *dataset = make_dataset(20, *width, false);
    lks_sampler_t sampler = make_sampler(20, 6);
    int64_t steps = lks_sampler_steps(&sampler);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        for (int64_t step = 0; step < steps; step++) {
            lks_loader_t *loader = make_loader(dataset, &sampler, 1, 2, epoch, step, 2);
            assert_batches(loader, dataset, &sampler, 1, 2, epoch, step, 10);
            lks_loader_destroy(loader);
        }
        lks_loader_t *loader = make_loader(dataset, &sampler, 1, 2, epoch, steps, 2);
        assert_batches(loader, dataset, &sampler, 1, 2, epoch + 1, 0, 10);
        lks_loader_destroy(loader);
    }
    lks_sampler_fini(&sampler);
    lks_dataset_close(dataset);
}

BOTH_WAYS(ranks_together_give_each_global_batch_once)
{
    enum { WORLD = 8, COUNT = 21 };
    lks_dataset_t *dataset = make_dataset(COUNT, *width, false);
    lks_sampler_t sampler =
        make_sampler(COUNT, 9); /* 9, 9, 3: the last leaves five ranks nothing */
    lks_loader_t *loaders[WORLD];
    for (int rank = 0; rank < WORLD; rank++) {
        loaders[rank] = make_loader(dataset, &sampler, rank, WORLD, 0, 0, 2);
    }
    for (int64_t epoch = 0; epoch < 4; epoch++) {
        int seen[COUNT] = {0};
        for (int64_t step = 0; step < 3; step++) {
            int64_t global = 0, size = 0;
            for (int rank = 0; rank < WORLD; rank++) {
                lks_batch_t batch;
                assert_ok(lks_loader_next(loaders[rank], &batch));
                assert_batch(&batch, dataset, NULL, &sampler, rank, WORLD, epoch, step);
                cr_assert_eq(batch.part.first, global);
                for (int64_t i = 0; i < batch.part.count; i++) {
                    seen[batch.part.indices[i]]++;
                }
                global += batch.part.count;
                size = batch.part.global_count;
            }
            cr_assert_eq(global, size);
        }
        for (int i = 0; i < COUNT; i++) {
            cr_assert_eq(seen[i], 1);
        }
    }
    for (int rank = 0; rank < WORLD; rank++) {
        lks_loader_destroy(loaders[rank]);
    }
    lks_sampler_fini(&sampler);
    lks_dataset_close(dataset);
}

BOTH_WAYS(a_subset_renames_the_samplers_numbers)
{
    static const int64_t subset[] = {18, 3, 3, 7, 0};
    lks_dataset_t *dataset = make_dataset(19, *width, false);
    lks_sampler_t sampler = make_sampler(5, 2);
    lks_loader_t *loader = NULL;
    assert_ok(lks_loader_create(dataset, subset, &sampler, 0, 1, 0, 0, 2, &loader));
    for (int64_t step = 0; step < 3; step++) {
        lks_batch_t batch;
        assert_ok(lks_loader_next(loader, &batch));
        assert_batch(&batch, dataset, subset, &sampler, 0, 1, 0, step);
    }
    lks_loader_destroy(loader);
    lks_sampler_fini(&sampler);
    lks_dataset_close(dataset);
}

BOTH_WAYS(a_batch_stays_until_the_next_call)
{
    lks_dataset_t *dataset = make_dataset(40, *width, false);
    lks_sampler_t sampler = make_sampler(40, 8);
    lks_loader_t *loader = make_loader(dataset, &sampler, 0, 1, 0, 0, 3);
    for (int64_t i = 0; i < 200; i++) {
        lks_batch_t batch;
        assert_ok(lks_loader_next(loader, &batch));
        for (int pause = 0; pause < 20; pause++) {
            (void)sched_yield(); /* the thread fills whatever is free */
        }
        assert_batch(&batch, dataset, NULL, &sampler, 0, 1, i / 5, i % 5);
    }
    lks_loader_destroy(loader);
    lks_sampler_fini(&sampler);
    lks_dataset_close(dataset);
}

BOTH_WAYS(the_same_few_buffers_serve_every_batch)
{
    enum { DEPTH = 3 };
    lks_dataset_t *dataset = make_dataset(40, *width, false);
    lks_sampler_t sampler = make_sampler(40, 8);
    lks_loader_t *loader = make_loader(dataset, &sampler, 0, 1, 0, 0, DEPTH);
    const void *buffers[DEPTH + 1] = {NULL};
    for (int i = 0; i < 100; i++) {
        lks_batch_t batch;
        assert_ok(lks_loader_next(loader, &batch));
        const void *data = lks_tensor_data(&batch.features);
        if (i <= DEPTH) {
            buffers[i] = data;
        }
        cr_assert_eq(data, buffers[i % (DEPTH + 1)]);
    }
    lks_loader_destroy(loader);
    lks_sampler_fini(&sampler);
    lks_dataset_close(dataset);
}

BOTH_WAYS(can_be_destroyed_at_any_time)
{
    lks_dataset_t *dataset = make_dataset(30, *width, false);
    lks_sampler_t sampler = make_sampler(30, 4);
    for (int i = 0; i < 300; i++) {
        lks_loader_t *loader = make_loader(dataset, &sampler, 0, 1, 0, 0, 1 + i % 4);
        assert_batches(loader, dataset, &sampler, 0, 1, 0, 0, i % 7);
        for (int pause = 0; pause < i % 50; pause++) {
            (void)sched_yield(); /* so that some threads sleep before a full ring by now */
        }
        lks_loader_destroy(loader);
    }
    lks_loader_destroy(NULL);
    lks_sampler_fini(&sampler);
    lks_dataset_close(dataset);
}

Test(data_loader, impossible_requests_are_refused)
{
    static const int64_t negative[] = {0, -1, 2}, beyond[] = {0, 1, 9};
    static const struct {
        const int64_t *subset;
        int64_t samples;
        int rank, world;
        int64_t epoch, step;
        int depth;
        const char *sentence;
    } cases[] = {
        {NULL, 10, 0, 1, 0, 0, 1, "draws from 10 samples, the data set has 9"},
        {negative, 3, 0, 1, 0, 0, 1, "names sample -1, the data set has 9"},
        {beyond, 3, 0, 1, 0, 0, 1, "names sample 9, the data set has 9"},
        {NULL, 9, -1, 1, 0, 0, 1, "rank -1 of 1"},
        {NULL, 9, 2, 2, 0, 0, 1, "rank 2 of 2"},
        {NULL, 9, 0, 0, 0, 0, 1, "rank 0 of 0"},
        {NULL, 9, 0, 1, 0, 0, 0, "depth 0"},
        {NULL, 9, 0, 1, -1, 0, 1, "epoch -1, step 0"},
        {NULL, 9, 0, 1, 0, -1, 1, "epoch 0, step -1"},
        {NULL, 9, 0, 1, 0, 4, 1, "step 4: an epoch has 3 steps"},
    };
    lks_dataset_t *dataset = make_dataset(9, 3, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_sampler_t sampler = make_sampler(cases[i].samples, 3);
        lks_loader_t *loader = NULL;
        assert_fails(lks_loader_create(dataset, cases[i].subset, &sampler, cases[i].rank,
                                       cases[i].world, cases[i].epoch, cases[i].step,
                                       cases[i].depth, &loader),
                     LKS_ERR_INVALID_ARG, cases[i].sentence);
        cr_assert_null(loader);
        lks_sampler_fini(&sampler);
    }
    lks_dataset_close(dataset);
}
