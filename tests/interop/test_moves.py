# SPDX-License-Identifier: Apache-2.0
"""The four moves: weights from one or many devices onto one or many, with and without `module.` on their keys."""
import torch

from common import Case, Net, IRIS, iris, main, predict, train

WORLDS = {"single": "host", "many": "host:3"}


class Moves(Case):
    def write_by_torch(self, wrapped, name):
        torch.manual_seed(3)
        model = Net(name=name)
        state = (torch.nn.DataParallel(model) if wrapped else model).state_dict()
        self.assertEqual(next(iter(state)).startswith("module."), wrapped or name == "module")
        torch.save(state, self.path("from.pt"))

    def write_by_lockstep(self, devices, wrapped, name):
        train("--model", "mlp:4,8,3", "--data", IRIS, "--no-standardize", "--devices", devices, "--epochs", 2,
              "--key-prefix", ("module." if wrapped else "") + name + ".", "--save", self.path("run"))
        return self.path("run/last.pt")

    def outputs(self, path, devices, name):
        return predict("--load", path, "--data", IRIS, "--model", "mlp:4,8,3", "--key-prefix", name + ".",
                       "--devices", devices)

    def check(self, path, wrapped, name):
        """Every world reads the same outputs as PyTorch does, and the report names the rule."""
        state = torch.load(path)
        state = state.get("model_state_dict", state)
        if wrapped:
            state = {k[len("module."):]: v for k, v in state.items()}
        model = Net(name=name).eval()
        model.load_state_dict(state, strict=True)
        with torch.no_grad():
            theirs = model(iris()[0])
        for devices in WORLDS.values():
            ours, report = self.outputs(path, devices, name)
            self.assert_same_outputs(ours, theirs)
            if wrapped:
                self.assertIn("strip module.", report)
                self.assertIn(f"module.{name}.0.weight -> {name}.0.weight", report)
            else:
                self.assertNotIn("strip", report)
                self.assertNotIn("renamed", report)

    def test_written_by_torch(self):
        for wrapped in (False, True):
            with self.subTest(module_prefix=wrapped):
                self.write_by_torch(wrapped, "fc")
                self.check(self.path("from.pt"), wrapped, "fc")

    def test_whole_models_written_by_torch(self):
        for wrapped in (False, True):
            with self.subTest(data_parallel=wrapped):
                torch.manual_seed(4)
                model = Net().eval()
                torch.save({"epoch": 1, "model": torch.nn.DataParallel(model) if wrapped else model}, self.path("whole.pt"))
                with torch.no_grad():
                    theirs = model(iris()[0])
                ours, report = self.outputs(self.path("whole.pt"), "host", "fc")
                self.assert_same_outputs(ours, theirs)
                self.assertIn("state dict 'model'", report)
                self.assertEqual("strip module." in report, wrapped)

    def test_written_by_lockstep(self):
        for world, devices in WORLDS.items():
            for wrapped in (False, True):
                with self.subTest(written_on=world, module_prefix=wrapped):
                    self.check(self.write_by_lockstep(devices, wrapped, "fc"), wrapped, "fc")

    def test_training_continues_from_either(self):
        for wrapped in (False, True):
            self.write_by_torch(wrapped, "fc")
            for world, devices in WORLDS.items():
                with self.subTest(module_prefix=wrapped, onto=world):
                    events = train("--model", "mlp:4,8,3", "--data", IRIS, "--no-standardize", "--devices", devices,
                                   "--batch-size", 150, "--key-prefix", "fc.", "--epochs", 1, "--load", self.path("from.pt"))
                    torch.manual_seed(3)
                    x, y = iris()
                    want = torch.nn.functional.cross_entropy(Net()(x), y).item()
                    got = [e["loss"] for e in events if e["event"] == "step"][0]
                    self.assertAlmostEqual(got, want, delta=1e-6 * want)

    def test_a_submodule_that_is_really_called_module(self):
        for wrapped in (False, True):
            with self.subTest(wrapped=wrapped):
                self.write_by_torch(wrapped, "module")
                self.check(self.path("from.pt"), wrapped, "module")

    def test_a_name_that_contains_the_letters(self):
        for wrapped in (False, True):
            with self.subTest(wrapped=wrapped):
                self.write_by_torch(wrapped, "submodule")
                self.check(self.path("from.pt"), wrapped, "submodule")


if __name__ == "__main__":
    main()
