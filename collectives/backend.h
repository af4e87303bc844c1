/* SPDX-License-Identifier: Apache-2.0 */
/* backend.h - the table a communicator backend fills. self.c is the smallest example. A backend that stands
 * on a heavy library (NCCL, MPI) lives in a leaf library (core/leaf.h) and returns the same table.
 * A backend gets calls that comm.c has checked; what ranks must agree on is the backend's to check. */
#ifndef LOCKSTEP_COLLECTIVES_BACKEND_H
#define LOCKSTEP_COLLECTIVES_BACKEND_H

#include "collectives/abort_state.h"
#include "core/strbuf.h"
#include "core/thread.h"

#include <lockstep/comm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** X(enumerator, name in messages) */
#define LKS_COLLECTIVE_LIST(X)                                                                     \
    X(LKS_COLLECTIVE_BROADCAST, "broadcast")                                                       \
    X(LKS_COLLECTIVE_ALL_REDUCE, "all_reduce")                                                     \
    X(LKS_COLLECTIVE_REDUCE_SCATTER, "reduce_scatter")                                             \
    X(LKS_COLLECTIVE_ALL_GATHER, "all_gather")                                                     \
    X(LKS_COLLECTIVE_BARRIER, "barrier")                                                           \
    X(LKS_COLLECTIVE_GRADIENTS, "exchange of gradients")

#define LKS_COLLECTIVE_ENUM(id, name) id,
typedef enum {
    LKS_COLLECTIVE_LIST(LKS_COLLECTIVE_ENUM) LKS_COLLECTIVE_COUNT
} lks_collective_kind_t;
#undef LKS_COLLECTIVE_ENUM

/** One collective as one rank called it. Fields that its kind does not use are zero. */
typedef struct lks_collective {
    lks_collective_kind_t kind;
    lks_dtype_t dtype;
    lks_reduce_op_t op; /* of a reduction */
    int root;           /* of a broadcast */
    size_t count;     /* elements, as the caller gave them: of one slice where ranks have slices */
    size_t nbytes;    /* of count elements; world_size times as many fit a size_t, too */
    const void *send; /* of a broadcast: the buffer, as recv */
    void *recv;
    lks_stream_t *stream;
} lks_collective_t;

const char *lks_collective_name(lks_collective_kind_t kind);

/** "all_reduce of 100 float32 (sum)", into text[0..size); returns text. */
const char *lks_collective_format(char *text, size_t size, const lks_collective_t *call);

/** Whether two ranks called the same. */
bool lks_collective_same(const lks_collective_t *a, const lks_collective_t *b);

/** What ranks did when they should all have called collective `number`. */
typedef struct lks_collective_round {
    uint64_t number;
    int first_rank, world_size; /* what sentences call rank 0; how many ranks there are */
    /* What a rank called; NULL: it has not come yet. */
    const lks_collective_t *(*called)(const void *context, int rank);
    const void *context;
} lks_collective_round_t;

/** "collective 7: rank 0 called all_reduce of 10 float32 (sum), rank 2 called barrier": rank 0's call and every other
 *  one. All have come. */
void lks_collective_describe_mismatch(const lks_collective_round_t *round, lks_strbuf_t *out);

/** "collective 7, all_reduce of 10 float32 (sum): rank 2 did not come within 2 s". */
void lks_collective_describe_late(const lks_collective_round_t *round, const lks_collective_t *mine,
                                  uint64_t timeout, lks_strbuf_t *out);

typedef lks_status_t (*lks_collective_fn_t)(lks_comm_t *comm, const lks_collective_t *call);

/** The ranks of one process on the host: how they wait for each other where they do so without a collective. */
typedef struct lks_comm_host {
    lks_abort_state_t aborted;
    lks_gate_t
        gate; /* advances when a rank has done something that others may wait for, and on abort */
    uint32_t spin;    /* before a rank sleeps at the gate */
    uint64_t timeout; /* nanoseconds */
} lks_comm_host_t;

typedef struct lks_comm_backend {
    const char *name;
    bool has_streams; /* takes streams other than NULL */
    lks_collective_fn_t broadcast;
    lks_collective_fn_t all_reduce;
    lks_collective_fn_t reduce_scatter;
    lks_collective_fn_t all_gather;
    lks_collective_fn_t barrier;
    /* Ends the job on every rank, from any thread; the first reason stays. `reason` may be NULL. */
    void (*abort)(lks_comm_t *comm, const char *reason);
    /* Frees this rank's part without waiting; peers that still wait for it get ABORTED. */
    void (*destroy)(lks_comm_t *comm);
    /* What the ranks of this process share besides; NULL: they compute on no host. */
    lks_comm_host_t *(*host)(lks_comm_t *comm);
    /* Whether another process has ended the job; the ranks of this one learn it then. From any thread; NULL: there is no
     * other process. */
    bool (*ended_elsewhere)(lks_comm_t *comm);
    /* Where this rank's part of gradient buckets meets that of the other processes; NULL, or returning NULL: this rank has
     * none to exchange with. */
    struct lks_column *(*exchange)(lks_comm_t *comm);
    /* Where it counts its buckets for them; with exchange. */
    _Atomic uint64_t *(*exchange_counter)(lks_comm_t *comm);
    /* Whether ranks of other processes can all reach memory that they share with this one (memory.h). NULL: there are none,
     * or not so. */
    bool (*shares_memory)(lks_comm_t *comm);
} lks_comm_backend_t;

/** Whether all ranks have the same digest of something; a collective. Errors: ABORTED. */
LKS_NODISCARD lks_status_t lks_comm_agree(lks_comm_t *comm, uint64_t digest, bool *agree);

/** The timeout of a config (NULL: the default). Errors: INVALID_ARG. */
LKS_NODISCARD lks_status_t lks_comm_timeout(const lks_comm_config_t *config, uint64_t *nanoseconds);

/** The first member of every backend's communicator. */
struct lks_comm {
    const lks_comm_backend_t *backend;
    int rank, world_size;
    int processes;               /* that the ranks are spread over */
    int local_first, local_size; /* the ranks of this process: local_size from local_first on */
    lks_comm_memory_t *memories; /* shared with other processes, the last one made first */
    uint64_t memory_count;       /* so far */
};

#endif
