"""Building: for real with TensorRT-RTX, which needs no GPU; TensorRT's versions against a fake of each."""

import dataclasses
import json

import onnx
import pytest
from fake_gpu import driver, install
from fake_tensorrt_builder import Builder
from program import run
from small_classifier import classifier
from tensorrt_build import compiled

from edgecnn import artifact, files
from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.compile import BatchRange, CompileRequest, compile_file, rebuilt
from edgecnn.errors import EngineError, InvalidValueError
from edgecnn.runtime import cuda, load

IMAGE = TensorSpec("x", ("N", 3, 16, 16), "float32", "NCHW")
LOGITS = TensorSpec("logits", ("N", 5), "float32", "NC")


def of_precision(path, precision):
    """Write a classifier with a manifest that says its precision."""
    classifier(path, precision)
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "edgecnn", Manifest((IMAGE,), (LOGITS,), precision=precision).to_json()
    onnx.save(model, path)
    return path


# TensorRT-RTX, for real


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_rtx_builds_for_several_gpus_without_one(rtx, tmp_path, precision):
    done = compiled(of_precision(tmp_path / "m.onnx", precision), sm=("8.6", "8.9", "12.0"))
    record = done.manifest.engine
    assert record.needs == {
        "compute capability": ("8.6", "8.9", "12.0"),
        "TensorRT-RTX": (rtx.__version__,),
    }
    assert record.files == {"m.engine": files.sha256(tmp_path / "m.engine")}
    assert record.built_on["gpu"] == "none" and record.flags["batch"] == [1, 1, 1]
    assert done.parity is None and "not run" in done.notes[-1]


@pytest.mark.parametrize(
    ("precision", "expected"), [("float32", "Float"), ("float16", "Half"), ("int8", "Int8")]
)
def test_the_convolution_reads_what_the_file_says(rtx, tmp_path, precision, expected):
    done = compiled(of_precision(tmp_path / "m.onnx", precision), sm=("8.9",))
    (convolution,) = [layer for layer in done.layers if layer["kind"] == "correlation"]
    assert convolution["reads"] == expected
    assert any("Conv" in name or "c" in name for name in convolution["onnx"])


def test_a_target_names_the_capability(rtx, tmp_path):
    done = compiled(classifier(tmp_path / "m.onnx"), target="rtx-3060")
    assert done.manifest.engine.needs["compute capability"] == ("8.6",)


def test_a_range_of_batches_is_recorded(rtx, tmp_path):
    done = compiled(classifier(tmp_path / "m.onnx"), sm=("8.9",), batch=BatchRange(1, 4, 8))
    assert done.manifest.engine.flags["batch"] == [1, 4, 8]


def test_a_file_with_a_fixed_batch_keeps_it(rtx, tmp_path):
    path = classifier(tmp_path / "m.onnx", batch="4")
    assert compiled(path, sm=("8.9",)).manifest.engine.flags["batch"] is None
    with pytest.raises(InvalidValueError, match="takes 4 images at a time, not 1 to 8"):
        compiled(path, sm=("8.9",), batch=BatchRange(1, 4, 8))


def test_progress_names_phases_and_counts(rtx, tmp_path):
    steps = []
    request = CompileRequest(
        classifier(tmp_path / "m.onnx"), tmp_path / "m.engine", "tensorrt-rtx", sm=("8.9",)
    )
    compile_file(request, steps.append)
    assert "Building engine: 1 of 6" in steps


def test_ctrl_c_ends_a_build(rtx, tmp_path):
    def interrupt(step):
        if " of " in step:
            raise KeyboardInterrupt

    request = CompileRequest(
        classifier(tmp_path / "m.onnx"), tmp_path / "m.engine", "tensorrt-rtx", sm=("8.9",)
    )
    with pytest.raises(KeyboardInterrupt):
        compile_file(request, interrupt)
    assert not (tmp_path / "m.engine").exists()


def test_without_a_gpu_rtx_asks_for_capabilities(rtx, tmp_path):
    with pytest.raises(EngineError, match="no NVIDIA GPU") as caught:
        compiled(classifier(tmp_path / "m.onnx"))
    assert "`sm`" in caught.value.hint


