/* SPDX-License-Identifier: Apache-2.0 */
/* trainer.h - the whole job: data, replicas, loop, validation, checkpoints. What `lockstep train`, `eval` and
 * `predict` call.
 *
 * A checkpoint is the dict people write by hand:
 *     epoch                 int, epochs completed
 *     model_state_dict      OrderedDict, names with the key prefix
 *     optimizer_state_dict  as torch.optim's state_dict(), parameters numbered in model order
 *     lr_scheduler          as torch's state_dict(); None without a scheduler
 *     loss                  float, mean training loss of the last completed epoch (nan before the first)
 *     best_prec             float, best validation accuracy in percent (training accuracy without a
 *                           validation part; 0 for regression)
 *     args                  plain dict of the job's settings
 *     master_params         float32 values of the parameters, named as in model_state_dict, which has them rounded; only
 *                           where precision is not float32
 *     grad_scaler           as torch.cuda.amp.GradScaler's state_dict(); only with a loss scale
 *     lockstep              layout version, world size, sampler and RNG position, feature statistics, classes
 * Resuming needs only what a PyTorch script would have saved; with `lockstep` it continues mid-epoch, bit
 * for bit.
 *
 * With a precision of 16 bits model_state_dict is what model.half() or model.bfloat16() loads; optimizer_state_dict is for an
 * optimizer of float32 parameters, which begin as master_params. A 16-bit file that has none, and one of another dtype,
 * begins with its values, rounded. Evaluation needs the model alone, and computes with the rounded values as training does.
 *
 * The loss is the mean over the global batch, whatever the number of replicas.
 *
 * Under mpirun, mpiexec or srun all processes are one job: `devices` are those of each process, rank 0 speaks and
 * saves, and every process reads the data and the checkpoint it starts from.
 * Threads: the calls block; observers run on rank 0's thread. */
#ifndef LOCKSTEP_TRAINER_H
#define LOCKSTEP_TRAINER_H

#include <lockstep/data.h>
#include <lockstep/optim.h>

LKS_BEGIN_DECLS

/** What happened, for whoever shows progress. Pointers are valid during the call. */
typedef enum {
    LKS_EVENT_START,    /**< text: devices and model */
    LKS_EVENT_LOAD,     /**< path; text: the load report */
    LKS_EVENT_RESUME,   /**< path, epoch, step */
    LKS_EVENT_STEP,     /**< every log_every steps: loss, accuracy, lr, samples_per_second */
    LKS_EVENT_EPOCH,    /**< end of an epoch: the same, and val_loss, val_accuracy */
    LKS_EVENT_SAVE,     /**< path */
    LKS_EVENT_BEST,     /**< path, val_accuracy */
    LKS_EVENT_INTERRUPT /**< the stop flag was seen: epoch, step */
} lks_train_event_kind_t;

typedef struct lks_train_event {
    lks_train_event_kind_t kind;
    int64_t epoch,
        epochs; /**< 1-based current epoch; how many there will be, INT64_MAX for no limit */
    int64_t step, steps; /**< 1-based step within the epoch; steps per epoch */
    int64_t global_step; /**< steps since the beginning of the job, those skipped among them */
    double loss;         /**< of the step, or the epoch's mean */
    double accuracy;     /**< likewise, in percent; NaN for regression */
    double val_loss, val_accuracy; /**< NaN without a validation part */
    double lr;
    double samples_per_second; /**< since the event before, or over the epoch */
    double
        grad_norm; /**< of the step, all gradients together; NaN if nobody measures it (tensorboard) */
    double loss_scale; /**< what the loss of the step was multiplied by; NaN: by nothing */
    /** Of the time that rank 0 spent on exchanging gradients in the epoch, the share that backward hid: 0 to 1. NaN for a
     *  step, and with one replica. */
    double comm_hidden;
    const char *path, *text;
} lks_train_event_t;

typedef void (*lks_train_observer_t)(void *context, const lks_train_event_t *event);

