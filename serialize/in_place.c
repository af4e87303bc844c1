/* SPDX-License-Identifier: Apache-2.0 */
/* in_place.c - see in_place.h. The file is locked while it changes, and must still be the one that was opened: what is
 * in the map says what will be written. */
#include "serialize/in_place.h"
#include "serialize/sink.h"
#include "serialize/storage_names.h"
#include "serialize/value_node.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_MAX ((size_t)64 << 10)

static lks_status_t check_request(const lks_opened_t *opened, const lks_tree_t *tree)
{
    if (!opened->format->update || !opened->source || !opened->source->mapped) {
        return lks_fail(
            LKS_ERR_UNSUPPORTED,
            "cannot change '%s' in place: only a torch_zip file can be, and this is %s; "
            "write a new one (lockstep convert IN OUT)",
            opened->path, opened->format->update ? "not a file of its own" : opened->format->name);
    }
    if (lks_tree_status(tree) != LKS_OK) {
        return lks_fail(LKS_ERR_INVALID_ARG, "changing '%s': building its values failed: %s",
                        opened->path, lks_last_error()->message);
    }
    if (!lks_tree_root(tree)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "changing '%s': the tree has no root", opened->path);
    }
    return LKS_OK;
}

/* The end of an archive holds the checksums of all that comes before it: as long as it is equal, so is the rest. */
static bool is_unchanged(const lks_source_t *source, int fd)
{
    unsigned char tail[TAIL_MAX];
    struct stat info;
    if (fstat(fd, &info) != 0 || (uint64_t)info.st_size != source->size) {
        return false; /* and what lies behind a shorter end must not be looked at */
    }
    size_t nbytes = source->size < sizeof tail ? source->size : sizeof tail;
    size_t from = source->size - nbytes;
    ssize_t got = pread(fd, tail, nbytes, (off_t)from);
    return got >= 0 && (size_t)got == nbytes && memcmp(tail, source->data + from, nbytes) == 0;
}

static lks_status_t check_file(const lks_opened_t *opened, int fd, bool linked)
{
    struct stat info;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return lks_fail(LKS_ERR_IO, "cannot change '%s': another process is changing it",
                        opened->path);
    }
    if (fstat(fd, &info) != 0) {
        return lks_fail(LKS_ERR_IO, "cannot change '%s': %s", opened->path, strerror(errno));
    }
    if (!is_unchanged(opened->source, fd)) {
        return lks_fail(LKS_ERR_IO, "cannot change '%s': it is no longer the file that was opened",
                        opened->path);
    }
    if (info.st_nlink > 1 && !linked) {
        return lks_fail(LKS_ERR_IO,
                        "cannot change '%s' in place: %llu hard links lead to it, and all of "
                        "them would change",
                        opened->path, (unsigned long long)info.st_nlink);
    }
    return LKS_OK;
}

/* The origin names the file itself. */
static lks_status_t update_status(lks_status_t status, const char *path)
{
    return status == LKS_OK || status == LKS_ERR_IO
               ? status
               : lks_error_prefix(status, "changing '%s'", path);
}

lks_status_t lks_in_place_update(const lks_opened_t *opened, const lks_tree_t *tree,
                                 const lks_update_options_t *options)
{
    LKS_TRY(check_request(opened, tree));
    int fd = open(opened->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return lks_fail(LKS_ERR_IO, "cannot change '%s': %s", opened->path, strerror(errno));
    }
    lks_status_t status;
    LKS_GOTO(check_file(opened, fd, options->linked), close_file);
    status = update_status(
        opened->format->update(opened->state, tree, fd, opened->path, options->sync), opened->path);

close_file:
    (void)close(fd);
    return status;
}

/* --- in a clone ----------------------------------------------------------------------------------- */

#define OTHER_BYTES_MAX ((uint64_t)1 << 20)  /* of a file, besides its tensors: headers, the tree */
#define RECORD_BYTES_MAX ((uint64_t)1 << 10) /* of each of its headers */

/* Whether a file of the tree's own would hold what this one does: all its storages are in use, and there is little
 * else in it. */
static lks_status_t is_all_of_file(const lks_source_t *source, const lks_tree_t *tree, bool *out)
{
    size_t count = lks_tree_storage_count(tree), used = 0;
    uint64_t most = OTHER_BYTES_MAX + count * RECORD_BYTES_MAX;
    lks_storage_names_t *names;
    char path[LKS_PATH_MAX];
    LKS_TRY(lks_storage_names_create(tree, &names));
    for (; used < count && lks_storage_name(names, used, path); used++) {
        most += lks_storage_nbytes(lks_tree_storage(tree, used)->storage);
    }
    lks_storage_names_destroy(names);
    *out = used == count && source->size <= most;
    return LKS_OK;
}

/* Changes the clone in the sink. A tree that is not only another view of the file's storages is none for it. */
static lks_status_t change_clone(const lks_opened_t *opened, const lks_tree_t *tree,
                                 lks_sink_t *sink, const char *path, bool *done)
{
    int fd = lks_sink_descriptor(sink);
    if (!is_unchanged(opened->source, fd)) {
        return LKS_OK;
    }
    lks_status_t status = opened->format->update(opened->state, tree, fd, path, false);
    *done = status == LKS_OK;
    return status == LKS_ERR_UNSUPPORTED ? LKS_OK : status;
}

static lks_status_t save_clone(const lks_opened_t *opened, int fd, const lks_tree_t *tree,
                               const char *path, bool sync, bool *done)
{
    lks_sink_t *sink;
    LKS_TRY(lks_sink_create(path, &sink));
    lks_status_t status = LKS_OK;
    if (lks_sink_clone_file(sink, fd, opened->source->size)) {
        status = change_clone(opened, tree, sink, path, done);
    }
    if (*done) {
        return lks_sink_commit(sink, sync);
    }
    lks_sink_discard(sink);
    return status;
}

lks_status_t lks_in_place_save(const lks_opened_t *opened, const lks_tree_t *tree, const char *path,
                               bool sync, bool *done)
{
    bool whole = false, changed = false;
    if (opened->format->update && opened->source && opened->source->mapped) {
        LKS_TRY(is_all_of_file(opened->source, tree, &whole));
    }
    int fd = whole ? lks_source_reopen(opened->source) : -1;
    lks_status_t status = LKS_OK;
    if (fd >= 0) {
        status = save_clone(opened, fd, tree, path, sync, &changed);
        (void)close(fd);
    }
    *done = changed;
    return status;
}
