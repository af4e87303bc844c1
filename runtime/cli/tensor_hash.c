/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_hash.c - see tensor_hash.h. */
#include "runtime/cli/tensor_hash.h"

#include <openssl/evp.h>
#include <stdio.h>

/* Elements that are hashed however few bytes they repeat. */
#define HASHED_ANYWAY (INT64_C(1) << 24)

/* A few bytes can be expanded to more elements than anybody can wait for. */
static lks_status_t check_size(const lks_checkpoint_t *checkpoint, const lks_value_tensor_t *tensor,
                               const char *path)
{
    int64_t numel;
    LKS_TRY(lks_shape_numel(tensor->ndim, tensor->shape, &numel));
    const lks_tree_storage_t *storage =
        lks_tree_storage(lks_checkpoint_tree(checkpoint), tensor->storage);
    size_t nbytes = lks_storage_nbytes(storage->storage);
    if ((uint64_t)numel > (uint64_t)nbytes * 64 && numel > HASHED_ANYWAY) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "tensor '%s' repeats %zu bytes into %lld elements: not hashed", path,
                        nbytes, (long long)numel);
    }
    return LKS_OK;
}

static void update(void *digest, const void *data, size_t nbytes)
{
    (void)EVP_DigestUpdate(digest, data, nbytes);
}

lks_status_t tensor_hash(lks_checkpoint_t *checkpoint, const lks_value_t *value, const char *path,
                         char out[65])
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    LKS_TRY(check_size(checkpoint, tensor, path));
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest);
        return lks_fail(LKS_ERR_NO_MEMORY, "hashing '%s': libcrypto has no SHA-256", path);
    }
    lks_status_t status = lks_checkpoint_elements(checkpoint, value, path, update, digest);
    lks_checkpoint_unload(checkpoint, tensor->storage);
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
