# SPDX-License-Identifier: Apache-2.0
"""By hand, on a machine with a GPU (CI has none): files that PyTorch saves from a GPU are listed with its device tags
and the bytes that the GPU held; what is made of them lands where its tags say, on the GPU or, after --map-location, on
a machine that has none."""
import hashlib
import json
import os
import pickle
import subprocess
import sys

import torch
import torch.nn as nn

from common import IRIS, Case, Net, iris, lockstep, main, predict, train

DTYPES = ("float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128 uint16 uint32 "
          "uint64 float8_e4m3fn float8_e5m2").split()
OF_STREAMS = 12  # the first ones, which have a storage class of their own

LOAD = """
import pickle, sys, torch
print(torch.cuda.is_available())
found = torch.load(sys.argv[1], weights_only=True, mmap=sys.argv[2] == "mmap")
pickle.dump({name: (str(t.device), t.contiguous().view(torch.uint8).flatten().tolist()) for name, t in found.items()},
            open(sys.argv[3], "wb"))
"""


def as_bytes(tensor):
    tensor = tensor.detach().contiguous().cpu()
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def listed(path):
    out, _ = lockstep("inspect", "--json", "--hash", path)
    return {tensor["path"]: tensor for tensor in json.loads(out)["tensors"]}


def on_gpu(hidden=64):
    torch.manual_seed(1)
    return nn.DataParallel(Net(hidden).cuda())


