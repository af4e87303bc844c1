/* SPDX-License-Identifier: Apache-2.0 */
/* drop.c - see drop.h. */
#include "serialize/drop.h"
#include "serialize/name_text.h"

#include <stdio.h>

lks_status_t lks_save_drop(const lks_save_options_t *options, const char *path, const char *why)
{
    if (options->drop) {
        if (options->dropped) {
            options->dropped(options->dropped_context, path, why);
        }
        return LKS_OK;
    }
    lks_strbuf_t shown = {0};
    lks_name_append(&shown, lks_name(path), 200);
    lks_status_t status =
        lks_fail(LKS_ERR_UNSUPPORTED, "value '%s': %s", lks_strbuf_text(&shown), why);
    lks_strbuf_fini(&shown);
    return status;
}

lks_status_t lks_save_drop_attributes(const lks_save_options_t *options, const char *path,
                                      const char *format, const lks_value_t *tensor)
{
    if (!lks_value_tensor_attributes(tensor)) {
        return LKS_OK;
    }
    char why[LKS_WHY_MAX];
    (void)snprintf(why, sizeof why, "%s holds no attributes of tensors", format);
    lks_strbuf_t attributes = {0};
    lks_strbuf_appendf(&attributes, "%s.__dict__", path);
    lks_status_t status = lks_save_drop(options, lks_strbuf_text(&attributes), why);
    lks_strbuf_fini(&attributes);
    return status;
}

const char *lks_save_no_tensor(const char *format, const lks_value_t *value, char why[LKS_WHY_MAX])
{
    const char *kind = lks_value_kind_name(lks_value_kind(value));
    const char *advice = " (keep the state dict alone, or flatten it first)";
    (void)snprintf(why, LKS_WHY_MAX, "%s holds tensors only, and it is %s %s%s", format,
                   strchr("aeiou", kind[0]) ? "an" : "a", kind,
                   lks_value_count(value) > 0 ? advice : "");
    return why;
}
