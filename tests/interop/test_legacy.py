# SPDX-License-Identifier: Apache-2.0
"""Streams of torch.save before 1.6, both ways: what PyTorch writes is read, what is written PyTorch reads, equal."""
import collections
import glob
import hashlib
import json
import math
import os
import subprocess

import torch
import torch.nn as nn

from common import Case, lockstep, main

REWRITE = os.environ["REWRITE"]
CORPUS = os.path.join(os.environ["TEST_DATA"], "corpus")


def rewrite(form, source, target):
    done = subprocess.run([REWRITE, form, source, target], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr)
    return target


def load(path, **options):
    return torch.load(path, weights_only=False, **options)


def save_legacy(value, path, **options):
    torch.save(value, path, _use_new_zipfile_serialization=False, **options)
    return path


DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int16, torch.int32, torch.int64,
          torch.uint8, torch.bool, torch.complex64, torch.complex128]


def examples():
    torch.manual_seed(5)
    base = torch.arange(24, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    tied = nn.Parameter(torch.randn(2, 3))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    yield "dtypes", {str(t): (torch.randn(7, 3) * 5).to(t) for t in DTYPES}
    yield "views", {"base": base, "t": base.view(4, 6).t(), "slice": base[5:9], "wide": base[:3].unsqueeze(1).expand(3, 4),
                    "empty": base[:0], "0-dim": base[7]}
    yield "tied", [tied, {"again": tied, "data": tied.data}]
    yield "state_dict", net.state_dict()
    yield "optimizer", {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    yield "scalars", {"int": [0, -1, 255, 65536, 2**40, -2**63, 2**70, -2**2100], 7: (1, 2.5, math.inf, -0.0), (1, "a"): None,
                      "text": "\u00e9\u4e2d\U0001f600", "bytes": b"\x00\xff", "flags": [True, False], "set": {1, 2}}
    yield "quantized", torch.quantize_per_tensor(torch.randn(3, 4), 0.1, 3, torch.qint8)
    yield "sparse", torch.eye(3).to_sparse()
    yield "many", [torch.full((i + 1,), float(i)) for i in range(120)]
    yield "nothing", None


def shares(values):
    """Which tensors lie in one storage: the numbers of storages in order of appearance."""
    numbers = {}
    return [numbers.setdefault(t.storage().data_ptr() if t.numel() else id(t), len(numbers)) for t in values]


class Legacy(Case):
    def assert_equal(self, ours, theirs, where="value"):
        self.assertIs(type(ours), type(theirs), where)
        if isinstance(theirs, torch.Tensor):
            self.assert_equal_tensors(ours, theirs, where)
        elif isinstance(theirs, dict):
            self.assert_equal(list(ours), list(theirs), where)
            for key in theirs:
                self.assert_equal(ours[key], theirs[key], f"{where}[{key!r}]")
            if isinstance(theirs, collections.OrderedDict):
                self.assertEqual(vars(ours), vars(theirs), where)
        elif isinstance(theirs, (list, tuple)):
            self.assertEqual(len(ours), len(theirs), where)
            for i, (a, b) in enumerate(zip(ours, theirs)):
                self.assert_equal(a, b, f"{where}[{i}]")
        else:
            self.assertEqual(repr(ours), repr(theirs), where)

    def assert_equal_tensors(self, ours, theirs, where):
        self.assertEqual((ours.dtype, ours.shape, ours.requires_grad, ours.layout),
                         (theirs.dtype, theirs.shape, theirs.requires_grad, theirs.layout), where)
        if theirs.layout == torch.strided:
            self.assertEqual((ours.stride(), ours.storage_offset(), ours.storage().size()),
                             (theirs.stride(), theirs.storage_offset(), theirs.storage().size()), where)
        if theirs.is_quantized:
            self.assertEqual((ours.q_scale(), ours.q_zero_point()), (theirs.q_scale(), theirs.q_zero_point()), where)
            ours, theirs = ours.int_repr(), theirs.int_repr()
        self.assertTrue(torch.equal(ours.to_dense() if ours.is_sparse else ours,
                                    theirs.to_dense() if theirs.is_sparse else theirs), where)

    def test_what_is_written_is_what_pytorch_had_written(self):
        for name, value in examples():
            for form in ("zip", "legacy"):
                with self.subTest(name=name, source=form):
                    source = self.path(f"{name}_{form}.pt")
                    torch.save(value, source, _use_new_zipfile_serialization=form == "zip")
                    written = rewrite("torch_legacy", source, self.path(f"{name}_ours.pt"))
                    self.assert_equal(load(written), value)

    def test_sharing_survives(self):
        value = dict(examples())["views"]
        written = rewrite("torch_legacy", save_legacy(value, self.path("a.pt")), self.path("b.pt"))
        self.assertEqual(shares(load(written).values()), shares(value.values()))
        tied = load(rewrite("torch_legacy", save_legacy(dict(examples())["tied"], self.path("a.pt")), self.path("b.pt")))
        self.assertIs(tied[0], tied[1]["again"])
        self.assertEqual(tied[0].data_ptr(), tied[1]["data"].data_ptr())

    def test_what_pytorch_writes_is_read(self):
        tensors = {str(t): (torch.randn(7, 3) * 5).to(t) for t in DTYPES}
        for protocol in range(1, 6):
            with self.subTest(protocol=protocol):
                path = save_legacy(tensors, self.path("a.pt"), pickle_protocol=protocol)
                found = json.loads(lockstep("inspect", "--json", "--hash", path)[0])
                self.assertEqual(found["format"], "torch_legacy")
                self.assertEqual(len(found["tensors"]), len(tensors))
                for tensor, (name, theirs) in zip(found["tensors"], tensors.items()):
                    stored = bytes(theirs.contiguous().view(torch.int8).numpy().tobytes()
                                   if theirs.dtype not in (torch.bool,) else theirs.numpy().tobytes())
                    self.assertEqual(tensor["sha256"], hashlib.sha256(stored).hexdigest(), name)

    def test_a_file_without_tensors_is_the_same_byte_for_byte(self):
        value = {"epoch": 3, "names": ["a", "b"], "rate": 0.125, "nothing": None, "flags": (True, False, 1, 2)}
        theirs = save_legacy(value, self.path("a.pt"))
        ours = rewrite("torch_legacy", theirs, self.path("b.pt"))
        with open(ours, "rb") as a, open(theirs, "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_old_files_become_new_ones(self):
        """Streams of other versions, slices of storages and tar archives, as PyTorch reads them."""
        count = 0
        for path in sorted(path for pattern in ("t*_legacy.*", "x_old_*", "x_py2_*", "x_tar_*")
                           for path in glob.glob(os.path.join(CORPUS, pattern))):
            name = os.path.basename(path)
            if "whole" in name or "sparse" in name:
                continue  # classes that each version has for itself
            with self.subTest(file=name):
                theirs = load(path, map_location="cpu")
                for form in ("torch_legacy", "torch_zip"):
                    ours = load(rewrite(form, path, self.path("b.pt")), map_location="cpu")
                    self.assertEqual(listing(ours), listing(theirs))
                count += 1
        self.assertGreater(count, 20)


def listing(value, where=""):
    """Every leaf as text: [(path, what)]. Strides and offsets of slices are theirs alone."""
    if isinstance(value, torch.Tensor):
        data = value.detach().resolve_conj().resolve_neg()
        data = data.dequantize() if data.is_quantized else data
        return [(where, type(value).__name__, str(value.dtype), tuple(value.shape), value.requires_grad,
                 repr(data.to_dense().tolist() if data.is_sparse else data.tolist()))]
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in listing(item, f"{where}.{key!r}")]
    if isinstance(value, (list, tuple)):
        return [leaf for i, item in enumerate(value) for leaf in listing(item, f"{where}.{i}")]
    return [(where, type(value).__name__, repr(value))]


if __name__ == "__main__":
    main()
