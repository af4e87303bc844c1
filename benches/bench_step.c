/* SPDX-License-Identifier: Apache-2.0 */
/* bench_step.c - what keeping two replicas in step costs a training step: two threads train with an exchange of gradients, and
 * the same two threads train models that know nothing of each other, in turns.
 *     bench_step [--json] [--case NAME] [--rounds N] [--bucket-mb X]
 * apart, together: microseconds per step, medians of rounds; ratio: together / apart, the median over rounds.
 * meeting: as apart, but both wait for each other at the end of every step, as whoever trains together must: with steps that do not
 *     all take the same time the slower one counts. What together takes longer than this is the exchange.
 * all-reduce: microseconds of one of as many bytes as there are gradients, with nothing else to do.
 * hidden: of that, what a step together does not take longer than one that meets. It can pass 100 %: replicas of a process share the
 *     optimizer's work, so that each updates half of the parameters.
 * in backward: share of the time in exchanges that lay within backward (lks_replica_hidden_share). */
#include "all_reduce_floor.h"
#include "bench.h"
#include "step_job.h"

#include <lockstep/replica_group.h>

#include <stdbool.h>
#include <string.h>

enum { RANKS = 2, ROUNDS_MAX = 201 };

static const step_case_t cases[] = {
    {"iris", "mlp:4,16,3", LKS_OPTIM_ADAM, 150, 50, LKS_DTYPE_F32},
    {"mlp-sgd", "mlp:784,1024,1024,10", LKS_OPTIM_SGD, 128, 2, LKS_DTYPE_F32},
    {"mlp-adam", "mlp:784,1024,1024,10", LKS_OPTIM_ADAM, 128, 2, LKS_DTYPE_F32},
    {"deep",
     "mlp:784,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,"
     "1024,1024,10",
     LKS_OPTIM_SGD, 128, 1, LKS_DTYPE_F32},
};

typedef struct options {
    bool json;
    const char *only;
    int rounds;
    double bucket_mb; /* 0: the default */
} options_t;

typedef struct bench {
    const step_case_t *step_case;
    bool together, meets;
    step_job_t jobs[RANKS];
    double seconds[RANKS]; /* of the last round */
    double hidden;         /* as rank 0 saw it */
    float *gradients[RANKS];
    size_t count; /* elements of them */
} bench_t;

static lks_status_t build(void *context, lks_module_t **out)
{
    return lks_model_create(((const step_case_t *)context)->model, out);
}

static lks_status_t open_job(lks_replica_t *replica, void *context)
{
    bench_t *bench = context;
    bench->jobs[replica->rank] = step_job_open(bench->step_case, replica->device, replica->exec,
                                               bench->together ? replica : NULL);
    return LKS_OK;
}

static size_t count_params(const lks_module_t *module)
{
    size_t count = 0;
    for (size_t i = 0; i < lks_module_param_count(module); i++) {
        count += (size_t)lks_tensor_numel(&lks_module_param(module, i)->value);
    }
    return count;
}

static lks_status_t make_gradients(lks_replica_t *replica, void *context)
{
    bench_t *bench = context;
    bench->gradients[replica->rank] = calloc(count_params(replica->module), sizeof(float));
    if (!bench->gradients[replica->rank]) {
        (void)fprintf(stderr, "bench_step: out of memory\n");
        exit(1);
    }
    return LKS_OK;
}

static lks_status_t close_job(lks_replica_t *replica, void *context)
{
    bench_t *bench = context;
    step_job_close(&bench->jobs[replica->rank]);
    free(bench->gradients[replica->rank]);
    return LKS_OK;
}

static lks_status_t run_steps(lks_replica_t *replica, void *context)
{
    bench_t *bench = context;
    step_job_t *job = &bench->jobs[replica->rank];
    int steps = bench->step_case->steps;
    step_job_run(job, 1 + steps / 10); /* what the other half has left in the caches */
    bench_must(lks_comm_barrier(replica->comm));
    double start = bench_now();
    for (int i = 0; i < steps; i++) {
        step_job_run(job, 1);
        if (bench->meets) {
            bench_must(lks_comm_barrier(replica->comm));
        }
    }
    bench->seconds[replica->rank] = (bench_now() - start) / steps;
    return LKS_OK;
}

static lks_status_t time_exchange(lks_replica_t *replica, void *context)
{
    bench_t *bench = context;
    step_job_t *job = &bench->jobs[replica->rank];
    lks_replica_set_timing(replica, true);
    step_job_run(job, 2);
    (void)lks_replica_hidden_share(replica);
    step_job_run(job, 5 * bench->step_case->steps);
    double hidden = lks_replica_hidden_share(replica);
    bench->hidden = replica->rank == 0 ? hidden : bench->hidden;
    lks_replica_set_timing(replica, false);
    return LKS_OK;
}

static lks_status_t reduce_gradients(lks_replica_t *replica, void *context)
{
    bench_t *bench = context;
    float *data = bench->gradients[replica->rank];
    memset(data, 0, bench->count * sizeof *data);
    bench_must(lks_comm_barrier(replica->comm));
    double start = bench_now();
    bench_must(lks_comm_all_reduce(replica->comm, data, data, bench->count, LKS_DTYPE_F32,
                                   LKS_REDUCE_AVG, NULL));
    bench->seconds[replica->rank] = bench_now() - start;
    return LKS_OK;
}

