/* SPDX-License-Identifier: Apache-2.0 */
/* bench_checkpoint.c - saving, verifying and loading a checkpoint beside the system's own time for the bytes.
 *     bench_checkpoint [--json] [--case NAME] [--folder DIR]... [--rounds N] [--threads N]
 * Folders: one on a disk, one on a tmpfs (default: . and /dev/shm). Each row alternates ours with its floor, after
 * as much fresh memory was touched and given back before each of them: whoever first gets pages that the host
 * has taken away pays for both. Printed: medians, and that of the ratios floor/ours taken round by round (1.00: as
 * fast as the floor). The peer, PyTorch on the same files, is peer_checkpoint.py; run_checkpoint alternates the two, with
 *     bench_checkpoint --serve CASE FOLDER    one job's name a line on stdin, its seconds a line on stdout
 *     bench_checkpoint --once JOB FILE        a whole process: open (and list), load (checked), private */
#include "checkpoint_cases.h"
#include "checkpoint_floor.h"
#include "process.h"

#include <lockstep/state_dict.h>

#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/vfs.h>

enum { ROUNDS_MAX = 101, FOLDERS_MAX = 8 };

typedef struct options {
    bool json;
    const char *only, *folders[FOLDERS_MAX];
    int folder_count, rounds, threads;
} options_t;

/* A case in a folder. */
typedef struct place {
    bench_state_t state;
    char file[4096], output[4096]; /* what is loaded, and what is saved */
    int threads;
} place_t;

/* --- jobs: each returns seconds ------------------------------------------------------------------- */

/* Opens and finds every tensor; prints their names to `out`, which may be NULL. */
static void open_and_list(const char *path, FILE *out, lks_checkpoint_t **checkpoint)
{
    lks_state_dict_t *dict;
    bench_must(lks_checkpoint_open(path, NULL, checkpoint));
    bench_must(lks_state_dict_find(lks_checkpoint_tree(*checkpoint), NULL, NULL, &dict));
    for (size_t i = 0; out && i < lks_state_dict_count(dict); i++) {
        (void)fprintf(out, "%s\n", lks_state_dict_key(dict, i));
    }
    lks_state_dict_destroy(dict);
}

static double list(place_t *place)
{
    lks_checkpoint_t *checkpoint;
    double start = bench_now();
    open_and_list(place->file, NULL, &checkpoint);
    double seconds = bench_now() - start;
    lks_checkpoint_close(checkpoint);
    return seconds;
}

static double verify(place_t *place, bool open_counts)
{
    const lks_verify_options_t options = {.threads = (size_t)place->threads};
    lks_checkpoint_t *checkpoint;
    double start = bench_now();
    bench_must(lks_checkpoint_open(place->file, NULL, &checkpoint));
    start = open_counts ? start : bench_now();
    bench_must(lks_checkpoint_verify(checkpoint, &options, NULL));
    double seconds = bench_now() - start;
    lks_checkpoint_close(checkpoint);
    return seconds;
}

static double load_mapped(place_t *place)
{
    return verify(place, true);
}

static double verify_open(place_t *place)
{
    return verify(place, false);
}

static double load_private(place_t *place)
{
    const lks_load_options_t options = {.threads = (size_t)place->threads};
    lks_checkpoint_t *checkpoint;
    double start = bench_now();
    bench_must(lks_checkpoint_open(place->file, NULL, &checkpoint));
    bench_must(lks_checkpoint_load_private(checkpoint, &options));
    double seconds = bench_now() - start;
    lks_checkpoint_close(checkpoint);
    return seconds;
}

static double save(place_t *place, bool sync)
{
    lks_save_options_t options = lks_save_options_default();
    options.sync = sync;
    options.threads = (size_t)place->threads;
    double start = bench_now();
    bench_must(lks_checkpoint_save(place->output, place->state.tree, &options));
    return bench_now() - start;
}

static double save_cached(place_t *place)
{
    return save(place, false);
}

static double save_synced(place_t *place)
{
    return save(place, true);
}

static double write_cached(place_t *place)
{
    return floor_write(place->output, place->state.data, place->state.nbytes, place->threads,
                       false);
}

static double write_synced(place_t *place)
{
    return floor_write(place->output, place->state.data, place->state.nbytes, place->threads, true);
}

static double map_crc(place_t *place)
{
    return floor_map_crc(place->file, place->threads);
}

static double memory_crc(place_t *place)
{
    return floor_crc(place->state.data, place->state.nbytes, place->threads);
}

static double read_huge(place_t *place)
{
    return floor_read(place->file, place->threads);
}

typedef struct job {
    const char *name;
    double (*run)(place_t *place);
    const char *floor_name;
    double (*floor)(place_t *place);
} job_t;

