/* SPDX-License-Identifier: Apache-2.0 */
/* leaf_json.h - a leaf of a value tree that is no tensor, as a JSON value. What JSON lacks is an object with one key
 * that names its kind: {"bytes": "00ff"}, {"global": "torch.float32"}. */
#ifndef LOCKSTEP_CLI_LEAF_JSON_H
#define LOCKSTEP_CLI_LEAF_JSON_H

#include <lockstep/value.h>
#include <stdio.h>

void leaf_json(FILE *out, const lks_value_t *leaf);

#endif
