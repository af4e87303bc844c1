/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/named_tensors.h"
#include "serialize/safetensors_maker.h"
#include "serialize/sharded.h"
#include "serialize/value_node.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

static lks_checkpoint_t *checkpoint;
static lks_tree_t *tree;
static char folder[256];

static void remove_folder(void)
{
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        (void)unlinkat(dirfd(entries), entry->d_name, 0);
    }
    if (entries) {
        (void)closedir(entries);
        (void)rmdir(folder);
    }
}

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "%s", test_temp_path("model"));
    assert_ok(lks_tree_create(&tree));
    lks_tree_set_root(tree, lks_value_ordered_dict(tree));
}

static void teardown(void)
{
    lks_checkpoint_close(checkpoint);
    lks_tree_destroy(tree);
    remove_folder();
}

TestSuite(sharded, .init = setup, .fini = teardown);

static const char *in_folder(const char *name)
{
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    (void)mkdir(folder, 0777);
    test_write_file(in_folder(name), text, strlen(text));
}

/* A shard of scalars of one byte each, 0, 1, 2, ..., under the words of `names`. */
static void put_shard(const char *file, const char *names)
{
    char words[256];
    const char *name[16];
    (void)snprintf(words, sizeof words, "%s", names);
    size_t count = test_split(words, name, 16);
    lks_strbuf_t header = {0};
    for (size_t i = 0; i < count; i++) {
        lks_strbuf_appendf(&header,
                           "%s\"%s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[%zu,%zu]}",
                           i ? "," : "{", name[i], i, i + 1);
    }
    lks_strbuf_append_str(&header, count ? "}" : "{}");
    lks_strbuf_t shard = test_safetensors(lks_strbuf_text(&header), count);
    (void)mkdir(folder, 0777);
    test_write_file(in_folder(file), shard.data, shard.length);
    lks_strbuf_fini(&header);
    lks_strbuf_fini(&shard);
}

static lks_status_t open_path(const char *path)
{
    lks_checkpoint_close(checkpoint);
    checkpoint = NULL;
    return lks_checkpoint_open(path, NULL, &checkpoint);
}

static lks_status_t open_index(const char *json)
{
    put("model.safetensors.index.json", json);
    return open_path(in_folder("model.safetensors.index.json"));
}

static const lks_value_t *root(void)
{
    return lks_tree_root(lks_checkpoint_tree(checkpoint));
}

/* The names of the root are these words. */
static void assert_names(const char *wanted)
{
    char found[512] = "";
    for (size_t i = 0; i < lks_value_count(root()); i++) {
        size_t length = strlen(found);
        (void)snprintf(found + length, sizeof found - length, "%s%s", i ? " " : "",
                       lks_value_text(lks_value_key_at(root(), i), NULL));
    }
    cr_assert_str_eq(found, wanted);
}

static void assert_byte(const char *name, unsigned char wanted)
{
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_find(root(), name), name, &tensor));
    cr_assert_eq(*(const unsigned char *)lks_tensor_data(&tensor), wanted, "%s", name);
}

/* --- reading ------------------------------------------------------------------------------------ */

#define INDEX(map) "{\"metadata\":{\"total_size\":1},\"weight_map\":{" map "}}"

Test(sharded, tensors_come_in_the_order_of_the_index_and_then_the_rest)
{
    put_shard("s1", "a b extra");
    put_shard("s2", "c d");
    assert_ok(open_index(INDEX("\"d\":\"s2\",\"a\":\"s1\",\"c\":\"s2\",\"b\":\"s1\"")));
    cr_assert_str_eq(lks_checkpoint_format(checkpoint), "sharded");
    assert_names("d a c b extra");
    assert_byte("d", 1);
    assert_byte("a", 0);
    assert_byte("extra", 2);
}

Test(sharded, a_directory_with_one_index_is_opened)
{
    put_shard("s1", "a");
    put("model.safetensors.index.json", INDEX("\"a\":\"s1\""));
    put("config.json", "{}");
    assert_ok(open_path(folder));
    assert_names("a");
    struct stat shard, index;
    cr_assert(stat(in_folder("s1"), &shard) == 0);
    cr_assert(stat(in_folder("model.safetensors.index.json"), &index) == 0);
    cr_assert_eq(lks_checkpoint_file_size(checkpoint), (uint64_t)(shard.st_size + index.st_size));
    put("other.index.json", INDEX(""));
    assert_fails(open_path(folder), LKS_ERR_FORMAT, "the directory has 2 indices of shards, '");
}

Test(sharded, a_directory_with_one_file_needs_no_index)
{
    put_shard("model.safetensors", "a b");
    assert_ok(open_path(folder));
    assert_names("a b");
    assert_byte("b", 1);
    (void)rename(in_folder("model.safetensors"), test_temp_path("aside"));
    assert_fails(open_path(folder), LKS_ERR_FORMAT, "a directory, but not one of a checkpoint");
}

