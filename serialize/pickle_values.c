/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_values.c - opcodes that make containers, and those that would import and call. */
#include "core/checked.h"
#include "serialize/pickle_machine.h"
#include "serialize/pickle_python.h"
#include "serialize/utf8.h"
#include "serialize/value_node.h"

#include <string.h>

#define NAME_MAX_BYTES 4096

static const char *kind_of(const lks_value_t *value)
{
    return lks_value_kind_name(lks_value_kind(value));
}

static lks_status_t wrong_kind(const lks_pickle_machine_t *machine, const char *wanted,
                               const lks_value_t *found)
{
    return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants %s, found %s", wanted, kind_of(found));
}

/* --- containers --------------------------------------------------------------------------------- */

static lks_value_t *fill(lks_tree_t *tree, lks_value_t *sequence, lks_value_t **items, size_t count)
{
    return sequence && lks_sequence_fill(tree, sequence, items, count) ? sequence : NULL;
}

LKS_PICKLE_HANDLER(small_tuple)
{
    lks_value_t *items[3] = {0};
    for (unsigned i = argument; i-- > 0;) {
        LKS_TRY(lks_pickle_pop(machine, &items[i]));
    }
    lks_tree_t *tree = machine->tree;
    return lks_pickle_push(machine, fill(tree, lks_value_tuple(tree), items, argument));
}

LKS_PICKLE_HANDLER(tuple)
{
    (void)argument;
    lks_value_t **items;
    size_t count;
    LKS_TRY(lks_pickle_pop_items(machine, &items, &count));
    lks_tree_t *tree = machine->tree;
    return lks_pickle_push(machine, fill(tree, lks_value_tuple(tree), items, count));
}

LKS_PICKLE_HANDLER(list)
{
    lks_value_t **items = NULL;
    size_t count = 0;
    if (argument) {
        LKS_TRY(lks_pickle_pop_items(machine, &items, &count));
    }
    lks_tree_t *tree = machine->tree;
    return lks_pickle_push(machine, fill(tree, lks_value_list(tree), items, count));
}

/* The value under the items, which stays on the stack. */
static lks_status_t top(lks_pickle_machine_t *machine, lks_value_t **out)
{
    LKS_TRY(lks_pickle_pop(machine, out));
    machine->height++;
    return LKS_OK;
}

/* set([...]), which is what EMPTY_SET makes. */
static lks_value_t *items_of_set(const lks_value_t *value)
{
    const char *class = lks_value_class_name(value);
    lks_value_t *items = lks_value_at(lks_value_object_arguments(value), 0);
    return class && items && items->kind == LKS_VALUE_LIST && strcmp(class, "builtins.set") == 0
               ? items
               : NULL;
}

/* APPEND, APPENDS and ADDITEMS; `argument`: the items are behind a mark. */
LKS_PICKLE_HANDLER(append)
{
    lks_value_t *one, **items = &one, *target;
    size_t count = 1;
    if (argument) {
        LKS_TRY(lks_pickle_pop_items(machine, &items, &count));
    } else {
        LKS_TRY(lks_pickle_pop(machine, &one));
    }
    LKS_TRY(top(machine, &target));
    lks_value_t *set = items_of_set(target);
    if (!set && target->kind != LKS_VALUE_LIST && target->kind != LKS_VALUE_OBJECT) {
        return wrong_kind(machine, "list", target);
    }
    for (size_t i = 0; i < count; i++) {
        lks_value_append(machine->tree, set ? set : target, items[i]);
    }
    return lks_pickle_tree_status(machine);
}

static lks_status_t set_pairs(lks_pickle_machine_t *machine, lks_value_t *target,
                              lks_value_t **items, size_t count)
{
    if (count % 2 != 0) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "has a key without a value");
    }
    for (size_t i = 0; i < count; i += 2) {
        lks_value_set(machine->tree, target, items[i], items[i + 1]);
    }
    return lks_pickle_tree_status(machine);
}

