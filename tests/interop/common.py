# SPDX-License-Identifier: Apache-2.0
"""What the comparisons with PyTorch share beside program.py: the iris data as tensors, the model a PyTorch user writes."""
import csv
import sys
import unittest

import torch
import torch.nn as nn

from program import IRIS, FolderCase, lockstep, losses, train  # noqa: F401 - for who imports all from here

torch.set_num_threads(1)


def predict(*args):
    out, report = lockstep("predict", *args)
    rows = list(csv.reader(out.splitlines()))
    return torch.tensor([[float(x) for x in row] for row in rows[1:]], dtype=torch.float32), report


def iris():
    """Features (150, 4) float32, labels (150) int64 in the order of the class names."""
    with open(IRIS, newline="") as f:
        rows = list(csv.reader(f))[1:]
    names = sorted({row[4] for row in rows})
    x = torch.tensor([[float(v) for v in row[:4]] for row in rows], dtype=torch.float64).float()
    return x, torch.tensor([names.index(row[4]) for row in rows])


def standardized(x, checkpoint):
    stats = checkpoint["lockstep"]["standardize"]
    return (x - torch.tensor(stats["mean"])) / torch.tensor(stats["std"])


class Net(nn.Module):
    """A user's model: the Sequential sits under `name`, hidden width as given."""

    def __init__(self, hidden=8, name="fc"):
        super().__init__()
        self.name = name
        setattr(self, name, nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3)))

    def forward(self, x):
        return getattr(self, self.name)(x)


class Case(FolderCase):
    def assert_close(self, a, b, atol, rtol=0.0):
        difference = (a - b).abs()
        self.assertTrue(bool((difference <= atol + rtol * b.abs()).all()), f"differs by up to {difference.max().item():.3g}")

    def assert_same_outputs(self, ours, theirs):
        """Equal to 1e-6 of the largest output of a sample (of 1, if that is less): float32 rounds sums at that scale,
        and the order of a sum is each program's own."""
        scale = theirs.abs().amax(dim=1, keepdim=True).clamp(min=1.0)
        self.assert_close(ours / scale, theirs / scale, 1e-6)


def main():
    print(f"PyTorch {torch.__version__}, Python {sys.version.split()[0]}")
    unittest.main(verbosity=2)
