# SPDX-License-Identifier: Apache-2.0
# A rename in place is killed before and after each of its calls; PyTorch reads what is
# there, and it is the old checkpoint or the new one. A finished one is also a sound archive for Python's zipfile.
import os
import signal
import subprocess
import sys
import tempfile
import zipfile

import torch

job = os.environ["FAULT_JOB"]


def run(operation, path, word, **fault):
    return subprocess.run([job, operation, path, word], env={**os.environ, **fault}).returncode


def load(path):
    loads = [{}, {"weights_only": True}]
    if torch.__version__ >= "2.1":
        loads.append({"mmap": True, "weights_only": True})
    dicts = [torch.load(path, map_location="cpu", **options) for options in loads]
    for found in dicts[1:]:
        assert list(found) == list(dicts[0])
        assert all(torch.equal(found[key], dicts[0][key]) for key in found)
    return dicts[0]


def check(path, words):
    found = load(path)
    word = next(iter(found)).split(".")[0]
    assert word in words, word
    assert list(found) == [f"{word}.{i}" for i in range(12)]
    assert all(bool((tensor == ord("o")).all()) for tensor in found.values())
    return word


with tempfile.TemporaryDirectory() as folder:
    path, count = os.path.join(folder, "a.pt"), os.path.join(folder, "count")
    seen = []
    assert run("save", path, "old") == 0
    with open(path, "rb") as file:
        old = file.read()
    assert run("update", path, "new", FAULT_COUNT=count) == 0
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(set(archive.namelist())) == len(archive.namelist()) == 16
    with open(count) as file:
        calls = int(file.read())
    for at in range(1, calls + 1):
        for kind in "before", "within", "after":
            with open(path, "wb") as file:
                file.write(old)
            assert run("update", path, "new", FAULT_AT=str(at), FAULT_KIND=kind) == -signal.SIGKILL
            seen.append(check(path, ["old", "new"]))
    assert seen == sorted(seen, reverse=True) and set(seen) == {"old", "new"}, seen
    for word in "third", "fourth":
        assert run("update", path, word) == 0
        check(path, [word])
    print(f"PyTorch {torch.__version__} read {len(seen)} killed files: {seen.count('old')} old, {seen.count('new')} new")
