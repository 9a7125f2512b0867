"""Freed memory is used again: counted in pages that the system had to hand out."""

import platform
import subprocess
import sys

import pytest

# The C library alone, one block larger than any that glibc keeps by itself (32 MiB), nothing asked for in
# between: how often a training step finds its blocks again depends on threads and on the rest of the heap.
CODE = """
import ctypes, resource, sys
from edgecnn.compress.train.freed_memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 64 * 2**20
for step in range(10):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(size)
    libc.memset(block, 1, size)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_a_freed_block_is_not_asked_of_the_system_again():
    found = {}
    for way in ("kept", "returned"):
        done = subprocess.run([sys.executable, "-c", CODE, way], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found[way] = int(done.stdout)
    assert found["kept"] < found["returned"] / 4, found
