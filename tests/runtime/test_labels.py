import pytest

from edgecnn.errors import UnknownNameError
from edgecnn.runtime.labels import names


def test_imagenet_has_a_thousand_labels_in_the_usual_order():
    labels = names("imagenet", 1000)
    assert len(labels) == 1000
    assert (labels[0], labels[282], labels[967], labels[999]) == (
        "tench",
        "tiger cat",
        "espresso",
        "toilet tissue",
    )


def test_labels_that_do_not_fit_the_classes_are_not_used():
    assert names("imagenet", 2) == ["class 0", "class 1"]
    assert names(None, 1) == ["class 0"]


def test_a_list_is_used_as_it_is():
    assert names(("cat", "dog"), 2) == ("cat", "dog")


def test_an_unknown_set_suggests_its_neighbour():
    with pytest.raises(UnknownNameError) as caught:
        names("imagnet", 1000)
    assert caught.value.hint == "did you mean imagenet?"
