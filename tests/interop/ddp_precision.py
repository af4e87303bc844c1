# SPDX-License-Identifier: Apache-2.0
"""Mixed precision, the loss scale, and batch normalization over all ranks. On CPUs PyTorch 1.13 has neither GradScaler nor
SyncBatchNorm, and nothing that keeps masters: the reference is one process that follows the rule."""
import ctypes
import functools
import math

import torch
import torch.nn as nn

from ddp_exchange import UnevenBatchesOneBatch
from ddp_feature import FEATURES, STEPS, TINY, Cast, Feature, Mlp, Normed, Parts, seeded

# --- 16 bits with masters ---------------------------------------------------------------------------------------------


class Masters(Feature):
    """Gradients have the parameters' 16 bits, and are rounded once when they are reduced. An optimizer updates float32
    masters, which are rounded to the parameters."""

    reference = "formula"
    dtypes = (torch.float16,)
    optim = ("AdamW", dict(lr=0.01))

    def make(self):
        return Cast(*self.dtypes)

    def by_formula(self, world, seen):
        model = self.model(0)
        masters = [p.detach().clone().float() for p in model.parameters()]
        optimizer = self.torch_optim(masters)
        scaler = self.scaler_rule()
        states = []
        for step in range(STEPS):
            grads = [self.grads_of(rank, model, step, world, scaler.scale) for rank in range(world)]
            for master, same in zip(masters, zip(*grads)):
                used = [grad for grad in same if grad is not None]
                master.grad = None
                if used:
                    same = [torch.zeros_like(used[0]) if grad is None else grad for grad in same]
                    master.grad = self.reduced(same).float() * scaler.inverse()
            found_inf = not all(m.grad.isfinite().all() for m in masters if m.grad is not None)
            notes = self.clip(masters)
            if not found_inf:
                optimizer.step()
            scaler.update(found_inf)
            with torch.no_grad():
                for (name, p), master in zip(model.named_parameters(), masters):
                    p.copy_(self.rounded(master, seen[0][step][name]))
            states.append(self.snapshot(model, {**notes, **self.scaler_notes(scaler, scaler.skipped)}))
        return [states] * world

    def rounded(self, master, seen):
        """Where a master lies in the middle of two numbers of 16 bits its last bit decides: both are right, and it goes on
        with the one that was seen."""
        nearest = master.to(seen.dtype)
        if seen.dtype == torch.float32:
            return nearest
        further = (seen.float() - master).abs() - (nearest.float() - master).abs()
        return torch.where(further < self.tolerance, seen, nearest)

    def grads_of(self, rank, model, step, world, scale):
        model.zero_grad(set_to_none=True)
        for _, loss in self.losses(model, step, rank, world):
            (loss() * scale).backward()
        return [p.grad for p in model.parameters()]

    def scaler_rule(self):
        return ScalerRule(scale=1, growth_factor=1, backoff_factor=1)

    def scaler_notes(self, scaler, skipped):
        return {}


@FEATURES
class MastersFloat16(Masters):
    pass


@FEATURES
class MastersBfloat16(Masters):
    vars().update(TINY)
    dtypes = (torch.bfloat16,)


@FEATURES
class MastersOfTwoDtypes(Masters):
    vars().update(TINY)
    dtypes = (torch.bfloat16, torch.float32)
    optim = ("SGD", dict(lr=0.2, momentum=0.9, weight_decay=0.01))


@FEATURES
class MastersNoSync(Masters):
    """Accumulated in 16 bits, as torch does it."""

    dtypes = (torch.bfloat16,)
    micro = 2


@FEATURES
class MastersClipped(Masters):
    clip_norm = 0.2
    clip_value = 0.1


# --- the loss scale ---------------------------------------------------------------------------------------------------


class ScalerRule:
    """torch.cuda.amp.GradScaler's. The scale is a float32, what is computed with it is not."""

    skipped = growth_tracker = 0

    def __init__(self, scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000):
        self.scale = torch.tensor(scale).item()
        self.growth_factor, self.backoff_factor, self.growth_interval = growth_factor, backoff_factor, growth_interval

    def inverse(self):
        return torch.tensor(1 / self.scale).float()

    def update(self, found_inf):
        self.skipped += found_inf
        self.growth_tracker = 0 if found_inf else self.growth_tracker + 1
        if found_inf:
            self.scale = torch.tensor(self.scale * self.backoff_factor).item()
        elif self.growth_tracker == self.growth_interval:
            self.scale = torch.tensor(self.scale * self.growth_factor).item()
            self.growth_tracker = 0


