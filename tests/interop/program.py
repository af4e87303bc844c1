# SPDX-License-Identifier: Apache-2.0
"""What comparisons with any software share: running the program, folders that go away, the iris data."""
import json
import os
import subprocess
import tempfile
import unittest

LOCKSTEP = os.environ["LOCKSTEP"]
IRIS = os.path.join(os.environ["TEST_DATA"], "iris.csv")


def lockstep(*args, code=0):
    """Runs the program; its stdout, stderr. The exit code must be `code`."""
    done = subprocess.run([LOCKSTEP, *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != code:
        raise AssertionError(f"lockstep {' '.join(map(str, args))}: exit {done.returncode}, wanted {code}\n{done.stderr}")
    return done.stdout, done.stderr


def train(*args):
    """Trains with --json; the list of events."""
    out, _ = lockstep("train", *args, "--json", "--log-every", 1)
    return [json.loads(line) for line in out.splitlines()]


def losses(events):
    return [e["loss"] for e in events if e["event"] == "step"]


class FolderCase(unittest.TestCase):
    def setUp(self):
        self._dir = tempfile.TemporaryDirectory(prefix="lockstep-interop-")
        self.dir = self._dir.name
        self.addCleanup(self._dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir, name)
