/* SPDX-License-Identifier: Apache-2.0 */
/* profile.c - see profile.h. */
#include "runtime/train/profile.h"

#include <lockstep/log.h>

lks_status_t lks_profile_open(lks_profile_t *profile, const char *path)
{
    if (!path) {
        return LKS_OK;
    }
    LKS_TRY(lks_sink_create(path, &profile->sink));
    lks_status_t status = lks_trace_create(0, &profile->trace);
    if (status != LKS_OK) {
        lks_profile_discard(profile);
    }
    return status;
}

void lks_profile_discard(lks_profile_t *profile)
{
    lks_trace_destroy(profile->trace);
    lks_sink_discard(profile->sink);
    *profile = (lks_profile_t){0};
}

/* False if memory ran out. */
static bool write_trace(const lks_trace_t *trace, lks_sink_t *sink)
{
    lks_strbuf_t part = {0}, file = {0};
    lks_trace_append(trace, &part);
    lks_trace_join(&part, 1, &file);
    lks_strbuf_fini(&part);
    bool whole = lks_strbuf_ok(&file);
    lks_sink_write(sink, file.data, file.length);
    lks_strbuf_fini(&file);
    return whole;
}

lks_status_t lks_profile_close(lks_profile_t *profile, bool in_use)
{
    if (!profile->trace) {
        return LKS_OK;
    }
    uint64_t dropped = lks_trace_dropped(profile->trace);
    if (dropped > 0) {
        lks_log(LKS_LOG_WARN, "the profile had no room for the last %llu spans",
                (unsigned long long)dropped);
    }
    lks_status_t status = LKS_OK;
    if (write_trace(profile->trace, profile->sink)) {
        status = lks_sink_commit(profile->sink, true);
    } else {
        lks_sink_discard(profile->sink);
        status = lks_fail(LKS_ERR_NO_MEMORY, "writing the profile: out of memory");
    }
    profile->sink = NULL;
    if (!in_use) {
        lks_profile_discard(profile);
    }
    return status;
}
