#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's side of run_checkpoint: the same files, loaded and saved.

peer_checkpoint.py --once load FILE       a whole process (needs torch; Debian: python3-torch)
peer_checkpoint.py --once strip FILE OUT  another: `module.` taken off every key, as people do it
peer_checkpoint.py --serve FILE OUTPUT    one job's name a line on stdin (load, save, save-fsync), its seconds on stdout
"""
import os
import sys
import time


def load(torch, path):
    return torch.load(path, map_location='cpu')


def save(torch, state, output, sync):
    """PyTorch does not sync; whoever wants the file to survive does it by hand."""
    torch.save(state, output)
    if sync:
        file = os.open(output, os.O_RDWR)
        os.fsync(file)
        os.close(file)


def strip(torch, path, output):
    state = load(torch, path)
    torch.save({key[len('module.'):] if key.startswith('module.') else key: value
                for key, value in state.items()}, output)


def prime(nbytes):
    """As bench_checkpoint does before each of its jobs: fresh memory is touched and given back."""
    import mmap
    memory = mmap.mmap(-1, nbytes + (64 << 20), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    for at in range(0, len(memory), 4096):
        memory[at] = 1
    memory.close()


def serve(path, output):
    import torch
    state, nbytes = load(torch, path), os.path.getsize(path)
    print('ready', torch.__version__, flush=True)
    for line in sys.stdin:
        if os.path.exists(output):
            os.unlink(output)
        os.sync()
        prime(nbytes)
        start = time.perf_counter()
        if line.strip() == 'load':
            loaded = load(torch, path)
        else:
            save(torch, state, output, line.strip() == 'save-fsync')
        print(f'{time.perf_counter() - start:.6f}', flush=True)
        loaded = None  # noqa: F841 - given back outside of the measured time
    if os.path.exists(output):
        os.unlink(output)


def main():
    if len(sys.argv) == 4 and sys.argv[1:3] == ['--once', 'load']:
        import torch
        load(torch, sys.argv[3])
    elif len(sys.argv) == 5 and sys.argv[1:3] == ['--once', 'strip']:
        import torch
        strip(torch, sys.argv[3], sys.argv[4])
    elif len(sys.argv) == 4 and sys.argv[1] == '--serve':
        serve(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main()
