# SPDX-License-Identifier: Apache-2.0
"""Training follows PyTorch's from the same weights on the same batches: loss to 1e-5, weights to 1e-4, 50 steps."""
import torch

from common import Case, Net, IRIS, iris, losses, main, train

STEPS = 50
OPTIMIZERS = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.02), ["--lr", 0.02]),
    "sgd momentum": (lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9), ["--lr", 0.01, "--momentum", 0.9]),
    "sgd dampening": (lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, dampening=0.3),
                      ["--lr", 0.01, "--momentum", 0.9, "--dampening", 0.3]),
    "sgd nesterov": (lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8, nesterov=True, weight_decay=0.01),
                     ["--lr", 0.01, "--momentum", 0.8, "--nesterov", "--weight-decay", 0.01]),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.01), ["--lr", 0.01]),
    "adam small": (lambda p: torch.optim.Adam(p, lr=0.0005), ["--lr", 0.0005]),
    "adam decay": (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1), ["--lr", 0.01, "--weight-decay", 0.1]),
    "adam amsgrad": (lambda p: torch.optim.Adam(p, lr=0.02, amsgrad=True, betas=(0.8, 0.99), eps=1e-7),
                     ["--lr", 0.02, "--amsgrad", "--beta1", 0.8, "--beta2", 0.99, "--eps", 1e-7]),
    "adamw": (lambda p: torch.optim.AdamW(p, lr=0.01), ["--lr", 0.01]),
    "adamw amsgrad": (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.3, amsgrad=True),
                      ["--lr", 0.01, "--weight-decay", 0.3, "--amsgrad"]),
}


def philox(key, counter):
    """Philox4x32-10 (Salmon et al. 2011): four words of a 64-bit key and four counter words."""
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    c = list(counter)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def epoch_order(count, seed, epoch):
    """The sampler's permutation, written down a second time: Fisher-Yates over Philox, stream 2 + epoch."""
    words, block = [], 0
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        while True:
            if len(words) < 2:
                words += philox(seed, [block, 0, 2, epoch])
                block += 1
            low, high = words.pop(0), words.pop(0)
            product = (high << 32 | low) * (i + 1)
            if product % 2**64 >= (2**64 - (i + 1)) % (i + 1):
                break
        j = product >> 64
        order[i], order[j] = order[j], order[i]
    return order


def mean_over_samples(model, x, y):
    return torch.nn.functional.cross_entropy(model(x), y)


