/* SPDX-License-Identifier: Apache-2.0 */
/* comm.c - what every backend would do alike: check a call's arguments, then hand it to the table. */
#include "collectives/backend.h"
#include "collectives/memory.h"
#include "collectives/reduce.h"
#include "core/checked.h"

lks_comm_config_t lks_comm_config_default(void)
{
    return (lks_comm_config_t){.timeout = 1800};
}

lks_status_t lks_comm_timeout(const lks_comm_config_t *config, uint64_t *nanoseconds)
{
    const double most = 10.0 * 366 * 24 * 3600;
    double timeout = config ? config->timeout : lks_comm_config_default().timeout;
    if (!(timeout > 0 && timeout <= most)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "a communicator's timeout is %g s; it must be above 0 and at most 10 years",
                        timeout);
    }
    *nanoseconds = (uint64_t)(timeout * 1e9);
    return LKS_OK;
}

static lks_status_t check_root(const lks_comm_t *comm, const lks_collective_t *call)
{
    if (call->root < 0 || call->root >= comm->world_size) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: root %d is not a rank of a communicator of %d",
                        lks_collective_name(call->kind), call->root, comm->world_size);
    }
    return LKS_OK;
}

static lks_status_t check_op(const lks_collective_t *call)
{
    if (!lks_reduce_supports(call->dtype, call->op)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: %s does not reduce by %s (%d)",
                        lks_collective_name(call->kind), lks_dtype_name(call->dtype),
                        lks_reduce_op_name(call->op), (int)call->op);
    }
    return LKS_OK;
}

/* What all kinds but barrier have: elements in buffers. Fills nbytes. */
static lks_status_t check_buffers(const lks_comm_t *comm, lks_collective_t *call)
{
    const char *name = lks_collective_name(call->kind);
    size_t size = lks_dtype_size(call->dtype), all_ranks;
    if (size == 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: no dtype has the number %d", name,
                        (int)call->dtype);
    }
    if (!lks_mul_size(call->count, size, &call->nbytes) ||
        !lks_mul_size(call->nbytes, (size_t)comm->world_size, &all_ranks)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: %zu %s on each of %d ranks overflow", name,
                        call->count, lks_dtype_name(call->dtype), comm->world_size);
    }
    if (call->count > 0 && (!call->send || !call->recv)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: a buffer of %zu %s is NULL", name, call->count,
                        lks_dtype_name(call->dtype));
    }
    if (call->stream && !comm->backend->has_streams) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "%s: the %s backend has no stream but NULL", name,
                        comm->backend->name);
    }
    return LKS_OK;
}

lks_status_t lks_comm_broadcast(lks_comm_t *comm, void *buffer, size_t count, lks_dtype_t dtype,
                                int root, lks_stream_t *stream)
{
    lks_collective_t call = {.kind = LKS_COLLECTIVE_BROADCAST,
                             .dtype = dtype,
                             .root = root,
                             .count = count,
                             .send = buffer,
                             .recv = buffer,
                             .stream = stream};
    LKS_TRY(check_buffers(comm, &call));
    LKS_TRY(check_root(comm, &call));
    return comm->backend->broadcast(comm, &call);
}

lks_status_t lks_comm_all_reduce(lks_comm_t *comm, const void *send, void *recv, size_t count,
                                 lks_dtype_t dtype, lks_reduce_op_t op, lks_stream_t *stream)
{
    lks_collective_t call = {.kind = LKS_COLLECTIVE_ALL_REDUCE,
                             .dtype = dtype,
                             .op = op,
                             .count = count,
                             .send = send,
                             .recv = recv,
                             .stream = stream};
    LKS_TRY(check_buffers(comm, &call));
    LKS_TRY(check_op(&call));
    return comm->backend->all_reduce(comm, &call);
}

lks_status_t lks_comm_reduce_scatter(lks_comm_t *comm, const void *send, void *recv,
                                     size_t recv_count, lks_dtype_t dtype, lks_reduce_op_t op,
                                     lks_stream_t *stream)
{
    lks_collective_t call = {.kind = LKS_COLLECTIVE_REDUCE_SCATTER,
                             .dtype = dtype,
                             .op = op,
                             .count = recv_count,
                             .send = send,
                             .recv = recv,
                             .stream = stream};
    LKS_TRY(check_buffers(comm, &call));
    LKS_TRY(check_op(&call));
    return comm->backend->reduce_scatter(comm, &call);
}

lks_status_t lks_comm_all_gather(lks_comm_t *comm, const void *send, void *recv, size_t send_count,
                                 lks_dtype_t dtype, lks_stream_t *stream)
{
    lks_collective_t call = {.kind = LKS_COLLECTIVE_ALL_GATHER,
                             .dtype = dtype,
                             .count = send_count,
                             .send = send,
                             .recv = recv,
                             .stream = stream};
    LKS_TRY(check_buffers(comm, &call));
    return comm->backend->all_gather(comm, &call);
}

lks_status_t lks_comm_agree(lks_comm_t *comm, uint64_t digest, bool *agree)
{
    int64_t high = (int64_t)(digest >> 32), low = (int64_t)(digest & UINT32_MAX);
    int64_t extremes[4] = {high, -high, low, -low}; /* the least and the greatest at once */
    LKS_TRY(lks_comm_all_reduce(comm, extremes, extremes, 4, LKS_DTYPE_I64, LKS_REDUCE_MAX, NULL));
    *agree = extremes[0] == -extremes[1] && extremes[2] == -extremes[3];
    return LKS_OK;
}

lks_status_t lks_comm_barrier(lks_comm_t *comm)
{
    return comm->backend->barrier(comm, &(lks_collective_t){.kind = LKS_COLLECTIVE_BARRIER});
}

void lks_comm_abort(lks_comm_t *comm, const char *reason)
{
    comm->backend->abort(comm, reason);
}

void lks_comm_destroy(lks_comm_t *comm)
{
    if (comm) {
        lks_comm_forget_memories(comm);
        comm->backend->destroy(comm);
    }
}

int lks_comm_rank(const lks_comm_t *comm)
{
    return comm->rank;
}

int lks_comm_world_size(const lks_comm_t *comm)
{
    return comm->world_size;
}

int lks_comm_local_rank(const lks_comm_t *comm)
{
    return comm->rank - comm->local_first;
}

int lks_comm_local_size(const lks_comm_t *comm)
{
    return comm->local_size;
}

const char *lks_comm_backend(const lks_comm_t *comm)
{
    return comm->backend->name;
}
