/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c - see stats.h. Mean and variance by Welford's update, chunk by chunk, which loses nothing when all elements
 * are large and near each other (Chan, Golub, LeVeque: Updating formulae, 1979). */
#include "runtime/cli/stats.h"

#include <math.h>

typedef struct moments {
    double count, mean, squares; /* squares: of the distances from the mean, summed */
} moments_t;

static void merge(moments_t *all, const moments_t *chunk)
{
    double count = all->count + chunk->count, distance = chunk->mean - all->mean;
    if (chunk->count == 0.0) {
        return;
    }
    all->squares += chunk->squares + distance * distance * all->count * chunk->count / count;
    all->mean += distance * chunk->count / count;
    all->count = count;
}

static void count_odd(double value, stats_t *stats)
{
    stats->nans += isnan(value) != 0;
    stats->infinities += isinf(value) != 0;
    stats->zeros += value == 0.0;
}

static moments_t add_chunk(const double *values, int64_t count, stats_t *stats)
{
    moments_t chunk = {0};
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        count_odd(values[i], stats);
        if (isfinite(values[i])) {
            sum += values[i];
            chunk.count += 1.0;
            stats->min = fmin(stats->min, values[i]);
            stats->max = fmax(stats->max, values[i]);
        }
    }
    chunk.mean = chunk.count > 0.0 ? sum / chunk.count : 0.0;
    for (int64_t i = 0; i < count; i++) {
        double distance = isfinite(values[i]) ? values[i] - chunk.mean : 0.0;
        chunk.squares += distance * distance;
    }
    return chunk;
}

lks_status_t stats_of(const elements_t *elements, stats_t *out)
{
    if (!elements_are_numbers(elements)) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "%s elements are no numbers to compare",
                        lks_dtype_name(elements->dtype));
    }
    stats_t stats = {.min = NAN, .max = NAN};
    moments_t all = {0};
    double values[ELEMENTS_CHUNK];
    for (int64_t done = 0; done < elements->count; done += ELEMENTS_CHUNK) {
        int64_t left = elements->count - done;
        int64_t count = left < ELEMENTS_CHUNK ? left : ELEMENTS_CHUNK;
        LKS_TRY(elements_numbers(elements, done, count, values));
        const moments_t chunk = add_chunk(values, count, &stats);
        merge(&all, &chunk);
    }
    stats.mean = all.count > 0.0 ? all.mean : NAN;
    stats.std = all.count > 0.0 ? sqrt(all.squares / all.count) : NAN;
    *out = stats;
    return LKS_OK;
}
