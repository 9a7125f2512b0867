"""A decoder as an option says it: its name, and settings after it."""

import pytest

from edgecnn.decoder_option import DECODER_NAMES, SETTING_NAMES, DecoderOption
from edgecnn.errors import InvalidValueError, UnknownNameError
from edgecnn.tasks.decoders import DECODERS


def test_the_option_knows_every_decoder_and_its_settings():
    assert list(DECODER_NAMES) == DECODERS.names()
    assert {key for decoder in DECODERS for key in decoder.defaults} < set(SETTING_NAMES)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("dbnet", {}),
        ("yolov8 iou=0.45 classes=0,2 limit=9", {"iou": 0.45, "classes": [0, 2], "limit": 9}),
        ("ssd ratios=[[2],[2,3]] clip=false", {"ratios": [[2], [2, 3]], "clip": False}),
        ("yolov8 classes=[3]", {"classes": [3]}),
    ],
)
def test_settings_follow_a_decoders_name(text, settings):
    assert DecoderOption(decoder=text).settings == {"name": text.split()[0], **settings}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yolo", "unknown decoder 'yolo'"),
        ("", "unknown decoder ''"),
        ("yolov8 iuo=1", "unknown setting of a decoder 'iuo'"),
        *[
            (f"yolov8 iou={value}", "gives no value")
            for value in ("", "a", "NaN", "1e999", '"x"', "[]", "1,,2", "[" * 999)
        ],
    ],
)
def test_settings_that_are_none_are_named(text, said):
    with pytest.raises((UnknownNameError, InvalidValueError), match=said):
        DecoderOption(decoder=text)