Test(sharded, shards_of_transformers_hold_the_same_in_both_forms)
{
    lks_checkpoint_t *bin;
    assert_ok(open_path(CORPUS "t26_hf_model.safetensors.index.json"));
    assert_ok(lks_checkpoint_open(CORPUS "t113_hf_pytorch_model.bin.index.json", NULL, &bin));
    const lks_value_t *other = lks_tree_root(lks_checkpoint_tree(bin));
    cr_assert_eq(lks_value_count(root()), 62);
    cr_assert_eq(lks_value_count(other), 62);
    for (size_t i = 0; i < 62; i++) {
        const char *name = lks_value_text(lks_value_key_at(root(), i), NULL);
        cr_assert_str_eq(name, lks_value_text(lks_value_key_at(other, i), NULL));
        lks_tensor_t a, b;
        assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root(), i), name, &a));
        assert_ok(lks_checkpoint_tensor(bin, lks_value_at(other, i), name, &b));
        cr_assert(lks_tensor_same_shape(&a, &b) && a.dtype == b.dtype, "%s", name);
        cr_assert_eq(memcmp(lks_tensor_data(&a), lks_tensor_data(&b), lks_tensor_nbytes(&a)), 0);
    }
    lks_checkpoint_close(bin);
}

Test(sharded, an_index_that_is_wrong_is_refused)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        {INDEX("\"a\":\"s1\",\"x\":\"s1\""),
         "tensor 'x': it is not in the shard 's1', where the index has it"},
        {INDEX("\"a\":\"s2\""), "tensor 'a': it is not in the shard 's2'"},
        {INDEX("\"a\":\"s1\",\"a\":\"s1\""), "tensor 'a': the index has it twice"},
        {INDEX("\"a\":\"s1\",\"b\":\"s1\",\"a\":\"s2\""),
         "tensor 'a': it is not in the shard 's2'"},
        {INDEX("\"both\":\"s3\",\"c\":\"s2\""),
         "tensor 'both': it is in two shards, 's3' and 's2'"},
        {INDEX("\"a\":\"s1\",\"c\":\"s2\",\"d\":\"s3\""),
         "tensor 'both': it is in two shards, 's2' and 's3'"},
        {INDEX("\"a\":\"../s1\""), "names the shard '../s1', which is no file beside the index"},
        {INDEX("\"a\":\"/etc/passwd\""), "'/etc/passwd', which is no file beside"},
        {INDEX("\"a\":\"..\""), "'..', which is no file beside"},
        {INDEX("\"a\":\".\""), "'.', which is no file beside"},
        {INDEX("\"a\":\"\""), "which is no file beside"},
        {INDEX("\"a\":\"s1\\u0000\""), "'s1\\x00', which is no file beside"},
        {INDEX("\"a\":1"), "the index at byte 47: wants a string, found '1'"},
        {INDEX("\"a\":\"list.pt\""), "the shard 'list.pt' is of kind list, not a dict of tensors"},
        {INDEX("\"a\":\"model.safetensors.index.json\""),
         "/model.safetensors.index.json' is an index itself"},
        {"{\"weight_map\":{},\"weight_map\":{}}", "the index has 'weight_map' twice"},
        {"{\"x\":{\"weight_map\":{}}}", "the index has no 'weight_map'"},
        {"{\"weight_map\":[]}", "wants an object, found '['"},
        {"{\"weight_map\":{}} x", "wants its end"},
    };
    put_shard("s1", "a b");
    put_shard("s2", "c both");
    put_shard("s3", "d both");
    lks_tree_t *list;
    assert_ok(lks_tree_create(&list));
    lks_tree_set_root(list, lks_value_list(list));
    assert_ok(lks_checkpoint_save(in_folder("list.pt"), list, NULL));
    lks_tree_destroy(list);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(open_index(cases[i].json), LKS_ERR_FORMAT, "%s", cases[i].json);
        cr_assert(strstr(lks_last_error()->message, cases[i].why), "%s: %s", cases[i].json,
                  lks_last_error()->message);
    }
    assert_fails(open_index(INDEX("\"a\":\"gone\"")), LKS_ERR_IO, "/gone': No such file");
    assert_fails(open_index("{\"no\":1}"), LKS_ERR_FORMAT, "it is no checkpoint");
    put("bad", "no");
    assert_fails(open_index(INDEX("\"a\":\"bad\"")), LKS_ERR_FORMAT, "/bad': it is no checkpoint");
    (void)mkdir(in_folder("dir"), 0777);
    assert_fails(open_index(INDEX("\"a\":\"dir\"")), LKS_ERR_IO, "it is a directory");
    (void)rmdir(in_folder("dir"));
}

Test(sharded, shards_share_one_limit)
{
    put_shard("s1", "a b");
    put_shard("s2", "c d");
    put("model.safetensors.index.json", INDEX("\"a\":\"s1\",\"c\":\"s2\""));
    const char *path = in_folder("model.safetensors.index.json");
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    limits.max_nodes = 40;
    assert_ok(lks_checkpoint_open(path, &limits, &checkpoint));
    lks_checkpoint_close(checkpoint);
    checkpoint = NULL;
    limits.max_nodes = 12; /* enough for either */
    assert_fails(lks_checkpoint_open(path, &limits, &checkpoint), LKS_ERR_FORMAT,
                 "more values than the limit");
}

