/* SPDX-License-Identifier: Apache-2.0 */
/* test_device.c - device lists, with and without a (make-believe) CUDA backend. */
#include "core/device_backend.h"
#include "core/thread.h"
#include "support/support.h"

#include <lockstep/log.h>
#include <lockstep/tensor.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* A file that is no library stands where the CUDA backend would be found first. */
static void hide_cuda(void)
{
    test_write_file(test_temp_path("liblockstep_cuda.so"), "nothing", 7);
    cr_assert_eq(setenv("LOCKSTEP_LIBDIR", test_temp_dir(), 1), 0);
}

static void fake_cuda(const char *devices)
{
    cr_assert_eq(setenv("LOCKSTEP_LIBDIR", LEAVES_DIR, 1), 0);
    cr_assert_eq(setenv("FAKE_CUDA_DEVICES", devices, 1), 0);
}

static lks_device_list_t *open_list(const char *spec)
{
    lks_device_list_t *list;
    assert_ok(lks_device_list_open(spec, NULL, &list));
    return list;
}

static void check_names(const lks_device_list_t *list, size_t count, const char *const *names)
{
    cr_assert_eq(lks_device_list_count(list), count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_str_eq(lks_device_name(lks_device_list_get(list, i)), names[i]);
    }
}

static size_t machine_cores(void)
{
    const lks_topology_t *machine;
    assert_ok(lks_topology_machine(&machine));
    return machine->core_count;
}

Test(device, plain_host_needs_no_list)
{
    lks_device_t *host = lks_device_host();
    cr_assert_eq(host, lks_device_host());
    cr_assert_str_eq(lks_device_name(host), "host");
    cr_assert_eq(lks_device_core_count(host), 1);
    cr_assert_not(lks_device_cores_exclusive(host));
}

Test(device, binds_by_default)
{
    cr_assert(lks_device_config_default().bind);
}

Test(device, host_is_one_device_with_all_cores)
{
    lks_device_list_t *list = open_list("host");
    check_names(list, 1, (const char *const[]){"host"});
    cr_assert_eq(lks_device_core_count(lks_device_list_get(list, 0)), machine_cores());
    cr_assert(lks_device_cores_exclusive(lks_device_list_get(list, 0)));
    lks_device_list_close(list);
}

Test(device, hosts_are_numbered_even_if_there_is_one)
{
    lks_device_list_t *list = open_list("host:1");
    check_names(list, 1, (const char *const[]){"host:0"});
    lks_device_list_close(list);
    list = open_list("host:3");
    check_names(list, 3, (const char *const[]){"host:0", "host:1", "host:2"});
    lks_device_list_close(list);
}

Test(device, hosts_divide_the_cores)
{
    size_t cores = machine_cores(), sum = 0;
    char spec[32];
    (void)snprintf(spec, sizeof spec, "host:%zu", cores);
    lks_device_list_t *list = open_list(spec);
    for (size_t i = 0; i < cores; i++) {
        lks_device_t *device = lks_device_list_get(list, i);
        sum += lks_device_core_count(device);
        cr_assert(lks_device_cores_exclusive(device));
    }
    cr_assert_eq(sum, cores);
    lks_device_list_close(list);
}

Test(device, more_hosts_than_cores_share_them)
{
    size_t cores = machine_cores();
    char spec[32];
    (void)snprintf(spec, sizeof spec, "host:%zu", 2 * cores + 1);
    lks_device_list_t *list = open_list(spec);
    for (size_t i = 0; i < lks_device_list_count(list); i++) {
        cr_assert_eq(lks_device_core_count(lks_device_list_get(list, i)), 1);
        cr_assert_not(lks_device_cores_exclusive(lks_device_list_get(list, i)));
    }
    lks_device_list_close(list);
}

Test(device, malformed_specification_opens_nothing)
{
    lks_device_list_t *list = NULL;
    assert_fails(lks_device_list_open("host:0", NULL, &list), LKS_ERR_INVALID_ARG, "'host:0'");
    cr_assert_null(list);
    lks_device_list_close(NULL);
}

Test(device, without_cuda_auto_is_the_host)
{
    hide_cuda();
    lks_device_list_t *list = open_list("auto");
    check_names(list, 1, (const char *const[]){"host"});
    lks_device_list_close(list);
}