def test_a_capability_that_rtx_does_not_know_is_refused(rtx, tmp_path):
    with pytest.raises(InvalidValueError, match=r"builds for no compute capability 9\.9") as caught:
        compiled(classifier(tmp_path / "m.onnx"), sm=("9.9",))
    assert "8.9" in caught.value.hint


def test_a_workspace_that_is_too_small_is_explained(rtx, tmp_path):
    with pytest.raises(EngineError, match="workspace limit") as caught:
        compiled(
            of_precision(tmp_path / "m.onnx", "int8"),
            sm=("8.9",),
            workspace_mib=1,
            batch=BatchRange(64, 64, 64),
        )
    assert "`workspace`" in caught.value.hint


def test_the_form_for_cpus_is_refused_before_the_parser(rtx, tmp_path):
    path = classifier(tmp_path / "m.onnx")
    model = onnx.load(path)
    manifest = Manifest((IMAGE,), (LOGITS,), precision="int8", quantization={"scheme": "cpu"})
    entry = model.metadata_props.add()
    entry.key, entry.value = "edgecnn", manifest.to_json()
    onnx.save(model, path)
    with pytest.raises(EngineError, match="quantized for CPUs") as caught:
        compiled(path, sm=("8.9",))
    assert caught.value.hint.startswith(f"edgecnn quantize --from {path} --target portable")


def test_what_the_parser_refuses_names_the_node(rtx, tmp_path):
    path = of_precision(tmp_path / "m.onnx", "float32")
    model = onnx.load(path)
    model.graph.node[1].op_type, model.graph.node[1].name = "Frobnicate", "odd"
    onnx.save(model, path)
    with pytest.raises(EngineError, match=r"cannot read m\.onnx: Frobnicate odd: ") as caught:
        compiled(path, sm=("8.9",))
    assert "\n" not in str(caught.value)


def test_options_that_rtx_lacks_are_refused(rtx, tmp_path):
    for option in ("timing_cache", "version_compatible", "hardware_compatible", "sparsity", "dla"):
        value = {"timing_cache": tmp_path / "cache", "dla": 0}.get(option, True)
        with pytest.raises(InvalidValueError, match=f"knows no `{option}`"):
            compiled(classifier(tmp_path / "m.onnx"), sm=("8.9",), **{option: value})


def test_the_command_builds_for_a_gpu_that_is_elsewhere(rtx, tmp_path):
    path = classifier(tmp_path / "m.onnx")
    done = run("compile", str(path), "--backend", "tensorrt-rtx", "--sm", "86,89", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["engine"]["needs"]["compute capability"] == ["8.6", "8.9"]
    assert files.sha256(tmp_path / "m.engine") == answer["sha256"]


# TensorRT, and what takes a GPU, against a fake


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    return driver(tmp_path, monkeypatch)


@pytest.fixture
def tensorrt(tmp_path, monkeypatch, gpu):
    """Return a function that installs a fake version of TensorRT."""
    return lambda version: install(tmp_path, monkeypatch, gpu, "tensorrt", version)


def built(trt):
    """What the last builder was told."""
    return trt.builds[-1].network, trt.builds[-1].config


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.0.0"])
def test_each_version_builds_checks_and_writes(tensorrt, tmp_path, version):
    trt = tensorrt(version)
    done = compiled(of_precision(tmp_path / "m.onnx", "int8"), backend="tensorrt")
    network, _ = built(trt)
    assert (
        network.flags == {"8": 1, "10": 2, "11": 0}[version.split(".")[0]]
    )  # explicit batch, strongly typed
    assert done.parity.sqnr_db > 50 and done.manifest.engine.needs["TensorRT"] == (version,)
    with load(done.path) as engine:
        assert engine.backend == "tensorrt"


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("float32", set()),
        ("float16", {"FP16", "OBEY_PRECISION_CONSTRAINTS"}),
        ("int8", {"INT8"}),
    ],
)
def test_before_version_10_flags_follow_the_file(tensorrt, tmp_path, precision, flags):
    trt = tensorrt("8.6.1")
    compiled(of_precision(tmp_path / "m.onnx", precision), backend="tensorrt")
    assert built(trt)[1].flags == flags