LKS_PICKLE_HANDLER(dict)
{
    lks_value_t **items = NULL;
    size_t count = 0;
    if (argument) {
        LKS_TRY(lks_pickle_pop_items(machine, &items, &count));
    }
    lks_value_t *dict = lks_value_dict(machine->tree);
    LKS_TRY(set_pairs(machine, dict, items, count));
    return lks_pickle_push(machine, dict);
}

LKS_PICKLE_HANDLER(setitem)
{
    lks_value_t *pair[2], **items = pair, *target;
    size_t count = 2;
    if (argument) {
        LKS_TRY(lks_pickle_pop_items(machine, &items, &count));
    } else {
        LKS_TRY(lks_pickle_pop(machine, &pair[1]));
        LKS_TRY(lks_pickle_pop(machine, &pair[0]));
    }
    LKS_TRY(top(machine, &target));
    if (target->kind != LKS_VALUE_DICT && target->kind != LKS_VALUE_OBJECT) {
        return wrong_kind(machine, "dict", target);
    }
    return set_pairs(machine, target, items, count);
}

/* set([...]) and frozenset([...]), as protocols below 4 write them. */
LKS_PICKLE_HANDLER(set)
{
    bool frozen = argument != 0;
    lks_value_t **items = NULL;
    size_t count = 0;
    if (frozen) {
        LKS_TRY(lks_pickle_pop_items(machine, &items, &count));
    }
    lks_tree_t *tree = machine->tree;
    lks_value_t *arguments = lks_value_tuple(tree);
    lks_value_append(tree, arguments, fill(tree, lks_value_list(tree), items, count));
    lks_value_t *class = lks_value_global(tree, "builtins", frozen ? "frozenset" : "set");
    return lks_pickle_push(machine, lks_value_object(tree, LKS_OBJECT_REDUCE, class, arguments));
}

/* --- names -------------------------------------------------------------------------------------- */

/* Up to protocol 2, pickles spell names as Python 2 does. */
static lks_status_t make_global(lks_pickle_machine_t *machine, lks_python_name_t name,
                                lks_value_t **out)
{
    if (name.module_length == 0 || name.name_length == 0 || name.module_length > NAME_MAX_BYTES ||
        name.name_length > NAME_MAX_BYTES || memchr(name.module, '\0', name.module_length) ||
        memchr(name.name, '\0', name.name_length) ||
        !lks_utf8_valid(name.module, name.module_length) ||
        !lks_utf8_valid(name.name, name.name_length)) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants the names of a module and a class");
    }
    if (machine->protocol < 3) {
        name = lks_python3_name(name);
    }
    *out = lks_global_create(machine->tree, name.module, name.module_length, name.name,
                             name.name_length);
    return lks_pickle_tree_status(machine);
}

static lks_status_t global_lines(lks_pickle_machine_t *machine, lks_value_t **out)
{
    lks_python_name_t name;
    LKS_TRY(lks_pickle_line(machine, &name.module, &name.module_length));
    LKS_TRY(lks_pickle_line(machine, &name.name, &name.name_length));
    return make_global(machine, name, out);
}

LKS_PICKLE_HANDLER(global)
{
    (void)argument;
    lks_value_t *value;
    LKS_TRY(global_lines(machine, &value));
    return lks_pickle_push(machine, value);
}

LKS_PICKLE_HANDLER(stack_global)
{
    (void)argument;
    lks_value_t *module, *name, *value;
    LKS_TRY(lks_pickle_pop(machine, &name));
    LKS_TRY(lks_pickle_pop(machine, &module));
    if (module->kind != LKS_VALUE_STR || name->kind != LKS_VALUE_STR) {
        return wrong_kind(machine, "two str", module->kind != LKS_VALUE_STR ? module : name);
    }
    lks_python_name_t names;
    names.module = lks_value_text(module, &names.module_length);
    names.name = lks_value_text(name, &names.name_length);
    LKS_TRY(make_global(machine, names, &value));
    return lks_pickle_push(machine, value);
}

