# SPDX-License-Identifier: Apache-2.0
"""NumPy's archives, both ways: what numpy.savez writes is read, what lockstep writes is what numpy.load reads."""
import hashlib
import io
import json
import os
import sys
import unittest
import zipfile

import numpy
import torch
from common import Case, lockstep

DTYPES = ("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 "
          "complex128").split()


def arrays():
    random = numpy.random.RandomState(3)
    found = {name: random.randint(0, 2 if name == "bool" else 100, (3, 4)).astype(name) for name in DTYPES}
    found.update({
        "scalar": numpy.float64(2.5), "empty": numpy.zeros((0, 3), "f4"), "none": numpy.zeros(0, "i8"),
        "fortran": numpy.asfortranarray(random.rand(3, 4, 5)), "big": random.rand(7).astype(">f8"),
        "big.complex": (random.rand(2, 2) + 1j).astype(">c8"), "big/fortran": numpy.asfortranarray(
            random.randint(0, 99, (4, 2)).astype(">i4")),
        "sliced": random.rand(8, 8)[::2, 1::3], "x.npy": numpy.arange(3), "größe/層": numpy.arange(5, dtype="u2"),
        "nan": numpy.array([numpy.nan, -0.0, numpy.inf], "f2"), "long": numpy.zeros((1,) * 32, "i1"),
    })
    return found


def little(array):
    array = numpy.asarray(array)
    return array.astype(array.dtype.newbyteorder("<"))


def listing(path):
    out, _ = lockstep("inspect", "--json", "--hash", path)
    return json.loads(out)


class Read(Case):
    def check(self, path, wanted):
        found = listing(path)
        self.assertEqual(found["format"], "npz")
        self.assertEqual([tensor["path"] for tensor in found["tensors"]], list(wanted))
        for tensor, array in zip(found["tensors"], map(little, wanted.values())):
            self.assertEqual((tensor["dtype"], tuple(tensor["shape"])), (str(array.dtype), array.shape), tensor["path"])
            self.assertEqual(tensor["sha256"], hashlib.sha256(array.tobytes()).hexdigest(), tensor["path"])

    def test_savez(self):
        numpy.savez(self.path("a.npz"), **arrays())
        self.check(self.path("a.npz"), arrays())

    def test_savez_compressed(self):
        numpy.savez_compressed(self.path("a.npz"), **arrays())
        self.check(self.path("a.npz"), arrays())

    def test_no_arrays(self):
        numpy.savez(self.path("a.npz"))
        self.check(self.path("a.npz"), {})

    def test_versions_of_the_header(self):
        for version in (1, 0), (2, 0), (3, 0):
            with zipfile.ZipFile(self.path("a.npz"), "w") as archive:
                data = io.BytesIO()
                numpy.lib.format.write_array(data, numpy.arange(4.0), version)
                archive.writestr("x.npy", data.getvalue())
            self.check(self.path("a.npz"), {"x": numpy.arange(4.0)})

    def test_single_array(self):
        for name, array in arrays().items():
            numpy.save(self.path("a.npy"), array)
            found = listing(self.path("a.npy"))
            self.assertEqual(found["format"], "npy")
            self.assertEqual(found["tensors"][0]["sha256"], hashlib.sha256(little(array).tobytes()).hexdigest(), name)

    def test_what_is_no_tensor_is_refused_by_name(self):
        strange = {
            "object": (numpy.array([{}], object), "pickled Python objects"),
            "text": (numpy.array(["a"]), "no numbers"),
            "time": (numpy.array(["2020-01-01"], "M8[D]"), "no numbers"),
            "raw": (numpy.zeros(2, "V2"), "bytes without a type"),
            "record": (numpy.zeros(2, [("x", "f4")]), "structures"),
            "quad": (numpy.zeros(2, "g"), "no numbers"),
        }
        for name, (array, reason) in strange.items():
            numpy.savez(self.path("a.npz"), fine=numpy.zeros(2), **{name: array})
            _, error = lockstep("inspect", self.path("a.npz"), code=1)
            self.assertIn(f"array '{name}.npy': its elements", error)
            self.assertIn(reason, error)


class Write(Case):
    def check(self, wanted):
        """`wanted` through torch.save and lockstep convert, as numpy.load reads it."""
        torch.save(wanted, self.path("a.pt"))
        lockstep("convert", self.path("a.pt"), self.path("a.npz"))
        with numpy.load(self.path("a.npz")) as found:
            self.assertEqual(found.files, list(wanted))
            for name, tensor in wanted.items():
                array = tensor.resolve_conj().numpy()
                self.assertEqual((found[name].dtype, found[name].shape), (array.dtype, array.shape), name)
                self.assertEqual(found[name].tobytes(), array.tobytes(), name)
        with zipfile.ZipFile(self.path("a.npz")) as archive:
            self.assertIsNone(archive.testzip())
            self.assertTrue(all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist()))

    def test_every_dtype_and_layout(self):
        wanted = {name: torch.from_numpy(numpy.arange(24).reshape(2, 3, 4).astype(name))
                  for name in DTYPES if not name.startswith("uint") or name == "uint8"}
        wanted.update({
            "transposed": torch.rand(5, 7).t(), "sliced": torch.rand(9, 9)[1::2, ::3], "scalar": torch.tensor(3.5),
            "expanded": torch.rand(3, 1).expand(3, 300), "empty": torch.zeros(0, 4), "größe/層.weight": torch.rand(2),
            "large": torch.rand(300, 1000).t(), "x.npy": torch.arange(3), "": torch.arange(2),
        })
        self.check(wanted)

    def test_no_tensors(self):
        self.check({})

    def test_there_and_back(self):
        numpy.savez_compressed(self.path("a.npz"), **arrays())
        lockstep("convert", self.path("a.npz"), self.path("b.npz"))
        with numpy.load(self.path("b.npz")) as found:
            for name, array in arrays().items():
                self.assertEqual(found[name].tobytes(), little(array).tobytes(), name)

    def test_torch_reads_what_numpy_wrote(self):
        wanted = {"fortran": arrays()["fortran"], "big": arrays()["big"], "scalar": arrays()["scalar"]}
        numpy.savez_compressed(self.path("a.npz"), **wanted)
        lockstep("convert", self.path("a.npz"), self.path("a.pt"))
        found = torch.load(self.path("a.pt"))
        for name, array in wanted.items():
            self.assertTrue(numpy.array_equal(found[name].numpy(), array), name)


if __name__ == "__main__":
    print(f"NumPy {numpy.__version__}, PyTorch {torch.__version__}, Python {sys.version.split()[0]}")
    unittest.main(verbosity=2)
