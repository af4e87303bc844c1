# SPDX-License-Identifier: Apache-2.0
"""Replicas beside PyTorch's DistributedDataParallel over gloo: from the same weights, on the same batches, every parameter
and buffer of every rank is the same after every step.

One class is one feature: `reference` says what it is compared with. It is DDP wherever DDP can do it on CPUs; else
Feature.by_formula of the class, one process that computes every rank's gradients one after the other and combines them
as the documentation says, or by_formula of its own where it has one. To add a feature, write a class with FEATURES on it;
what it does not override is the plain way on both sides.

feature                              DDP over gloo of PyTorch 1.13 can          compared with
buckets, optimizers, no_sync,        yes                                        DDP
  static graph, buffers, clipping
find_unused, static graph            yes, but for unused parameters in no_sync  DDP; for these a formula
uneven batches, mean of means        yes                                        DDP
  the same as one batch              no                                         one process with the whole batch
gradients float32, float64           yes                                        DDP
  float16                            divides, then rounds each addition         formula, bit by bit
  bfloat16                           no                                         formula, bit by bit
hooks fp16                           rounds each addition                       DDP with 2 ranks; DDP's hook with an all-reduce
                                                                                that rounds once; formula, bit by bit
  bf16                               no                                         the same, without gloo's own
  PowerSGD, of the caller            yes                                        DDP, given the same Q; the same hook
join, also thrown early              yes                                        DDP
SyncBatchNorm                        no                                         BatchNorm of one process, whole batch
GradScaler                           no                                         formula, with its state
16 bits with masters                 no                                         formula

DDP's ranks are processes, which go through all features in worlds of 2 and of 3 and leave what they saw in a folder. Ours
are threads of this process. Torch computes forward and backward in both."""
import os
import sys
import tempfile
import unittest
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import ddp_exchange, ddp_hooks, ddp_join, ddp_precision  # noqa: E401, F401 - they put their features into TABLE
from ddp_feature import TABLE, WORLDS, enter_world

torch.set_num_threads(1)


def ddp_rank(rank, folder, names):
    """A process: every feature after the other, in each world that it belongs to."""
    warnings.simplefilter("ignore")
    for world in (w for w in WORLDS if rank < w):
        enter_world(world)
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world)
        for feature in (f for f in TABLE if f.name in names and world in f.worlds):
            try:
                states = feature.by_ddp(rank, world)
            except Exception as error:
                raise RuntimeError(f"DistributedDataParallel, {feature.name}, rank {rank} of {world}") from error
            torch.save(states, f"{folder}/{feature.name}-{world}-{rank}.pt")
        dist.destroy_process_group()


def lockstep_states(ours, feature, world):
    """Of every rank, or the error."""
    enter_world(world)
    try:
        return ours.run_ranks(world, lambda comm, rank: feature.by_lockstep(comm, rank, world))
    except Exception as error:
        return error


def largest_difference(ours, reference):
    """Over all tensors, and the name of the one."""
    found = [((ours[k].double() - reference[k].double()).abs().max().item(), k) for k in reference]
    return max(found, key=lambda f: f[0] if f[0] == f[0] else float("inf"))


class ReplicasAreDistributedDataParallel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Lockstep's part runs while DDP's does."""
        import lockstep_ctypes as ours

        cls.folder = tempfile.TemporaryDirectory(prefix="lockstep-interop-")
        cls.addClassCleanup(cls.folder.cleanup)
        os.environ.update(GLOG_minloglevel="2", TORCH_CPP_LOG_LEVEL="ERROR")  # DDP's advice about unused parameters
        features = [f for f in TABLE if any(c in f.name for c in chosen)]
        names = {f.name for f in features if f.reference == "DDP"}
        ddp = mp.spawn(ddp_rank, (cls.folder.name, names), nprocs=max(WORLDS), join=False)
        cls.states = {(f.name, world): lockstep_states(ours, f, world) for f in features for world in f.worlds}
        while not ddp.join():
            pass

    def compare(self, feature, world):
        states = self.states[feature.name, world]
        if isinstance(states, Exception):
            raise states
        if feature.reference == "DDP":
            reference = [torch.load(f"{self.folder.name}/{feature.name}-{world}-{rank}.pt") for rank in range(world)]
        else:
            enter_world(world)
            reference = feature.by_formula(world, states)
        worst = 0
        first, last = reference[0][0], reference[0][-1]
        self.assertTrue(any(not torch.equal(first[k], last[k]) for k in first), "nothing was learnt")
        for rank in range(world):
            self.assertEqual(len(states[rank]), len(reference[rank]), f"states of rank {rank}")
            for step, (got, wanted) in enumerate(zip(states[rank], reference[rank])):
                self.assertEqual(got.keys(), wanted.keys())
                difference, key = largest_difference(got, wanted)
                self.assertLessEqual(difference, feature.tolerance, f"step {step}, rank {rank}, {key}")
                worst = max(worst, difference)
        return worst


def add_tests():
    for feature in TABLE:
        def test(self, feature=feature):
            worst = []
            for world in feature.worlds:
                with self.subTest(ranks=world):
                    worst.append(self.compare(feature, world))
            print(f"{feature.reference}, at most {max(worst, default=float('nan')):.1g} ... ", end="", file=sys.stderr)
        setattr(ReplicasAreDistributedDataParallel, f"test_{feature.name}", test)


if __name__ == "__main__":
    print(f"PyTorch {torch.__version__}, Python {sys.version.split()[0]}")
    chosen = [a.rpartition("test_")[2] for a in sys.argv[1:] if "test_" in a] or [""]  # DDP need not run the others
    add_tests()
    unittest.main(verbosity=2)