def test_before_version_10_float32_layers_of_a_float16_file_stay_float32(tensorrt, tmp_path):
    path = of_precision(tmp_path / "m.onnx", "float16")
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "early"
    one = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [], [1.0])
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["one"], value=one))
    model.graph.node.append(onnx.helper.make_node("Mul", ["early", "one"], ["logits"]))
    onnx.save(model, path)
    trt = tensorrt("8.6.1")
    compiled(path, backend="tensorrt")
    precisions = [layer.precision for layer in built(trt)[0].layers]
    assert precisions == [*[None] * (len(precisions) - 1), trt.DataType.FLOAT]


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_from_version_10_no_flag_is_set(tensorrt, tmp_path, precision):
    trt = tensorrt("10.3.0")
    compiled(of_precision(tmp_path / "m.onnx", precision), backend="tensorrt")
    assert built(trt)[1].flags == set()


def test_options_reach_the_builder(tensorrt, tmp_path):
    trt = tensorrt("10.3.0")
    path = classifier(tmp_path / "m.onnx")
    asked = {"workspace_mib": 64, "version_compatible": True, "hardware_compatible": True, "sparsity": True}
    record = compiled(path, backend="tensorrt", **asked).manifest.engine
    network, config = built(trt)
    assert config.pools == {"WORKSPACE": 64 << 20}
    assert config.flags == {"VERSION_COMPATIBLE", "SPARSE_WEIGHTS"}
    assert config.hardware_compatibility_level.name == "AMPERE_PLUS"
    assert network.parser_flag.name == "NATIVE_INSTANCENORM"
    assert {name: record.flags[name] for name in asked} == asked
    assert record.needs == {"compute capability": ("8.", "9.", "10.", "11.", "12."), "TensorRT": ("10.",)}


def test_a_version_compatible_engine_may_bring_its_runtime(tensorrt, tmp_path):
    tensorrt("10.3.0")
    path = classifier(tmp_path / "m.onnx")
    for asked in (True, False):
        done = compiled(path, backend="tensorrt", version_compatible=asked)
        with load(done.path) as engine:
            assert engine._runtime.engine_host_code_allowed is asked


def test_a_compatible_engine_runs_on_a_later_gpu_and_version(tensorrt, tmp_path, monkeypatch):
    tensorrt("10.3.0")
    done = compiled(
        classifier(tmp_path / "m.onnx"), backend="tensorrt", version_compatible=True, hardware_compatible=True
    )
    here = {"compute capability": "12.0", "TensorRT": "10.9.0"}
    monkeypatch.setattr("edgecnn.runtime.tensorrt_engine.TensorRtEngine.here", lambda backend: here)
    load(done.path).close()
    monkeypatch.setitem(here, "compute capability", "7.5")
    with pytest.raises(EngineError, match=r"here it is 7\.5"):
        load(done.path)


def test_tensorrt_builds_for_its_own_gpu_alone(tensorrt, tmp_path):
    tensorrt("10.3.0")
    path = classifier(tmp_path / "m.onnx")
    compiled(path, backend="tensorrt", sm=("8.9",))
    with pytest.raises(
        InvalidValueError, match=r"the GPU that it runs on, of compute capability 8\.9"
    ) as caught:
        compiled(path, backend="tensorrt", target="jetson-orin-nano")
    assert "tensorrt-rtx `sm` 8.7" in caught.value.hint


def test_a_dla_gets_types_that_it_has_and_the_gpu_the_rest(tensorrt, tmp_path):
    trt = tensorrt("10.3.0")
    done = compiled(of_precision(tmp_path / "m.onnx", "float16"), backend="tensorrt", dla=0)
    network, config = built(trt)
    assert network.flags == 0 and config.flags == {"FP16", "GPU_FALLBACK"}
    assert (config.default_device_type.name, config.DLA_core) == ("DLA", 0)
    assert "6 of 7 layers" in done.notes[0]
    with pytest.raises(InvalidValueError, match="no deep-learning accelerator 1 here, but 1"):
        compiled(tmp_path / "m.onnx", backend="tensorrt", dla=1)


