/* SPDX-License-Identifier: Apache-2.0 */
/* power_sgd.c - a bucket's gradients as products of two thin matrices.
 * P and Q are kept transposed, (rank, rows) and (rank, columns), so that every loop runs along rows of something. The
 * summed P is the same on all ranks, and so is all that follows from it. */
#include "runtime/replica/power_sgd.h"
#include "core/rng.h"
#include "runtime/kernels/exec_team.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct lks_power_sgd {
    lks_power_sgd_config_t config;
    lks_exec_t *exec;
    int64_t steps;
    lks_power_sgd_param_t *params; /* (count) */
    size_t count;
    float *errors, *qs; /* what the params' point to */
    /* Scratch of a bucket. */
    float *plain;  /* gradients that are not compressed, one behind the other */
    float *p, *q;  /* of those that are */
    double *basis; /* (rank, rows or columns) */
};

lks_power_sgd_config_t lks_power_sgd_config_default(void)
{
    return (lks_power_sgd_config_t){.matrix_approximation_rank = 1,
                                    .start_iter = 1000,
                                    .min_compression_rate = 2,
                                    .use_error_feedback = true,
                                    .warm_start = true};
}

lks_status_t lks_power_sgd_check(const lks_power_sgd_config_t *config)
{
    if (config->matrix_approximation_rank < 1) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "PowerSGD: a matrix_approximation_rank of %d; it must be at least 1",
                        config->matrix_approximation_rank);
    }
    if (config->start_iter < 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "PowerSGD: a start_iter of %lld is before all steps",
                        (long long)config->start_iter);
    }
    if (!(config->min_compression_rate > 0) || !isfinite(config->min_compression_rate)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "PowerSGD: a min_compression_rate of %g; it must be positive",
                        config->min_compression_rate);
    }
    if (!(config->orthogonalization_epsilon >= 0) || !isfinite(config->orthogonalization_epsilon)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "PowerSGD: an orthogonalization_epsilon of %g; it must be at least 0",
                        config->orthogonalization_epsilon);
    }
    return LKS_OK;
}

/* --- life --------------------------------------------------------------------------------------- */

/* Elements of each block. */
typedef struct sizes {
    size_t errors, qs, plain, p, basis;
} sizes_t;

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static lks_power_sgd_param_t describe(const lks_power_sgd_config_t *config,
                                      const lks_power_sgd_shape_t *shape, sizes_t *sizes)
{
    size_t count = 1;
    for (int i = 0; i < shape->ndim; i++) {
        count *= (size_t)shape->shape[i]; /* of a gradient that has memory */
    }
    if (!shape->float32 || shape->ndim == 0 || count == 0) {
        sizes->plain += shape->float32 ? count : 0;
        return (lks_power_sgd_param_t){0};
    }
    lks_power_sgd_param_t param = {.rows = (size_t)shape->shape[0],
                                   .columns = count / (size_t)shape->shape[0]};
    size_t rank =
        least((size_t)config->matrix_approximation_rank, least(param.rows, param.columns));
    double compressed = (double)(param.rows + param.columns) * (double)rank;
    if (compressed * config->min_compression_rate < (double)count) {
        param.rank = rank;
        sizes->errors += config->use_error_feedback ? count : 0;
        sizes->qs += (rank * param.columns + 3) / 4 * 4; /* each begins a block of random numbers */
        sizes->p += rank * param.rows;
        size_t longer = param.rows > param.columns ? param.rows : param.columns;
        sizes->basis = rank * longer > sizes->basis ? rank * longer : sizes->basis;
    } else {
        sizes->plain += count;
    }
    return param;
}

static void point(lks_power_sgd_t *power_sgd)
{
    float *error = power_sgd->errors, *q = power_sgd->qs;
    for (size_t i = 0; i < power_sgd->count; i++) {
        lks_power_sgd_param_t *param = &power_sgd->params[i];
        if (param->rank > 0) {
            param->q = q;
            q += (param->rank * param->columns + 3) / 4 * 4;
            if (power_sgd->config.use_error_feedback) {
                param->error = error;
                error += param->rows * param->columns;
            }
        }
    }
}

