/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_write.c - see pickle_write.h.
 * A stack of frames stands for what CPython's pickler does by recursion: a frame is a node whose parts are being
 * written. Containers are put in the memo before their contents, so cycles through them end there. A tuple or
 * object is put after its parts; when one turns up again meanwhile (a cycle), it is written again inside, and the
 * outer copy drops its parts and fetches that, as CPython does. */
#include "serialize/pickle_writer.h"
#include "serialize/utf8.h"
#include "serialize/value_node.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 1000         /* items per APPENDS or SETITEMS, as CPython */
#define PATH_SHOWN_MAX 300 /* bytes of a path in a message */

/* --- errors ------------------------------------------------------------------------------------- */

static void append_key(lks_strbuf_t *path, const lks_value_t *key)
{
    int64_t number;
    size_t nbytes;
    const char *text = lks_value_text(key, &nbytes);
    if (text && key->kind == LKS_VALUE_STR) {
        lks_strbuf_append(path, text, nbytes);
    } else if (key && key->kind == LKS_VALUE_INT && lks_value_get_int(key, &number) == LKS_OK) {
        lks_strbuf_appendf(path, "%lld", (long long)number);
    } else {
        lks_strbuf_appendf(path, "<%s>", key ? lks_value_kind_name(lks_value_kind(key)) : "?");
    }
}

/* Dotted, from the parts that the frames are at. */
static void append_path(const lks_pickle_writer_t *writer, lks_strbuf_t *path)
{
    for (size_t i = 0; i < writer->depth && path->length < PATH_SHOWN_MAX; i++) {
        const lks_pickle_frame_t *frame = &writer->frames[i];
        if (frame->role == FRAME_ITEMS || frame->role == FRAME_TUPLE) {
            lks_strbuf_appendf(path, "%s%zu", path->length ? "." : "", frame->next - 1);
        } else if (frame->role == FRAME_ENTRIES) {
            lks_strbuf_append_str(path, path->length ? "." : "");
            append_key(path, lks_value_key_at(frame->value, (frame->next - 1) / 2));
        }
    }
}

static lks_status_t unsupported(const lks_pickle_writer_t *writer, const char *why)
{
    lks_strbuf_t path = {0};
    append_path(writer, &path);
    lks_status_t status = lks_fail(LKS_ERR_UNSUPPORTED, "value '%.*s': %s", PATH_SHOWN_MAX,
                                   lks_strbuf_text(&path), why);
    lks_strbuf_fini(&path);
    return status;
}

/* A hook's failure, with the path in front. */
static lks_status_t hook_status(const lks_pickle_writer_t *writer, lks_status_t status)
{
    if (status != LKS_OK) {
        lks_strbuf_t path = {0};
        append_path(writer, &path);
        status = lks_error_prefix(status, "value '%.*s'", PATH_SHOWN_MAX, lks_strbuf_text(&path));
        lks_strbuf_fini(&path);
    }
    return status;
}

/* --- beginning a value -------------------------------------------------------------------------- */

static void push_frame(lks_pickle_writer_t *writer, lks_pickle_frame_role_t role,
                       const lks_value_t *value)
{
    if (writer->depth == writer->capacity) {
        size_t capacity = writer->capacity ? writer->capacity * 2 : 64;
        lks_pickle_frame_t *frames = realloc(writer->frames, capacity * sizeof *frames);
        if (!frames) {
            writer->no_memory = true;
            return;
        }
        writer->frames = frames;
        writer->capacity = capacity;
    }
    writer->frames[writer->depth++] = (lks_pickle_frame_t){.role = role, .value = value};
}

/* A tuple or object that is begun again before it ended must have got further meanwhile; else it consists of
 * itself alone, which no pickle can say. */
static lks_status_t enter(lks_pickle_writer_t *writer, lks_pickle_frame_role_t role,
                          const lks_value_t *value)
{
    if (lks_intmap_get(&writer->entered, (uintptr_t)value) == writer->memo_count) {
        return unsupported(writer, "it contains itself");
    }
    writer->no_memory |= !lks_intmap_set(&writer->entered, (uintptr_t)value, writer->memo_count);
    push_frame(writer, role, value);
    return LKS_OK;
}

