/* SPDX-License-Identifier: Apache-2.0 */
/* replica_job.c - one process of a job that goes through the features of replicas, a few steps of each.
 *     replica_job threads RANKS [STEPS]    all ranks are here
 *     replica_job mpi RANKS [STEPS]        so many of those of a job under mpirun
 * Rank 0 says for every feature the digest of what all ranks ended with, which must not depend on where they were. Exit
 * code 1 and a sentence if ranks ended with different numbers. With STEPS it takes so many of every feature instead, and fails
 * if a process has more memory at the end than after a fifth of them. */
#include "collectives/process.h"
#include "core/fnv.h"
#include "runtime/replica_plans.h"

#include <inttypes.h>
#include <lockstep/moments.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS = 6, MOST = 120000, STATS = 3, RARE = 4, STEPS = 6 };

typedef struct shape {
    const char *name;
    int ndim;
    int64_t shape[3], count;
} shape_t;

static const shape_t many[PARAMS] = {
    {"matrix", 2, {40, 30}, 1200}, {"cube", 3, {7, 3, 11}, 231}, {"number", 0, {0}, 1},
    {"stats", 1, {5}, 5},          {"rare", 1, {129}, 129},      {"large", 2, {300, 400}, MOST},
};

/* Of which every rank updates all. */
static const shape_t few[PARAMS] = {
    {"matrix", 2, {6, 5}, 30}, {"cube", 3, {3, 1, 11}, 33}, {"number", 0, {0}, 1},
    {"stats", 1, {5}, 5},      {"rare", 1, {17}, 17},       {"large", 2, {20, 15}, 300},
};

typedef struct model {
    const shape_t *shapes;
    float value[PARAMS][MOST]; /* memory for any dtype */
    lks_replica_param_t params[PARAMS];
} model_t;

/* --- the model ---------------------------------------------------------------------------------- */

static float get(lks_dtype_t dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case LKS_DTYPE_F16: return lks_f16_to_f32(((const uint16_t *)data)[i]);
    case LKS_DTYPE_BF16: return lks_bf16_to_f32(((const uint16_t *)data)[i]);
    default: return ((const float *)data)[i];
    }
}

static void set(lks_dtype_t dtype, void *data, int64_t i, float x)
{
    switch (dtype) {
    case LKS_DTYPE_F16: ((uint16_t *)data)[i] = lks_f32_to_f16(x); break;
    case LKS_DTYPE_BF16: ((uint16_t *)data)[i] = lks_f32_to_bf16(x); break;
    default: ((float *)data)[i] = x; break;
    }
}

/* Between -1 and 1, with all bits of a float: sums of them depend on their order. */
static float mixed(int a, int b, int c, int64_t i)
{
    unsigned word = (unsigned)(a * 7919 + b * 104729 + c * 1299721) + (unsigned)i * 31u;
    word = (word ^ word >> 15) * 2654435761u;
    word = (word ^ word >> 13) * 2246822519u;
    return (float)(word ^ word >> 16) * 0x1p-31f - 1;
}

static model_t *model_create(const plan_t *plan, int rank)
{
    model_t *model = calloc(1, sizeof *model);
    const shape_t *shapes = model->shapes = plan->few ? few : many;
    for (int p = 0; p < PARAMS; p++) {
        lks_dtype_t dtype = p == STATS ? LKS_DTYPE_F32 : plan->dtype;
        model->params[p] =
            (lks_replica_param_t){.name = shapes[p].name,
                                  .kind = p == STATS ? LKS_PARAM_BUFFER : LKS_PARAM_WEIGHT,
                                  .dtype = dtype,
                                  .ndim = shapes[p].ndim,
                                  .shape = shapes[p].shape,
                                  .value = model->value[p]};
        for (int64_t i = 0; i < shapes[p].count; i++) {
            set(dtype, model->value[p], i, mixed(99, rank, p, i));
        }
    }
    return model;
}

/* --- steps -------------------------------------------------------------------------------------- */

/* Who uses the parameter that is not always used: in some steps one rank, in one nobody. */
static bool uses_rare(const plan_t *plan, int step, int rank)
{
    return !plan->options.find_unused || (step % 3 < 2 && rank % 2 == step % 2);
}

static lks_status_t backward(lks_replica_t *replica, const plan_t *plan, model_t *model, int step)
{
    float scale = (float)lks_replica_loss_scale(replica);
    bool bad = step == plan->bad_step && replica->rank == 1;
    for (int p = PARAMS; p-- > 0;) {
        if (p == STATS || (p == RARE && !uses_rare(plan, step, replica->rank))) {
            continue;
        }
        void *grad = lks_replica_grad(replica, (size_t)p);
        for (int64_t i = 0; i < model->shapes[p].count; i++) {
            float x = 0.1f * get(plan->dtype, model->value[p], i);
            set(plan->dtype, grad, i, scale * (x + mixed(step, replica->rank, p, i)));
        }
        if (bad) {
            set(plan->dtype, grad, 0, INFINITY);
        }
        LKS_TRY(lks_replica_grad_ready(replica, (size_t)p));
    }
    return LKS_OK;
}

