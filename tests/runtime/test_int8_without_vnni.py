"""An x86 without VNNI, emulated: int8 files give there what they give elsewhere, or are refused."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import emulated
import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgecnn.artifact import Manifest
from edgecnn.compile import CompileRequest, compile_file
from edgecnn.errors import EngineError
from edgecnn.quantize.quantizer import quantize
from edgecnn.runtime import load, openvino_int8, ort_engine
from edgecnn.schemes import CPU, OPENVINO, OPENVINO_7BIT, PORTABLE
from edgecnn.tasks.compare import compare

SCRIPT = str(Path(__file__).with_name("int8_answers.py"))
#: Float sums differ by their order; a code on the edge falls to either side.
SAME_DB = 40.0
FORMS = {"cpu": CPU, "portable": PORTABLE, "openvino": OPENVINO, "openvino-avx2": OPENVINO_7BIT}


def network() -> onnx.ModelProto:
    """Return a classifier whose products are large: no values below zero, and many that add up."""
    rng = np.random.default_rng(0)
    nodes = """c = Conv<pads=[1,1,1,1]>(x, w) d = Conv<pads=[1,1,1,1]>(c, v) s = Relu(d)
        g = GlobalAveragePool(s) f = Flatten(g) y = Gemm<transB=1>(f, u, b)"""
    model = parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]> g (float[n,3,16,16] x) => (float[n,8] y) {{{nodes}}}'
    )
    shapes = {"w": (16, 3, 3, 3), "v": (16, 16, 3, 3), "u": (8, 16)}
    values = {name: rng.uniform(0.5, 1, shape) for name, shape in shapes.items()}
    for name, value in {**values, "b": rng.normal(size=8)}.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}{index}"
    return model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 2, (4, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory) -> Path:
    """The network in each form, and the engines that OpenVINO makes of two."""
    folder = tmp_path_factory.mktemp("forms")
    for name, scheme in FORMS.items():
        onnx.save(quantize(network(), [images], scheme, "minmax").model, folder / f"{name}.onnx")
    pytest.importorskip("openvino")
    for name in ("openvino", "openvino-avx2"):
        compile_file(CompileRequest(folder / f"{name}.onnx", folder / f"{name}.xml", "openvino", threads=1))
    return folder


@pytest.fixture(scope="module")
def here(folder, images) -> dict[str, np.ndarray]:
    """Answers on this processor."""
    found = {}
    for path in [*folder.glob("*.onnx"), *folder.glob("*.xml")]:
        with load(path) as engine:
            found[path.name] = engine.run(images)
    return found


@pytest.fixture(scope="module")
def there(folder, images) -> dict[str, np.ndarray]:
    """Answers on a Haswell."""
    np.save(folder / "images.npy", images)
    files = [
        str(folder / name) for name in ("cpu.onnx", "portable.onnx", "openvino.xml", "openvino-avx2.xml")
    ]
    done = emulated.python(
        "Haswell", SCRIPT, "--compile", str(folder / "answers.npz"), str(folder / "images.npy"), *files
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "answers.npz"))


def decibels(reference: np.ndarray, output: np.ndarray) -> float:
    return compare(reference, output, "the output", constant=True).sqnr_db


def test_the_processor_itself_is_asked_and_not_the_machine_below(there):
    assert there["processor"].tolist() == ["x86_64 avx2", "True"]


@pytest.mark.parametrize("form", ["cpu", "portable"])
def test_onnx_runtime_is_told_to_compute_in_full(here, there, form):
    expected = here[f"{form}.onnx"]
    assert decibels(expected, there[f"{form}.onnx untold"]) < 20, "the emulator does not show the fault"
    assert decibels(expected, there[f"{form}.onnx"]) > SAME_DB
    assert decibels(expected, there[f"{form}.onnx compiled"]) > SAME_DB


def test_openvino_computes_seven_bits_right_and_eight_not_at_all(here, there):
    message, hint = there["openvino.xml"]
    assert "openvino.xml has int8 weights of 8 bits" in message and "x86_64 avx2" in message
    assert "edgecnn quantize --from" in hint and "--target openvino-avx2" in hint
    assert decibels(here["openvino-avx2.xml"], there["openvino-avx2.xml"]) > SAME_DB


@pytest.fixture
def without_vnni(monkeypatch):
    """This processor, as if it had no VNNI."""
    for module in (ort_engine, openvino_int8):
        monkeypatch.setattr(module, "saturates", lambda: True)
        monkeypatch.setattr(module, "processor", lambda: "x86_64 avx2")


def test_an_8_bit_file_is_not_compiled_for_openvino_there(folder, tmp_path, without_vnni):
    request = CompileRequest(folder / "cpu.onnx", tmp_path / "m.xml", "openvino")
    with pytest.raises(EngineError, match=r"cpu\.onnx has int8 weights of 8 bits") as caught:
        compile_file(request)
    assert str(folder / "cpu_7bit.onnx") in caught.value.hint
    assert not list(tmp_path.iterdir())
    done = compile_file(CompileRequest(folder / "openvino-avx2.onnx", tmp_path / "m.xml", "openvino"))
    assert done.parity is not None


def test_a_float_file_is_taken_by_openvino_there(tmp_path, without_vnni):
    onnx.save(network(), tmp_path / "f.onnx")
    path = compile_file(CompileRequest(tmp_path / "f.onnx", tmp_path / "f.xml", "openvino")).path
    with load(path) as engine:
        assert engine.classes == 8


def test_an_engine_of_onnx_runtime_belongs_to_its_products(folder, tmp_path, without_vnni, monkeypatch):
    path = compile_file(CompileRequest(folder / "cpu.onnx", tmp_path / "m.ort", "ort")).path
    with load(path) as engine:
        assert engine.manifest.engine.needs["processor"] == ("x86_64 avx2, int8 as u8 x u8",)
    monkeypatch.setattr(ort_engine, "saturates", lambda: False)
    with pytest.raises(EngineError, match="was built for processor x86_64 avx2, int8 as u8 x u8; here it is"):
        load(path)


def test_an_optimized_int8_file_of_unknown_origin_is_refused_there(folder, tmp_path, without_vnni):
    onnx.save(network(), tmp_path / "f.onnx")
    for name, source in (("int8", folder / "cpu.onnx"), ("float", tmp_path / "f.onnx")):
        path = compile_file(CompileRequest(source, tmp_path / f"{name}.ort", "ort")).path
        path.with_name(f"{name}.ort.json").unlink()
    with pytest.raises(EngineError, match=r"int8\.ort has no int8\.ort\.json beside it"):
        load(tmp_path / "int8.ort")
    with load(tmp_path / "float.ort") as engine:
        assert engine.classes == 8


@pytest.mark.parametrize("bits", [8, 7])
def test_openvinos_provider_gets_no_8_bit_file_there(bits, without_vnni):
    manifest = Manifest((), (), precision="int8", quantization={"weight_bits": bits})
    refused = pytest.raises(EngineError, match="OpenVINO computes wrongly") if bits == 8 else nullcontext()
    with refused:
        ort_engine._demand_exact(Path("m.onnx"), manifest, "openvino")
    ort_engine._demand_exact(Path("m.onnx"), manifest, "cpu")


@pytest.mark.parametrize(("largest", "zero", "expected"), [(127, 0, 127), (63, 0, 63), (63, 5, 63)])
def test_weights_are_known_by_their_integers(largest, zero, expected):
    """Whatever wrote an IR: as int8 with or without a zero point, or as floats that are rounded later."""
    ov = pytest.importorskip("openvino")
    from openvino import opset13 as operators

    weight = np.array([[largest, -3], [7, 1]], np.int8)
    stored = operators.convert(operators.constant(weight), "f32")
    if zero:
        stored = operators.subtract(
            stored, operators.convert(operators.constant(np.array([[100 + zero]], np.int8)), "f32")
        )
    image = operators.parameter([1, 2], np.float32)
    rounded = operators.fake_quantize(image, *map(np.float32, (0, 1, 0, 1)), 256)
    scaled = operators.multiply(stored, np.float32(0.1))
    product = operators.matmul(rounded, scaled, False, True)
    assert openvino_int8.largest_weight(ov.Model([product], [image])) == expected
    end = np.float32(127 / largest)
    late = operators.fake_quantize(weight / np.float32(largest), -end, end, -end, end, 255)
    product = operators.matmul(rounded, late, False, True)
    assert openvino_int8.largest_weight(ov.Model([product], [image])) == largest


def test_the_entry_is_set_only_where_it_is_needed(monkeypatch):
    for needed in (False, True):
        monkeypatch.setattr(ort_engine, "saturates", lambda needed=needed: needed)
        options = ort_engine.session_options()
        try:
            assert options.get_session_config_entry(ort_engine.EXACT_INT8) == "1" and needed
        except RuntimeError:  # how the library says that there is no such entry
            assert not needed


@pytest.mark.parametrize(("precision", "noted"), [("int8", True), ("float32", False)])
def test_a_profile_says_that_slower_kernels_compute(precision, noted, monkeypatch):
    monkeypatch.setattr(ort_engine, "saturates", lambda: True)
    manifest = Manifest((), (), precision=precision, quantization={"scheme": "cpu"})
    engine = SimpleNamespace(manifest=manifest, path=Path("m.onnx"), device="cpu")
    notes = ort_engine.OrtEngine.notes.fget(engine)
    assert any("has no VNNI" in note for note in notes) is noted


@pytest.mark.slow
@pytest.mark.parametrize("form", ["cpu", "portable"])
def test_efficientnet_keeps_its_decibels(form, exported, tmp_path, coffee):
    options = ("--weights", "imagenet", "--int8", "--target", form)
    files = {
        "float": exported("efficientnet_lite0", *options[:2]),
        form: exported("efficientnet_lite0", *options),
    }
    with load(files["float"]) as engine, load(files[form]) as int8:
        images = engine.prepare([coffee, coffee.with_name("chelsea.png"), coffee.with_name("rocket.jpg")])
        reference, expected = engine.run(images), int8.run(images)
    np.save(tmp_path / "images.npy", images)
    arguments = [SCRIPT, str(tmp_path / "a.npz"), str(tmp_path / "images.npy"), str(files[form])]
    done = emulated.python("Haswell", *arguments)
    assert done.returncode == 0, done.stderr
    name = files[form].name
    there = np.load(tmp_path / "a.npz")
    kept = decibels(reference, expected)
    untold, told = (decibels(reference, there[key]) for key in (f"{name} untold", name))
    print(f"{form}: {kept:.1f} dB here; on a Haswell {told:.1f}, and {untold:.1f} if it is not told")
    assert untold < kept - 5, "the emulator does not show the fault"
    assert told == pytest.approx(kept, abs=0.2)
