/* SPDX-License-Identifier: Apache-2.0 */
/* comm.h - a communicator: the ranks of one job and the collectives among them.
 * Life:    lks_comm_create_{self,local,mpi} -> collectives -> lks_comm_destroy, once per rank.
 * Order:   every rank calls the same collectives in the same order with the same count and dtype; each has a
 *          number, the first is 0. A rank that calls another one, or none within the communicator's timeout, ends the
 *          job on every rank: ABORTED, with the rank and the collective's number in the sentence.
 * Result:  reductions follow one binary tree over the ranks, neighbours first: ((r0 + r1) + (r2 + r3)) + r4,
 *          element by element: the same bits on every rank and in every run. Between processes each first reduces
 *          its own ranks, unless the vector lies in shared memory (lks_comm_memory_t): with a power of two of ranks in
 *          each that is the same. float16 and bfloat16 accumulate in float32 and round once.
 * Threads: a communicator belongs to the thread of its rank; only lks_comm_abort may come from another.
 * Async:   collectives are queued on `stream`; buffers must live until it passes them. The host's stream
 *          is NULL: the call returns when this rank's result is there.
 * Failure: lks_comm_abort on any rank ends the job: every rank that waits, or calls again, gets ABORTED.
 *          An aborted communicator can only be destroyed. */
#ifndef LOCKSTEP_COMM_H
#define LOCKSTEP_COMM_H

#include <lockstep/device.h>
#include <lockstep/dtype.h>
#include <stdbool.h>

LKS_BEGIN_DECLS

typedef struct lks_comm lks_comm_t;

typedef enum {
    LKS_REDUCE_SUM,
    LKS_REDUCE_PROD,
    LKS_REDUCE_MIN, /**< NaN wins, as in NumPy and PyTorch */
    LKS_REDUCE_MAX, /**< NaN wins */
    LKS_REDUCE_AVG, /**< sum, then divided by the world size; floats only */
    LKS_REDUCE_OP_COUNT
} lks_reduce_op_t;

typedef struct lks_comm_config {
    /** Seconds a rank waits for the others in one collective before it ends the job; 1800. At most 10 years. */
    double timeout;
    /** Cores the ranks of this process run on, to decide how they wait: by spinning briefly if there is one for each,
     *  else asleep; 0: those that this process may use. */
    size_t cores;
} lks_comm_config_t;

LKS_API lks_comm_config_t lks_comm_config_default(void);

/** A communicator of one rank. Errors: NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_create_self(lks_comm_t **out);

/** The communicators of `world_size` threads of this process, one per rank, into out[0..world_size).
 *  `config` may be NULL. Errors: INVALID_ARG (world_size < 1, a timeout that is not positive), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_create_local(int world_size,
                                                         const lks_comm_config_t *config,
                                                         lks_comm_t **out);

/** The communicators of this process's ranks among all processes that mpirun, mpiexec or srun started, one per local rank,
 *  into out[0..local_size). Called once by every process of the job; ranks are numbered across it, process by process, and
 *  processes may have different numbers of them. Threads of a process meet in memory, processes of a node in memory that
 *  they share, nodes by MPI messages (Open MPI or MPICH, whichever started the process; LOCKSTEP_MPI=openmpi|mpich says
 *  it where that cannot be seen). srun needs --mpi=pmix for Open MPI and --mpi=pmi2 for MPICH. MPI is initialized with MPI_THREAD_MULTIPLE unless the program has done that, and
 *  finalized with the last rank, unless the job was aborted.
 *  Errors: INVALID_ARG, UNSUPPORTED (no MPI started this process, or this build or machine lacks it), COMM (also: not all
 *  processes came within the timeout, or within 20 s if it is shorter; MPI is of no use then; or MPI sees this process alone
 *  where several were started), IO (no memory to share), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_create_mpi(int local_size,
                                                       const lks_comm_config_t *config,
                                                       lks_comm_t **out);

/** Whether mpirun, mpiexec or srun started this process, alone or as one of several; looks at the environment alone. Also
 *  true for several that srun started without an MPI, which cannot be one job: lks_comm_create_mpi says so. Never with
 *  LOCKSTEP_MPI=none. */
