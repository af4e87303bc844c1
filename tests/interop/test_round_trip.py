# SPDX-License-Identifier: Apache-2.0
"""Every file of tests/data/corpus, converted to each format that is written: `lockstep diff` finds the copy equal, and
PyTorch reads it with equal values. What a format cannot hold is refused with a sentence that says so, and how many
files each format holds is counted: a conversion that begins to fail is not taken for one that cannot be."""
import json
import os
import subprocess
import sys
import tempfile

import read_back

LOCKSTEP = os.environ["LOCKSTEP"]
CORPUS = os.path.join(os.environ["TEST_DATA"], "corpus")

# Format -> extension, and how many entries of the corpus it holds. Stride-0 models claim more than anyone writes.
FORMATS = {
    "torch_zip": (".pt", 172),
    "torch_legacy": (".pt", 172),
    "safetensors": (".safetensors", 22),
    "sharded": ("", 22),
    "npz": (".npz", 17),
    "dcp": ("", 0),
}
REFUSED = ("holds ", "cannot ", "has no ", "repeats ", "is no ", "only ")


def lockstep(*args):
    return subprocess.run([LOCKSTEP, *args], capture_output=True, text=True, errors="surrogateescape")


def readable_entries():
    with open(os.path.join(CORPUS, "expected.json"), encoding="utf-8") as file:
        entries = json.load(file)
    return [name for name in sorted(entries) if lockstep("inspect", os.path.join(CORPUS, name)).returncode == 0]


def convert(name, form, out):
    """True if the format holds the file. Raises where the copy differs."""
    original = os.path.join(CORPUS, name)
    done = lockstep("convert", "--no-sync", "--to", form, original, out)
    if done.returncode != 0:
        if done.returncode != 1 or not any(word in done.stderr for word in REFUSED):
            raise AssertionError(f"{name} to {form}: exit {done.returncode}: {done.stderr}")
        return False
    diff = lockstep("diff", original, out)
    if diff.returncode != 0:
        raise AssertionError(f"{name} to {form}: {diff.stdout[-600:]}{diff.stderr}")
    return True


def main():
    failures, counts, pairs = [], {}, []
    entries = readable_entries()
    with tempfile.TemporaryDirectory() as folder:
        for form, (extension, _) in FORMATS.items():
            for name in entries:
                out = os.path.join(folder, f"{form}-{name}{extension}")
                try:
                    if convert(name, form, out):
                        counts[form] = counts.get(form, 0) + 1
                        pairs.append({"expected": os.path.join(CORPUS, name), "found": out})
                except AssertionError as failure:
                    failures.append(str(failure))
        read = [read_back.compare_files(pair) for pair in pairs] if "--torch" in sys.argv else []
    for form, (_, least) in FORMATS.items():
        print(f"{form}: holds {counts.get(form, 0)} of {len(entries)}")
        if counts.get(form, 0) < least:
            failures.append(f"{form}: {counts.get(form, 0)} files, and it holds {least}")
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