LKS_PICKLE_HANDLER(extension)
{
    (void)argument;
    return lks_pickle_fail(machine, LKS_ERR_UNSUPPORTED,
                           "names a class by a number that only its writer knows");
}

/* --- calls and instances ------------------------------------------------------------------------ */

static lks_status_t push_object(lks_pickle_machine_t *machine, lks_object_how_t how,
                                lks_value_t *callable, lks_value_t *arguments)
{
    if (arguments && arguments->kind != LKS_VALUE_TUPLE) {
        return wrong_kind(machine, "a tuple of arguments", arguments);
    }
    return lks_pickle_push(machine, lks_value_object(machine->tree, how, callable, arguments));
}

/* What Python or the format around the pickle knows of a class or function; NULL if it is a mere name. */
static lks_status_t interpret(lks_pickle_machine_t *machine, lks_object_how_t how,
                              lks_value_t *callable, lks_value_t *arguments, lks_value_t **out)
{
    const lks_pickle_hooks_t *hooks = machine->hooks;
    *out = NULL;
    if (callable->kind != LKS_VALUE_GLOBAL || arguments->kind != LKS_VALUE_TUPLE) {
        return LKS_OK;
    }
    if (how == LKS_OBJECT_REDUCE) {
        *out = lks_python_reduce(machine->tree, lks_value_class_name(callable), arguments);
        LKS_TRY(lks_pickle_tree_status(machine));
    }
    if (!*out && hooks && hooks->create) {
        lks_status_t status =
            hooks->create(hooks->context, machine->tree, how, callable, arguments, out);
        if (status != LKS_OK) {
            return lks_error_prefix(status, "%s at byte %zu", machine->name, machine->op_at);
        }
    }
    return lks_pickle_tree_status(machine);
}

/* The result of a call, or a new instance, however the pickle asks for it. */
static lks_status_t push_created(lks_pickle_machine_t *machine, lks_object_how_t how,
                                 lks_value_t *callable, lks_value_t *arguments)
{
    lks_value_t *value;
    LKS_TRY(interpret(machine, how, callable, arguments, &value));
    return value ? lks_pickle_push(machine, value) : push_object(machine, how, callable, arguments);
}

/* REDUCE and NEWOBJ. */
static lks_status_t create(lks_pickle_machine_t *machine, lks_object_how_t how)
{
    lks_value_t *callable, *arguments;
    LKS_TRY(lks_pickle_pop(machine, &arguments));
    LKS_TRY(lks_pickle_pop(machine, &callable));
    return push_created(machine, how, callable, arguments);
}

LKS_PICKLE_HANDLER(reduce)
{
    (void)argument;
    return create(machine, LKS_OBJECT_REDUCE);
}

/* The class and arguments of INST and OBJ: old-style instances, called only if there are arguments. */
static lks_status_t push_instance(lks_pickle_machine_t *machine, lks_value_t *class,
                                  lks_value_t **items, size_t count)
{
    lks_value_t *arguments = fill(machine->tree, lks_value_tuple(machine->tree), items, count);
    LKS_TRY(lks_pickle_tree_status(machine));
    return push_created(machine, count > 0 ? LKS_OBJECT_REDUCE : LKS_OBJECT_NEW, class, arguments);
}

LKS_PICKLE_HANDLER(inst)
{
    (void)argument;
    lks_value_t *class, **items;
    size_t count;
    LKS_TRY(global_lines(machine, &class));
    LKS_TRY(lks_pickle_pop_items(machine, &items, &count));
    return push_instance(machine, class, items, count);
}

LKS_PICKLE_HANDLER(obj)
{
    (void)argument;
    lks_value_t **items;
    size_t count;
    LKS_TRY(lks_pickle_pop_items(machine, &items, &count));
    if (count == 0) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "finds no class behind its mark");
    }
    return push_instance(machine, items[0], items + 1, count - 1);
}

