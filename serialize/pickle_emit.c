/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_emit.c - single opcodes: numbers, texts, names, and the memo. */
#include "serialize/bytes.h"
#include "serialize/pickle_writer.h"

#include <string.h>

void lks_pickle_emit_bytes(lks_pickle_writer_t *writer, const void *data, size_t nbytes)
{
    lks_strbuf_append(writer->out, data, nbytes);
}

/* An opcode and a number behind it. */
void lks_pickle_emit_number(lks_pickle_writer_t *writer, int op, uint64_t number, unsigned width)
{
    unsigned char bytes[9] = {(unsigned char)op};
    (void)lks_put_uint(bytes + 1, number, width);
    lks_pickle_emit_bytes(writer, bytes, 1 + width);
}

void lks_pickle_emit(lks_pickle_writer_t *writer, int op)
{
    lks_pickle_emit_number(writer, op, 0, 0);
}

void lks_pickle_emit_bool(lks_pickle_writer_t *writer, bool value)
{
    lks_pickle_emit(writer, value ? LKS_OP_NEWTRUE : LKS_OP_NEWFALSE);
}

void lks_pickle_emit_long(lks_pickle_writer_t *writer, const void *bytes, size_t nbytes)
{
    if (nbytes <= UINT8_MAX) {
        lks_pickle_emit_number(writer, LKS_OP_LONG1, nbytes, 1);
    } else {
        lks_pickle_emit_number(writer, LKS_OP_LONG4, nbytes, 4);
    }
    lks_pickle_emit_bytes(writer, bytes, nbytes);
}

void lks_pickle_emit_int(lks_pickle_writer_t *writer, int64_t value)
{
    if (value >= 0 && value <= UINT8_MAX) {
        lks_pickle_emit_number(writer, LKS_OP_BININT1, (uint64_t)value, 1);
    } else if (value >= 0 && value <= UINT16_MAX) {
        lks_pickle_emit_number(writer, LKS_OP_BININT2, (uint64_t)value, 2);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        lks_pickle_emit_number(writer, LKS_OP_BININT, (uint64_t)value, 4);
    } else {
        unsigned char bytes[8];
        (void)lks_put_uint(bytes, (uint64_t)value, 8);
        size_t nbytes = 8;
        while ((bytes[nbytes - 1] == 0x00 && bytes[nbytes - 2] < 0x80) ||
               (bytes[nbytes - 1] == 0xff && bytes[nbytes - 2] >= 0x80)) {
            nbytes--; /* ends: a value beyond 32 bits has such a byte */
        }
        lks_pickle_emit_long(writer, bytes, nbytes);
    }
}

void lks_pickle_emit_float(lks_pickle_writer_t *writer, double value)
{
    unsigned char bytes[9] = {LKS_OP_BINFLOAT};
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++) {
        bytes[1 + i] = (unsigned char)(bits >> (56 - 8 * i));
    }
    lks_pickle_emit_bytes(writer, bytes, sizeof bytes);
}

/* --- memo --------------------------------------------------------------------------------------- */

void lks_pickle_emit_put(lks_pickle_writer_t *writer)
{
    size_t index = writer->memo_count++;
    lks_pickle_emit_number(writer, index <= UINT8_MAX ? LKS_OP_BINPUT : LKS_OP_LONG_BINPUT, index,
                           index <= UINT8_MAX ? 1 : 4);
}

void lks_pickle_emit_get(lks_pickle_writer_t *writer, size_t index)
{
    lks_pickle_emit_number(writer, index <= UINT8_MAX ? LKS_OP_BINGET : LKS_OP_LONG_BINGET, index,
                           index <= UINT8_MAX ? 1 : 4);
}

void lks_pickle_memoize(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    writer->no_memory |= !lks_intmap_set(&writer->memo, (uintptr_t)value, writer->memo_count);
    lks_pickle_emit_put(writer);
}

/* Fetches what a map says was written before. False if it is new: then it has the next memo index. */
static bool emit_known(lks_pickle_writer_t *writer, lks_strmap_t *map, const char *text,
                       size_t nbytes)
{
    size_t index = lks_strmap_add(map, text, nbytes, writer->memo_count);
    writer->no_memory |= index == SIZE_MAX;
    if (index >= writer->memo_count) {
        return false;
    }
    lks_pickle_emit_get(writer, index);
    return true;
}

void lks_pickle_emit_text(lks_pickle_writer_t *writer, const char *text, size_t nbytes)
{
    lks_pickle_emit_number(writer, LKS_OP_BINUNICODE, nbytes, 4);
    lks_pickle_emit_bytes(writer, text, nbytes);
}

void lks_pickle_emit_str(lks_pickle_writer_t *writer, const char *text, size_t nbytes)
{
    if (!emit_known(writer, &writer->strings, text, nbytes)) {
        lks_pickle_emit_text(writer, text, nbytes);
        lks_pickle_emit_put(writer);
    }
}

void lks_pickle_emit_name(lks_pickle_writer_t *writer, lks_python_name_t name)
{
    const char *end = name.name + name.name_length;
    if (emit_known(writer, &writer->globals, name.module, (size_t)(end - name.module))) {
        return;
    }
    name = lks_python2_name(name);
    lks_pickle_emit(writer, LKS_OP_GLOBAL);
    lks_pickle_emit_bytes(writer, name.module, name.module_length);
    lks_pickle_emit_bytes(writer, "\n", 1);
    lks_pickle_emit_bytes(writer, name.name, name.name_length);
    lks_pickle_emit_bytes(writer, "\n", 1);
    lks_pickle_emit_put(writer);
}

void lks_pickle_emit_global(lks_pickle_writer_t *writer, const char *dotted)
{
    const char *dot = strrchr(dotted, '.');
    lks_pickle_emit_name(writer, (lks_python_name_t){.module = dotted,
                                                     .module_length = (size_t)(dot - dotted),
                                                     .name = dot + 1,
                                                     .name_length = strlen(dot + 1)});
}
