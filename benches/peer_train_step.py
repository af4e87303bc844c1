#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's training steps beside bench_train_step's: the same models, batches and optimizers.

peer_train_step.py [--json] [--threads N] [--case NAME] [--seconds S]    (needs torch; Debian: python3-torch)
Each row is a process of its own, in one of these environments:
  plain           as a user starts it
  tuned           thread pools that do not spin against each other, a malloc that keeps its memory
  tuned-CORETYPE  the same, and OpenBLAS told which kernels to use (it may guess a newer processor wrongly)
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

TUNED = dict(GOMP_SPINCOUNT='0', MALLOC_TRIM_THRESHOLD_='100000000000',
             MALLOC_MMAP_THRESHOLD_='100000000000', MALLOC_TOP_PAD_='536870912')
ENVIRONMENTS = {
    'plain': {},
    'tuned': TUNED,
    'tuned-Haswell': dict(TUNED, OPENBLAS_CORETYPE='Haswell'),
    'tuned-SkylakeX': dict(TUNED, OPENBLAS_CORETYPE='SkylakeX'),
}
# name: (layer sizes, batch, optimizer, learning rate)
CASES = {
    'iris': ((4, 16, 3), 150, 'Adam', 1e-3),
    'mlp-sgd': ((784, 1024, 1024, 10), 128, 'SGD', 1e-2),
    'mlp-adam': ((784, 1024, 1024, 10), 128, 'Adam', 1e-3),
}


def measure(case, threads, seconds):
    """In this process: rows with the median step, one for each way to run the optimizer."""
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sizes, batch, optimizer, lr = CASES[case]
    rows = []
    for foreach in (False, True):
        layers = []
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:])):
            layers += [torch.nn.ReLU()] * (i > 0) + [torch.nn.Linear(n_in, n_out)]
        model = torch.nn.Sequential(*layers)
        optim = getattr(torch.optim, optimizer)(model.parameters(), lr=lr, foreach=foreach)
        x, y = torch.randn(batch, sizes[0]), torch.randint(0, sizes[-1], (batch,))
        samples, end = [], None
        while end is None or time.perf_counter() < end or len(samples) < 20:
            start = time.perf_counter()
            optim.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optim.step()
            samples.append(time.perf_counter() - start)
            if end is None and len(samples) == 20:  # warm
                samples, end = [], time.perf_counter() + seconds / 2
        rows.append(dict(bench='train_step', case=case, batch=batch, threads=threads,
                         torch=torch.__version__, foreach=foreach,
                         us=statistics.median(samples) * 1e6, samples=len(samples)))
    return rows


def measure_apart(case, threads, seconds, environment):
    """In a process of its own: the better of its rows."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    if environment != 'plain':
        env.pop('OPENBLAS_CORETYPE', None)
    env.update(ENVIRONMENTS[environment])
    command = [sys.executable, os.path.abspath(__file__), '--here', '--case', case,
               '--threads', str(threads), '--seconds', str(seconds)]
    output = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout
    row = min(json.loads(output), key=lambda row: row['us'])
    return dict(row, environment=environment,
                openblas_coretype=env.get('OPENBLAS_CORETYPE', 'not set'))


def print_row(row):
    print('{case:10s} {threads}T {environment:15s} {us:10.1f} us  foreach={foreach!s:5s} torch {torch}  '
          'OPENBLAS_CORETYPE {openblas_coretype}'.format(**row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--json', action='store_true')
    parser.add_argument('--here', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--threads', type=int)
    parser.add_argument('--case', choices=CASES)
    parser.add_argument('--seconds', type=float, default=2)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.case, options.threads, options.seconds)))
        return
    for case in [options.case] if options.case else CASES:
        for threads in [options.threads] if options.threads else (1, 2):
            for environment in ENVIRONMENTS:
                row = measure_apart(case, threads, options.seconds, environment)
                print(json.dumps(row), flush=True) if options.json else print_row(row)


if __name__ == '__main__':
    main()
