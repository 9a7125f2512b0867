"""A fifth backend is a row and its files: every command takes it, and nothing else was told of it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import toy_backend
from program import run, run_here
from small_classifier import classifier

from edgecnn import backends
from edgecnn.artifact import read_manifest
from edgecnn.compile import CompileRequest, rebuilt
from edgecnn.compile.fastest_engine import compile_fastest
from edgecnn.devices import this_machine
from edgecnn.errors import EdgecnnError, EngineError
from edgecnn.runtime import Preprocessing, load


@pytest.fixture
def toy(monkeypatch):
    """The table, with a row more."""
    monkeypatch.setattr(backends.BACKENDS, "_values", dict(backends.BACKENDS._values))
    monkeypatch.setattr(backends.BACKENDS, "_aliases", dict(backends.BACKENDS._aliases))
    backends.register(toy_backend.ROW)


@pytest.fixture
def model(tmp_path):
    return classifier(tmp_path / "m.onnx", batch="1")


@pytest.fixture
def engine(toy, model):
    done = run_here("compile", str(model), "--backend", "toy", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["backend"] == "toy" and found["parity"]["sqnr_db"] > 100
    return Path(found["path"])


def test_it_is_compiled_and_answers_as_the_file_does(engine, model, coffee):
    assert engine.name == "m.toy" and read_manifest(engine).engine.backend == "toy"
    with load(engine, preprocessing=Preprocessing(16)) as ours, load(model) as reference:
        image = ours.prepare([coffee])
        np.testing.assert_allclose(ours(image), reference(image), rtol=1e-5)
        assert isinstance(ours, toy_backend.ToyEngine)


def test_it_is_measured_layer_by_layer(engine):
    done = run_here("profile", str(engine), "--layers", "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["backend"] == "toy" and len(found["layers"]) == 5
    assert found["layers"][0]["operator"] == "Conv"


def test_it_is_compared_with_another(toy, model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = run_here("compare", str(model), str(model), "--backend", "plaything", "--seconds", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["backend"] for row in json.loads(done.stdout)["results"]} == {"toy"}


def test_the_fastest_is_looked_for_among_all(toy, model, monkeypatch):
    monkeypatch.setattr("edgecnn.compile.fastest_engine._SECONDS", 0.05)
    monkeypatch.setattr(
        backends.BACKENDS, "_values", {"onnxruntime": backends.ONNXRUNTIME, "toy": toy_backend.ROW}
    )
    tried = compile_fastest(CompileRequest(model))
    assert [trial.backend.name for trial in tried.trials] == ["onnxruntime", "toy"]
    assert all(trial.latency for trial in tried.trials)


def test_doctor_tries_it(toy, monkeypatch):
    monkeypatch.setattr(this_machine, "_ATTEMPTS", ())
    monkeypatch.setattr(backends.BACKENDS, "_values", {"toy": toy_backend.ROW})
    (check,) = this_machine.examine()
    assert (check.name, check.works) == ("Toy", True) and check.detail.startswith("evaluates with numpy")


def test_its_options_are_heeded_and_others_refused(toy, model):
    done = run_here("compile", str(model), "--backend", "toy", "--hint", "throughput")
    assert (
        done.returncode == 1 and "Toy knows no --hint" in done.stderr and "it takes --threads" in done.stderr
    )


def test_an_engine_that_does_not_fit_is_refused_and_built_anew(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("edgecnn.runtime.compatibility.metadata.version", lambda package: "0.1")
    with pytest.raises(EngineError, match=r"built for Toy .*; here it is 0.1") as caught:
        load(engine)
    assert "edgecnn compile" in caught.value.hint and "--backend toy" in caught.value.hint
    monkeypatch.setattr("toy_backend.onnx.__version__", "0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with load(engine, rebuild=rebuilt) as anew:
        assert anew.path != engine and anew.backend == "toy"


def test_a_mistyped_name_is_answered_with_the_tables(toy, model):
    done = run_here("compile", str(model), "--backend", "tox")
    assert done.returncode == 1 and "unknown backend 'tox'" in done.stderr
    assert "did you mean toy" in done.stderr
    done = run_here("compile", str(model), "--backend", "qqq")
    assert all(row.name in done.stderr for row in backends.BACKENDS)


@pytest.fixture
def package(tmp_path):
    """A folder that holds what a package brings, and how to make a Python see it."""

    def make(point: str) -> dict[str, str]:
        information = tmp_path / "site" / "toy-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[edgecnn.backends]\ntoy = {point}\n")
        tests = Path(toy_backend.__file__).parent
        return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(tests)])}

    return make


def test_an_installed_package_brings_it(package, model):
    environment = package("toy_backend:ROW")
    done = run("compile", str(model), "--backend", "toy", env=environment)
    assert done.returncode == 0, done.stderr
    assert read_manifest(model.with_suffix(".toy")).engine.backend == "toy"
    assert "toy" in run("compile", "--help", env=environment).stdout


def test_one_that_cannot_be_used_is_named(package, monkeypatch):
    site, *_ = package("no_such_module:ROW")["PYTHONPATH"].split(os.pathsep)
    monkeypatch.syspath_prepend(site)
    assert backends.listed().endswith(", toy")  # by its name alone
    with pytest.raises(EdgecnnError, match="plug-in toy = no_such_module:ROW cannot be used"):
        backends.plugged_in().names()
    monkeypatch.setattr(this_machine, "BACKENDS", backends.plugged_in())
    monkeypatch.setattr(this_machine, "_ATTEMPTS", ())
    (check,) = this_machine.examine()
    assert not check.works and "no_such_module" in check.detail