lks_status_t lks_power_sgd_create(const lks_power_sgd_config_t *config,
                                  const lks_power_sgd_shape_t *params, size_t count,
                                  lks_exec_t *exec, lks_power_sgd_t **out)
{
    sizes_t sizes = {0};
    lks_power_sgd_t *made = calloc(1, sizeof *made);
    if (!made || !(made->params = calloc(count + 1, sizeof *made->params))) {
        free(made);
        return lks_fail(LKS_ERR_NO_MEMORY, "PowerSGD: out of memory");
    }
    made->config = *config;
    made->exec = exec;
    made->count = count;
    for (size_t i = 0; i < count; i++) {
        made->params[i] = describe(config, &params[i], &sizes);
    }
    made->errors = calloc(sizes.errors + 1, sizeof(float));
    made->qs = calloc(sizes.qs + 1, sizeof(float));
    made->plain = calloc(sizes.plain + 1, sizeof(float));
    made->p = calloc(sizes.p + 1, sizeof(float));
    made->q = calloc(sizes.qs + 1, sizeof(float));
    made->basis = calloc(sizes.basis + 1, sizeof(double));
    if (!made->errors || !made->qs || !made->plain || !made->p || !made->q || !made->basis) {
        lks_power_sgd_destroy(made);
        return lks_fail(LKS_ERR_NO_MEMORY, "PowerSGD: out of memory");
    }
    point(made);
    *out = made;
    return LKS_OK;
}

void lks_power_sgd_destroy(lks_power_sgd_t *power_sgd)
{
    if (power_sgd) {
        free(power_sgd->params);
        free(power_sgd->errors);
        free(power_sgd->qs);
        free(power_sgd->plain);
        free(power_sgd->p);
        free(power_sgd->q);
        free(power_sgd->basis);
        free(power_sgd);
    }
}

lks_power_sgd_param_t lks_power_sgd_param(const lks_power_sgd_t *power_sgd, size_t param)
{
    return param < power_sgd->count ? power_sgd->params[param] : (lks_power_sgd_param_t){0};
}

int64_t lks_power_sgd_steps(const lks_power_sgd_t *power_sgd)
{
    return power_sgd->steps;
}

void lks_power_sgd_set_steps(lks_power_sgd_t *power_sgd, int64_t steps)
{
    power_sgd->steps = steps;
}

/* --- products ----------------------------------------------------------------------------------- */

/* A gradient that is compressed, and its P and Q. */
typedef struct factors {
    size_t rows, columns, rank;
    float *m; /* (rows, columns) */
    float *p; /* (rank, rows) */
    float *q; /* (rank, columns) */
} factors_t;

enum { LANES = 16, GRAIN = 16 };

/* Independent sums, so that the compiler may use vectors. */
static float dot(const float *a, const float *b, size_t count)
{
    float sums[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            sums[k] += a[i + k] * b[i + k];
        }
    }
    for (; i < count; i++) {
        sum += a[i] * b[i];
    }
    for (size_t k = 0; k < LANES; k++) {
        sum += sums[k];
    }
    return sum;
}

/* to += factor x from */
static void add_scaled(float *to, float factor, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to[i] += factor * from[i];
    }
}

/* P = M Q, some rows of it. */
static void find_p(void *context, size_t index, size_t threads)
{
    const factors_t *of = context;
    lks_part_t part = lks_exec_part(of->rows, GRAIN, index, threads);
    for (size_t i = part.begin; i < part.end; i++) {
        for (size_t k = 0; k < of->rank; k++) {
            of->p[k * of->rows + i] =
                dot(of->m + i * of->columns, of->q + k * of->columns, of->columns);
        }
    }
}

/* Q = M^T P, some rows of it. */
static void find_q(void *context, size_t index, size_t threads)
{
    const factors_t *of = context;
    lks_part_t part = lks_exec_part(of->columns, GRAIN, index, threads);
    size_t count = part.end - part.begin;
    for (size_t k = 0; k < of->rank; k++) {
        memset(of->q + k * of->columns + part.begin, 0, count * sizeof *of->q);
    }
    for (size_t i = 0; i < of->rows && count > 0; i++) {
        for (size_t k = 0; k < of->rank; k++) {
            add_scaled(of->q + k * of->columns + part.begin, of->p[k * of->rows + i],
                       of->m + i * of->columns + part.begin, count);
        }
    }
}

/* M = P Q^T, some rows of it. */
static void multiply(void *context, size_t index, size_t threads)
{
    const factors_t *of = context;
    lks_part_t part = lks_exec_part(of->rows, GRAIN, index, threads);
    for (size_t i = part.begin; i < part.end; i++) {
        float *row = of->m + i * of->columns;
        memset(row, 0, of->columns * sizeof *row);
        for (size_t k = 0; k < of->rank; k++) {
            add_scaled(row, of->p[k * of->rows + i], of->q + k * of->columns, of->columns);
        }
    }
}

