# SPDX-License-Identifier: Apache-2.0
"""Folders of torch.distributed.checkpoint, both ways: what PyTorch saves, on one rank or several, lockstep lists with the
same bytes; what lockstep writes, PyTorch loads. PyTorch 1.13 knows an early form, which is only read."""
import dataclasses
import hashlib
import json
import os
import unittest
import unittest.mock
import warnings

import torch

from common import Case, Net, iris, lockstep, main

MODERN = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
if MODERN:
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
else:
    # An instance of this class is a default value in another one, and Python 3.11 wants those to be hashable.
    dataclass = dataclasses.dataclass

    def hashable(cls=None, **flags):
        return dataclass(cls, **flags, unsafe_hash=getattr(cls, "__name__", "") == "TensorProperties")

    with unittest.mock.patch("dataclasses.dataclass", hashable):
        from torch.distributed._shard import checkpoint as old

warnings.filterwarnings("ignore")


def sha256(tensor):
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else torch.zeros(0)
    return hashlib.sha256(bytes(flat.tolist())).hexdigest()


def leaves(value, place=""):
    """{place: leaf}, in the words of inspect. An empty container is a leaf."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        return {place: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {k: v for key, inner in items for k, v in leaves(inner, f"{place}.{key}" if place else str(key)).items()}


def trained():
    """A nested checkpoint as people save them."""
    torch.manual_seed(1)
    model, (x, y) = Net(), iris()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 2, "names": ["a", "b"],
            "mixed": [torch.arange(3), {"lr": 0.1}, "x"], "pair": (1, None), "none": []}


def odd_tensors():
    """Of every dtype, and of every layout that is strided."""
    torch.manual_seed(2)
    base = torch.arange(24.0)
    state = {"transposed": base.reshape(4, 6).t(), "column": base.reshape(4, 6)[:, 3], "expanded": base[:3].expand(2, 3),
             "scalar": torch.tensor(2.5), "nothing": torch.zeros(0, 3), "tied": base, "tied_too": base}
    names = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
             "complex64", "complex128"]
    if MODERN:
        names += ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]
    for name in names:
        state[name] = (torch.rand(2, 5) * 9).to(getattr(torch, name))
    return state


def run_rank(rank, path, store):
    """One of two ranks: tensors cut along rows, along columns, unevenly, and so that one rank has nothing of it."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    whole = sharded()
    placements = {"rows": Shard(0), "columns": Shard(1), "one": Shard(0), "everywhere": Replicate()}
    state = {name: distribute_tensor(whole[name], mesh, [place]) for name, place in placements.items()}
    dcp.save({"model": state, "plain": whole["plain"], "step": 5}, checkpoint_id=path)
    dist.barrier()
    dist.destroy_process_group()


def sharded():
    torch.manual_seed(3)
    return {"rows": torch.rand(5, 3), "columns": torch.rand(2, 7, 2), "one": torch.rand(1, 4),
            "everywhere": torch.rand(4), "plain": torch.rand(3).double()}


class Folder(Case):
    def assert_listed(self, path, state):
        """inspect has exactly these values."""
        listing = json.loads(lockstep("inspect", "--json", "--hash", path)[0])
        tensors = {t["path"]: t for t in listing["tensors"]}
        values = {v["path"]: v["value"] for v in listing["values"]}
        wanted = leaves(state)
        self.assertEqual(sorted({**tensors, **values}), sorted(wanted))
        for place, leaf in wanted.items():
            if not isinstance(leaf, torch.Tensor):
                self.assertEqual(values[place], leaf, place)
                continue
            found = tensors[place]
            self.assertEqual([found["shape"], found["dtype"]], [list(leaf.shape), str(leaf.dtype)[6:]], place)
            self.assertEqual(found["sha256"], sha256(leaf), place)


@unittest.skipUnless(MODERN, "PyTorch before 2.6")
class Reading(Folder):
    def test_a_nested_checkpoint(self):
        dcp.save(trained(), checkpoint_id=self.path("run"))
        self.assert_listed(self.path("run"), trained())

    def test_every_dtype_and_layout(self):
        dcp.save(odd_tensors(), checkpoint_id=self.path("run"))
        self.assert_listed(self.path("run"), odd_tensors())

    def test_several_files(self):
        dcp.save(trained(), storage_writer=dcp.FileSystemWriter(self.path("run"), thread_count=3))
        self.assertGreater(len(os.listdir(self.path("run"))), 3)
        self.assert_listed(self.path("run"), trained())

    def test_one_file_for_each_item(self):
        dcp.save(trained(), storage_writer=dcp.FileSystemWriter(self.path("run"), single_file_per_rank=False))
        self.assert_listed(self.path("run"), trained())

    def test_two_ranks(self):
        torch.multiprocessing.spawn(run_rank, args=(self.path("run"), self.path("store")), nprocs=2)
        whole = sharded()
        plain = whole.pop("plain")
        self.assert_listed(self.path("run"), {"model": whole, "plain": plain, "step": 5})
        lockstep("convert", self.path("run"), self.path("whole.pt"))
        state = torch.load(self.path("whole.pt"))
        for name, tensor in whole.items():
            self.assertTrue(torch.equal(state["model"][name], tensor), name)


