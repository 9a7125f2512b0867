import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edgecnn.compile import CompileRequest, compile_file
from edgecnn.errors import ArtifactError, EngineError, InputError, InvalidValueError, UnknownNameError
from edgecnn.measure.latency.profile_engines import profile
from edgecnn.runtime import Preprocessing, load
from edgecnn.tasks.classification import softmax


@pytest.fixture(scope="module")
def mobilenet(exported):
    with load(exported("mobilenet", "--alpha", "0.5"), threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def images(mobilenet, coffee):
    return mobilenet.prepare([coffee, coffee.with_name("chelsea.png"), coffee.with_name("rocket.jpg")])


def test_an_array_in_gives_logits_out(mobilenet, images):
    logits = mobilenet(images)
    assert logits.shape == (3, 1000) and logits.dtype == np.float32
    assert mobilenet.classes == 1000
    assert mobilenet.device == ("cuda" if torch.cuda.is_available() else "cpu")


def test_several_threads_get_the_answers_of_one(mobilenet, images):
    expected = [mobilenet(images[i : i + 1]) for i in range(3)]
    wrong = []

    def work(index: int) -> None:
        for _ in range(20):
            if not np.array_equal(mobilenet(images[index : index + 1]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index % 3,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 3, 100, 224), np.float32),
        np.zeros((3, 224, 224), np.float32),
        np.zeros((1, 3, 224, 224), np.float64),
        np.zeros((0, 3, 224, 224), np.float32),
        np.float32(1),
    ],
)
def test_an_array_that_does_not_fit_is_refused_in_one_sentence(mobilenet, array):
    mobilenet(np.zeros((1, 3, 224, 224), np.float32))  # what fitted before proves nothing for this one
    with pytest.raises(InputError, match="takes batch x 3 x 224 x 224 float32, not"):
        mobilenet(array)


def test_a_strided_array_gives_the_same_answer(mobilenet, images):
    wide = np.repeat(images, 2, axis=3)[..., ::2]
    assert not wide.flags.c_contiguous
    np.testing.assert_array_equal(mobilenet(wide), mobilenet(images))


def test_probabilities_are_sorted_and_add_up_to_one(mobilenet, coffee):
    (best,) = mobilenet.predict(coffee, top=1000)
    probabilities = [item.probability for item in best]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert mobilenet.predict([]) == []


def test_a_list_of_images_gives_the_answers_of_each(mobilenet, coffee):
    cat = coffee.with_name("chelsea.png")
    both, one, other = (mobilenet.predict(item, top=3) for item in ([coffee, cat], coffee, cat))
    for together, alone in zip(both, [one[0], other[0]], strict=True):
        assert [item.index for item in together] == [item.index for item in alone]


def test_softmax_is_right_for_large_logits():
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4 - np.log(3)]])), [[0.75, 0.25]])


def test_a_fixed_batch_takes_only_that_many_but_runs_any_number(exported, coffee):
    with load(exported("lenet5", "--batch", "4")) as engine:
        data = engine.prepare([coffee] * 4)
        with pytest.raises(InputError, match="takes 4 x 1 x 32 x 32"):
            engine(data[:3])
        np.testing.assert_allclose(
            engine.run(np.concatenate([data, data[:2]])), np.repeat(engine(data)[:1], 6, 0)
        )


def test_a_closed_engine_says_so(exported):
    engine = load(exported("lenet5", "--batch", "4"))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="is closed"):
        engine(np.zeros((4, 1, 32, 32), np.float32))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU answers")
def test_cuda_where_there_is_none_is_an_error_and_no_fall_back(exported):
    with pytest.raises(EngineError, match="has no cuda"):
        load(exported("lenet5", "--batch", "4"), device="cuda")


