/* SPDX-License-Identifier: Apache-2.0 */
/* leaf_json.c - see leaf_json.h. */
#include "runtime/cli/leaf_json.h"
#include "runtime/cli/json_out.h"
#include "runtime/cli/print.h"

static void print_hex(FILE *out, const char *key, const char *bytes, size_t nbytes)
{
    fprintf(out, "{\"%s\": \"", key);
    for (size_t i = 0; i < nbytes; i++) {
        fprintf(out, "%02x", (unsigned char)bytes[i]);
    }
    fputs("\"}", out);
}

void leaf_json(FILE *out, const lks_value_t *leaf)
{
    size_t nbytes = 0;
    const char *text = lks_value_text(leaf, &nbytes);
    bool flag = false;
    int64_t number = 0;
    double real = 0.0;
    switch (lks_value_kind(leaf)) {
    case LKS_VALUE_NONE: fputs("null", out); return;
    case LKS_VALUE_BOOL:
        fputs(lks_value_get_bool(leaf, &flag) == LKS_OK && flag ? "true" : "false", out);
        return;
    case LKS_VALUE_INT:
        if (lks_value_get_int(leaf, &number) == LKS_OK) {
            (void)print_int(out, number);
        }
        return;
    case LKS_VALUE_FLOAT:
        if (lks_value_get_float(leaf, &real) == LKS_OK) {
            json_float(out, real);
        }
        return;
    case LKS_VALUE_STR: json_text(out, text, nbytes); return;
    case LKS_VALUE_BYTES: print_hex(out, "bytes", text, nbytes); return;
    case LKS_VALUE_BIGINT: print_hex(out, "bigint", text, nbytes); return;
    case LKS_VALUE_LIST: fputs("[]", out); return;
    case LKS_VALUE_TUPLE: fputs("{\"tuple\": []}", out); return;
    case LKS_VALUE_DICT: fputs("{}", out); return;
    default:
        fprintf(out, "{\"%s\": ", lks_value_kind_name(lks_value_kind(leaf)));
        text = lks_value_class_name(leaf);
        json_str(out, text ? text : "?");
        fputc('}', out);
    }
}
