"""The same file through PyTorch's preprocessing, with torchvision as the oracle, and the runtime's."""

import numpy as np
import pytest
from PIL import Image

from edgecnn.artifact import TensorSpec
from edgecnn.errors import InvalidValueError
from edgecnn.measure.accuracy.preprocessing_parity import compare_preprocessing
from edgecnn.runtime import Preprocessing
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_files import sample_photo


class Listener(Engine):
    """Remembers what it is given; its logits are the mean of each corner."""

    backend, device, threads = "onnxruntime", "cpu", 1

    def __init__(self, path, preprocessing, layout="NCHW"):
        path.write_bytes(b"stub")
        size, channels = preprocessing.size, preprocessing.channels
        shape = ("batch", *size, channels) if layout == "NHWC" else ("batch", channels, *size)
        dtype = "uint8" if layout == "NHWC" else "float32"
        super().__init__(
            path,
            None,
            [TensorSpec("input", shape, dtype, layout)],
            [TensorSpec("y", ("batch", 4), "float32", "NC")],
        )
        self._preprocessing = preprocessing
        self.given = []

    def _infer(self, inputs):
        (array,) = inputs
        self.given.append(array)
        half = self.preprocessing.height // 2
        planes = array.mean(axis=3 if self.input.layout == "NHWC" else 1)
        corners = planes[:, :half, :half], planes[:, :half, half:], planes[:, half:, :half]
        return [np.stack([part.mean(axis=(1, 2)) for part in (*corners, planes)], axis=1)]


def pictures(folder):
    """Pictures of several shapes, larger and smaller than the crop, one grey, one with a palette."""
    photo = sample_photo()
    shapes = [photo, photo.crop((0, 0, 301, 320)), photo.resize((40, 50)), photo.convert("L")]
    made = []
    for index, picture in enumerate([*shapes, photo.convert("P")]):
        made.append(folder / f"{index}.png")
        picture.save(made[-1])
    return made


def oracle(transforms, image, preprocessing, kind):
    """torchvision's pipeline for evaluation."""
    functional = transforms.functional
    mode = transforms.InterpolationMode(preprocessing.interpolation)
    picture = Image.open(image).convert("L" if preprocessing.channels == 1 else "RGB")
    source = functional.pil_to_tensor(picture) if kind == "tensor" else picture
    cut = transforms.CenterCrop(preprocessing.size)(
        transforms.Resize(preprocessing.resize.height, mode, antialias=True)(source)
    )
    scaled = transforms.ToTensor()(cut) if kind == "pil" else functional.convert_image_dtype(cut)
    return transforms.Normalize(preprocessing.mean, preprocessing.std)(scaled).numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_pytorchs_side_is_what_torchvision_computes(tmp_path, torchvision, interpolation, channels):
    preprocessing = Preprocessing(48, interpolation=interpolation).with_channels(channels)
    engine = Listener(tmp_path / "m", preprocessing)
    images = pictures(tmp_path)
    compare_preprocessing(engine, images, batch=len(images), workers=1)
    _, *given = engine.given
    for kind, arrays in zip(("pil", "tensor"), given, strict=True):
        for image, array in zip(images, arrays, strict=True):
            expected = oracle(torchvision.transforms, image, preprocessing, kind)
            np.testing.assert_allclose(array, expected, atol=1e-6)


def test_the_runtime_prepares_the_pixels_of_a_pillow_image(tmp_path):
    found, skipped = compare_preprocessing(
        Listener(tmp_path / "m", Preprocessing(48)), pictures(tmp_path), workers=1
    )
    pil, tensor = found
    assert (pil.kind, pil.images, pil.max_pixel_diff, pil.changed) == ("pil", 5, 0, ())
    assert 0 < pil.max_input_diff < 1e-6 and pil.max_logit_diff < 1e-6
    assert (tensor.kind, skipped) == ("tensor", ())
    # The tensor is rounded once, Pillow's picture after each of its two passes.
    assert 1 <= tensor.max_pixel_diff <= 3
    assert tensor.max_input_diff == pytest.approx(tensor.max_pixel_diff / 255 / 0.225, rel=0.1)


def test_a_photograph_taken_sideways_is_told(tmp_path):
    """The runtime turns it upright, torchvision does not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = Image.fromarray(np.tile(np.arange(96, dtype=np.uint8) * 2, (96, 1)))
    ramp.save(tmp_path / "turned.png", exif=exif)
    ramp.save(tmp_path / "plain.png")
    found, _ = compare_preprocessing(
        Listener(tmp_path / "m", Preprocessing(48)), [tmp_path / "plain.png", tmp_path / "turned.png"]
    )
    assert found[0].changed == (str(tmp_path / "turned.png"),)
    assert found[0].max_pixel_diff > 100 and found[0].max_logit_diff > 0.1


def test_a_network_that_takes_frames_is_given_frames(tmp_path):
    engine = Listener(tmp_path / "m", Preprocessing(48), layout="NHWC")
    found, _ = compare_preprocessing(engine, pictures(tmp_path), batch=5, workers=1)
    assert all(array.dtype == np.uint8 for array in engine.given)
    assert found[0].max_input_diff == 0 and found[1].max_input_diff == found[1].max_pixel_diff > 0


def test_an_unreadable_image_is_left_out(tmp_path):
    images = pictures(tmp_path)
    images[1].write_bytes(b"no image")
    found, skipped = compare_preprocessing(Listener(tmp_path / "m", Preprocessing(48)), images)
    assert found[0].images == 4 and [item.image for item in skipped] == [str(images[1])]


def test_a_network_of_five_channels_is_refused(tmp_path):
    engine = Listener(tmp_path / "m", Preprocessing(48).with_channels(5))
    with pytest.raises(InvalidValueError, match="no usual preprocessing for 5 channels"):
        compare_preprocessing(engine, pictures(tmp_path))
