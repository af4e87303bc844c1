# SPDX-License-Identifier: Apache-2.0
"""What is exchanged and when: buckets, reduction, optimizers, accumulation, unused parameters, buffers, clipping."""
import torch
import torch.distributed as dist
import torch.nn.functional as F

from ddp_feature import FEATURES, STEPS, TINY, Cast, Feature, Mlp, Normed, Parts, Shuffled, seeded

# --- buckets ----------------------------------------------------------------------------------------------------------

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

    def by_formula(self, world, seen):
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
class FindUnusedOwnUpdate(FindUnusedMomentumAndDecay):
    own_update = True


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
class StaticGraphWithUnusedOwnUpdate(StaticGraphWithUnused):
    own_update = True
    optim = ("AdamW", dict(lr=0.01))


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
