# SPDX-License-Identifier: Apache-2.0
"""Replicas beside PyTorch's DistributedDataParallel over gloo: from the same weights, on the same batches, every parameter
and buffer of every rank is the same after every step.

One class is one feature: `reference` says what it is compared with. It is DDP wherever DDP can do it on CPUs; else
Feature.by_formula of the class, one process that computes every rank's gradients one after the other and combines them
as the documentation says, or by_formula of its own where it has one. To add a feature, write a class with FEATURES on it;
what it does not override is the plain way on both sides.

DDP's ranks are processes, which go through all features in worlds of 2 and of 3 and leave what they saw in a folder. Ours
are threads of this process. Torch computes forward and backward in both."""
import contextlib
import os
import sys
import tempfile
import threading
import unittest
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)

WORLDS = (2, 3)
STEPS = 20
TABLE = []
SEEDING = threading.Lock()  # torch has one generator for all threads


def FEATURES(cls):
    TABLE.append(cls())
    return cls


def seeded(*numbers):
    generator = torch.Generator()
    generator.manual_seed(sum(n * 1009 ** i for i, n in enumerate(numbers)) + 1)
    return generator


# --- models -----------------------------------------------------------------------------------------------------------


class Mlp(nn.Sequential):
    def __init__(self, dtype=torch.float32):
        super().__init__(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
        self.to(dtype)


class Shuffled(nn.Module):
    """Gradients come in no order that the registration tells: layers run in another one, and one weight is used twice."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(16, 3)
        self.scale = nn.Parameter(torch.ones(16))
        self.first = nn.Linear(6, 16)
        self.twice = nn.Linear(16, 16, bias=False)

    def forward(self, x):
        x = torch.tanh(self.twice(torch.tanh(self.first(x))))
        return self.last(torch.tanh(self.twice(x)) * self.scale)


class Normed(nn.Module):
    """Buffers of two dtypes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4, momentum=0.3)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        x = F.pad(x, (0, 3)).view(-1, 1, 3, 3)
        return self.out(torch.tanh(self.norm(self.conv(x))).flatten(1))


class Parts(nn.Module):
    """forward uses the branches it is told to; `never` belongs to none."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(6, 8) for _ in range(4))
        self.never = nn.Linear(5, 7)
        self.out = nn.Linear(8, 3)

    def forward(self, x, used):
        return self.out(torch.tanh(sum(self.branches[i](x) for i in used)))


class Cast(nn.Module):
    """Parameters of any dtypes, computed with as float32: their gradients have the parameters' dtypes."""

    def __init__(self, *dtypes):
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(n, m) * 0.3) for n, m in ((16, 6), (16, 16), (3, 16)))
        for i, p in enumerate(self.weights):
            p.data = p.data.to(dtypes[i % len(dtypes)])

    def forward(self, x):
        for weight in self.weights:
            x = torch.tanh(F.linear(x, weight.float()))
        return x


# --- a feature --------------------------------------------------------------------------------------------------------


