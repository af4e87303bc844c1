/* SPDX-License-Identifier: Apache-2.0 */
/* fabric.h - the processes of a job: who is where, the MPI library among all of them, the memory of those of a node. */
#ifndef LOCKSTEP_COLLECTIVES_FABRIC_H
#define LOCKSTEP_COLLECTIVES_FABRIC_H

#include "collectives/mpi_table.h"
#include "collectives/window.h"

/** One process of the job. */
typedef struct lks_process {
    int first_rank, ranks;
    int node_index; /* among the processes of this node; -1: it is on another one */
} lks_process_t;

/** What all columns of a process share. */
typedef struct lks_fabric {
    const lks_mpi_table_t *mpi;
    lks_window_t *window;
    lks_process_t *processes; /* (process_count) */
    int process, process_count, world_size;
    int columns; /* that cut a vector; as many again carry gradient exchanges, so that these and collectives never meet */
    bool has_remote; /* there are other nodes */
    size_t chunk;    /* bytes of partials, or of elements, in one piece */
    lks_comm_host_t *host;
} lks_fabric_t;

/** Opens the MPI library of the launcher that started this process, and meets the others. `own_cores`: every rank of this node
 *  has a core of its own. The host is the caller's to set.
 *  Errors: UNSUPPORTED, INVALID_ARG, COMM (also: not all came within `timeout` nanoseconds, or 20 s if it is shorter; a thread
 *  stays behind then, which waits for them), IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_fabric_open(lks_fabric_t *fabric, int local_size, uint64_t timeout,
                                           bool *own_cores);

/** Frees what open made, after a failure, too; MPI stays open. */
void lks_fabric_close(lks_fabric_t *fabric);

/** What a function of the table returned, as a status. Errors: COMM, in MPI's words. */
LKS_NODISCARD lks_status_t lks_mpi_result(const lks_mpi_table_t *mpi, int code);

#endif
