# SPDX-License-Identifier: Apache-2.0
"""Names are what PyTorch's own wrappers make of them: keys, their order, _metadata, and those in optimizers."""
import unittest

import torch
import torch.nn as nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

from common import Case, lockstep, main

VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])


class Everything(nn.Module):
    """Whatever has an effect on what state_dict() lists."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.tied = self.first
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("kept", torch.ones(1))
        self.register_buffer("passing", torch.ones(1), persistent=False)
        self.register_buffer("nothing", None)
        self.numbers = nn.ParameterList([nn.Parameter(torch.full((1,), float(i))) for i in range(12)])
        self.names = nn.ParameterDict({"x": nn.Parameter(torch.ones(1))})
        self.blocks = nn.ModuleDict({"module": nn.Sequential(nn.Conv1d(3, 3, 1), nn.ReLU(), nn.BatchNorm1d(3))})
        self.lstm = nn.LSTM(3, 4, 2)
        self.submodule = nn.MultiheadAttention(4, 2)
        self.attribute = torch.ones(5)


class Names(Case):
    def convert(self, value, *flags):
        torch.save(value, self.path("in.pt"))
        lockstep("convert", *flags, self.path("in.pt"), self.path("out.pt"))
        return torch.load(self.path("out.pt"))

    def assert_same(self, found, wanted, metadata=True):
        self.assertEqual(list(found), list(wanted))
        for key in wanted:
            self.assertTrue(torch.equal(found[key], wanted[key]), key)
        if metadata:
            self.assertEqual(list(found._metadata.items()), list(wanted._metadata.items()))

    def test_prefixes_are_those_of_data_parallel(self):
        model = Everything()
        once = nn.DataParallel(model)
        twice = nn.DataParallel(once)
        plain = {"model": model.state_dict(), "optimizer": torch.optim.Adam(model.parameters()).state_dict()}
        found = self.convert(plain, "--add-prefix", "module.")
        self.assert_same(found["model"], once.state_dict())
        self.assertEqual(found["optimizer"], plain["optimizer"])
        self.assert_same(self.convert(plain, "--add-prefix", "module.module.")["model"], twice.state_dict())
        self.assert_same(self.convert(twice.state_dict(), "--strip-prefix", "module."), once.state_dict())
        self.assert_same(self.convert(twice.state_dict(), "--canonical", "wrappers"), model.state_dict())
        self.assert_same(self.convert(twice.state_dict(), "--rename", r"^(module\.)+="), model.state_dict())
        self.assert_same(self.convert(model.state_dict(), "--canonical", "wrappers"), model.state_dict())

    def test_in_place(self):
        model = Everything()
        torch.save({"epoch": 3, "model": nn.DataParallel(model).state_dict()}, self.path("in.pt"))
        lockstep("convert", "--in-place", "--canonical", "wrappers", self.path("in.pt"))
        found = torch.load(self.path("in.pt"))
        self.assertEqual(found["epoch"], 3)
        self.assert_same(found["model"], model.state_dict())

    def test_wrappers_inside_come_off(self):
        # CheckpointWrapper hides itself from state_dict(), but not from wrappers in it nor from named_parameters().
        model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2)))
        plain = model.state_dict()
        model[1][1] = checkpoint_wrapper(model[1][1])
        model = nn.DataParallel(nn.Sequential(*model))
        names = [name for name, _ in model.named_parameters()]
        self.assertIn("module.1.1._checkpoint_wrapped_module.weight", names)
        found = self.convert({name: p.detach() for name, p in model.named_parameters()}, "--canonical", "wrappers")
        self.assert_same(found, plain, metadata=False)

    def test_averaged_models(self):
        model = nn.Sequential(nn.Linear(2, 2))
        averaged = AveragedModel(model)
        found = self.convert(averaged.state_dict(), "--canonical", "wrappers")
        self.assertEqual(list(found), ["n_averaged", "0.weight", "0.bias"])

    @unittest.skipIf(VERSION < (2, 1), "torch.compile is younger")
    def test_compiled_models(self):
        model = Everything()
        for wrapped in (torch.compile(model), nn.DataParallel(torch.compile(model)), torch.compile(nn.DataParallel(model))):
            self.assertTrue(any("_orig_mod." in key for key in wrapped.state_dict()))
            self.assert_same(self.convert(wrapped.state_dict(), "--canonical", "wrappers"), model.state_dict())

    @unittest.skipIf(VERSION < (2, 6), "optimizers over named parameters are younger")
    def test_optimizers_that_have_names(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        wrapped = nn.DataParallel(model)
        optimizer = torch.optim.Adam(wrapped.named_parameters())
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        found = self.convert({"model": wrapped.state_dict(), "optimizer": optimizer.state_dict()}, "--canonical", "wrappers")
        self.assertEqual(found["optimizer"]["param_groups"][0]["param_names"], list(model.state_dict()))
        self.assertEqual(list(found["optimizer"]["state"]), [0, 1, 2, 3])

    def test_whole_models_have_the_names_of_their_state_dict(self):
        models = [Everything(), nn.DataParallel(Everything()), nn.Linear(1, 1),
                  nn.Sequential(Everything(), nn.TransformerEncoderLayer(4, 2)),
                  AveragedModel(nn.DataParallel(Everything()), avg_fn=max),
                  nn.utils.weight_norm(nn.Linear(3, 3)), nn.utils.spectral_norm(nn.Linear(3, 3))]
        for model in models:
            with self.subTest(model=type(model).__name__):
                wanted = model.state_dict()
                self.assert_same(self.convert(model, "--state-dict"), wanted, metadata=False)
                self.assert_same(self.convert({"epoch": 1, "model": model}, "--state-dict"), wanted, metadata=False)

    def test_script_archives_have_the_names_of_their_state_dict(self):
        model = nn.Sequential(nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4), nn.Sequential(nn.PReLU(), nn.Flatten()), nn.Linear(4, 2))
        for script in (torch.jit.script(model), torch.jit.trace(model.eval(), torch.ones(1, 3, 1))):
            with self.subTest(kind=type(script).__name__):
                script.save(self.path("in.pt"))
                lockstep("convert", "--state-dict", self.path("in.pt"), self.path("out.pt"))
                self.assert_same(torch.load(self.path("out.pt")), script.state_dict(), metadata=False)


if __name__ == "__main__":
    main()
