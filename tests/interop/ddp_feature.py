# SPDX-License-Identifier: Apache-2.0
"""What a feature of replicas is that is compared with DistributedDataParallel: how both sides go through it, and models."""
import contextlib
import threading

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

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


def enter_world(world):
    """Models are smaller in one world and larger in the other than those of which every rank updates all, and not its part
    (LKS_EXCHANGE_EACH_MOST in collectives/exchange.h)."""
    global width
    width = {2: 16, 3: 24}[world]


# --- models -----------------------------------------------------------------------------------------------------------


class Mlp(nn.Sequential):
    def __init__(self, dtype=torch.float32):
        super().__init__(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))
        self.to(dtype)


class Shuffled(nn.Module):
    """Gradients come in no order that the registration tells: layers run in another one, and one weight is used twice."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(width, 3)
        self.scale = nn.Parameter(torch.ones(width))
        self.first = nn.Linear(6, width)
        self.twice = nn.Linear(width, width, bias=False)

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
        self.branches = nn.ModuleList(nn.Linear(6, width) for _ in range(4))
        self.never = nn.Linear(5, 7)
        self.out = nn.Linear(width, 3)

    def forward(self, x, used):
        return self.out(torch.tanh(sum(self.branches[i](x) for i in used)))


class Cast(nn.Module):
    """Parameters of any dtypes, computed with as float32: their gradients have the parameters' dtypes."""

    def __init__(self, *dtypes):
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(n, m) * 0.3) for n, m in ((width, 6), (width, width), (3, width)))
        for i, p in enumerate(self.weights):
            p.data = p.data.to(dtypes[i % len(dtypes)])

    def forward(self, x):
        for weight in self.weights:
            x = torch.tanh(F.linear(x, weight.float()))
        return x


# --- a feature --------------------------------------------------------------------------------------------------------


class Feature:
    reference = "DDP"            # or "formula"
    worlds = WORLDS
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

    def ddp_model(self, rank):
        """DistributedDataParallel as this feature wants it."""
        return DistributedDataParallel(self.model(rank), **self.ddp)

    def by_ddp(self, rank, world):
        model = self.ddp_model(rank)
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

    def by_formula(self, world, seen):
        """For every rank what by_ddp would give. `seen` is what lockstep did, for formulas that leave a choice."""
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

        replica = self.replica(ours, comm, rank)
        states = []
        optimizer = self.torch_optim(replica.parameters) if self.own_update else None
        for step in range(STEPS):
            notes = self.lockstep_step(replica, optimizer, step, rank, world)
            states.append(self.snapshot(replica.module, notes))
        replica.close()
        return states

    def replica(self, ours, comm, rank):
        kind, settings = self.optim
        return ours.Replica(comm, self.lockstep_model(comm, rank),
                            optim=None if self.own_update else ours.optim_config(kind, **settings),
                            reduce=ours.ENUMERATORS[self.reduce], **self.lockstep_options(ours))

    def lockstep_model(self, comm, rank):
        return self.model(rank)

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
            self.lockstep_backward(replica, loss())
            replica.finish() if self.own_update else replica.step()
        if self.own_update:
            return self.own_step(replica, optimizer)
        return {"norm": torch.tensor(replica.grad_norm())} if self.measures else {}

    def lockstep_backward(self, replica, loss):
        loss.backward()

    def own_step(self, replica, optimizer):
        notes = {"norm": torch.tensor(replica.clip_norm(self.clip_norm))} if self.clip_norm else {}
        for i, p in enumerate(replica.parameters):
            p.grad = replica.grad(i) if replica.used(i) else None
        optimizer.step()
        return notes

    def snapshot(self, model, notes=None):
        return {k: v.detach().clone() for k, v in [*model.named_parameters(), *model.named_buffers(), *(notes or {}).items()]}


TINY = dict(options=dict(bucket_bytes=200, first_bucket_bytes=200), ddp=dict(bucket_cap_mb=200 / 2 ** 20))