@pytest.mark.parametrize("known", [True, False], ids=["ours", "foreign"])
def test_a_dla_takes_no_int8_file(tensorrt, tmp_path, known):
    tensorrt("10.3.0")
    path = of_precision(tmp_path / "m.onnx", "int8") if known else classifier(tmp_path / "m.onnx", "int8")
    with pytest.raises(EngineError, match=r"accelerator takes no Q/DQ file: m\.onnx") as caught:
        compiled(path, backend="tensorrt", dla=0)
    assert "--fp16" in caught.value.hint and not (tmp_path / "m.engine").exists()
    assert compiled(path, backend="tensorrt").manifest.precision == "int8"


def test_timings_are_read_kept_and_joined_with_those_of_another_build(tensorrt, tmp_path, monkeypatch):
    trt = tensorrt("10.3.0")
    cache = tmp_path / "timings"
    first = compiled(classifier(tmp_path / "a.onnx"), backend="tensorrt", timing_cache=cache)
    assert first.manifest.engine.flags["timing_cache"] == files.sha256(cache)

    def another() -> None:
        cache.write_bytes(cache.read_bytes() + b"\nz")

    monkeypatch.setattr(Builder, "meanwhile", staticmethod(another))
    compiled(classifier(tmp_path / "b.onnx"), backend="tensorrt", timing_cache=cache)
    assert b"a" in built(trt)[1].cache.names
    assert cache.read_bytes().split() == [b"timings", b"a", b"b", b"z"]


def test_timings_of_something_else_are_refused_and_kept(tensorrt, tmp_path):
    tensorrt("10.3.0")
    cache = tmp_path / "timings"
    cache.write_bytes(b"of another GPU")
    with pytest.raises(EngineError, match="holds no timings of TensorRT"):
        compiled(classifier(tmp_path / "m.onnx"), backend="tensorrt", timing_cache=cache)
    assert cache.read_bytes() == b"of another GPU"


def test_without_a_gpu_tensorrt_says_what_can_be_done(tensorrt, tmp_path, monkeypatch):
    tensorrt("10.3.0")
    monkeypatch.setattr(cuda, "LIBRARY", "libcuda_absent.so.1")
    with pytest.raises(
        EngineError, match="TensorRT builds for the GPU that it runs on: there is no"
    ) as caught:
        compiled(classifier(tmp_path / "m.onnx"), backend="tensorrt")
    assert "tensorrt-rtx" in caught.value.hint


def test_with_a_gpu_rtx_builds_for_it_and_checks_the_engine(tmp_path, monkeypatch, gpu):
    trt = install(tmp_path, monkeypatch, gpu, "tensorrt-rtx", "1.7.1")
    done = compiled(classifier(tmp_path / "m.onnx"))
    assert built(trt)[1].capabilities == ["CURRENT"] and done.parity.sqnr_db > 50
    assert done.manifest.engine.needs["compute capability"] == ("8.9",)
    elsewhere = compiled(classifier(tmp_path / "m.onnx"), sm=("8.6",))
    assert built(trt)[1].capabilities == ["SM86"] and elsewhere.parity is None


def test_an_engine_for_another_gpu_is_rebuilt_when_asked(tensorrt, tmp_path, monkeypatch):
    tensorrt("10.3.0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = compiled(classifier(tmp_path / "m.onnx"), backend="tensorrt", batch=BatchRange(1, 2, 4))
    record = dataclasses.replace(done.manifest.engine, needs={"compute capability": ("8.6",)})
    artifact.sidecar(done.path).write_text(dataclasses.replace(done.manifest, engine=record).to_json())
    with load(done.path, rebuild=rebuilt) as engine:
        assert engine.path.is_relative_to(tmp_path / "cache") and engine.batches == (1, 4)
