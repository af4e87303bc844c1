/* SPDX-License-Identifier: Apache-2.0 */
/* tree_walk.c - depth-first with a stack of its own: nesting is the file's choice. */
#include "runtime/cli/tree_walk.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One key may be repeated at every depth, and one text at every leaf: what is printed must not grow with their product. */
#define PATH_BYTES_MAX 4096
#define SHORT_PATH_BYTES                                                                           \
    256 /* what is left of it behind leaves with PATHS_BYTES_MAX bytes of path */
#define PATHS_BYTES_MAX ((size_t)64 << 20)
#define LONG_TEXT_BYTES 1024

/* Shared containers have more paths than there are atoms. */
#define REPEATED_DEPTH_MAX 64
#define REPEATS_MAX 100000

/* What is still to do at one container. An object has several parts one after the other. */
typedef struct frame {
    const lks_value_t *value;
    size_t path;        /* length of the path of the container */
    size_t part, index; /* see part_of */
} frame_t;

typedef struct walk {
    unsigned flags;
    size_t repeats;
    frame_t *frames;
    size_t depth, capacity;
    char *path;
    size_t path_length, path_capacity;
    size_t told;              /* bytes of path, with all leaves so far */
    const lks_value_t **seen; /* open hash set of visited nodes */
    size_t seen_count, seen_capacity;
} walk_t;

static bool grow(void **data, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) {
        return true;
    }
    size_t next = *capacity ? *capacity * 2 : 64;
    while (next < need) {
        next *= 2;
    }
    void *grown = realloc(*data, next * size);
    if (!grown) {
        return false;
    }
    *data = grown;
    *capacity = next;
    return true;
}