static lks_status_t begin_text(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    size_t nbytes;
    const char *text = lks_value_text(value, &nbytes);
    if (nbytes > UINT32_MAX) {
        return unsupported(writer, "a str of 4 GiB or more does not fit the pickle");
    }
    lks_pickle_emit_str(writer, text, nbytes);
    return LKS_OK;
}

/* _codecs.encode(the same code points as str, 'latin1') */
static lks_status_t begin_bytes(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    size_t nbytes, expanded = 0;
    const unsigned char *bytes = (const unsigned char *)lks_value_text(value, &nbytes);
    for (size_t i = 0; i < nbytes; i++) {
        expanded += bytes[i] < 0x80 ? 1 : 2;
    }
    if (expanded > UINT32_MAX) {
        return unsupported(writer, "bytes of this size do not fit the pickle");
    }
    lks_pickle_emit_global(writer, "_codecs.encode");
    lks_pickle_emit_number(writer, LKS_OP_BINUNICODE, expanded, 4);
    for (size_t i = 0; i < nbytes; i++) {
        unsigned char utf8[4];
        lks_pickle_emit_bytes(writer, utf8, (size_t)(lks_utf8_put(utf8, bytes[i]) - utf8));
    }
    lks_pickle_emit_str(writer, "latin1", 6);
    lks_pickle_emit(writer, LKS_OP_TUPLE2);
    lks_pickle_emit(writer, LKS_OP_REDUCE);
    lks_pickle_memoize(writer, value);
    return LKS_OK;
}

static lks_status_t begin_bigint(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    size_t nbytes;
    const char *bytes = lks_value_text(value, &nbytes);
    if (nbytes > INT32_MAX) {
        return unsupported(writer, "an int of 2 GiB or more does not fit the pickle");
    }
    lks_pickle_emit_long(writer, bytes, nbytes);
    return LKS_OK;
}

/* A class inside another, "Outer.Inner": a protocol that knows only names of modules spells it
 * getattr(Outer, 'Inner'). What is read of that is a call, and this is how a call is written. The last value is left
 * to be put in the memo. */
static void emit_nested_name(lks_pickle_writer_t *writer, lks_python_name_t name)
{
    const char *end = name.name + name.name_length;
    const char *dot = memchr(name.name, '.', name.name_length);
    for (const char *at = dot; at; at = memchr(at + 1, '.', (size_t)(end - at - 1))) {
        lks_pickle_emit_global(writer, "builtins.getattr");
    }
    name.name_length = (size_t)(dot - name.name);
    lks_pickle_emit_name(writer, name);
    while (dot) {
        const char *part = dot + 1;
        dot = memchr(part, '.', (size_t)(end - part));
        lks_pickle_emit_str(writer, part, (size_t)((dot ? dot : end) - part));
        lks_pickle_emit(writer, LKS_OP_TUPLE2);
        lks_pickle_emit_put(writer);
        lks_pickle_emit(writer, LKS_OP_REDUCE);
        if (dot) {
            lks_pickle_emit_put(writer);
        }
    }
}

/* "Outer.Inner" without a name on either side of a dot: nothing could be looked up under it. */
static bool has_empty_part(lks_python_name_t name)
{
    return name.name[0] == '.' || name.name[name.name_length - 1] == '.' ||
           memmem(name.name, name.name_length, "..", 2);
}

/* Whether a reader of protocol 2 finds it under what the writer calls it there. "cPickle.x" of a newer protocol is read
 * as "pickle.x" there, by Python too. */
static bool survives_python2(lks_python_name_t name)
{
    const char *dot = memchr(name.name, '.', name.name_length);
    name.name_length = dot ? (size_t)(dot - name.name) : name.name_length;
    lks_python_name_t read = lks_python3_name(lks_python2_name(name));
    return read.module_length == name.module_length && read.name_length == name.name_length &&
           memcmp(read.module, name.module, name.module_length) == 0 &&
           memcmp(read.name, name.name, name.name_length) == 0;
}

