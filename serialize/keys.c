/* SPDX-License-Identifier: Apache-2.0 */
/* keys.c - whole components are recognized, letters inside one never: `submodule.weight` and
 * `my_orig_mod.x` stay as they are. */
#include "serialize/keys.h"

#include <lockstep/state_dict.h>

/* Nobody wraps a model more often; a hostile name can repeat it millions of times. */
#define MODULES_MAX 4

static const char *const wrappers[] = {
    "_orig_mod.",                  /* torch.compile */
    "_fsdp_wrapped_module.",       /* FSDP */
    "_fpw_module.",                /* FSDP up to 1.12: FlattenParamsWrapper */
    "_checkpoint_wrapped_module.", /* activation checkpointing */
};

/* Bytes of the first component and its dot; 0 if there is no dot. */
static size_t component_length(lks_name_t name)
{
    const char *dot = name.length > 0 ? memchr(name.text, '.', name.length) : NULL;
    return dot ? (size_t)(dot - name.text) + 1 : 0;
}

/* The same, but 0 where nothing would be left behind it. */
static size_t front_length(lks_name_t name)
{
    size_t length = component_length(name);
    return length < name.length ? length : 0;
}

static bool front_is(lks_name_t name, size_t front, const char *text)
{
    return front == strlen(text) && memcmp(name.text, text, front) == 0;
}

static bool front_is_wrapper(lks_name_t name, size_t front)
{
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) {
        if (front_is(name, front, wrappers[i])) {
            return true;
        }
    }
    return false;
}

size_t lks_name_modules(lks_name_t name, size_t most)
{
    size_t count = 0;
    while (count < most && front_is(name, front_length(name), LKS_NAME_MODULE)) {
        name = lks_name_behind(name, LKS_NAME_MODULE_LENGTH);
        count++;
    }
    return count;
}

bool lks_name_is_counter(lks_name_t name)
{
    return lks_name_equal(name, lks_name("n_averaged"));
}

size_t lks_names_modules(const lks_name_t *names, size_t count)
{
    size_t most = MODULES_MAX;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (!lks_name_is_counter(names[i])) {
            most = lks_name_modules(names[i], most);
            any = true;
        }
    }
    return any ? most : 0;
}

bool lks_front_has_wrapper(lks_name_t front)
{
    if (lks_name_starts_with(front, lks_name(LKS_NAME_MODULE))) {
        return true;
    }
    for (size_t length; (length = component_length(front)) > 0;) {
        if (front_is_wrapper(front, length)) {
            return true;
        }
        front = lks_name_behind(front, length);
    }
    return false;
}

/* Copies the components that stay; `modules`: those of `module.` in front of all others go too. */
static size_t copy_stripped(lks_name_t name, bool modules, char *out)
{
    size_t length = 0;
    bool leading = true;
    while (name.length > 0) {
        size_t front = front_length(name);
        bool module = modules && leading && front_is(name, front, LKS_NAME_MODULE);
        if (!module && !front_is_wrapper(name, front)) {
            size_t kept = front > 0 ? front : name.length;
            if (out) {
                memcpy(out + length, name.text, kept);
            }
            length += kept;
            front = kept;
            leading = false;
        }
        name = lks_name_behind(name, front);
    }
    return length;
}

size_t lks_name_unwrap(lks_name_t name, char *out)
{
    return copy_stripped(name, false, out);
}

bool lks_key_canonicalize(const char *key, char *out, size_t size)
{
    lks_name_t name = lks_name(key);
    size_t length = copy_stripped(name, true, NULL);
    if (length >= size) {
        return false;
    }
    (void)copy_stripped(name, true, out);
    out[length] = '\0';
    return true;
}

size_t lks_names_shared_front(const lks_name_t *names, size_t count)
{
    if (count == 0) {
        return 0;
    }
    size_t shared = names[0].length;
    for (size_t i = 0; i < count && shared > 0; i++) {
        /* One byte less than the name: something has to be left of it. */
        size_t most = names[i].length < shared + 1 ? names[i].length : shared + 1;
        size_t same = 0;
        while (same + 1 < most && names[i].text[same] == names[0].text[same]) {
            same++;
        }
        shared = same;
    }
    while (shared > 0 && names[0].text[shared - 1] != '.') {
        shared--;
    }
    return shared;
}
