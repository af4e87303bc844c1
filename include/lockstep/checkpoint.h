/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.h - reading and writing checkpoints: a file, or a directory of several.
 * Reading maps the file, finds its format by its first bytes (never by its name) and builds the value tree
 * with the tensors still in the map: no tensor byte is touched until lks_checkpoint_tensor asks for it,
 * which checks the record's CRC-32 first, once. Nothing in a file is executed, imported or trusted.
 * Writing goes to a temporary file beside the target, which is renamed over it after fsync: at every instant
 * there is either the old file or the new one, whole.
 * Threads: an open checkpoint may be used by many threads, unless a call says otherwise.
 *
 * Formats (more in serialize/README.md):
 *   "torch_zip"    torch.save since 1.6: a zip archive of stored records data.pkl, data/0, data/1, ..., version
 *   "torch_legacy" the stream of torch.save before 1.6, without checksums
 *   "torch_tar"    the tar archive of torch 0.1, only read
 *   "torchscript"  torch.jit.save, only read: the root is the module, an object with its attributes and submodules as
 *                  state
 *   "npz", "npy"   NumPy's archives, a dict of tensors by name, and its single arrays, which are only read
 *   "safetensors"  one file of named tensors, without checksums: the root is an OrderedDict of them, the metadata its
 *                  attribute "__metadata__"
 *   "sharded"      several files and an index of them, in one directory: what transformers writes; written as
 *                  safetensors of at most lks_save_options_t.shard_size
 *   "dcp"          a directory of torch.distributed.checkpoint: the root is a dict, nested as it was before it was
 *                  flattened, of whole tensors, whatever ranks have written. Written as one rank: keys become str,
 *                  dicts plain ones, tensors that share memory copies; an empty dict comes back here, not in torch */
#ifndef LOCKSTEP_CHECKPOINT_H
#define LOCKSTEP_CHECKPOINT_H

#include <lockstep/value.h>

LKS_BEGIN_DECLS

typedef struct lks_checkpoint lks_checkpoint_t;

/** Bounds on what a file may make the reader do; a file beyond one is refused with FORMAT. */
typedef struct lks_checkpoint_limits {
    /** Bytes the reader may allocate for the tree (default 1 GiB). A tensor that a distributed checkpoint has in
     *  several chunks does not count: its memory is taken when it is loaded, and given back when it is unloaded. */
    size_t memory;
    size_t max_depth; /**< nesting of containers (default 1,000,000: reading is iterative) */
    size_t max_nodes; /**< values in the tree (default 50,000,000) */
} lks_checkpoint_limits_t;

LKS_API lks_checkpoint_limits_t lks_checkpoint_limits_default(void);

/** Opens `path`. `limits` may be NULL.
 *  Errors, each naming the file, the place in it, what was found and what was wanted: IO (missing,
 *  unreadable), FORMAT (not a checkpoint, truncated, inconsistent, over a limit), CORRUPT (checksum of the
 *  tree's own bytes), UNSUPPORTED (a format this version does not read), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_open(const char *path,
                                                       const lks_checkpoint_limits_t *limits,
                                                       lks_checkpoint_t **out);
LKS_API void lks_checkpoint_close(lks_checkpoint_t *checkpoint);

/** The same over bytes in memory, which must stay as they are until close. `name` is what messages call them. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_open_memory(const void *data, size_t nbytes,
                                                              const char *name,
                                                              const lks_checkpoint_limits_t *limits,
                                                              lks_checkpoint_t **out);

LKS_API const char *lks_checkpoint_path(const lks_checkpoint_t *checkpoint);
LKS_API const char *lks_checkpoint_format(const lks_checkpoint_t *checkpoint);
LKS_API uint64_t
lks_checkpoint_file_size(const lks_checkpoint_t *checkpoint); /**< bytes, of all files */

/** The tree; borrowed, valid until close. */
LKS_API const lks_tree_t *lks_checkpoint_tree(const lks_checkpoint_t *checkpoint);

/** The same, to be changed (transform.h, rename.h) by one thread that nobody else reads beside. The file stays as it
 *  is; what is saved then is the changed tree. */
LKS_API lks_tree_t *lks_checkpoint_edit(lks_checkpoint_t *checkpoint);

/** A read-only host view of a tensor of the tree, valid until close; its record's checksum was verified.
 *  `name` (may be NULL) is what messages call it.
 *  Errors: CORRUPT (checksum), UNSUPPORTED (more than LKS_MAX_NDIM dimensions), MISMATCH (no tensor). */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_tensor(lks_checkpoint_t *checkpoint,
                                                         const lks_value_t *value, const char *name,
                                                         lks_tensor_t *out);

/** Bytes of storage `index` after verifying them, for tensors of any ndim; shape (nbytes). Read-only.
 *  Errors: CORRUPT, INVALID_ARG (index). */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_storage(lks_checkpoint_t *checkpoint,
                                                          size_t index, const char *name,
                                                          const void **data, size_t *nbytes);

