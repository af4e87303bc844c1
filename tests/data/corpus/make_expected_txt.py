#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_expected_txt.py [FORMAT ...] - prints expected.txt from expected.json and the files beside it, for the files of
these formats (zip): the listing of tests/serialize/tree_text.h. For legacy and tar that is expected_legacy.txt. Needs
numpy; knows nothing of lockstep.

The bytes of tensors are checked against expected.json's hashes before they are counted into a CRC."""
import hashlib
import io
import json
import os
import pickle
import pickletools
import struct
import sys
import tarfile
import zipfile
import zlib

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
ITEM_SIZES = {name: size for size, names in {
    1: "bool int8 uint8 qint8 quint8 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz",
    2: "int16 uint16 float16 bfloat16",
    4: "int32 uint32 qint32 float32",
    8: "int64 uint64 float64 complex64",
    16: "complex128",
}.items() for name in names.split()}
SEQUENCES = {"list", "tuple"}
DICTS = {"dict", "OrderedDict", "defaultdict"}
KEY_KINDS = {"none", "bool", "float", "bytes", "tuple", "tensor"}


# --- the bytes of storages, {key: bytes} ----------------------------------------------------------

def skip_pickle(file):
    """The arguments of its opcodes: nothing is executed."""
    return [argument for _, argument, _ in pickletools.genops(file) if argument is not None]


def stored_bytes(file, dtype):
    count, = struct.unpack("<q", file.read(8))
    return file.read(count * ITEM_SIZES[dtype])


def zip_storages(path, entry):
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        swapped = "byteorder" in names and archive.read(names["byteorder"]) == b"big"
        found = {}
        for storage in entry["storages"]:
            data = archive.read(names["data/" + storage["key"]])
            if swapped and (size := swap_size(storage["dtype"])) > 1:
                data = numpy.frombuffer(data, f"u{size}").byteswap().tobytes()
            found[storage["key"]] = data
        return found


def swap_size(dtype):
    return ITEM_SIZES[dtype] // (2 if dtype.startswith("complex") else 1)


def legacy_storages(path, entry):
    """magic, protocol, system, object, keys: five pickles; then the storages in the order of the keys."""
    with open(path, "rb") as file:
        for _ in range(4):
            skip_pickle(file)
        keys = [key for key in skip_pickle(file) if isinstance(key, str)]
        dtypes = {storage["key"]: storage["dtype"] for storage in entry["storages"]}
        return {key: stored_bytes(file, dtypes[key]) for key in keys}


def tar_storages(path, entry):
    """The member 'storages': how many, and for each a pickle of (key, location, class) and its bytes."""
    with tarfile.open(path) as archive:
        file = io.BytesIO(archive.extractfile("storages").read())
    count = pickle.load(file)
    dtypes = {storage["key"]: storage["dtype"] for storage in entry["storages"]}
    found = {}
    for _ in range(count):
        key = str(skip_pickle(file)[1])
        found[key] = stored_bytes(file, dtypes[key])
    return found


STORAGES = {"zip": zip_storages, "torchscript": zip_storages, "legacy": legacy_storages, "tar": tar_storages}


# --- distributed checkpoints: as if the nested dict had been saved -----------------------------------

def item_bytes(path, item):
    """The elements in the archive of a tensor's chunk."""
    with open(os.path.join(path, item["file"]), "rb") as file:
        file.seek(item["file_offset"])
        with zipfile.ZipFile(io.BytesIO(file.read(item["length"]))) as archive:
            return archive.read(f"{item['root']}/data/0")


def dcp_tensor(path, state, items):
    """The bytes of a tensor, from its chunks."""
    whole = numpy.zeros(state["shape"], f"V{ITEM_SIZES[state['dtype']]}")
    for chunk in state["chunks"]:
        item, = (item for item in items if item["offset"] == chunk["offsets"])
        place = tuple(slice(start, start + size) for start, size in zip(chunk["offsets"], chunk["sizes"]))
        whole[place] = numpy.frombuffer(item_bytes(path, item), whole.dtype).reshape(chunk["sizes"])
    return whole.tobytes()


def dcp_node(nested):
    """A node of expected.json for what nest() made: leaves are nodes already, containers dicts with str and int keys."""
    if "t" in nested and isinstance(nested["t"], str):
        return nested
    if all(isinstance(key, int) for key in nested):
        return {"t": "list", "v": [dcp_node(nested[i]) for i in range(len(nested))]}
    return {"t": "dict", "v": [[{"t": "str", "v": key}, dcp_node(value)] for key, value in nested.items()]}


def dcp_entry(path, entry):
    """(an entry as those of files in format zip, its storages)"""
    nested, tensors, storages = {}, [], {}
    for state in entry["state"]:
        items = [item for item in entry["items"] if item["fqn"] == state["fqn"]]
        if state["kind"] == "tensor":
            leaf, stride, size = {"t": "tensor", "i": len(tensors)}, [], 1
            for length in reversed(state["shape"]):
                stride.insert(0, size)
                size *= max(length, 1)
            storages[str(len(tensors))] = dcp_tensor(path, state, items)
            tensors.append({**state, "path": state["fqn"], "stride": stride, "offset": 0, "requires_grad": False,
                            "storage": len(tensors)})
        else:
            leaf = items[0]["content"]["tree"]
        *containers, last = (entry.get("planner_data") or {}).get(state["fqn"], [state["fqn"]])
        inner = nested
        for key in containers:
            inner = inner.setdefault(key, {})
        inner[last] = leaf
    keys = [{"key": key} for key in storages]
    return {"format": "dcp", "tree": dcp_node(nested), "tensors": tensors, "storages": keys}, storages


