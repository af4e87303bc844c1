# SPDX-License-Identifier: Apache-2.0
"""Every file of tests/data/corpus is listed by `inspect --json --hash` just as expected.json says: every tensor with
its place, layout, bytes and storage, every other value with its type, in the order of the file.

inspect leaves out by design: containers met before, of which only the first place is listed. What it lists in
another way stands in REBUILT and as_lockstep_says."""
import itertools
import json
import os
import re
import struct
import subprocess
import sys

LOCKSTEP = os.environ["LOCKSTEP"]
CORPUS = os.path.join(os.environ["TEST_DATA"], "corpus")

# Formats of expected.json that must be read. Of the others, a file is reported until lockstep reads it.
ALWAYS_READ = ["zip", "legacy", "tar", "torchscript", "safetensors", "dcp"]

# Tensors that are listed as the call that rebuilds them: callable -> which ones.
REBUILT = {"torch._utils._rebuild_meta_tensor_no_storage": "tensors without data"}

KEY_KINDS = {"none", "bool", "float", "bytes", "tuple", "tensor"}
TENSOR_FIELDS = ("dtype", "shape", "stride", "offset", "requires_grad", "nbytes", "sha256")
UNHASHED = "not hashed"
DECLINES = "not looked at"  # what inspect says then
LONG_TEXT = 1024  # bytes; longer texts are listed once


class Difference(Exception):
    pass


# --- nodes of expected.json -----------------------------------------------------------------------

def call(name, *args, **parts):
    return {"t": "object", "class": name, "args": list(args), **parts}


def text(value):
    return {"t": "str", "v": value}


def ints(values):
    return {"t": "tuple", "v": [{"t": "int", "v": str(value)} for value in values]}


def device_args(value):
    kind, _, index = value.partition(":")
    return [text(kind)] + ints([index] if index else [])["v"]


# What Python writes as a call, and expected.json as a kind of its own.
CALLS = {
    "set": lambda n: call("builtins.set", {"t": "list", "v": n["v"]}),
    "frozenset": lambda n: call("builtins.frozenset", {"t": "list", "v": n["v"]}),
    "complex": lambda n: call("builtins.complex", {"t": "float", "bits": n["re"]}, {"t": "float", "bits": n["im"]}),
    "bytearray": lambda n: call("builtins.bytearray", {"t": "bytes", "hex": n["hex"]}),
    "slice": lambda n: call("builtins.slice", *n["v"]),
    "range": lambda n: call("builtins.range", *ints(n["v"])["v"]),
    "defaultdict": lambda n: call("collections.defaultdict", {"t": "global", "v": n["factory"]}, pairs=n["v"]),
    "Counter": lambda n: call("collections.Counter", {"t": "dict", "v": n["v"]}),
    "size": lambda n: call("torch.Size", ints(n["v"])),
    "device": lambda n: call("torch.device", *device_args(n["v"])),
    "layout": lambda n: call("torch.serialization._get_layout", text("torch." + n["v"])),
}
# These have no id in expected.json where they stand in several places.
NAMELESS = {"size", "device", "layout", "complex", "bytearray", "slice", "range"}


def sparse_call(tensor, version):
    """The call that rebuilds a sparse tensor, as each version of PyTorch writes it."""
    parts = list(tensor["components"].values()) + [{"t": "size", "v": tensor["shape"]}]
    if "is_coalesced" in tensor:
        parts.append({"t": "bool", "v": tensor["is_coalesced"]})
    name = "csr_" if tensor["layout"] == "sparse_csr" and version == "t113" else ""
    return call(f"torch._utils._rebuild_sparse_{name}tensor", {"t": "layout", "v": tensor["layout"]},
                {"t": "tuple", "v": parts})


def quantizer(tensor):
    if "qscheme" not in tensor:
        return []
    scheme = {"t": "global", "v": tensor["qscheme"]}
    if "axis" in tensor:
        return [scheme, tensor["scales"], tensor["zero_points"], {"t": "int", "v": str(tensor["axis"])}]
    return [scheme, {"t": "float", "bits": tensor["scale"]}, {"t": "int", "v": str(tensor["zero_point"])}]


def int_form(value):
    if -2**63 <= value < 2**63:
        return value
    nbytes = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return {"bigint": value.to_bytes(nbytes, "little", signed=True).hex()}


