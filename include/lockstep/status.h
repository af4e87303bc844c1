/* SPDX-License-Identifier: Apache-2.0 */
/* status.h - how a call says what went wrong.
 * Every fallible call returns a status; the sentence that goes with it waits in the calling thread:
 *     lks_status_t s = lks_checkpoint_open("a.pt", NULL, &ckpt);
 *     if (s != LKS_OK) fprintf(stderr, "%s\n", lks_last_error()->message);
 * The function that decides the error reports it (lks_fail); whoever forwards it stays silent or puts
 * context in front (lks_error_prefix). Outputs of a failed call are not touched.
 * Threads: the last error is thread-local; snapshot it to carry it to another thread. */
#ifndef LOCKSTEP_STATUS_H
#define LOCKSTEP_STATUS_H

#include <lockstep/api.h>

LKS_BEGIN_DECLS

/** X(enumerator, name). The order is the ABI: add at the end. */
#define LKS_STATUS_LIST(X)                                                                         \
    X(LKS_OK, "ok")                                                                                \
    X(LKS_ERR_INVALID_ARG, "invalid argument") /* the caller's mistake */                          \
    X(LKS_ERR_NO_MEMORY, "out of memory")                                                          \
    X(LKS_ERR_IO, "I/O error")            /* the operating system said no */                       \
    X(LKS_ERR_FORMAT, "bad format")       /* the file is not what it claims to be */               \
    X(LKS_ERR_CORRUPT, "corrupt")         /* a checksum is wrong */                                \
    X(LKS_ERR_UNSUPPORTED, "unsupported") /* valid, but not by this build or version */            \
    X(LKS_ERR_NOT_FOUND, "not found")                                                              \
    X(LKS_ERR_MISMATCH, "mismatch") /* two things that must agree do not */                        \
    X(LKS_ERR_DEVICE, "device error")                                                              \
    X(LKS_ERR_COMM, "communication error")                                                         \
    X(LKS_ERR_ABORTED, "aborted") /* a peer failed first */                                        \
    X(LKS_ERR_TIMEOUT, "timeout")                                                                  \
    X(LKS_ERR_BUSY, "busy") /* something is still going on */

#define LKS_STATUS_ENUM(id, name) id,
typedef enum { LKS_STATUS_LIST(LKS_STATUS_ENUM) LKS_STATUS_COUNT } lks_status_t;
#undef LKS_STATUS_ENUM

#define LKS_ERROR_MESSAGE_MAX 1024

/** A status and its sentence. `message` is never NULL, and empty while status is LKS_OK. It is one line: a control
 *  character, say in the name of a value, is a question mark. */
typedef struct lks_error {
    lks_status_t status;
    char message[LKS_ERROR_MESSAGE_MAX];
} lks_error_t;

/** Fixed English name of a status, "unknown status" for any other number. */
LKS_API const char *lks_status_name(lks_status_t status);

/** Records `status` with a formatted sentence in this thread and returns `status`.
 *  Too long a sentence is cut at LKS_ERROR_MESSAGE_MAX - 1 bytes. The arguments may point into the
 *  last error's own message. */
LKS_API lks_status_t lks_fail(lks_status_t status, const char *format, ...) LKS_PRINTF(2, 3);

/* The same, with the result in sight of the compiler: a caller of an inlined function sees that a failed
 * call failed, and gcc does not warn about outputs that it left alone. `status` is evaluated twice. */
#define lks_fail(status, ...) ((void)(lks_fail)((status), __VA_ARGS__), (status))

/** Puts "<context>: " in front of this thread's sentence and returns `status`. */
LKS_API lks_status_t lks_error_prefix(lks_status_t status, const char *format, ...)
    LKS_PRINTF(2, 3);

/** This thread's last error; valid until its next failing call. Never NULL. */
LKS_API const lks_error_t *lks_last_error(void);

/** Makes `*error` this thread's last error and returns its status. */
LKS_API lks_status_t lks_error_raise(const lks_error_t *error);

/** Forwards a failure to the caller, silently. */
#define LKS_TRY(expr)                                                                              \
    do {                                                                                           \
        lks_status_t lks_try_status_ = (expr);                                                     \
        if (lks_try_status_ != LKS_OK) {                                                           \
            return lks_try_status_;                                                                \
        }                                                                                          \
    } while (0)

/** Forwards a failure after unwinding: sets the local `status` and jumps. On success `status` is LKS_OK. */
#define LKS_GOTO(expr, label)                                                                      \
    do {                                                                                           \
        status = (expr);                                                                           \
        if (status != LKS_OK) {                                                                    \
            goto label;                                                                            \
        }                                                                                          \
    } while (0)

LKS_END_DECLS
#endif
