# SPDX-License-Identifier: Apache-2.0
"""The safetensors library on this PyTorch."""
import os
import tempfile
import unittest

import safetensors
import safetensors.torch
import torch

from common import main


class Library(unittest.TestCase):
    def test_reads_what_it_wrote(self):
        tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in
                   (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.safetensors")
            safetensors.torch.save_file(tensors, path)
            found = safetensors.torch.load_file(path)
        self.assertEqual(found.keys(), tensors.keys())
        for name, tensor in tensors.items():
            self.assertEqual(found[name].dtype, tensor.dtype)
            self.assertTrue(torch.equal(found[name], tensor), name)


if __name__ == "__main__":
    print(f"safetensors {safetensors.__version__}")
    main()
