# SPDX-License-Identifier: Apache-2.0
"""What becomes of a gradient on its way: 16 bits, PowerSGD, a hook of one's own."""
import ctypes
import types
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

from ddp_feature import FEATURES, TINY, Feature, Shuffled, seeded


def finished(result):
    future = torch.futures.Future()
    future.set_result(result)
    return future


class Hook(Feature):
    kind = None

    def hook(self, ours):
        return ours.lks_comm_hook_t(kind=ours.ENUMERATORS[self.kind])

    def lockstep_options(self, ours):
        return dict(super().lockstep_options(ours), hook=self.hook(ours))

    def ddp_hook(self):
        """State and function of register_comm_hook."""
        raise NotImplementedError

    def ddp_model(self, rank):
        model = super().ddp_model(rank)
        model.register_comm_hook(*self.ddp_hook())
        return model


# --- 16 bits ----------------------------------------------------------------------------------------------------------


def all_reduce_rounding_once(tensor, all_reduce=dist.all_reduce, **_):
    """What gloo of PyTorch 1.13 has not for bfloat16; and float16 it rounds after each addition."""
    wide = tensor.float()
    all_reduce(wide)
    return types.SimpleNamespace(get_future=lambda: finished([wide.to(tensor.dtype)]))


class Compressed(Hook):
    """Gradients are rounded to 16 bits, divided in these, added with more and rounded once: PyTorch's hooks."""

    wire = None
    torch_hook = None

    def ddp_hook(self):
        def run(state, bucket):
            with mock.patch("torch.distributed.all_reduce", all_reduce_rounding_once):
                return type(self).torch_hook(state, bucket)
        return None, run

    def reduced(self, grads):
        sent = [grad.to(self.wire).div_(len(grads)) for grad in grads]
        return sum((part.float() for part in sent[1:]), sent[0].float()).to(self.wire).to(grads[0].dtype)


class Fp16(Compressed):
    kind = "LKS_COMM_HOOK_FP16"
    wire = torch.float16
    torch_hook = default_hooks.fp16_compress_hook


class Bf16(Compressed):
    kind = "LKS_COMM_HOOK_BF16"
    wire = torch.bfloat16
    torch_hook = default_hooks.bf16_compress_hook


@FEATURES
class HookFp16(Fp16):
    pass


@FEATURES
class HookFp16OfGloo(Fp16):
    """A sum of two is rounded once in any case."""

    worlds = (2,)

    def ddp_hook(self):
        return None, type(self).torch_hook


@FEATURES
class HookFp16Bits(Fp16):
    reference = "formula"
    own_update = True
    tolerance = 0


@FEATURES
class HookFp16NoSync(Fp16):
    vars().update(TINY)
    micro = 2


@FEATURES
class HookBf16(Bf16):
    pass


@FEATURES
class HookBf16Bits(Bf16):
    vars().update(TINY)
    reference = "formula"
    own_update = True
    tolerance = 0


@FEATURES
class HookBf16Clipped(Bf16):
    """The norm is that of what came back."""

    clip_norm = 0.3


# --- a hook of one's own ----------------------------------------------------------------------------------------------


@FEATURES
class HookOfTheCaller(Hook):
    """A mean in which a rank counts the more, the higher it is; then every parameter's gradient is made shorter by itself.
    Python on both sides."""

    vars().update(TINY)
    make = Shuffled

    @staticmethod
    def shorten(gradients):
        for gradient in gradients:
            gradient /= 1 + gradient.norm()

    def hook(self, ours):
        def run(comm, bucket):
            bucket.buffer *= 1 + ours.lks.lks_comm_rank(comm)
            ours.all_reduce(comm, bucket.buffer)
            bucket.buffer /= bucket.divisor * (bucket.divisor + 1) // 2
            self.shorten(bucket.gradients.values())
        return ours.hook_of_ones_own(run)

    def ddp_hook(self):
        def run(_, bucket):
            buffer, world = bucket.buffer(), dist.get_world_size()
            buffer *= 1 + dist.get_rank()
            dist.all_reduce(buffer)
            buffer /= world * (world + 1) // 2
            self.shorten(bucket.gradients())
            return finished(buffer)
        return None, run


@FEATURES
class HookOfTheCallerOwnUpdate(HookOfTheCaller):
    own_update = True


# --- PowerSGD ---------------------------------------------------------------------------------------------------------


def all_reduce_at_once(tensor, all_reduce=dist.all_reduce, **_):
    """What comes after it then runs on the caller's thread. On one of gloo's it may be the last to know the process group,
    free it there, and end the process."""
    all_reduce(tensor)
    return types.SimpleNamespace(get_future=lambda: finished([tensor]))


class PowerSgd(Hook):
    """What is random is the same: Q of a step depends on nothing but its shape. DDP compresses from its third step on.
    Larger steps make columns nearly parallel, and rounding shows in the fifth digit."""

    optim = ("SGD", dict(lr=0.1))
    settings = {}

    @property
    def all_settings(self):
        return {"matrix_approximation_rank": 1, "min_compression_rate": 1, **self.settings}

    @staticmethod
    def q(step, columns, rank):
        return torch.empty(columns, rank).normal_(generator=seeded(step, columns, rank))

    def hook(self, ours):
        config = ours.power_sgd_config(start_iter=2, draw=lambda step, _, rank, columns: self.q(step, columns, rank).T,
                                       **self.all_settings)
        return ours.lks_comm_hook_t(kind=ours.ENUMERATORS["LKS_COMM_HOOK_POWER_SGD"], power_sgd=ctypes.pointer(config))

    def ddp_hook(self):
        def run(state, bucket):
            def randn(one, columns, rank, **_):
                return self.q(state.iter, columns, rank)[None]
            with mock.patch("torch.randn", randn), mock.patch("torch.distributed.all_reduce", all_reduce_at_once):
                return powerSGD_hook.powerSGD_hook(state, bucket)
        return powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=2, **self.all_settings), run


@FEATURES
class PowerSgdRank1(PowerSgd):
    pass


@FEATURES
class PowerSgdRank2TinyBuckets(PowerSgd):
    """One matrix is too small for it."""

    vars().update(TINY)
    settings = dict(matrix_approximation_rank=2)


@FEATURES
class PowerSgdRank4(PowerSgd):
    """PyTorch: by QR."""

    settings = dict(matrix_approximation_rank=4, min_compression_rate=0.5)


@FEATURES
class PowerSgdColdStart(PowerSgd):
    settings = dict(warm_start=False, orthogonalization_epsilon=1e-8)


@FEATURES
class PowerSgdWithoutErrorFeedback(PowerSgd):
    settings = dict(use_error_feedback=False)
    optim = ("SGD", dict(lr=0.1, momentum=0.9))
