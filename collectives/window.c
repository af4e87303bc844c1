/* SPDX-License-Identifier: Apache-2.0 */
/* window.c - the layout of a node's shared memory, and how processes come to map the same. */
#include "collectives/window.h"
#include "collectives/fabric.h"
#include "collectives/shared_file.h"
#include "core/checked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE = 64, PAGE = 4096 };

typedef struct header {
    lks_gate_t gate;
    _Atomic int state; /* of the reason */
    bool late;         /* as an abort state has it */
    char reason[LKS_ERROR_MESSAGE_MAX];
} header_t;

enum { RUNNING, WRITING, ABORTED };

struct lks_window {
    char *base;
    size_t nbytes, chunk;
    int process, processes, columns, ranks;
    /* Bytes from the base, and of the parts of a column. */
    size_t calls, first_column, column, stages, partials, results;
};

static size_t align_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Sizes are small multiples of checked ones: processes of a node, columns and chunks are what fits a machine. */
static void lay_out(lks_window_t *window)
{
    size_t p = (size_t)window->processes, slots = LKS_WINDOW_SLOTS;
    window->calls = align_up(sizeof(header_t), LINE);
    window->first_column = align_up(window->calls + (size_t)window->ranks * LINE, PAGE);
    window->stages = align_up(p * sizeof(lks_window_post_t), PAGE);
    window->partials = window->stages + p * 2 * LKS_WINDOW_STAGE;
    window->results = window->partials + p * p * slots * window->chunk;
    window->column = window->results + p * slots * window->chunk;
    window->nbytes = window->first_column + (size_t)window->columns * window->column;
}

/* --- mapping ------------------------------------------------------------------------------------ */

static lks_shared_file_t make(const lks_window_t *window)
{
    lks_shared_file_t none = {.file = -1};
    return window->process == 0 ? lks_shared_file_make(window->nbytes) : none;
}

static int map(lks_window_t *window, const lks_shared_file_t *file)
{
    void *base;
    int error = lks_shared_file_map(file, &base);
    window->base = error ? NULL : base;
    return error;
}

/* All processes learn whether all of them have it. */
static lks_status_t map_together(const lks_mpi_table_t *mpi, lks_window_t *window)
{
    lks_shared_file_t *all = calloc((size_t)window->processes, sizeof *all);
    if (!all) {
        return lks_fail(LKS_ERR_NO_MEMORY, "memory shared by processes: out of memory");
    }
    lks_shared_file_t mine = make(window);
    int code = mpi->node_all_gather(&mine, all, sizeof mine);
    int error = code ? 0 : all[0].error ? (int)all[0].error : map(window, &all[0]);
    mine.error = error;
    code = code ? code : mpi->node_all_gather(&mine, all, sizeof mine);
    lks_shared_file_close(&mine);
    for (int i = 0; i < window->processes && !code && !error; i++) {
        error = (int)all[i].error;
    }
    free(all);
    if (code) {
        return lks_error_prefix(lks_mpi_result(mpi, code), "memory shared by processes");
    }
    return error ? lks_fail(LKS_ERR_IO, "memory of %zu bytes shared by processes: %s",
                            window->nbytes, strerror(error))
                 : LKS_OK;
}

lks_status_t lks_window_create(const lks_mpi_table_t *mpi, int ranks, int columns, size_t chunk,
                               lks_window_t **out)
{
    lks_window_t *window = calloc(1, sizeof *window);
    if (!window) {
        return lks_fail(LKS_ERR_NO_MEMORY, "memory shared by processes: out of memory");
    }
    window->chunk = chunk;
    window->columns = columns;
    window->ranks = ranks;
    (void)mpi->node(&window->process, &window->processes);
    lay_out(window);
    lks_status_t status = map_together(mpi, window);
    if (status != LKS_OK) {
        lks_window_destroy(window);
        return status;
    }
    lks_window_gate(window)->shared = true; /* all write the same */
    *out = window;
    return LKS_OK;
}

void lks_window_destroy(lks_window_t *window)
{
    if (window && window->base) {
        (void)munmap(window->base, window->nbytes);
    }
    free(window);
}

/* --- places ------------------------------------------------------------------------------------- */

int lks_window_process(const lks_window_t *window)
{
    return window->process;
}

int lks_window_processes(const lks_window_t *window)
{
    return window->processes;
}

static char *column_of(const lks_window_t *window, int column)
{
    return window->base + window->first_column + (size_t)column * window->column;
}

lks_window_post_t *lks_window_post(const lks_window_t *window, int column, int process)
{
    return (lks_window_post_t *)(void *)column_of(window, column) + process;
}

void *lks_window_partial(const lks_window_t *window, int column, int from, int to, uint64_t chunk)
{
    size_t pair = (size_t)from * (size_t)window->processes + (size_t)to;
    size_t slot = pair * LKS_WINDOW_SLOTS + chunk % LKS_WINDOW_SLOTS;
    return column_of(window, column) + window->partials + slot * window->chunk;
}

void *lks_window_result(const lks_window_t *window, int column, int from, uint64_t chunk)
{
    size_t slot = (size_t)from * LKS_WINDOW_SLOTS + chunk % LKS_WINDOW_SLOTS;
    return column_of(window, column) + window->results + slot * window->chunk;
}

void *lks_window_stage(const lks_window_t *window, int column, int from, uint64_t collective)
{
    size_t place = 2 * (size_t)from + collective % 2;
    return column_of(window, column) + window->stages + place * LKS_WINDOW_STAGE;
}

_Atomic uint64_t *lks_window_calls(const lks_window_t *window, int rank, lks_window_counter_t which)
{
    void *line = window->base + window->calls + (size_t)rank * LINE;
    return (_Atomic uint64_t *)line + which;
}

static header_t *header_of(const lks_window_t *window)
{
    return (header_t *)(void *)window->base;
}

lks_gate_t *lks_window_gate(const lks_window_t *window)
{
    return &header_of(window)->gate;
}

/* --- abort -------------------------------------------------------------------------------------- */

void lks_window_abort(lks_window_t *window, const lks_abort_state_t *state)
{
    header_t *header = header_of(window);
    int running = RUNNING;
    if (atomic_compare_exchange_strong(&header->state, &running, WRITING)) {
        (void)snprintf(header->reason, sizeof header->reason, "%s", state->reason);
        header->late = state->late;
        atomic_store(&header->state, ABORTED);
    }
    lks_gate_advance(&header->gate);
}

bool lks_window_aborted(const lks_window_t *window, lks_abort_state_t *state)
{
    const header_t *header = header_of(window);
    bool aborted = atomic_load_explicit(&header->state, memory_order_acquire) == ABORTED;
    if (aborted && state) {
        lks_abort_state_set_sentence(state, header->late, header->reason);
    }
    return aborted;
}
