/* SPDX-License-Identifier: Apache-2.0 */
/* loss.c - cross-entropy and mean squared error, value and gradient in one pass over the outputs.
 * The sum of the losses runs in one order whatever the number of threads. */
#include "runtime/kernels/exec_team.h"

#include <lockstep/module.h>

#include <inttypes.h>
#include <stdatomic.h>

static lks_status_t check_matrix(const char *loss, const char *what, const lks_tensor_t *tensor)
{
    if (tensor->dtype != LKS_DTYPE_F32 || tensor->ndim != 2 || tensor->shape[1] < 1 ||
        !lks_tensor_is_contiguous(tensor)) {
        char shape[128];
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: %s are %s %s; they must be a float32 matrix",
                        loss, what, lks_dtype_name(tensor->dtype),
                        lks_shape_format(shape, sizeof shape, tensor->ndim, tensor->shape));
    }
    return LKS_OK;
}

static lks_status_t check_count(const char *loss, int64_t batch, int64_t global_count)
{
    if (global_count < 1 || global_count < batch) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: %" PRId64 " samples are not part of %" PRId64,
                        loss, batch, global_count);
    }
    return LKS_OK;
}

static lks_status_t check_labels(const lks_tensor_t *logits, const lks_tensor_t *labels)
{
    int64_t batch = logits->shape[0], classes = logits->shape[1];
    if (labels->dtype != LKS_DTYPE_I64 || labels->ndim != 1 || labels->shape[0] != batch ||
        !lks_tensor_is_contiguous(labels)) {
        char shape[128];
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "cross-entropy: labels are %s %s; they must be int64 (%" PRId64 ",)",
                        lks_dtype_name(labels->dtype),
                        lks_shape_format(shape, sizeof shape, labels->ndim, labels->shape), batch);
    }
    const int64_t *label = lks_tensor_data(labels);
    for (int64_t i = 0; i < batch; i++) {
        if (label[i] < 0 || label[i] >= classes) {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "cross-entropy: label %" PRId64 " of row %" PRId64
                            " is outside [0, %" PRId64 ")",
                            label[i], i, classes);
        }
    }
    return LKS_OK;
}

typedef struct cross_entropy {
    const lks_kernels_t *kernels;
    size_t batch, classes;
    const float *logits;
    const int64_t *labels;
    float scale;
    float *grad;     /* or NULL */
    float *row_loss; /* (batch) */
    float *work;     /* (threads, classes x lanes) */
    _Atomic size_t correct;
} cross_entropy_t;

static void cross_entropy_part(void *context, size_t index, size_t threads)
{
    cross_entropy_t *job = context;
    lks_part_t part = lks_exec_part(job->batch, job->kernels->lanes, index, threads);
    size_t at = part.begin * job->classes;
    size_t correct = job->kernels->cross_entropy(
        part.end - part.begin, job->classes, job->logits + at, job->labels + part.begin, job->scale,
        job->grad ? job->grad + at : NULL, job->work + index * job->classes * job->kernels->lanes,
        job->row_loss + part.begin);
    atomic_fetch_add_explicit(&job->correct, correct, memory_order_relaxed);
}

/* Four sums side by side: one addition need not wait for the last. */
static double sum_f64(const float *values, size_t count)
{
    double sums[4] = {0};
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            sums[j] += (double)values[i + j];
        }
    }
    for (; i < count; i++) {
        sums[0] += (double)values[i];
    }
    return sums[0] + sums[1] + (sums[2] + sums[3]);
}

/* The gradient's tensor and address; neither where the caller wants none. */
static lks_status_t new_grad(lks_exec_t *exec, const lks_tensor_t *like, const lks_tensor_t *wanted,
                             lks_tensor_t *tensor, float **data)
{
    *data = NULL;
    if (wanted) {
        LKS_TRY(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, like->shape, tensor));
        *data = lks_tensor_data(tensor);
    }
    return LKS_OK;
}