def scalar_form(node):
    """A leaf as inspect prints it, but floats by their bits."""
    kind, value = node["t"], node.get("v")
    forms = {
        "none": lambda: None,
        "bool": lambda: value,
        "int": lambda: int_form(int(value)),
        "float": lambda: {"float": node["bits"]},
        "str": lambda: value,
        "bytes": lambda: {"bytes": node["hex"]},
        "global": lambda: {"global": value},
        "dtype": lambda: {"global": "torch." + value},
        "list": lambda: [],
        "tuple": lambda: {"tuple": []},
        "dict": lambda: {},
        "OrderedDict": lambda: {},
    }
    return forms[kind]()


def key_text(key, index):
    if key["t"] == "str":
        return key["v"]
    if key["t"] == "int":
        return key["v"]
    return f"<{key['t'] if key['t'] in KEY_KINDS else 'object'} {index}>"


def text_length(node):
    if node["t"] == "str":
        return len(node["v"].encode("utf-8", "surrogatepass"))
    return len(node["hex"]) // 2 if node["t"] == "bytes" else 0


def join(path, name):
    return f"{path}.{name}" if path else name


# --- what inspect should list ---------------------------------------------------------------------

class Expectation:
    """The listing of one entry of expected.json. `found` is inspect's: where one thing may be listed in two ways, it
    tells which."""

    def __init__(self, name, entry, found):
        self.version = name.split("_")[0]
        self.tensors_of_tree = entry["tensors"]
        self.found = {value["path"]: value["value"] for value in found["values"]}
        self.tensors, self.values = [], []
        self.sets, self.rebuilt = [], []
        self.named, self.nameless, self.listed = {}, set(), set()
        self.walk([(entry["tree"], "")])

    def walk(self, pending):
        """Depth first, without recursion: files nest as deep as they like."""
        while pending:
            node, path = pending.pop()
            pending += reversed(self.enter(node, path))

    def enter(self, node, path):
        """Lists a leaf; the children of a container, or of nothing that was listed before."""
        node = self.resolve(node)
        if node is None or self.met_nameless(node, path):
            return []
        if node["t"] == "tensor":
            return self.enter_tensor(node["i"], path)
        if node["t"] == "storage":
            node = call(node["class"], {"t": "int", "v": str(node["i"])}, {"t": "int", "v": str(node["numel"])})
        if node["t"] in ("set", "frozenset"):
            self.sets.append(path)
        node = CALLS.get(node["t"], lambda n: n)(node)
        if node["t"] == "object":
            self.values.append((path, {"object": node["class"]}))
            return self.object_children(node, path)
        if node["t"] not in ("list", "tuple", "dict", "OrderedDict"):
            self.values.append((path, scalar_form(node)))
            return []
        if not node["v"]:
            self.values.append((path, scalar_form(node)))
        return self.container_children(node, path)

    def resolve(self, node):
        """A reference becomes what it refers to, if that is listed again, else None."""
        if node["t"] == "ref":
            node = self.named[node["id"]]
            empty = node["t"] in ("list", "tuple", "dict", "OrderedDict") and not node["v"]
            return node if empty else None
        if "id" in node:
            self.named[node["id"]] = node
        return node

    def met_nameless(self, node, path):
        """True for what stands in several places, has no id, and is not listed here."""
        if node["t"] not in NAMELESS and text_length(node) <= LONG_TEXT:
            return False
        key = json.dumps(node)
        if key in self.nameless and path not in self.found:
            return True
        self.nameless.add(key)
        return False

    def enter_tensor(self, index, path):
        if index in self.listed:
            return []
        self.listed.add(index)
        tensor = self.tensors_of_tree[index]
        found = self.found.get(path)
        if isinstance(found, dict) and found.get("object") in REBUILT:
            self.rebuilt.append(path)
        elif "components" in tensor:
            return [(sparse_call(tensor, self.version), path)]
        else:
            self.tensors.append((path, tensor))
            return self.tensor_children(tensor, path)
        return []

    def tensor_children(self, tensor, path):
        children = self.pair_children(tensor["attrs"]["v"], join(path, "__dict__")) if "attrs" in tensor else []
        return children + [(child, join(path, f"<quantizer>.{i}")) for i, child in enumerate(quantizer(tensor))]

    def container_children(self, node, path):
        if node["t"] in ("list", "tuple"):
            return [(child, join(path, str(i))) for i, child in enumerate(node["v"])]
        attributes = node.get("attrs", {"v": []})
        return self.pair_children(node["v"], path) + self.pair_children(attributes["v"], join(path, "<attrs>"))

    def pair_children(self, pairs, path):
        return [(child, join(path, key_text(key, i))) for i, (key, child) in enumerate(pairs)]

    def object_children(self, node, path):
        children = [(child, join(path, f"<arg{i}>")) for i, child in enumerate(node.get("args", []))]
        if "state" in node:
            state = node["state"]
            state = self.named[state["id"]] if state["t"] == "ref" else self.resolve(state)
            if state["t"] in ("list", "tuple", "dict", "OrderedDict"):
                children += self.container_children(state, path)
            else:
                children.append((state, join(path, "<state>")))
        children += [(child, join(path, str(i))) for i, child in enumerate(node.get("items", []))]
        return children + self.pair_children(node.get("pairs", []), path)