/* --- writing ------------------------------------------------------------------------------------ */

static void add(const char *name, int64_t numel)
{
    lks_storage_t *storage;
    assert_ok(lks_storage_create(lks_device_host(), (size_t)numel, &storage));
    memset(lks_storage_data(storage), name[0], (size_t)numel);
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_U8, "cpu");
    lks_storage_release(storage);
    lks_value_set_str(tree, lks_tree_root(tree), name,
                      test_tensor(tree, index, 0, LKS_DTYPE_U8, 1, &numel));
}

static lks_status_t save(uint64_t shard_size)
{
    const lks_save_options_t options = {.format = "sharded", .shard_size = shard_size};
    return lks_checkpoint_save(folder, tree, &options);
}

static void assert_index(const char *wanted)
{
    size_t nbytes;
    char *text = (char *)test_read_file(in_folder("model.safetensors.index.json"), &nbytes);
    cr_assert_str_eq(text, wanted);
    free(text);
}

static size_t count_files(void)
{
    size_t count = 0;
    DIR *entries = opendir(folder);
    cr_assert(entries);
    for (struct dirent *entry; (entry = readdir(entries));) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(entries);
    return count;
}

/* A shard is closed when the next tensor does not fit; "big" fits in none and goes past the open one. */
Test(sharded, tensors_are_split_as_huggingface_hub_does)
{
    add("z", 6);
    add("big", 11);
    add("y", 4);
    add("x", 1);
    add("w", 10);
    add("v", 0);
    assert_ok(save(10));
    assert_index("{\n"
                 "  \"metadata\": {\n"
                 "    \"total_size\": 32\n"
                 "  },\n"
                 "  \"weight_map\": {\n"
                 "    \"big\": \"model-00001-of-00004.safetensors\",\n"
                 "    \"v\": \"model-00004-of-00004.safetensors\",\n"
                 "    \"w\": \"model-00004-of-00004.safetensors\",\n"
                 "    \"x\": \"model-00003-of-00004.safetensors\",\n"
                 "    \"y\": \"model-00002-of-00004.safetensors\",\n"
                 "    \"z\": \"model-00002-of-00004.safetensors\"\n"
                 "  }\n"
                 "}\n");
    cr_assert_eq(count_files(), 5);
    assert_ok(open_path(folder));
    assert_names("big v w x y z");
    static const char *const names[] = {"big", "w", "x", "y", "z"};
    for (size_t i = 0; i < 5; i++) {
        assert_byte(names[i], (unsigned char)names[i][0]);
    }
    assert_ok(open_path(in_folder("model-00002-of-00004.safetensors")));
    assert_names("y z");
    const lks_value_t *metadata = lks_value_find(lks_value_dict_attributes(root()), "__metadata__");
    cr_assert_str_eq(lks_value_text(lks_value_find(metadata, "format"), NULL), "pt");
}

Test(sharded, one_shard_has_no_index)
{
    static const uint64_t sizes[] = {0, 10, 9};
    add("a", 4);
    add("b", 5);
    for (size_t i = 0; i < 3; i++) {
        assert_ok(save(sizes[i]));
        cr_assert_eq(count_files(), 1);
        assert_ok(open_path(in_folder("model.safetensors")));
        assert_names("a b");
    }
    assert_ok(save(8)); /* replaces a directory of one file by one of three */
    cr_assert_eq(count_files(), 3);
    assert_ok(open_path(folder));
    assert_names("a b");
    lks_tree_set_root(tree, lks_value_dict(tree));
    assert_ok(save(8));
    cr_assert_eq(count_files(), 1);
    assert_ok(open_path(folder));
    assert_names("");
}

Test(sharded, what_cannot_be_held_leaves_the_old_directory)
{
    add("a", 4);
    add("b", 5);
    assert_ok(save(5));
    lks_value_set_str(tree, lks_tree_root(tree), "epoch", lks_value_int(tree, 3));
    assert_fails(save(5), LKS_ERR_UNSUPPORTED, "/model': value 'epoch': safetensors holds tensors");
    assert_ok(open_path(folder));
    assert_names("a b");
}

Test(sharded, a_directory_with_other_files_is_not_replaced)
{
    add("a", 4);
    put("config.json", "{}");
    assert_fails(save(5), LKS_ERR_IO, "it holds 'config.json'");
}

Test(sharded, names_of_parts)
{
    static const char *const parts[] = {"model.safetensors", "model.safetensors.index.json",
                                        "model-00001-of-00002.safetensors",
                                        "model-100000-of-100000.safetensors"};
    static const char *const others[] = {"model-1-of-2.safetensors",
                                         "model-00001-of-00002",
                                         "model-00001-of-00002.safetensors~",
                                         "model.bin",
                                         "a",
                                         "model-00001-of-.safetensors",
                                         "config.json",
                                         "mymodel-00001-of-00002.safetensors",
                                         ""};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        cr_assert(lks_sharded_is_part(parts[i]), "%s", parts[i]);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        cr_assert(!lks_sharded_is_part(others[i]), "%s", others[i]);
    }
}
