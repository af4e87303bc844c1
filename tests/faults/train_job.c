/* SPDX-License-Identifier: Apache-2.0 */
/* train_job.c - a small model that trains for ever and is saved every few steps, until a fault strikes:
 *     fault_train THREADS FAULT SEED FOLDER TIMEOUT    alone or under mpirun, with THREADS replicas in each process
 *     fault_train check FILE RANKS                     whether FILE holds RANKS ranks' weights of the step that it says
 * The seed decides who is struck, in which step, where in it, and how the job saves. FOLDER gets last.pt; a line in
 * `saves` when it is whole; and a line in `fault`, just before it strikes: when, on which rank, where.
 * Exit code 1 and a sentence if the job ended, as it must. */
#include "tests/faults/faulty_calls.h"

#include <fcntl.h>
#include <lockstep/lockstep.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PARAMS = 4, RANKS_MAX = 8, SAVE_EVERY = 3, EVALUATE_EVERY = 4, EVALUATED = 5000 };

#ifdef FAULT_SMALL /* for slow builds */
static const int64_t sizes[PARAMS] = {50, 300, 2000, 500};
#else
static const int64_t sizes[PARAMS] = {50, 3000, 200000, 50000};
#endif
static const double rate = 0.1, first_value = -1;

typedef enum { FAIL, STALL, KILL, STOP, COUNT, FAULTS } fault_t;
static const char *const fault_names[FAULTS] = {"fail", "stall", "kill", "stop", "count"};

typedef enum {
    FORWARD,
    BACKWARD,
    BEFORE_STEP,
    AFTER_STEP,
    IN_HOOK,
    IN_SAVE,
    ANYWHERE,
    PLACES
} place_t;
static const char *const place_names[PLACES] = {
    "in forward",           "in backward",  "before the optimizer", "after the step",
    "in a hook's callback", "while saving", "by another thread"};

typedef struct job {
    fault_t fault;
    place_t place;
    int victim, step;
    int detail; /* backward: gradients reported before; save: calls before; count: the collective */
    int delay;  /* of another thread, microseconds */
    bool saves_async;
    const char *folder;
} job_t;

static job_t job;

/* --- the plan ----------------------------------------------------------------------------------- */

/* splitmix64 */
static unsigned draw(uint64_t *state, unsigned below)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ (z >> 31)) >> 32) % below;
}

static place_t draw_place(uint64_t *state, fault_t fault)
{
    switch (fault) {
    case KILL:
    case STOP: return (place_t)draw(state, PLACES);
    case COUNT: return (place_t)draw(state, 2) ? AFTER_STEP : BACKWARD;
    default: return (place_t)draw(state, ANYWHERE);
    }
}

static void make_plan(uint64_t seed, int world_size)
{
    job.place = draw_place(&seed, job.fault);
    job.victim = job.place == IN_SAVE ? 0 : (int)draw(&seed, (unsigned)world_size);
    job.step = 1 + (int)draw(&seed, 60);
    job.detail = (int)draw(&seed, job.place == BACKWARD ? PARAMS : job.place == IN_SAVE ? 12 : 5);
    job.delay = (int)draw(&seed, 5000);
    job.saves_async = draw(&seed, 2) && job.fault != STALL; /* whose process waits for its saves */
}

/* --- the fault ---------------------------------------------------------------------------------- */

static void write_line(const char *name, const char *line)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", job.folder, name);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || write(file, line, strlen(line)) < 0) {
        perror(path);
    }
    (void)close(file);
}

static void stamp(void)
{
    char line[256];
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(line, sizeof line, "%lld.%09ld %d %s, step %d, detail %d\n",
                   (long long)now.tv_sec, now.tv_nsec, job.victim, place_names[job.place], job.step,
                   job.detail);
    write_line("fault", line);
}

static lks_status_t strike(void)
{
    stamp();
    switch (job.fault) {
    case KILL: (void)kill(getpid(), SIGKILL); break;
    case STOP: (void)kill(getpid(), SIGSTOP); break;
    case STALL: break;
    default: return lks_fail(LKS_ERR_IO, "a planned failure");
    }
    for (;;) { /* of a stopped process any thread may be the first to stop */
        (void)pause();
    }
}

