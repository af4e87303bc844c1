/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_hash.c - rows of a strided view go to the digest as they are; what lies apart is gathered first. */
#include "runtime/cli/tensor_hash.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Elements that are hashed however few bytes they repeat. */
#define HASHED_ANYWAY (INT64_C(1) << 24)

/* Dimensions from `inner` on lie packed: `run` elements at a time can be hashed in place. */
static int64_t packed_run(const lks_value_tensor_t *tensor, int *outer)
{
    int64_t run = 1;
    int dim = tensor->ndim;
    while (dim > 0 && (tensor->shape[dim - 1] == 1 || tensor->stride[dim - 1] == run)) {
        run *= tensor->shape[dim - 1];
        dim--;
    }
    *outer = dim;
    return run;
}

static void update_strided(EVP_MD_CTX *digest, const lks_value_tensor_t *tensor,
                           const unsigned char *base, int64_t *at)
{
    size_t size = lks_dtype_size(tensor->dtype);
    int outer;
    int64_t run = packed_run(tensor, &outer);
    int64_t offset = tensor->offset;
    for (;;) {
        (void)EVP_DigestUpdate(digest, base + (size_t)offset * size, (size_t)run * size);
        int dim = outer - 1;
        while (dim >= 0) {
            offset += tensor->stride[dim];
            if (++at[dim] < tensor->shape[dim]) {
                break;
            }
            offset -= at[dim] * tensor->stride[dim];
            at[dim--] = 0;
        }
        if (dim < 0) {
            return;
        }
    }
}

static lks_status_t hash_elements(const lks_value_tensor_t *tensor, const void *data, size_t nbytes,
                                  const char *path, EVP_MD_CTX *digest)
{
    int64_t numel;
    LKS_TRY(lks_shape_numel(tensor->ndim, tensor->shape, &numel));
    if (numel == 0) {
        return LKS_OK;
    }
    if ((uint64_t)numel > (uint64_t)nbytes * 64 && numel > HASHED_ANYWAY) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "tensor '%s' repeats %zu bytes into %lld elements: not hashed", path,
                        nbytes, (long long)numel);
    }
    int64_t *at = calloc((size_t)tensor->ndim + 1, sizeof *at);
    if (!at) {
        return lks_fail(LKS_ERR_NO_MEMORY, "hashing '%s': out of memory", path);
    }
    update_strided(digest, tensor, data, at);
    free(at);
    return LKS_OK;
}

lks_status_t tensor_hash(lks_checkpoint_t *checkpoint, const lks_value_t *value, const char *path,
                         char out[65])
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    const void *data;
    size_t nbytes;
    LKS_TRY(lks_checkpoint_storage(checkpoint, tensor->storage, path, &data, &nbytes));
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest);
        return lks_fail(LKS_ERR_NO_MEMORY, "hashing '%s': libcrypto has no SHA-256", path);
    }
    lks_status_t status = hash_elements(tensor, data, nbytes, path, digest);
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (status == LKS_OK && EVP_DigestFinal_ex(digest, bytes, &length) != 1) {
        status = lks_fail(LKS_ERR_NO_MEMORY, "hashing '%s': libcrypto failed", path);
    }
    EVP_MD_CTX_free(digest);
    for (unsigned i = 0; i < length && i < 32; i++) {
        (void)snprintf(out + 2 * (size_t)i, 3, "%02x", bytes[i]);
    }
    return status;
}