lks_status_t lks_cross_entropy(lks_exec_t *exec, const lks_tensor_t *logits,
                               const lks_tensor_t *labels, int64_t global_count, double *loss,
                               lks_tensor_t *grad, int64_t *correct)
{
    LKS_TRY(check_matrix("cross-entropy", "logits", logits));
    LKS_TRY(check_count("cross-entropy", logits->shape[0], global_count));
    LKS_TRY(check_labels(logits, labels));
    const lks_kernels_t *kernels = lks_exec_kernels(exec);
    size_t batch = (size_t)logits->shape[0], classes = (size_t)logits->shape[1];
    size_t work_floats = lks_exec_threads(exec) * classes * kernels->lanes;
    void *workspace;
    LKS_TRY(lks_exec_workspace(exec, (batch + work_floats) * sizeof(float), &workspace));
    lks_tensor_t tensor = {0};
    float *grad_data;
    LKS_TRY(new_grad(exec, logits, grad, &tensor, &grad_data));
    cross_entropy_t job = {
        .kernels = kernels,
        .batch = batch,
        .classes = classes,
        .logits = lks_tensor_data(logits),
        .labels = lks_tensor_data(labels),
        .scale = (float)(1 / (double)global_count),
        .grad = grad_data,
        .work = workspace,
        .row_loss = (float *)workspace + work_floats,
    };
    /* some 20 operations for each logit */
    lks_exec_run(exec, 20 * batch * classes, cross_entropy_part, &job);
    *loss = sum_f64(job.row_loss, batch) / (double)global_count;
    if (grad) {
        *grad = tensor;
    }
    if (correct) {
        *correct = (int64_t)job.correct;
    }
    return LKS_OK;
}

/* Elements whose squared errors are summed by one kernel call, whatever the number of threads. */
#define ERROR_CHUNK ((size_t)4096)

typedef struct squared_error {
    const lks_kernels_t *kernels;
    size_t count;
    const float *output, *target;
    float scale;
    float *grad;  /* or NULL */
    double *sums; /* one per chunk */
} squared_error_t;

static void squared_error_part(void *context, size_t index, size_t threads)
{
    const squared_error_t *job = context;
    lks_part_t part = lks_exec_part(job->count, ERROR_CHUNK, index, threads);
    for (size_t at = part.begin; at < part.end; at += ERROR_CHUNK) {
        size_t n = part.end - at < ERROR_CHUNK ? part.end - at : ERROR_CHUNK;
        job->sums[at / ERROR_CHUNK] = job->kernels->squared_error(
            n, job->output + at, job->target + at, job->scale, job->grad ? job->grad + at : NULL);
    }
}

lks_status_t lks_mse_loss(lks_exec_t *exec, const lks_tensor_t *output, const lks_tensor_t *target,
                          int64_t global_count, double *loss, lks_tensor_t *grad)
{
    LKS_TRY(check_matrix("MSE loss", "outputs", output));
    LKS_TRY(check_matrix("MSE loss", "targets", target));
    LKS_TRY(check_count("MSE loss", output->shape[0], global_count));
    if (!lks_tensor_same_shape(output, target)) {
        char got[128], wanted[128];
        return lks_fail(LKS_ERR_INVALID_ARG, "MSE loss: targets are %s, outputs %s",
                        lks_shape_format(got, sizeof got, 2, target->shape),
                        lks_shape_format(wanted, sizeof wanted, 2, output->shape));
    }
    size_t count = (size_t)lks_tensor_numel(output), chunks = count / ERROR_CHUNK + 1;
    double elements = (double)global_count * (double)output->shape[1];
    void *workspace;
    LKS_TRY(lks_exec_workspace(exec, chunks * sizeof(double), &workspace));
    lks_tensor_t tensor = {0};
    float *grad_data;
    LKS_TRY(new_grad(exec, output, grad, &tensor, &grad_data));
    squared_error_t job = {
        .kernels = lks_exec_kernels(exec),
        .count = count,
        .output = lks_tensor_data(output),
        .target = lks_tensor_data(target),
        .scale = (float)(2 / elements),
        .grad = grad_data,
        .sums = workspace,
    };
    lks_exec_run(exec, 3 * count * sizeof(float), squared_error_part, &job);
    double sum = 0;
    for (size_t i = 0; i * ERROR_CHUNK < count; i++) {
        sum += job.sums[i];
    }
    *loss = sum / elements;
    if (grad) {
        *grad = tensor;
    }
    return LKS_OK;
}
