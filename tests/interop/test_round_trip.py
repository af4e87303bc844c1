# SPDX-License-Identifier: Apache-2.0
"""Every file of tests/data/corpus, converted to each format that is written: `lockstep diff` finds the copy equal, and
PyTorch reads it with equal values. What a format cannot hold is refused with a sentence that says so, and how many
files each format holds is counted: a conversion that begins to fail is not taken for one that cannot be."""
import json
import os
import subprocess
import sys
import tempfile
import warnings

import read_back

LOCKSTEP = os.environ["LOCKSTEP"]
CORPUS = os.path.join(os.environ["TEST_DATA"], "corpus")

# Format -> extension, and how many entries of the corpus it holds. Stride-0 models claim more than anyone writes.
FORMATS = {
    "torch_zip": (".pt", 173),
    "torch_legacy": (".pt", 170),
    "safetensors": (".safetensors", 53),
    "sharded": ("", 53),
    "npz": (".npz", 55),
    "dcp": ("", 120),
}
# Few bytes that claim to be more elements than anybody looks at: no format holds it, and diff does not compare it.
NOT_COMPARED = {"t113_whole_tv_alexnet_stride0.pt"}
READ_AS = {"torch_zip": "pt", "torch_legacy": "pt", "npz": "npz", "safetensors": "safetensors", "dcp": "dcp"}
# TorchScript is a program to PyTorch, and data here: its copies are modules of classes nobody has (_ts_). Slices of
# storages come back as the whole, further on. A nested tensor in a stream fails in PyTorch itself.
NOT_FOR_PYTORCH = {"x_old_views_param.pth", "x_tar_views.pt", "t26_nested_tensor.pt"}
# In dcp folders: classes and functions that only torch.load can be told about, and tensors without bytes.
NOT_FOR_DCP = {"t113_whole_dict_model_opt.pt", "t113_whole_dict_model_opt_legacy.pt", "t113_meta.pt", "t26_meta.pt",
               "t113_misc_objects.pt", "t113_sparse.pt", "t113_sparse_legacy.pt"}
NEW_DTYPES = "t26_new_dtypes.pt"  # some are younger than the safetensors library
BIG_ENDIAN = "x_big_endian.pth"  # 1.13 ignores the byte order
PYTORCH_READS = 300  # copies at least, of any format
REFUSED = ("holds ", "cannot ", "reads no ", "has no ", "repeats ", "is no ", "only ", "nested deeper ")


def lockstep(*args):
    return subprocess.run([LOCKSTEP, *args], capture_output=True, text=True, errors="surrogateescape")


def readable_entries():
    with open(os.path.join(CORPUS, "expected.json"), encoding="utf-8") as file:
        entries = json.load(file)
    return [name for name in sorted(set(entries) - NOT_COMPARED) if lockstep("inspect", os.path.join(CORPUS, name)).returncode == 0]


def found_path(form, out):
    """What PyTorch opens: of a sharded checkpoint its index, or its only file."""
    if form != "sharded":
        return out
    index = os.path.join(out, "model.safetensors.index.json")
    return index if os.path.exists(index) else os.path.join(out, "model.safetensors")


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


def read_all(pairs, failures):
    """PyTorch's opinion of every copy. A pair is skipped where this PyTorch does not load the original."""
    counts = {"equal": 0, "skipped": 0}
    for pair in pairs:
        name = os.path.basename(pair["expected"])
        if "_dcp_" in name or (pair["format"] == "dcp" and name in NOT_FOR_DCP):
            continue  # folders are compared with expected.json
        if "_ts_" in name or name in NOT_FOR_PYTORCH or (name == BIG_ENDIAN and read_back.VERSION < (2, 0)):
            continue
        if name == NEW_DTYPES and pair["found"].endswith(".safetensors"):
            continue
        try:
            differences = read_back.compare_files(pair)
        except read_back.Unsupported:
            counts["skipped"] += 1
            continue
        counts["equal"] += not differences
        failures += [f"PyTorch on {pair['found']}: {line}" for line in differences[:1]]
    print(f"PyTorch {read_back.torch.__version__}: {counts['equal']} equal, {counts['skipped']} skipped")
    if counts["equal"] < PYTORCH_READS:
        failures.append(f"PyTorch compared only {counts['equal']} copies")


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
                        pairs.append({"expected": os.path.join(CORPUS, name), "found": found_path(form, out),
                                      "format": READ_AS.get(form)})
                except AssertionError as failure:
                    failures.append(str(failure))
        read_all(pairs, failures)
    for form, (_, least) in FORMATS.items():
        print(f"{form}: holds {counts.get(form, 0)} of {len(entries)}")
        if counts.get(form, 0) < least:
            failures.append(f"{form}: {counts.get(form, 0)} files, and it holds {least}")
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
