/* SPDX-License-Identifier: Apache-2.0 */
/* devices.c - `lockstep devices`: the machine as the runtime sees it, and what each device would get of it. */
#include "runtime/cli/cli.h"
#include "runtime/cli/json_out.h"
#include "runtime/cli/numbers.h"

#include <lockstep/device.h>
#include <lockstep/topology.h>
#include <stdlib.h>

typedef struct view {
    const lks_topology_t *machine;
    const lks_device_list_t *devices;
    bool bind;
    numbers_t numbers; /* scratch, with room for every processing unit */
} view_t;

/* --- what there is -------------------------------------------------------------------------------- */

/* A selection of processing units: those of a node (NULL: of all), those that are allowed or all. */
typedef struct selection {
    const lks_numa_node_t *node;
    bool allowed;
} selection_t;

static bool is_selected(const lks_pu_t *pu, selection_t selection)
{
    return (!selection.node || pu->node == selection.node->index) &&
           (!selection.allowed || pu->allowed);
}

static size_t count_cores(const view_t *view, selection_t selection)
{
    size_t count = 0;
    const lks_pu_t *last = NULL; /* the units of a core stand together */
    for (size_t i = 0; i < view->machine->pu_count; i++) {
        const lks_pu_t *pu = &view->machine->pus[i];
        if (is_selected(pu, selection)) {
            count += !last || last->core != pu->core;
            last = pu;
        }
    }
    return count;
}

static const numbers_t *units_of(view_t *view, selection_t selection)
{
    view->numbers.count = 0;
    for (size_t i = 0; i < view->machine->pu_count; i++) {
        if (is_selected(&view->machine->pus[i], selection)) {
            numbers_add(&view->numbers, view->machine->pus[i].index);
        }
    }
    numbers_sort(&view->numbers);
    return &view->numbers;
}

static const numbers_t *packages_of(view_t *view, const lks_numa_node_t *node)
{
    view->numbers.count = 0;
    for (size_t i = 0; i < view->machine->pu_count; i++) {
        if (is_selected(&view->machine->pus[i], (selection_t){.node = node})) {
            numbers_add_new(&view->numbers, view->machine->pus[i].package);
        }
    }
    return &view->numbers;
}

/* --- what a device gets --------------------------------------------------------------------------- */

static const numbers_t *device_units(view_t *view, const lks_device_t *device)
{
    view->numbers.count = 0;
    for (size_t i = 0; i < lks_device_core_count(device); i++) {
        numbers_add(&view->numbers, lks_device_cores(device)[i].pu);
    }
    return &view->numbers;
}

static const numbers_t *device_nodes(view_t *view, const lks_device_t *device)
{
    view->numbers.count = 0;
    for (size_t i = 0; i < lks_device_core_count(device); i++) {
        numbers_add_new(&view->numbers, lks_device_cores(device)[i].node);
    }
    return &view->numbers;
}

static const numbers_t *device_packages(view_t *view, const lks_device_t *device)
{
    view->numbers.count = 0;
    for (size_t i = 0; i < lks_device_core_count(device); i++) {
        numbers_add_new(&view->numbers, lks_device_cores(device)[i].package);
    }
    return &view->numbers;
}

/* --- text ----------------------------------------------------------------------------------------- */

static void print_count(size_t count, const char *noun)
{
    printf("%zu %s%s", count, noun, count == 1 ? "" : "s");
}

/* "nodes 0-1" */
static void print_list(const char *noun, const numbers_t *numbers)
{
    printf("%s%s ", noun, numbers->count == 1 ? "" : "s");
    numbers_print(stdout, numbers);
}

static void print_machine(view_t *view)
{
    const selection_t all = {0}, allowed = {.allowed = true};
    size_t units = units_of(view, all)->count, allowed_units = units_of(view, allowed)->count;
    print_count(packages_of(view, NULL)->count, "package");
    fputs(", ", stdout);
    print_count(view->machine->node_count, "NUMA node");
    fputs(", ", stdout);
    print_count(count_cores(view, all), "core");
    fputs(", ", stdout);
    print_count(units, "processing unit");
    if (allowed_units < units) {
        fputs("; this process may use ", stdout);
        print_count(count_cores(view, allowed), "core");
        fputs(", ", stdout);
        print_count(allowed_units, "processing unit");
    }
    fputc('\n', stdout);
    if (!view->machine->this_machine) {
        fputs("not this machine: hwloc's variables describe it, and no thread is bound to it\n",
              stdout);
    }
}