def every_dtype(count=len(DTYPES)):
    bits = torch.randint(0, 2, (12, 16), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    return {name: bits.clone().view(getattr(torch, name)).cuda() for name in DTYPES[:count]}


class OnGpu(Case):
    def assert_lists(self, path, state, device, prefix=""):
        """Every tensor of `state`, with the hash of what the GPU holds."""
        found = listed(path)
        for name, tensor in state.items():
            entry = found[prefix + name]
            self.assertEqual(entry["dtype"], str(tensor.dtype).removeprefix("torch."), name)
            self.assertEqual(entry["shape"], list(tensor.shape), name)
            self.assertEqual(entry["sha256"], hashlib.sha256(as_bytes(tensor)).hexdigest(), name)
            if device:
                self.assertEqual(entry["device"], device, name)

    def load_elsewhere(self, path, mmap, gpu):
        """What another process loads that has a GPU, or none: name -> device, bytes."""
        env = dict(os.environ) if gpu else dict(os.environ, CUDA_VISIBLE_DEVICES="")
        how = "mmap" if mmap else "read"
        done = subprocess.run([sys.executable, "-c", LOAD, path, how, self.path("loaded")], env=env, capture_output=True,
                              text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        self.assertEqual(done.stdout.strip(), str(gpu))
        with open(self.path("loaded"), "rb") as file:
            return pickle.load(file)

    def test_tags_and_bytes_of_both_containers(self):
        for zipped in (True, False):
            for name, state in (("model", on_gpu().state_dict()), ("dtypes", every_dtype())):
                torch.save(state, self.path(name), _use_new_zipfile_serialization=zipped)
                self.assert_lists(self.path(name), state, "cuda:0")

    def test_a_training_checkpoint_and_its_optimizer(self):
        model = on_gpu()
        optimizer = torch.optim.Adam(model.parameters())
        model(torch.ones(4, 4).cuda()).sum().backward()
        optimizer.step()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, self.path("a.pt"))
        self.assert_lists(self.path("a.pt"), model.state_dict(), "cuda:0", "model.")
        moments = {f"{i}.exp_avg": s["exp_avg"] for i, s in optimizer.state_dict()["state"].items()}
        self.assert_lists(self.path("a.pt"), moments, "cuda:0", "optimizer.state.")

    def test_a_whole_model_and_a_script(self):
        model = on_gpu()
        torch.save(model, self.path("whole.pt"))
        lockstep("convert", "--state-dict", self.path("whole.pt"), self.path("state.pt"))
        self.assert_lists(self.path("state.pt"), model.state_dict(), "cuda:0")
        torch.jit.trace(model.module, torch.ones(1, 4).cuda()).save(self.path("script.pt"))
        self.assert_lists(self.path("script.pt"), model.module.state_dict(), None)

    def test_what_is_converted_lands_where_its_tags_say(self):
        kept, moved = self.path("kept.pt"), self.path("moved.pt")
        for form, mmap, count in (("torch_zip", False, len(DTYPES)), ("torch_zip", True, len(DTYPES)),
                                  ("torch_legacy", False, OF_STREAMS)):
            state = every_dtype(count)
            torch.save(state, self.path("a.pt"))
            wanted = {name: list(as_bytes(tensor)) for name, tensor in state.items()}
            lockstep("convert", "--to", form, self.path("a.pt"), kept)
            lockstep("convert", "--to", form, "--map-location", "cpu", self.path("a.pt"), moved)
            found = self.load_elsewhere(kept, mmap, gpu=True)
            self.assertEqual(found, {name: ("cuda:0", value) for name, value in wanted.items()})
            with self.assertRaisesRegex(RuntimeError, "deserialize object on a CUDA device"):
                self.load_elsewhere(kept, mmap, gpu=False)
            for gpu in (True, False):
                found = self.load_elsewhere(moved, mmap, gpu)
                self.assertEqual(found, {name: ("cpu", value) for name, value in wanted.items()})

    def test_tags_and_names_change_in_place(self):
        model = on_gpu()
        torch.save(model.state_dict(), self.path("a.pt"))
        lockstep("convert", "--in-place", "--strip-prefix", "module.", self.path("a.pt"))
        plain = Net(64).cuda()
        plain.load_state_dict(torch.load(self.path("a.pt"), weights_only=True))
        x = torch.rand(32, 4).cuda()
        self.assertTrue(torch.equal(plain(x), model.module(x)))
        lockstep("convert", "--in-place", "--map-location", "cuda:0=cpu", self.path("a.pt"))
        found = self.load_elsewhere(self.path("a.pt"), True, gpu=False)
        self.assertEqual({device for device, _ in found.values()}, {"cpu"})
        self.assertEqual({name: bytes(value) for name, (_, value) in found.items()},
                         {name: as_bytes(tensor) for name, tensor in model.module.state_dict().items()})

    def test_other_formats_from_and_to_a_gpu(self):
        from safetensors.torch import load_file, save_file
        import torch.distributed.checkpoint as dcp
        state = on_gpu().state_dict()
        save_file(state, self.path("a.safetensors"))
        self.assert_lists(self.path("a.safetensors"), state, None)
        torch.save(state, self.path("a.pt"))
        lockstep("convert", self.path("a.pt"), self.path("b.safetensors"))
        for name, tensor in load_file(self.path("b.safetensors"), device="cuda").items():
            self.assertTrue(torch.equal(tensor, state[name]), name)
        dcp.save(state, checkpoint_id=self.path("a.dcp"))
        self.assert_lists(self.path("a.dcp"), state, None)
        lockstep("convert", "--to", "dcp", self.path("a.pt"), self.path("b.dcp"))
        found = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        dcp.load(found, checkpoint_id=self.path("b.dcp"))
        for name, tensor in found.items():
            self.assertTrue(tensor.is_cuda and torch.equal(tensor, state[name]), name)

    def test_what_lockstep_trained_runs_on_a_gpu(self):
        train("--model", "mlp:4,16,3", "--data", IRIS, "--no-standardize", "--devices", "host:3", "--epochs", 3,
              "--key-prefix", "fc.", "--save", self.path("run"))
        model = Net(hidden=16).cuda()
        saved = torch.load(self.path("run/last.pt"), weights_only=True, map_location="cuda")
        model.load_state_dict(saved["model_state_dict"])
        x, _ = iris()
        ours, _ = predict("--data", IRIS, self.path("run/last.pt"))
        self.assert_same_outputs(ours, model(x.cuda()).detach().cpu())


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("on_gpu: PyTorch finds no GPU")
    print(torch.cuda.get_device_name())
    main()
