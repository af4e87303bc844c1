/* SPDX-License-Identifier: Apache-2.0 */
/* format.c - the formats that are read, and those that are only recognized. Names of files count for nothing:
 * .pt, .pth, .bin, .ckpt and .tar are used for all of them. */
#include "serialize/format.h"

#include <string.h>

static const lks_format_t *const formats[] = {
    &lks_format_npz, /* both before torch_zip, which takes every zip archive */
    &lks_format_torchscript, &lks_format_torch_zip, &lks_format_torch_tar, &lks_format_torch_legacy,
    &lks_format_safetensors, &lks_format_sharded,   &lks_format_npy,       &lks_format_dcp,
};

#define FORMAT_COUNT (sizeof formats / sizeof *formats)

/* Extensions that say how to write; torch's own say nothing, they are used for all formats. */
static const struct {
    const char *extension, *format;
} extensions[] = {
    {".safetensors", "safetensors"},
    {".npz", "npz"},
};

/* First bytes at an offset, and what a file that has them is. */
static const struct {
    size_t offset;
    const char *bytes;
    size_t nbytes;
    const char *what;
} recognized[] = {
    {0, "PYTORCH1", 8, "the container of a PyTorch pre-release"},
    {0, "\x1f\x8b", 2, "compressed by gzip"},
    {0, "\x89HDF\r\n\x1a\n", 8, "an HDF5 file"},
    {0, "GGUF", 4, "a GGUF file"},
    {0, "\x80\x02", 2, "a pickle that torch.save did not write (pickle.dump)"},
    {0, "\x80\x03", 2, "a pickle that torch.save did not write (pickle.dump)"},
    {0, "\x80\x04", 2, "a pickle that torch.save did not write (pickle.dump)"},
    {0, "\x80\x05", 2, "a pickle that torch.save did not write (pickle.dump)"},
};

lks_status_t lks_format_probe(lks_origin_t *origin, const lks_format_t **out)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        if (formats[i]->probe(origin)) {
            *out = formats[i];
            return LKS_OK;
        }
    }
    if (!origin->source) {
        return lks_fail(LKS_ERR_FORMAT, "a directory, but not one of a checkpoint: it has neither "
                                        "'.metadata' nor an index of shards");
    }
    for (size_t i = 0; i < sizeof recognized / sizeof *recognized; i++) {
        if (lks_origin_has(origin, recognized[i].offset, recognized[i].bytes,
                           recognized[i].nbytes)) {
            return lks_fail(LKS_ERR_UNSUPPORTED, "it is %s", recognized[i].what);
        }
    }
    return lks_fail(LKS_ERR_FORMAT,
                    "it is no checkpoint: it begins with none of the known signatures");
}

lks_status_t lks_format_find(const char *name, const lks_format_t **out)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        if (strcmp(formats[i]->name, name) == 0) {
            *out = formats[i];
            return LKS_OK;
        }
    }
    return lks_fail(LKS_ERR_NOT_FOUND, "no checkpoint format is called '%s'", name);
}

const lks_format_t *lks_format_of_name(const char *path)
{
    const lks_format_t *format = &lks_format_torch_zip;
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        size_t tail = strlen(extensions[i].extension);
        if (length > tail && strcmp(path + length - tail, extensions[i].extension) == 0) {
            /* An extension whose format this build lacks counts as any other. */
            (void)!(lks_format_find(extensions[i].format, &format) == LKS_OK);
        }
    }
    return format;
}
