/* SPDX-License-Identifier: Apache-2.0 */
/* split.c - training and validation parts.
 * One shuffle decides: every class gives the first of its samples in shuffled order until it has given
 * enough. The caller's arrays serve as scratch: `train` holds the shuffle, then `validation` a mark per
 * sample; the last scan writes both no faster than it reads the marks. */
#include "core/rng.h"
#include "runtime/data/dataset.h"

#include <math.h>
#include <stdlib.h>

/* How many of `size` samples go to validation. */
static int64_t validation_share(double fraction, int64_t size)
{
    int64_t share = llround(fraction * (double)size);
    if (fraction > 0 && share == 0) {
        share = 1;
    }
    return share < size ? share : size - 1;
}

/* Replaces class sizes by what each class gives. */
static void fill_quotas(const lks_dataset_t *dataset, double fraction, int64_t classes,
                        int64_t *quotas)
{
    for (int64_t i = 0; i < dataset->count; i++) {
        quotas[dataset->label_data ? dataset->label_data[i] : 0]++;
    }
    for (int64_t c = 0; c < classes; c++) {
        quotas[c] = quotas[c] > 0 ? validation_share(fraction, quotas[c]) : 0;
    }
}

static void mark_validation(const lks_dataset_t *dataset, uint64_t seed, int64_t *quotas,
                            int64_t *order, int64_t *marks)
{
    for (int64_t i = 0; i < dataset->count; i++) {
        order[i] = i;
    }
    lks_rng_t rng;
    lks_rng_init(&rng, seed, LKS_STREAM_SPLIT);
    lks_rng_shuffle(&rng, order, dataset->count);
    for (int64_t i = 0; i < dataset->count; i++) {
        int64_t sample = order[i];
        int64_t *quota = &quotas[dataset->label_data ? dataset->label_data[sample] : 0];
        marks[sample] = *quota > 0;
        *quota -= marks[sample];
    }
}

lks_status_t lks_dataset_split(const lks_dataset_t *dataset, double fraction, uint64_t seed,
                               int64_t *train, int64_t *train_count, int64_t *validation,
                               int64_t *validation_count)
{
    if (!(fraction >= 0 && fraction < 1)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "validation fraction %g is not in [0, 1)", fraction);
    }
    int64_t classes = dataset->label_data ? dataset->classes : 1;
    int64_t *quotas = calloc((size_t)classes, sizeof *quotas);
    if (!quotas) {
        return lks_fail(LKS_ERR_NO_MEMORY, "splitting a data set: out of memory");
    }
    fill_quotas(dataset, fraction, classes, quotas);
    mark_validation(dataset, seed, quotas, train, validation);
    free(quotas);
    int64_t trained = 0, validated = 0;
    for (int64_t i = 0; i < dataset->count; i++) {
        if (validation[i]) {
            validation[validated++] = i;
        } else {
            train[trained++] = i;
        }
    }
    *train_count = trained;
    *validation_count = validated;
    return LKS_OK;
}
