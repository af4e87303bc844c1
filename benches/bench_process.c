/* SPDX-License-Identifier: Apache-2.0 */
/* bench_process.c - what a whole process of the program costs: start-up, and inspecting a large checkpoint.
 * Each row is the median of alternating runs of ours and the peer's, wall time and peak memory as the kernel counts them.
 * usage: bench_process PROGRAM [FOLDER [GB]]   FOLDER holds the checkpoint that is made (default: . and 1.5 GB)
 * Peers: /bin/true (the floor of starting anything), `import torch`, and torch.load of the same file. */
#include "process.h"

#include <lockstep/checkpoint.h>

#include <string.h>
#include <sys/mman.h>

enum { MAX_RUNS = 101, TENSORS = 300 };

static int by_ms(const void *a, const void *b)
{
    double x = ((const bench_process_t *)a)->ms, y = ((const bench_process_t *)b)->ms;
    return (x > y) - (x < y);
}

static bench_process_t median(bench_process_t *samples, int count)
{
    qsort(samples, (size_t)count, sizeof *samples, by_ms);
    return samples[count / 2];
}

/* Ours and the peer's in turn; prints both medians and the ratio. */
static void compare(const char *what, char *const ours[], const char *peer_name, char *const peer[],
                    int runs)
{
    bench_process_t a[MAX_RUNS], b[MAX_RUNS];
    if (!bench_process_run(ours, &a[0]) || !bench_process_run(peer, &b[0])) { /* warm-up */
        printf("%-34s not measured: %s does not run here\n", what,
               bench_process_run(ours, &a[0]) ? peer_name : ours[0]);
        return;
    }
    for (int i = 0; i < runs; i++) {
        if (!bench_process_run(ours, &a[i]) || !bench_process_run(peer, &b[i])) {
            printf("%-34s failed in run %d\n", what, i);
            return;
        }
    }
    bench_process_t x = median(a, runs), y = median(b, runs);
    printf("%-34s %9.2f ms %7.1f MiB   %-22s %9.2f ms %7.1f MiB   ratio %8.1f   n=%d\n", what, x.ms,
           (double)x.peak_kb / 1024.0, peer_name, y.ms, (double)y.peak_kb / 1024.0, y.ms / x.ms,
           runs);
}

/* A state dict of TENSORS equal float32 tensors, `nbytes` in all. */
static lks_status_t make_checkpoint(const char *path, size_t nbytes)
{
    int64_t rows = 1024, columns = (int64_t)(nbytes / TENSORS / 4 / 1024);
    size_t each = (size_t)(rows * columns) * 4;
    void *data = mmap(NULL, each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        return lks_fail(LKS_ERR_NO_MEMORY, "no memory for one tensor of %zu bytes", each);
    }
    lks_tree_t *tree;
    lks_status_t status = lks_tree_create(&tree);
    if (status != LKS_OK) {
        (void)munmap(data, each);
        return status;
    }
    lks_value_t *dict = lks_value_ordered_dict(tree);
    int64_t shape[2] = {rows, columns};
    for (int i = 0; i < TENSORS && status == LKS_OK; i++) {
        lks_storage_t *storage;
        lks_tensor_t tensor;
        char key[64];
        (void)snprintf(key, sizeof key, "module.layer%d.weight", i);
        status = lks_storage_wrap(lks_device_host(), data, each, NULL, NULL, &storage);
        if (status == LKS_OK) {
            status = lks_tensor_view(storage, LKS_DTYPE_F32, 0, 2, shape, NULL, &tensor);
            lks_value_set_str(tree, dict, key, lks_value_tensor_from(tree, &tensor));
            lks_storage_release(storage);
        }
    }
    lks_tree_set_root(tree, dict);
    if (status == LKS_OK) {
        status = lks_checkpoint_save(path, tree, NULL);
    }
    lks_tree_destroy(tree);
    (void)munmap(data, each);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: bench_process PROGRAM [FOLDER [GB]]\n");
        return 2;
    }
    char path[4096], load[4400];
    double gigabytes = argc > 3 ? atof(argv[3]) : 1.5;
    (void)snprintf(path, sizeof path, "%s/bench_process.pt", argc > 2 ? argv[2] : ".");
    (void)snprintf(load, sizeof load, "import torch; torch.load('%s', map_location='cpu')", path);
    if (make_checkpoint(path, (size_t)(gigabytes * 1e9)) != LKS_OK) {
        fprintf(stderr, "bench_process: %s\n", lks_last_error()->message);
        return 1;
    }
    char python[] = "/usr/bin/python3", dash_c[] = "-c", import[] = "import torch";
    char truth[] = "/bin/true", version[] = "--version", inspect[] = "inspect", json[] = "--json";
    char *floor_argv[] = {truth, NULL}, *import_argv[] = {python, dash_c, import, NULL};
    char *load_argv[] = {python, dash_c, load, NULL};
    char *version_argv[] = {argv[1], version, NULL};
    char *inspect_argv[] = {argv[1], inspect, path, NULL};
    char *json_argv[] = {argv[1], inspect, json, path, NULL};
    char what[64];
    compare("lockstep --version", version_argv, "/bin/true", floor_argv, 51);
    compare("lockstep --version", version_argv, "import torch", import_argv, 5);
    (void)snprintf(what, sizeof what, "lockstep inspect (%.1f GB)", gigabytes);
    compare(what, inspect_argv, "/bin/true", floor_argv, 51);
    (void)snprintf(what, sizeof what, "lockstep inspect --json (%.1f GB)", gigabytes);
    compare(what, json_argv, "torch.load", load_argv, 5);
    (void)unlink(path);
    return 0;
}