static lks_status_t begin_global(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    const lks_global_node_t *node = (const lks_global_node_t *)value;
    const lks_text_node_t *dotted = &node->dotted;
    lks_python_name_t name = {.module = dotted->text,
                              .module_length = node->split,
                              .name = dotted->text + node->split + 1,
                              .name_length = dotted->nbytes - node->split - 1};
    if (memchr(dotted->text, '\n', dotted->nbytes)) {
        return unsupported(writer, "a name with a line break does not fit the pickle");
    }
    if (!survives_python2(name)) {
        return unsupported(writer, "pickles of protocol 2 have this name for something else");
    }
    if (memchr(name.name, '.', name.name_length)) {
        if (has_empty_part(name)) {
            return unsupported(writer, "a name with nothing between its dots names nothing");
        }
        emit_nested_name(writer, name);
        lks_pickle_memoize(writer, value);
    } else {
        lks_pickle_emit_global(writer, dotted->text);
    }
    return LKS_OK;
}

static lks_status_t begin_dict(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    if (lks_value_dict_is_ordered(value)) {
        lks_pickle_emit_global(writer, "collections.OrderedDict");
        lks_pickle_emit(writer, LKS_OP_EMPTY_TUPLE);
        lks_pickle_emit(writer, LKS_OP_REDUCE);
    } else {
        lks_pickle_emit(writer, LKS_OP_EMPTY_DICT);
    }
    lks_pickle_memoize(writer, value);
    if (lks_value_dict_attributes(value)) {
        if (!lks_value_dict_is_ordered(value)) {
            return unsupported(writer, "a plain dict has no attributes");
        }
        push_frame(writer, FRAME_BUILD, value);
    }
    push_frame(writer, FRAME_ENTRIES, value);
    return LKS_OK;
}

/* Most tensors have no values inside and need no frame. */
static lks_status_t begin_tensor(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    if (lks_value_tensor_attributes(value) || lks_value_tensor_quantizer(value)) {
        return enter(writer, FRAME_TENSOR, value);
    }
    const lks_pickle_write_hooks_t *hooks = writer->hooks;
    const lks_value_t *next = NULL;
    LKS_TRY(hook_status(writer, hooks->tensor(hooks->context, writer, value, 0, &next)));
    lks_pickle_memoize(writer, value);
    return LKS_OK;
}

static lks_status_t begin_object(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    const lks_pickle_write_hooks_t *hooks = writer->hooks;
    if (lks_value_object_how(value) == LKS_OBJECT_STORAGE) {
        return hook_status(writer, hooks->storage(hooks->context, writer, value));
    }
    return enter(writer, FRAME_CALL, value);
}

/* Writes a value, or as much of it as comes before its parts. */
static lks_status_t begin(lks_pickle_writer_t *writer, const lks_value_t *value)
{
    size_t known = lks_intmap_get(&writer->memo, (uintptr_t)value);
    if (known != SIZE_MAX) {
        lks_pickle_emit_get(writer, known);
        return LKS_OK;
    }
    switch (lks_value_kind(value)) {
    case LKS_VALUE_NONE: lks_pickle_emit(writer, LKS_OP_NONE); return LKS_OK;
    case LKS_VALUE_BOOL: lks_pickle_emit_bool(writer, value->flag); return LKS_OK;
    case LKS_VALUE_INT:
        lks_pickle_emit_int(writer, ((const lks_int_node_t *)value)->value);
        return LKS_OK;
    case LKS_VALUE_FLOAT:
        lks_pickle_emit_float(writer, ((const lks_float_node_t *)value)->value);
        return LKS_OK;
    case LKS_VALUE_BIGINT: return begin_bigint(writer, value);
    case LKS_VALUE_STR: return begin_text(writer, value);
    case LKS_VALUE_BYTES: return begin_bytes(writer, value);
    case LKS_VALUE_GLOBAL: return begin_global(writer, value);
    case LKS_VALUE_DICT: return begin_dict(writer, value);
    case LKS_VALUE_TENSOR: return begin_tensor(writer, value);
    case LKS_VALUE_OBJECT: return begin_object(writer, value);
    case LKS_VALUE_LIST:
        lks_pickle_emit(writer, LKS_OP_EMPTY_LIST);
        lks_pickle_memoize(writer, value);
        push_frame(writer, FRAME_ITEMS, value);
        return LKS_OK;
    case LKS_VALUE_TUPLE:
        if (lks_value_count(value) > 0) {
            return enter(writer, FRAME_TUPLE, value);
        }
        lks_pickle_emit(writer, LKS_OP_EMPTY_TUPLE);
        return LKS_OK;
    case LKS_VALUE_KIND_COUNT: break;
    }
    return unsupported(writer, "its kind is unknown");
}

