"""Where the images of a batch lie in outputs of every form, and any number of images through them."""

import numpy as np
import pytest

from edgecnn.errors import EngineError
from edgecnn.runtime.sample_axis import SampleAxes, declared

IMAGES = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
#: Output of a batch, (N, 3), and an image's part of it.
FORMS = {
    "first": (lambda x: x, lambda x: x),
    "second": (lambda x: np.stack([x, 2 * x]), lambda x: np.stack([x, 2 * x])),
    "last": (lambda x: x.T, lambda x: x),
    "several entries": (lambda x: np.repeat(x, 4, axis=0), lambda x: np.repeat(x[None], 4, axis=0)),
    "none": (lambda x: x.sum(), lambda x: x.sum()),
}


def counted(function, seen):
    def infer(chosen):
        seen.append(len(chosen))
        return [function(IMAGES[chosen])]

    return infer


@pytest.mark.parametrize("name", FORMS)
def test_of_a_free_batch_each_image_has_its_entry(name):
    function, part = FORMS[name]
    (rows,) = SampleAxes([None]).rows(counted(function, []), len(IMAGES))
    np.testing.assert_allclose(rows, np.stack([part(image) for image in IMAGES]), rtol=1e-6)


@pytest.mark.parametrize("name", ["first", "second", "last", "several entries"])
@pytest.mark.parametrize("batches", [(1, None), (1, 4), (2, 4)])
def test_joined_as_they_are_outputs_are_those_of_one_inference(name, batches):
    function, _ = FORMS[name]
    (joined,) = SampleAxes([None], batches).as_they_are(counted(function, []), len(IMAGES))
    np.testing.assert_allclose(joined, function(IMAGES), rtol=1e-6)


@pytest.mark.parametrize("name", ["first", "second", "last"])
def test_a_fixed_batch_is_filled_up_and_cut_again(name):
    function, part = FORMS[name]
    seen = []
    axes = SampleAxes([None], (4, 4), fixed=True)
    (rows,) = axes.rows(counted(function, seen), len(IMAGES))
    np.testing.assert_allclose(rows, np.stack([part(image) for image in IMAGES]), rtol=1e-6)
    assert set(seen) == {4}


def test_a_declared_axis_is_not_looked_for():
    seen = []
    SampleAxes([0]).rows(counted(lambda x: x, seen), 3)
    assert seen == [3]
    assert declared((8, "n", 5), "n") == 1
    assert declared((8, "n", "n"), "n") is None and declared((4, 5), 4) is None


def test_what_takes_one_image_whatever_it_says_is_given_one():
    def infer(chosen):
        if len(chosen) > 1:
            raise EngineError("Reshape: 2 is not 1")
        return [IMAGES[chosen].reshape(1, 3)]

    (rows,) = SampleAxes([None]).rows(infer, 5)
    np.testing.assert_array_equal(rows, IMAGES[:5])


def test_a_shape_that_depends_on_what_is_seen_is_none():
    calls = []

    def infer(chosen):
        calls.append(chosen)
        return [IMAGES[: len(calls)]]

    assert SampleAxes([None]).rows(infer, 5) == [None]
