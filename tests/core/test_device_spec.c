/* SPDX-License-Identifier: Apache-2.0 */
/* test_device_spec.c - what names devices, and what does not. */
#include "core/device_spec.h"
#include "support/support.h"

#include <stdio.h>

static lks_device_spec_t parse(const char *text)
{
    lks_device_spec_t spec;
    assert_ok(lks_device_spec_parse(text, &spec));
    return spec;
}

Test(device_spec, words_alone_give_no_number)
{
    static const struct {
        const char *text;
        lks_device_kind_t kind;
    } words[] = {{"auto", LKS_DEVICE_AUTO}, {"host", LKS_DEVICE_HOST}, {"cuda", LKS_DEVICE_CUDA}};
    for (size_t i = 0; i < 3; i++) {
        lks_device_spec_t spec = parse(words[i].text);
        cr_assert_eq(spec.kind, words[i].kind);
        cr_assert_eq(spec.count, 0);
    }
}

Test(device_spec, host_takes_a_count)
{
    cr_assert_eq(parse("host:1").count, 1);
    cr_assert_eq(parse("host:3").count, 3);
    cr_assert_eq(parse("host:007").count, 7);
    cr_assert_eq(parse("host:4096").count, 4096);
}

Test(device_spec, cuda_takes_indices_in_any_order)
{
    lks_device_spec_t spec = parse("cuda:5,0,4095");
    cr_assert_eq(spec.kind, LKS_DEVICE_CUDA);
    cr_assert_eq(spec.count, 3);
    cr_assert_eq(spec.indices[0], 5);
    cr_assert_eq(spec.indices[1], 0);
    cr_assert_eq(spec.indices[2], 4095);
    cr_assert_eq(parse("cuda:0").count, 1);
}

Test(device_spec, anything_else_is_refused_with_its_text)
{
    static const char *const bad[] = {
        "",         "Host",    "gpu",       "hosts",    "hos",       " host",
        "host ",    "auto:1",  "auto:",     "host:",    "host:0",    "host:-1",
        "host:+1",  "host: 1", "host:3x",   "host:1,2", "host:4097", "host:18446744073709551617",
        "host:1.5", "cuda:",   "cuda:x",    "cuda:0,",  "cuda:,0",   "cuda:0,,1",
        "cuda:0 ",  "cuda:-1", "cuda:4096", "cuda:0;1", "cuda0",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        static lks_device_spec_t spec;
        spec.count = 77;
        char quoted[64];
        (void)snprintf(quoted, sizeof quoted, "'%s'", bad[i]);
        assert_fails(lks_device_spec_parse(bad[i], &spec), LKS_ERR_INVALID_ARG, quoted);
        cr_assert_eq(spec.count, 77);
    }
}

Test(device_spec, a_device_named_twice_is_refused)
{
    lks_device_spec_t spec;
    assert_fails(lks_device_spec_parse("cuda:1,2,1", &spec), LKS_ERR_INVALID_ARG,
                 "names device 1 twice");
}

Test(device_spec, messages_say_what_was_wanted)
{
    lks_device_spec_t spec;
    assert_fails(lks_device_spec_parse("gpu", &spec), LKS_ERR_INVALID_ARG, "host:N");
    assert_fails(lks_device_spec_parse("host:0", &spec), LKS_ERR_INVALID_ARG, "from 1 to 4096");
    assert_fails(lks_device_spec_parse("cuda:a", &spec), LKS_ERR_INVALID_ARG, "from 0 to 4095");
}
