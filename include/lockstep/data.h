/* SPDX-License-Identifier: Apache-2.0 */
/* data.h - data sets in memory, the sampler that divides them, and the loader that fetches ahead.
 * A data set is a table of float32 features (count, features) with one label (count) int64 or one target row
 * (count, targets) float32 per sample. */
#ifndef LOCKSTEP_DATA_H
#define LOCKSTEP_DATA_H

#include <lockstep/tensor.h>

LKS_BEGIN_DECLS

typedef struct lks_dataset lks_dataset_t;

typedef struct lks_csv_options {
    const char *label; /**< column by name or 0-based number; NULL: the last. */
    bool regression;   /**< the label column is a float32 target; else classes */
    bool unlabelled;   /**< every column is a feature; for prediction only */
    /** The class names in order, as a model learned them (class_count of them, borrowed during the call); NULL: what
     *  the file's labels say. A label that is none of them is refused. */
    const char *const *classes;
    int64_t class_count;
} lks_csv_options_t;

LKS_API lks_csv_options_t lks_csv_options_default(void);

/** Reads a CSV file (RFC 4180 quoting, comma, LF or CRLF, UTF-8 with or without a byte-order mark; gzip-ed or
 *  not). Empty lines are skipped. The first row is a header if none of its feature cells is a number, or if `label` is
 *  no number and one of its cells. Labels are
 *  class names, numbered in byte order of the names (numerically if all are integers: then "2" is class 2 only if
 *  0 and 1 exist). Numbers are decimal, with a point in every locale, and rounded to the nearest float32.
 *  `options` NULL: the default.
 *  Errors, each naming the file and, both from 1, line and column: IO, NO_MEMORY, FORMAT (ragged row, text or empty where
 *  a number is wanted, NaN, infinity or beyond float32, integer labels that are not 0..K-1, a label that is not among
 *  the given classes, broken quoting, a zero byte, no rows), NOT_FOUND (label column), CORRUPT (gzip's checksum). */
LKS_API LKS_NODISCARD lks_status_t lks_dataset_open_csv(const char *path,
                                                        const lks_csv_options_t *options,
                                                        lks_dataset_t **out);

/** Reads images and labels in IDX format (the MNIST family), gzip-ed or not; pixels become float32 / 255. There
 *  are as many classes as the highest label + 1, named by their numbers.
 *  Errors: IO, NO_MEMORY, FORMAT (magic, sizes, truncated, counts differ), CORRUPT (gzip's checksum). */
LKS_API LKS_NODISCARD lks_status_t lks_dataset_open_idx(const char *images, const char *labels,
                                                        lks_dataset_t **out);

typedef enum { LKS_SPLIT_TRAIN, LKS_SPLIT_TEST } lks_split_t;

/** By name: "fashion-mnist" (Debian's dataset-fashion-mnist; LOCKSTEP_DATA_DIR overrides /usr/share/datasets),
 *  "mnist", a directory with the four IDX files, or a CSV file (one table, whatever the split). A known name
 *  goes before a file of that name: write "./mnist". `options` are for CSV.
 *  Errors: as above; NOT_FOUND (unknown name or missing files; the sentence says what to install). */
LKS_API LKS_NODISCARD lks_status_t lks_dataset_open(const char *name, lks_split_t split,
                                                    const lks_csv_options_t *options,
                                                    lks_dataset_t **out);
LKS_API void lks_dataset_close(lks_dataset_t *dataset);

LKS_API int64_t lks_dataset_count(const lks_dataset_t *dataset);
LKS_API int64_t lks_dataset_features(const lks_dataset_t *dataset);
LKS_API int64_t lks_dataset_classes(const lks_dataset_t *dataset); /**< 0: regression, unlabelled */
LKS_API int64_t lks_dataset_targets(const lks_dataset_t *dataset); /**< columns; 0: classes */
/** True for a CSV file, whose columns may have any scale; false for images. */
LKS_API bool lks_dataset_is_table(const lks_dataset_t *dataset);
/** Name of class `index`; NULL for none. */
LKS_API const char *lks_dataset_class_name(const lks_dataset_t *dataset, int64_t index);

/** Borrowed: features (count, features) f32; labels (count) int64; targets (count, targets) f32. */
LKS_API const float *lks_dataset_feature_data(const lks_dataset_t *dataset);
LKS_API const int64_t *lks_dataset_label_data(const lks_dataset_t *dataset);
LKS_API const float *lks_dataset_target_data(const lks_dataset_t *dataset);

/** Mean and standard deviation (population, as sklearn's StandardScaler; 0 becomes 1) of each feature over the
 *  samples `indices[0..count)` (NULL: all, whatever count), summed in float64, rounded to float32.
 *  mean, std: (features), the caller's. */