def test_unknown_devices_and_impossible_threads_are_refused(exported):
    path = exported("lenet5", "--batch", "4")
    with pytest.raises(UnknownNameError, match="unknown `device` 'cpuu'"):
        load(path, device="cpuu")
    for threads in (-1, 100_000):
        with pytest.raises(InvalidValueError, match="threads cannot be used"):
            load(path, threads=threads)


def _foreign(path, inputs: int = 1):
    names = [f"x{index}" for index in range(inputs)]
    node = helper.make_node("Flatten", names[:1], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 192])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_foreign_model_runs_arrays_but_says_that_it_does_not_know_its_preprocessing(tmp_path, coffee):
    path = _foreign(tmp_path / "f.onnx")
    with load(path) as engine:
        assert engine(np.ones((2, 3, 8, 8), np.float32)).shape == (2, 192)
        with pytest.raises(ArtifactError, match="carries no manifest"):
            engine.predict(coffee)
    with load(path, preprocessing=Preprocessing(8)) as engine:
        assert engine.predict(coffee, top=1)[0][0].label.startswith("class ")


def test_of_two_inputs_each_is_given_by_its_name(tmp_path):
    one = np.ones((2, 3, 8, 8), np.float32)
    with load(_foreign(tmp_path / "f.onnx", inputs=2)) as engine:
        assert engine({"x1": one, "x0": 2 * one}).max() == 2
        with pytest.raises(InputError, match="takes 'x0', 'x1', not 'x0'"):
            engine(one)
        with pytest.raises(InputError, match=r"input 'x1' of f\.onnx takes n x 3 x 8 x 8 float32, not 2 x 3"):
            engine({"x0": one, "x1": one[:, :, :4]})


def test_a_model_that_the_library_refuses_is_one_clear_error(tmp_path):
    model = onnx.load(_foreign(tmp_path / "f.onnx"))
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "f.onnx")
    with pytest.raises(EngineError, match=r"ONNX Runtime .* refuses"):
        load(tmp_path / "f.onnx")


def test_the_runtime_pulls_in_neither_torch_nor_onnx(exported):
    code = (
        "import sys; from edgecnn.runtime import load; from edgecnn.runtime.image_files import sample_photo\n"
        f"engine = load({str(exported('lenet5', '--batch', '4'))!r}); engine.predict(sample_photo())\n"
        "print([name for name in ('torch', 'onnx', 'sklearn', 'skimage', 'click') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (["n", 3, 32, 48], TensorProto.FLOAT),
        (["n", 32, 48, 3], TensorProto.FLOAT16),
        (["n", 16, 16, 3], TensorProto.UINT8),
        ([2, 1, 8, 8], TensorProto.UINT8),
    ],
)
def test_foreign_models_of_many_forms_can_be_profiled(tmp_path, shape, kind):
    value = helper.make_tensor_value_info("x", kind, shape)
    out = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([helper.make_node("Flatten", ["x"], ["y"])], "g", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, tmp_path / "f.onnx")
    with load(tmp_path / "f.onnx") as engine:
        assert len(profile([engine], seconds=0.1)[0].samples) >= 20


@pytest.mark.parametrize(
    ("shape", "why"),
    [(["n", 784], "takes no image at 'x'"), (["n", 3, "h", "w"], "takes images of any size")],
)
def test_a_foreign_model_without_a_fixed_image_runs_but_is_not_profiled_on_guesses(tmp_path, shape, why):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Flatten", ["x"], ["y"])], "g", [value], [out])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
        tmp_path / "f.onnx",
    )
    with load(tmp_path / "f.onnx") as engine:
        given = np.ones([7 if isinstance(size, str) else size for size in shape], np.float32)
        assert engine(given).shape[0] == 7
        with pytest.raises(InvalidValueError, match=why):
            profile([engine], seconds=0.1)


@pytest.mark.parametrize("given", [[[1.0]], None, "photo.jpg", bytearray(3)])
def test_what_is_no_array_is_refused_in_one_sentence(mobilenet, given):
    with pytest.raises(InputError, match="takes a NumPy array, not an object of type"):
        mobilenet(given)
    with pytest.raises(InputError, match="takes a NumPy array"):
        mobilenet.run(given)


