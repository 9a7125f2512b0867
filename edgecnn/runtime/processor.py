"""This processor: its instructions, and whether libraries compute int8 right on it."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

#: Flags of /proc/cpuinfo that decide which kernels an engine chooses, the strongest first.
_KERNELS = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "asimddp", "asimd")
#: Of x86: leaf, register (eax, ebx, ecx, edx) and bit of CPUID. Leaves are numbered as glibc's
#: <sys/platform/x86.h> does: 1 is leaf 7, 6 its subleaf 1.
_CPUID = {
    "avx2": (1, 1, 5),
    "avx512f": (1, 1, 16),
    "avx512_vnni": (1, 2, 11),
    "amx_int8": (1, 3, 25),
    "avx_vnni": (6, 0, 4),
}
_X86 = ("x86_64", "AMD64", "amd64", "x86", "i386", "i486", "i586", "i686")


def processor() -> str:
    """Return the architecture and the strongest instructions for int8 and float kernels."""
    flags = instructions()
    strongest = next((name for name in _KERNELS if name in flags), "")
    return f"{platform.machine()} {strongest}".strip()


def saturates() -> bool:
    """Return whether int8 products overflow here: on an x86 without a VNNI instruction.

    There a library multiplies u8 by s8 with an instruction (vpmaddubsw) that adds each two products in 16
    bits, and cuts off what is beyond. VNNI adds four in 32 bits, and so do Arm's instructions. Libraries that
    find AVX-512 use its kernels, whatever the processor has besides. An x86 that does not tell its
    instructions is taken for one of these: its answers are slower, and right.
    """
    if platform.machine() not in _X86:
        return False
    flags = instructions()
    return ("avx512_vnni" if "avx512f" in flags else "avx_vnni") not in flags


def has_vnni() -> bool:
    """Return whether this is an x86 that adds int8 products in 32 bits: what the `cpu` form is for."""
    return platform.machine() in _X86 and not saturates()


def instructions() -> frozenset[str]:
    """Return what this processor and its kernel offer, by the names of /proc/cpuinfo.

    Of x86 it is what `_CPUID` lists. An x86 is asked itself, by glibc 2.33 or later: where an emulator runs a
    program, /proc/cpuinfo is that of the machine below.
    """
    if platform.machine() in _X86:
        try:
            leaf_of = ctypes.CDLL(None)["__x86_get_cpuid_feature_leaf"]
        except (OSError, AttributeError):  # another library for C, or an older one
            return _cpuinfo()
        leaf_of.restype = ctypes.POINTER(_Leaf)
        return frozenset(
            name
            for name, (leaf, register, bit) in _CPUID.items()
            if leaf_of(leaf).contents.active[register] >> bit & 1
        )
    return _cpuinfo()


class _Leaf(ctypes.Structure):
    """glibc's struct cpuid_feature: what the processor has, and what the kernel lets programs use of it."""

    _fields_ = (("cpuid", ctypes.c_uint32 * 4), ("active", ctypes.c_uint32 * 4))


def _cpuinfo() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