class Feature:
    reference = "DDP"            # or "formula"
    tolerance = 1e-5             # of every element; 0: the same bits
    reduce = "LKS_REDUCE_AVG"
    options = {}                 # further ones of lks_replica_options_t
    ddp = {}                     # arguments of DistributedDataParallel
    optim = ("SGD", dict(lr=0.2))  # ours, and torch.optim's
    own_update = False           # lockstep only exchanges, torch.optim updates here, too
    micro = 0                    # steps without synchronization before each one with it
    clip_norm = clip_value = 0

    @property
    def name(self):
        return type(self).__name__

    # What both sides do.

    def make(self):
        return Mlp()

    def model(self, rank):
        """Ranks begin with different weights; rank 0's are the ones that count."""
        with SEEDING:
            torch.manual_seed(rank)
            return self.make()

    def batch(self, step, rank, world):
        generator = seeded(step, rank)
        return torch.randn(5, 6, generator=generator), torch.randn(5, 3, generator=generator)

    def forward(self, model, x, step, rank):
        return model(x)

    def loss(self, model, step, rank, world):
        x, y = self.batch(step, rank, world)
        return F.mse_loss(self.forward(model, x, step, rank), y)

    def losses(self, model, step, rank, world):
        """Of one step, those whose backward does not synchronize and the one whose does."""
        for i in range(self.micro):
            yield False, lambda: self.loss(model, step * 10 + i, rank, world)
        yield True, lambda: self.loss(model, step * 10 + self.micro, rank, world)

    def torch_optim(self, parameters):
        kind, settings = self.optim
        return getattr(torch.optim, kind)(parameters, **settings)

    def clip(self, parameters):
        """torch's clipping; what there is to note: the norm before it."""
        notes = {}
        if self.measures:
            notes["norm"] = torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm or float("inf"))
        if self.clip_value:
            torch.nn.utils.clip_grad_value_(parameters, self.clip_value)
        return notes

    @property
    def measures(self):
        return self.clip_norm or "measure_norm" in self.options

    # The reference: for every step {name: tensor} of a rank, parameters, buffers and what steps return to be noted.

    def by_ddp(self, rank, world):
        model = DistributedDataParallel(self.model(rank), **self.ddp)
        optimizer = self.torch_optim([p for p in model.parameters() if p.requires_grad])
        states = []
        for step in range(STEPS):
            notes = self.ddp_step(model, optimizer, step, rank, world)
            states.append(self.snapshot(model.module, notes))
        return states

    def ddp_step(self, model, optimizer, step, rank, world):
        optimizer.zero_grad(set_to_none=True)
        for sync, loss in self.losses(model, step, rank, world):
            with contextlib.nullcontext() if sync else model.no_sync():
                loss().backward()
        notes = self.clip(list(model.parameters()))
        optimizer.step()
        return notes

    def by_formula(self, world):
        """For every rank what by_ddp would give."""
        models = [self.model(0) for _ in range(world)]
        optimizers = [self.torch_optim(model.parameters()) for model in models]
        states = [[] for _ in range(world)]
        for step in range(STEPS):
            for rank, model in enumerate(models):
                optimizers[rank].zero_grad(set_to_none=True)
                for _, loss in self.losses(model, step, rank, world):
                    loss().backward()
            for same in zip(*(model.parameters() for model in models)):
                if any(p.grad is not None for p in same):
                    reduced = self.reduced([torch.zeros_like(p) if p.grad is None else p.grad for p in same])
                    for p in same:
                        p.grad = reduced.clone()
            for rank, model in enumerate(models):
                notes = self.clip(list(model.parameters()))
                optimizers[rank].step()
                states[rank].append(self.snapshot(model, notes))
        return states

    def reduced(self, grads):
        """The ranks' gradients of one parameter as one: added in float64 if they are that, else in float32, one after
        the other as in comm.h's tree of up to three ranks; rounded once."""
        total = grads[0].to(torch.promote_types(grads[0].dtype, torch.float32))
        for grad in grads[1:]:
            total = total + grad.to(total.dtype)
        return (total / len(grads) if self.reduce == "LKS_REDUCE_AVG" else total).to(grads[0].dtype)

    # Ours.

    def by_lockstep(self, comm, rank, world):
        import lockstep_ctypes as ours

        model = self.model(rank)
        kind, settings = self.optim
        replica = ours.Replica(comm, model, optim=None if self.own_update else ours.optim_config(kind, **settings),
                               reduce=ours.ENUMERATORS[self.reduce], **self.lockstep_options(ours))
        states = []
        optimizer = self.torch_optim(replica.parameters) if self.own_update else None
        for step in range(STEPS):
            notes = self.lockstep_step(replica, optimizer, step, rank, world)
            states.append(self.snapshot(model, notes))
        replica.close()
        return states

    def lockstep_options(self, ours):
        options = dict(self.options)
        if not self.own_update:
            options.update(clip_norm=self.clip_norm, clip_value=self.clip_value)
        return {k: ours.ENUMERATORS.get(v, v) if isinstance(v, str) else v for k, v in options.items()}

    def lockstep_step(self, replica, optimizer, step, rank, world):
        for sync, loss in self.losses(replica.module, step, rank, world):
            replica.set_sync(sync)
            replica.begin()
            for p in replica.parameters:
                p.grad = None
            loss().backward()
            replica.finish() if self.own_update else replica.step()
        if self.own_update:
            return self.own_step(replica, optimizer)
        return {"norm": torch.tensor(replica.grad_norm())} if self.measures else {}

    def own_step(self, replica, optimizer):
        notes = {"norm": torch.tensor(replica.clip_norm(self.clip_norm))} if self.clip_norm else {}
        for i, p in enumerate(replica.parameters):
            p.grad = replica.grad(i)
        optimizer.step()
        return notes

    def snapshot(self, model, notes=None):
        return {k: v.detach().clone() for k, v in [*model.named_parameters(), *model.named_buffers(), *(notes or {}).items()]}


# --- buckets ----------------------------------------------------------------------------------------------------------

