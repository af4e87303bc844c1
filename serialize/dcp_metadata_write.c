/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_metadata_write.c - see dcp_metadata_write.h. Python's objects are built as values and pickled. */
#include "serialize/dcp_metadata_write.h"
#include "serialize/pickle_write.h"

#include <stdio.h>

#define METADATA "torch.distributed.checkpoint.metadata"

/* Classes, and what is the same for all tensors. */
typedef struct builder {
    lks_tree_t *tree;
    lks_value_t *tensor_class, *bytes_class, *chunk_class, *index_class, *info_class,
        *properties_class, *size_class;
    lks_value_t *layout, *memory_format, *no_arguments;
} builder_t;

void lks_dcp_file_name(char name[LKS_DCP_FILE_NAME_MAX], size_t file)
{
    (void)snprintf(name, LKS_DCP_FILE_NAME_MAX, "__0_%zu.distcp", file);
}

static lks_value_t *tuple1(lks_tree_t *tree, lks_value_t *item)
{
    lks_value_t *tuple = lks_value_tuple(tree);
    lks_value_append(tree, tuple, item);
    return tuple;
}

static builder_t create_builder(lks_tree_t *tree)
{
    lks_value_t *get_layout = lks_value_global(tree, "torch.serialization", "_get_layout");
    lks_value_t *encoding = lks_value_global(tree, METADATA, "_MEM_FORMAT_ENCODING");
    return (builder_t){
        .tree = tree,
        .tensor_class = lks_value_global(tree, METADATA, "TensorStorageMetadata"),
        .bytes_class = lks_value_global(tree, METADATA, "BytesStorageMetadata"),
        .chunk_class = lks_value_global(tree, METADATA, "ChunkStorageMetadata"),
        .index_class = lks_value_global(tree, METADATA, "MetadataIndex"),
        .info_class =
            lks_value_global(tree, "torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        .properties_class = lks_value_global(tree, METADATA, "TensorProperties"),
        .size_class = lks_value_global(tree, "torch", "Size"),
        .layout = lks_value_object(tree, LKS_OBJECT_REDUCE, get_layout,
                                   tuple1(tree, lks_value_str(tree, "torch.strided"))),
        .memory_format = lks_value_object(tree, LKS_OBJECT_REDUCE, encoding,
                                          tuple1(tree, lks_value_int(tree, 0))), /* contiguous */
        .no_arguments = lks_value_tuple(tree),
    };
}

static lks_value_t *instance(builder_t *builder, lks_value_t *class, lks_value_t *state)
{
    lks_tree_t *tree = builder->tree;
    lks_value_t *object = lks_value_object(tree, LKS_OBJECT_NEW, class, builder->no_arguments);
    if (state) {
        lks_value_object_set_state(tree, object, state);
    }
    return object;
}

/* torch.Size(shape), or of as many zeros where `shape` is NULL. */
static lks_value_t *size_of(builder_t *builder, int ndim, const int64_t *shape)
{
    lks_value_t *numbers = lks_value_tuple(builder->tree);
    for (int i = 0; i < ndim; i++) {
        lks_value_append(builder->tree, numbers,
                         lks_value_int(builder->tree, shape ? shape[i] : 0));
    }
    return lks_value_object(builder->tree, LKS_OBJECT_REDUCE, builder->size_class,
                            tuple1(builder->tree, numbers));
}

static lks_value_t *properties_of(builder_t *builder, const lks_value_tensor_t *tensor)
{
    lks_tree_t *tree = builder->tree;
    lks_value_t *state = lks_value_tuple(tree);
    lks_value_append(tree, state, lks_value_global(tree, "torch", lks_dtype_name(tensor->dtype)));
    lks_value_append(tree, state, builder->layout);
    lks_value_append(tree, state, lks_value_bool(tree, tensor->requires_grad));
    lks_value_append(tree, state, builder->memory_format);
    lks_value_append(tree, state, lks_value_bool(tree, false)); /* pinned */
    return instance(builder, builder->properties_class, state);
}

/* A tensor in one chunk. */
static lks_value_t *tensor_metadata(builder_t *builder, const lks_value_tensor_t *tensor)
{
    lks_tree_t *tree = builder->tree;
    lks_value_t *chunk = lks_value_dict(tree), *chunks = lks_value_list(tree);
    lks_value_set_str(tree, chunk, "offsets", size_of(builder, tensor->ndim, NULL));
    lks_value_set_str(tree, chunk, "sizes", size_of(builder, tensor->ndim, tensor->shape));
    lks_value_append(tree, chunks, instance(builder, builder->chunk_class, chunk));
    lks_value_t *state = lks_value_dict(tree);
    lks_value_set_str(tree, state, "properties", properties_of(builder, tensor));
    lks_value_set_str(tree, state, "size", size_of(builder, tensor->ndim, tensor->shape));
    lks_value_set_str(tree, state, "chunks", chunks);
    return instance(builder, builder->tensor_class, state);
}

static lks_value_t *index_of(builder_t *builder, const lks_dcp_leaf_t *leaf)
{
    lks_tree_t *tree = builder->tree;
    lks_value_t *state = lks_value_dict(tree);
    lks_value_set_str(tree, state, "fqn", leaf->name);
    if (leaf->kind == LKS_DCP_LEAF_TENSOR) {
        int ndim = lks_value_tensor(leaf->value)->ndim;
        lks_value_set_str(tree, state, "index", lks_value_int(tree, 0));
        lks_value_set_str(tree, state, "offset", size_of(builder, ndim, NULL));
    } else {
        lks_value_set_str(tree, state, "index", lks_value_none(tree));
    }
    return instance(builder, builder->index_class, state);
}

static lks_value_t *info_of(builder_t *builder, const lks_dcp_leaf_t *leaf)
{
    lks_tree_t *tree = builder->tree;
    char name[LKS_DCP_FILE_NAME_MAX];
    lks_dcp_file_name(name, leaf->file);
    lks_value_t *state = lks_value_dict(tree);
    lks_value_set_str(tree, state, "relative_path", lks_value_str(tree, name));
    lks_value_set_str(tree, state, "offset", lks_value_int(tree, (int64_t)leaf->start));
    lks_value_set_str(tree, state, "length", lks_value_int(tree, (int64_t)leaf->length));
    return instance(builder, builder->info_class, state);
}

static lks_value_t *metadata_of(builder_t *builder, const lks_dcp_leaf_t *leaf)
{
    return leaf->kind == LKS_DCP_LEAF_TENSOR
               ? tensor_metadata(builder, lks_value_tensor(leaf->value))
               : instance(builder, builder->bytes_class, NULL);
}

lks_status_t lks_dcp_metadata_write(const lks_dcp_leaves_t *leaves, lks_tree_t *out,
                                    lks_strbuf_t *pickle)
{
    builder_t builder = create_builder(out);
    lks_value_t *metadata = lks_value_dict(out), *places = lks_value_dict(out);
    lks_value_t *paths = lks_value_dict(out), *state = lks_value_dict(out);
    for (size_t i = 0; i < leaves->count; i++) {
        const lks_dcp_leaf_t *leaf = &leaves->items[i];
        lks_value_set(out, paths, leaf->name, leaf->path);
        if (leaf->kind != LKS_DCP_LEAF_EMPTY) {
            lks_value_set(out, metadata, leaf->name, metadata_of(&builder, leaf));
            lks_value_set(out, places, index_of(&builder, leaf), info_of(&builder, leaf));
        }
    }
    lks_value_set_str(out, state, "state_dict_metadata", metadata);
    lks_value_set_str(out, state, "planner_data", paths);
    lks_value_set_str(out, state, "storage_data", places);
    lks_value_t *root = instance(&builder, lks_value_global(out, METADATA, "Metadata"), state);
    LKS_TRY(lks_tree_status(out));
    const lks_pickle_write_hooks_t no_hooks = {0}; /* there is no tensor in it */
    return lks_pickle_write(root, &no_hooks, pickle);
}
