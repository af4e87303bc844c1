/* SPDX-License-Identifier: Apache-2.0 */
/* sync.c - the collectives a replica needs: everything lies in a few flat blocks, so each is one call. */
#include <lockstep/replica.h>

static lks_status_t broadcast_block(lks_replica_t *replica, lks_tensor_t block)
{
    if (!block.storage) {
        return LKS_OK;
    }
    return lks_comm_broadcast(replica->comm, lks_tensor_data(&block),
                              (size_t)lks_tensor_numel(&block), block.dtype, 0, NULL);
}

lks_status_t lks_replica_broadcast(lks_replica_t *replica)
{
    LKS_TRY(broadcast_block(replica, lks_module_flat_values(replica->module)));
    LKS_TRY(broadcast_block(replica, lks_module_flat_buffers(replica->module)));
    if (!replica->optim) {
        return LKS_OK;
    }
    for (size_t i = 0; i < lks_optim_state_count(replica->optim); i++) {
        LKS_TRY(broadcast_block(replica, lks_optim_flat_state(replica->optim, i)));
    }
    int64_t steps = lks_optim_steps(replica->optim);
    LKS_TRY(lks_comm_broadcast(replica->comm, &steps, 1, LKS_DTYPE_I64, 0, NULL));
    lks_optim_set_steps(replica->optim, steps);
    return LKS_OK;
}

lks_status_t lks_replica_all_reduce_grads(lks_replica_t *replica)
{
    lks_tensor_t grads = lks_module_flat_grads(replica->module);
    if (!grads.storage) {
        return LKS_OK;
    }
    float *data = lks_tensor_data(&grads);
    return lks_comm_all_reduce(replica->comm, data, data, (size_t)lks_tensor_numel(&grads),
                               grads.dtype, LKS_REDUCE_SUM, NULL);
}