static lks_status_t strike_at(const lks_replica_t *replica, int step, place_t place, int detail)
{
    bool now = replica->rank == job.victim && step == job.step && place == job.place &&
               (place != BACKWARD || detail == job.detail) && job.fault != COUNT;
    return now ? strike() : LKS_OK;
}

static void *strike_later(void *context)
{
    (void)context;
    (void)usleep((useconds_t)job.delay);
    (void)strike();
    return NULL;
}

static const char *const faulty_kinds[FAULTS] = {
    [FAIL] = "5" /* EIO */, [STALL] = "stall", [KILL] = "before", [STOP] = "stop"};

/* Faults that do not come from the rank's own thread, or not from this file. */
static void prepare_strike(const lks_replica_t *replica, int step)
{
    pthread_t thread;
    if (replica->rank != job.victim || step != job.step) {
        return;
    }
    if (job.place == ANYWHERE) {
        (void)pthread_create(&thread, NULL, strike_later, NULL);
    } else if (job.place == IN_SAVE) {
        faulty_calls_arm(1 + job.detail, faulty_kinds[job.fault], stamp);
    }
}

/* --- the model ---------------------------------------------------------------------------------- */

typedef struct model {
    float *values[PARAMS];
    int step; /* of the hook */
} model_t;

static model_t models[RANKS_MAX];
static char names[PARAMS][16];

static void make_model(model_t *model, lks_replica_param_t params[PARAMS])
{
    for (int p = 0; p < PARAMS; p++) {
        model->values[p] = calloc((size_t)sizes[p], sizeof(float));
        for (int64_t i = 0; i < sizes[p]; i++) {
            model->values[p][i] = (float)first_value;
        }
        params[p] = (lks_replica_param_t){names[p], LKS_PARAM_WEIGHT, LKS_DTYPE_F32,
                                          1,        &sizes[p],        model->values[p]};
    }
}

/* Each rank wants every weight of parameter p to be p + rank: the loss is half the square of the difference. */
static double wanted(int p, int rank)
{
    return p + rank;
}

/* What gradient descent has reached after some steps. */
static double value_after(int p, int64_t steps, int world_size)
{
    double mean = (wanted(p, 0) + wanted(p, world_size - 1)) / 2;
    return mean + pow(1 - rate, (double)steps) * (first_value - mean);
}

/* A fault of counts in backward is a collective that nobody else calls. */
static bool strays(const lks_replica_t *replica, int step, int reported)
{
    bool now = job.fault == COUNT && job.place == BACKWARD && replica->rank == job.victim &&
               step == job.step && reported == job.detail;
    if (now) {
        stamp();
    }
    return now;
}

static lks_status_t backward(model_t *model, lks_replica_t *replica, int step)
{
    for (int p = PARAMS - 1; p >= 0; p--) {
        float *grad = lks_replica_grad(replica, (size_t)p), stray[3] = {0};
        LKS_TRY(strike_at(replica, step, BACKWARD, PARAMS - 1 - p));
        if (strays(replica, step, PARAMS - 1 - p)) {
            LKS_TRY(lks_comm_all_reduce(replica->comm, stray, stray, 3, LKS_DTYPE_F32,
                                        LKS_REDUCE_SUM, NULL));
        }
        for (int64_t i = 0; i < sizes[p]; i++) {
            grad[i] = model->values[p][i] - (float)wanted(p, replica->rank);
        }
        LKS_TRY(lks_replica_grad_ready(replica, (size_t)p));
    }
    return LKS_OK;
}

static lks_status_t hook(void *context, lks_comm_t *comm, const lks_grad_bucket_t *bucket)
{
    int rank = lks_comm_rank(comm);
    (void)context;
    const lks_replica_t replica = {.rank = rank};
    LKS_TRY(strike_at(&replica, models[rank].step, IN_HOOK, 0));
    return lks_comm_hook_all_reduce(NULL, comm, bucket);
}

/* --- the collectives of an evaluation ----------------------------------------------------------- */

/* The victim's count is another. */
static size_t count_of(const lks_replica_t *replica, int step, int collective, size_t count)
{
    bool differs = job.fault == COUNT && job.place == AFTER_STEP && replica->rank == job.victim &&
                   step >= job.step && collective == job.detail;
    if (differs) {
        stamp();
    }
    return count + differs;
}

