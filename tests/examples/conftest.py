"""What the examples' tests share: where they lie, and photographs whose class is clear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn import artifact
from edgecnn.runtime import load, open_image

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES


@pytest.fixture(scope="session")
def photographs(coffee: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photographs as binary PPM files, which need no library to read."""
    folder = tmp_path_factory.mktemp("photographs")
    paths = []
    for name in ("coffee.png", "chelsea.png", "rocket.jpg"):
        paths.append(folder / Path(name).with_suffix(".ppm"))
        open_image(coffee.with_name(name)).convert("RGB").save(paths[-1])
    return paths


@pytest.fixture(scope="session", params=["frames", "int8"])
def model(request: pytest.FixtureRequest, exported: Callable[..., Path]) -> Path:
    """EfficientNet-Lite0 with ImageNet's weights: float32 that takes frames, and int8 that takes floats."""
    options = {
        "frames": ("--input", "uint8"),
        "int8": ("--effort", "fast", "--int8", "--target", "cpu"),
    }
    return exported("efficientnet_lite0", "--weights", "imagenet", *options[request.param])


@pytest.fixture(scope="session")
def expected(model: Path, photographs: list[Path]) -> list[tuple[int, float]]:
    """Index and probability of each photograph's class, by the Python runtime."""
    with load(model, threads=1) as engine:
        best = [engine.predict(photo, top=1)[0][0] for photo in photographs]
    return [(item.index, item.probability) for item in best]


@pytest.fixture(scope="session")
def tolerance(model: Path) -> float:
    """By how much a probability may differ, in percent: each library's int8 kernels round otherwise."""
    return 5 if artifact.read_manifest(model).precision == "int8" else 0.1