Test(device, without_cuda_asking_for_it_says_why_not)
{
    hide_cuda();
    lks_device_list_t *list = NULL;
    assert_fails(lks_device_list_open("cuda", NULL, &list), LKS_ERR_DEVICE, "no CUDA device");
    assert_fails(lks_device_list_open("cuda:0", NULL, &list), LKS_ERR_DEVICE,
                 "liblockstep_cuda.so");
    cr_assert_null(list);
}

Test(device, cuda_without_a_visible_device_is_no_cuda)
{
    fake_cuda("0");
    lks_device_list_t *list = NULL;
    assert_fails(lks_device_list_open("cuda", NULL, &list), LKS_ERR_DEVICE, "none is visible");
    cr_assert_null(list);
    list = open_list("auto");
    check_names(list, 1, (const char *const[]){"host"});
    lks_device_list_close(list);
}

Test(device, a_cuda_backend_that_fails_gives_its_own_reason)
{
    fake_cuda("none");
    lks_device_list_t *list = NULL;
    assert_fails(lks_device_list_open("cuda", NULL, &list), LKS_ERR_DEVICE,
                 "no CUDA device: the driver is too old");
    cr_assert_null(list);
    list = open_list("auto");
    check_names(list, 1, (const char *const[]){"host"});
    lks_device_list_close(list);
    fake_cuda("1");
    list = open_list("cuda");
    void *data = &data;
    assert_fails(lks_device_alloc(lks_device_list_get(list, 0), 1 << 21, &data), LKS_ERR_NO_MEMORY,
                 "the card is full");
    cr_assert_eq(data, &data);
    lks_device_list_close(list);
}

Test(device, cuda_and_auto_take_every_visible_device)
{
    fake_cuda("3");
    static const char *const specs[] = {"cuda", "auto"};
    for (size_t i = 0; i < 2; i++) {
        lks_device_list_t *list = open_list(specs[i]);
        check_names(list, 3, (const char *const[]){"cuda:0", "cuda:1", "cuda:2"});
        lks_device_list_close(list);
    }
}

Test(device, cuda_takes_the_devices_named_in_their_order)
{
    fake_cuda("3");
    lks_device_list_t *list = open_list("cuda:2,0");
    check_names(list, 2, (const char *const[]){"cuda:2", "cuda:0"});
    lks_device_list_close(list);
    list = NULL;
    assert_fails(lks_device_list_open("cuda:1,3", NULL, &list), LKS_ERR_DEVICE,
                 "no device cuda:3: 3 are visible");
    cr_assert_null(list);
}

/* A machine with 4 nodes of 2 cores each, and 8 GPUs, two to a node. */
static void fake_gpu_node(void)
{
    cr_assert_eq(setenv("HWLOC_SYNTHETIC", "pack:2 numa:2 core:2 pu:1", 1), 0);
    cr_assert_eq(setenv("FAKE_CUDA_NODES", "33221100", 1), 0);
    fake_cuda("8");
}

Test(device, gpus_get_cores_of_their_node)
{
    fake_gpu_node();
    static const unsigned wanted[] = {6, 7, 4, 5, 2, 3, 0, 1};
    lks_device_list_t *list = open_list("cuda");
    for (unsigned i = 0; i < 8; i++) {
        lks_device_t *device = lks_device_list_get(list, i);
        cr_assert_eq(lks_device_core_count(device), 1);
        cr_assert(lks_device_cores_exclusive(device));
        cr_assert_eq(lks_device_cores(device)->pu, wanted[i]);
        cr_assert_eq(lks_device_node(device), 3 - (int)i / 2);
        cr_assert_eq(lks_device_cores(device)->node, 3 - i / 2);
    }
    lks_device_list_close(list);
}

Test(device, gpus_that_are_not_used_leave_their_cores)
{
    fake_gpu_node();
    lks_device_list_t *list = open_list("cuda:7,1");
    lks_device_t *device = lks_device_list_get(list, 0);
    cr_assert_eq(lks_device_node(device), 0);
    cr_assert_eq(lks_device_core_count(device), 2);
    cr_assert_eq(lks_device_cores(device)->pu, 0);
    lks_device_list_close(list);
}

Test(device, the_host_is_attached_to_no_node)
{
    cr_assert_lt(lks_device_node(lks_device_host()), 0);
    lks_device_list_t *list = open_list("host");
    cr_assert_lt(lks_device_node(lks_device_list_get(list, 0)), 0);
    lks_device_list_close(list);
}