static lks_status_t update_by_hand(lks_replica_t *replica, const plan_t *plan, model_t *model)
{
    if (plan->own_clip > 0) {
        LKS_TRY(lks_replica_clip_norm(replica, plan->own_clip, NULL));
    }
    for (int p = 0; p < PARAMS; p++) {
        const float *grad = lks_replica_grad(replica, (size_t)p);
        for (int64_t i = 0; i < model->shapes[p].count && p != STATS; i++) {
            model->value[p][i] -= 0.1f * grad[i];
        }
    }
    return LKS_OK;
}

static lks_status_t take_step(lks_replica_t *replica, const plan_t *plan, model_t *model, int step)
{
    bool sync = step % (plan->micro + 1) == plan->micro;
    lks_replica_set_sync(replica, sync);
    LKS_TRY(lks_replica_begin(replica));
    for (int64_t i = 0; i < model->shapes[STATS].count; i++) {
        model->value[STATS][i] =
            0.5f * model->value[STATS][i] + mixed(step, replica->rank, STATS, i);
    }
    LKS_TRY(backward(replica, plan, model, step));
    if (!plan->own_update) {
        return lks_replica_step(replica);
    }
    LKS_TRY(lks_replica_finish(replica));
    return sync ? update_by_hand(replica, plan, model) : LKS_OK;
}

static lks_status_t take_steps(lks_replica_t *replica, const plan_t *plan, model_t *model)
{
    static const int uneven[RANKS_MAX] = {6, 3, 9, 1};
    int inputs = plan->joins ? uneven[replica->rank] : STEPS;
    if (plan->joins) {
        LKS_TRY(lks_replica_join_begin(replica, &plan->join));
    }
    for (int step = 0; step < inputs * (plan->micro + 1); step++) {
        LKS_TRY(take_step(replica, plan, model, step));
    }
    return plan->joins ? lks_replica_join_end(replica) : LKS_OK;
}

/* --- what came out ------------------------------------------------------------------------------ */

typedef struct outcome {
    uint64_t same; /* on every rank: parameters, norm, loss scale */
    uint64_t own;  /* buffers */
} outcome_t;

static outcome_t outcome_of(const lks_replica_t *replica, const model_t *model)
{
    float norm = (float)lks_replica_grad_norm(replica); /* of ranks' parts, added in any order */
    int64_t skipped = lks_replica_skipped_steps(replica);
    double scale = lks_replica_loss_scale(replica);
    outcome_t outcome = {LKS_FNV_START, LKS_FNV_START};
    outcome.same = lks_fnv(outcome.same, &skipped, sizeof skipped);
    outcome.same = lks_fnv(outcome.same, &scale, sizeof scale);
    outcome.same = lks_fnv(outcome.same, &norm, isnan(norm) ? 0 : sizeof norm);
    for (int p = 0; p < PARAMS; p++) {
        size_t nbytes = (size_t)model->shapes[p].count * lks_dtype_size(model->params[p].dtype);
        uint64_t *digest = p == STATS ? &outcome.own : &outcome.same;
        *digest = lks_fnv(*digest, model->value[p], nbytes);
    }
    return outcome;
}

static lks_status_t tell(lks_comm_t *comm, const char *name, outcome_t mine)
{
    outcome_t all[RANKS_MAX];
    int ranks = lks_comm_world_size(comm);
    LKS_TRY(lks_comm_all_gather(comm, &mine, all, sizeof mine, LKS_DTYPE_U8, NULL));
    for (int rank = 1; rank < ranks; rank++) {
        RANK_CHECK(all[rank].same == all[0].same, "%s: ranks 0 and %d differ", name, rank);
    }
    if (lks_comm_rank(comm) == 0) {
        (void)printf("%s %016" PRIx64 "\n", name,
                     lks_fnv(LKS_FNV_START, all, (size_t)ranks * sizeof *all));
    }
    return LKS_OK;
}

static lks_status_t train(lks_comm_t *comm, const plan_t *plan)
{
    lks_replica_t *replica = NULL;
    model_t *model = model_create(plan, lks_comm_rank(comm));
    lks_status_t status;
    LKS_GOTO(lks_replica_create(comm, model->params, PARAMS, &plan->options, &replica), free_all);
    LKS_GOTO(take_steps(replica, plan, model), free_all);
    if (plan->bad_step >= 0 && lks_replica_skipped_steps(replica) == 0) {
        status = lks_fail(LKS_ERR_MISMATCH, "%s: no step was skipped", plan->name);
        goto free_all;
    }
    status = tell(comm, plan->name, outcome_of(replica, model));
free_all:
    lks_replica_destroy(replica);
    free(model);
    return status;
}

