/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_maker.h - safetensors files put together by hand, right or wrong. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_SAFETENSORS_MAKER_H
#define LOCKSTEP_TESTS_SERIALIZE_SAFETENSORS_MAKER_H

#include "core/strbuf.h"
#include "support/support.h"

/** The length of the header, the header as it stands, and `data_size` bytes 0, 1, 2, ... Clear with
 *  lks_strbuf_fini. */
static inline lks_strbuf_t test_safetensors_n(const char *header, size_t length, size_t data_size)
{
    lks_strbuf_t file = {0};
    for (int i = 0; i < 8; i++) {
        unsigned char byte = (unsigned char)((unsigned long long)length >> (8 * i));
        lks_strbuf_append(&file, &byte, 1);
    }
    lks_strbuf_append(&file, header, length);
    for (size_t i = 0; i < data_size; i++) {
        unsigned char byte = (unsigned char)i;
        lks_strbuf_append(&file, &byte, 1);
    }
    cr_assert(lks_strbuf_ok(&file));
    return file;
}

static inline lks_strbuf_t test_safetensors(const char *header, size_t data_size)
{
    return test_safetensors_n(header, strlen(header), data_size);
}

#endif
