/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_hash.c - see tensor_hash.h. */
#include "runtime/cli/tensor_hash.h"
#include "runtime/cli/elements.h"

#include <openssl/evp.h>
#include <stdio.h>

static void update(void *digest, const void *data, size_t nbytes)
{
    (void)EVP_DigestUpdate(digest, data, nbytes);
}

lks_status_t tensor_hash(lks_checkpoint_t *checkpoint, const lks_value_t *value, const char *path,
                         char out[65])
{
    int64_t count;
    LKS_TRY(elements_count(checkpoint, value, path, &count));
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest);
        return lks_fail(LKS_ERR_NO_MEMORY, "hashing '%s': libcrypto has no SHA-256", path);
    }
    lks_status_t status = lks_checkpoint_elements(checkpoint, value, path, update, digest);
    lks_checkpoint_unload(checkpoint, lks_value_tensor(value)->storage);
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
