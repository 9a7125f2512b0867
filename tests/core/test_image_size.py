"""Height and width as they are said."""

import pytest

from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (224, (224, 224)),
        ("224", (224, 224)),
        ("192x256", (192, 256)),
        ("192X256", (192, 256)),
        ((3, 4), (3, 4)),
    ],
)
def test_a_size_is_a_side_or_height_by_width(said, meant):
    assert Size.of(said) == meant
    assert Size.of(Size.of(said).said) == meant


@pytest.mark.parametrize(
    "said", [0, -1, True, 2.5, "", "a", "3x", "3x4x5", "0x4", (1, 2, 3), (1.5, 2), (), None]
)
def test_what_is_no_size_is_refused(said):
    with pytest.raises(InvalidValueError, match="is no size of an image"):
        Size.of(said)


def test_a_square_is_said_by_its_side_and_people_read_both():
    assert (Size(32, 32).said, Size(32, 48).said, str(Size(32, 48))) == (32, "32x48", "32 x 48")
    assert Size(32, 48).scaled(0.5) == (16, 24)
