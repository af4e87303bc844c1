/* SPDX-License-Identifier: Apache-2.0 */
/* mpi_leaf.c - the only file that knows MPI: mpi_table.h in its terms. It uses nothing of liblockstep.
 * LOCKSTEP_MPI_LEAF names the function it exports. */
#include "collectives/mpi_table.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MPI_Comm world = MPI_COMM_NULL, node = MPI_COMM_NULL;
static bool initialized_here;

/* LOCKSTEP_MPI_MESSAGES: as if each process were on a node of its own, to try messages on one machine. */
static int split_by_node(void)
{
    int process;
    const char *messages = getenv("LOCKSTEP_MPI_MESSAGES");
    if (!messages || strcmp(messages, "1") != 0) {
        return MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    }
    int code = MPI_Comm_rank(world, &process);
    return code == MPI_SUCCESS ? MPI_Comm_split(world, process, 0, &node) : code;
}

static int leaf_open(bool *has_threads)
{
    int initialized = 0, provided = 0, code = MPI_Initialized(&initialized);
    if (code == MPI_SUCCESS && !initialized) {
        code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
        initialized_here = code == MPI_SUCCESS;
    } else if (code == MPI_SUCCESS) {
        code = MPI_Query_thread(&provided);
    }
    *has_threads = provided == MPI_THREAD_MULTIPLE;
    if (code == MPI_SUCCESS) {
        code = MPI_Comm_dup(MPI_COMM_WORLD, &world);
    }
    if (code == MPI_SUCCESS) {
        code = MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
    }
    if (code == MPI_SUCCESS) {
        code = split_by_node();
    }
    if (code == MPI_SUCCESS) {
        code = MPI_Comm_set_errhandler(node, MPI_ERRORS_RETURN);
    }
    return code;
}

static int leaf_close(void)
{
    (void)MPI_Comm_free(&node);
    (void)MPI_Comm_free(&world);
    return initialized_here ? MPI_Finalize() : MPI_SUCCESS;
}

static int rank_and_size(MPI_Comm comm, int *process, int *processes)
{
    int code = MPI_Comm_rank(comm, process);
    return code == MPI_SUCCESS ? MPI_Comm_size(comm, processes) : code;
}

static int leaf_world(int *process, int *processes)
{
    return rank_and_size(world, process, processes);
}

static int leaf_node(int *process, int *processes)
{
    return rank_and_size(node, process, processes);
}

static int leaf_all_gather(const void *send, void *recv, size_t nbytes)
{
    return MPI_Allgather(send, (int)nbytes, MPI_BYTE, recv, (int)nbytes, MPI_BYTE, world);
}

static int leaf_node_all_gather(const void *send, void *recv, size_t nbytes)
{
    return MPI_Allgather(send, (int)nbytes, MPI_BYTE, recv, (int)nbytes, MPI_BYTE, node);
}

static int leaf_send(const void *data, size_t nbytes, int process, int tag,
                     lks_mpi_request_t *request)
{
    MPI_Request made;
    int code = MPI_Isend(data, (int)nbytes, MPI_BYTE, process, tag, world, &made);
    memcpy(request->bytes, &made, sizeof made);
    return code;
}

static int leaf_receive(void *data, size_t nbytes, int process, int tag, lks_mpi_request_t *request)
{
    MPI_Request made;
    int code = MPI_Irecv(data, (int)nbytes, MPI_BYTE, process, tag, world, &made);
    memcpy(request->bytes, &made, sizeof made);
    return code;
}

static int leaf_test(lks_mpi_request_t *request, bool *done, size_t *nbytes)
{
    MPI_Request tested;
    MPI_Status status;
    int flag = 0, count = 0;
    memcpy(&tested, request->bytes, sizeof tested);
    int code = MPI_Test(&tested, &flag, &status);
    memcpy(request->bytes, &tested, sizeof tested);
    *done = flag;
    if (code == MPI_SUCCESS && flag) {
        code = MPI_Get_count(&status, MPI_BYTE, &count);
    }
    *nbytes = count > 0 ? (size_t)count : 0;
    return code;
}

static void leaf_error_text(int error, char *text, size_t size)
{
    char words[MPI_MAX_ERROR_STRING];
    int length = 0;
    if (MPI_Error_string(error, words, &length) != MPI_SUCCESS) {
        length = snprintf(words, sizeof words, "error %d", error);
    }
    (void)snprintf(text, size, "%.*s", length, words);
}

static const lks_mpi_table_t table = {
    .name = LOCKSTEP_MPI_NAME,
    .open = leaf_open,
    .close = leaf_close,
    .world = leaf_world,
    .node = leaf_node,
    .all_gather = leaf_all_gather,
    .node_all_gather = leaf_node_all_gather,
    .send = leaf_send,
    .receive = leaf_receive,
    .test = leaf_test,
    .error_text = leaf_error_text,
};

__attribute__((visibility("default"))) const void *LOCKSTEP_MPI_LEAF(int version);

const void *LOCKSTEP_MPI_LEAF(int version)
{
    _Static_assert(sizeof(MPI_Request) <= sizeof(lks_mpi_request_t), "room for a request");
    return version == LKS_MPI_TABLE_VERSION ? &table : NULL;
}