static void print_node(view_t *view, const lks_numa_node_t *node)
{
    const selection_t all = {.node = node}, allowed = {.node = node, .allowed = true};
    size_t cores = count_cores(view, all), allowed_cores = count_cores(view, allowed);
    size_t units = units_of(view, all)->count;
    char memory[BYTES_TEXT_MAX];
    printf("node %u: ", node->index);
    if (cores > 0) {
        print_list("package", packages_of(view, node));
        fputs(", ", stdout);
    }
    if (node->memory > 0) {
        printf("%s%s, ", format_bytes(memory, node->memory), node->allowed ? "" : " (not allowed)");
    }
    print_count(cores, "core");
    if (allowed_cores < cores) {
        printf(" (%zu allowed)", allowed_cores);
    }
    if (units > 0) {
        fputs(", ", stdout);
        print_list("processing unit", units_of(view, all));
    }
    size_t allowed_units = units_of(view, allowed)->count;
    if (allowed_units > 0 && allowed_units < units) {
        fputs(" (allowed: ", stdout);
        numbers_print(stdout, &view->numbers);
        fputc(')', stdout);
    }
    fputc('\n', stdout);
}

static void print_device(view_t *view, const lks_device_t *device)
{
    size_t threads = lks_device_core_count(device);
    fputs(lks_device_name(device), stdout);
    if (lks_device_node(device) >= 0) {
        printf(" (at node %d)", lks_device_node(device));
    }
    fputs(": ", stdout);
    print_count(threads, "core");
    fputs(" of ", stdout);
    print_list("package", device_packages(view, device));
    fputs(", ", stdout);
    print_list("node", device_nodes(view, device));
    fputs(lks_device_cores_exclusive(device) ? ", its own; " : ", shared; ", stdout);
    print_count(threads, "thread");
    if (view->bind) {
        fputs(threads == 1 ? ", bound to " : ", each bound to one of ", stdout);
        numbers_print(stdout, device_units(view, device));
    } else {
        fputs(", not bound", stdout);
    }
    fputc('\n', stdout);
}

