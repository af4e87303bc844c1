# SPDX-License-Identifier: Apache-2.0
"""read_back.py finds every file of the corpus equal to itself, and each kind of difference."""
import collections
import copy
import json
import os
import pathlib
import unittest

import numpy
import torch

import read_back
from common import Case, main

CORPUS = pathlib.Path(os.environ["TEST_DATA"], "corpus")


def model():
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.randn(3, 2))
    state = collections.OrderedDict(weight=weight.detach(), tied=weight.detach(), half=torch.arange(4).half())
    state._metadata = {"": {"version": 1}}
    return {"state": state, "param": weight, "epoch": 3, "lr": 0.1, "nan": float("nan"), "names": ("a", ["b", None]),
            "path": pathlib.PurePosixPath("a/b"), "sizes": torch.Size([2, 3]), "set": {1, 2},
            "counts": collections.Counter("hello")}


def changed(change):
    value = model()
    change(value)
    return value


def reorder(value):
    value["state"].move_to_end("weight")


CHANGES = {
    "an element": lambda v: v["state"]["half"].add_(1),
    "a NaN's bits": lambda v: v.update(nan=-float("nan")),
    "dtype": lambda v: v["state"].update(half=v["state"]["half"].float()),
    "shape": lambda v: v["state"].update(half=v["state"]["half"].reshape(2, 2)),
    "requires_grad": lambda v: v["state"]["half"].requires_grad_(),
    "a Parameter": lambda v: v.update(param=v["param"].detach().requires_grad_()),
    "sharing": lambda v: v["state"].update(tied=v["state"]["tied"].clone()),
    "an attribute of a tensor": lambda v: setattr(v["param"], "tag", 1),
    "the order of keys": reorder,
    "a key": lambda v: v.update(more=1),
    "the type of a key": lambda v: v["counts"].__init__({1: 1, 2: 1, 3: 2, 4: 1}),
    "metadata": lambda v: v["state"]._metadata[""].update(version=2),
    "no metadata": lambda v: delattr(v["state"], "_metadata"),
    "int and float": lambda v: v.update(epoch=3.0),
    "int and bool": lambda v: v.update(epoch=True),
    "a float's last bit": lambda v: v.update(lr=0.1 + 2**-56),
    "tuple and list": lambda v: v.update(names=list(v["names"])),
    "a nested value": lambda v: v["names"][1].append(1),
    "an object": lambda v: v.update(path=pathlib.PurePosixPath("a/c")),
    "a type": lambda v: v.update(sizes=(2, 3)),
    "a set": lambda v: v["set"].add(3),
}


class ReadBack(Case):
    def manifest(self, pairs):
        path = self.path("manifest.json")
        pathlib.Path(path).write_text(json.dumps(pairs))
        return path

    def test_corpus_equals_itself(self):
        for path in sorted(CORPUS.glob("[tx]*")):
            with self.subTest(file=path.name):
                try:
                    self.assertEqual(read_back.compare_files({"expected": str(path), "found": str(path)}), [])
                except read_back.Unsupported as reason:
                    print(f"not loaded: {path.name}: {str(reason).splitlines()[0][:100]}")

    def test_equal_objects_are_equal(self):
        self.assertEqual(read_back.compare(model(), model()), [])

    def test_cycles_end(self):
        loops = [[], []]
        for loop in loops:
            loop.append(loop)
        self.assertEqual(read_back.compare(*loops), [])

    def test_every_change_is_found(self):
        for what, change in CHANGES.items():
            with self.subTest(change=what):
                self.assertNotEqual(read_back.compare(changed(change), model()), [])

    def test_names_of_other_formats(self):
        expected = {"model": {"a.b": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}, "epoch": 1}
        torch.save(expected, self.path("from.pt"))
        good = {"a.b": numpy.arange(6, dtype="f4").reshape(2, 3), "n": numpy.array(3)}
        pair = {"expected": self.path("from.pt"), "found": self.path("to.npz"), "prefix": "model"}
        for arrays, count in ((good, 0), ({**good, "n": numpy.array(3, "i4")}, 1), ({**good, "n": numpy.array(4)}, 1),
                              ({"n": good["n"]}, 1), ({**good, "more": good["n"]}, 1),
                              ({**good, "a.b": good["a.b"].T}, 1)):
            numpy.savez(pair["found"], **arrays)
            self.assertEqual(len(read_back.compare_files(pair)), count, list(arrays))

    @unittest.skipIf(read_back.VERSION < (2, 0), "PyTorch 1.13 does not read today's dcp folders")
    def test_a_folder_of_its_own_checkpoint_format(self):
        from torch.distributed import checkpoint
        state = {"model": {"a.b": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}, "steps": [1, {"lr": 0.1}]}
        checkpoint.save(state, checkpoint_id=self.path("folder"))
        for change, count in ((lambda v: None, 0), (lambda v: v["model"]["n"].add_(1), 1),
                              (lambda v: v["steps"][1].update(lr=0.2), 1), (lambda v: v["model"].pop("n"), 1)):
            expected = copy.deepcopy(state)
            change(expected)
            torch.save(expected, self.path("from.pt"))
            pair = {"expected": self.path("from.pt"), "found": self.path("folder")}
            self.assertEqual(len(read_back.compare_files(pair)), count)

    def test_manifest_decides_the_exit_code(self):
        torch.save({"a": 1}, self.path("a.pt"))
        torch.save({"a": 2}, self.path("b.pt"))
        pathlib.Path(self.path("torn.pt")).write_bytes(b"PK\3\4")
        equal, differs, torn, unknown = ({"expected": self.path(a), "found": self.path(b)} for a, b in
                                         (("a.pt", "a.pt"), ("a.pt", "b.pt"), ("a.pt", "torn.pt"), ("torn.pt", "a.pt")))
        for pairs, code in (([equal], 0), ([equal, differs], 1), ([torn], 1), ([equal, unknown], 0), ([unknown], 1)):
            self.assertEqual(read_back.main(self.manifest(pairs)), code)

    def test_weights_only_is_tried(self):
        torch.save({"path": pathlib.PurePosixPath("a")}, self.path("a.pt"))
        pair = {"expected": self.path("a.pt"), "found": self.path("a.pt")}
        self.assertEqual(read_back.compare_files(pair), [])
        if read_back.VERSION >= (2, 1):
            self.assertIn("does not load", read_back.compare_files({**pair, "weights_only": True})[0])


if __name__ == "__main__":
    main()
