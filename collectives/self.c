/* SPDX-License-Identifier: Apache-2.0 */
/* self.c - one rank: every collective is a copy, or nothing. */
#include "collectives/abort_state.h"
#include "collectives/backend.h"

#include <stdlib.h>
#include <string.h>

typedef struct self {
    lks_comm_t comm;
    lks_comm_host_t host;
} self_t;

static lks_status_t copy(lks_comm_t *comm, const lks_collective_t *call)
{
    self_t *self = (self_t *)comm;
    LKS_TRY(lks_abort_state_check(&self->host.aborted, lks_collective_name(call->kind)));
    if (call->nbytes > 0 && call->send != call->recv) {
        memcpy(call->recv, call->send, call->nbytes);
    }
    return LKS_OK;
}

static void self_abort(lks_comm_t *comm, const char *reason)
{
    self_t *self = (self_t *)comm;
    lks_abort_state_set_by_rank(&self->host.aborted, comm->rank, reason);
}

static void self_destroy(lks_comm_t *comm)
{
    self_t *self = (self_t *)comm;
    lks_abort_state_fini(&self->host.aborted);
    free(self);
}

static lks_comm_host_t *self_host(lks_comm_t *comm)
{
    return &((self_t *)comm)->host;
}

static const lks_comm_backend_t backend = {
    .name = "self",
    .broadcast = copy,
    .all_reduce = copy,
    .reduce_scatter = copy,
    .all_gather = copy,
    .barrier = copy,
    .abort = self_abort,
    .destroy = self_destroy,
    .host = self_host,
};

lks_status_t lks_comm_create_self(lks_comm_t **out)
{
    self_t *self = calloc(1, sizeof *self);
    if (!self) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a communicator of 1 rank: out of memory");
    }
    self->comm =
        (lks_comm_t){.backend = &backend, .world_size = 1, .processes = 1, .local_size = 1};
    lks_abort_state_init(&self->host.aborted);
    self->host.timeout = UINT64_MAX;
    *out = &self->comm;
    return LKS_OK;
}