static void print_as_text(view_t *view)
{
    print_machine(view);
    for (size_t i = 0; i < view->machine->node_count; i++) {
        print_node(view, &view->machine->nodes[i]);
    }
    for (size_t i = 0; i < lks_device_list_count(view->devices); i++) {
        print_device(view, lks_device_list_get(view->devices, i));
    }
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static void json_size(bool *first, const char *key, size_t number)
{
    json_key_int(stdout, first, key, (int64_t)number);
}

static void json_numbers(bool *first, const char *key, const numbers_t *numbers)
{
    json_key(stdout, first, key);
    numbers_json(stdout, numbers);
}

static void json_machine(view_t *view)
{
    const selection_t all = {0}, allowed = {.allowed = true};
    bool first = true;
    fputc('{', stdout);
    json_key_bool(stdout, &first, "this_machine", view->machine->this_machine);
    json_size(&first, "packages", packages_of(view, NULL)->count);
    json_size(&first, "cores", count_cores(view, all));
    json_size(&first, "allowed_cores", count_cores(view, allowed));
    json_size(&first, "processing_units", units_of(view, all)->count);
    json_size(&first, "allowed_processing_units", units_of(view, allowed)->count);
    fputc('}', stdout);
}

static void json_node(view_t *view, const lks_numa_node_t *node)
{
    const selection_t all = {.node = node}, allowed = {.node = node, .allowed = true};
    bool first = true;
    fputc('{', stdout);
    json_key_int(stdout, &first, "node", node->index);
    json_numbers(&first, "packages", packages_of(view, node));
    if (node->memory > 0) {
        json_key_int(stdout, &first, "memory", (int64_t)node->memory);
    } else {
        json_key(stdout, &first, "memory");
        fputs("null", stdout);
    }
    json_key_bool(stdout, &first, "memory_allowed", node->allowed);
    json_size(&first, "cores", count_cores(view, all));
    json_size(&first, "allowed_cores", count_cores(view, allowed));
    json_numbers(&first, "pus", units_of(view, all));
    json_numbers(&first, "allowed_pus", units_of(view, allowed));
    fputc('}', stdout);
}

static void json_device(view_t *view, const lks_device_t *device)
{
    bool first = true;
    fputc('{', stdout);
    json_key_str(stdout, &first, "name", lks_device_name(device));
    json_key(stdout, &first, "at_node");
    if (lks_device_node(device) >= 0) {
        printf("%d", lks_device_node(device));
    } else {
        fputs("null", stdout);
    }
    json_numbers(&first, "packages", device_packages(view, device));
    json_numbers(&first, "nodes", device_nodes(view, device));
    json_size(&first, "cores", lks_device_core_count(device));
    json_key_bool(stdout, &first, "exclusive", lks_device_cores_exclusive(device));
    json_size(&first, "threads", lks_device_core_count(device));
    json_key_str(stdout, &first, "binding", view->bind ? "cores" : "none");
    json_numbers(&first, "pus", device_units(view, device));
    fputc('}', stdout);
}

static void print_as_json(view_t *view)
{
    fputs("{\"machine\": ", stdout);
    json_machine(view);
    fputs(",\n\"nodes\": [", stdout);
    for (size_t i = 0; i < view->machine->node_count; i++) {
        fputs(i == 0 ? "\n  " : ",\n  ", stdout);
        json_node(view, &view->machine->nodes[i]);
    }
    fputs("],\n\"devices\": [", stdout);
    for (size_t i = 0; i < lks_device_list_count(view->devices); i++) {
        fputs(i == 0 ? "\n  " : ",\n  ", stdout);
        json_device(view, lks_device_list_get(view->devices, i));
    }
    fputs("]}\n", stdout);
}

/* --- the command ---------------------------------------------------------------------------------- */

static lks_status_t show(const lks_device_list_t *devices, bool bind, bool json)
{
    view_t view = {.devices = devices, .bind = bind};
    LKS_TRY(lks_topology_machine(&view.machine));
    view.numbers.items = calloc(view.machine->pu_count, sizeof *view.numbers.items);
    if (!view.numbers.items) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a list of %zu processing units: out of memory",
                        view.machine->pu_count);
    }
    (json ? print_as_json : print_as_text)(&view);
    free(view.numbers.items);
    return LKS_OK;
}

static int list_devices(const char *spec, const lks_device_config_t *config, bool json)
{
    lks_device_list_t *devices;
    if (lks_device_list_open(spec, config, &devices) != LKS_OK) {
        return report_failure();
    }
    int code =
        show(devices, config->bind, json) == LKS_OK ? finish_output(EXIT_DONE) : report_failure();
    lks_device_list_close(devices);
    return code;
}

static int run(int argc, char **argv)
{
    const char *spec = "auto";
    lks_device_config_t config = lks_device_config_default();
    bool json = false;
    const option_t options[] = {
        OPTION_STR("devices", "LIST", &spec, false,
                   "auto, host, host:N, cuda or cuda:0,2 (default: auto)"),
        OPTION_CUSTOM("bind", "HOW", &config.bind, parse_bind, false,
                      "threads to cores: cores or none (default: cores)"),
        OPTION_SWITCH("json", &json, false, "one JSON object: machine, nodes, devices"),
    };
    size_t count = sizeof options / sizeof *options, words;
    if (options_want_help(argc, argv)) {
        options_print_help(&devices_command, options, count);
        return finish_output(EXIT_DONE);
    }
    return options_parse(options, count, argc, argv, false, NULL, 0, &words) == LKS_OK
               ? list_devices(spec, &config, json)
               : report_usage(&devices_command);
}

const command_t devices_command = {
    .name = "devices",
    .summary =
        "What there is to compute on. Packages, NUMA nodes, cores and processing units, which of "
        "them this process may use, and what each device of --devices gets.",
    .run = run,
};
