"""edgecnn: convolutional networks from their PyTorch definition to fast, verified engines on edge devices.

    import edgecnn

    exported = edgecnn.export_model("mobilenet", alpha=0.5, precision="int8")
    with edgecnn.load(exported.path) as engine:
        print(engine.predict("photo.jpg", top=1))

What stands in `__all__` is the public interface, see docs/api.md; importing the package does no work, and
`edgecnn.runtime` alone is enough to run what was exported on a device.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: Public names by the module that has them, which is imported when one is first asked for.
_PUBLIC = {
    "edgecnn.api": (
        "compare",
        "compile_model",
        "create_model",
        "describe_model",
        "distill_model",
        "evaluate",
        "export_model",
        "list_models",
        "load",
        "profile",
        "prune_model",
        "quantize_model",
        "run_recipe",
        "train_model",
        "train_quantized_model",
    ),
    "edgecnn.budget": ("Budget",),
    "edgecnn.runtime.preprocessing": ("Preprocessing",),
    "edgecnn.errors": (
        "ArtifactError",
        "BoardError",
        "CodeError",
        "ConditionsError",
        "DataError",
        "EdgecnnError",
        "EdgecnnWarning",
        "EngineError",
        "InputError",
        "InvalidValueError",
        "MissingPackageError",
        "OutputError",
        "ParityError",
        "PruningError",
        "RecipeError",
        "StoreError",
        "TrainingError",
        "UnknownNameError",
        "WeightsError",
    ),
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'edgecnn' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
