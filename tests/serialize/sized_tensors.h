/* SPDX-License-Identifier: Apache-2.0 */
/* sized_tensors.h - checkpoints of tensors of given sizes, and files with a wrong byte in them. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_SIZED_TENSORS_H
#define LOCKSTEP_TESTS_SERIALIZE_SIZED_TENSORS_H

#include "support/support.h"

#include <lockstep/checkpoint.h>
#include <stdio.h>
#include <stdlib.h>

/** Byte `at` of tensor `index`: no two tensors and no two blocks are alike. */
static inline unsigned char test_byte(size_t index, size_t at)
{
    return (unsigned char)((at * 2654435761u >> 13) + at / 4099 + index * 77);
}

/** {"t": [tensor, ...]} of bytes, saved to `path`. */
static inline void test_save_tensors(const char *path, const size_t *sizes, size_t count)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_dict(tree), *list = lks_value_list(tree);
    lks_value_set_str(tree, root, "t", list);
    lks_tree_set_root(tree, root);
    for (size_t i = 0; i < count; i++) {
        lks_tensor_t tensor;
        const int64_t shape[] = {(int64_t)sizes[i]};
        assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_U8, 1, shape, &tensor));
        unsigned char *data = lks_tensor_data(&tensor);
        for (size_t at = 0; at < sizes[i]; at++) {
            data[at] = test_byte(i, at);
        }
        lks_value_append(tree, list, lks_value_tensor_from(tree, &tensor));
        lks_tensor_release(&tensor);
    }
    assert_ok(lks_checkpoint_save(path, tree, NULL));
    lks_tree_destroy(tree);
}

/** The tensor of index `index`. */
static inline const lks_value_t *test_tensor_at(const lks_checkpoint_t *checkpoint, size_t index)
{
    return lks_value_at(lks_value_find(lks_tree_root(lks_checkpoint_tree(checkpoint)), "t"), index);
}

/** Turns the bits of one byte of a file. */
static inline void test_damage(const char *path, size_t at)
{
    FILE *file = fopen(path, "r+b");
    cr_assert(file);
    cr_assert_eq(fseek(file, (long)at, SEEK_SET), 0);
    int byte = getc(file);
    cr_assert(byte != EOF && fseek(file, (long)at, SEEK_SET) == 0);
    cr_assert(putc(byte ^ 0xff, file) != EOF && fclose(file) == 0);
}

#endif