static double mean_seconds(lks_replica_group_t *group, bench_t *bench,
                           lks_status_t (*run)(lks_replica_t *replica, void *context))
{
    bench_must(lks_replica_group_run(group, run, bench));
    return (bench->seconds[0] + bench->seconds[1]) / 2;
}

typedef struct result {
    double apart, meeting, together, ratio, exchange; /* medians */
    double in_backward;
} result_t;

static lks_replica_group_t *open_group(const options_t *options, const lks_device_list_t *devices,
                                       bench_t *bench)
{
    lks_replica_options_t replica = lks_replica_options_default();
    lks_optim_config_t optim = lks_optim_config_default(bench->step_case->optim);
    step_case_t copy = *bench->step_case;
    replica.optim = &optim;
    if (options->bucket_mb > 0) {
        replica.bucket_bytes = (size_t)(options->bucket_mb * (1 << 20));
    }
    const lks_replica_config_t config = {.build = bench->together ? build : NULL,
                                         .context = &copy,
                                         .options = &replica,
                                         .threads = 1};
    lks_replica_group_t *group;
    bench_must(lks_replica_group_create(devices, &config, &group));
    bench_must(lks_replica_group_run(group, open_job, bench));
    return group;
}

static void close_group(lks_replica_group_t *group, bench_t *bench)
{
    bench_must(lks_replica_group_run(group, close_job, bench));
    lks_replica_group_destroy(group);
}

static result_t measure(const options_t *options, const lks_device_list_t *devices,
                        const step_case_t *c)
{
    static double apart_us[ROUNDS_MAX], meeting_us[ROUNDS_MAX], together_us[ROUNDS_MAX],
        ratios[ROUNDS_MAX], exchange_us[ROUNDS_MAX];
    bench_t apart = {.step_case = c}, together = {.step_case = c, .together = true};
    lks_replica_group_t *alone = open_group(options, devices, &apart);
    lks_replica_group_t *pair = open_group(options, devices, &together);
    together.count = count_params(lks_replica_group_get(pair, 0)->module);
    bench_must(lks_replica_group_run(pair, make_gradients, &together));
    for (int k = -1; k < options->rounds; k++) { /* the first warms up */
        size_t at = k < 0 ? 0 : (size_t)k;
        apart.meets = false;
        apart_us[at] = mean_seconds(alone, &apart, run_steps) * 1e6;
        apart.meets = true;
        meeting_us[at] = mean_seconds(alone, &apart, run_steps) * 1e6;
        together_us[at] = mean_seconds(pair, &together, run_steps) * 1e6;
        exchange_us[at] = mean_seconds(pair, &together, reduce_gradients) * 1e6;
        ratios[at] = together_us[at] / apart_us[at];
    }
    bench_must(lks_replica_group_run(pair, time_exchange, &together));
    close_group(alone, &apart);
    close_group(pair, &together);
    size_t rounds = (size_t)options->rounds;
    return (result_t){.apart = bench_median(apart_us, rounds),
                      .meeting = bench_median(meeting_us, rounds),
                      .together = bench_median(together_us, rounds),
                      .ratio = bench_median(ratios, rounds),
                      .exchange = bench_median(exchange_us, rounds),
                      .in_backward = together.hidden};
}

static void run(const options_t *options, const lks_device_list_t *devices, const step_case_t *c)
{
    result_t r = measure(options, devices, c);
    double hidden = 1 - (r.together - r.meeting) / r.exchange;
    const char *format =
        options->json
            ? "{\"bench\": \"step\", \"case\": \"%s\", \"batch\": %d, \"apart_us\": %.3f, "
              "\"meeting_us\": %.3f, "
              "\"together_us\": %.3f, \"ratio\": %.4f, \"all_reduce_us\": %.3f, "
              "\"hidden\": %.3f, \"in_backward\": %.3f}\n"
            : "%-10s %5d %11.2f %11.2f %11.2f %8.3f %11.2f %8.2f %12.2f\n";
    (void)printf(format, c->name, (int)c->batch, r.apart, r.meeting, r.together, r.ratio,
                 r.exchange, hidden, r.in_backward);
    (void)fflush(stdout);
}

static options_t parse(int argc, char **argv)
{
    options_t options = {.rounds = 101};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--case") == 0) {
            options.only = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0) {
            options.rounds = atoi(argv[++i]);
        } else if (i + 1 < argc && strcmp(argv[i], "--bucket-mb") == 0) {
            options.bucket_mb = strtod(argv[++i], NULL);
        } else {
            (void)fprintf(stderr, "usage: bench_step [--json] [--case NAME] [--rounds N] "
                                  "[--bucket-mb X]\n");
            exit(2);
        }
    }
    options.rounds = options.rounds < 1            ? 1
                     : options.rounds > ROUNDS_MAX ? ROUNDS_MAX
                                                   : options.rounds;
    return options;
}

int main(int argc, char **argv)
{
    options_t options = parse(argc, argv);
    lks_device_list_t *devices;
    bench_must(lks_device_list_open("host:2", NULL, &devices));
    if (!options.json) {
        (void)printf("# core-to-core round trip %.0f ns\n", floor_round_trip());
        (void)printf("%-10s %5s %11s %11s %11s %8s %11s %8s %12s\n", "case", "batch", "apart us",
                     "meeting us", "together us", "ratio", "all-reduce", "hidden", "in backward");
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!options.only || strcmp(options.only, cases[i].name) == 0) {
            run(&options, devices, &cases[i]);
        }
    }
    lks_device_list_close(devices);
    return 0;
}
