# SPDX-License-Identifier: Apache-2.0
"""Files of the safetensors library and ours, both ways: what one writes the other reads, and it is the same file."""
import json
import os
import unittest

import numpy
import safetensors.numpy
import safetensors.torch
import torch

from common import Case, lockstep, main

DTYPES = [dtype for dtype in (getattr(torch, name, None) for name in
          "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 uint16 uint32 uint64 float8_e4m3fn "
          "float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu complex64".split()) if dtype]
NAMES = ["a", "B", "é \"quoted\" \\ \n\x01\x7f", "", "layer.10.weight", "layer.9.weight", "名前"]


def random_bytes(count, dtype):
    """Elements of any dtype out of random bytes: 0 and 1 for bool."""
    size = torch.empty(0, dtype=dtype).element_size()
    data = numpy.random.default_rng(size).integers(0, 2 if dtype == torch.bool else 256, count * size, dtype=numpy.uint8)
    return torch.from_numpy(data).view(dtype) if count else torch.empty(0, dtype=dtype)


def all_tensors():
    """Every dtype the library writes on this PyTorch, under names that need care; scalars and empty tensors."""
    tensors = {}
    for i, dtype in enumerate(DTYPES):
        for shape in ((), (0, 3), (2, 3), (5,)):
            numel = int(numpy.prod(shape))
            tensors[f"{NAMES[i % len(NAMES)]}{i}{shape}"] = random_bytes(numel, dtype).reshape(shape)
    return {name: tensor for name, tensor in tensors.items() if writable(tensor)}


def writable(tensor):
    try:
        safetensors.torch.save({"t": tensor})
        return True
    except Exception:  # noqa: BLE001 - the library refuses dtypes it does not know in its own ways
        return False


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


class Files(Case):
    def assert_same(self, found, expected):
        self.assertEqual(set(found), set(expected))
        for name, tensor in expected.items():
            self.assertEqual((found[name].dtype, found[name].shape), (tensor.dtype, tensor.shape), name)
            self.assertEqual(raw(found[name]), raw(tensor), name)

    def bytes_of(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def test_every_dtype_from_the_library(self):
        tensors = all_tensors()
        self.assertGreaterEqual(len({tensor.dtype for tensor in tensors.values()}), 10)
        safetensors.torch.save_file(tensors, self.path("a.safetensors"))
        lockstep("convert", self.path("a.safetensors"), self.path("a.pt"))
        self.assert_same(torch.load(self.path("a.pt")), tensors)
        lockstep("convert", self.path("a.safetensors"), self.path("b.safetensors"))
        self.assertEqual(self.bytes_of("b.safetensors"), self.bytes_of("a.safetensors"))

    def test_every_dtype_to_the_library(self):
        tensors = all_tensors()
        torch.save(tensors, self.path("a.pt"))
        lockstep("convert", self.path("a.pt"), self.path("a.safetensors"))
        self.assert_same(safetensors.torch.load_file(self.path("a.safetensors")), tensors)
        safetensors.torch.save_file(tensors, self.path("b.safetensors"), metadata={"format": "pt"})
        self.assertEqual(self.bytes_of("a.safetensors"), self.bytes_of("b.safetensors"))

    def test_dtypes_of_numpy(self):
        arrays = {name: numpy.arange(6, dtype=name).reshape(2, 3) for name in
                  "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64".split()}
        safetensors.numpy.save_file(arrays, self.path("a.safetensors"))
        lockstep("convert", self.path("a.safetensors"), self.path("b.safetensors"))
        self.assertEqual(self.bytes_of("b.safetensors"), self.bytes_of("a.safetensors"))

    def test_views_are_packed(self):
        base = torch.arange(120.0).reshape(4, 5, 6)
        views = {"permuted": base.clone().permute(2, 0, 1), "columns": base.clone()[:, :, 1:3],
                 "expanded": torch.arange(3.0)[:, None].expand(3, 4), "strided": base.clone().reshape(-1)[::7]}
        torch.save(views, self.path("a.pt"))
        lockstep("convert", self.path("a.pt"), self.path("a.safetensors"))
        self.assert_same(safetensors.torch.load_file(self.path("a.safetensors")), views)

    def test_a_misaligned_file(self):
        tensors = {"w": torch.arange(1000.0, dtype=torch.float64), "i": torch.arange(7, dtype=torch.int32)}
        data = safetensors.torch.save(tensors)
        length = int.from_bytes(data[:8], "little")
        for blanks in range(1, 8):
            with open(self.path("a.safetensors"), "wb") as file:
                file.write((length + blanks).to_bytes(8, "little") + data[8:8 + length] + b" " * blanks + data[8 + length:])
            lockstep("convert", self.path("a.safetensors"), self.path("a.pt"))
            self.assert_same(torch.load(self.path("a.pt")), tensors)

    def test_tied_tensors_load_into_a_model(self):
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
        model[1].weight = model[0].weight
        torch.save(model.state_dict(), self.path("a.pt"))
        _, message = lockstep("convert", self.path("a.pt"), self.path("a.safetensors"), code=1)
        self.assertIn("value '1.weight': it shares bytes with '0.weight'", message)
        lockstep("convert", "--drop-unsupported", self.path("a.pt"), self.path("a.safetensors"))
        with safetensors.safe_open(self.path("a.safetensors"), "pt") as file:
            self.assertEqual(file.metadata(), {"format": "pt", "1.weight": "0.weight"})
        other = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
        other[1].weight = other[0].weight
        missing, unexpected = safetensors.torch.load_model(other, self.path("a.safetensors"))
        self.assertFalse(missing or unexpected)
        self.assert_same(other.state_dict(), model.state_dict())

    def test_shards(self):
        tensors = {f"layer.{i}.weight": torch.randn(8, i + 1) for i in range(12)}
        torch.save(tensors, self.path("a.pt"))
        lockstep("convert", "--to", "sharded", "--shard-size", "700", self.path("a.pt"), self.path("model"))
        with open(self.path("model/model.safetensors.index.json")) as file:
            text = file.read()
        index = json.loads(text)
        self.assertEqual(text, json.dumps(index, indent=2, sort_keys=True) + "\n")
        self.assertEqual(index["metadata"], {"total_size": sum(t.numel() * 4 for t in tensors.values())})
        self.assertEqual(set(os.listdir(self.path("model"))) - set(index["weight_map"].values()),
                         {"model.safetensors.index.json"})
        found = {}
        for shard in sorted(set(index["weight_map"].values())):
            part = safetensors.torch.load_file(self.path(os.path.join("model", shard)))
            self.assertEqual({index["weight_map"][name] for name in part}, {shard})
            self.assertLessEqual(sum(t.numel() * 4 for t in part.values()), 700)
            found.update(part)
        self.assert_same(found, tensors)
        for source in ("model", "model/model.safetensors.index.json"):
            lockstep("convert", self.path(source), self.path("b.pt"))
            self.assert_same(torch.load(self.path("b.pt")), tensors)


if __name__ == "__main__":
    main()
