"""Whether int8 products overflow on a processor, and that the processor itself is asked."""

import pytest

from edgecnn.runtime import processor

#: What a processor offers: whether its int8 products overflow.
PROCESSORS = {
    "Nehalem": ("x86_64", "", True),
    "Haswell, Zen to Zen 3": ("x86_64", "avx2", True),
    "Skylake-X": ("x86_64", "avx2 avx512f", True),
    "Cascade Lake, Zen 4": ("x86_64", "avx2 avx512f avx512_vnni", False),
    "Alder Lake": ("x86_64", "avx2 avx_vnni", False),
    "Sapphire Rapids": ("x86_64", "avx2 avx512f avx512_vnni avx_vnni amx_int8", False),
    # Libraries take their AVX-512 kernels.
    "AVX-512 without its VNNI": ("x86_64", "avx2 avx512f avx_vnni", True),
    "Windows": ("AMD64", "avx2", True),
    "Cortex-A78AE": ("aarch64", "asimd asimddp", False),
    "Cortex-A72": ("aarch64", "asimd", False),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_products_overflow_on_an_x86_without_vnni(name, monkeypatch):
    machine, flags, expected = PROCESSORS[name]
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    monkeypatch.setattr(processor, "instructions", lambda: frozenset(flags.split()))
    assert processor.saturates() is expected


def test_the_processor_has_an_architecture_and_its_strongest_instructions(monkeypatch):
    assert processor.processor().split()[0] in ("x86_64", "aarch64", "arm64", "AMD64")
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(processor, "instructions", lambda: frozenset(("avx2", "avx512_vnni", "avx512f")))
    assert processor.processor() == "x86_64 avx512_vnni"


@pytest.mark.skipif(processor.platform.machine() != "x86_64", reason="no x86-64")
def test_the_processor_says_what_the_kernel_does_where_nothing_emulates_it():
    listed = processor._cpuinfo() & set(processor._CPUID)
    if not listed:
        pytest.skip("this kernel lists no instructions")
    assert processor.instructions() == listed


def test_without_a_library_that_asks_the_processor_the_kernel_is_asked(monkeypatch):
    def none(name):
        raise OSError

    monkeypatch.setattr(processor.ctypes, "CDLL", none)
    monkeypatch.setattr(processor, "_cpuinfo", lambda: frozenset(("avx2", "sse")))
    assert processor.instructions() >= {"avx2"}
