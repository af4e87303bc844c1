#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's gloo on bench_all_reduce's job: float32, sum, in place; JSON rows with the median of rank 0.

peer_all_reduce.py [--ranks N] [--least BYTES] [--most BYTES]    (needs torch; Debian: python3-torch)
"""
import argparse
import json
import os
import statistics
import tempfile
import time

KIB, MIB = 1 << 10, 1 << 20
SIZES = (4, 64, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 25 * MIB, 100 * MIB,
         400 * MIB)


def calls_and_rounds(nbytes):
    """Fewer than ours: a call takes longer than a scheduler's turn anyway."""
    return (10, 21) if nbytes <= 64 * KIB else (1, 21) if nbytes <= 25 * MIB else (1, 7)


def measure(data, nbytes, dist):
    calls, rounds = calls_and_rounds(nbytes)
    samples = []
    for _ in range(rounds + 2):
        data.zero_()
        dist.barrier()
        start = time.perf_counter()
        for _ in range(calls):
            dist.all_reduce(data)
        samples.append((time.perf_counter() - start) / calls)
    return statistics.median(samples[2:])


def run_rank(rank, ranks, store, least, most):
    import torch
    import torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method='file://' + store, rank=rank, world_size=ranks)
    for nbytes in (size for size in SIZES if least <= size <= most):
        data = torch.ones(nbytes // 4)
        dist.all_reduce(data)
        if not bool((data == ranks).all()):
            raise SystemExit('wrong sums')
        seconds = measure(data, nbytes, dist)
        if rank == 0:
            print(json.dumps(dict(bench='all_reduce', backend='gloo', torch=torch.__version__,
                                  ranks=ranks, bytes=nbytes, us=seconds * 1e6)), flush=True)
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--ranks', type=int, default=2)
    parser.add_argument('--least', type=int, default=0)
    parser.add_argument('--most', type=int, default=SIZES[-1])
    options = parser.parse_args()
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    import torch.multiprocessing as mp
    with tempfile.TemporaryDirectory() as folder:
        arguments = (options.ranks, os.path.join(folder, 'store'), options.least, options.most)
        mp.spawn(run_rank, arguments, options.ranks)


if __name__ == '__main__':
    main()