@unittest.skipUnless(MODERN, "PyTorch before 2.6")
class Writing(Folder):
    def convert(self, state, *flags):
        torch.save(state, self.path("from.pt"))
        lockstep("convert", "--to", "dcp", *flags, self.path("from.pt"), self.path("run"))
        return self.path("run")

    def assert_equal(self, found, wanted):
        found, wanted = leaves(found), leaves(wanted)
        self.assertEqual(sorted(found), sorted(wanted))
        for place, leaf in wanted.items():
            if isinstance(leaf, torch.Tensor):
                self.assertEqual((found[place].dtype, found[place].shape), (leaf.dtype, leaf.shape), place)
                self.assertEqual(sha256(found[place]), sha256(leaf), place)
            else:
                self.assertEqual(found[place], leaf, place)

    def load_whole(self, path):
        """Without knowing what is in it."""
        dcp_to_torch_save(path, self.path("whole.pt"))
        return torch.load(self.path("whole.pt"), weights_only=False)

    def test_a_nested_checkpoint(self):
        state = self.load_whole(self.convert(trained()))
        self.assert_equal(state, trained())
        self.assertEqual(list(state["optimizer"]["state"]), ["0", "1", "2", "3"])
        self.assertIsInstance(state["pair"], tuple)

    def test_every_dtype_and_layout(self):
        self.assert_equal(self.load_whole(self.convert(odd_tensors())), odd_tensors())

    def test_several_files(self):
        self.assert_equal(self.load_whole(self.convert(odd_tensors(), "--shard-size", "100")), odd_tensors())
        self.assertGreater(len(os.listdir(self.path("run"))), 5)

    def test_empty_dicts_are_dropped_as_torch_does_and_kept_by_lockstep(self):
        path = self.convert({"empty": {}, "full": {"x": 1, "y": {}}})
        self.assertEqual(self.load_whole(path), {"full": {"x": 1}})
        lockstep("convert", path, self.path("back.pt"))
        self.assertEqual(torch.load(self.path("back.pt")), {"full": {"x": 1, "y": {}}, "empty": {}})

    def test_loads_into_a_job(self):
        torch.manual_seed(9)
        path = self.convert(trained())
        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 0}
        dcp.load(state, checkpoint_id=path)
        wanted = trained()
        self.assert_equal(state, {name: wanted[name] for name in state})
        model.load_state_dict(state["model"], strict=True)
        optimizer.load_state_dict(state["optimizer"])
        self.assertEqual(optimizer.param_groups[0]["lr"], 0.01)

    def test_values_that_are_no_plain_tensors(self):
        y, z = torch.rand(2, 3).to(torch.complex64), torch.complex(torch.rand(3), torch.rand(3))
        state = {"conj": y.conj(), "neg": z.conj().imag, "parameter": torch.nn.Parameter(torch.rand(2)),
                 "sparse": torch.eye(3).to_sparse(), "quantized": torch.quantize_per_tensor(torch.rand(4), 0.1, 2, torch.qint8)}
        found = self.load_whole(self.convert(state))
        self.assertTrue(torch.equal(found["conj"], state["conj"]))
        self.assertTrue(torch.equal(found["neg"], state["neg"]))
        self.assertTrue(torch.equal(found["parameter"], state["parameter"].detach()))
        self.assertTrue(torch.equal(found["sparse"].to_dense(), torch.eye(3)))
        self.assertTrue(torch.equal(found["quantized"].int_repr(), state["quantized"].int_repr()))

    def test_what_two_ranks_wrote_as_one_rank_would_have(self):
        torch.multiprocessing.spawn(run_rank, args=(self.path("two"), self.path("store")), nprocs=2)
        lockstep("convert", "--to", "dcp", self.path("two"), self.path("one"))
        whole = sharded()
        plain = whole.pop("plain")
        self.assert_equal(self.load_whole(self.path("one")), {"model": whole, "plain": plain, "step": 5})


@unittest.skipIf(MODERN, "PyTorch since 2.0 has another form")
class Old(Folder):
    def test_one_file_and_many(self):
        state = {f"model.{name}": tensor for name, tensor in odd_tensors().items()}
        state.update(epoch=3, names=["a", {"b": None}])
        for single in (True, False):
            path = self.path(f"run{single}")
            old.save_state_dict(state, old.FileSystemWriter(path, single_file_per_rank=single), no_dist=True)
            self.assert_listed(path, state)


if __name__ == "__main__":
    main()
