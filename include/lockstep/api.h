/* SPDX-License-Identifier: Apache-2.0 */
/* api.h - the attributes every public header uses. Nothing else belongs here. */
#ifndef LOCKSTEP_API_H
#define LOCKSTEP_API_H

/** Exported from liblockstep; everything without it is hidden. */
#define LKS_API __attribute__((visibility("default")))

/** The result must be used: a status that is dropped is a lost error. */
#define LKS_NODISCARD __attribute__((warn_unused_result))

/** printf-like: `fmt` and `first` are 1-based argument positions. */
#define LKS_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

#ifdef __cplusplus
#define LKS_BEGIN_DECLS extern "C" {
#define LKS_END_DECLS }
#else
#define LKS_BEGIN_DECLS
#define LKS_END_DECLS
#endif

#endif
