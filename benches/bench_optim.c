/* SPDX-License-Identifier: Apache-2.0 */
/* bench_optim.c - how near a step comes to its floor, one fused pass over as much memory.
 *     bench_optim [--json] [--params MILLIONS] [--rounds N]
 * Steps and floors alternate, so that both meet the same moods of a shared machine; medians after a
 * warm-up, that of the ratios taken round by round. Where everything fits the cache there is no floor but the call: the 131 parameters of a
 * 4-16-3 perceptron.
 * The peer, PyTorch on as many parameters, is peer_optim.py. */
#include "bench.h"

#include "optim_floor.h"

#include <lockstep/optim.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS_MAX = 101, THREADS_MAX = 64, FLOOR_ARRAYS = 4, SMALL_STEPS = 20000 };

typedef struct options {
    bool json;
    int64_t params;
    int rounds;
} options_t;

static cpu_set_t cpus; /* of the process, before the exec binds this thread to one */

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_optim: %s\n", what);
    exit(1);
}

/* --- the floor: plain threads, each on a processor of its own --- */

typedef struct floor_part {
    float *const *arrays;
    size_t begin, count;
    bool adamw;
} floor_part_t;

static void *floor_main(void *argument)
{
    const floor_part_t *part = argument;
    float *at[FLOOR_ARRAYS];
    for (int i = 0; i < FLOOR_ARRAYS; i++) {
        at[i] = part->arrays[i] + part->begin;
    }
    if (part->adamw) {
        floor_adamw(at[0], at[1], at[2], at[3], part->count);
    } else {
        floor_sgd(at[0], at[1], at[2], part->count);
    }
    return NULL;
}

static int nth_cpu(int n)
{
    for (int cpu = 0;; cpu++) {
        if (CPU_ISSET((size_t)cpu, &cpus) && n-- == 0) {
            return cpu;
        }
    }
}

static double time_floor(float *const *arrays, size_t count, int threads, bool adamw)
{
    floor_part_t parts[THREADS_MAX];
    pthread_t helpers[THREADS_MAX];
    size_t share = count / (size_t)threads / 16 * 16;
    double begin = bench_now();
    for (int i = threads - 1; i >= 0; i--) {
        size_t at = (size_t)i * share;
        parts[i] = (floor_part_t){arrays, at, i == threads - 1 ? count - at : share, adamw};
        if (i > 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET((size_t)nth_cpu(i), &one);
            pthread_attr_t attributes;
            (void)pthread_attr_init(&attributes);
            (void)pthread_attr_setaffinity_np(&attributes, sizeof one, &one);
            if (pthread_create(&helpers[i], &attributes, floor_main, &parts[i]) != 0) {
                die("cannot start a thread");
            }
            (void)pthread_attr_destroy(&attributes);
        }
    }
    (void)floor_main(&parts[0]);
    for (int i = 1; i < threads; i++) {
        (void)pthread_join(helpers[i], NULL);
    }
    return bench_now() - begin;
}

/* --- the step --- */

static void fill(lks_tensor_t tensor, float value)
{
    float *data = lks_tensor_data(&tensor);
    for (int64_t i = 0; i < lks_tensor_numel(&tensor); i++) {
        data[i] = value;
    }
}

static lks_module_t *make_module(const char *description, lks_device_t *device)
{
    lks_module_t *module;
    bench_must(lks_model_create(description, &module));
    bench_must(lks_module_materialize(module, device));
    fill(lks_module_flat_values(module), 1e-3f);
    fill(lks_module_flat_grads(module), 1e-3f);
    return module;
}

static lks_optim_config_t config_of(lks_optim_kind_t kind)
{
    lks_optim_config_t config = lks_optim_config_default(kind);
    config.lr = 1e-4;
    if (kind == LKS_OPTIM_SGD) {
        config.momentum = 0.9;
        config.weight_decay = 1e-4;
    }
    return config;
}

static double time_step(lks_optim_t *optim, lks_exec_t *exec)
{
    double begin = bench_now();
    bench_must(lks_optim_step(optim, exec));
    return bench_now() - begin;
}

/* --- the cases --- */

typedef struct result {
    lks_optim_kind_t kind;
    size_t count;
    int threads, rounds;
    double step[ROUNDS_MAX], floor[ROUNDS_MAX], ratio[ROUNDS_MAX]; /* seconds; floor / step */
} result_t;

static void measure(result_t *result, lks_optim_t *optim, lks_exec_t *exec, float *const *arrays)
{
    for (int round = -2; round < result->rounds; round++) {
        int at = round < 0 ? 0 : round;
        bool adamw = result->kind != LKS_OPTIM_SGD;
        result->step[at] = time_step(optim, exec);
        result->floor[at] = time_floor(arrays, result->count, result->threads, adamw);
        result->ratio[at] = result->floor[at] / result->step[at];
    }
}