/* --- batch normalization's part ----------------------------------------------------------------- */

static lks_status_t moments(lks_comm_t *comm)
{
    enum { CHANNELS = 9 };
    int rank = lks_comm_rank(comm);
    int64_t count = 5 + rank % 3;
    struct {
        float mean[CHANNELS], var[CHANNELS], sum_dy[CHANNELS], sum_dy_xmu[CHANNELS];
    } of;
    for (int c = 0; c < CHANNELS; c++) {
        of.mean[c] = mixed(1, rank, 0, c);
        of.var[c] = 1 + mixed(2, rank, 0, c);
        of.sum_dy[c] = mixed(3, rank, 0, c);
        of.sum_dy_xmu[c] = mixed(4, rank, 0, c);
    }
    LKS_TRY(lks_comm_moments(comm, CHANNELS, &count, of.mean, of.var));
    LKS_TRY(lks_comm_moments_backward(comm, CHANNELS, of.sum_dy, of.sum_dy_xmu));
    uint64_t digest = lks_fnv(LKS_FNV_START, &of, sizeof of);
    return tell(comm, "moments", (outcome_t){lks_fnv(digest, &count, sizeof count), 0});
}

/* --- memory ------------------------------------------------------------------------------------- */

/* KiB; -1: unknown. */
static long read_own_memory(void)
{
    char line[256];
    long kib = -1, own, shared;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        kib = sscanf(line, "RssAnon: %ld", &own) == 1 ? own : kib;
        kib += sscanf(line, "RssShmem: %ld", &shared) == 1 ? shared : 0;
    }
    if (file) {
        (void)fclose(file);
    }
    return kib;
}

/* KiB of this process that are its own or shared with other processes, while none of its ranks goes on. */
static lks_status_t own_memory(lks_comm_t *comm, long *kib)
{
    LKS_TRY(lks_comm_barrier(comm));
    *kib = read_own_memory();
    return lks_comm_barrier(comm);
}

/* Joins come to their end and begin again. */
static lks_status_t go_on(const plan_t *plan, lks_replica_t *replica, model_t *model, int steps)
{
    for (int done = 0; done < steps; done += STEPS * (plan->micro + 1)) {
        LKS_TRY(take_steps(replica, plan, model));
    }
    return LKS_OK;
}

static lks_status_t soak(lks_comm_t *comm, const plan_t *plan, int steps)
{
    enum { ROOM = 256 }; /* KiB: what an allocator keeps at hand */
    long before, after;
    lks_replica_t *replica = NULL;
    model_t *model = model_create(plan, lks_comm_rank(comm));
    lks_status_t status;
    LKS_GOTO(lks_replica_create(comm, model->params, PARAMS, &plan->options, &replica), free_all);
    LKS_GOTO(go_on(plan, replica, model, steps / 5), free_all);
    LKS_GOTO(own_memory(comm, &before), free_all);
    LKS_GOTO(go_on(plan, replica, model, steps - steps / 5), free_all);
    LKS_GOTO(own_memory(comm, &after), free_all);
    if (before < 0 || after > before + ROOM) {
        status = lks_fail(LKS_ERR_MISMATCH, "%s: %ld KiB became %ld", plan->name, before, after);
    } else if (lks_comm_rank(comm) == 0) {
        (void)printf("%s: %ld KiB, then %ld\n", plan->name, before, after);
        (void)fflush(stdout);
    }
free_all:
    lks_replica_destroy(replica);
    free(model);
    return status;
}

/* `context`: steps to soak, 0 to tell what features end with. */
static lks_status_t run_rank(lks_comm_t *comm, void *context)
{
    plan_t plan;
    int steps = *(const int *)context;
    for (size_t i = 0; plan_of(i / 2, &plan); i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s%s", plan.name, i % 2 ? ", few gradients" : "");
        plan.name = name;
        plan.few = i % 2;
        LKS_TRY(steps > 0 ? soak(comm, &plan, steps) : train(comm, &plan));
    }
    return steps > 0 ? LKS_OK : moments(comm);
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[2]) : 0, steps = argc > 3 ? atoi(argv[3]) : 0;
    if (count < 1 || count > RANKS_MAX) {
        (void)fprintf(stderr, "usage: replica_job threads|mpi RANKS [STEPS]\n");
        return 2;
    }
    lks_comm_t *comms[RANKS_MAX];
    lks_comm_config_t config = lks_comm_config_default();
    config.timeout = 60;
    bool threads = strcmp(argv[1], "threads") == 0;
    lks_status_t status = threads ? lks_comm_create_local(count, &config, comms)
                                  : lks_comm_create_mpi(count, &config, comms);
    if (status != LKS_OK) {
        (void)fprintf(stderr, "replica_job: %s\n", lks_last_error()->message);
        return 1;
    }
    return run_process(count, comms, run_rank, &steps);
}