# --- the listing ----------------------------------------------------------------------------------

class Listing:
    def __init__(self, path, entry):
        if entry["format"] == "dcp":
            entry, self.bytes = dcp_entry(path, entry)
        else:
            self.bytes = STORAGES[entry["format"]](path, entry)
        self.entry = entry
        self.lines = []
        self.named = dict(nodes_with_ids(entry["tree"]))
        self.met = set()
        pending = [("", entry["tree"])]
        while pending:
            place, node = pending.pop()
            pending += reversed(self.enter(place, node))

    def enter(self, place, node):
        """Lists a leaf; the children of anything else, as [(place, node)]."""
        node = self.named[node["id"]] if node["t"] == "ref" else node
        if node.get("id") in self.met:
            return []
        self.met |= {node["id"]} if "id" in node else set()
        kind = node["t"]
        if kind == "tensor":
            self.tensor(place, self.entry["tensors"][node["i"]])
        elif kind in SEQUENCES:
            return [(join(place, str(i)), child) for i, child in enumerate(node["v"])]
        elif kind in DICTS:
            attributes = [(join(place, "<attrs>"), node["attrs"])] if "attrs" in node else []
            return pairs(place, node["v"]) + attributes
        elif kind == "object" and node["class"] == "torch.nn.parameter.Parameter" and "state" in node:
            requires_grad = node["state"]["v"][0]["v"]  # before 0.4: Parameter(tensor), with (requires_grad, ...) as state
            tensor = self.entry["tensors"][node["args"][0]["i"]]
            self.tensor(place, {**tensor, "param": True, "requires_grad": requires_grad})
        elif kind == "object":
            state = [(place, node["state"])] if "state" in node else []
            items = [(join(place, str(i)), child) for i, child in enumerate(node.get("items", []))]
            return state + items + pairs(place, node.get("pairs", []))
        elif kind in SCALARS:
            self.line(place, SCALARS[kind](node))
        return []

    def line(self, place, text):
        self.lines.append(f"{escaped(place.encode('utf-8', 'surrogatepass'))}\t{text}")

    def tensor(self, place, tensor):
        if "storage" not in tensor:  # sparse, meta: calls that the listing leaves out
            return
        flags = {"param": tensor.get("param"), "grad": tensor["requires_grad"], **tensor.get("metadata", {})}
        flags = "".join(f" {name}" for name, is_set in flags.items() if is_set)
        first = self.entry["storages"][tensor["storage"]].get("view_offset", 0)
        self.line(place, f"tensor {tensor['dtype']} {tuple(tensor['shape'])} {tuple(tensor['stride'])} "
                         f"{first + tensor['offset']}{flags} {zlib.crc32(self.packed(tensor)):08x}")

    def packed(self, tensor):
        """The elements in C order."""
        data, first = self.storage(self.entry["storages"][tensor["storage"]])
        size = ITEM_SIZES[tensor["dtype"]]
        elements = numpy.frombuffer(data, f"V{size}")[first + tensor["offset"]:]
        strides = [stride * size for stride in tensor["stride"]]
        packed = numpy.lib.stride_tricks.as_strided(elements, tensor["shape"], strides).tobytes()
        if hashlib.sha256(packed).hexdigest() != tensor["sha256"]:
            sys.exit(f"tensor '{tensor['path']}' has other bytes than expected.json says")
        return packed

    def storage(self, storage):
        """The bytes of a storage, or of the one it is a view of, and its first element in them."""
        if "view_of" in storage:
            return self.bytes[storage["view_of"]], storage["view_offset"]
        return self.bytes[storage["key"]], 0


def nodes_with_ids(tree):
    """[(id, node)]. The first place of a node may be among arguments of a call, which are not listed."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "id" in node and node["t"] != "ref":
                yield node["id"], node
            pending += node.values()
        elif isinstance(node, list):
            pending += node


def join(place, name):
    return f"{place}.{name}" if place else name


def pairs(place, items):
    return [(join(place, key_text(key)), child) for key, child in items]


def key_text(key):
    if key["t"] in ("str", "int"):
        return key["v"]
    return f"<{key['t'] if key['t'] in KEY_KINDS else 'object'}>"


def escaped(data):
    return "".join(chr(c) if 0x20 <= c <= 0x7e and c != 0x5c else f"\\x{c:02x}" for c in data)


def int_text(node):
    value = int(node["v"])
    if -2**63 <= value < 2**63:
        return f"int {value}"
    nbytes = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return f"bigint {value.to_bytes(nbytes, 'little', signed=True).hex()}"


SCALARS = {
    "none": lambda node: "none",
    "bool": lambda node: f"bool {str(node['v']).lower()}",
    "int": int_text,
    "float": lambda node: f"float {node['bits']}",
    "str": lambda node: f"str {escaped(node['v'].encode('utf-8', 'surrogatepass'))}",
    "bytes": lambda node: f"bytes {node['hex']}",
}


def main(formats):
    with open(os.path.join(HERE, "expected.json")) as file:
        entries = json.load(file)
    for name, entry in entries.items():
        if entry["format"] in formats:
            print("\n".join([f"file {name}"] + Listing(os.path.join(HERE, name), entry).lines))


if __name__ == "__main__":
    main(sys.argv[1:] or ["zip"])
