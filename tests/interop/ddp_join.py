# SPDX-License-Identifier: Apache-2.0
"""Ranks that run out of inputs before others do. A rank has states for the steps that it takes, and one for the end."""
import contextlib

from torch.distributed.algorithms.join import Join

from ddp_feature import FEATURES, STEPS, TINY, Feature, Normed, Parts
from ddp_hooks import Bf16, HookOfTheCaller, PowerSgd


class Uneven(Feature):
    """25 and 21 steps; of three ranks 22, 24 and 20: the last one is out first."""

    join = {}

    def end_expected(self, kind, words):
        """A join's: how it ends on both sides."""
        return contextlib.nullcontext()

    def steps(self, rank, world):
        return STEPS + 5 - 3 * abs(rank - (world - 1) // 2) - rank

    def by_ddp(self, rank, world):
        model = self.ddp_model(rank)
        optimizer = self.torch_optim(model.parameters())
        states = []
        with self.end_expected(RuntimeError, "exhausted"), Join([model], **self.join):
            for step in range(self.steps(rank, world)):
                states.append(self.snapshot(model.module, self.ddp_step(model, optimizer, step, rank, world)))
        return states + [self.snapshot(model.module)]

    def by_lockstep(self, comm, rank, world):
        import lockstep_ctypes as ours

        replica = self.replica(ours, comm, rank)
        optimizer = self.torch_optim(replica.parameters) if self.own_update else None
        replica.join_begin(**self.join)
        states = []
        with self.end_expected(ours.LockstepError, f"rank {world - 1} is out of inputs and rank {world - 2} is not"):
            for step in range(self.steps(rank, world)):
                states.append(self.snapshot(replica.module, self.lockstep_step(replica, optimizer, step, rank, world)))
            replica.join_end()
        states.append(self.snapshot(replica.module))
        replica.close()
        return states


@FEATURES
class JoinUneven(Uneven):
    vars().update(TINY)


@FEATURES
class JoinDividedByRanksWithInputs(Uneven):
    vars().update(TINY)
    join = dict(divide_by_initial_world_size=False)


@FEATURES
class JoinOwnUpdate(Uneven):
    """A rank's optimizer knows only of the steps that it took."""

    own_update = True
    optim = ("Adam", dict(lr=0.01))


@FEATURES
class JoinNoSync(Uneven):
    micro = 1


@FEATURES
class JoinBuffers(Uneven):
    """Those of the highest rank with inputs."""

    make = Normed


@FEATURES
class JoinFindUnused(Uneven):
    make = Parts
    options = dict(find_unused=True)
    ddp = dict(find_unused_parameters=True)

    def forward(self, model, x, step, rank):
        return model(x, {(step // 10 + rank) % 3})


@FEATURES
class JoinEven(Uneven):
    def steps(self, rank, world):
        return STEPS


@FEATURES
class JoinThrows(Uneven):
    """As soon as one rank is out of inputs all get an error; ours says who it is."""

    join = dict(throw_on_early_termination=True)

    @contextlib.contextmanager
    def end_expected(self, kind, words):
        try:
            yield
        except kind as error:
            if words not in str(error):
                raise
        else:
            raise AssertionError("a rank is out of inputs, and no rank was told")


@FEATURES
class JoinHookBf16(Uneven, Bf16):
    """Ranks without inputs run their hooks, on zeros."""

    vars().update(TINY)


@FEATURES
class JoinHookOfTheCaller(Uneven, HookOfTheCaller):
    pass


@FEATURES
class JoinPowerSgd(Uneven, PowerSgd):
    """And what a rank has not sent when it runs out of inputs is sent later."""


@FEATURES
class JoinClipped(Uneven):
    clip_norm = 0.3
    optim = ("SGD", dict(lr=0.1, momentum=0.9))
