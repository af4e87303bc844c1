/* SPDX-License-Identifier: Apache-2.0 */
#include "support/support.h"

#include <lockstep/comm.h>
#include <math.h>
#include <stdint.h>

static lks_comm_t *comms[3];

static void create(void)
{
    assert_ok(lks_comm_create_local(3, NULL, comms));
}

static void destroy(void)
{
    for (int i = 0; i < 3; i++) {
        lks_comm_destroy(comms[i]);
    }
}

TestSuite(comm, .init = create, .fini = destroy);

static float buffer[4];

Test(comm, knows_its_ranks)
{
    for (int i = 0; i < 3; i++) {
        cr_assert(lks_comm_rank(comms[i]) == i);
        cr_assert(lks_comm_world_size(comms[i]) == 3);
        cr_assert_str_eq(lks_comm_backend(comms[i]), "local");
    }
}

Test(comm, no_ranks_is_an_error_and_sets_nothing)
{
    lks_comm_t *out[1] = {NULL};
    assert_fails(lks_comm_create_local(0, NULL, out), LKS_ERR_INVALID_ARG, "0 ranks");
    assert_fails(lks_comm_create_local(-1, NULL, out), LKS_ERR_INVALID_ARG, "-1 ranks");
    cr_assert(!out[0]);
}

Test(comm, timeout_must_be_positive)
{
    const double bad[] = {0, -1, (double)NAN, (double)INFINITY, 1e12};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lks_comm_config_t config = {.timeout = bad[i]};
        lks_comm_t *out[1] = {NULL};
        assert_fails(lks_comm_create_local(1, &config, out), LKS_ERR_INVALID_ARG, "timeout");
        cr_assert(!out[0]);
    }
}

Test(comm, destroying_null_does_nothing)
{
    lks_comm_memory_destroy(NULL);
    lks_comm_destroy(NULL);
}

/* None of these calls waits for the other ranks: each is refused before it is posted. */
Test(comm, root_must_be_a_rank)
{
    assert_fails(lks_comm_broadcast(comms[0], buffer, 4, LKS_DTYPE_F32, 3, NULL),
                 LKS_ERR_INVALID_ARG, "root 3 is not a rank of a communicator of 3");
    assert_fails(lks_comm_broadcast(comms[0], buffer, 4, LKS_DTYPE_F32, -1, NULL),
                 LKS_ERR_INVALID_ARG, "root -1");
}

Test(comm, dtype_must_exist)
{
    lks_dtype_t none = (lks_dtype_t)LKS_DTYPE_COUNT;
    assert_fails(lks_comm_broadcast(comms[0], buffer, 1, none, 0, NULL), LKS_ERR_INVALID_ARG,
                 "broadcast: no dtype");
    assert_fails(lks_comm_all_gather(comms[0], buffer, buffer, 1, none, NULL), LKS_ERR_INVALID_ARG,
                 "all_gather: no dtype");
}

Test(comm, op_must_fit_the_dtype)
{
    assert_fails(
        lks_comm_all_reduce(comms[0], buffer, buffer, 1, LKS_DTYPE_I32, LKS_REDUCE_AVG, NULL),
        LKS_ERR_INVALID_ARG, "all_reduce: int32 does not reduce by avg");
    assert_fails(
        lks_comm_reduce_scatter(comms[0], buffer, buffer, 1, LKS_DTYPE_C64, LKS_REDUCE_MAX, NULL),
        LKS_ERR_INVALID_ARG, "reduce_scatter: complex64 does not reduce by max");
    assert_fails(
        lks_comm_all_reduce(comms[0], buffer, buffer, 1, LKS_DTYPE_F32, (lks_reduce_op_t)17, NULL),
        LKS_ERR_INVALID_ARG, "unknown op (17)");
}

Test(comm, bytes_must_fit_memory)
{
    assert_fails(lks_comm_all_reduce(comms[0], buffer, buffer, SIZE_MAX / 2, LKS_DTYPE_F32,
                                     LKS_REDUCE_SUM, NULL),
                 LKS_ERR_INVALID_ARG, "overflow");
    /* One slice fits, three do not. */
    assert_fails(lks_comm_all_gather(comms[0], buffer, buffer, SIZE_MAX / 8, LKS_DTYPE_F32, NULL),
                 LKS_ERR_INVALID_ARG, "on each of 3 ranks overflow");
}

Test(comm, buffers_must_be_there)
{
    assert_fails(
        lks_comm_all_reduce(comms[0], NULL, buffer, 4, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL),
        LKS_ERR_INVALID_ARG, "a buffer of 4 float32 is NULL");
    assert_fails(lks_comm_all_gather(comms[0], buffer, NULL, 1, LKS_DTYPE_F32, NULL),
                 LKS_ERR_INVALID_ARG, "NULL");
}

Test(comm, host_backends_refuse_streams)
{
    lks_stream_t *stream = (lks_stream_t *)buffer;
    assert_fails(lks_comm_broadcast(comms[0], buffer, 4, LKS_DTYPE_F32, 0, stream),
                 LKS_ERR_UNSUPPORTED, "the local backend has no stream but NULL");
}
