"""Freed memory is used again: counted in pages that the system had to hand out."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from torch import nn
from edgecnn.compress.train.memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
network = nn.Sequential(*(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()) for _ in range(4)))
images = torch.randn(16, 16, 96, 96)
for step in range(6):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(images).square().mean().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_training_steps_hardly_ask_the_system_for_memory():
    found = {}
    for way in ("kept", "returned"):
        done = subprocess.run([sys.executable, "-c", CODE, way], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found[way] = int(done.stdout)
    assert found["kept"] < found["returned"] / 4, found
