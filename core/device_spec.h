/* SPDX-License-Identifier: Apache-2.0 */
/* device_spec.h - the words that name devices: "auto", "host:3", "cuda:0,2" (device.h). */
#ifndef LOCKSTEP_CORE_DEVICE_SPEC_H
#define LOCKSTEP_CORE_DEVICE_SPEC_H

#include <lockstep/status.h>
#include <stddef.h>
#include <stdint.h>

/** More devices than any job has; a larger number is a typing mistake. */
#define LKS_DEVICE_MAX 4096

typedef enum { LKS_DEVICE_AUTO, LKS_DEVICE_HOST, LKS_DEVICE_CUDA } lks_device_kind_t;

typedef struct lks_device_spec {
    lks_device_kind_t kind;
    size_t count;                     /* 0: no number was given */
    uint16_t indices[LKS_DEVICE_MAX]; /* (count), cuda only, all different */
} lks_device_spec_t;

/** Errors: INVALID_ARG; the sentence says what is wrong with which part. */
LKS_NODISCARD lks_status_t lks_device_spec_parse(const char *text, lks_device_spec_t *out);

#endif
