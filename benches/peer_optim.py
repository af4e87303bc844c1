#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's optimizer steps beside bench_optim's: 60.2 M parameters in 467 tensors, and the 131 of 4-16-3.

peer_optim.py [THREADS] [--json]    (needs torch; Debian: python3-torch)
The shapes are those of a ResNet-152: many small tensors and a few large ones.
"""
import json
import os
import statistics
import sys
import time

threads = next((arg for arg in sys.argv[1:] if arg.isdigit()), '1')
os.environ.setdefault('GOMP_SPINCOUNT', '0')  # two thread pools that spin burn each other
os.environ['OMP_NUM_THREADS'] = threads
import torch  # noqa: E402  (after its environment)

torch.set_num_threads(int(threads))


def resnet152_shapes():
    shapes, channels = [(64, 3, 7, 7), (64,), (64,)], 64
    for width, blocks in ((64, 3), (128, 8), (256, 36), (512, 3)):
        for block in range(blocks):
            convolutions = [(width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            if block == 0:
                convolutions.append((4 * width, channels, 1, 1))
            for shape in convolutions:
                shapes += [shape, shape[:1], shape[:1]]
            channels = 4 * width
    return shapes + [(1000, 2048), (1000,)]


def parameters(shapes):
    values = [torch.full(shape, 1e-3, requires_grad=True) for shape in shapes]
    for value in values:
        value.grad = torch.full_like(value, 1e-3)
    return values


def measure(optimizer, rounds, inner):
    samples = []
    for i in range(rounds + 2):
        begin = time.perf_counter()
        for _ in range(inner):
            optimizer.step()
        if i >= 2:
            samples.append((time.perf_counter() - begin) / inner)
    return statistics.median(samples)


rows = []
for shapes, rounds, inner in ((resnet152_shapes(), 9, 1), ([(16, 4), (16,), (3, 16), (3,)], 9, 200)):
    count = sum(torch.Size(shape).numel() for shape in shapes)
    for name, options, nbytes in (('SGD', dict(lr=1e-4, momentum=0.9, weight_decay=1e-4), 20),
                                  ('AdamW', dict(lr=1e-4), 28)):
        for foreach in (False, True):
            optimizer = getattr(torch.optim, name)(parameters(shapes), foreach=foreach, **options)
            seconds = measure(optimizer, rounds, inner)
            rows.append(dict(optimizer=name, params=count, threads=int(threads), foreach=foreach,
                             torch=torch.__version__, ms=seconds * 1e3,
                             gb_per_s=count * nbytes / seconds / 1e9))
if '--json' in sys.argv:
    print(json.dumps(rows, indent=1))
else:
    print('OPENBLAS_CORETYPE', os.environ.get('OPENBLAS_CORETYPE', 'not set'))
    for row in rows:
        print('{optimizer:6s} {params:9d} {threads}T foreach={foreach!s:5s} {ms:9.3f} ms '
              '{gb_per_s:7.2f} GB/s  torch {torch}'.format(**row))
