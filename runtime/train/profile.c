/* SPDX-License-Identifier: Apache-2.0 */
/* profile.c - see profile.h. The parts come one after the other, each in pieces: nobody holds the file. */
#include "runtime/train/profile.h"

#include "collectives/clock.h"

#include <lockstep/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)

lks_status_t lks_profile_open(lks_profile_t *profile, const char *path, bool writes)
{
    if (!path) {
        return LKS_OK;
    }
    if (writes) {
        LKS_TRY(lks_sink_create(path, &profile->sink));
    }
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

/* --- parts -------------------------------------------------------------------------------------- */

static lks_status_t out_of_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "writing the profile: out of memory");
}

/* This process's, into *part, which is to be freed even so. */
static lks_status_t make_part(const lks_trace_t *trace, lks_strbuf_t *part)
{
    lks_trace_append(trace, part);
    return lks_strbuf_ok(part) ? LKS_OK : out_of_memory();
}

static void write_text(lks_sink_t *sink, const char *text)
{
    lks_sink_write(sink, text, strlen(text));
}

static void write_part(lks_profile_t *profile, const lks_strbuf_t *part, uint64_t dropped)
{
    write_text(profile->sink, profile->begun ? LKS_TRACE_FILE_BETWEEN : LKS_TRACE_FILE_BEGIN);
    lks_sink_write(profile->sink, lks_strbuf_text(part), part->length);
    profile->begun = true;
    profile->dropped += dropped;
}

static lks_status_t write_own_part(lks_profile_t *profile)
{
    lks_strbuf_t part = {0};
    lks_status_t status = make_part(profile->trace, &part);
    if (status == LKS_OK) {
        write_part(profile, &part, lks_trace_dropped(profile->trace));
    }
    lks_strbuf_fini(&part);
    return status;
}

/* --- gathering ---------------------------------------------------------------------------------- */

/* What a rank says of its process's part, which the first rank of a process sends; all zero for the others. */
typedef struct offer {
    uint64_t nbytes, dropped;
} offer_t;

static int64_t now(void *context)
{
    (void)context;
    return lks_trace_now();
}

/* All parts on the time axis of rank 0's. */
static lks_status_t align(lks_trace_t *trace, lks_comm_t *comm)
{
    int64_t offset, origin = lks_comm_rank(comm) == 0 ? lks_trace_origin(trace) : 0;
    LKS_TRY(lks_clock_offset(comm, now, NULL, &offset));
    LKS_TRY(lks_comm_broadcast(comm, &origin, 1, LKS_DTYPE_I64, 0, NULL));
    if (lks_comm_local_rank(comm) == 0) {
        lks_trace_set_origin(trace, origin + offset);
    }
    return LKS_OK;
}

/* Makes rank 0's *part that of rank `owner`, by collectives of a piece each. `piece`: (PIECE). */
static lks_status_t bring(lks_comm_t *comm, int owner, uint64_t nbytes, lks_strbuf_t *part,
                          char *piece)
{
    int rank = lks_comm_rank(comm);
    for (size_t at = 0, step; at < nbytes; at += step) {
        step = nbytes - at < PIECE ? (size_t)(nbytes - at) : PIECE;
        char *data = rank == owner ? part->data + at : piece;
        LKS_TRY(lks_comm_broadcast(comm, data, step, LKS_DTYPE_U8, owner, NULL));
        if (rank == 0) {
            lks_strbuf_append(part, data, step);
        }
    }
    return lks_strbuf_ok(part) ? LKS_OK : out_of_memory();
}

/* `part`: this process's, in its first rank; rank 0 gets the others there, one by one. */
static lks_status_t gather_parts(lks_profile_t *profile, lks_comm_t *comm, lks_strbuf_t *part)
{
    int rank = lks_comm_rank(comm), world_size = lks_comm_world_size(comm);
    offer_t *offers = calloc((size_t)world_size, sizeof *offers);
    char *piece = malloc(PIECE);
    offer_t mine = {part->length, part->length ? lks_trace_dropped(profile->trace) : 0};
    lks_status_t status =
        offers && piece ? lks_comm_all_gather(comm, &mine, offers, sizeof mine, LKS_DTYPE_U8, NULL)
                        : out_of_memory();
    for (int i = 0; i < world_size && status == LKS_OK; i++) {
        if (i > 0 && rank == 0) {
            lks_strbuf_clear(part);
        }
        if (i > 0) {
            status = bring(comm, i, offers[i].nbytes, part, piece);
        }
        if (rank == 0 && status == LKS_OK && part->length > 0) {
            write_part(profile, part, offers[i].dropped);
        }
    }
    free(offers);
    free(piece);
    return status;
}

/* "node-b, pid 4711" */
static void label(lks_trace_t *trace)
{
    char host[64] = "", text[128];
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(text, sizeof text, "%s, pid %lld", host, (long long)getpid());
    lks_trace_set_label(trace, text);
}

lks_status_t lks_profile_gather(lks_profile_t *profile, lks_comm_t *comm)
{
    lks_strbuf_t part = {0};
    lks_status_t status = align(profile->trace, comm);
    if (status == LKS_OK && lks_comm_local_rank(comm) == 0) {
        label(profile->trace);
        status = make_part(profile->trace, &part);
    }
    if (status == LKS_OK) {
        status = gather_parts(profile, comm, &part);
    }
    lks_strbuf_fini(&part);
    return status;
}

/* --- the file ----------------------------------------------------------------------------------- */

static lks_status_t commit(lks_profile_t *profile)
{
    if (!profile->begun) {
        LKS_TRY(write_own_part(profile));
    }
    if (profile->dropped > 0) {
        lks_log(LKS_LOG_WARN, "the profile had no room for the last %llu spans",
                (unsigned long long)profile->dropped);
    }
    write_text(profile->sink, LKS_TRACE_FILE_END);
    lks_status_t status = lks_sink_commit(profile->sink, true);
    profile->sink = NULL;
    return status;
}

lks_status_t lks_profile_close(lks_profile_t *profile, bool in_use)
{
    lks_status_t status = profile->sink ? commit(profile) : LKS_OK;
    lks_sink_discard(profile->sink); /* what could not be written */
    profile->sink = NULL;
    if (!in_use) {
        lks_profile_discard(profile);
    }
    return status;
}
