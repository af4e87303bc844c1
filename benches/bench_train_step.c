/* SPDX-License-Identifier: Apache-2.0 */
/* bench_train_step.c - what one training step costs: forward, cross-entropy, backward, update, in one process
 * through the public interface. The cases with 16-bit parameters show what widening and rounding them costs.
 *     bench_train_step [--json] [--threads N] [--case NAME] [--seconds S]
 * Without --threads: 1 and as many as there are cores. The peer, PyTorch on the same job, is
 * peer_train_step.py; run_train_step alternates both. LOCKSTEP_ISA=baseline|v3 shows other processors. */
#include "bench.h"

#include <lockstep/module.h>
#include <lockstep/optim.h>

#include <stdbool.h>
#include <string.h>

typedef struct step_case {
    const char *name, *model;
    lks_optim_kind_t optim;
    int64_t batch;
    int steps; /* in one sample: a short step is below the clock's noise */
    lks_dtype_t dtype;
} step_case_t;

static const step_case_t cases[] = {
    {"iris", "mlp:4,16,3", LKS_OPTIM_ADAM, 150, 100, LKS_DTYPE_F32},
    {"mlp-sgd", "mlp:784,1024,1024,10", LKS_OPTIM_SGD, 128, 1, LKS_DTYPE_F32},
    {"mlp-adam", "mlp:784,1024,1024,10", LKS_OPTIM_ADAM, 128, 1, LKS_DTYPE_F32},
    {"sgd-bf16", "mlp:784,1024,1024,10", LKS_OPTIM_SGD, 128, 1, LKS_DTYPE_BF16},
    {"adam-bf16", "mlp:784,1024,1024,10", LKS_OPTIM_ADAM, 128, 1, LKS_DTYPE_BF16},
    {"adam-f16", "mlp:784,1024,1024,10", LKS_OPTIM_ADAM, 128, 1, LKS_DTYPE_F16},
};

typedef struct options {
    bool json;
    size_t threads; /* 0: 1 and all */
    const char *only;
    double seconds; /* for each row */
} options_t;

typedef struct job {
    const step_case_t *step_case;
    lks_exec_t *exec;
    lks_module_t *module;
    lks_optim_t *optim;
    lks_tensor_t x, labels;
    uint64_t steps;
    double flops; /* of the products in a step: the first layer has no gradient of its input */
} job_t;

