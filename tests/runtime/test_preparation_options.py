"""How images are prepared, as options say it: over a name, over what a file says, over what is usual."""

import pytest

from edgecnn.errors import InvalidValueError, UnknownNameError
from edgecnn.options import fields, from_text, make
from edgecnn.runtime.named_preparations import NAMED_PREPARATIONS
from edgecnn.runtime.preparation_options import PreparationOptions
from edgecnn.runtime.preprocessing import Preprocessing

KNOWN = Preprocessing(32, fit="letterbox", pad=(7,), color="bgr", mean=(0.1, 0.2, 0.3), std=(1.0,) * 3)


def said(**texts):
    known = fields(PreparationOptions)
    return make(PreparationOptions, {name: from_text(known[name], text) for name, text in texts.items()})


def test_what_is_not_said_comes_from_the_file_and_then_from_what_is_usual():
    assert said().applied(KNOWN, 3) == KNOWN and not said().says
    assert said().applied(None, 3) == Preprocessing()
    assert said(pad="9").applied(KNOWN, 3).pad == (9,) and said(pad="9", fit="letterbox").says
    assert said(size="24x40").applied(KNOWN, 3) == KNOWN.at((24, 40))
    assert said(color="rgb").applied(KNOWN, 3).mean == KNOWN.mean


def test_a_name_says_all_and_options_change_it():
    assert said(prepare="yolo").applied(KNOWN, 3, (64, 96)) == NAMED_PREPARATIONS["yolo"].at((64, 96))
    changed = said(prepare="caffe", color="rgb", interpolation="bilinear").applied(None, 3, (8, 8))
    assert (changed.color, changed.interpolation, changed.pixels) == ("rgb", "bilinear", 255)
    assert changed.mean == NAMED_PREPARATIONS["caffe"].mean


def test_pixels_alone_mean_neither_mean_nor_deviation():
    for pixels in (1, 255):
        plain = said(pixels=pixels).applied(KNOWN, 3)
        assert (plain.pixels, plain.mean, plain.std) == (pixels, (0.0,) * 3, (1.0,) * 3)
    of_255 = said(pixels=255, mean="104,117,124").applied(None, 3)
    assert (of_255.pixels, of_255.mean, of_255.std) == (255, (104.0, 117.0, 124.0), (1.0,) * 3)


def test_a_mean_or_deviation_alone_means_no_other_and_the_unit_of_one():
    half = said(mean="0.5,0.5,0.5").applied(KNOWN, 3)
    assert (half.mean, half.std, half.pixels) == ((0.5,) * 3, (1.0,) * 3, 1)


@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        ({"pad": "3", "fit": "crop"}, InvalidValueError, "`pad` says nothing to fit crop"),
        ({"fit": "letterbox", "crop": 0.9}, InvalidValueError, "`crop` says nothing to fit letterbox"),
        ({"fit": "letterbox", "pad": "1.5"}, InvalidValueError, "no grey levels"),
        ({"fit": "letterbox", "pad": "300"}, InvalidValueError, "goes around no image"),
        ({"pixels": 2}, InvalidValueError, "pixels of 2 cannot be"),
        ({"mean": "a"}, InvalidValueError, "no numbers"),
        ({"mean": "0.5,0.5,0.5", "std": "1,0,1"}, InvalidValueError, "prepare no image"),
        ({"prepare": "yoloo"}, InvalidValueError, "unknown `prepare` 'yoloo'"),
        ({"fit": "tile"}, InvalidValueError, "unknown `fit` 'tile'"),
        ({"size": "3x"}, InvalidValueError, "no size of an image"),
    ],
)
def test_what_prepares_no_image_is_refused_before_any_work(texts, error, words):
    with pytest.raises((error, UnknownNameError), match=words):
        said(**texts)


def test_a_mean_for_other_channels_is_refused_by_the_files_name():
    with pytest.raises(InvalidValueError, match=r"m\.onnx takes 1 channels, the mean and deviation 3"):
        said(mean="0,0,0").applied(None, 1, name="m.onnx")
