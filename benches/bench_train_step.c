/* SPDX-License-Identifier: Apache-2.0 */
/* bench_train_step.c - what one training step costs: forward, cross-entropy, backward, update, in one process
 * through the public interface. The cases with 16-bit parameters show what widening and rounding them costs.
 *     bench_train_step [--json] [--threads N] [--case NAME] [--seconds S]
 * Without --threads: 1 and as many as there are cores. The peer, PyTorch on the same job, is
 * peer_train_step.py; run_train_step alternates both. LOCKSTEP_ISA=baseline|v3 shows other processors. */
#include "bench.h"
#include "step_job.h"

#include <stdbool.h>
#include <string.h>

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

static void print_row(const options_t *options, const step_job_t *job, double median, double least,
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
    lks_exec_config_t config = lks_exec_config_default();
    lks_exec_t *exec;
    config.threads = threads;
    bench_must(lks_exec_create(device, &config, &exec));
    step_job_t job = step_job_open(c, device, exec, NULL);
    step_job_run(&job, WARM_UP * c->steps);
    size_t count = 0;
    for (double end = bench_now() + options->seconds; bench_now() < end && count < SAMPLES_MAX;) {
        double start = bench_now();
        step_job_run(&job, c->steps);
        samples[count++] = (bench_now() - start) / c->steps;
    }
    double median = bench_median(samples, count);
    print_row(options, &job, median, samples[0], count);
    step_job_close(&job);
    lks_exec_destroy(exec);
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