LKS_API bool lks_comm_is_launched(void);

/** Gives this rank's communicator back. Does not wait for the others: what they have called with this rank
 *  completes, what they call or wait for afterwards fails with ABORTED. NULL does nothing. */
LKS_API void lks_comm_destroy(lks_comm_t *comm);

LKS_API int lks_comm_rank(const lks_comm_t *comm);
LKS_API int lks_comm_world_size(const lks_comm_t *comm);
LKS_API int lks_comm_local_rank(const lks_comm_t *comm); /**< among the ranks of this process */
LKS_API int lks_comm_local_size(const lks_comm_t *comm);
LKS_API const char *lks_comm_backend(const lks_comm_t *comm); /**< "self", "local", "mpi" */

/** Copies `count` elements of rank `root`'s buffer into every rank's.
 *  buffer: shape (count). A count of zero is legal. Errors, here and below: INVALID_ARG (dtype, op, root,
 *  a missing buffer, or more bytes than memory has; this rank called nothing, comm lives), UNSUPPORTED (a
 *  stream the backend does not have; likewise), ABORTED (a rank failed, called something else or did not come;
 *  comm is dead). */
LKS_API LKS_NODISCARD lks_status_t lks_comm_broadcast(lks_comm_t *comm, void *buffer, size_t count,
                                                      lks_dtype_t dtype, int root,
                                                      lks_stream_t *stream);

/** Sum (or other `op`) of `count` elements over all ranks, result on every rank.
 *  send, recv: shape (count); may be equal (in place), else must not overlap. Complex dtypes: SUM only;
 *  bool: MIN and MAX only (and, or). */
LKS_API LKS_NODISCARD lks_status_t lks_comm_all_reduce(lks_comm_t *comm, const void *send,
                                                       void *recv, size_t count, lks_dtype_t dtype,
                                                       lks_reduce_op_t op, lks_stream_t *stream);

/** Reduces, and leaves each rank its slice.
 *  send: shape (world_size, recv_count); recv: shape (recv_count), may be send's own slice. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_reduce_scatter(lks_comm_t *comm, const void *send,
                                                           void *recv, size_t recv_count,
                                                           lks_dtype_t dtype, lks_reduce_op_t op,
                                                           lks_stream_t *stream);

/** Every rank's slice, in rank order, on every rank.
 *  send: shape (send_count), may be recv's own slice; recv: shape (world_size, send_count). */
LKS_API LKS_NODISCARD lks_status_t lks_comm_all_gather(lks_comm_t *comm, const void *send,
                                                       void *recv, size_t send_count,
                                                       lks_dtype_t dtype, lks_stream_t *stream);

/** Memory of a rank that the ranks of other processes of its machine can reach, too. */
typedef struct lks_comm_memory lks_comm_memory_t;

/** `nbytes` bytes for this rank, zeroed; called by all ranks with the same number. Between processes of one machine an
 *  all-reduce of such memory (in place, at the same offset on all ranks) takes half the time: ranks work on it directly,
 *  as threads of one process do. Everywhere else it is memory like any other. A replica's gradients lie in it.
 *  Belongs to the caller, who destroys it before the communicator or after it, from any thread; peers do not use it outside
 *  collectives, but what it holds after ABORTED is undefined. Where a machine does not let processes share memory it is
 *  private on all ranks, with a warning.
 *  Errors: INVALID_ARG (numbers of ranks in several processes differ; comm lives), NO_MEMORY (perhaps of this
 *  rank alone), ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_memory_create(lks_comm_t *comm, size_t nbytes,
                                                          lks_comm_memory_t **out);
LKS_API void *lks_comm_memory_data(const lks_comm_memory_t *memory);
LKS_API void lks_comm_memory_destroy(lks_comm_memory_t *memory); /**< NULL does nothing */

/** Returns when every rank has called it. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_barrier(lks_comm_t *comm);

/** Ends the job on every rank with ABORTED; `reason` (may be NULL) becomes part of their message.
 *  The first reason stays. From any thread, any number of times. */
LKS_API void lks_comm_abort(lks_comm_t *comm, const char *reason);

LKS_END_DECLS
#endif