Test(device, memory_calls_reach_the_devices_backend)
{
    fake_cuda("3");
    lks_device_list_t *list = open_list("cuda:2");
    lks_device_t *cuda = lks_device_list_get(list, 0), *host = lks_device_host();
    unsigned char *data;
    void *block;
    assert_ok(lks_device_alloc(cuda, 4, &block));
    data = block;
    cr_assert_eq(data[-1], 2, "the block is device 2's");
    char text[4] = "abc", back[4] = "";
    assert_ok(lks_device_copy(cuda, data, host, text, 4, NULL));
    assert_ok(lks_device_fill(cuda, data, 'x', 1, NULL));
    assert_ok(lks_device_copy(host, back, cuda, data, 4, NULL));
    cr_assert_str_eq(back, "xbc");
    lks_device_free(cuda, data);
    lks_device_list_close(list);
}

Test(device, strided_copies_and_conversions_stay_on_the_host)
{
    fake_cuda("1");
    lks_device_list_t *list = open_list("cuda");
    lks_tensor_t far, near, turned;
    const int64_t shape[] = {2, 2};
    assert_ok(lks_tensor_create(lks_device_list_get(list, 0), LKS_DTYPE_F32, 2, shape, &far));
    assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_I32, 2, shape, &near));
    memset(lks_tensor_data(&near), 0, lks_tensor_nbytes(&near));
    assert_fails(lks_tensor_convert(&far, &near), LKS_ERR_UNSUPPORTED, "off the host");
    far.dtype = LKS_DTYPE_I32;
    assert_ok(lks_tensor_copy(&far, &near));
    assert_ok(lks_tensor_transpose(&far, 0, 1, &turned));
    assert_fails(lks_tensor_copy(&near, &turned), LKS_ERR_UNSUPPORTED, "strided");
    lks_tensor_release(&far);
    lks_tensor_release(&near);
    lks_device_list_close(list);
}

typedef struct bound {
    const lks_device_t *device;
    size_t core;
    cpu_set_t mask;
} bound_t;

static void bind_self(void *context)
{
    bound_t *bound = context;
    lks_device_bind_thread(bound->device, bound->core);
    (void)sched_getaffinity(0, sizeof bound->mask, &bound->mask);
}

static cpu_set_t mask_after_binding(const lks_device_t *device, size_t core)
{
    bound_t bound = {.device = device, .core = core};
    lks_thread_t *thread;
    assert_ok(lks_thread_create("bound", bind_self, &bound, &thread));
    lks_thread_join(thread);
    return bound.mask;
}

Test(device, threads_are_bound_to_the_devices_cores)
{
    lks_device_list_t *list = open_list("host");
    lks_device_t *device = lks_device_list_get(list, 0);
    size_t cores = lks_device_core_count(device);
    for (size_t i = 0; i < 2 * cores; i++) { /* round and round */
        cpu_set_t mask = mask_after_binding(device, i);
        cr_assert_eq(CPU_COUNT(&mask), 1);
        cr_assert(CPU_ISSET(device->cores[i % cores].pu, &mask));
    }
    cpu_set_t mask = mask_after_binding(device, SIZE_MAX);
    cr_assert_eq((size_t)CPU_COUNT(&mask), cores);
    lks_device_list_close(list);
}

Test(device, threads_stay_unbound_where_the_list_says_so)
{
    cpu_set_t before;
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    const lks_device_config_t config = {.bind = false};
    lks_device_list_t *list;
    assert_ok(lks_device_list_open("host:2", &config, &list));
    cpu_set_t mask = mask_after_binding(lks_device_list_get(list, 1), 0);
    cr_assert(CPU_EQUAL(&before, &mask));
    mask = mask_after_binding(lks_device_host(), 0);
    cr_assert(CPU_EQUAL(&before, &mask));
    lks_device_list_close(list);
}

static void count_warnings(void *context, lks_log_level_t level, const char *message)
{
    cr_expect_eq(level, LKS_LOG_WARN);
    cr_expect(strstr(message, "broken: cannot bind"), "%s", message);
    ++*(int *)context;
}

Test(device, a_binding_that_fails_warns_once)
{
    int warnings = 0;
    lks_log_set_sink(count_warnings, &warnings);
    const lks_core_t nowhere = {.pu = 100000};
    const lks_device_t broken = {
        .name = "broken", .cores = &nowhere, .core_count = 1, .bind = true};
    lks_device_bind_thread(&broken, 0);
    lks_device_bind_thread(&broken, SIZE_MAX);
    cr_assert_eq(warnings, 1);
}