# --- comparing ------------------------------------------------------------------------------------

def found_form(value):
    """A value of inspect with floats by their bits, as scalar_form makes them."""
    if isinstance(value, float):
        return {"float": struct.pack(">d", value).hex()}
    if isinstance(value, dict) and "float" in value:
        return {"float": struct.pack(">d", float(value["float"])).hex()}
    return value


def below(path, roots):
    return any(path == root or path.startswith(root + ".") for root in roots)


def in_one_order(values, sets):
    """The values with those inside sets sorted: a set has no order."""
    inside = re.compile("|".join(re.escape(path) + r"\.<arg0>\.(\d+)(?=\.|$)" for path in sets) or "(?!)")
    starred = [(inside.sub(lambda m: m.group(0)[:m.group(0).rindex(".")] + ".*", path), form) for path, form in values]
    ordered = []
    for in_set, run in itertools.groupby(starred, lambda value: ".<arg0>.*" in value[0]):
        ordered += sorted(run, key=json.dumps) if in_set else run
    return ordered


def compare_lists(what, found, expected):
    for a, b in itertools.zip_longest(found, expected):
        if json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True):
            raise Difference(f"{what}: found {json.dumps(a)[:300]}, expected {json.dumps(b)[:300]}")


def compare_tensor(path, found, expected):
    for field in TENSOR_FIELDS:
        if field in expected and found.get(field) not in (expected[field], UNHASHED):
            raise Difference(f"tensor '{path}': {field} is {found.get(field)}, expected {expected[field]}")


def compare_bits(path, found, expected):
    for bit in ("conj", "neg"):
        if found.get(bit, False) != (expected.get("metadata") or {}).get(bit, False):
            raise Difference(f"tensor '{path}': its {bit} bit is {found.get(bit, False)}")


def compare_storages(tensors, storages):
    """Tensors share memory as they should, on the device they should be on."""
    theirs, ours = {}, {}
    for path, found, expected in tensors:
        if "storage" not in expected:
            if found["device"] != expected["device"]:
                raise Difference(f"tensor '{path}': on {found['device']}, expected {expected['device']}")
            continue
        if theirs.setdefault(found["storage"], expected["storage"]) != expected["storage"] or \
                ours.setdefault(expected["storage"], found["storage"]) != found["storage"]:
            raise Difference(f"tensor '{path}': shares its storage with others than it should")
        location = storages[expected["storage"]]["location"]
        if found["device"] != location:
            raise Difference(f"tensor '{path}': on {found['device']}, expected {location}")


def is_old_parameter(node):
    """torch.nn.parameter.Parameter(tensor) with the state (requires_grad, volatile, hooks), as before 0.4."""
    return node.get("t") == "object" and node["class"] == "torch.nn.parameter.Parameter" and \
        [a["t"] for a in node.get("args", [])] == ["tensor"] and len(node.get("state", {}).get("v", [])) == 3


def as_lockstep_says(entry):
    """Two things that expected.json spells as the file does, and lockstep as they are meant: a slice of a storage is
    that storage further on, and a parameter of the first versions is a tensor."""
    for tensor in entry["tensors"]:
        view = entry["storages"][tensor["storage"]] if "storage" in tensor else {}
        if "view_of" in view:
            roots = [i for i, s in enumerate(entry["storages"]) if s["key"] == view["view_of"]]
            tensor.update(storage=roots[0], offset=tensor["offset"] + view["view_offset"])
    pending = [entry["tree"]]
    while pending:
        node = pending.pop()
        if isinstance(node, dict) and is_old_parameter(node):
            index, grad = node["args"][0]["i"], node["state"]["v"][0]["v"]
            entry["tensors"][index].update(requires_grad=grad)
            node.clear()
            node.update(t="tensor", i=index)
        pending += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return entry


def with_sizes(entry):
    """Bare storages of the tree say how many elements they have."""
    pending = [entry["tree"]]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("t") == "storage":
                node["numel"] = entry["storages"][node["i"]]["numel"]
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return entry


