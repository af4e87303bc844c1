/* SPDX-License-Identifier: Apache-2.0 */
/* keys.h - names of tensors as text, and what wrappers leave in them.
 * A name is components joined by dots, "layer1.0.weight"; the last one is the tensor's own. Wrappers of
 * PyTorch add components in front of it: DataParallel and DDP `module`, torch.compile `_orig_mod`, FSDP and
 * activation checkpointing names of their own. A name is never stripped down to nothing. */
#ifndef LOCKSTEP_SERIALIZE_KEYS_H
#define LOCKSTEP_SERIALIZE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/** A slice of text: any bytes, no zero behind them. */
typedef struct lks_name {
    const char *text;
    size_t length;
} lks_name_t;

static inline lks_name_t lks_name(const char *text)
{
    return (lks_name_t){.text = text, .length = strlen(text)};
}

static inline bool lks_name_equal(lks_name_t a, lks_name_t b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.text, b.text, a.length) == 0);
}

/** The order of their bytes: below, at or above 0. */
static inline int lks_name_compare(lks_name_t a, lks_name_t b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter > 0 ? memcmp(a.text, b.text, shorter) : 0;
    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

static inline bool lks_name_starts_with(lks_name_t name, lks_name_t front)
{
    return front.length <= name.length &&
           (front.length == 0 || memcmp(name.text, front.text, front.length) == 0);
}

/** The same, with something left behind the front. */
static inline bool lks_name_has_front(lks_name_t name, lks_name_t front)
{
    return front.length < name.length && lks_name_starts_with(name, front);
}

/** The name behind its first `length` bytes. */
static inline lks_name_t lks_name_behind(lks_name_t name, size_t length)
{
    return (lks_name_t){.text = name.text + length, .length = name.length - length};
}

#define LKS_NAME_MODULE "module."
#define LKS_NAME_MODULE_LENGTH (sizeof LKS_NAME_MODULE - 1)

/** How often `module.` stands in front, counted up to `most`. */
size_t lks_name_modules(lks_name_t name, size_t most);

/** True for `n_averaged`, the counter that AveragedModel keeps beside the `module` it wraps. */
bool lks_name_is_counter(lks_name_t name);

/** How often every name has `module.` in front, up to 4 times; the counter does not have to. */
size_t lks_names_modules(const lks_name_t *names, size_t count);

/** True if a front, whole components with their dots, begins with `module.` or has a wrapper in it. */
bool lks_front_has_wrapper(lks_name_t front);

/** The name without wrapper components (`module.` is none), into `out` of at least `name.length` bytes;
 *  returns its length. `out` NULL: the length alone. */
size_t lks_name_unwrap(lks_name_t name, char *out);

/** Length of the longest front, whole components with their dots, that all names have and that leaves
 *  something of each; 0 where there are no names. */
size_t lks_names_shared_front(const lks_name_t *names, size_t count);

#endif