LKS_PICKLE_HANDLER(newobj)
{
    (void)argument;
    return create(machine, LKS_OBJECT_NEW);
}

/* copyreg.__newobj_ex__(cls, arguments, keywords): the same as a call, which is how older protocols spell
 * it. */
LKS_PICKLE_HANDLER(newobj_ex)
{
    (void)argument;
    lks_value_t *parts[3]; /* class, arguments, keywords */
    for (int i = 2; i >= 0; i--) {
        LKS_TRY(lks_pickle_pop(machine, &parts[i]));
    }
    if (parts[2]->kind != LKS_VALUE_DICT) {
        return wrong_kind(machine, "a dict of keywords", parts[2]);
    }
    if (lks_value_count(parts[2]) == 0) {
        return push_created(machine, LKS_OBJECT_NEW, parts[0], parts[1]);
    }
    lks_tree_t *tree = machine->tree;
    lks_value_t *callable = lks_value_global(tree, "copyreg", "__newobj_ex__");
    lks_value_t *arguments = fill(tree, lks_value_tuple(tree), parts, 3);
    LKS_TRY(lks_pickle_tree_status(machine));
    return push_object(machine, LKS_OBJECT_REDUCE, callable, arguments);
}

static bool set_tensor_state(const lks_pickle_machine_t *machine, lks_value_t *target,
                             const lks_value_t *state)
{
    const lks_pickle_hooks_t *hooks = machine->hooks;
    return target->kind == LKS_VALUE_TENSOR && hooks && hooks->set_state &&
           hooks->set_state(hooks->context, target, state);
}

LKS_PICKLE_HANDLER(build)
{
    (void)argument;
    lks_value_t *state, *target;
    LKS_TRY(lks_pickle_pop(machine, &state));
    LKS_TRY(top(machine, &target));
    if (set_tensor_state(machine, target, state)) {
        return LKS_OK;
    }
    bool again;
    if (target->kind == LKS_VALUE_OBJECT && lks_value_object_how(target) != LKS_OBJECT_STORAGE) {
        again = lks_value_object_state(target);
        lks_value_object_set_state(machine->tree, target, state);
    } else if (lks_value_dict_is_ordered(target)) {
        again = lks_value_dict_attributes(target);
        lks_value_dict_set_attributes(machine->tree, target, state);
    } else if (target->kind == LKS_VALUE_TENSOR) {
        again = lks_value_tensor_attributes(target);
        lks_value_tensor_set_attributes(machine->tree, target, state);
    } else {
        return wrong_kind(machine, "an object", target);
    }
    if (again) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "sets the state of an object twice");
    }
    return lks_pickle_tree_status(machine);
}

static lks_status_t push_persistent(lks_pickle_machine_t *machine, lks_value_t *id)
{
    const lks_pickle_hooks_t *hooks = machine->hooks;
    if (!hooks || !hooks->persistent) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "names something outside of the pickle");
    }
    lks_value_t *value = NULL;
    lks_status_t status = hooks->persistent(hooks->context, machine->tree, id, &value);
    if (status != LKS_OK) {
        return lks_error_prefix(status, "%s at byte %zu", machine->name, machine->op_at);
    }
    return lks_pickle_push(machine, value);
}

LKS_PICKLE_HANDLER(persid)
{
    (void)argument;
    lks_value_t *id;
    LKS_TRY(lks_pickle_pop(machine, &id));
    return push_persistent(machine, id);
}

LKS_PICKLE_HANDLER(persid_text)
{
    (void)argument;
    const char *text;
    size_t nbytes;
    LKS_TRY(lks_pickle_line(machine, &text, &nbytes));
    if (!lks_utf8_valid(text, nbytes)) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants UTF-8");
    }
    lks_value_t *id = lks_value_str_n(machine->tree, text, nbytes);
    LKS_TRY(lks_pickle_tree_status(machine));
    return push_persistent(machine, id);
}
