/* SPDX-License-Identifier: Apache-2.0 */
/* replicas.c - what training and evaluation begin with alike: devices, replicas, a checkpoint's weights. */
#include "collectives/backend.h"
#include "runtime/launch/launch.h"
#include "runtime/train/job.h"

static lks_status_t build_model(void *context, lks_module_t **out)
{
    const lks_replicas_config_t *config = context;
    lks_module_t *module;
    LKS_TRY(lks_model_create(config->model, &module));
    lks_status_t status = lks_module_set_dtype(module, config->dtype);
    if (status != LKS_OK) {
        lks_module_destroy(module);
        return status;
    }
    *out = module;
    return LKS_OK;
}

/* A mistake in the description is found here, by one thread, and not by whichever rank comes first. */
static lks_status_t check_model(const char *description)
{
    lks_module_t *module;
    LKS_TRY(lks_model_create(description, &module));
    lks_module_destroy(module);
    return LKS_OK;
}

lks_status_t lks_replicas_open(lks_replicas_t *replicas, const lks_replicas_config_t *config)
{
    LKS_TRY(check_model(config->model));
    lks_device_config_t device = {.bind = config->bind};
    lks_launch_share(&device.process, &device.processes);
    LKS_TRY(lks_device_list_open(config->devices, &device, &replicas->devices));
    lks_replicas_config_t copy = *config;
    lks_replica_config_t replica = {.build = build_model,
                                    .context = &copy,
                                    .options = config->options,
                                    .seed = config->seed,
                                    .timeout = config->timeout,
                                    .processes = config->processes && lks_comm_is_launched()};
    LKS_TRY(lks_replica_group_create(replicas->devices, &replica, &replicas->group));
    replicas->processes = lks_replicas_first(replicas)->comm->processes;
    return LKS_OK;
}

void lks_replicas_close(lks_replicas_t *replicas)
{
    lks_replica_group_destroy(replicas->group);
    lks_device_list_close(replicas->devices);
    *replicas = (lks_replicas_t){0};
}

bool lks_replicas_are_stuck(const lks_replicas_t *replicas)
{
    return replicas->group && lks_replica_group_is_stuck(replicas->group);
}

bool lks_replicas_speak(const lks_replicas_t *replicas)
{
    return lks_replicas_first(replicas)->rank == 0;
}

lks_replica_t *lks_replicas_first(const lks_replicas_t *replicas)
{
    return lks_replica_group_get(replicas->group, 0);
}

/* After rank 0 got a file's state, everyone does; hyper-parameters are in no block that is broadcast. */
static lks_status_t share(lks_replica_t *replica, void *context)
{
    if (replica->optim && lks_comm_local_rank(replica->comm) != 0) {
        LKS_TRY(lks_optim_set_config(replica->optim, context));
    }
    return lks_replica_broadcast(replica);
}

lks_status_t lks_replicas_share(const lks_replicas_t *replicas)
{
    lks_optim_config_t config = {0};
    const lks_optim_t *optim = lks_replicas_first(replicas)->optim;
    if (optim) {
        config = *lks_optim_config(optim);
    }
    return lks_replica_group_run(replicas->group, share, &config);
}

lks_status_t lks_check_stats_fit(const lks_feature_stats_t *stats, const char *file,
                                 const lks_dataset_t *data, const char *name)
{
    if (stats->mean && stats->count != lks_dataset_features(data)) {
        return lks_fail(LKS_ERR_MISMATCH, "'%s' has statistics of %lld features, '%s' has %lld",
                        file, (long long)stats->count, name, (long long)lks_dataset_features(data));
    }
    return LKS_OK;
}
