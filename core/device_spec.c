/* SPDX-License-Identifier: Apache-2.0 */
/* device_spec.c - reads a device specification, strictly: a mistyped one must not train on something else. */
#include "core/device_spec.h"

#include <stdbool.h>
#include <string.h>

static const char *const forms = "auto, host, host:N, cuda or cuda:I,J,...";

/* Reads decimal digits at *at and moves behind them. A number over `max` reads as max + 1. */
static bool read_number(const char **at, size_t max, size_t *out)
{
    const char *c = *at;
    size_t value = 0;
    for (; *c >= '0' && *c <= '9'; c++) {
        value = value * 10 + (size_t)(*c - '0');
        value = value > max ? max + 1 : value;
    }
    bool any = c != *at;
    *at = c;
    *out = value;
    return any;
}

static lks_status_t parse_host_count(const char *text, const char *at, lks_device_spec_t *out)
{
    size_t count;
    if (!read_number(&at, LKS_DEVICE_MAX, &count) || *at || count < 1 || count > LKS_DEVICE_MAX) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "device specification '%s': after 'host:' comes a number from 1 to %d",
                        text, LKS_DEVICE_MAX);
    }
    out->count = count;
    return LKS_OK;
}

static lks_status_t parse_cuda_indices(const char *text, const char *at, lks_device_spec_t *out)
{
    bool seen[LKS_DEVICE_MAX] = {false};
    size_t count = 0;
    for (;; at++) {
        size_t index;
        bool number = read_number(&at, LKS_DEVICE_MAX, &index);
        if (!number || (*at && *at != ',') || index >= LKS_DEVICE_MAX) {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "device specification '%s': after 'cuda:' come numbers from 0 to %d, "
                            "with commas between them",
                            text, LKS_DEVICE_MAX - 1);
        }
        if (seen[index]) {
            return lks_fail(LKS_ERR_INVALID_ARG, "device specification '%s' names device %zu twice",
                            text, index);
        }
        seen[index] = true;
        out->indices[count++] = (uint16_t)index;
        if (!*at) {
            break;
        }
    }
    out->count = count;
    return LKS_OK;
}

lks_status_t lks_device_spec_parse(const char *text, lks_device_spec_t *out)
{
    static const struct {
        const char *name;
        lks_device_kind_t kind;
        lks_status_t (*parse_rest)(const char *text, const char *at, lks_device_spec_t *out);
    } kinds[] = {
        {"auto", LKS_DEVICE_AUTO, NULL},
        {"host", LKS_DEVICE_HOST, parse_host_count},
        {"cuda", LKS_DEVICE_CUDA, parse_cuda_indices},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t length = strlen(kinds[i].name);
        if (strncmp(text, kinds[i].name, length) != 0) {
            continue;
        }
        const char *rest = text + length;
        lks_device_spec_t spec = {.kind = kinds[i].kind};
        if (*rest == ':' && kinds[i].parse_rest) {
            LKS_TRY(kinds[i].parse_rest(text, rest + 1, &spec));
        } else if (*rest) {
            break;
        }
        *out = spec;
        return LKS_OK;
    }
    return lks_fail(LKS_ERR_INVALID_ARG, "device specification '%s' is none of %s", text, forms);
}