TINY = dict(options=dict(bucket_bytes=200, first_bucket_bytes=200), ddp=dict(bucket_cap_mb=200 / 2 ** 20))


@FEATURES
class DefaultBuckets(Feature):
    pass


@FEATURES
class TinyBuckets(Feature):
    vars().update(TINY)


@FEATURES
class OrderThatRegistrationDoesNotTell(Feature):
    make = Shuffled


@FEATURES
class RebuiltTinyBuckets(Feature):
    vars().update(TINY)
    make = Shuffled
    optim = ("Adam", dict(lr=0.01))

    def lockstep_step(self, replica, optimizer, step, rank, world):
        before = [replica.grad_address(i) for i in range(len(replica.parameters))]
        notes = super().lockstep_step(replica, optimizer, step, rank, world)
        moved = before != [replica.grad_address(i) for i in range(len(replica.parameters))]
        if moved != (step == 1):
            raise AssertionError(f"step {step}: gradients {'moved' if moved else 'stayed'}; buckets are rebuilt in step 1 alone")
        return notes


@FEATURES
class ParameterThatIsNotTrained(Feature):
    def make(self):
        model = Mlp()
        model[2].weight.requires_grad_(False)
        return model


# --- reduction --------------------------------------------------------------------------------------------------------


@FEATURES
class Sum(Feature):
    """DDP's mean of losses that are `world` times as large."""

    reduce = "LKS_REDUCE_SUM"

    def ddp_step(self, model, optimizer, step, rank, world):
        optimizer.zero_grad(set_to_none=True)
        (self.loss(model, step * 10, rank, world) * world).backward()
        optimizer.step()


class Uneven(Feature):
    """Ranks have batches of different sizes."""

    def batch(self, step, rank, world):
        count = 2 + (step + 3 * rank) % 7
        generator = seeded(step, rank)
        return torch.randn(count, 6, generator=generator), torch.randn(count, 3, generator=generator)


@FEATURES
class UnevenBatchesMeanOfMeans(Uneven):
    vars().update(TINY)


@FEATURES
class UnevenBatchesOneBatch(Uneven):
    """Each loss is divided by the samples of all ranks and gradients are added: one process with the whole batch."""

    reference = "formula"
    reduce = "LKS_REDUCE_SUM"

    def loss(self, model, step, rank, world):
        count = sum(len(self.batch(step, r, world)[0]) for r in range(world))
        x, y = self.batch(step, rank, world)
        return F.mse_loss(model(x), y, reduction="sum") / (count * y.shape[1])

    def by_formula(self, world):
        model = self.model(0)
        optimizer = self.torch_optim(model.parameters())
        states = []
        for step in range(STEPS):
            batches = [self.batch(step * 10, rank, world) for rank in range(world)]
            x, y = (torch.cat(part) for part in zip(*batches))
            optimizer.zero_grad(set_to_none=True)
            F.mse_loss(model(x), y).backward()
            optimizer.step()
            states.append(self.snapshot(model))
        return [states] * world


class Dtype(Feature):
    """No optimizer of ours updates other dtypes than float32."""

    own_update = True


@FEATURES
class GradientsFloat32(Dtype):
    pass


@FEATURES
class GradientsFloat64(Dtype):
    tolerance = 1e-12

    def make(self):
        return Mlp(torch.float64)

    def batch(self, step, rank, world):
        return [t.double() for t in super().batch(step, rank, world)]


@FEATURES
class GradientsFloat16(Dtype):
    """DDP divides before it adds, and rounds after each: not what is compared here."""

    reference = "formula"
    tolerance = 0

    def make(self):
        return Cast(torch.float16)


@FEATURES
class GradientsBfloat16(Dtype):
    """gloo of PyTorch 1.13 has no bfloat16."""

    reference = "formula"
    tolerance = 0

    def make(self):
        return Cast(torch.bfloat16)


@FEATURES
class GradientsOfTwoDtypes(Dtype):
    vars().update(TINY)

    def make(self):
        return Cast(torch.float32, torch.float64)


# --- optimizers -------------------------------------------------------------------------------------------------------


def optimizer_feature(name, kind, own=False, **settings):
    FEATURES(type(f"Optimizer{name}", (Feature,), dict(optim=(kind, settings), own_update=own, **TINY)))


