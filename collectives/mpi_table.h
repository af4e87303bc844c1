/* SPDX-License-Identifier: Apache-2.0 */
/* mpi_table.h - what is asked of an MPI library. The ABIs of Open MPI and MPICH differ, so mpi_leaf.c is compiled once
 * for each, into liblockstep_mpi_openmpi.so and liblockstep_mpi_mpich.so (core/leaf.h); everything that is not MPI's is in
 * liblockstep.
 * Functions return 0, or MPI's error code, which error_text puts into words. Processes are ranks of a duplicate of
 * MPI_COMM_WORLD. Any thread may call any of them (MPI_THREAD_MULTIPLE). */
#ifndef LOCKSTEP_COLLECTIVES_MPI_TABLE_H
#define LOCKSTEP_COLLECTIVES_MPI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#define LKS_MPI_TABLE_VERSION 1

/** Room for an MPI_Request of either library. */
typedef struct lks_mpi_request {
    _Alignas(16) unsigned char bytes[16];
} lks_mpi_request_t;

typedef struct lks_mpi_table {
    const char *name; /* "Open MPI" */
    /* Once: MPI_Init_thread, unless the program has done that. */
    int (*open)(bool *has_threads);
    /* MPI_Finalize, if open initialized; waits for all processes. */
    int (*close)(void);
    int (*world)(int *process, int *processes);
    /* Among the processes that share this one's memory, in world order. */
    int (*node)(int *process, int *processes);
    /* All processes' `nbytes` in order; of the world, or of the node. Wait for all. */
    int (*all_gather)(const void *send, void *recv, size_t nbytes);
    int (*node_all_gather)(const void *send, void *recv, size_t nbytes);
    /* At most INT_MAX bytes; messages between two processes with one tag arrive in order. */
    int (*send)(const void *data, size_t nbytes, int process, int tag, lks_mpi_request_t *request);
    int (*receive)(void *data, size_t nbytes, int process, int tag, lks_mpi_request_t *request);
    /* done: the request is over and forgotten; nbytes: what was received. */
    int (*test)(lks_mpi_request_t *request, bool *done, size_t *nbytes);
    void (*error_text)(int code, char *text, size_t size);
} lks_mpi_table_t;

#endif
