/* SPDX-License-Identifier: Apache-2.0 */
/* model.c - descriptions of models, "kind:options". */
#include "runtime/models/model_kinds.h"

#include "core/strbuf.h"

#include <string.h>

static const lks_model_kind_t *const kinds[] = {&lks_model_mlp};
enum { KINDS = sizeof kinds / sizeof *kinds };

static lks_status_t unknown(const char *description)
{
    lks_strbuf_t known = {0};
    for (size_t i = 0; i < KINDS; i++) {
        lks_strbuf_appendf(&known, "%s%s", i ? ", " : "", kinds[i]->syntax);
    }
    lks_status_t status = lks_fail(LKS_ERR_INVALID_ARG, "unknown model '%s'; there are: %s",
                                   description, lks_strbuf_text(&known));
    lks_strbuf_fini(&known);
    return status;
}

lks_status_t lks_model_create(const char *description, lks_module_t **out)
{
    size_t length = strcspn(description, ":");
    for (size_t i = 0; i < KINDS; i++) {
        if (strlen(kinds[i]->name) == length && memcmp(kinds[i]->name, description, length) == 0) {
            const char *options = description + length + (description[length] == ':');
            lks_status_t status = kinds[i]->create(options, out);
            return status == LKS_OK ? LKS_OK : lks_error_prefix(status, "model '%s'", description);
        }
    }
    return unknown(description);
}
