"""Python on a processor that this machine is not, by qemu-user: its kernels, at a hundredth of the speed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: Where `make test` unpacks it on a machine that has none.
UNPACKED = Path(__file__).parents[1] / "build/qemu/usr/bin/qemu-x86_64-static"


def program() -> str:
    """Return the emulator; skips the test where there is none, or programs here are no x86 ones."""
    if platform.machine() != "x86_64":
        pytest.skip("Python here is no x86-64 program")
    path = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if path is None and not UNPACKED.is_file():
        pytest.skip("qemu-x86_64 is missing: make build/qemu, or apt install qemu-user")
    return path or str(UNPACKED)


def python(processor: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python on `processor`, a name of `qemu-x86_64 -cpu help`."""
    here = str(Path(__file__).parents[1])
    return subprocess.run(
        [program(), "-cpu", processor, sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": here},
    )