static size_t slot_of(const walk_t *walk, const lks_value_t *value)
{
    size_t mask = walk->seen_capacity - 1;
    size_t slot = (size_t)((uintptr_t)value * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;
    while (walk->seen[slot] && walk->seen[slot] != value) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static bool enlarge_seen(walk_t *walk)
{
    walk_t next = *walk;
    next.seen_capacity = walk->seen_capacity ? walk->seen_capacity * 2 : 256;
    next.seen = calloc(next.seen_capacity, sizeof *next.seen);
    if (!next.seen) {
        return false;
    }
    for (size_t i = 0; i < walk->seen_capacity; i++) {
        if (walk->seen[i]) {
            next.seen[slot_of(&next, walk->seen[i])] = walk->seen[i];
        }
    }
    free(walk->seen);
    *walk = next;
    return true;
}

/* Notes the visit; *fresh says whether it is the first. False: out of memory. */
static bool visit(walk_t *walk, const lks_value_t *value, bool *fresh)
{
    if (walk->seen_count * 2 >= walk->seen_capacity && !enlarge_seen(walk)) {
        return false;
    }
    size_t slot = slot_of(walk, value);
    *fresh = walk->seen[slot] == NULL;
    if (*fresh) {
        walk->seen[slot] = value;
        walk->seen_count++;
    }
    return true;
}

/* Cuts the path to `length` and appends a dot (unless it is empty) and the text, as far as paths go. */
static bool set_path(walk_t *walk, size_t length, const char *text, size_t nbytes)
{
    size_t most = walk->told < PATHS_BYTES_MAX ? PATH_BYTES_MAX : SHORT_PATH_BYTES;
    length = length < most ? length : most;
    bool dot = length > 0 && length < most;
    size_t room = most - length - dot;
    nbytes = nbytes < room ? nbytes : room;
    size_t need = length + dot + nbytes + 1;
    if (!grow((void **)&walk->path, &walk->path_capacity, need, 1)) {
        return false;
    }
    if (dot) {
        walk->path[length++] = '.';
    }
    memcpy(walk->path + length, text, nbytes);
    walk->path_length = length + nbytes;
    walk->path[walk->path_length] = '\0';
    return true;
}

static bool set_path_key(walk_t *walk, size_t length, const lks_value_t *key, size_t index)
{
    char text[64];
    int64_t number;
    size_t nbytes;
    if (lks_value_kind(key) == LKS_VALUE_STR) {
        const char *name = lks_value_text(key, &nbytes);
        return set_path(walk, length, name, nbytes);
    }
    if (lks_value_kind(key) == LKS_VALUE_INT && lks_value_get_int(key, &number) == LKS_OK) {
        (void)snprintf(text, sizeof text, "%" PRId64, number);
    } else {
        (void)snprintf(text, sizeof text, "<%s %zu>", lks_value_kind_name(lks_value_kind(key)),
                       index);
    }
    return set_path(walk, length, text, strlen(text));
}

static bool is_sequence(const lks_value_t *value)
{
    return lks_value_kind(value) == LKS_VALUE_LIST || lks_value_kind(value) == LKS_VALUE_TUPLE;
}

/* What a value has inside, one part after the other. `prefix`, if any, stands between the value's path and the names
 * in the part; `positions` is how items of the part are named. */
typedef struct part {
    const lks_value_t *value; /* NULL: it has no such part */
    const char *prefix, *positions;
} part_t;

enum { PARTS_MAX = 4 };

static part_t part_of(const walk_t *walk, const lks_value_t *value, size_t index)
{
    part_t part = {.positions = "%zu"};
    switch (lks_value_kind(value)) {
    case LKS_VALUE_OBJECT:
        part.positions = index == 0 ? "<arg%zu>" : part.positions;
        part.value = index == 0   ? lks_value_object_arguments(value)
                     : index == 1 ? lks_value_object_state(value)
                     : index == 2 ? lks_value_object_items(value)
                                  : lks_value_object_entries(value);
        return part;
    case LKS_VALUE_TENSOR:
        part.prefix = index == 0 ? "__dict__" : "<quantizer>";
        part.value = index == 0   ? lks_value_tensor_attributes(value)
                     : index == 1 ? lks_value_tensor_quantizer(value)
                                  : NULL;
        return part;
    default:
        part.prefix = index == 0 ? NULL : "<attrs>";
        part.value = index == 0 ? value
                     : index == 1 && (walk->flags & WALK_ATTRIBUTES)
                         ? lks_value_dict_attributes(value)
                         : NULL;
        return part;
    }
}

/* Entry `index` of a part, with the walk's path set to it; NULL when there is none left. A state that is no container
 * is one child, "<state>". False: out of memory. */
static bool child_of_part(walk_t *walk, size_t path, const part_t *part, size_t index,
                          const lks_value_t **out)
{
    char text[32];
    bool dict = lks_value_kind(part->value) == LKS_VALUE_DICT, sequence = is_sequence(part->value);
    *out = NULL;
    if (dict || sequence ? index >= lks_value_count(part->value) : index > 0) {
        return true;
    }
    if (part->prefix && !set_path(walk, path, part->prefix, strlen(part->prefix))) {
        return false;
    }
    path = part->prefix ? walk->path_length : path;
    *out = dict || sequence ? lks_value_at(part->value, index) : part->value;
    if (dict) {
        return set_path_key(walk, path, lks_value_key_at(part->value, index), index);
    }
    (void)snprintf(text, sizeof text, sequence ? part->positions : "<state>", index);
    return set_path(walk, path, text, strlen(text));
}

/* The next child of the frame, with the walk's path set to it; NULL when there is none left. */
static lks_status_t next_child(walk_t *walk, frame_t *frame, const lks_value_t **out)
{
    *out = NULL;
    for (; frame->part < PARTS_MAX; frame->part++, frame->index = 0) {
        const part_t part = part_of(walk, frame->value, frame->part);
        if (!part.value) {
            continue;
        }
        if (!child_of_part(walk, frame->path, &part, frame->index++, out)) {
            return lks_fail(LKS_ERR_NO_MEMORY, "walking the tree: out of memory");
        }
        if (*out) {
            break;
        }
    }
    return LKS_OK;
}

/* Something is inside. */
static bool is_container(const walk_t *walk, const lks_value_t *value)
{
    switch (lks_value_kind(value)) {
    case LKS_VALUE_OBJECT: return true;
    case LKS_VALUE_TENSOR:
        return lks_value_tensor_attributes(value) || lks_value_tensor_quantizer(value);
    default:
        return lks_value_count(value) > 0 ||
               ((walk->flags & WALK_ATTRIBUTES) && lks_value_dict_attributes(value));
    }
}

/* Reported itself, besides what is inside. */
static bool is_leaf(const walk_t *walk, const lks_value_t *value)
{
    lks_value_kind_t kind = lks_value_kind(value);
    bool sequence = kind == LKS_VALUE_DICT || is_sequence(value);
    return sequence
               ? lks_value_count(value) == 0
               : !is_container(walk, value) || kind == LKS_VALUE_OBJECT || kind == LKS_VALUE_TENSOR;
}

/* Whether a value that was visited before is visited in this place, too. */
static bool may_repeat(walk_t *walk, const lks_value_t *value, bool container)
{
    if (!(walk->flags & WALK_REPEATED) || walk->depth > REPEATED_DEPTH_MAX) {
        return false;
    }
    for (size_t i = 0; i < walk->depth && container; i++) {
        if (walk->frames[i].value == value) {
            return false; /* inside itself */
        }
    }
    return walk->repeats++ < REPEATS_MAX;
}

/* At a value with the path set: reports a leaf, opens a container. */
static lks_status_t enter(walk_t *walk, const lks_value_t *value, leaf_fn_t leaf, void *context)
{
    bool container = is_container(walk, value), fresh = true;
    size_t nbytes = 0;
    bool tensor = lks_value_kind(value) == LKS_VALUE_TENSOR;
    bool once = container || tensor || (lks_value_text(value, &nbytes) && nbytes > LONG_TEXT_BYTES);
    if (once && !visit(walk, value, &fresh)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "walking the tree: out of memory");
    }
    if (!fresh && !may_repeat(walk, value, container)) {
        return LKS_OK;
    }
    if (is_leaf(walk, value)) {
        walk->told += walk->path_length;
        LKS_TRY(leaf(context, walk->path ? walk->path : "", walk->path_length, value));
    }
    if (!container) {
        return LKS_OK;
    }
    if (!grow((void **)&walk->frames, &walk->capacity, walk->depth + 1, sizeof *walk->frames)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "walking the tree: out of memory");
    }
    walk->frames[walk->depth++] = (frame_t){.value = value, .path = walk->path_length};
    return LKS_OK;
}

lks_status_t tree_walk(const lks_value_t *root, unsigned flags, leaf_fn_t leaf, void *context)
{
    walk_t walk = {.flags = flags};
    lks_status_t status = enter(&walk, root, leaf, context);
    while (status == LKS_OK && walk.depth > 0) {
        const lks_value_t *child;
        status = next_child(&walk, &walk.frames[walk.depth - 1], &child);
        if (status == LKS_OK && child) {
            status = enter(&walk, child, leaf, context);
        } else {
            walk.depth--;
        }
    }
    free(walk.frames);
    free(walk.path);
    free(walk.seen);
    return status;
}
