/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_hash.c - see tensor_hash.h. libcrypto is opened when the first hash is asked for: linking it would cost every
 * run of the program 1.2 ms. */
#include "runtime/cli/tensor_hash.h"
#include "runtime/cli/elements.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* The functions used, under their own names and with their own types. */
#define CRYPTO_FUNCTIONS(X)                                                                        \
    X(EVP_sha256)                                                                                  \
    X(EVP_MD_CTX_new)                                                                              \
    X(EVP_MD_CTX_free)                                                                             \
    X(EVP_DigestInit_ex)                                                                           \
    X(EVP_DigestUpdate)                                                                            \
    X(EVP_DigestFinal_ex)

typedef struct crypto {
#define X(function) __typeof__(&function) function;
    CRYPTO_FUNCTIONS(X)
#undef X
} crypto_t;

static crypto_t crypto;

static bool find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol); /* C has no cast for this */
    return symbol != NULL;
}

/* Once; the program hashes in one thread. The library stays. */
static lks_status_t open_crypto(void)
{
    static bool opened;
    if (opened) {
        return LKS_OK;
    }
    void *library = dlopen(LOCKSTEP_LIBCRYPTO, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "hashing needs OpenSSL's libcrypto: %s", dlerror());
    }
#define X(function) &&find(library, #function, &crypto.function)
    opened = true CRYPTO_FUNCTIONS(X);
#undef X
    return opened ? LKS_OK
                  : lks_fail(LKS_ERR_UNSUPPORTED, "hashing: %s is not OpenSSL's libcrypto",
                             LOCKSTEP_LIBCRYPTO);
}

static void update(void *digest, const void *data, size_t nbytes)
{
    (void)crypto.EVP_DigestUpdate(digest, data, nbytes);
}

lks_status_t tensor_hash(lks_checkpoint_t *checkpoint, const lks_value_t *value, const char *path,
                         char out[65])
{
    int64_t count;
    LKS_TRY(elements_count(checkpoint, value, path, &count));
    LKS_TRY(open_crypto());
    EVP_MD_CTX *digest = crypto.EVP_MD_CTX_new();
    if (!digest || crypto.EVP_DigestInit_ex(digest, crypto.EVP_sha256(), NULL) != 1) {
        crypto.EVP_MD_CTX_free(digest);
        return lks_fail(LKS_ERR_NO_MEMORY, "hashing '%s': libcrypto has no SHA-256", path);
    }
    lks_status_t status = lks_checkpoint_elements(checkpoint, value, path, update, digest);
    lks_checkpoint_unload(checkpoint, lks_value_tensor(value)->storage);
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (status == LKS_OK && crypto.EVP_DigestFinal_ex(digest, bytes, &length) != 1) {
        status = lks_fail(LKS_ERR_NO_MEMORY, "hashing '%s': libcrypto failed", path);
    }
    crypto.EVP_MD_CTX_free(digest);
    for (unsigned i = 0; i < length && i < 32; i++) {
        (void)snprintf(out + 2 * (size_t)i, 3, "%02x", bytes[i]);
    }
    return status;
}
