/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/format.h"
#include "support/support.h"

static const lks_format_t *format;

static lks_status_t probe(const char *bytes, size_t nbytes)
{
    lks_source_t *source;
    lks_origin_t origin;
    assert_ok(lks_source_wrap(bytes, nbytes, "bytes", &source));
    lks_origin_of(source, &origin);
    lks_status_t status = lks_format_probe(&origin, &format);
    lks_origin_fini(&origin);
    lks_source_release(source);
    return status;
}

#define LITERAL(text) (text), sizeof(text) - 1

Test(format, is_found_by_the_first_bytes)
{
    assert_ok(probe(LITERAL("PK\3\4...")));
    cr_assert_str_eq(format->name, "torch_zip");
    char tar[512] = {0};
    memcpy(tar + 257, "ustar", 5);
    assert_ok(probe(tar, sizeof tar));
    cr_assert_str_eq(format->name, "torch_tar");
}

#define MAGIC "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"

Test(format, streams_begin_with_a_number_in_any_protocol)
{
    assert_ok(probe(LITERAL("L119547037146038801333356L\n.M\xe9\3.")));
    cr_assert_eq(format, &lks_format_torch_legacy);
    assert_ok(probe(LITERAL("\x80\2" MAGIC)));
    cr_assert_eq(format, &lks_format_torch_legacy);
    assert_ok(probe(LITERAL("\x80\4\x95\x0d\0\0\0\0\0\0\0" MAGIC)));
    cr_assert_eq(format, &lks_format_torch_legacy);
    assert_ok(probe(LITERAL("\x10\0\0\0\0\0\0\0{\"a\":")));
    cr_assert_str_eq(format->name, "safetensors");
    assert_ok(probe(LITERAL("\x10\0\0\0\0\0\0\0 \n{\t}")));
    cr_assert_str_eq(format->name, "safetensors");
}

Test(format, what_is_not_read_yet_is_called_by_its_name)
{
    assert_fails(probe(LITERAL("\x1f\x8b\x08")), LKS_ERR_UNSUPPORTED, "gzip");
    assert_fails(probe(LITERAL("\x80\4\x95")), LKS_ERR_UNSUPPORTED, "pickle");
}

Test(format, anything_else_is_no_checkpoint)
{
    assert_fails(probe("P", 1), LKS_ERR_FORMAT, "no checkpoint");
    assert_fails(probe(LITERAL("epoch,loss\n1,2\n")), LKS_ERR_FORMAT, "no checkpoint");
}

Test(format, is_found_by_its_name)
{
    assert_ok(lks_format_find("torch_zip", &format));
    cr_assert_eq(format, &lks_format_torch_zip);
    assert_fails(lks_format_find("zip", &format), LKS_ERR_NOT_FOUND, "'zip'");
}
