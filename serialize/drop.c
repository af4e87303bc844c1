/* SPDX-License-Identifier: Apache-2.0 */
/* drop.c - see drop.h. */
#include "serialize/drop.h"
#include "serialize/name_text.h"

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
