"""The recipes of a detector and of a segmenter, every step for real, on a few small pictures."""

import json

import pytest
from program import run_here as run

from edgecnn.data import stamps, stamps_dataset


@pytest.mark.slow
@pytest.mark.skipif(not stamps.STAMPS.is_dir(), reason=f"no cut-outs here: apt install {stamps.PACKAGE}")
@pytest.mark.parametrize(
    "recipe, data, figure",
    [("stamps_ssdlite", "stamps:64", "mAP50"), ("stamps_lraspp", "stamps-masks:64", "mIoU")],
)
def test_it_trains_exports_quantizes_and_measures(recipe, data, figure, tmp_path, monkeypatch):
    monkeypatch.setattr(stamps_dataset, "COUNTS", {"train": 96, "validation": 16, "test": 24})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    changes = [
        f"data={data}",
        "resolution=64",
        "epochs=2",
        "batch=16",
        "cpu.force=true",
        "portable.force=true",
    ]
    said = [word for change in changes for word in ("--set", change)]
    done = run("run", f"recipes/{recipe}.yaml", "-o", str(tmp_path / "out"), *said, "--json")
    assert done.returncode == 0, done.stderr
    steps = {step["id"]: step["metrics"][0] for step in json.loads(done.stdout)["steps"]}
    for name in ("float_accuracy", "cpu_accuracy", "portable_accuracy"):
        assert steps[name]["n"] == 24 and figure in steps[name]["figures"]
        assert 0 <= steps[name]["metric"]["value"] <= 100
    assert steps["cpu_accuracy"]["metric"]["reference"] == steps["float_accuracy"]["metric"]["value"]
