/* SPDX-License-Identifier: Apache-2.0 */
#include "support/support.h"

#include <lockstep/comm.h>

static lks_comm_t *comm;

static void create(void)
{
    assert_ok(lks_comm_create_self(&comm));
}

static void destroy(void)
{
    lks_comm_destroy(comm);
}

TestSuite(self, .init = create, .fini = destroy);

Test(self, is_rank_0_of_1)
{
    cr_assert(lks_comm_rank(comm) == 0);
    cr_assert(lks_comm_world_size(comm) == 1);
    cr_assert_str_eq(lks_comm_backend(comm), "self");
}

Test(self, collectives_copy)
{
    float send[] = {1, 2, 3}, recv[3] = {0};
    assert_ok(lks_comm_all_reduce(comm, send, recv, 3, LKS_DTYPE_F32, LKS_REDUCE_AVG, NULL));
    cr_assert(memcmp(send, recv, sizeof send) == 0);
    send[0] = 4;
    assert_ok(lks_comm_reduce_scatter(comm, send, recv, 3, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL));
    cr_assert(memcmp(send, recv, sizeof send) == 0);
    send[0] = 5;
    assert_ok(lks_comm_all_gather(comm, send, recv, 3, LKS_DTYPE_F32, NULL));
    cr_assert(memcmp(send, recv, sizeof send) == 0);
    assert_ok(lks_comm_broadcast(comm, recv, 3, LKS_DTYPE_F32, 0, NULL));
    assert_ok(lks_comm_all_reduce(comm, recv, recv, 3, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL));
    cr_assert(memcmp(send, recv, sizeof send) == 0);
    assert_ok(lks_comm_barrier(comm));
}

Test(self, zero_elements_need_no_buffer)
{
    assert_ok(lks_comm_all_reduce(comm, NULL, NULL, 0, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL));
    assert_ok(lks_comm_broadcast(comm, NULL, 0, LKS_DTYPE_I8, 0, NULL));
}

Test(self, is_dead_after_abort)
{
    lks_comm_abort(comm, "disk full");
    lks_comm_abort(comm, "another reason");
    assert_fails(lks_comm_barrier(comm), LKS_ERR_ABORTED, "barrier: aborted by rank 0: disk full");
    float x = 1;
    assert_fails(lks_comm_broadcast(comm, &x, 1, LKS_DTYPE_F32, 0, NULL), LKS_ERR_ABORTED,
                 "broadcast: aborted by rank 0: disk full");
}