static lks_status_t evaluate(lks_replica_t *replica, int step)
{
    static float numbers[RANKS_MAX][(EVALUATED + 1) * RANKS_MAX],
        more[RANKS_MAX][(EVALUATED + 1) * RANKS_MAX];
    float *x = numbers[replica->rank], *y = more[replica->rank];
    lks_comm_t *comm = replica->comm;
    size_t n[5];
    for (int i = 0; i < 5; i++) {
        n[i] = count_of(replica, step, i, i == 0 ? 2 : EVALUATED);
    }
    LKS_TRY(lks_comm_all_reduce(comm, x, x, n[0], LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL));
    LKS_TRY(lks_comm_all_reduce(comm, x, x, n[1], LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL));
    LKS_TRY(lks_comm_broadcast(comm, x, n[2], LKS_DTYPE_F32, 0, NULL));
    LKS_TRY(lks_comm_all_gather(comm, x, y, n[3], LKS_DTYPE_F32, NULL));
    return lks_comm_reduce_scatter(comm, y, x, n[4], LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL);
}

/* --- saving (rank 0) ---------------------------------------------------------------------------- */

static lks_status_t make_tree(const model_t *model, int step, lks_tree_t **out)
{
    lks_tree_t *tree;
    lks_status_t status;
    LKS_TRY(lks_tree_create(&tree));
    lks_value_t *root = lks_value_ordered_dict(tree);
    lks_tree_set_root(tree, root);
    lks_value_set_str(tree, root, "step", lks_value_int(tree, step));
    for (int p = 0; p < PARAMS; p++) {
        lks_tensor_t copy;
        LKS_GOTO(lks_tensor_create(lks_device_host(), LKS_DTYPE_F32, 1, &sizes[p], &copy), destroy);
        memcpy(lks_tensor_data(&copy), model->values[p], lks_tensor_nbytes(&copy));
        lks_value_set_str(tree, root, names[p], lks_value_tensor_from(tree, &copy));
        lks_tensor_release(&copy); /* the tree keeps it */
    }
    *out = tree;
    return LKS_OK;
destroy:
    lks_tree_destroy(tree);
    return status;
}

static void note_saved(int step)
{
    char line[32];
    (void)snprintf(line, sizeof line, "%d\n", step);
    write_line("saves", line);
}

static lks_status_t save(const model_t *model, int step, lks_save_handle_t **handle)
{
    char path[4096];
    lks_tree_t *tree;
    if (*handle) {
        LKS_TRY(lks_save_handle_wait(*handle));
        note_saved(step - SAVE_EVERY);
    }
    (void)snprintf(path, sizeof path, "%s/last.pt", job.folder);
    LKS_TRY(make_tree(model, step, &tree));
    lks_status_t status = job.saves_async ? lks_checkpoint_save_async(path, tree, NULL, handle)
                                          : lks_checkpoint_save(path, tree, NULL);
    lks_tree_destroy(tree);
    if (status == LKS_OK && !job.saves_async) {
        note_saved(step);
    }
    return status;
}

/* --- training ----------------------------------------------------------------------------------- */

static lks_status_t run_step(lks_replica_t *replica, model_t *model, int step,
                             lks_save_handle_t **handle)
{
    model->step = step;
    prepare_strike(replica, step);
    LKS_TRY(lks_replica_begin(replica));
    LKS_TRY(strike_at(replica, step, FORWARD, 0));
    LKS_TRY(backward(model, replica, step));
    LKS_TRY(strike_at(replica, step, BEFORE_STEP, 0));
    LKS_TRY(lks_replica_step(replica));
    LKS_TRY(strike_at(replica, step, AFTER_STEP, 0));
    if (step % EVALUATE_EVERY == 0) {
        LKS_TRY(evaluate(replica, step));
    }
    return replica->rank == 0 && step % SAVE_EVERY == 0 ? save(model, step, handle) : LKS_OK;
}

