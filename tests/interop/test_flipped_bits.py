# SPDX-License-Identifier: Apache-2.0
"""One flipped bit anywhere in the bytes of tensors, at random places: `verify` reports it and names a tensor that the
byte belongs to, in each format that has checksums. Loading the tensor fails, too; PyTorch would not notice."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import zipfile

LOCKSTEP = os.environ["LOCKSTEP"]
CORPUS = os.path.join(os.environ["TEST_DATA"], "corpus")
FLIPS = 200  # in each format
FORMATS = {"torch_zip": ".pt", "npz": ".npz", "dcp": ""}


def lockstep(*args):
    return subprocess.run([LOCKSTEP, *args], capture_output=True, text=True)


def payloads(path):
    """(offset, bytes) of every storage in an archive."""
    with open(path, "rb") as file, zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if "/data/" in info.filename or info.filename.endswith(".npy"):
                file.seek(info.header_offset + 26)
                name_length, extra_length = struct.unpack("<HH", file.read(4))
                start = info.header_offset + 30 + name_length + extra_length
                head = 128 if info.filename.endswith(".npy") else 0  # the array's header has a checksum, too
                if info.file_size > head:
                    yield start + head, info.file_size - head


def archives_inside(path):
    """The archives of a dcp data file, one behind the other: where each begins, and its bytes."""
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        end = data.index(b"PK\5\6", at) + 22
        yield at, data[at:end]
        at = end


def places(path, form, folder):
    """Every byte of a tensor, as (file, offset, length)."""
    if form != "dcp":
        return [(path, *place) for place in payloads(path)]
    found = []
    for name in sorted(os.listdir(path)):
        if name.endswith(".distcp"):
            for start, data in archives_inside(os.path.join(path, name)):
                part = os.path.join(folder, "part.zip")
                with open(part, "wb") as file:
                    file.write(data)
                found += [(os.path.join(path, name), start + at, length) for at, length in payloads(part)]
    return found


def flip(file, offset, bit):
    with open(file, "r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ 1 << bit]))


def main():
    generator = random.Random(20261126)
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for form, extension in FORMATS.items():
            path = os.path.join(folder, "checkpoint" + extension)
            done = lockstep("convert", "--to", form, os.path.join(CORPUS, "t113_miniresnet_sd.pth"), path)
            assert done.returncode == 0, done.stderr
            names = {t["path"] for t in json.loads(lockstep("inspect", "--json", path).stdout)["tensors"]}
            everywhere = places(path, form, folder)
            assert len(everywhere) >= len(names) > 10, form
            named = set()
            for _ in range(FLIPS):
                file, start, length = generator.choices(everywhere, [length for _, _, length in everywhere])[0]
                at, bit = start + generator.randrange(length), generator.randrange(8)
                flip(file, at, bit)
                found = lockstep("verify", path)
                said = [name for name in names if f"'{name}'" in found.stdout]
                if found.returncode != 3 or len(said) != 1:
                    failures.append(f"{form}: bit {bit} of byte {at}: exit {found.returncode}, {found.stdout}{found.stderr}")
                named.update(said)
                flip(file, at, bit)
            if lockstep("verify", path).returncode != 0:
                failures.append(f"{form}: not whole after all")
            print(f"{form}: {FLIPS} flipped bits in {len(everywhere)} storages, {len(named)} tensors named")
    print("\n".join(failures[:10]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