def compare_tree(name, entry, found):
    """Formats that hold an object: zip, legacy, tar, torchscript. What was not compared, as paths."""
    expected = Expectation(name, as_lockstep_says(with_sizes(entry)), found)
    values = [(v["path"], found_form(v["value"])) for v in found["values"] if not below(v["path"], expected.rebuilt)]
    tensors = [t for t in found["tensors"] if not below(t["path"], expected.rebuilt)]
    compare_lists("values", in_one_order(values, expected.sets), in_one_order(expected.values, expected.sets))
    compare_lists("tensors", [t["path"] for t in tensors], [path for path, _ in expected.tensors])
    pairs = [(path, ours, theirs) for ours, (path, theirs) in zip(tensors, expected.tensors)]
    for path, ours, theirs in pairs:
        compare_tensor(path, ours, theirs)
        compare_bits(path, ours, theirs)
    compare_storages(pairs, entry["storages"])
    return expected.rebuilt


def compare_named(found, expected):
    """Formats that hold tensors by name, in no order."""
    found = {t["path"]: t for t in found["tensors"]}
    compare_lists("tensors", sorted(found), sorted(expected))
    for path, tensor in expected.items():
        compare_tensor(path, found[path], {key: tensor[key] for key in ("dtype", "shape", "sha256")})


def compare_safetensors(name, entry, found):
    compare_named(found, {t["path"]: t for t in entry["tensors"]})
    return []


def compare_index(name, entry, found):
    shards = sorted(set(entry["content"]["weight_map"].values()))
    named = {t["path"]: t for shard in shards for t in EXPECTED[shard]["tensors"]}
    compare_named(found, {key: named[key] for key in entry["content"]["weight_map"]})
    return []


def compare_dcp(name, entry, found):
    """Keys are nested as planner_data says; 1.13 kept them flat. Values that are no tensors are stored one by one."""
    places = entry.get("planner_data", {})
    place = lambda key: ".".join(map(str, places.get(key, [key])))
    compare_named(found, {place(s["fqn"]): s for s in entry["state"] if s["kind"] == "tensor"})
    values = {v["path"]: found_form(v["value"]) for v in found["values"]}
    for item in entry["items"]:
        tree = item.get("content", {}).get("tree", {})
        if tree.get("t") in ("none", "bool", "int", "float", "str", "bytes"):
            path = place(item["fqn"])
            compare_lists(f"value '{path}'", [values.get(path, "nothing")], [scalar_form(tree)])
    return []


COMPARE = {"safetensors": compare_safetensors, "index.json": compare_index, "dcp": compare_dcp}


# --- the files ------------------------------------------------------------------------------------

def run_inspect(name, *options):
    return subprocess.run([LOCKSTEP, "inspect", "--json", *options, os.path.join(CORPUS, name)], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)


def inspect(name, form):
    """inspect's listing; None for a format that it may refuse."""
    done = run_inspect(name, "--hash")
    hashed = DECLINES not in done.stderr  # it declines to hash gigabytes out of a few bytes
    if not hashed:
        done = run_inspect(name)
    if done.returncode == 0:
        found = json.loads(done.stdout)
        for tensor in found["tensors"]:
            tensor.setdefault("sha256", None if hashed else UNHASHED)
        return found
    refused = done.returncode == 1 and done.stderr.startswith("lockstep: ")
    if form in ALWAYS_READ or not refused:
        raise Difference(f"inspect exits with {done.returncode}: {done.stderr.strip()}")
    return None


def main():
    failures, not_yet, rebuilt = [], {}, 0
    for name, entry in EXPECTED.items():
        try:
            found = inspect(name, entry["format"])
            if found is None:
                not_yet.setdefault(entry["format"], []).append(name)
            else:
                rebuilt += len(COMPARE.get(entry["format"], compare_tree)(name, entry, found))
        except Difference as difference:
            failures.append(f"{name}: {difference}")
    for form, names in not_yet.items():
        print(f"not read yet: {len(names)} of {form}: {', '.join(names)}")
    print("\n".join(failures))
    read = len(EXPECTED) - sum(map(len, not_yet.values()))
    print(f"{read} of {len(EXPECTED)} files read, {len(failures)} differ, {rebuilt} tensors listed as calls")
    sys.exit(bool(failures))


if __name__ == "__main__":
    with open(os.path.join(CORPUS, "expected.json")) as file:
        EXPECTED = json.load(file)
    main()
