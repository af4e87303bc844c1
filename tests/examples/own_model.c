/* SPDX-License-Identifier: Apache-2.0 */
/* own_model.c - a model of your own on three replicas: a perceptron with one hidden layer, whose forward and backward are
 * loops in this file, learns a function of two variables.
 *     own_model [FILE]     saves the parameters there: torch.load reads them, and lockstep inspect */
#include <lockstep/lockstep.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { REPLICAS = 3, BATCH = 32, HIDDEN = 24, STEPS = 400, W1 = 0, W2, PARAMS };

typedef struct model {
    float w1[HIDDEN][2], w2[HIDDEN];
    double first_loss, loss;
} model_t;

static void describe(model_t *model, lks_replica_param_t params[PARAMS])
{
    static const int64_t w1[] = {HIDDEN, 2}, w2[] = {1, HIDDEN};
    const lks_replica_param_t all[PARAMS] = {
        {"0.weight", LKS_PARAM_WEIGHT, LKS_DTYPE_F32, 2, w1, model->w1},
        {"2.weight", LKS_PARAM_WEIGHT, LKS_DTYPE_F32, 2, w2, model->w2}};
    memcpy(params, all, sizeof all);
}

static float scattered(double n, double by) /* evenly over [-1, 1) */
{
    return (float)(2 * fmod(n * by, 1) - 1);
}

/* Forward and backward over this replica's part of a batch. Gradients are those of the mean over the part. A layer's are
 * reported when they are done, and on their way to the other replicas while those of the next layer are computed. */
static lks_status_t learn(model_t *m, lks_replica_t *replica, int step)
{
    float x[BATCH][2], hidden[BATCH][HIDDEN], error[BATCH];
    float *w1_grad = lks_replica_grad(replica, W1), *w2_grad = lks_replica_grad(replica, W2);
    memset(w1_grad, 0, sizeof m->w1);
    memset(w2_grad, 0, sizeof m->w2);
    m->loss = 0;
    for (int i = 0; i < BATCH; i++) {
        int sample = (step * REPLICAS + replica->rank) * BATCH + i;
        x[i][0] = scattered(sample, 0.7548776662466927);
        x[i][1] = scattered(sample, 0.5698402909980532);
        error[i] = -sinf(2 * x[i][0] - x[i][1]);
        for (int h = 0; h < HIDDEN; h++) {
            hidden[i][h] = tanhf(m->w1[h][0] * x[i][0] + m->w1[h][1] * x[i][1]);
            error[i] += m->w2[h] * hidden[i][h];
        }
        m->loss += (double)(error[i] * error[i]) / BATCH;
    }
    for (int i = 0; i < BATCH; i++) {
        float delta = 2 * error[i] / BATCH;
        for (int h = 0; h < HIDDEN; h++) {
            w2_grad[h] += delta * hidden[i][h];
            hidden[i][h] = delta * m->w2[h] * (1 - hidden[i][h] * hidden[i][h]); /* its gradient */
        }
    }
    LKS_TRY(lks_replica_grad_ready(replica, W2)); /* from here on w2 may change */
    for (int i = 0; i < BATCH; i++) {
        for (int h = 0; h < HIDDEN; h++) {
            w1_grad[2 * h] += hidden[i][h] * x[i][0];
            w1_grad[2 * h + 1] += hidden[i][h] * x[i][1];
        }
    }
    return lks_replica_grad_ready(replica, W1);
}

static lks_status_t run_steps(lks_replica_t *replica, model_t *model)
{
    for (int step = 0; step < STEPS; step++) {
        LKS_TRY(lks_replica_begin(replica));
        LKS_TRY(learn(model, replica, step));
        LKS_TRY(lks_replica_step(replica));
        LKS_TRY(lks_comm_all_reduce(replica->comm, &model->loss, &model->loss, 1, LKS_DTYPE_F64,
                                    LKS_REDUCE_AVG, NULL));
        model->first_loss = step == 0 ? model->loss : model->first_loss;
        if (replica->rank == 0 && step % 57 == 0) {
            printf("step %3d  loss %.6f\n", step, model->loss);
        }
    }
    return LKS_OK;
}

static lks_status_t train(lks_replica_t *place, void *models) /* on every replica's thread */
{
    model_t *model = (model_t *)models + place->rank;
    lks_replica_param_t params[PARAMS];
    lks_replica_t *replica;
    lks_optim_config_t adam = lks_optim_config_default(LKS_OPTIM_ADAM);
    lks_replica_options_t options = lks_replica_options_default();
    adam.lr = 0.01;
    options.optim = &adam;
    describe(model, params);
    LKS_TRY(lks_replica_create(place->comm, params, PARAMS, &options, &replica));
    lks_status_t status = run_steps(replica, model);
    lks_replica_destroy(replica);
    return status;
}

static lks_status_t save(model_t *model, const char *path)
{
    lks_replica_param_t params[PARAMS];
    lks_tree_t *tree;
    describe(model, params);
    LKS_TRY(lks_tree_create(&tree));
    lks_tree_set_root(tree, lks_value_ordered_dict(tree));
    lks_status_t status;
    for (int p = 0; p < PARAMS; p++) {
        const lks_replica_param_t *of = &params[p];
        lks_tensor_t copy;
        LKS_GOTO(lks_tensor_create(lks_device_host(), of->dtype, of->ndim, of->shape, &copy), done);
        memcpy(lks_tensor_data(&copy), of->value, lks_tensor_nbytes(&copy));
        lks_value_set_str(tree, lks_tree_root(tree), of->name, lks_value_tensor_from(tree, &copy));
        lks_tensor_release(&copy); /* the tree keeps it */
    }
    status = lks_checkpoint_save(path, tree, NULL);
done:
    lks_tree_destroy(tree);
    return status;
}

int main(int argc, char **argv)
{
    static model_t models[REPLICAS]; /* replica 0's initial values become everybody's */
    const lks_replica_config_t config = {.threads = 1};
    lks_device_list_t *devices;
    lks_replica_group_t *group;
    for (int h = 0; h < HIDDEN; h++) {
        models[0].w1[h][0] = 2 * scattered(h, 0.7548776662466927);
        models[0].w1[h][1] = 2 * scattered(h, 0.5698402909980532);
        models[0].w2[h] = 0.3f * scattered(h, 0.6180339887498949);
    }
    if (lks_device_list_open("host:3", NULL, &devices) != LKS_OK ||
        lks_replica_group_create(devices, &config, &group) != LKS_OK ||
        lks_replica_group_run(group, train, models) != LKS_OK ||
        (argc > 1 && save(&models[0], argv[1]) != LKS_OK)) {
        fprintf(stderr, "own_model: %s\n", lks_last_error()->message);
        return 1;
    }
    lks_replica_group_destroy(group);
    lks_device_list_close(devices);
    for (int i = 1; i < REPLICAS; i++) {
        if (memcmp(&models[i], &models[0], sizeof models[0]) != 0) {
            fprintf(stderr, "own_model: replica %d is not what replica 0 is\n", i);
            return 1;
        }
    }
    return models[0].loss < models[0].first_loss / 10 ? 0 : 1;
}