class Scaler(Masters):
    """Scale, tracker and skipped steps are compared as well, after every step."""

    settings = {}
    bad = {}  # step: rank, of a loss that is infinite

    def scaler_rule(self):
        return ScalerRule(**self.settings)

    def scaler_notes(self, scaler, skipped):
        return {"scale": torch.tensor(scaler.scale), "tracker": torch.tensor(scaler.growth_tracker),
                "skipped": torch.tensor(skipped)}

    def clip(self, parameters):
        return {k: v.nan_to_num(0, 0) for k, v in super().clip(parameters).items()}

    def loss(self, model, step, rank, world):
        loss = super().loss(model, step, rank, world)
        return loss * math.inf if self.bad.get(step // 10) == rank else loss

    def lockstep_options(self, ours):
        scaler = ours.lks.lks_grad_scaler_default()
        for name, value in self.settings.items():
            setattr(scaler, name, value)
        return dict(super().lockstep_options(ours), grad_scaler=ctypes.pointer(scaler))

    def lockstep_backward(self, replica, loss):
        (loss * replica.loss_scale()).backward()

    def lockstep_step(self, replica, *where):
        notes = super().lockstep_step(replica, *where)
        return {**{k: v.nan_to_num(0, 0) for k, v in notes.items()},
                **self.scaler_notes(replica.grad_scaler(), replica.skipped_steps())}


@FEATURES
class GradScalerDefaults(Scaler):
    """Float32. The last step is a bad one of the last rank but one, the third of the first."""

    optim = ("Adam", dict(lr=0.01))
    bad = {2: 0, 19: 1}

    def make(self):
        return Mlp()


@FEATURES
class GradScalerGrowsAndBacksOff(Scaler):
    settings = dict(scale=1024, growth_interval=3)
    bad = {4: 1, 5: 0, 6: 1, 15: 0}


@FEATURES
class GradScalerFactors(Scaler):
    """The scale is rounded to float32 after each."""

    vars().update(TINY)
    dtypes = (torch.bfloat16, torch.float32)
    settings = dict(scale=1000.1, growth_factor=1.7, backoff_factor=0.3, growth_interval=2)
    bad = {5: 1, 13: 1}


@FEATURES
class GradScalerOverflow(Scaler):
    """Nothing is planted: the scale grows until float16 cannot hold a gradient of some rank."""

    settings = dict(scale=32768, growth_interval=1)
    optim = ("SGD", dict(lr=0.1, momentum=0.9))


@FEATURES
class GradScalerClipped(Scaler):
    """Clipping is of unscaled gradients."""

    settings = dict(scale=256, growth_interval=4)
    bad = {7: 0}
    clip_norm = 0.2


@FEATURES
class GradScalerFindUnused(Scaler):
    """A step that is skipped counts for no parameter, used or not."""

    make = Parts
    options = dict(find_unused=True)
    optim = ("Adam", dict(lr=0.01))
    settings = dict(scale=512, growth_interval=5)
    bad = {1: 0, 2: 1, 7: 0, 11: 1}

    def forward(self, model, x, step, rank):
        return model(x, {(step // 10 + rank) % 3, (step // 20) % 4})


# --- batch normalization over all ranks -------------------------------------------------------------------------------


class SyncNorm(torch.autograd.Function):
    """What include/lockstep/moments.h says, with its two calls."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps, comm):
        import lockstep_ctypes as ours

        ctx.lks, ctx.comm = ours.lks, comm
        rows = x.transpose(0, 1).flatten(1)
        var, mean = torch.var_mean(rows, 1, unbiased=False)
        count = ctypes.c_int64(rows.shape[1])
        ctx.lks.lks_comm_moments(comm, len(mean), ctypes.byref(count), mean.data_ptr(), var.data_ptr())
        ctx.count = count.value
        shape = (1, -1) + (1,) * (x.dim() - 2)
        xmu, invstd = x - mean.view(shape), (var + eps).rsqrt()
        ctx.save_for_backward(xmu, invstd, weight)
        unbiased = var * (ctx.count / (ctx.count - 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return xmu * (invstd * weight).view(shape) + bias.view(shape), mean, unbiased

    @staticmethod
    def backward(ctx, dy, *_):
        xmu, invstd, weight = ctx.saved_tensors
        shape = (1, -1) + (1,) * (dy.dim() - 2)
        over = [d for d in range(dy.dim()) if d != 1]
        sum_dy, sum_dy_xmu = dy.sum(over), (dy * xmu).sum(over)
        grads = sum_dy_xmu * invstd, sum_dy.clone()  # of weight and bias: this rank's part
        ctx.lks.lks_comm_moments_backward(ctx.comm, len(sum_dy), sum_dy.data_ptr(), sum_dy_xmu.data_ptr())
        centred = dy - (sum_dy / ctx.count).view(shape) - xmu * (invstd ** 2 * sum_dy_xmu / ctx.count).view(shape)
        return (centred * (invstd * weight).view(shape), *grads, None, None)


def sync_norm_forward(norm, comm, x):
    y, mean, var = SyncNorm.apply(x, norm.weight, norm.bias, norm.eps, comm)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(var, norm.momentum)
    norm.num_batches_tracked += 1
    return y


@FEATURES
class SyncBatchNorm(UnevenBatchesOneBatch):
    """The reference is torch's BatchNorm on the batches of all ranks as one."""

    make = Normed
    options = dict(buffers="LKS_BUFFERS_LEAVE")

    def lockstep_model(self, comm, rank):
        model = self.model(rank)
        model.norm.forward = functools.partial(sync_norm_forward, model.norm, comm)
        return model


class NormedRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.norm(self.first(x))))


@FEATURES
class SyncBatchNormOfRanksWithoutSamples(SyncBatchNorm):
    make = NormedRows
    optim = ("SGD", dict(lr=0.05))

    def batch(self, step, rank, world):
        count = (step // 10 + rank) % world * 5
        generator = seeded(step, rank)
        return torch.randn(count, 6, generator=generator), torch.randn(count, 3, generator=generator)