def test_no_images_are_refused_in_one_sentence(mobilenet):
    with pytest.raises(InputError, match="no images"):
        mobilenet.prepare([])
    with pytest.raises(InputError, match="not 0 x 3 x 224 x 224"):
        mobilenet.run(np.zeros((0, 3, 224, 224), np.float32))
    with pytest.raises(InputError, match="not a scalar"):
        mobilenet.run(np.array(1, np.float32))


def test_big_endian_values_are_refused_and_not_misread(mobilenet, images):
    with pytest.raises(InputError, match="float32, not 3 x 3 x 224 x 224 >f4"):
        mobilenet(images.astype(">f4"))


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_below_one_is_refused(mobilenet, coffee, batch):
    with pytest.raises(InvalidValueError, match="images at a time"):
        mobilenet.predict(coffee, batch=batch)


def _pooled(path, kind, shape, nhwc=False):
    """A network that ends in a pooling, without a manifest: (n, 3, 1, 1) out of `shape`."""
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT16)]
    nodes += [helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2])] if nhwc else []
    nodes.append(helper.make_node("GlobalAveragePool", ["t" if nhwc else "f"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [shape[0], 3, 1, 1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8])
@pytest.mark.parametrize("nhwc", [True, False])
def test_a_foreign_network_predicts_with_preprocessing_in_its_own_type_and_layout(tmp_path, kind, nhwc):
    path = _pooled(tmp_path / "f.onnx", kind, ["n", 8, 8, 3] if nhwc else ["n", 3, 8, 8], nhwc)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    with load(path, preprocessing=Preprocessing(8, crop=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)) as engine:
        logits = engine(engine.prepare([red, red]))
        assert logits.shape == (2, 3, 1, 1) and logits.dtype == np.float16 and engine.classes == 3
        assert logits[0].ravel().tolist() == ([255, 0, 0] if kind == TensorProto.UINT8 else [1, 0, 0])
        assert engine.predict(red)[0][0].index == 0


def test_a_dimension_without_a_name_is_called_by_its_place(tmp_path):
    with load(_pooled(tmp_path / "f.onnx", TensorProto.FLOAT, [None, 3, None, 8])) as engine:
        assert engine.input.shape == ("batch", 3, "size2", 8)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_an_engine_that_is_closed_during_a_call_says_so(exported, tmp_path, suffix):
    path = exported("lenet5", "--batch", "4")
    if suffix == ".xml":
        pytest.importorskip("openvino")
        path = compile_file(CompileRequest(path, tmp_path / "m.xml", "openvino")).path
    engine = load(path)
    check = engine.check

    def slow(array):
        check(array)
        engine.close()  # as another thread may, between the check and the inference

    engine.check = slow
    with pytest.raises(EngineError, match="is closed"):
        engine(np.zeros((4, 1, 32, 32), np.float32))


def test_preprocessing_that_cannot_be_is_refused_where_it_is_made():
    with pytest.raises(UnknownNameError, match="unknown interpolation 'bicubc'") as caught:
        Preprocessing(interpolation="bicubc")
    assert "bicubic" in caught.value.hint
    for values in (
        {"height": 0},
        {"crop": 0.0},
        {"mean": (0.5,)},
        {"mean": (), "std": ()},
        {"std": (1, 0, 1)},
        {"pixels": 2},
        {"width": 1.5},
        {"fit": "letterbox", "pad": (256,)},
        {"fit": "letterbox", "pad": (1, 2)},
    ):
        with pytest.raises(InvalidValueError):
            Preprocessing(**values)
    with pytest.raises(ArtifactError, match="preprocessing is damaged: KeyError: 'mean'"):
        Preprocessing.from_json({"size": 8})
