"""Exports are made once and shared: each takes seconds, and many tests look at the same file."""

from __future__ import annotations

import gc
import os
import signal

# Two workers on two cores: each takes one, in the programs that it starts too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import exporter_tables
import pytest
from filelock import FileLock
from program import run

from edgecnn.data.builtin import photo
from edgecnn.measure.latency import compare_engines, profile_engines

# Whoever runs the tests in the background of a script has SIGINT ignored, and so has all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Let no collection of garbage look at all that was imported: training asks for one at its end."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup() -> None:
    exporter_tables.keep()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of one test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test writes to the store of results of whoever runs it."""
    os.environ["EDGECNN_RESULTS"] = str(tmp_path_factory.mktemp("results") / "results.sqlite")


@pytest.fixture(scope="session")
def exported(shared: Path) -> Callable[..., Path]:
    """Return a function that gives the path of what `edgecnn export NAME OPTIONS` writes."""

    def make(name: str, *options: str) -> Path:
        options = tuple(" ".join(options).replace("--target portable", "").split())  # it is the default
        stem = "_".join([name, *options]).replace("--", "").replace("/", "_").replace(" ", "_")
        path = shared / f"{stem}.onnx"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                done = run("export", name, *options, "-o", str(path), "--json")
                assert done.returncode == 0, done.stderr
                Path(f"{path}.report").write_text(done.stdout)
        return path

    return make


#: Beside other tests no latency is stable, and no ratio narrow: engines are measured almost at once.
_AT_ONCE = (
    (profile_engines, {"_WARM_LIMIT": 0.05, "_WARM_SECONDS": 0.02}),
    (compare_engines, {"_TURN_SECONDS": 0.005, "_LONGEST": 1}),
)


@pytest.fixture(scope="session", autouse=True)
def usual_times() -> Iterator[list[tuple[ModuleType, str, float]]]:
    """Engines are measured almost at once. Yields how they are for users."""
    usual = [(module, name, getattr(module, name)) for module, values in _AT_ONCE for name in values]
    with pytest.MonkeyPatch.context() as patch:
        for module, values in _AT_ONCE:
            for name, value in values.items():
                patch.setattr(module, name, value)
        yield usual


@pytest.fixture
def as_long_as_usual(
    usual_times: list[tuple[ModuleType, str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines are warmed up and compared for as long as they are for users."""
    for module, name, value in usual_times:
        monkeypatch.setattr(module, name, value)


@pytest.fixture(scope="session")
def coffee() -> Path:
    return photo("skimage/data/coffee.png")


@pytest.fixture(scope="session")
def torchvision():
    """The library, as an oracle, beside a PyTorch that lacks two of the operators that it declares."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield pytest.importorskip("torchvision")
    del library


@pytest.fixture
def detectors(torchvision, monkeypatch: pytest.MonkeyPatch):
    """torchvision with a non-maximum suppression, which it has only where it is compiled."""
    from suppression_oracle import nms

    monkeypatch.setattr(torchvision.ops.boxes, "nms", nms)
    return torchvision
