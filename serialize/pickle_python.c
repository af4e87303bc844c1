/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_python.c - see pickle_python.h. */
#include "serialize/pickle_python.h"
#include "serialize/utf8.h"
#include "serialize/value_node.h"

#include <string.h>

typedef struct renamed {
    const char *module2, *name2; /* name NULL: every name of the module */
    const char *module3, *name3;
    bool both_ways; /* used when writing, too */
} renamed_t;

/* The first that fits wins. */
static const renamed_t renamed[] = {
    {"__builtin__", "xrange", "builtins", "range", true},
    {"__builtin__", "unicode", "builtins", "str", true},
    {"__builtin__", "long", "builtins", "int", true},
    {"__builtin__", "unichr", "builtins", "chr", true},
    {"__builtin__", "basestring", "builtins", "str", false},
    {"__builtin__", "reduce", "functools", "reduce", true},
    {"__builtin__", "intern", "sys", "intern", true},
    {"__builtin__", NULL, "builtins", NULL, true},
    {"exceptions", NULL, "builtins", NULL, false},
    {"copy_reg", NULL, "copyreg", NULL, true},
    {"cPickle", NULL, "pickle", NULL, false},
    {"itertools", "izip", "builtins", "zip", false},
    {"itertools", "imap", "builtins", "map", false},
    {"itertools", "ifilter", "builtins", "filter", false},
    {"UserDict", "UserDict", "collections", "UserDict", true},
    {"UserList", "UserList", "collections", "UserList", true},
    {"UserString", "UserString", "collections", "UserString", true},
    {"Queue", NULL, "queue", NULL, true},
    {"ConfigParser", NULL, "configparser", NULL, true},
    {"StringIO", NULL, "io", NULL, false},
};

#define RENAMED_COUNT (sizeof renamed / sizeof *renamed)

static bool is(const char *text, size_t length, const char *wanted)
{
    return strlen(wanted) == length && memcmp(text, wanted, length) == 0;
}

static bool fits(lks_python_name_t name, const char *module, const char *wanted)
{
    return is(name.module, name.module_length, module) &&
           (!wanted || is(name.name, name.name_length, wanted));
}

static lks_python_name_t rename_to(lks_python_name_t name, const char *module, const char *wanted)
{
    name.module = module;
    name.module_length = strlen(module);
    if (wanted) {
        name.name = wanted;
        name.name_length = strlen(wanted);
    }
    return name;
}

lks_python_name_t lks_python3_name(lks_python_name_t name)
{
    for (size_t i = 0; i < RENAMED_COUNT; i++) {
        if (fits(name, renamed[i].module2, renamed[i].name2)) {
            return rename_to(name, renamed[i].module3, renamed[i].name3);
        }
    }
    return name;
}

lks_python_name_t lks_python2_name(lks_python_name_t name)
{
    for (size_t i = 0; i < RENAMED_COUNT; i++) {
        if (renamed[i].both_ways && fits(name, renamed[i].module3, renamed[i].name3)) {
            return rename_to(name, renamed[i].module2, renamed[i].name2);
        }
    }
    return name;
}

/* --- calls -------------------------------------------------------------------------------------- */

/* OrderedDict(), or OrderedDict([(k, v), ...]). */
static lks_value_t *ordered_dict(lks_tree_t *tree, const lks_value_t *arguments)
{
    const lks_value_t *pairs = lks_value_at(arguments, 0);
    if (lks_value_count(arguments) > 1 || (pairs && pairs->kind != LKS_VALUE_LIST)) {
        return NULL;
    }
    for (size_t i = 0; i < lks_value_count(pairs); i++) {
        const lks_value_t *pair = lks_value_at(pairs, i);
        if (lks_value_count(pair) != 2 || pair->kind == LKS_VALUE_DICT) {
            return NULL;
        }
    }
    lks_value_t *dict = lks_value_ordered_dict(tree);
    for (size_t i = 0; i < lks_value_count(pairs); i++) {
        const lks_value_t *pair = lks_value_at(pairs, i);
        lks_value_set(tree, dict, lks_value_at(pair, 0), lks_value_at(pair, 1));
    }
    return dict;
}

/* The str of code points 0 to 255 that stands for bytes; NULL if there is another one in it. */
static lks_value_t *encode_latin1(lks_tree_t *tree, const lks_value_t *arguments)
{
    size_t nbytes;
    const lks_value_t *str = lks_value_at(arguments, 0), *encoding = lks_value_at(arguments, 1);
    if (lks_value_count(arguments) != 2 || str->kind != LKS_VALUE_STR ||
        encoding->kind != LKS_VALUE_STR || strcmp(lks_value_text(encoding, NULL), "latin1") != 0) {
        return NULL;
    }
    const unsigned char *at = (const unsigned char *)lks_value_text(str, &nbytes);
    const unsigned char *end = at + nbytes;
    unsigned char *bytes = lks_tree_alloc(tree, nbytes + 1);
    size_t count = 0;
    while (bytes && at < end) {
        uint32_t code;
        at = lks_utf8_get(at, &code);
        if (code > 0xff) {
            return NULL;
        }
        bytes[count++] = (unsigned char)code;
    }
    return bytes ? lks_value_bytes(tree, bytes, count) : NULL;
}

lks_value_t *lks_python_reduce(lks_tree_t *tree, const char *callable, lks_value_t *arguments)
{
    if (strcmp(callable, "collections.OrderedDict") == 0) {
        return ordered_dict(tree, arguments);
    }
    if (strcmp(callable, "_codecs.encode") == 0) {
        return encode_latin1(tree, arguments);
    }
    if (strcmp(callable, "builtins.bytes") == 0 && lks_value_count(arguments) == 0) {
        return lks_value_bytes(tree, "", 0);
    }
    return NULL;
}
