# SPDX-License-Identifier: Apache-2.0
"""PyTorch's opinion of a converted checkpoint: both files are loaded and every value compared.

    read_back.py MANIFEST

MANIFEST is JSON, [{"expected": PATH, "found": PATH, ...}, ...], with, where needed:
    "format"        of the found file: pt (any that torch.load reads), safetensors, index.json, npz, dcp (a folder);
                    else told by its name
    "prefix"        the found file holds what stands below this path only ("model_state_dict")
    "weights_only"  true: the found file must load with weights_only=True and mmap=True too, where PyTorch has both
One line for each pair that differs, one with the counts; exits with 1 if any differs or none could be compared. A pair
is skipped, with a line, where this Python cannot load the expected file, or has no library for the found one's format.

Between files of torch.load everything is compared: types, order of keys, _metadata, attributes, shared storages;
strides are not. Other formats hold less: names, and below them types, shapes and bytes of tensors; a dcp folder also
plain values. Runs under PyTorch 1.13 and 2.6. Loading runs what a pickle says: for files of one's own only."""
import collections
import json
import os
import pickle
import struct
import sys
import types
import unittest.mock
import warnings

import torch

VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])


class Unsupported(Exception):
    """This Python has no library for the format."""


# --- loading --------------------------------------------------------------------------------------

class StrangeClass(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__module__}.{cls.__name__}.{name}"  # a member of an Enum


class Stranger(metaclass=StrangeClass):
    """An object of a class that is not here: what the pickle did to it."""

    def __new__(cls, *args, **named):
        self = super().__new__(cls)
        self.args, self.named, self.state, self.items = args, named, None, []
        return self

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        self.items.append((key, value))

    def append(self, value):
        self.items.append(value)

    def extend(self, values):
        self.items.extend(values)

    def parts(self):
        return self.args, self.named, self.state, self.items


class Unpickler(pickle.Unpickler):
    strangers = {}

    def find_class(self, module, name):
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return self.strangers.setdefault((module, name), StrangeClass(name, (Stranger,), {"__module__": module}))


TOLERANT = types.SimpleNamespace(**{**vars(pickle), "Unpickler": Unpickler, "__name__": "pickle"})


def load_pt(path):
    options = {} if VERSION < (2, 0) else {"weights_only": False}
    with unittest.mock.patch.object(torch.serialization, "pickle", TOLERANT):  # 1.13 ignores a pickle_module
        return torch.load(path, map_location="cpu", **options)


def load_weights_only(path):
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def load_safetensors(path):
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise Unsupported(str(error)) from error
    return load_file(path)


def load_index(path):
    with open(path) as file:
        weight_map = json.load(file)["weight_map"]
    load = {name: load_any(os.path.join(os.path.dirname(path), name)) for name in sorted(set(weight_map.values()))}
    return {key: load[name][key] for key, name in weight_map.items()}


def load_npz(path):
    import numpy
    with numpy.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def load_dcp(path):
    """{key: value}, as the folder has them: PyTorch nests the keys of a state dict only when it is given one."""
    if VERSION < (2, 0):
        raise Unsupported("PyTorch 1.13 does not read dcp folders as they are today")
    from torch.distributed import checkpoint
    reader = checkpoint.FileSystemReader(path)
    keys = reader.read_metadata().state_dict_metadata
    state = {key: torch.empty(entry.size, dtype=entry.properties.dtype) if hasattr(entry, "size") else None
             for key, entry in keys.items()}
    try:
        checkpoint.load(state, storage_reader=reader)
    except BaseException as error:  # CheckpointException is none of Exception
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
    return state


LOADERS = {"pt": load_pt, "safetensors": load_safetensors, "index.json": load_index, "npz": load_npz, "dcp": load_dcp}


def format_of(path):
    if os.path.isdir(path):
        return "dcp"
    return next((form for form in ("safetensors", "index.json", "npz") if path.endswith("." + form)), "pt")


def load_any(path, form=None):
    return LOADERS[form or format_of(path)](path)


# --- comparing objects ----------------------------------------------------------------------------

def tensor_bytes(tensor):
    """The elements in C order, as a tensor of uint8."""
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8) if flat.numel() else torch.empty(0, dtype=torch.uint8)


def tensor_parts(tensor):
    """What a tensor is made of: {name: value}, the values plain or tensors that are strided."""
    if tensor.layout == torch.sparse_coo:
        return {"indices": tensor._indices(), "values": tensor._values(), "is_coalesced": tensor.is_coalesced()}
    if tensor.layout == torch.sparse_csr:
        return {"crow": tensor.crow_indices(), "col": tensor.col_indices(), "values": tensor.values()}
    if getattr(tensor, "is_nested", False):
        return dict(enumerate(tensor.unbind()))
    if tensor.is_quantized and tensor.qscheme() == torch.per_tensor_affine:
        return {"integers": tensor.int_repr(), "scale": tensor.q_scale(), "zero_point": tensor.q_zero_point()}
    if tensor.is_quantized:
        return {"integers": tensor.int_repr(), "scales": tensor.q_per_channel_scales(),
                "zero_points": tensor.q_per_channel_zero_points(), "axis": tensor.q_per_channel_axis()}
    return {}