def mean_over_ranks(ranks):
    """What DistributedDataParallel's gradients are of, on the parts that the ranks get of a batch."""
    def loss(model, x, y):
        sizes = [len(x) // ranks + (rank < len(x) % ranks) for rank in range(ranks)]
        parts = zip(x.split(sizes), y.split(sizes))
        return sum(mean_over_samples(model, *part) for part in parts) / ranks
    return loss


class Follows(Case):
    def follow(self, name, devices, batch_size=150, extra=(), accumulate=1, loss_of=mean_over_samples, clip=lambda p: None):
        make, flags = OPTIMIZERS[name]
        torch.manual_seed(7)
        model = Net(hidden=16)
        torch.save(model.state_dict(), self.path("initial.pt"))
        events = train("--model", "mlp:4,16,3", "--data", IRIS, "--no-standardize", "--devices", devices, "--batch-size",
                       batch_size, "--accumulate", accumulate, "--optimizer", name.split()[0], *flags, *extra, "--epochs", 0,
                       "--max-steps", STEPS,
                       "--key-prefix", "fc.", "--seed", 9, "--load", self.path("initial.pt"), "--save", self.path("run"))
        ours = losses(events)
        self.assertEqual(len(ours), STEPS)
        x, y = iris()
        optimizer = make(model.parameters())
        size = batch_size * accumulate
        steps = -(-150 // size)
        for step, got in enumerate(ours):
            at = step % steps * size
            batch = epoch_order(150, 9, step // steps)[at:at + size]
            optimizer.zero_grad()
            loss_of(model, x[batch], y[batch]).backward()
            with torch.no_grad():
                loss = mean_over_samples(model, x[batch], y[batch])
            clip(model.parameters())
            optimizer.step()
            self.assertLess(abs(got - loss.item()), 1e-5 * loss.item(), f"{name}, step {step}")
        state = torch.load(self.path("run/last.pt"))["model_state_dict"]
        for key, tensor in model.state_dict().items():
            self.assert_close(state[key], tensor, 1e-4, 1e-4)

    def test_one_replica(self):
        for name in OPTIMIZERS:
            with self.subTest(optimizer=name):
                self.follow(name, "host")

    def test_mini_batches_with_an_uneven_tail(self):
        for devices in ("host", "host:3"):
            with self.subTest(devices=devices):
                self.follow("adam", devices, batch_size=32)

    def test_three_replicas(self):
        for name in ("sgd nesterov", "adam", "adamw amsgrad"):
            with self.subTest(optimizer=name):
                self.follow(name, "host:3")

    def test_clipped_norms(self):
        for devices in ("host", "host:3"):
            with self.subTest(devices=devices):
                self.follow("sgd momentum", devices, 32, ["--clip-norm", 0.3],
                            clip=lambda p: torch.nn.utils.clip_grad_norm_(p, 0.3))

    def test_clipped_values(self):
        for devices in ("host", "host:3"):
            with self.subTest(devices=devices):
                self.follow("sgd momentum", devices, 32, ["--clip-value", 0.02],
                            clip=lambda p: torch.nn.utils.clip_grad_value_(p, 0.02))

    def test_accumulated_batches(self):
        # 150 samples are a step of 4 x 16 twice, and one of 22 in 4 pieces
        for devices in ("host", "host:3"):
            with self.subTest(devices=devices):
                self.follow("adam", devices, 16, accumulate=4)
        self.follow("sgd momentum", "host:2", 16, ["--clip-norm", 0.3], accumulate=4,
                    clip=lambda p: torch.nn.utils.clip_grad_norm_(p, 0.3))

    def test_the_mean_of_ranks(self):
        for accumulate in (1, 2):
            with self.subTest(accumulate=accumulate):
                self.follow("sgd momentum", "host:3", 16, ["--grad-average", "ranks"], accumulate=accumulate,
                            loss_of=mean_over_ranks(3))

    def test_buckets_of_any_size(self):
        self.follow("adam", "host:3", 32, ["--bucket-mb", 0, "--first-bucket-mb", 0])
        self.follow("adam", "host:3", 32, ["--bucket-mb", 0.0002, "--first-bucket-mb", 1e-4])


class MixedPrecision(Case):
    """16-bit weights and gradients, float32 masters, GradScaler's rule: written down with PyTorch's own roundings. Another
    order of a float32 sum may turn a rounding, which moves a gradient by 2^-8 (bfloat16) of itself at most."""

    def follow(self, dtype, name, ranks, scaled, clip=None):
        steps, size = 20, 64
        make, flags = OPTIMIZERS[name]
        torch.manual_seed(5)
        model, half = Net(hidden=16), Net(hidden=16).to(dtype)
        torch.save(half.state_dict(), self.path("initial.pt"))
        masters = [p.detach().float().requires_grad_() for p in half.parameters()]
        optimizer, scale, skipped = make(masters), 65536.0 if scaled else 1.0, 0
        flags = [*flags, *(["--clip-norm", clip] if clip else []), *([] if scaled else ["--loss-scale", "none"])]
        events = train("--model", "mlp:4,16,3", "--data", IRIS, "--no-standardize", "--devices", f"host:{ranks}",
                       "--batch-size", size, "--optimizer", name.split()[0], *flags, "--epochs", 0, "--max-steps", steps,
                       "--key-prefix", "fc.", "--seed", 9, "--load", self.path("initial.pt"), "--save", self.path("run"),
                       "--precision", str(dtype).split(".")[1])
        x, y = iris()
        for step, event in enumerate(e for e in events if e["event"] == "step"):
            at = step % 3 * size
            batch = epoch_order(150, 9, step // 3)[at:at + size]
            with torch.no_grad():
                for p, master in zip(model.parameters(), masters):
                    p.copy_(master.to(dtype).float())
            loss = mean_over_samples(model, x[batch], y[batch]).item()
            self.assertLess(abs(event["loss"] - loss), 1e-4 * loss, f"step {step}")
            self.assertEqual(event["loss_scale"], scale if scaled else None)
            sums = self.reduced_gradients(model, x[batch], y[batch], ranks, scale, dtype)
            if not all(torch.isfinite(g).all() for g in sums):
                self.assertTrue(scaled)
                scale, skipped = scale * 0.5, skipped + 1
                continue
            for master, g in zip(masters, sums):
                master.grad = g.float() / scale
            if clip:
                torch.nn.utils.clip_grad_norm_(masters, clip)
            optimizer.step()
        ckpt = torch.load(self.path("run/last.pt"))
        self.compare(ckpt, half, masters, dtype)
        self.assertEqual(events[-1]["skipped_steps"], skipped)
        if scaled:
            self.assertEqual(ckpt["grad_scaler"]["scale"], scale)
        return skipped

    def reduced_gradients(self, model, x, y, ranks, scale, dtype):
        sizes = [len(x) // ranks + (rank < len(x) % ranks) for rank in range(ranks)]
        sums = [torch.zeros_like(p) for p in model.parameters()]
        for part, labels in zip(x.split(sizes), y.split(sizes)):
            model.zero_grad()
            mean = torch.nn.functional.cross_entropy(model(part), labels, reduction="sum") / len(x)
            (mean * scale).backward()
            for total, p in zip(sums, model.parameters()):
                total += p.grad.to(dtype).float()
        return [total.to(dtype) for total in sums]

    def compare(self, ckpt, half, masters, dtype):
        half.load_state_dict(ckpt["model_state_dict"])
        for (name, p), master in zip(half.named_parameters(), masters):
            self.assertEqual(ckpt["model_state_dict"][name].dtype, dtype)
            ours = ckpt["master_params"][name]
            self.assertTrue(torch.equal(p, ours.to(dtype)), name)
            self.assert_close(ours, master.detach(), 1e-5)

    def test_bfloat16(self):
        for ranks in (1, 2, 3):
            for name in ("sgd momentum", "adam small"):
                with self.subTest(ranks=ranks, optimizer=name):
                    self.follow(torch.bfloat16, name, ranks, scaled=False)

    def test_float16(self):
        for ranks in (1, 2, 3):
            for name in ("sgd momentum", "adam small"):
                with self.subTest(ranks=ranks, optimizer=name):
                    self.assertGreater(self.follow(torch.float16, name, ranks, scaled=True), 0)

    def test_unscaled_and_then_clipped(self):
        self.follow(torch.float16, "sgd momentum", 3, scaled=True, clip=0.5)
        self.follow(torch.bfloat16, "sgd momentum", 2, scaled=False, clip=0.5)

    def test_pytorch_goes_on(self):
        """What a PyTorch user does with the file: the model in its dtype, an optimizer of its masters, GradScaler."""
        train("--model", "mlp:4,8,3", "--data", IRIS, "--devices", "host:2", "--optimizer", "adam", "--epochs", 3,
              "--key-prefix", "fc.", "--save", self.path("run"), "--precision", "float16")
        ckpt = torch.load(self.path("run/last.pt"))
        model = Net().half()
        model.load_state_dict(ckpt["model_state_dict"])
        masters = [ckpt["master_params"][name].requires_grad_() for name, _ in model.named_parameters()]
        optimizer = torch.optim.Adam(masters)
        optimizer.load_state_dict(ckpt["optimizer_state_dict"])
        for state in optimizer.state.values():
            self.assertEqual(state["exp_avg"].dtype, torch.float32)
        self.assertEqual(set(ckpt["grad_scaler"]), {"scale", "growth_factor", "backoff_factor", "growth_interval",
                                                    "_growth_tracker"})
        scaler = torch.cuda.amp.GradScaler(enabled=False)
        scaler._enabled = True  # state_dict without a GPU
        scaler._scale = scaler._growth_tracker = None
        scaler.load_state_dict(ckpt["grad_scaler"])
        self.assertEqual(scaler.state_dict(), ckpt["grad_scaler"])


class SameJob(Case):
    JOB = ["--model", "mlp:4,32,32,3,dropout=0.3", "--data", IRIS, "--optimizer", "adamw", "--lr", 0.01, "--batch-size",
           24, "--seed", 11, "--scheduler", "cosine:30", "--epochs", 0, "--max-steps", 100]

    def weights(self, run):
        ckpt = torch.load(self.path(run + "/last.pt"))
        tensors = list(ckpt["model_state_dict"].values()) + list(ckpt.get("master_params", {}).values())
        for state in ckpt["optimizer_state_dict"]["state"].values():
            tensors += state.values()
        return tensors, ckpt

    def assert_same_bits(self, a, b):
        self.assertEqual(len(a), len(b))
        for x, y in zip(a, b):
            self.assertEqual(x.dtype, y.dtype)
            bits = {2: torch.int16, 4: torch.int32}[x.element_size()]
            self.assertTrue(torch.equal(x.view(-1).view(bits), y.view(-1).view(bits)))

    def test_replicas_do_not_change_the_loss_curve(self):
        one = losses(train(*self.JOB, "--devices", "host"))
        three = losses(train(*self.JOB, "--devices", "host:3"))
        self.assertEqual((len(one), len(three)), (100, 100))
        for step, (a, b) in enumerate(zip(one, three)):
            self.assertLess(abs(a - b), 1e-5 * a, f"step {step}")

    def test_two_runs_are_bitwise_equal(self):
        for run in ("a", "b"):
            train(*self.JOB, "--devices", "host:3", "--save", self.path(run))
        self.assert_same_bits(self.weights("a")[0], self.weights("b")[0])

    def test_resuming_changes_no_bit(self):
        # 120 samples in batches of 24 are 5 steps an epoch with validation: step 50 ends an epoch, step 52 does not
        small = ["--precision", "bfloat16", "--val-fraction", 0.2, "--accumulate", 2, "--clip-norm", 0.5]
        scaled = ["--precision", "float16", "--no-standardize"]  # the first gradients overflow
        for cut, flags in ((50, ["--val-fraction", 0.2]), (52, ["--val-fraction", 0.2]), (50, []), (52, small), (52, scaled),
                           (1, scaled)):
            with self.subTest(cut=cut, flags=flags):
                job = [*self.JOB, *flags, "--devices", "host:3"]
                whole = losses(train(*job, "--save", self.path("whole")))
                first = losses(train(*job, "--save", self.path("cut"), "--max-steps", cut))
                second = losses(train("--resume", self.path("cut/last.pt"), "--devices", "host:3", "--max-steps", 100,
                                      "--save", self.path("cut")))
                self.assertEqual(first + second, whole)
                a, whole_ckpt = self.weights("whole")
                b, cut_ckpt = self.weights("cut")
                self.assert_same_bits(a, b)
                for key in ("epoch", "lr_scheduler", "loss", "best_prec", "grad_scaler"):
                    self.assertEqual(whole_ckpt.get(key), cut_ckpt.get(key), key)
                self.assertEqual(whole_ckpt["lockstep"]["sampler"], cut_ckpt["lockstep"]["sampler"])
                self.assertEqual(whole_ckpt["lockstep"]["metrics"]["epoch_loss"], cut_ckpt["lockstep"]["metrics"]["epoch_loss"])


if __name__ == "__main__":
    main()
