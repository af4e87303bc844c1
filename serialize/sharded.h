/* SPDX-License-Identifier: Apache-2.0 */
/* sharded.h - state dicts that were split over several files, as transformers and huggingface_hub do:
 *     model.safetensors.index.json       {"metadata": {"total_size": bytes},
 *                                         "weight_map": {"fc.weight": "model-00001-of-00002.safetensors", ...}}
 *     model-00001-of-00002.safetensors   an ordinary file with some of the tensors, and so on
 * What is opened is the index, or a directory with one index in it, or with a "model.safetensors" and no index. The
 * shards lie beside the index and are of any format that is a file: pytorch_model.bin.index.json names archives of
 * torch.save.
 * As a value tree: an OrderedDict of the tensors, in the order of the index; then those of the shards that the index does
 * not name. */
#ifndef LOCKSTEP_SERIALIZE_SHARDED_H
#define LOCKSTEP_SERIALIZE_SHARDED_H

#include "serialize/format.h"

#define LKS_SHARDED_INDEX "model.safetensors.index.json"
#define LKS_SHARDED_SINGLE "model.safetensors"

/** lks_format_t.save_folder: safetensors shards of at most options->shard_size bytes of tensors each (0: 5 GB), split as
 *  huggingface_hub splits them; a tensor that is larger gets a shard of its own. One shard is "model.safetensors"
 *  without an index. What cannot be held: as lks_safetensors_save. */
LKS_NODISCARD lks_status_t lks_sharded_save(const lks_tree_t *tree,
                                            const lks_save_options_t *options,
                                            lks_folder_t *folder);

/** lks_format_t.is_part: the names that lks_sharded_save gives. */
bool lks_sharded_is_part(const char *name);

#endif