/* Renaming, in place and into a new file, is run_checkpoint's: whole processes, beside cp and PyTorch. */
static const job_t jobs[] = {
    {"load-mapped", load_mapped, "map + CRC", map_crc},
    {"verify", verify_open, "CRC in memory", memory_crc},
    {"load-private", load_private, "read, huge pages", read_huge},
    {"save", save_cached, "fallocate + pwrite", write_cached},
    {"save-fsync", save_synced, "... + fsync", write_synced},
};
enum { JOBS = sizeof jobs / sizeof *jobs };

/* --- memory ----------------------------------------------------------------------------------------- */

/* A line of /proc/self/status, in kB. */
static long status_kb(const char *key)
{
    char line[256];
    long value = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = strtol(line + strlen(key) + 1, NULL, 10);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return value;
}

static void reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        (void)fputs("5", file);
        (void)fclose(file);
    }
}

/* MiB that a job held at most beyond what there was before, files in maps included. */
static double peak_mib(place_t *place, double (*run)(place_t *place))
{
    reset_peak();
    long before = status_kb("VmRSS:");
    (void)run(place);
    return (double)(status_kb("VmHWM:") - before) / 1024;
}

/* --- rows ------------------------------------------------------------------------------------------- */

static void prime(place_t *place)
{
    (void)unlink(place->output);
    sync();
    size_t nbytes = place->state.nbytes + ((size_t)64 << 20);
    unsigned char *data = bench_huge_alloc(nbytes);
    for (size_t i = 0; i < nbytes; i += 4096) {
        data[i] = 1;
    }
    bench_huge_free(data, nbytes);
}

static const char *file_system(const char *folder)
{
    struct statfs info;
    if (statfs(folder, &info) != 0) {
        return "?";
    }
    switch (info.f_type) {
    case TMPFS_MAGIC: return "tmpfs";
    case EXT4_SUPER_MAGIC: return "ext4";
    case XFS_SUPER_MAGIC: return "xfs";
    case BTRFS_SUPER_MAGIC: return "btrfs";
    default: return "other";
    }
}

typedef struct row {
    const char *name, *where, *job, *floor_name;
    double ms, floor_ms, ratio, mib; /* mib < 0: not asked for */
    int rounds;
} row_t;

static void print_row(const options_t *options, const row_t *row)
{
    const char *format =
        options->json ? "{\"bench\": \"checkpoint\", \"case\": \"%s\", \"where\": \"%s\", "
                        "\"job\": \"%s\", \"ms\": %.3f, \"floor\": \"%s\", \"floor_ms\": %.3f, "
                        "\"ratio\": %.3f, \"peak_mib\": %.1f, \"rounds\": %d}\n"
                      : "%-10s %-6s %-14s %10.2f  %-20s %10.2f %7.2f %9.1f %4d\n";
    (void)printf(format, row->name, row->where, row->job, row->ms, row->floor_name, row->floor_ms,
                 row->ratio, row->mib, row->rounds);
    (void)fflush(stdout);
}

static void run_job(const options_t *options, const char *name, const char *where, place_t *place,
                    const job_t *job)
{
    double ours[ROUNDS_MAX], floors[ROUNDS_MAX], ratios[ROUNDS_MAX];
    for (int i = -1; i < options->rounds; i++) { /* the first is to warm up */
        prime(place);
        double seconds = job->run(place);
        prime(place);
        double floor_seconds = job->floor(place);
        if (i >= 0) {
            ours[i] = seconds;
            floors[i] = floor_seconds;
            ratios[i] = floor_seconds / seconds;
        }
    }
    size_t count = (size_t)options->rounds;
    prime(place);
    const row_t row = {.name = name,
                       .where = where,
                       .job = job->name,
                       .floor_name = job->floor_name,
                       .ms = bench_median(ours, count) * 1e3,
                       .floor_ms = bench_median(floors, count) * 1e3,
                       .ratio = bench_median(ratios, count),
                       .mib = peak_mib(place, job->run),
                       .rounds = options->rounds};
    print_row(options, &row);
}

/* Whole processes: opening and listing, beside a process that does nothing. */
static void run_open(const options_t *options, const char *name, const char *where, place_t *place,
                     char *program)
{
    char once[] = "--once", open[] = "open", truth[] = "/bin/true";
    char *const ours[] = {program, once, open, place->file, NULL}, *const none[] = {truth, NULL};
    double ms[ROUNDS_MAX], floors[ROUNDS_MAX], ratios[ROUNDS_MAX];
    bench_process_t process = {0}, floor = {0};
    for (int i = 0; i < ROUNDS_MAX; i++) {
        if (!bench_process_run(ours, &process) || !bench_process_run(none, &floor)) {
            bench_must(lks_fail(LKS_ERR_IO, "'%s' does not run", program));
        }
        ms[i] = process.ms;
        floors[i] = floor.ms;
        ratios[i] = floor.ms / process.ms;
    }
    const row_t row = {.name = name,
                       .where = where,
                       .job = "open+list",
                       .floor_name = "a process: /bin/true",
                       .ms = bench_median(ms, ROUNDS_MAX),
                       .floor_ms = bench_median(floors, ROUNDS_MAX),
                       .ratio = bench_median(ratios, ROUNDS_MAX),
                       .mib = peak_mib(place, list),
                       .rounds = ROUNDS_MAX};
    print_row(options, &row);
}

