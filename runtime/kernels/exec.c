/* SPDX-License-Identifier: Apache-2.0 */
/* exec.c - one replica's kernels, threads and memory. */
#include "runtime/kernels/exec_team.h"

#include "core/thread.h"
#include "runtime/kernels/scratch.h"

#include <stdlib.h>

/* Jobs smaller than this (floating-point operations or bytes) end before a helper has woken up. */
#define WORK_MIN ((size_t)1 << 20)

/* Memory that grows and is used again. */
typedef struct memory {
    void *data;
    size_t nbytes;
} memory_t;

struct lks_exec {
    lks_device_t *device;
    const lks_kernels_t *kernels;
    lks_team_t *team;
    bool training;
    lks_exec_position_t position;
    uint64_t generation;
    lks_status_t (*grad_ready)(void *context, size_t param);
    void *grad_context;
    lks_trace_row_t *trace_row;
    lks_scratch_t scratch;
    memory_t workspace, layer_memory;
};

lks_exec_config_t lks_exec_config_default(void)
{
    return (lks_exec_config_t){0};
}

static void bind_helper(void *context, size_t index)
{
    lks_device_bind_thread(context, index);
}

lks_status_t lks_exec_create(lks_device_t *device, const lks_exec_config_t *config,
                             lks_exec_t **out)
{
    size_t cores = lks_device_core_count(device);
    size_t threads = config && config->threads > 0 ? config->threads : cores;
    bool own_core_each = lks_device_cores_exclusive(device) && threads <= cores;
    lks_exec_t *exec = malloc(sizeof *exec);
    if (!exec) {
        return lks_fail(LKS_ERR_NO_MEMORY, "exec: out of memory");
    }
    *exec = (lks_exec_t){.device = device, .kernels = lks_kernels_get()};
    lks_device_bind_thread(device, 0);
    lks_status_t status = lks_team_create(threads, own_core_each ? LKS_SPIN_ROUNDS : 0, bind_helper,
                                          device, &exec->team);
    if (status != LKS_OK) {
        free(exec);
        return status;
    }
    lks_scratch_init(&exec->scratch, device);
    *out = exec;
    return LKS_OK;
}

void lks_exec_destroy(lks_exec_t *exec)
{
    if (!exec) {
        return;
    }
    lks_team_destroy(exec->team);
    lks_scratch_fini(&exec->scratch);
    lks_device_free(exec->device, exec->workspace.data);
    lks_device_free(exec->device, exec->layer_memory.data);
    free(exec);
}

lks_device_t *lks_exec_device(const lks_exec_t *exec)
{
    return exec->device;
}

size_t lks_exec_threads(const lks_exec_t *exec)
{
    return lks_team_size(exec->team);
}

void lks_exec_set_training(lks_exec_t *exec, bool training)
{
    exec->training = training;
}

bool lks_exec_is_training(const lks_exec_t *exec)
{
    return exec->training;
}

void lks_exec_set_position(lks_exec_t *exec, uint64_t seed, uint64_t step, int64_t first_sample)
{
    exec->position = (lks_exec_position_t){seed, step, first_sample};
}

const lks_exec_position_t *lks_exec_position(const lks_exec_t *exec)
{
    return &exec->position;
}

void lks_exec_set_grad_hook(lks_exec_t *exec, lks_status_t (*ready)(void *context, size_t param),
                            void *context)
{
    exec->grad_ready = ready;
    exec->grad_context = context;
}

lks_status_t lks_exec_grad_ready(const lks_exec_t *exec, size_t param)
{
    return exec->grad_ready ? exec->grad_ready(exec->grad_context, param) : LKS_OK;
}

void lks_exec_set_trace_row(lks_exec_t *exec, lks_trace_row_t *row)
{
    exec->trace_row = row;
}

lks_trace_row_t *lks_exec_trace_row(const lks_exec_t *exec)
{
    return exec->trace_row;
}

void lks_exec_reset(lks_exec_t *exec)
{
    lks_scratch_reset(&exec->scratch);
    exec->generation++;
}

uint64_t lks_exec_generation(const lks_exec_t *exec)
{
    return exec->generation;
}

lks_status_t lks_exec_scratch(lks_exec_t *exec, lks_dtype_t dtype, int ndim, const int64_t *shape,
                              lks_tensor_t *out)
{
    return lks_scratch_tensor(&exec->scratch, dtype, ndim, shape, out);
}

static lks_status_t reserve(const lks_exec_t *exec, memory_t *memory, size_t nbytes, void **out)
{
    if (nbytes > memory->nbytes) {
        void *grown;
        LKS_TRY(lks_device_alloc(exec->device, nbytes, &grown));
        lks_device_free(exec->device, memory->data);
        *memory = (memory_t){grown, nbytes};
    }
    *out = memory->data;
    return LKS_OK;
}

lks_status_t lks_exec_workspace(lks_exec_t *exec, size_t nbytes, void **out)
{
    return reserve(exec, &exec->workspace, nbytes, out);
}

lks_status_t lks_exec_layer_memory(lks_exec_t *exec, size_t nbytes, void **out)
{
    return reserve(exec, &exec->layer_memory, nbytes, out);
}

const lks_kernels_t *lks_exec_kernels(const lks_exec_t *exec)
{
    return exec->kernels;
}

void lks_exec_run(lks_exec_t *exec, size_t work,
                  void (*run)(void *context, size_t index, size_t threads), void *context)
{
    if (work < WORK_MIN) {
        run(context, 0, 1);
    } else {
        lks_team_run(exec->team, run, context);
    }
}

lks_part_t lks_exec_part(size_t count, size_t grain, size_t index, size_t parts)
{
    size_t grains = count / grain + (count % grain != 0);
    size_t each = grains / parts, more = grains % parts; /* the first `more` parts get one more */
    size_t first = each * index + (index < more ? index : more);
    size_t last = first + each + (index < more);
    return (lks_part_t){.begin = first < grains ? first * grain : count,
                        .end = last < grains ? last * grain : count};
}
