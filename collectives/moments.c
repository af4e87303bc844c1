/* SPDX-License-Identifier: Apache-2.0 */
/* moments.c - mean and variance over all ranks.
 * Every rank gets what all have and puts it together for itself, along the tree of the reductions: a sum of squares, which
 * one all_reduce could make, cancels where the mean is large. */
#include "core/checked.h"

#include <lockstep/moments.h>
#include <stdlib.h>
#include <string.h>

static lks_status_t out_of_memory(size_t channels)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "moments of %zu channels: out of memory", channels);
}

/* Of one channel. */
typedef struct moments {
    double count, mean;
    double m2; /* sum of (x - mean)^2 */
} moments_t;

/* Chan's formula. */
static moments_t merge(moments_t a, moments_t b)
{
    double count = a.count + b.count, delta = b.mean - a.mean;
    if (a.count == 0 || b.count == 0) {
        return a.count == 0 ? b : a;
    }
    return (moments_t){.count = count,
                       .mean = a.mean + delta * (b.count / count),
                       .m2 = a.m2 + b.m2 + delta * delta * (a.count * (b.count / count))};
}

/* Neighbours first, then pairs of neighbours; into parts[0]. */
static moments_t merge_all(moments_t *parts, int ranks)
{
    for (int step = 1; step < ranks; step *= 2) {
        for (int i = 0; i + step < ranks; i += 2 * step) {
            parts[i] = merge(parts[i], parts[i + step]);
        }
    }
    return parts[0];
}

/* A rank's record: count, means, variances. */
typedef struct records {
    unsigned char *bytes;
    size_t size; /* of one */
    size_t channels;
    int ranks;
} records_t;

static void write_record(unsigned char *record, size_t channels, int64_t count, const float *mean,
                         const float *var)
{
    memcpy(record, &count, sizeof count);
    if (channels > 0) { /* else they may be NULL */
        memcpy(record + sizeof count, mean, channels * sizeof *mean);
        memcpy(record + sizeof count + channels * sizeof *mean, var, channels * sizeof *var);
    }
}

static moments_t read_record(const records_t *records, int rank, size_t channel)
{
    const unsigned char *record = records->bytes + (size_t)rank * records->size;
    int64_t count;
    float mean, var;
    memcpy(&count, record, sizeof count);
    memcpy(&mean, record + sizeof count + channel * sizeof mean, sizeof mean);
    memcpy(&var, record + sizeof count + (records->channels + channel) * sizeof var, sizeof var);
    return count > 0 ? (moments_t){(double)count, (double)mean, (double)var * (double)count}
                     : (moments_t){0};
}

static int64_t add_counts(const records_t *records)
{
    int64_t all = 0, count;
    for (int rank = 0; rank < records->ranks; rank++) {
        memcpy(&count, records->bytes + (size_t)rank * records->size, sizeof count);
        all += count;
    }
    return all;
}

static void merge_records(const records_t *records, moments_t *parts, float *mean, float *var)
{
    for (size_t channel = 0; channel < records->channels; channel++) {
        for (int rank = 0; rank < records->ranks; rank++) {
            parts[rank] = read_record(records, rank, channel);
        }
        moments_t all = merge_all(parts, records->ranks);
        mean[channel] = (float)all.mean;
        var[channel] = all.count > 0 ? (float)(all.m2 / all.count) : 0;
    }
}

lks_status_t lks_comm_moments(lks_comm_t *comm, size_t channels, int64_t *count, float *mean,
                              float *var)
{
    size_t ranks = (size_t)lks_comm_world_size(comm), size, nbytes;
    if (*count < 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "moments of %lld values", (long long)*count);
    }
    if (!lks_mul_size(channels, 2 * sizeof(float), &size) ||
        !lks_add_size(size, sizeof *count, &size) || !lks_mul_size(size, ranks, &nbytes)) {
        return out_of_memory(channels);
    }
    records_t records = {malloc(nbytes), size, channels, (int)ranks};
    moments_t *parts = calloc(ranks, sizeof *parts);
    if (!records.bytes || !parts) {
        free(records.bytes);
        free(parts);
        return out_of_memory(channels);
    }
    unsigned char *mine = records.bytes + (size_t)lks_comm_rank(comm) * size;
    write_record(mine, channels, *count, mean, var);
    lks_status_t status = lks_comm_all_gather(comm, mine, records.bytes, size, LKS_DTYPE_U8, NULL);
    if (status == LKS_OK) {
        merge_records(&records, parts, mean, var);
        *count = add_counts(&records);
    }
    free(records.bytes);
    free(parts);
    return status;
}

lks_status_t lks_comm_moments_backward(lks_comm_t *comm, size_t channels, float *sum_dy,
                                       float *sum_dy_xmu)
{
    double *sums = calloc(channels ? channels : 1, 2 * sizeof *sums);
    if (!sums) {
        return out_of_memory(channels);
    }
    for (size_t i = 0; i < channels; i++) {
        sums[i] = (double)sum_dy[i];
        sums[channels + i] = (double)sum_dy_xmu[i];
    }
    lks_status_t status =
        lks_comm_all_reduce(comm, sums, sums, 2 * channels, LKS_DTYPE_F64, LKS_REDUCE_SUM, NULL);
    for (size_t i = 0; i < channels && status == LKS_OK; i++) {
        sum_dy[i] = (float)sums[i];
        sum_dy_xmu[i] = (float)sums[channels + i];
    }
    free(sums);
    return status;
}
