/* SPDX-License-Identifier: Apache-2.0 */
/* bench_async_save.c - what saving costs a training job: step times without saves, with saves that stop the job and
 * with saves in the background, for 1 and 2 replicas.
 *     bench_async_save [--json] [--model M] [--steps N] [--every K] [--folder DIR]
 * Every K-th step a numbered checkpoint is saved and copied to last.pt, in DIR (default: here), with fsync. */
#include "bench.h"

#include <lockstep/trainer.h>

#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEPS_MAX = 10000, WARM_UP = 10, SAMPLES = 512, FEATURES = 64 };

typedef enum { NO_SAVES, SAVES, BACKGROUND } mode_kind_t;
static const char *const mode_names[] = {"none", "at once", "background"};

typedef struct options {
    bool json;
    const char *model, *folder;
    int64_t steps, every;
    char data[4096], saved[4096]; /* the samples, and the folder of a job */
} options_t;

/* What the observer saw. A save is told of twice, once for each file. */
typedef struct record {
    int64_t every;
    int steps;
    double at[STEPS_MAX];  /* end of each step */
    bool busy[STEPS_MAX];  /* a save was going on during the step */
    double started, saved; /* the last save; seconds of all saves */
    int saves;
    bool saving;
    off_t nbytes;
} record_t;

static void observe(void *context, const lks_train_event_t *event)
{
    record_t *record = context;
    struct stat info;
    if (event->kind == LKS_EVENT_STEP && record->steps < STEPS_MAX) {
        record->busy[record->steps] = record->saving;
        record->at[record->steps++] = bench_now();
        if (record->every > 0 && event->global_step % record->every == 0) {
            record->saving = true;
            record->started = bench_now();
        }
    } else if (event->kind == LKS_EVENT_SAVE && record->saving) {
        record->saved += bench_now() - record->started;
        record->saving = false;
        record->saves++;
        record->nbytes = stat(event->path, &info) == 0 ? info.st_size : 0;
    }
}

static void write_samples(const options_t *options)
{
    FILE *file = fopen(options->data, "w");
    if (!file) {
        bench_must(lks_fail(LKS_ERR_IO, "cannot write '%s'", options->data));
        return;
    }
    unsigned state = 1;
    for (int i = 0; i < SAMPLES; i++) {
        for (int j = 0; j < FEATURES; j++) {
            state = state * 1664525u + 1013904223u;
            (void)fprintf(file, "%.4f,", (double)(state >> 8) * 0x1p-24);
        }
        (void)fprintf(file, "class%d\n", i % 8);
    }
    (void)fclose(file);
}

static void empty_folder(const char *path)
{
    DIR *entries = opendir(path);
    for (const struct dirent *entry; entries && (entry = readdir(entries));) {
        (void)unlinkat(dirfd(entries), entry->d_name, 0);
    }
    if (entries) {
        (void)closedir(entries);
        (void)rmdir(path);
    }
}

static void train(const options_t *options, int replicas, mode_kind_t mode, record_t *record)
{
    char devices[16];
    (void)snprintf(devices, sizeof devices, "host:%d", replicas);
    *record = (record_t){.every = mode == NO_SAVES ? 0 : options->every};
    lks_train_config_t config = lks_train_config_default();
    config.model = options->model;
    config.data = options->data;
    config.devices = devices;
    config.optim = lks_optim_config_default(LKS_OPTIM_ADAM);
    config.batch_size = 128;
    config.epochs = 0;
    config.max_steps = options->steps;
    config.log_every = 1;
    config.observer = observe;
    config.observer_context = record;
    config.save_dir = mode == NO_SAVES ? NULL : options->saved;
    config.save_every_steps = record->every;
    config.async_save = mode == BACKGROUND;
    lks_train_result_t result;
    bench_must(lks_train(&config, &result));
    empty_folder(options->saved);
}

/* Mean of the steps, of those during a save, and the longest one. The step in which a save starts ends before it, so
 * the save itself, or its snapshot, counts to the one after. */
static void print_row(const options_t *options, int replicas, mode_kind_t mode,
                      const record_t *record, double *quiet)
{
    double sum = 0, busy_sum = 0, worst = 0;
    int count = 0, busy_count = 0;
    for (int i = WARM_UP; i < record->steps; i++) {
        double step = record->at[i] - record->at[i - 1];
        bool starts = record->busy[i] && !record->busy[i - 1];
        sum += step;
        count++;
        worst = step > worst ? step : worst;
        busy_sum += record->busy[i] && !starts ? step : 0;
        busy_count += record->busy[i] && !starts;
    }
    double mean = sum / count, busy = busy_count ? busy_sum / busy_count : 0;
    *quiet = mode == NO_SAVES ? mean : *quiet;
    const char *format =
        options->json
            ? "{\"bench\": \"async_save\", \"replicas\": %d, \"saves\": \"%s\", \"step_ms\": %.3f, "
              "\"over_percent\": %.1f, \"busy_step_ms\": %.3f, \"busy_over_percent\": %.1f, "
              "\"worst_ms\": %.2f, \"save_s\": %.3f, \"mb\": %.1f}\n"
            : "%8d %-10s %9.2f %7.1f %13.2f %7.1f %9.1f %8.2f %8.1f\n";
    (void)printf(format, replicas, mode_names[mode], mean * 1e3, 100 * (mean / *quiet - 1),
                 busy * 1e3, busy > 0 ? 100 * (busy / *quiet - 1) : 0.0, worst * 1e3,
                 record->saves ? record->saved / record->saves : 0.0,
                 (double)record->nbytes * 1e-6);
    (void)fflush(stdout);
}

static options_t parse(int argc, char **argv)
{
    options_t options = {.model = "mlp:64,2048,2048,8", .folder = ".", .steps = 200, .every = 40};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--model") == 0) {
            options.model = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--steps") == 0) {
            options.steps = strtoll(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--every") == 0) {
            options.every = strtoll(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--folder") == 0) {
            options.folder = argv[++i];
        } else {
            (void)fprintf(stderr, "usage: bench_async_save [--json] [--model M] [--steps N] "
                                  "[--every K] [--folder DIR]\n");
            exit(2);
        }
    }
    return options;
}

int main(int argc, char **argv)
{
    static record_t record;
    options_t options = parse(argc, argv);
    (void)snprintf(options.data, sizeof options.data, "%s/bench_async_save.csv", options.folder);
    (void)snprintf(options.saved, sizeof options.saved, "%s/bench_async_save", options.folder);
    write_samples(&options);
    if (!options.json) {
        (void)printf("%8s %-10s %9s %7s %13s %7s %9s %8s %8s\n", "replicas", "saves", "step ms",
                     "over %", "while saving", "over %", "worst ms", "save s", "MB");
    }
    for (int replicas = 1; replicas <= 2; replicas++) {
        double quiet = 0;
        for (mode_kind_t mode = NO_SAVES; mode <= BACKGROUND; mode++) {
            train(&options, replicas, mode, &record);
            print_row(&options, replicas, mode, &record, &quiet);
        }
    }
    (void)unlink(options.data);
    return 0;
}