static void spread(const lks_power_sgd_t *power_sgd, factors_t *factors,
                   void (*run)(void *context, size_t index, size_t threads))
{
    if (power_sgd->exec) {
        lks_exec_run(power_sgd->exec, 2 * factors->rank * factors->rows * factors->columns, run,
                     factors);
    } else {
        run(factors, 0, 1);
    }
}

/* --- orthonormal vectors ------------------------------------------------------------------------ */

static double dot_f64(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Modified Gram-Schmidt over the rows of `vectors` (rank, count). In float64 and, without an epsilon, twice: what a nearly
 * dependent vector has left is orthogonal to the others, too, and so P Q^T counts nothing twice. */
static void orthogonalize(const lks_power_sgd_t *power_sgd, float *vectors, size_t rank,
                          size_t count)
{
    double epsilon = rank <= 2 ? power_sgd->config.orthogonalization_epsilon : 0;
    for (size_t k = 0; k < rank; k++) {
        double *own = power_sgd->basis + k * count;
        for (size_t i = 0; i < count; i++) {
            own[i] = (double)vectors[k * count + i];
        }
        for (size_t n = 0; n < (epsilon > 0 ? k : 2 * k); n++) {
            const double *other = power_sgd->basis + n % k * count;
            double along = dot_f64(own, other, count);
            for (size_t i = 0; i < count; i++) {
                own[i] -= along * other[i];
            }
        }
        double norm = sqrt(dot_f64(own, own, count)) + epsilon;
        for (size_t i = 0; i < count; i++) {
            own[i] = norm != 0 ? own[i] / norm : 0;
            vectors[k * count + i] = (float)own[i];
        }
    }
}

/* --- random Q ----------------------------------------------------------------------------------- */

/* Standard normal numbers, by Box and Muller; those of a step are one sequence, in which `first` is a multiple of 4. */
static void draw_normals(uint64_t seed, int64_t step, size_t first, size_t count, float *out)
{
    const double turn = 6.283185307179586;
    lks_rng_t rng;
    lks_rng_init(&rng, seed, LKS_STREAM_POWER_SGD | (uint64_t)step << 32);
    rng.block = first / 4;
    for (size_t i = 0; i < count; i += 2) {
        double u = ((double)lks_rng_u32(&rng) + 1) * 0x1p-32;
        double angle = turn * ((double)lks_rng_u32(&rng) * 0x1p-32), length = sqrt(-2 * log(u));
        out[i] = (float)(length * cos(angle));
        if (i + 1 < count) {
            out[i + 1] = (float)(length * sin(angle));
        }
    }
}

/* The q that a step begins with, into the parameter's. */
static void begin_q(const lks_power_sgd_t *power_sgd, size_t index)
{
    const lks_power_sgd_config_t *config = &power_sgd->config;
    const lks_power_sgd_param_t *param = &power_sgd->params[index];
    if (!config->warm_start || power_sgd->steps <= config->start_iter) {
        if (config->draw) {
            config->draw(config->context, power_sgd->steps, index, param->rank, param->columns,
                         param->q);
        } else {
            draw_normals(config->seed, power_sgd->steps, (size_t)(param->q - power_sgd->qs),
                         param->rank * param->columns, param->q);
        }
    }
    orthogonalize(power_sgd, param->q, param->rank, param->columns);
}

/* --- a bucket ----------------------------------------------------------------------------------- */

/* A walk over the parameters of a bucket and their places in the scratch. */
typedef struct place {
    const lks_power_sgd_t *power_sgd;
    const lks_grad_bucket_t *bucket;
    const lks_power_sgd_param_t *param;
    float *grad;
    size_t index, count; /* of the parameter; of its gradient's elements */
    size_t plain, p, q;  /* where it begins; at the end: how many there are */
    size_t next;         /* parameter of the bucket */
} place_t;

static place_t places(const lks_power_sgd_t *power_sgd, const lks_grad_bucket_t *bucket)
{
    return (place_t){.power_sgd = power_sgd, .bucket = bucket};
}

static bool next(place_t *place)
{
    if (place->param) {
        place->plain += place->param->rank > 0 ? 0 : place->count;
        place->p += place->param->rank * place->param->rows;
        place->q += place->param->rank * place->param->columns;
    }
    if (place->next == place->bucket->param_count) {
        return false;
    }
    const lks_grad_bucket_param_t *param = &place->bucket->params[place->next++];
    place->index = param->param;
    place->count = param->count;
    place->param = &place->power_sgd->params[param->param];
    place->grad = (float *)place->bucket->data + param->first;
    return true;
}

static factors_t factors_of(const place_t *place)
{
    return (factors_t){.rows = place->param->rows,
                       .columns = place->param->columns,
                       .rank = place->param->rank,
                       .m = place->grad,
                       .p = place->power_sgd->p + place->p,
                       .q = place->power_sgd->q + place->q};
}

/* With error feedback the error becomes M, for its difference to what comes out. */
static void add_error(const place_t *place)
{
    float *error = place->param->error;
    for (size_t i = 0; i < place->count && error; i++) {
        error[i] += place->grad[i];
        place->grad[i] = error[i];
    }
}

/* Over all ranks, errors and divisor x gradient add up to the sum of what went in. */
static void keep_error(const place_t *place, float share)
{
    float *error = place->param->error;
    for (size_t i = 0; i < place->count && error; i++) {
        error[i] -= share * place->grad[i];
    }
}

/* P of what is compressed, and the rest in one piece. Returns where all ends. */
static place_t take_apart(const lks_power_sgd_t *power_sgd, const lks_grad_bucket_t *bucket)
{
    place_t place = places(power_sgd, bucket);
    while (next(&place)) {
        if (place.param->rank == 0) {
            memcpy(power_sgd->plain + place.plain, place.grad, place.count * sizeof(float));
            continue;
        }
        factors_t factors = factors_of(&place);
        add_error(&place);
        begin_q(power_sgd, place.index);
        memcpy(factors.q, place.param->q, factors.rank * factors.columns * sizeof(float));
        spread(power_sgd, &factors, find_p);
    }
    return place;
}

static void make_qs(const lks_power_sgd_t *power_sgd, const lks_grad_bucket_t *bucket)
{
    place_t place = places(power_sgd, bucket);
    while (next(&place)) {
        factors_t factors = factors_of(&place);
        orthogonalize(power_sgd, factors.p, factors.rank, factors.rows);
        if (factors.rank > 0) {
            spread(power_sgd, &factors, find_q);
        }
    }
}

static void put_together(const lks_power_sgd_t *power_sgd, const lks_grad_bucket_t *bucket,
                         float share)
{
    place_t place = places(power_sgd, bucket);
    while (next(&place)) {
        if (place.param->rank == 0) {
            memcpy(place.grad, power_sgd->plain + place.plain, place.count * sizeof(float));
            continue;
        }
        factors_t factors = factors_of(&place);
        spread(power_sgd, &factors, multiply);
        memcpy(place.param->q, factors.q, factors.rank * factors.columns * sizeof(float));
        keep_error(&place, share);
    }
}

/* Sums `count` numbers over the ranks and divides them. */
static lks_status_t reduce(lks_comm_t *comm, float *numbers, size_t count, int divisor)
{
    const lks_grad_bucket_t all = {
        .dtype = LKS_DTYPE_F32, .count = count, .data = numbers, .divisor = divisor};
    return count > 0 ? lks_comm_hook_all_reduce(NULL, comm, &all) : LKS_OK;
}

static lks_status_t compress(const lks_power_sgd_t *power_sgd, lks_comm_t *comm,
                             const lks_grad_bucket_t *bucket)
{
    place_t end = take_apart(power_sgd, bucket);
    LKS_TRY(reduce(comm, power_sgd->plain, end.plain, bucket->divisor));
    LKS_TRY(reduce(comm, power_sgd->p, end.p, 1));
    make_qs(power_sgd, bucket);
    LKS_TRY(reduce(comm, power_sgd->q, end.q, bucket->divisor));
    put_together(power_sgd, bucket, (float)bucket->divisor / (float)lks_comm_world_size(comm));
    return LKS_OK;
}

lks_status_t lks_power_sgd_run(void *context, lks_comm_t *comm, const lks_grad_bucket_t *bucket)
{
    lks_power_sgd_t *power_sgd = context;
    bool compressed =
        bucket->dtype == LKS_DTYPE_F32 && power_sgd->steps >= power_sgd->config.start_iter;
    LKS_TRY(compressed ? compress(power_sgd, comm, bucket)
                       : lks_comm_hook_all_reduce(NULL, comm, bucket));
    power_sgd->steps += bucket->is_last;
    return LKS_OK;
}
