"""Int8 accuracy of EfficientNet-Lite0 with its real ImageNet weights: ours beside ONNX Runtime's and NNCF's.

    pip install nncf    # else its row is left out, and said to be
    python benchmarks/quantization.py [--images FOLDER] [--effort default] [--target cpu] [--target portable]

All quantize the same float file with the same calibration images, every convolution and the classifier,
and are compared with the float file on the same other images, in ONNX Runtime. Without a folder the images
are crops of the built-in photographs. A folder of several hundred different pictures says more; one
that everybody can get, as it was used for docs/benchmarks.md:

    apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default_*.deb stamps
    rm -r stamps/usr/share/tuxpaint/stamps/symbols
    find stamps -type d -name cartoon -exec rm -r {} +
"""

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization as ort

from edgecnn.data import builtin
from edgecnn.export import ExportRequest, export
from edgecnn.quantize.escalate import Verdict, escalate
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.quantize.reference import logits
from edgecnn.runtime import prepare
from edgecnn.runtime.image_folder import find_images
from edgecnn.targets import target
from edgecnn.tasks.compare import compare
from edgecnn.zoo.spec import NetworkSpec

CALIBRATION = 128
CHECKS = 364


class Reader(ort.CalibrationDataReader):  # noqa: D101
    def __init__(self, images: np.ndarray) -> None:
        self._batches = iter([{"input": images[i : i + 1]} for i in range(len(images))])

    def get_next(self):  # noqa: D102
        return next(self._batches, None)


def images(folder: Path | None, preprocessing) -> tuple[np.ndarray, np.ndarray, str]:
    if folder is None:
        frames = [
            builtin.frames(preprocessing, count, check=check, digit_images=False)
            for count, check in ((CALIBRATION, False), (CHECKS, True))
        ]
        return *(
            prepare.normalize(preprocessing, part) for part in frames
        ), "crops of the built-in photographs"
    files = find_images(folder)
    order = np.random.default_rng(0).permutation(len(files))
    batch = prepare.batch(preprocessing, [files[index] for index in order])
    return batch[:CALIBRATION], batch[CALIBRATION:], f"{len(files)} pictures of a folder"


def with_ort(path: Path, out: Path, calibration: np.ndarray, per_channel: bool, method) -> onnx.ModelProto:
    ort.quantize_static(
        path, out, Reader(calibration),
        quant_format=ort.QuantFormat.QDQ, activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8, per_channel=per_channel, calibrate_method=method,
    )  # fmt: skip
    return onnx.load(out)


def with_nncf(path: Path, calibration: np.ndarray) -> onnx.ModelProto:
    import nncf

    dataset = nncf.Dataset([calibration[i : i + 1] for i in range(len(calibration))], lambda x: {"input": x})
    return nncf.quantize(onnx.load(path), dataset, subset_size=len(calibration))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path)
    parser.add_argument("--effort", action="append")
    parser.add_argument("--target", action="append")
    parser.add_argument("--ours-only", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "float.onnx", Path(folder) / "ort.onnx"
        request = ExportRequest(NetworkSpec("efficientnet_lite0", weights="imagenet"), path)
        export(request)
        model = onnx.load(path)
        calibration, checks, what = images(arguments.images, request.network.preprocessing)
        reference = logits(model, checks)
        print(f"{len(calibration)} images calibrate, {len(checks)} check: {what}")
        print(f"{'':44}  SQNR     agreement  int8 MACs  seconds")

        def row(name: str, quantized: onnx.ModelProto, start: float, share: float | None = None) -> None:
            seconds = time.perf_counter() - start
            parity = compare(reference, logits(quantized, checks), name)
            part = f"{share:8.1%}" if share is not None else f"{'':8}"
            print(
                f"{name:44}  {parity.sqnr_db:5.2f} dB  {parity.top1_agreement:7.2%}   {part}  {seconds:7.1f}",
                flush=True,
            )

        if not arguments.ours_only:
            methods = ort.CalibrationMethod
            for name, per_channel, method in (
                ("ONNX Runtime, per tensor, MinMax", False, methods.MinMax),
                ("ONNX Runtime, per channel, MinMax", True, methods.MinMax),
                ("ONNX Runtime, per channel, Percentile", True, methods.Percentile),
            ):
                start = time.perf_counter()
                row(name, with_ort(path, out, calibration, per_channel, method), start)
            if importlib.util.find_spec("nncf"):
                start = time.perf_counter()
                row("NNCF", with_nncf(path, calibration), start)
            else:
                print("NNCF: not installed")
        for name in arguments.target or ["cpu", "portable"]:
            for effort in arguments.effort or ["fast", "default"]:
                start = time.perf_counter()
                parts = [calibration[i : i + 4] for i in range(0, len(calibration), 4)]
                quantizer = Quantizer(model, lambda parts=parts: parts, target(name).scheme)
                # What is tried is judged on some of the calibration images: the others stay unseen.
                judged = calibration[::4]
                known = logits(model, judged)

                def judge(candidate, known=known, judged=judged):
                    return Verdict(compare(known, logits(candidate, judged), "candidate"))

                outcome = escalate(quantizer, judge, lambda quantized: [], effort)
                share = sum(quantizer.macs[node.name] for node in outcome.quantized.placement.compute)
                share /= sum(macs_by_node(model).values())
                row(
                    f"edgecnn, {name}, {effort}: {outcome.quantized.recipe.name}",
                    outcome.quantized.model,
                    start,
                    share,
                )


if __name__ == "__main__":
    main()