/** Calls write(context, bytes, nbytes) with the elements of a tensor of any ndim and strides in C order, in pieces,
 *  after verifying them. What a conj or neg tensor stands for, and what quantized integers mean, is not applied.
 *  `write` must not change the checkpoint. Errors: MISMATCH (no tensor), CORRUPT, NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_elements(
    lks_checkpoint_t *checkpoint, const lks_value_t *value, const char *name,
    void (*write)(void *context, const void *data, size_t nbytes), void *context);

/** Gives back the memory that bytes of storage `index` took where they had to be unpacked or converted; views of it
 *  are void then, and the next that is asked for unpacks it again. For those who go through a checkpoint that is
 *  larger than the memory. */
LKS_API void lks_checkpoint_unload(lks_checkpoint_t *checkpoint, size_t index);

/** A record of an archive that no tensor lies in: TorchScript's code, files that a user added to it ("extra/NAME"),
 *  "version", "byteorder", and the pickles that the values were read from. */
typedef struct lks_record {
    const char *name; /**< below the archive's folder: "code/__torch__.py"; valid until close */
    uint64_t nbytes;
} lks_record_t;

/** How many there are (0 where the format is no archive), and number `index`; NULL past the end. */
LKS_API size_t lks_checkpoint_record_count(const lks_checkpoint_t *checkpoint);
LKS_API const lks_record_t *lks_checkpoint_record(const lks_checkpoint_t *checkpoint, size_t index);

/** Copies the bytes of record `index` to `data`, which has room for all of them, after verifying them.
 *  Errors: CORRUPT (checksum), FORMAT, INVALID_ARG (index), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_record_read(const lks_checkpoint_t *checkpoint,
                                                              size_t index, void *data);

/** Of a TorchScript archive, the tuple whose items its code calls CONSTANTS.c0, CONSTANTS.c1, ...: a frozen module has
 *  its weights there, and none in its attributes. In the tree, beside the root; NULL in other formats. */
LKS_API const lks_value_t *lks_checkpoint_constants(const lks_checkpoint_t *checkpoint);

/** What lks_checkpoint_verify looked at. */
typedef struct lks_verify_report {
    size_t
        records; /**< with a checksum: storages, and what else an archive has; 0 in formats without */
    uint64_t nbytes; /**< of those */
    size_t bad;
} lks_verify_report_t;

typedef struct lks_verify_options {
    size_t threads; /**< 0, the default: one for each core that the process may use */

    /** Called in the calling thread for each bad record, in the order of the file; NULL, the default, if the
     *  first is enough. The sentence names the file, the record and a tensor in it. */
    void (*on_bad)(void *context, const lks_error_t *error);
    void *context;
} lks_verify_options_t;

/** Verifies every checksum of the file that was not verified yet, those of records that no tensor lies in
 *  included. Formats without checksums have nothing that opening did not verify. Memory is taken for a
 *  moment at most. `options` may be NULL. `*report` (may be NULL) is set when all was looked at: with OK, and with the
 *  error of the first bad record.
 *  Errors: CORRUPT or FORMAT (the first bad record in the file), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_verify(lks_checkpoint_t *checkpoint,
                                                         const lks_verify_options_t *options,
                                                         lks_verify_report_t *report);

typedef struct lks_load_options {
    const size_t *storages; /**< indices; NULL, the default: all */
    size_t count;           /**< of those */
    size_t threads;         /**< 0, the default: one for each core that the process may use */
} lks_load_options_t;

/** Reads storages into memory of the process, verified on the way: their tensors lie there from now on, in huge
 *  pages where the system has them, and the file may be rewritten, shortened or removed. (Storages that are not
 *  read still need it, and lks_checkpoint_verify does.) The memory may be written to; storages that are retained
 *  keep it. `options` may be NULL.
 *  Views made before the call are void after it, and no other thread may use the checkpoint meanwhile.
 *  Errors, with nothing changed: CORRUPT (a checksum), IO (reading), UNSUPPORTED (a checkpoint of
 *  several files), INVALID_ARG (an index), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_load_private(lks_checkpoint_t *checkpoint,
                                                               const lks_load_options_t *options);

typedef struct lks_save_options {
    const char *format; /**< NULL (the default): by the path's extension, else "torch_zip" */
    bool sync;          /**< fsync file and directory before returning; default true */
    /** Bytes of tensors per file where a format has several files; default 5 GB. */
    uint64_t shard_size;
    /** What the format cannot hold is left out instead of refused; default false. `dropped` (may be NULL) is
     *  told the dotted path of each and why, in the calling thread. Values and elements count here. How a tensor
     *  was kept does not, and goes without a word where a format has no room for it, as with the formats' own
     *  libraries: strides, device tags, requires_grad and Parameter in safetensors and npz, shared memory in npz and
     *  dcp, kinds of dicts and `_metadata` in all three. */
    bool drop;
    void (*dropped)(void *context, const char *path, const char *why);
    void *dropped_context;
    /** Further files that get the same bytes when the first is in place, in this order, with the same care; for
     *  formats of one file. */
    const char *const *copies;
    size_t copy_count;
    bool refuse_if_busy; /**< lks_checkpoint_save_async: BUSY instead of waiting; default false */
    size_t
        threads; /**< 0, the default: one for each core, at most 8. The file is the same for all */
} lks_save_options_t;