LKS_API void lks_dataset_statistics(const lks_dataset_t *dataset, const int64_t *indices,
                                    int64_t count, float *mean, float *std);
/** Replaces every feature of every sample by (x - mean) / std, in float32. */
LKS_API void lks_dataset_standardize(lks_dataset_t *dataset, const float *mean, const float *std);

/** Splits sample indices into training and validation parts, shuffled by `seed`; stratified by class where there
 *  are classes (every class gives round(fraction x its size), at least one if fraction > 0 and it has two, and
 *  keeps at least one to train). `train` and `validation` are the caller's, each with room for count; ascending on
 *  return. Errors: INVALID_ARG (fraction not in [0, 1)), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_dataset_split(const lks_dataset_t *dataset, double fraction,
                                                     uint64_t seed, int64_t *train,
                                                     int64_t *train_count, int64_t *validation,
                                                     int64_t *validation_count);

/* --- sampler ------------------------------------------------------------------------------------ */

/** Which samples each rank sees at each step. Epoch e is a permutation of 0..count-1 drawn from (seed, e); step b
 *  takes its entries [b x batch, (b+1) x batch), the last batch what is left; rank r gets a contiguous part
 *  of the global batch, parts differing by at most one sample, larger parts first. The order of samples
 *  does not depend on the number of ranks. Public struct: what a checkpoint stores is (seed, epoch, step). */
typedef struct lks_sampler {
    int64_t count;      /**< samples */
    int64_t batch_size; /**< of the global batch */
    uint64_t seed;
    bool shuffle;
    int64_t epoch;
    int64_t *order; /**< (count), this epoch's permutation; 0, 1, ... without shuffle */
} lks_sampler_t;

/** Begins with epoch 0. Errors: INVALID_ARG (count or batch_size < 1), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_sampler_init(lks_sampler_t *sampler, int64_t count,
                                                    int64_t batch_size, bool shuffle,
                                                    uint64_t seed);
LKS_API void lks_sampler_fini(lks_sampler_t *sampler);
LKS_API void lks_sampler_set_epoch(lks_sampler_t *sampler, int64_t epoch);
LKS_API int64_t lks_sampler_steps(const lks_sampler_t *sampler); /**< per epoch, rounded up */

/** One rank's part of one step: `indices` points into the order. */
typedef struct lks_batch_part {
    const int64_t *indices;
    int64_t count;        /**< may be 0 in a small last batch */
    int64_t first;        /**< position of its first sample in the global batch */
    int64_t global_count; /**< samples in the global batch */
} lks_batch_part_t;
/** 0 <= step < steps, 0 <= rank < world_size. */
LKS_API lks_batch_part_t lks_sampler_part(const lks_sampler_t *sampler, int64_t step, int rank,
                                          int world_size);

/* --- loader ------------------------------------------------------------------------------------- */

typedef struct lks_loader lks_loader_t;

/** A batch gathered into contiguous memory, borrowed until the next call on the loader. */
typedef struct lks_batch {
    lks_tensor_t features; /**< (count, features) float32, host */
    lks_tensor_t labels;   /**< (count) int64; no tensor for regression */
    lks_tensor_t targets;  /**< (count, targets) float32; no tensor for classes */
    lks_batch_part_t part; /**< its indices are the sampler's, before `subset` */
    int64_t epoch, step;   /**< step within the epoch */
} lks_batch_t;

/** Starts a thread that gathers this rank's batches ahead (`depth` of them, at least 1), from (epoch, step) on,
 *  epoch after epoch without end; step = steps, the end of an epoch, means the start of the next. Batches of a few
 *  KiB are gathered by lks_loader_next itself, which is faster than handing them over.
 *  `subset[0..sampler->count)` maps the sampler's numbers to samples of the data set (NULL: the same). The data
 *  set and the subset must outlive the loader unchanged; the sampler is copied.
 *  Errors: INVALID_ARG (samples the data set does not have, a position that does not exist), NO_MEMORY, IO (no
 *  thread). */
LKS_API LKS_NODISCARD lks_status_t lks_loader_create(const lks_dataset_t *dataset,
                                                     const int64_t *subset,
                                                     const lks_sampler_t *sampler, int rank,
                                                     int world_size, int64_t epoch, int64_t step,
                                                     int depth, lks_loader_t **out);
/** Stops the thread, waiting or not. NULL does nothing. */
LKS_API void lks_loader_destroy(lks_loader_t *loader);

/** The next batch, in order; waits for it. All memory was taken at creation: a data set in memory gives no error
 *  here. */
LKS_API LKS_NODISCARD lks_status_t lks_loader_next(lks_loader_t *loader, lks_batch_t *out);

LKS_END_DECLS
#endif