/* --- going on ----------------------------------------------------------------------------------- */

/* Between items `index - 1` and `index` of `count`: ends one batch and starts the next where that is due. */
static void batch_edge(lks_pickle_writer_t *writer, size_t index, size_t count, int op_one,
                       int op_many)
{
    if (index > 0 && (index == count || index % BATCH == 0)) {
        bool single = (index - 1) % BATCH == 0;
        lks_pickle_emit(writer, single ? op_one : op_many);
    }
    if (index % BATCH == 0 && count - index > 1) {
        lks_pickle_emit(writer, LKS_OP_MARK);
    }
}

static lks_status_t next_item(lks_pickle_writer_t *writer, lks_pickle_frame_t *frame)
{
    size_t count = lks_value_count(frame->value), index = frame->next;
    batch_edge(writer, index, count, LKS_OP_APPEND, LKS_OP_APPENDS);
    if (index == count) {
        writer->depth--;
        return LKS_OK;
    }
    frame->next++;
    return begin(writer, lks_value_at(frame->value, index));
}

static lks_status_t next_entry(lks_pickle_writer_t *writer, lks_pickle_frame_t *frame)
{
    size_t count = lks_value_count(frame->value), index = frame->next / 2;
    bool is_key = frame->next % 2 == 0;
    if (is_key) {
        batch_edge(writer, index, count, LKS_OP_SETITEM, LKS_OP_SETITEMS);
        if (index == count) {
            writer->depth--;
            return LKS_OK;
        }
    }
    frame->next++;
    return begin(writer, is_key ? lks_value_key_at(frame->value, index)
                                : lks_value_at(frame->value, index));
}

/* The parts of a tuple or object are on the stack. True if meanwhile a cycle has written it as a whole: then
 * `drop` takes the parts away and the memo gives that one. */
static bool was_written(lks_pickle_writer_t *writer, const lks_value_t *value, int drop)
{
    size_t known = lks_intmap_get(&writer->memo, (uintptr_t)value);
    if (known == SIZE_MAX) {
        return false;
    }
    lks_pickle_emit(writer, drop);
    lks_pickle_emit_get(writer, known);
    return true;
}

static lks_status_t next_of_tuple(lks_pickle_writer_t *writer, lks_pickle_frame_t *frame)
{
    static const int small[] = {LKS_OP_EMPTY_TUPLE, LKS_OP_TUPLE1, LKS_OP_TUPLE2, LKS_OP_TUPLE3};
    const lks_value_t *tuple = frame->value;
    size_t count = lks_value_count(tuple);
    if (frame->next == 0 && count > 3) {
        lks_pickle_emit(writer, LKS_OP_MARK);
    }
    if (frame->next < count) {
        return begin(writer, lks_value_at(tuple, frame->next++));
    }
    writer->depth--;
    lks_pickle_emit(writer, count > 3 ? LKS_OP_TUPLE : small[count]);
    if (!was_written(writer, tuple, LKS_OP_POP)) {
        lks_pickle_memoize(writer, tuple);
    }
    return LKS_OK;
}