/** A training job. Strings are borrowed during the call. */
typedef struct lks_train_config {
    const char *model;   /**< "mlp:4,8,3" */
    const char *data;    /**< a name or path of lks_dataset_open */
    const char *label;   /**< CSV: label column; NULL: the last */
    bool regression;     /**< CSV: the label is a number; MSE instead of cross-entropy */
    bool standardize;    /**< CSV: features to mean 0, deviation 1 over the training part; true */
    const char *devices; /**< as lks_device_list_open; "auto" */
    bool bind;           /**< threads to cores; true */
    int64_t epochs;      /**< 10; 0 with max_steps: as many as needed */
    int64_t max_steps;   /**< steps of the whole job, those skipped among them; 0: no limit */
    int64_t batch_size;  /**< samples over all replicas at a time; 32 */
    /** So many batches make one step: a replica goes through its part of accumulate x batch_size samples in as many pieces,
     *  whose gradients are added up before they are exchanged. 1 */
    int64_t accumulate;
    /** "samples": gradients are those of the mean loss over the step's samples. "ranks": each replica's are those of its own
     *  mean, and their mean over the replicas is taken, as DistributedDataParallel does; it is the same where all have
     *  equally many samples, and one without any counts as zero. The loss that is shown is the former's. "samples" */
    const char *grad_average;
    lks_optim_config_t optim;
    double clip_norm, clip_value; /**< as lks_replica_options_t has them; 0: none */
    /** What parameters and their gradients are stored as: "float32", "bfloat16" or "float16". Layers compute in float32 all the
     *  same, and the optimizer updates float32 master values. "float32" */
    const char *precision;
    /** "auto": with float16 as GradScaler begins (65536, halved by a step whose gradients overflow, which is skipped,
     *  doubled after 2000 good ones), else none. A number: that, always. "none". "auto" */
    const char *loss_scale;
    const char *scheduler;  /**< as lks_lr_scheduler_parse; "none"; steps once per epoch */
    uint64_t seed;          /**< of initial values, split, order and dropout; 0 */
    double val_fraction;    /**< part of the training data kept for validation, stratified; 0 */
    const char *key_prefix; /**< in front of every parameter's name in files; "" */
    const char *load;       /**< start from these weights; NULL */
    const char *resume;     /**< continue this job; NULL. Excludes load. */
    bool strict;            /**< load: every key must fit; true */
    const char *save_dir;   /**< created if missing; NULL: nothing is saved */
    int64_t save_every;     /**< epoch-NNNN.pt every so many epochs; 0: only last.pt and best.pt */
    int64_t save_every_steps; /**< step-NNNNNNNN.pt every so many steps; 0: never */
    /** Saves are written in the background while training goes on (lks_checkpoint_save_async); false. One that fails
     *  ends the job with its sentence, at the next step; lks_train returns when the last one is written. Costs memory
     *  as the model and the optimizer's state take. */
    bool async_save;
    double bucket_mb,
        first_bucket_mb; /**< gradients are exchanged in buckets of so many MiB; 25, 1 */
    double timeout;      /**< seconds that a replica may stay away from the others; 0: 1800 */
    int64_t log_every;   /**< LKS_EVENT_STEP every so many steps; 0: never */
    /** Folder, made if missing, in which the job writes an event file for TensorBoard: of STEP events train/loss,
     *  train/accuracy, train/lr and train/samples_per_second, of epochs the same under epoch/, and val/loss and
     *  val/accuracy. NULL: none. A file that cannot be written ends the job with its sentence. */
    const char *tensorboard_dir;
    /** File for a trace of what every rank did when, for Perfetto or chrome://tracing; NULL: none. It is written when
     *  the job ends, with the ranks of all processes, their times on one axis; when it fails, with those of rank 0's. */
    const char *profile;
    lks_train_observer_t observer;
    void *observer_context;
    /** Set it to 1 to finish the step, save and return; read with an atomic load, so write it with an atomic store
     *  (which a signal handler may). NULL: nobody asks. */
    const int *stop;
} lks_train_config_t;

LKS_API lks_train_config_t lks_train_config_default(void);

typedef struct lks_train_result {
    int64_t epochs;        /**< completed */
    int64_t global_step;   /**< steps */
    int64_t skipped_steps; /**< those of them whose gradients the loss scale made overflow */
    double loss, accuracy, val_loss,
        val_accuracy;     /**< of the last completed epoch; as in the event */
    double best_accuracy; /**< percent */
    bool interrupted;
    double seconds;
    int rank, world_size; /**< of this process's first replica; replicas of the whole job */
} lks_train_result_t;

/** Trains. Errors: INVALID_ARG, NOT_FOUND, FORMAT, ... each with its sentence; MISMATCH (strict load). After a
 *  failed save the checkpoints written before are untouched. */
LKS_API LKS_NODISCARD lks_status_t lks_train(const lks_train_config_t *config,
                                             lks_train_result_t *result);

/** The settings a checkpoint was trained with (its `args`), for resuming or evaluating without repeating them.
 *  Strings live until lks_train_args_destroy. Fields the file does not say have their defaults. */
typedef struct lks_train_args lks_train_args_t;
LKS_API LKS_NODISCARD lks_status_t lks_train_args_read(const char *path, lks_train_args_t **out);
LKS_API void lks_train_args_destroy(lks_train_args_t *args);
LKS_API const lks_train_config_t *lks_train_args_config(const lks_train_args_t *args);
/** True if the file says this field (by flag name, "batch-size"). */
LKS_API bool lks_train_args_has(const lks_train_args_t *args, const char *name);

/** Evaluation or prediction with a checkpoint's weights in evaluation mode. Features are standardized and class names
 *  are numbered as in training, if the file says how. */
typedef struct lks_eval_config {
    const char *load;       /**< the checkpoint */
    const char *model;      /**< NULL: what the file's args say */
    const char *key_prefix; /**< NULL: what the file's args say, else "" */
    bool strict;            /**< true */
    const char *data;
    lks_split_t split; /**< LKS_SPLIT_TEST; a CSV file has one split */
    const char *label;
    bool regression;
    bool unlabelled; /**< lks_predict only: a CSV file without labels */
    const char *devices;
    bool bind;
    int64_t batch_size;            /**< 256 */
    lks_train_observer_t observer; /**< LKS_EVENT_START and LKS_EVENT_LOAD */
    void *observer_context;
} lks_eval_config_t;

LKS_API lks_eval_config_t lks_eval_config_default(void);

typedef struct lks_eval_result {
    int64_t count;         /**< samples */
    double loss, accuracy; /**< accuracy in percent, NaN for regression */
} lks_eval_result_t;

LKS_API LKS_NODISCARD lks_status_t lks_evaluate(const lks_eval_config_t *config,
                                                lks_eval_result_t *result);

/** Receives the outputs, in order of the samples: `outputs` has shape (count, features).
 *  `names` (features) are the class names of the checkpoint, else of the data, NULL if unknown. */
typedef lks_status_t (*lks_predict_sink_t)(void *context, const float *outputs, int64_t count,
                                           int64_t features, const char *const *names);

LKS_API LKS_NODISCARD lks_status_t lks_predict(const lks_eval_config_t *config,
                                               lks_predict_sink_t sink, void *context);

LKS_END_DECLS
#endif