static place_t place_open(const char *name, const char *folder, int threads)
{
    place_t place = {.state = bench_state_create(name), .threads = threads};
    (void)snprintf(place.file, sizeof place.file, "%s/bench_checkpoint.pt", folder);
    (void)snprintf(place.output, sizeof place.output, "%s/bench_checkpoint_out.pt", folder);
    bench_must(lks_checkpoint_save(place.file, place.state.tree, NULL));
    return place;
}

static void place_close(place_t *place)
{
    (void)unlink(place->file);
    (void)unlink(place->output);
    bench_state_destroy(&place->state);
}

static void run_case(const options_t *options, const char *name, const char *folder, char *program)
{
    place_t place = place_open(name, folder, options->threads);
    const char *where = file_system(folder);
    run_open(options, name, where, &place, program);
    for (size_t i = 0; i < JOBS && place.state.nbytes > ((size_t)64 << 20); i++) {
        run_job(options, name, where, &place, &jobs[i]);
    }
    place_close(&place);
}

/* --- for run_checkpoint ------------------------------------------------------------------------------- */

static int once(const char *what, const char *path)
{
    lks_checkpoint_t *checkpoint;
    if (strcmp(what, "open") == 0) {
        open_and_list(path, stdout, &checkpoint);
    } else {
        bench_must(lks_checkpoint_open(path, NULL, &checkpoint));
        bench_must(strcmp(what, "private") == 0 ? lks_checkpoint_load_private(checkpoint, NULL)
                                                : lks_checkpoint_verify(checkpoint, NULL, NULL));
    }
    lks_checkpoint_close(checkpoint);
    return 0;
}

static int serve(const char *name, const char *folder, int threads)
{
    place_t place = place_open(name, folder, threads);
    char line[64];
    while (puts("ready") >= 0 && fflush(stdout) == 0 && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0; i < JOBS; i++) {
            if (strcmp(line, jobs[i].name) == 0) {
                prime(&place);
                (void)printf("%.6f\n", jobs[i].run(&place));
            }
        }
    }
    place_close(&place);
    return 0;
}

/* --- main --------------------------------------------------------------------------------------------- */

static void usage(void)
{
    (void)fprintf(stderr, "usage: bench_checkpoint [--json] [--case NAME] [--folder DIR]... "
                          "[--rounds N] [--threads N]\n");
    exit(2);
}

static options_t parse(int argc, char **argv)
{
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    (void)sched_getaffinity(0, sizeof allowed, &allowed);
    options_t options = {.rounds = 9, .threads = CPU_COUNT(&allowed)};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--case") == 0) {
            options.only = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--folder") == 0 &&
                   options.folder_count < FOLDERS_MAX) {
            options.folders[options.folder_count++] = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0) {
            options.rounds = atoi(argv[++i]);
        } else if (i + 1 < argc && strcmp(argv[i], "--threads") == 0) {
            options.threads = atoi(argv[++i]);
        } else {
            usage();
        }
    }
    if (options.folder_count == 0) {
        options.folders[options.folder_count++] = ".";
        options.folders[options.folder_count++] = "/dev/shm";
    }
    if (options.rounds < 1 || options.rounds > ROUNDS_MAX || options.threads < 1) {
        usage();
    }
    return options;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--once") == 0) {
        return once(argv[2], argv[3]);
    }
    if (argc == 4 && strcmp(argv[1], "--serve") == 0) {
        return serve(argv[2], argv[3], 0);
    }
    options_t options = parse(argc, argv);
    if (!options.json) {
        (void)printf("%-10s %-6s %-14s %10s  %-20s %10s %7s %9s %4s\n", "case", "where", "job",
                     "median ms", "floor", "median ms", "ratio", "peak MiB", "n");
    }
    for (size_t i = 0; i < bench_state_case_count; i++) {
        for (int k = 0; k < options.folder_count; k++) {
            if (!options.only || strcmp(options.only, bench_state_cases[i]) == 0) {
                run_case(&options, bench_state_cases[i], options.folders[k], argv[0]);
            }
        }
    }
    return 0;
}
