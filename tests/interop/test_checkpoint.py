# SPDX-License-Identifier: Apache-2.0
"""The checkpoint of a 3-replica job is a checkpoint of PyTorch."""
import json
import zipfile
import hashlib

import torch

from common import Case, Net, IRIS, iris, lockstep, main, predict, standardized, train

JOB = ["--model", "mlp:4,8,3", "--data", IRIS, "--devices", "host:3", "--batch-size", 30, "--key-prefix", "fc."]


class Checkpoint(Case):
    def job(self, *extra):
        train(*JOB, *extra, "--save", self.path("run"))
        return torch.load(self.path("run/last.pt"))

    def test_keys_are_those_people_write(self):
        ckpt = self.job("--epochs", 3, "--optimizer", "adam")
        self.assertEqual(list(ckpt), ["epoch", "model_state_dict", "optimizer_state_dict", "lr_scheduler", "loss",
                                      "best_prec", "args", "lockstep"])
        self.assertEqual(ckpt["epoch"], 3)
        self.assertIs(type(ckpt["args"]), dict)
        self.assertEqual(ckpt["args"]["model"], "mlp:4,8,3")
        self.assertEqual(ckpt["lockstep"]["world_size"], 3)
        self.assertEqual(ckpt["lockstep"]["layout"], 1)
        self.assertIsNone(ckpt["lr_scheduler"])

    def test_state_dict_loads_strictly_and_predicts_the_same(self):
        ckpt = self.job("--epochs", 40, "--optimizer", "adam", "--lr", 0.02, "--val-fraction", 0.2)
        model = Net().eval()
        self.assertEqual(str(model.load_state_dict(ckpt["model_state_dict"], strict=True)), "<All keys matched successfully>")
        self.assertEqual(ckpt["model_state_dict"]._metadata["fc.0"], {"version": 1})
        ours, _ = predict("--load", self.path("run/last.pt"), "--data", IRIS, "--devices", "host:2")
        with torch.no_grad():
            theirs = model(standardized(iris()[0], ckpt))
        self.assertEqual(tuple(ours.shape), (150, 3))
        self.assert_same_outputs(ours, theirs)

    def test_tensors_do_not_share_a_storage(self):
        ckpt = self.job("--epochs", 1)
        for name, tensor in ckpt["model_state_dict"].items():
            self.assertEqual(tensor.storage().size(), tensor.numel(), name)

    def test_optimizers_load_and_step(self):
        for name, flags, make in (
            ("adam", [], lambda p: torch.optim.Adam(p)),
            ("adam", ["--amsgrad", "--weight-decay", 0.1], lambda p: torch.optim.Adam(p, amsgrad=True)),
            ("adamw", [], lambda p: torch.optim.AdamW(p)),
            ("sgd", ["--momentum", 0.9, "--nesterov"], lambda p: torch.optim.SGD(p, lr=1.0)),
            ("sgd", [], lambda p: torch.optim.SGD(p, lr=1.0)),
        ):
            with self.subTest(optimizer=name, flags=flags):
                ckpt = self.job("--epochs", 2, "--optimizer", name, "--lr", 0.03, *flags)
                model = Net()
                model.load_state_dict(ckpt["model_state_dict"])
                optimizer = make(model.parameters())
                optimizer.load_state_dict(ckpt["optimizer_state_dict"])
                self.assertEqual(optimizer.param_groups[0]["lr"], 0.03)
                state = optimizer.state_dict()["state"]
                if name != "sgd":
                    self.assertEqual(float(state[0]["step"]), 10.0)
                    self.assertEqual(tuple(state[0]["exp_avg"].shape), (8, 4))
                x, y = iris()
                torch.nn.functional.cross_entropy(model(standardized(x, ckpt)), y).backward()
                optimizer.step()

    def test_schedulers_load_and_continue(self):
        make = {
            "step:2,0.5": lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
            "multistep:1,3": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [1, 3]),
            "cosine:7,0.001": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 7, 0.001),
        }
        for description, build in make.items():
            with self.subTest(scheduler=description):
                ckpt = self.job("--epochs", 4, "--lr", 0.1, "--scheduler", description)
                model = Net()
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                optimizer.load_state_dict(ckpt["optimizer_state_dict"])
                scheduler = build(optimizer)
                scheduler.load_state_dict(ckpt["lr_scheduler"])
                # the same schedule run by PyTorch from the start
                reference = build(torch.optim.SGD(Net().parameters(), lr=0.1))
                for _ in range(4):
                    reference.optimizer.step()
                    reference.step()
                loaded, wanted = scheduler.state_dict(), reference.state_dict()
                loaded.setdefault("verbose", None)  # which the newest schedulers no longer have
                self.assertEqual(loaded, {"verbose": loaded["verbose"], **wanted})
                self.assertEqual(ckpt["optimizer_state_dict"]["param_groups"][0]["lr"], reference.get_last_lr()[0])

    def test_archive_is_sound_and_laid_out_as_torchs(self):
        self.job("--epochs", 1, "--optimizer", "adam")
        with zipfile.ZipFile(self.path("run/last.pt")) as archive:
            self.assertIsNone(archive.testzip())
            names = archive.namelist()
            self.assertTrue(names[0].endswith("/data.pkl"), names[0])
            self.assertIn(names[0].replace("data.pkl", "version"), names)
            for info in archive.infolist():
                self.assertEqual(info.compress_type, zipfile.ZIP_STORED)

    def test_inspect_sees_what_torch_sees(self):
        ckpt = self.job("--epochs", 2, "--optimizer", "adam")
        listing = json.loads(lockstep("inspect", "--json", "--hash", self.path("run/last.pt"))[0])
        found = {t["path"]: t for t in listing["tensors"]}
        for key, tensor in ckpt["model_state_dict"].items():
            entry = found["model_state_dict." + key]
            self.assertEqual(entry["shape"], list(tensor.shape))
            self.assertEqual(entry["stride"], list(tensor.stride()))
            self.assertEqual(entry["dtype"], "float32")
            self.assertEqual(entry["device"], "cpu")
            self.assertEqual(entry["sha256"], hashlib.sha256(tensor.numpy().tobytes()).hexdigest())
        values = {v["path"]: v["value"] for v in listing["values"]}
        self.assertEqual(values["epoch"], 2)
        self.assertEqual(values["loss"], ckpt["loss"])
        self.assertEqual(values["optimizer_state_dict.param_groups.0.params.3"], 3)

    def test_resumes_a_job_that_pytorch_saved(self):
        torch.manual_seed(0)
        model, (x, y) = Net(), iris()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        torch.save({"epoch": 5, "model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict(),
                    "loss": torch.tensor(1.0), "best_prec": torch.tensor([50.0])}, self.path("theirs.pt"))
        train("--model", "mlp:4,8,3", "--data", IRIS, "--no-standardize", "--batch-size", 150, "--optimizer", "adam",
              "--key-prefix", "fc.", "--epochs", 8, "--resume", self.path("theirs.pt"), "--save", self.path("run"))
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        ckpt = torch.load(self.path("run/last.pt"))
        self.assertEqual(ckpt["epoch"], 8)
        self.assertEqual(float(ckpt["optimizer_state_dict"]["state"][0]["step"]), 8.0)
        for key, tensor in model.state_dict().items():
            self.assert_close(ckpt["model_state_dict"][key], tensor, 1e-6)


if __name__ == "__main__":
    main()