/* Any numbers will do, as long as they are the same in every run. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static double product_flops(const lks_module_t *module, int64_t batch)
{
    double flops = 0;
    for (size_t i = 0; i < lks_module_param_count(module); i++) {
        const lks_tensor_t *value = &lks_module_param(module, i)->value;
        if (value->ndim == 2) {
            flops += (i == 0 ? 2 : 3) * 2.0 * (double)batch * (double)lks_tensor_numel(value);
        }
    }
    return flops;
}

static job_t job_open(const step_case_t *c, lks_device_t *device, size_t threads)
{
    job_t job = {.step_case = c};
    lks_exec_config_t config = lks_exec_config_default();
    config.threads = threads;
    bench_must(lks_exec_create(device, &config, &job.exec));
    lks_exec_set_training(job.exec, true);
    bench_must(lks_model_create(c->model, &job.module));
    bench_must(lks_module_set_dtype(job.module, c->dtype));
    bench_must(lks_module_materialize(job.module, device));
    bench_must(lks_module_init(job.module, 0));
    lks_optim_config_t optim = lks_optim_config_default(c->optim);
    bench_must(lks_optim_create(&optim, job.module, &job.optim));
    int64_t in = lks_module_in_features(job.module), out = lks_module_out_features(job.module);
    const int64_t shape[] = {c->batch, in};
    bench_must(lks_tensor_create(device, LKS_DTYPE_F32, 2, shape, &job.x));
    bench_must(lks_tensor_create(device, LKS_DTYPE_I64, 1, shape, &job.labels));
    uint32_t random = 1;
    float *x = lks_tensor_data(&job.x);
    for (int64_t i = 0; i < c->batch * in; i++) {
        x[i] = (float)next_random(&random) * 0x1p-23f - 1;
    }
    int64_t *labels = lks_tensor_data(&job.labels);
    for (int64_t i = 0; i < c->batch; i++) {
        labels[i] = next_random(&random) % (uint32_t)out;
    }
    job.flops = product_flops(job.module, c->batch);
    return job;
}

static void job_close(job_t *job)
{
    lks_tensor_release(&job->labels);
    lks_tensor_release(&job->x);
    lks_optim_destroy(job->optim);
    lks_module_destroy(job->module);
    lks_exec_destroy(job->exec);
}

static void step(job_t *job)
{
    lks_tensor_t logits, grad;
    double loss;
    lks_exec_reset(job->exec);
    lks_exec_set_position(job->exec, 0, job->steps++, 0);
    bench_must(lks_module_forward(job->module, job->exec, &job->x, &logits));
    bench_must(lks_cross_entropy(job->exec, &logits, &job->labels, job->step_case->batch, &loss,
                                 &grad, NULL));
    bench_must(lks_module_backward(job->module, job->exec, &grad, NULL));
    bench_must(lks_optim_step(job->optim, job->exec));
}

static void print_row(const options_t *options, const job_t *job, double median, double least,
                      size_t samples)
{
    const char *format =
        options->json
            ? "{\"bench\": \"train_step\", \"case\": \"%s\", \"batch\": %d, \"threads\": %zu, "
              "\"us\": %.3f, \"least_us\": %.3f, \"gflops\": %.2f, \"samples\": %zu}\n"
            : "%-10s %5d %7zu %12.2f %12.2f %9.1f %8zu\n";
    (void)printf(format, job->step_case->name, (int)job->step_case->batch,
                 lks_exec_threads(job->exec), median * 1e6, least * 1e6, job->flops / median * 1e-9,
                 samples);
    (void)fflush(stdout);
}

static void run(const options_t *options, const step_case_t *c, lks_device_t *device,
                size_t threads)
{
    enum { SAMPLES_MAX = 20000, WARM_UP = 5 };
    static double samples[SAMPLES_MAX];
    job_t job = job_open(c, device, threads);
    for (int i = 0; i < WARM_UP * c->steps; i++) {
        step(&job);
    }
    size_t count = 0;
    for (double end = bench_now() + options->seconds; bench_now() < end && count < SAMPLES_MAX;) {
        double start = bench_now();
        for (int i = 0; i < c->steps; i++) {
            step(&job);
        }
        samples[count++] = (bench_now() - start) / c->steps;
    }
    double median = bench_median(samples, count);
    print_row(options, &job, median, samples[0], count);
    job_close(&job);
}

static void usage(void)
{
    (void)fprintf(stderr, "usage: bench_train_step [--json] [--threads N] [--case NAME] "
                          "[--seconds S]\n");
    exit(2);
}

static options_t parse(int argc, char **argv)
{
    options_t options = {.seconds = 2};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--threads") == 0) {
            options.threads = strtoul(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--case") == 0) {
            options.only = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0) {
            options.seconds = strtod(argv[++i], NULL);
        } else {
            usage();
        }
    }
    return options;
}

int main(int argc, char **argv)
{
    options_t options = parse(argc, argv);
    lks_device_list_t *devices;
    bench_must(lks_device_list_open("host", NULL, &devices));
    lks_device_t *device = lks_device_list_get(devices, 0);
    size_t cores = lks_device_core_count(device);
    if (!options.json) {
        (void)printf("%-10s %5s %7s %12s %12s %9s %8s\n", "case", "batch", "threads", "median us",
                     "least us", "GFLOP/s", "samples");
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (options.only && strcmp(options.only, cases[i].name) != 0) {
            continue;
        }
        run(&options, &cases[i], device, options.threads ? options.threads : 1);
        if (!options.threads && cores > 1) {
            run(&options, &cases[i], device, cores);
        }
    }
    lks_device_list_close(devices);
    return 0;
}
