/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - all that is looked at in a checkpoint; see fuzz.h. */
#include "fuzz.h"
#include "serialize/value_node.h"

#include <lockstep/state_dict.h>

static void read_storages(lks_checkpoint_t *checkpoint)
{
    static volatile unsigned char sink;
    const lks_tree_t *tree = lks_checkpoint_tree(checkpoint);
    for (size_t i = 0; i < lks_tree_storage_count(tree); i++) {
        const void *data;
        size_t nbytes;
        lks_status_t status = lks_checkpoint_storage(checkpoint, i, "w", &data, &nbytes);
        if (status != LKS_OK) {
            fuzz_require_sentence(status);
            continue;
        }
        for (size_t at = 0; at < nbytes; at++) {
            sink = (unsigned char)(sink + ((const unsigned char *)data)[at]);
        }
        lks_checkpoint_unload(checkpoint, i);
    }
}

/* As a load would. */
static void read_tensors(lks_checkpoint_t *checkpoint)
{
    lks_state_dict_t *dict;
    lks_status_t status = lks_state_dict_find(lks_checkpoint_tree(checkpoint), NULL, NULL, &dict);
    if (status != LKS_OK) {
        fuzz_require_sentence(status);
        return;
    }
    for (size_t i = 0; i < lks_state_dict_count(dict); i++) {
        lks_tensor_t tensor;
        status = lks_checkpoint_tensor(checkpoint, lks_state_dict_value(dict, i),
                                       lks_state_dict_key(dict, i), &tensor);
        if (status != LKS_OK) {
            fuzz_require_sentence(status);
        }
    }
    lks_state_dict_destroy(dict);
}

void fuzz_look_at(lks_checkpoint_t *checkpoint)
{
    read_storages(checkpoint);
    read_tensors(checkpoint);
    lks_strbuf_t pickle = fuzz_write(lks_checkpoint_tree(checkpoint));
    lks_strbuf_fini(&pickle);
}