def storage_address(tensor):
    """Equal for tensors that share memory; None where there is none."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or getattr(tensor, "is_nested", False):
        return None
    storage = tensor.untyped_storage() if VERSION >= (2, 0) else tensor.storage()
    return storage.data_ptr() or None


def reduced(value):
    """What pickle would make of an object, its iterators as lists; None if it refuses."""
    try:
        parts = value.__reduce_ex__(2)
    except (TypeError, AttributeError, pickle.PicklingError):
        return None
    if isinstance(parts, str):
        return parts
    return [list(part) if hasattr(part, "__next__") else part for part in parts]


class Comparison:
    """Differences between two objects, as lines. Without recursion: checkpoints nest."""

    PLAIN = (type(None), bool, int, str, bytes, bytearray, slice, range, torch.dtype, torch.device, torch.layout)
    NAMED = (type, types.FunctionType, types.BuiltinFunctionType, type(Ellipsis), type(NotImplemented))

    def __init__(self, found, expected):
        self.differences = []
        self.met, self.keep = set(), []
        self.to_found, self.to_expected = {}, {}
        self.pending = [("", found, expected)]
        while self.pending:
            self.compare(*self.pending.pop())

    def differ(self, path, what, found, expected):
        self.differences.append(f"'{path}': {what} {str(found)[:120]}, expected {str(expected)[:120]}")

    def push(self, path, names, found, expected):
        base = path + "." if path else ""
        self.pending += [(f"{base}{name}", a, b) for name, a, b in zip(names, found, expected)][::-1]

    def compare(self, path, a, b):
        if type(a) is not type(b):
            return self.differ(path, "type", type(a), type(b))
        if (id(a), id(b)) in self.met:
            return None
        self.met.add((id(a), id(b)))
        self.keep += [a, b]  # an id belongs to whatever lives
        if isinstance(a, torch.Tensor):
            return self.compare_tensors(path, a, b)
        if torch.is_storage(a):
            return self.compare_plain(path, repr(a.tolist()), repr(b.tolist()))
        if isinstance(a, dict):
            return self.compare_dicts(path, a, b)
        if isinstance(a, (list, tuple, collections.deque)):
            return self.compare_sequences(path, a, b)
        if isinstance(a, (float, complex)):
            bits = [struct.pack("<2d", complex(x).real, complex(x).imag) for x in (a, b)]
            return bits[0] != bits[1] and self.differ(path, "value", a, b)
        if isinstance(a, (*self.PLAIN, *self.NAMED, set, frozenset)):
            return self.compare_plain(path, a, b)
        return self.compare_objects(path, a, b)

    def compare_plain(self, path, a, b):
        if a != b:
            self.differ(path, "value", a, b)

    def compare_dicts(self, path, a, b):
        if len(a) != len(b):
            return self.differ(path, "keys", list(a), list(b))
        self.push(path, [f"<key {i}>" for i in range(len(a))], a, b)
        self.push(path, a, a.values(), b.values())
        self.push(path, ["<attributes>"], [getattr(a, "__dict__", None)], [getattr(b, "__dict__", None)])
        self.push(path, ["<factory>"], [getattr(a, "default_factory", None)], [getattr(b, "default_factory", None)])

    def compare_sequences(self, path, a, b):
        if len(a) != len(b):
            return self.differ(path, "length", len(a), len(b))
        self.push(path, range(len(a)), a, b)

    def compare_objects(self, path, a, b):
        if isinstance(a, torch.jit.ScriptModule):
            return self.push(path, ["<state dict>"], [a.state_dict()], [b.state_dict()])
        if isinstance(a, Stranger):
            return self.push(path, ["<args>", "<named>", "<state>", "<items>"], a.parts(), b.parts())
        a, b = reduced(a), reduced(b)
        if a is not None:
            self.push(path, ["<reduced>"], [a], [b])

    def compare_tensors(self, path, a, b):
        for what in ("dtype", "shape", "layout", "requires_grad", "is_quantized", "is_meta"):
            if what == "shape" and getattr(a, "is_nested", False):
                continue
            if getattr(a, what) != getattr(b, what):
                return self.differ(path, what, getattr(a, what), getattr(b, what))
        parts = tensor_parts(a)
        if parts:
            self.push(path, parts, parts.values(), tensor_parts(b).values())
        elif not a.is_meta and not torch.equal(tensor_bytes(a), tensor_bytes(b)):
            self.differ(path, "elements", a.flatten()[:6].tolist(), b.flatten()[:6].tolist())
        elif a.is_conj() != b.is_conj() or a.is_neg() != b.is_neg():
            self.differ(path, "conjugation or negation", (a.is_conj(), a.is_neg()), (b.is_conj(), b.is_neg()))
        self.push(path, ["<attributes>"], [vars(a)], [vars(b)])
        self.compare_sharing(path, storage_address(a), storage_address(b))

    def compare_sharing(self, path, a, b):
        if a is None or b is None:
            return
        if self.to_expected.setdefault(a, b) != b or self.to_found.setdefault(b, a) != a:
            self.differ(path, "sharing of memory", "one way", "another")


def compare(found, expected):
    """All differences between two loaded objects, a line each."""
    return Comparison(found, expected).differences


# --- comparing names ------------------------------------------------------------------------------

def flatten(value):
    """{dotted path: leaf} of nested dicts, lists and tuples. Empty ones have no leaf."""
    leaves, pending = {}, [("", value)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            children = value.items()
        elif isinstance(value, (list, tuple)):
            children = enumerate(value)
        else:
            leaves[path] = value
            continue
        pending += [(f"{path}.{key}" if path else str(key), child) for key, child in children]
    return leaves


def described(value):
    """(type, shape, bytes) of a tensor or array; of anything else, itself."""
    if isinstance(value, torch.Tensor) and not value.is_meta:
        return str(value.dtype)[len("torch."):], tuple(value.shape), bytes(tensor_bytes(value).numpy())
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        value = value.astype(value.dtype.newbyteorder("="))
        return value.dtype.name, value.shape, value.tobytes()
    return value


def same_type(found, expected):
    """NumPy has no names for bfloat16 and float8: their arrays are void."""
    return found == expected or found.startswith("void")


def compare_names(found, expected, tensors_only):
    """Differences between the leaves of two files by name; strict about tensors, and about the names."""
    found, expected = flatten(found), flatten(expected)
    if tensors_only:
        expected = {path: leaf for path, leaf in expected.items() if isinstance(leaf, torch.Tensor)}
    differences = [f"'{path}': missing" for path in expected if path not in found]
    differences += [f"'{path}': not expected" for path in found if path not in expected]
    for path in sorted(set(found) & set(expected)):
        if not isinstance(expected[path], torch.Tensor) or tensor_parts(expected[path]):
            differences += [f"'{path}' {line}" for line in compare(found[path], expected[path])]
            continue
        a, b = described(found[path]), described(expected[path])
        if not isinstance(a, tuple) or not same_type(a[0], b[0]) or a[1:] != b[1:]:
            differences.append(f"'{path}': {str(a)[:120]}, expected {str(b)[:120]}")
    return differences


def below(value, prefix):
    """What stands below a dotted path, keys that contain dots included."""
    for key in value if isinstance(value, dict) else ():
        if prefix == key:
            return value[key]
        if prefix.startswith(f"{key}."):
            return below(value[key], prefix[len(f"{key}."):])
    raise KeyError(prefix)


# --- pairs of files -------------------------------------------------------------------------------

def compare_files(pair):
    """Differences of one entry of a manifest. Unsupported: cannot be told here."""
    form = pair.get("format") or format_of(pair["found"])
    try:
        expected = load_any(pair["expected"])
    except Exception as error:
        raise Unsupported(f"expected file: {type(error).__name__}: {error}") from error
    if pair.get("prefix"):
        expected = below(expected, pair["prefix"])
    try:
        found = [load_any(pair["found"], form)]
        if pair.get("weights_only") and VERSION >= (2, 1):
            found.append(load_weights_only(pair["found"]))
    except Unsupported:
        raise
    except Exception as error:
        return [f"does not load: {type(error).__name__}: {error}"]
    if form == "pt" and format_of(pair["expected"]) == "pt":
        return [line for value in found for line in compare(value, expected)]
    return [line for value in found for line in compare_names(value, expected, form != "dcp")]


def main(manifest):
    with open(manifest) as file:
        pairs = json.load(file)
    counts = collections.Counter()
    for pair in pairs:
        try:
            differences = compare_files(pair)
        except Unsupported as error:
            counts["skipped"] += 1
            print(f"skipped {pair['found']}: {str(error).strip().splitlines()[-1][:200]}")
            continue
        counts["differ" if differences else "equal"] += 1
        for line in differences[:1]:
            print(f"{pair['found']}: {line} ({len(differences)} in all)")
    print(f"PyTorch {torch.__version__}: {counts['equal']} equal, {counts['differ']} differ, {counts['skipped']} skipped")
    return 1 if counts["differ"] or not counts["equal"] else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: read_back.py MANIFEST")
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1]))