optimizer_feature("SgdDecay", "SGD", lr=0.2, weight_decay=0.05)
optimizer_feature("SgdMomentum", "SGD", lr=0.1, momentum=0.9)
optimizer_feature("SgdDampening", "SGD", lr=0.02, momentum=0.9, dampening=0.3, maximize=True)
optimizer_feature("SgdNesterov", "SGD", lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01)
optimizer_feature("Adam", "Adam", lr=0.01)
optimizer_feature("AdamDecayAmsgrad", "Adam", lr=0.01, betas=(0.8, 0.99), eps=1e-7, weight_decay=0.1, amsgrad=True)
optimizer_feature("AdamW", "AdamW", lr=0.01)
optimizer_feature("AdamWAmsgrad", "AdamW", lr=0.01, weight_decay=0.3, amsgrad=True)
optimizer_feature("OfTheCallerSgd", "SGD", own=True, lr=0.1, momentum=0.9)
optimizer_feature("OfTheCallerRmsprop", "RMSprop", own=True, lr=0.003)


# --- accumulation -----------------------------------------------------------------------------------------------------


@FEATURES
class NoSync(Feature):
    micro = 2
    optim = ("Adam", dict(lr=0.01))


@FEATURES
class NoSyncAndOwnUpdate(Feature):
    vars().update(TINY)
    make = Shuffled
    micro = 1
    own_update = True
    optim = ("SGD", dict(lr=0.1, momentum=0.5))


@FEATURES
class NoSyncFromTimeToTime(Feature):
    """Also before the first step that synchronizes, and none before the second: buckets are rebuilt in between."""

    vars().update(TINY)
    make = Shuffled

    def losses(self, model, step, rank, world):
        for i in range((2, 0, 1)[step % 3]):
            yield False, lambda: self.loss(model, step * 10 + i, rank, world)
        yield True, lambda: self.loss(model, step * 10 + 9, rank, world)


# --- unused parameters ------------------------------------------------------------------------------------------------