static void print_row(result_t *r, bool json)
{
    static bool first = true;
    double gb = (double)r->count * (r->kind == LKS_OPTIM_SGD ? 20 : 28) / 1e9;
    double step = bench_median(r->step, (size_t)r->rounds),
           floor = bench_median(r->floor, (size_t)r->rounds);
    double ratio = bench_median(r->ratio, (size_t)r->rounds);
    if (json) {
        (void)printf(
            "%s\n  {\"optimizer\": \"%s\", \"params\": %zu, \"threads\": %d, \"ms\": %.3f, "
            "\"gb_per_s\": %.2f, \"floor_ms\": %.3f, \"floor_gb_per_s\": %.2f, "
            "\"of_floor\": %.3f}",
            first ? "" : ",", lks_optim_kind_name(r->kind), r->count, r->threads, step * 1e3,
            gb / step, floor * 1e3, gb / floor, ratio);
    } else {
        (void)printf("%-6s %7.1f M %dT %8.2f ms [%6.2f..%6.2f] %6.1f GB/s   floor %8.2f ms "
                     "[%6.2f..%6.2f] %6.1f GB/s   %5.1f %%\n",
                     lks_optim_kind_name(r->kind), (double)r->count / 1e6, r->threads, step * 1e3,
                     r->step[0] * 1e3, r->step[r->rounds - 1] * 1e3, gb / step, floor * 1e3,
                     r->floor[0] * 1e3, r->floor[r->rounds - 1] * 1e3, gb / floor, ratio * 100);
    }
    (void)fflush(stdout);
    first = false;
}

static void bench_large(const options_t *options, lks_optim_kind_t kind, lks_device_t *device,
                        size_t threads)
{
    char description[64];
    (void)snprintf(description, sizeof description, "mlp:1024,%lld",
                   (long long)(options->params / 1025));
    lks_module_t *module = make_module(description, device);
    lks_tensor_t values = lks_module_flat_values(module);
    lks_tensor_t blocks[FLOOR_ARRAYS]; /* of its own: the floor owes nothing to how ours lie */
    float *arrays[FLOOR_ARRAYS];
    for (int i = 0; i < FLOOR_ARRAYS; i++) {
        bench_must(lks_tensor_create(device, LKS_DTYPE_F32, values.ndim, values.shape, &blocks[i]));
        fill(blocks[i], 1e-3f);
        arrays[i] = lks_tensor_data(&blocks[i]);
    }
    lks_optim_config_t config = config_of(kind);
    lks_optim_t *optim;
    bench_must(lks_optim_create(&config, module, &optim));
    for (size_t t = 1; t <= threads; t *= 2) {
        lks_exec_t *exec;
        bench_must(lks_exec_create(device, &(lks_exec_config_t){.threads = t}, &exec));
        result_t result = {.kind = kind,
                           .count = (size_t)lks_tensor_numel(&values),
                           .threads = (int)t,
                           .rounds = options->rounds};
        measure(&result, optim, exec, arrays);
        print_row(&result, options->json);
        lks_exec_destroy(exec);
    }
    lks_optim_destroy(optim);
    for (int i = 0; i < FLOOR_ARRAYS; i++) {
        lks_tensor_release(&blocks[i]);
    }
    lks_module_destroy(module);
}

static void bench_small(const options_t *options, lks_optim_kind_t kind, lks_device_t *device)
{
    lks_module_t *module = make_module("mlp:4,16,3", device);
    lks_exec_t *exec;
    bench_must(lks_exec_create(device, NULL, &exec));
    lks_optim_config_t config = config_of(kind);
    lks_optim_t *optim;
    bench_must(lks_optim_create(&config, module, &optim));
    double samples[ROUNDS_MAX];
    for (int round = -2; round < options->rounds; round++) {
        double begin = bench_now();
        for (int i = 0; i < SMALL_STEPS; i++) {
            bench_must(lks_optim_step(optim, exec));
        }
        samples[round < 0 ? 0 : round] = (bench_now() - begin) / SMALL_STEPS;
    }
    double step = bench_median(samples, (size_t)options->rounds);
    if (options->json) {
        (void)printf(",\n  {\"optimizer\": \"%s\", \"params\": 131, \"us\": %.4f}",
                     lks_optim_kind_name(kind), step * 1e6);
    } else {
        (void)printf("%-6s     131      %8.3f us [%6.3f..%6.3f]\n", lks_optim_kind_name(kind),
                     step * 1e6, samples[0] * 1e6, samples[options->rounds - 1] * 1e6);
    }
    lks_optim_destroy(optim);
    lks_exec_destroy(exec);
    lks_module_destroy(module);
}

static options_t parse_options(int argc, char **argv)
{
    options_t options = {.params = 60192808, .rounds = 11}; /* a ResNet-152's */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
        } else if (strcmp(argv[i], "--params") == 0 && i + 1 < argc) {
            options.params = (int64_t)(strtod(argv[++i], NULL) * 1e6);
        } else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            options.rounds = atoi(argv[++i]);
        } else {
            die("usage: bench_optim [--json] [--params MILLIONS] [--rounds N]");
        }
    }
    if (options.params < 1025 || options.rounds < 1 || options.rounds > ROUNDS_MAX) {
        die("--params is at least 0.002, --rounds 1 to 101");
    }
    return options;
}

int main(int argc, char **argv)
{
    options_t options = parse_options(argc, argv);
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
        die("sched_getaffinity failed");
    }
    lks_device_list_t *devices;
    bench_must(lks_device_list_open("host", NULL, &devices));
    lks_device_t *device = lks_device_list_get(devices, 0);
    size_t threads = lks_device_core_count(device);
    static const lks_optim_kind_t kinds[] = {LKS_OPTIM_SGD, LKS_OPTIM_ADAMW};
    (void)fputs(options.json ? "[" : "", stdout);
    for (size_t i = 0; i < 2; i++) {
        bench_large(&options, kinds[i], device, threads < THREADS_MAX ? threads : THREADS_MAX);
    }
    for (size_t i = 0; i < 2; i++) {
        bench_small(&options, kinds[i], device);
    }
    (void)fputs(options.json ? "\n]\n" : "", stdout);
    lks_device_list_close(devices);
    return 0;
}
