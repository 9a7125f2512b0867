"""edgecnn: convolutional networks from their PyTorch definition to fast, verified engines on edge devices.

    import edgecnn

    exported = edgecnn.export_model("mobilenet", alpha=0.5, precision="int8")
    with edgecnn.load(exported.path) as engine:
        print(engine.predict("photo.jpg", top=1))

What stands in `__all__` is the public interface, see docs/api.md; importing the package does no work, and
`edgecnn.runtime` alone is enough to run what was exported on a device.
"""

from __future__ import annotations

from edgecnn.on_demand import exports

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
__all__ = sorted(name for names in _PUBLIC.values() for name in names)
__getattr__ = exports(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