class Unused(Feature):
    """Branches depend on step and rank: some are used by one rank, some by all, some by none; `never` never is."""

    make = Parts
    options = dict(find_unused=True)
    ddp = dict(find_unused_parameters=True)

    def used(self, step, rank):
        return {(step + rank) % 3, (step // 2) % 4}

    def forward(self, model, x, step, rank):
        return model(x, self.used(step // 10, rank))


@FEATURES
class FindUnused(Unused):
    pass


@FEATURES
class FindUnusedTinyBuckets(Unused):
    options = dict(TINY["options"], find_unused=True)
    ddp = dict(TINY["ddp"], find_unused_parameters=True)


@FEATURES
class FindUnusedMomentumAndDecay(Unused):
    """What nobody used keeps value and momentum: no decay either."""

    optim = ("SGD", dict(lr=0.1, momentum=0.9, weight_decay=0.02))


@FEATURES
class FindUnusedAdam(Unused):
    """torch counts the steps of every parameter apart."""

    optim = ("Adam", dict(lr=0.01))


@FEATURES
class FindUnusedClipped(Unused):
    clip_norm = 0.3


@FEATURES
class FindUnusedNoSync(Unused):
    """What a step without synchronization used counts as used in the one that synchronizes. In DDP of PyTorch 1.13 a rank
    that used it there alone then updates it alone, with its own gradient: its ranks drift apart."""

    reference = "formula"
    micro = 1

    def forward(self, model, x, step, rank):
        return model(x, {(step + rank) % 3})


@FEATURES
class FindUnusedButAllAreUsed(Unused):
    def make(self):
        return Mlp()

    def forward(self, model, x, step, rank):
        return model(x)


@FEATURES
class StaticGraph(Feature):
    vars().update(TINY)
    make = Shuffled
    options = dict(TINY["options"], static_graph=True)
    ddp = dict(TINY["ddp"], static_graph=True)
    optim = ("Adam", dict(lr=0.01))


class StaticUnused(Unused):
    ddp = dict(static_graph=True)
    optim = ("Adam", dict(lr=0.01))

    def used(self, step, rank):
        return {0, 2}


@FEATURES
class StaticGraphWithUnused(StaticUnused):
    options = dict(find_unused=True, static_graph=True)


@FEATURES
class StaticGraphAloneWithUnused(StaticUnused):
    options = dict(static_graph=True)


@FEATURES
class StaticGraphUnusedByOneRank(StaticUnused):
    options = dict(find_unused=True, static_graph=True)

    def used(self, step, rank):
        return {0, 2} if rank == 0 else {0, 1}


# --- buffers ----------------------------------------------------------------------------------------------------------


@FEATURES
class BuffersBroadcast(Feature):
    make = Normed


@FEATURES
class BuffersLeft(Feature):
    make = Normed
    options = dict(buffers="LKS_BUFFERS_LEAVE")
    ddp = dict(broadcast_buffers=False)


@FEATURES
class BuffersAveraged(Feature):
    """DDP with the averaging written in front of each step."""

    make = Normed
    options = dict(buffers="LKS_BUFFERS_AVERAGE")
    ddp = dict(broadcast_buffers=False)

    def ddp_step(self, model, optimizer, step, rank, world):
        for buffer in model.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= world
            else:
                dist.broadcast(buffer, 0)
        return super().ddp_step(model, optimizer, step, rank, world)


@FEATURES
class BuffersBroadcastNoSync(Feature):
    make = Normed
    micro = 2


# --- clipping ---------------------------------------------------------------------------------------------------------


@FEATURES
class NormMeasured(Feature):
    """While buckets are updated as they arrive."""

    options = dict(measure_norm=True)
    optim = ("AdamW", dict(lr=0.01))


@FEATURES
class ClipNorm(Feature):
    """Large enough for some steps, too small for others."""

    vars().update(TINY)
    clip_norm = 0.35
    optim = ("SGD", dict(lr=0.1, momentum=0.9))


@FEATURES
class ClipNormOwnUpdate(ClipNorm):
    own_update = True


@FEATURES
class ClipValue(Feature):
    vars().update(TINY)
    clip_value = 0.02
    optim = ("SGD", dict(lr=0.1, momentum=0.9))


@FEATURES
class ClipNormThenValue(Feature):
    clip_norm = 0.3
    clip_value = 0.05
    optim = ("Adam", dict(lr=0.01))


# --- running them -----------------------------------------------------------------------------------------------------


def ddp_rank(rank, folder, names):
    """A process: every feature after the other, in each world that it belongs to."""
    warnings.simplefilter("ignore")
    for world in (w for w in WORLDS if rank < w):
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world)
        for feature in (f for f in TABLE if f.name in names):
            try:
                states = feature.by_ddp(rank, world)
            except Exception as error:
                raise RuntimeError(f"DistributedDataParallel, {feature.name}, rank {rank} of {world}") from error
            torch.save(states, f"{folder}/{feature.name}-{world}-{rank}.pt")
        dist.destroy_process_group()


def largest_difference(ours, reference):
    """Over all tensors, and the name of the one."""
    found = [((ours[k].double() - reference[k].double()).abs().max().item(), k) for k in reference]
    return max(found, key=lambda f: f[0] if f[0] == f[0] else float("inf"))


class ReplicasAreDistributedDataParallel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="lockstep-interop-")
        cls.addClassCleanup(cls.folder.cleanup)
        os.environ.update(GLOG_minloglevel="2", TORCH_CPP_LOG_LEVEL="ERROR")  # DDP's advice about unused parameters
        names = {f.name for f in TABLE if f.reference == "DDP" and any(c in f.name for c in chosen)}
        mp.spawn(ddp_rank, (cls.folder.name, names), nprocs=max(WORLDS))

    def compare(self, feature, world):
        import lockstep_ctypes as ours

        states = ours.run_ranks(world, lambda comm, rank: feature.by_lockstep(comm, rank, world))
        if feature.reference == "DDP":
            reference = [torch.load(f"{self.folder.name}/{feature.name}-{world}-{rank}.pt") for rank in range(world)]
        else:
            reference = feature.by_formula(world)
        worst = 0
        first, last = reference[0][0], reference[0][-1]
        self.assertTrue(any(not torch.equal(first[k], last[k]) for k in first), "nothing was learnt")
        for step in range(STEPS):
            for rank in range(world):
                self.assertEqual(states[rank][step].keys(), reference[rank][step].keys())
                difference, key = largest_difference(states[rank][step], reference[rank][step])
                self.assertLessEqual(difference, feature.tolerance, f"step {step}, rank {rank}, {key}")
                worst = max(worst, difference)
        return worst


def add_tests():
    for feature in TABLE:
        def test(self, feature=feature):
            worst = []
            for world in WORLDS:
                with self.subTest(ranks=world):
                    worst.append(self.compare(feature, world))
            print(f"{feature.reference}, at most {max(worst, default=float('nan')):.1g} ... ", end="", file=sys.stderr)
        setattr(ReplicasAreDistributedDataParallel, f"test_{feature.name}", test)


if __name__ == "__main__":
    print(f"PyTorch {torch.__version__}, Python {sys.version.split()[0]}")
    chosen = [a.rpartition("test_")[2] for a in sys.argv[1:] if "test_" in a] or [""]  # DDP need not run the others
    add_tests()
    unittest.main(verbosity=2)
