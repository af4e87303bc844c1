/* SPDX-License-Identifier: Apache-2.0 */
/* event_message.h - what TensorBoard's event files hold: messages of protobuf, of which these fields are written.
 *     Event            wall_time = 1 (double), step = 2 (int64), and one of
 *                      file_version = 3 (string), summary = 5 (Summary), session_log = 7 (SessionLog)
 *     Summary          value = 1 (Value, any number)
 *     Value            tag = 1 (string), simple_value = 2 (float), metadata = 9 (SummaryMetadata)
 *     SummaryMetadata  plugin_data = 1 (PluginData: plugin_name = 1, string)
 *     SessionLog       status = 1 (enum: START = 1)
 * A message is its fields, each a number and a wire type in one varint and then the value; a message in another one is
 * its length and its bytes. A simple_value is read by every TensorBoard there was; the scalars plugin takes it for the
 * tensor that newer writers put there. */
#ifndef LOCKSTEP_RUNTIME_TRAIN_EVENT_MESSAGE_H
#define LOCKSTEP_RUNTIME_TRAIN_EVENT_MESSAGE_H

#include "core/strbuf.h"

#include <stdint.h>

/** A value of a curve, which its tag names: "train/loss". */
typedef struct lks_scalar {
    const char *tag;
    double value; /* kept as float32 */
} lks_scalar_t;

/** Appends the first Event of a file, which says the version of all. wall_time: seconds since 1970. */
void lks_event_append_version(lks_strbuf_t *out, double wall_time);

/** Appends an Event after which readers forget what they have read of this step and later ones. */
void lks_event_append_restart(lks_strbuf_t *out, double wall_time, int64_t step);

/** Appends an Event with `count` values of a step. */
void lks_event_append_scalars(lks_strbuf_t *out, double wall_time, int64_t step,
                              const lks_scalar_t *scalars, size_t count);

#endif