static lks_status_t next_of_call(lks_pickle_writer_t *writer, lks_pickle_frame_t *frame)
{
    const lks_value_t *object = frame->value;
    switch (frame->next++) {
    case 0: return begin(writer, lks_value_object_callable(object));
    case 1: return begin(writer, lks_value_object_arguments(object));
    default: break;
    }
    writer->depth--;
    bool is_new = lks_value_object_how(object) == LKS_OBJECT_NEW;
    lks_pickle_emit(writer, is_new ? LKS_OP_NEWOBJ : LKS_OP_REDUCE);
    if (was_written(writer, object, LKS_OP_POP)) {
        return LKS_OK;
    }
    lks_pickle_memoize(writer, object);
    if (lks_value_object_state(object)) {
        push_frame(writer, FRAME_BUILD, object);
    }
    if (lks_value_object_entries(object)) {
        push_frame(writer, FRAME_ENTRIES, lks_value_object_entries(object));
    }
    if (lks_value_object_items(object)) {
        push_frame(writer, FRAME_ITEMS, lks_value_object_items(object));
    }
    return LKS_OK;
}

static lks_status_t next_of_build(lks_pickle_writer_t *writer, lks_pickle_frame_t *frame)
{
    if (frame->next++ == 0) {
        return begin(writer, frame->value->kind == LKS_VALUE_DICT
                                 ? lks_value_dict_attributes(frame->value)
                                 : lks_value_object_state(frame->value));
    }
    writer->depth--;
    lks_pickle_emit(writer, LKS_OP_BUILD);
    return LKS_OK;
}

static lks_status_t next_of_tensor(lks_pickle_writer_t *writer, lks_pickle_frame_t *frame)
{
    const lks_value_t *tensor = frame->value, *next = NULL;
    const lks_pickle_write_hooks_t *hooks = writer->hooks;
    size_t part = frame->next++;
    LKS_TRY(hook_status(writer, hooks->tensor(hooks->context, writer, tensor, part, &next)));
    if (next) {
        return begin(writer, next);
    }
    writer->depth--;
    if (!was_written(writer, tensor, LKS_OP_POP)) {
        lks_pickle_memoize(writer, tensor);
    }
    return LKS_OK;
}

static lks_status_t step(lks_pickle_writer_t *writer)
{
    lks_pickle_frame_t *frame = &writer->frames[writer->depth - 1];
    switch (frame->role) {
    case FRAME_ITEMS: return next_item(writer, frame);
    case FRAME_ENTRIES: return next_entry(writer, frame);
    case FRAME_TUPLE: return next_of_tuple(writer, frame);
    case FRAME_CALL: return next_of_call(writer, frame);
    case FRAME_BUILD: return next_of_build(writer, frame);
    case FRAME_TENSOR: return next_of_tensor(writer, frame);
    }
    return LKS_OK;
}

static lks_status_t write_all(lks_pickle_writer_t *writer, const lks_value_t *root)
{
    lks_pickle_emit_number(writer, LKS_OP_PROTO, 2, 1);
    LKS_TRY(begin(writer, root));
    while (writer->depth > 0 && !writer->no_memory && lks_strbuf_ok(writer->out)) {
        LKS_TRY(step(writer));
    }
    lks_pickle_emit(writer, LKS_OP_STOP);
    if (writer->no_memory || !lks_strbuf_ok(writer->out)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "writing a pickle: out of memory");
    }
    if (writer->memo_count > UINT32_MAX) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "more than 2^32 values do not fit a pickle");
    }
    return LKS_OK;
}

lks_status_t lks_pickle_write(const lks_value_t *root, const lks_pickle_write_hooks_t *hooks,
                              lks_strbuf_t *out)
{
    lks_pickle_writer_t writer = {.out = out, .hooks = hooks};
    lks_status_t status = write_all(&writer, root);
    lks_intmap_fini(&writer.memo);
    lks_intmap_fini(&writer.entered);
    lks_strmap_fini(&writer.strings);
    lks_strmap_fini(&writer.globals);
    free(writer.frames);
    return status;
}