LKS_API lks_save_options_t lks_save_options_default(void);

/** Writes the tree to `path`, replacing it only when the new file is whole; keeps the replaced file's
 *  mode and (where permitted) owner; follows a symbolic link. `options` may be NULL.
 *  Errors: INVALID_ARG (the tree failed or has no root), UNSUPPORTED (the format cannot hold a value; the
 *  message names its path), IO (directory, space, permission: the old file is untouched). */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_save(const char *path, const lks_tree_t *tree,
                                                       const lks_save_options_t *options);

/** The same for the tree of an open checkpoint, after lks_checkpoint_edit. Where only names and device tags changed, the
 *  format stays torch_zip and the file system lets files share blocks (btrfs, XFS), this takes the time of
 *  lks_checkpoint_update whatever the size: the new file shares its tensors with the old one, which are not looked at,
 *  and so not verified. Elsewhere all is read, verified and written. Errors: also CORRUPT (naming a tensor). */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_save_as(const lks_checkpoint_t *checkpoint,
                                                          const char *path, const lks_tree_t *tree,
                                                          const lks_save_options_t *options);

/** Saves in the background, one after the other. It keeps the memory of its snapshots for the next one. */
typedef struct lks_save_handle lks_save_handle_t;

/** Takes a snapshot of the tree, bytes of its tensors included, and returns; a thread of the handle writes it, to the
 *  same bytes as lks_checkpoint_save would. The tree may be changed or destroyed at once. What the snapshot costs is
 *  one copy of the tree's storages, in time for the caller and in memory as long as the handle lives. The thread has
 *  the lowest priority: it takes what others leave.
 *  `*handle` is NULL the first time, and set then; a handle belongs to one thread at a time. While its last save is
 *  still going on, the call waits for it, or refuses with BUSY if the options say so. If the last save failed and
 *  nobody was told, this call fails with that sentence and starts nothing. options->dropped is called from the
 *  handle's thread.
 *  A process that calls exit, or returns from main, waits for its saves.
 *  Errors: as lks_checkpoint_save before its first byte, BUSY, NO_MEMORY, and those of the last save. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_save_async(const char *path,
                                                             const lks_tree_t *tree,
                                                             const lks_save_options_t *options,
                                                             lks_save_handle_t **handle);

/** Waits for the last save. Errors: that save's. */
LKS_API LKS_NODISCARD lks_status_t lks_save_handle_wait(lks_save_handle_t *handle);

/** Says without waiting whether the last save is over, and if it is, how it ended. Errors: that save's. */
LKS_API LKS_NODISCARD lks_status_t lks_save_handle_test(lks_save_handle_t *handle, bool *done);

/** Waits, logs a failure that nobody was told, and frees the handle with its memory. NULL does nothing. */
LKS_API void lks_save_handle_destroy(lks_save_handle_t *handle);

typedef struct lks_update_options {
    bool
        sync; /**< the steps wait for the disk, so that losing power is harmless too; default true */
    /** Also a file that has other names (hard links), which change with it; default false: it is refused. */
    bool linked;
} lks_update_options_t;

LKS_API lks_update_options_t lks_update_options_default(void);

/** Makes `tree` the values of the file that `checkpoint` has open, in place: what is written is as long as the names
 *  and shapes in it, however large the tensors are. Tensors of `tree` lie in storages of the checkpoint, as in a copy
 *  of its tree with other keys; the bytes of storages are neither read nor written. At every instant the file is the
 *  old checkpoint or the new one, for a process that is killed and, with `sync`, for a machine that loses power. The
 *  file grows by what was written; storages that no tensor names any more stay in it, as does the old tree: saving
 *  to a new file leaves them behind.
 *  The checkpoint goes on showing the old values: close it. `options` may be NULL.
 *  Errors, the file as it was: UNSUPPORTED (a format other than torch_zip, or not a file of its own; a tensor that lies
 *  elsewhere; a value the format cannot hold), IO (no permission, full disk; another process is changing the file, or
 *  did since it was opened; hard links), INVALID_ARG (the tree failed or has no root), FORMAT (a damaged record),
 *  NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_update(lks_checkpoint_t *checkpoint,
                                                         const lks_tree_t *tree,
                                                         const lks_update_options_t *options);

/** Copies the file `from` to `to` with the same care (temporary file, fsync, rename); shares blocks where
 *  the file system can. Errors: IO. */
LKS_API LKS_NODISCARD lks_status_t lks_checkpoint_copy(const char *from, const char *to);

LKS_END_DECLS
#endif
