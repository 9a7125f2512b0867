import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgecnn.compile import BatchRange, CompileRequest, compile_file
from edgecnn.errors import ArtifactError, EngineError, InputError, InvalidValueError
from edgecnn.runtime import load
from edgecnn.runtime.processor import processor
from edgecnn.tasks.compare import compare

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def folder(exported, tmp_path_factory):
    """MobileNet at half the width, compiled."""
    folder = tmp_path_factory.mktemp("openvino")
    source = exported("mobilenet", "--alpha", "0.5")
    compile_file(CompileRequest(source, folder / "m.xml", "openvino", threads=1))
    return folder


@pytest.fixture(scope="module")
def images(exported, coffee):
    with load(exported("mobilenet", "--alpha", "0.5")) as engine:
        return engine.prepare([coffee, coffee.with_name("chelsea.png"), coffee.with_name("rocket.jpg")])


def _copy(folder: Path, to: Path, *suffixes: str) -> Path:
    for suffix in suffixes:
        shutil.copy(folder / f"m{suffix}", to / f"m{suffix}")
    return to / "m.xml"


def test_logits_are_those_of_onnx_runtime_in_float32(folder, images, exported):
    source = exported("mobilenet", "--alpha", "0.5")
    with load(source) as reference, load(folder / "m.xml") as engine:
        # In bfloat16, the library's default where the CPU has it, some 40 dB.
        assert compare(reference.run(images), engine.run(images), "the engine").sqnr_db > 90


@pytest.mark.skipif("avx512" not in processor() and "amx" not in processor(), reason="no bfloat16 here")
def test_bfloat16_is_used_where_it_is_asked_for(exported, images, tmp_path):
    source = exported("mobilenet", "--alpha", "0.5")
    done = compile_file(CompileRequest(source, tmp_path / "h.xml", "openvino", bf16=True))
    with load(source) as reference, load(done.path) as engine:
        assert 15 < compare(reference.run(images), engine.run(images), "the engine").sqnr_db < 60


def test_several_threads_get_the_answers_of_one(folder, images):
    with load(folder / "m.xml") as engine:
        expected = [engine(images[i : i + 1]) for i in range(3)]
        wrong = []

        def work(index: int) -> None:
            for _ in range(20):
                if not np.array_equal(engine(images[index : index + 1]), expected[index]):
                    wrong.append(index)

        threads = [threading.Thread(target=work, args=(index % 3,)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_later_calls_leave_earlier_answers_alone(folder, images):
    with load(folder / "m.xml") as engine:
        first = engine(images[:1])
        kept = first.copy()
        engine(images[1:2])
        np.testing.assert_array_equal(first, kept)


def test_an_array_that_must_not_be_written_is_taken(folder, images):
    with load(folder / "m.xml") as engine:
        expected = engine(images[:1])
        locked = images[:1].copy()
        locked.flags.writeable = False
        np.testing.assert_array_equal(engine(locked), expected)


def test_the_number_of_threads_is_that_of_the_file_or_of_the_caller(folder):
    for asked, used in ((0, 1), (2, 2)):
        with load(folder / "m.xml", threads=asked) as engine:
            assert engine.threads == used
            assert engine._compiled.get_property("INFERENCE_NUM_THREADS") == used


def test_a_file_without_its_record_runs(folder, images, tmp_path):
    path = _copy(folder, tmp_path, ".xml", ".bin")
    with load(path) as bare, load(folder / "m.xml") as engine:
        np.testing.assert_array_equal(bare(images[:1]), engine(images[:1]))
        assert bare.classes == 1000 and bare.input.layout == "NCHW"
        with pytest.raises(ArtifactError, match="carries no manifest"):
            bare.predict("photo.jpg")


def test_weights_that_are_missing_are_named(folder, tmp_path):
    path = _copy(folder, tmp_path, ".xml", ".xml.json")
    with pytest.raises(ArtifactError, match=r"m.bin, which belongs to m.xml, is missing"):
        load(path)


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_file_that_was_changed_is_refused_before_it_is_read(folder, tmp_path, suffix):
    path = _copy(folder, tmp_path, ".xml", ".bin", ".xml.json")
    damaged = path.with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[:-7])
    with pytest.raises(ArtifactError, match=rf"m{suffix} is damaged"):
        load(path)


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_damage_without_a_record_is_one_line(folder, tmp_path, suffix):
    path = _copy(folder, tmp_path, ".xml", ".bin")
    damaged = path.with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(EngineError, match=r"refuses .*m.xml: ") as caught:
        load(path)
    assert "\n" not in str(caught.value) and "src/" not in str(caught.value)


def test_other_devices_and_impossible_threads_are_refused(folder):
    with pytest.raises(EngineError, match="on the CPU here, not on cuda"):
        load(folder / "m.xml", device="cuda")
    with pytest.raises(InvalidValueError):
        load(folder / "m.xml", threads=-1)


def test_a_closed_engine_says_so(folder, images):
    engine = load(folder / "m.xml")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="is closed"):
        engine(images[:1])


def test_inference_needs_no_other_library(folder):
    code = (
        "import sys, numpy; from edgecnn.runtime import load;"
        f"load({str(folder / 'm.xml')!r})(numpy.zeros((1, 3, 224, 224), numpy.float32));"
        "print({'torch', 'onnx', 'onnxruntime', 'skimage'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_any_number_of_images_is_cut_into_batches_of_the_range(exported, tmp_path):
    source = exported("lenet5")
    request = CompileRequest(source, tmp_path / "m.xml", "openvino", batch=BatchRange(2, 2, 4))
    array = np.random.default_rng(0).random((9, 1, 32, 32), np.float32)
    with load(compile_file(request).path) as engine, load(source) as reference:
        assert engine.batches == (2, 4)
        with pytest.raises(InputError, match="takes 2 to 4 images at a time, not 1"):
            engine(array[:1])
        np.testing.assert_allclose(engine.run(array), reference.run(array), rtol=1e-3, atol=1e-4)
