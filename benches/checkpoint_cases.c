/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_cases.c - see checkpoint_cases.h. */
#include "checkpoint_cases.h"
#include "bench.h"

#include <stdarg.h>
#include <string.h>

#define ROOM ((size_t)2 << 30) /* reserved, not touched */

typedef struct builder {
    bench_state_t state;
    lks_value_t *dict;
    size_t used;
} builder_t;

static void add(builder_t *b, const char *key, lks_dtype_t dtype, int ndim, const int64_t *shape)
{
    int64_t numel;
    bench_must(lks_shape_numel(ndim, shape, &numel));
    size_t nbytes = (size_t)numel * lks_dtype_size(dtype);
    if (nbytes > ROOM - b->used) {
        bench_must(lks_fail(LKS_ERR_INVALID_ARG, "the case is too large"));
    }
    lks_storage_t *storage;
    lks_tensor_t tensor;
    bench_must(
        lks_storage_wrap(lks_device_host(), b->state.data + b->used, nbytes, NULL, NULL, &storage));
    bench_must(lks_tensor_view(storage, dtype, 0, ndim, shape, NULL, &tensor));
    lks_value_set_str(b->state.tree, b->dict, key, lks_value_tensor_from(b->state.tree, &tensor));
    lks_storage_release(storage);
    b->used += (nbytes + 63) & ~(size_t)63;
    b->state.nbytes += nbytes;
    b->state.tensors++;
}

/* --- ResNet-152, as torchvision names its state --- */

static void add_named(builder_t *b, const char *module, const char *name, lks_dtype_t dtype,
                      int ndim, const int64_t *shape)
{
    char key[160];
    (void)snprintf(key, sizeof key, "module.%s.%s", module, name);
    add(b, key, dtype, ndim, shape);
}

static void add_conv_bn(builder_t *b, const char *conv, const char *bn, int64_t out, int64_t in,
                        int64_t kernel)
{
    const int64_t weight[] = {out, in, kernel, kernel};
    add_named(b, conv, "weight", LKS_DTYPE_F32, 4, weight);
    add_named(b, bn, "weight", LKS_DTYPE_F32, 1, &out);
    add_named(b, bn, "bias", LKS_DTYPE_F32, 1, &out);
    add_named(b, bn, "running_mean", LKS_DTYPE_F32, 1, &out);
    add_named(b, bn, "running_var", LKS_DTYPE_F32, 1, &out);
    add_named(b, bn, "num_batches_tracked", LKS_DTYPE_I64, 0, NULL);
}

static void add_bottleneck(builder_t *b, int layer, int block, int64_t in, int64_t planes)
{
    const int64_t channels[][3] = {{planes, in, 1}, {planes, planes, 3}, {4 * planes, planes, 1}};
    char conv[64], bn[64];
    for (int i = 0; i < 3; i++) {
        (void)snprintf(conv, sizeof conv, "layer%d.%d.conv%d", layer, block, i + 1);
        (void)snprintf(bn, sizeof bn, "layer%d.%d.bn%d", layer, block, i + 1);
        add_conv_bn(b, conv, bn, channels[i][0], channels[i][1], channels[i][2]);
    }
    if (block == 0) {
        (void)snprintf(conv, sizeof conv, "layer%d.0.downsample.0", layer);
        (void)snprintf(bn, sizeof bn, "layer%d.0.downsample.1", layer);
        add_conv_bn(b, conv, bn, 4 * planes, in, 1);
    }
}

static void build_resnet152(builder_t *b)
{
    static const int blocks[] = {3, 8, 36, 3};
    add_conv_bn(b, "conv1", "bn1", 64, 3, 7);
    int64_t in = 64;
    for (int layer = 1; layer <= 4; layer++) {
        int64_t planes = INT64_C(32) << layer;
        for (int block = 0; block < blocks[layer - 1]; block++) {
            add_bottleneck(b, layer, block, in, planes);
            in = 4 * planes;
        }
    }
    const int64_t weight[] = {1000, in};
    add_named(b, "fc", "weight", LKS_DTYPE_F32, 2, weight);
    add_named(b, "fc", "bias", LKS_DTYPE_F32, 1, weight);
}

/* --- the others --- */

static void build_equal(builder_t *b, int count, int ndim, const int64_t *shape)
{
    static const char *const names[] = {"weight", "bias", "aux"};
    for (int i = 0; i < count; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "module.layer%d.%s", i / 3, names[i % 3]);
        add(b, key, LKS_DTYPE_F32, ndim, shape);
    }
}

static void build_large(builder_t *b)
{
    build_equal(b, 300, 2, (const int64_t[]){1250, 1000});
}

static void build_many(builder_t *b)
{
    build_equal(b, 100000, 1, (const int64_t[]){4});
}

static void (*const builders[])(builder_t *b) = {build_resnet152, build_large, build_many};
const char *const bench_state_cases[] = {"resnet152", "large", "many"};
const size_t bench_state_case_count = sizeof builders / sizeof *builders;

bench_state_t bench_state_create(const char *name)
{
    size_t index = 0;
    while (index < bench_state_case_count && strcmp(bench_state_cases[index], name) != 0) {
        index++;
    }
    if (index == bench_state_case_count) {
        bench_must(lks_fail(LKS_ERR_INVALID_ARG, "there is no case '%s'", name));
    }
    builder_t b = {.state = {.data = bench_huge_alloc(ROOM), .room = ROOM}};
    bench_must(lks_tree_create(&b.state.tree));
    b.dict = lks_value_ordered_dict(b.state.tree);
    lks_tree_set_root(b.state.tree, b.dict);
    builders[index](&b);
    bench_must(lks_tree_status(b.state.tree));
    uint32_t random = 1;
    for (size_t i = 0; i + 4 <= b.used; i += 4) {
        random = random * 1664525u + 1013904223u;
        memcpy(b.state.data + i, &random, 4);
    }
    return b.state;
}

void bench_state_destroy(bench_state_t *state)
{
    lks_tree_destroy(state->tree);
    bench_huge_free(state->data, state->room);
    *state = (bench_state_t){0};
}