static lks_status_t train(lks_replica_t *place, void *context) /* on every replica's thread */
{
    model_t *model = &models[place->rank];
    lks_replica_param_t params[PARAMS];
    lks_replica_t *replica;
    lks_save_handle_t *handle = NULL;
    lks_optim_config_t sgd = lks_optim_config_default(LKS_OPTIM_SGD);
    lks_replica_options_t options = lks_replica_options_default();
    (void)context;
    sgd.lr = rate;
    options.optim = &sgd;
    options.bucket_bytes = options.first_bucket_bytes = 4096; /* a bucket for each parameter */
    if (job.place == IN_HOOK) {
        options.hook = (lks_comm_hook_t){.kind = LKS_COMM_HOOK_OWN, .run = hook};
    }
    make_model(model, params);
    LKS_TRY(lks_replica_create(place->comm, params, PARAMS, &options, &replica));
    lks_status_t status = LKS_OK;
    for (int step = 1; status == LKS_OK; step++) {
        status = run_step(replica, model, step, &handle);
    }
    const lks_error_t error = *lks_last_error();
    lks_save_handle_destroy(handle);
    lks_replica_destroy(replica);
    return lks_error_raise(&error);
}

static lks_status_t run_group(const lks_device_list_t *devices, double timeout, uint64_t seed)
{
    const lks_replica_config_t config = {
        .threads = 1, .timeout = timeout, .processes = lks_comm_is_launched()};
    lks_replica_group_t *group;
    LKS_TRY(lks_replica_group_create(devices, &config, &group));
    make_plan(seed, lks_replica_group_get(group, 0)->world_size);
    lks_status_t status = lks_replica_group_run(group, train, NULL);
    const lks_error_t error = *lks_last_error();
    lks_replica_group_destroy(group);
    return status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

static lks_status_t run_job(const char *threads, const char *fault, const char *seed,
                            double timeout)
{
    char text[32];
    lks_device_list_t *devices;
    while (job.fault < FAULTS && strcmp(fault_names[job.fault], fault) != 0) {
        job.fault++;
    }
    if (job.fault == FAULTS) {
        return lks_fail(LKS_ERR_INVALID_ARG, "no fault is called '%s'", fault);
    }
    (void)snprintf(text, sizeof text, "host:%s", threads);
    LKS_TRY(lks_device_list_open(text, NULL, &devices));
    lks_status_t status = run_group(devices, timeout, strtoull(seed, NULL, 10));
    lks_device_list_close(devices);
    return status;
}

/* --- looking at what was saved ------------------------------------------------------------------ */

static lks_status_t check_values(lks_checkpoint_t *checkpoint, int p, int64_t step, int world_size)
{
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    double right = value_after(p, step, world_size);
    lks_tensor_t tensor;
    LKS_TRY(lks_checkpoint_tensor(checkpoint, lks_value_find(root, names[p]), names[p], &tensor));
    const float *values = lks_tensor_data(&tensor);
    for (int64_t i = 0; i < sizes[p]; i++) {
        if (!(fabs((double)values[i] - right) < 1e-4)) {
            return lks_fail(LKS_ERR_MISMATCH, "%s[%lld] is %g after step %lld, not %g", names[p],
                            (long long)i, (double)values[i], (long long)step, right);
        }
    }
    return LKS_OK;
}

static lks_status_t check(const char *path, int world_size)
{
    lks_checkpoint_t *checkpoint;
    int64_t step = 0;
    LKS_TRY(lks_checkpoint_open(path, NULL, &checkpoint));
    lks_status_t status = lks_checkpoint_verify(checkpoint, NULL, NULL);
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    status = status == LKS_OK ? lks_value_get_int(lks_value_find(root, "step"), &step) : status;
    for (int p = 0; p < PARAMS && status == LKS_OK; p++) {
        status = check_values(checkpoint, p, step, world_size);
    }
    printf("%lld\n", (long long)step);
    lks_checkpoint_close(checkpoint);
    return status;
}

int main(int argc, char **argv)
{
    lks_status_t status;
    for (int p = 0; p < PARAMS; p++) {
        (void)snprintf(names[p], sizeof names[p], "%d.weight", p);
    }
    if (argc == 4 && strcmp(argv[1], "check") == 0) {
        status = check(argv[2], atoi(argv[3]));
    } else if (argc == 6) {
        job.folder = argv[4];
        status = run_job(argv[1], argv[2], argv[3], atof(argv[5]));
    } else {
        status = lks_fail(LKS_ERR_INVALID_ARG, "see the head of train_job.c");
    }
    if (status != LKS_OK) {
        (void)fprintf(stderr, "fault_train: %s\n", lks_last_error()->message);
    }
    return status == LKS_OK ? 0 : 1;
}
