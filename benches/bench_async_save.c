/* SPDX-License-Identifier: Apache-2.0 */
/* bench_async_save.c - what saving costs a training job: step times without saves, with saves that stop the job and
 * with saves in the background, for 1 and 2 replicas.
 *     bench_async_save [--json] [--model M] [--steps N] [--every K] [--folder DIR]
 * Steps are compared within one job, which what else the machine does disturbs least.
 * Every K-th step a numbered checkpoint is saved and copied to last.pt, in DIR (default: here), with fsync. */
#include "bench.h"

#include <lockstep/trainer.h>

#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEPS_MAX = 10000, WARM_UP = 10, BATCH = 128, FEATURES = 64 };

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
    bool saving, ended; /* ended: since the last step */
    off_t nbytes;
} record_t;

static void observe(void *context, const lks_train_event_t *event)
{
    record_t *record = context;
    struct stat info;
    if (event->kind == LKS_EVENT_STEP && record->steps < STEPS_MAX) {
        record->busy[record->steps] = record->saving || record->ended;
        record->ended = false;
        record->at[record->steps++] = bench_now();
        if (record->every > 0 && event->global_step % record->every == 0) {
            record->saving = true;
            record->started = bench_now();
        }
    } else if (event->kind == LKS_EVENT_SAVE && record->saving) {
        record->saved += bench_now() - record->started;
        record->saving = false;
        record->ended = true;
        record->saves++;
        record->nbytes = stat(event->path, &info) == 0 ? info.st_size : 0;
    }
}

/* Too many for an epoch to end, at which best.pt would be saved. */
static void write_samples(const options_t *options)
{
    FILE *file = fopen(options->data, "w");
    if (!file) {
        bench_must(lks_fail(LKS_ERR_IO, "cannot write '%s'", options->data));
        return;
    }
    unsigned state = 1;
    for (int64_t i = 0; i < (options->steps + 1) * BATCH; i++) {
        for (int j = 0; j < FEATURES; j++) {
            state = state * 1664525u + 1013904223u;
            (void)fprintf(file, "%u,", state >> 30);
        }
        (void)fprintf(file, "class%d\n", (int)(i % 8));
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
    config.batch_size = BATCH;
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

/* Steps of one kind. */
typedef struct steps {
    double seconds[STEPS_MAX];
    size_t count;
} steps_t;

static void add(steps_t *steps, double seconds)
{
    steps->seconds[steps->count++] = seconds;
}

static double median(steps_t *steps)
{
    return steps->count > 0 ? bench_median(steps->seconds, steps->count) : 0;
}

/* Steps without a save, steps while one goes on, and the first of those, to which the save itself or its snapshot
 * counts: it starts when the step before has ended. */
static void print_row(const options_t *options, int replicas, mode_kind_t mode,
                      const record_t *record)
{
    static steps_t quiet, busy, first;
    quiet.count = busy.count = first.count = 0;
    for (int i = WARM_UP; i < record->steps; i++) {
        steps_t *kind = !record->busy[i] ? &quiet : record->busy[i - 1] ? &busy : &first;
        add(kind, record->at[i] - record->at[i - 1]);
    }
    double usual = median(&quiet), during = median(&busy), start = median(&first);
    const char *format =
        options->json
            ? "{\"bench\": \"async_save\", \"replicas\": %d, \"saves\": \"%s\", \"step_ms\": "
              "%.3f, \"saving_step_ms\": %.3f, \"over_percent\": %.1f, \"stopped_ms\": %.2f, "
              "\"save_s\": %.3f, \"mb\": %.1f}\n"
            : "%8d %-10s %9.2f %13.2f %7.1f %11.1f %8.2f %8.1f\n";
    (void)printf(
        format, replicas, mode_names[mode], usual * 1e3, during * 1e3,
        busy.count ? 100 * (during / usual - 1) : 0.0, first.count ? (start - usual) * 1e3 : 0.0,
        record->saves ? record->saved / record->saves : 0.0, (double)record->nbytes * 1e-6);
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
        (void)printf("%8s %-10s %9s %13s %7s %11s %8s %8s\n", "replicas", "saves", "step ms",
                     "while saving", "over %", "stopped ms", "save s", "MB");
    }
    for (int replicas = 1; replicas <= 2; replicas++) {
        for (mode_kind_t mode = NO_SAVES; mode <= BACKGROUND; mode++) {
            train(&options, replicas, mode, &record);
            print_row(&options, replicas, mode, &record);
        }
    }
    (void)unlink(options.data);
    return 0;
}
