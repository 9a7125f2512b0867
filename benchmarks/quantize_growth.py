"""How the time and the memory of `edgecnn quantize` grow, drawn as docs/quantize-growth.svg.

    python benchmarks/quantize_growth.py             # some 10 minutes of a processor
    python benchmarks/quantize_growth.py --large     # 20 GMACs at 1024 x 1024 with 256 images: under 4 GB?

Processor seconds (all cores, user and system) and peak memory of whole processes. One thing grows at a time:
the multiply-accumulates by the width of a network, the side of its images, their number, and the depth.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quantize_cost import prepare, run

from edgecnn import figure
from edgecnn.artifact import read_manifest

PLOT = Path(__file__).parents[1] / "docs/quantize-growth.svg"
EFFORTS = {"default": figure.BLUE}
#: What --large asserts.
LARGE, MOST_GB = ("resnet18@1024", 0.75, 256), 4.0


@dataclass(frozen=True)
class Point:
    """A network by a name of `quantize_cost`, its width, and the images that calibrate."""

    network: str
    alpha: float = 1.0
    images: int = 64
    #: Place on the axis; None for the network's multiply-accumulates of one image, in billions.
    at: float | None = None


SERIES = {
    "GMACs (ResNet-18, width 0.25 to 1)": [Point("resnet18", alpha) for alpha in (0.25, 0.5, 1.0)],
    "side of the image (MobileNetV2 x 0.5)": [
        Point(f"mobilenet_v2@{side}", 0.5, 32, side) for side in (224, 608, 1024)
    ],
    "images (MobileNetV2 x 0.5)": [Point("mobilenet_v2@224", 0.5, count, count) for count in (32, 256, 1024)],
    "layers (ResNet x 0.25)": [Point(f"resnet{depth}", 0.25, at=depth) for depth in (18, 50, 101)],
}


def measure(point: Point, effort: str, folder: Path) -> tuple[float, float, float]:
    """Return GMACs, processor seconds and peak gigabytes."""
    source = folder / f"{point.network}-{point.alpha:g}.onnx"
    if not source.exists():
        prepare(point.network, folder, point.alpha)
    command = [sys.executable, "-m", "edgecnn", "quantize", str(source), "-o", str(folder / "int8.onnx")]
    command += ["--target", "cpu", "--calib-images", str(point.images), "--force", "--effort", effort]
    return (read_manifest(source).macs / 1e9, *run(command))


def rows(folder: Path) -> Iterator[tuple[str, str, float, float, float]]:
    """Yield series, effort, place on the axis, seconds and gigabytes."""
    for title, points in SERIES.items():
        for point in points:
            for effort in EFFORTS:
                macs, seconds, peak = measure(point, effort, folder)
                at = macs if point.at is None else point.at
                print(f"{title:40} {effort:8} {at:7.4g} {seconds:7.1f} s {peak:5.2f} GB", flush=True)
                yield title, effort, at, seconds, peak


def draw(found: list[tuple[str, str, float, float, float]]) -> None:
    with figure.drawing(PLOT, "edgecnn quantize: processor seconds, and peak memory", 10, 5) as drawn:
        panels = drawn.subplots(2, len(SERIES), sharex="col", sharey="row")
        for column, title in enumerate(SERIES):
            for effort, colour in EFFORTS.items():
                of = [row[2:] for row in found if row[:2] == (title, effort)]
                places, *values = zip(*of, strict=True)
                for panel, heights in zip(panels[:, column], values, strict=True):
                    panel.plot(places, heights, "o-", color=colour, label=effort, markersize=4)
            panels[1, column].set_xlabel(title.replace(" (", "\n("))
        for panel in panels.flat:  # once all is drawn: rows share their axis
            panel.set_ylim(bottom=0)
            panel.set_xlim(left=0)
            panel.grid(alpha=0.3)
        panels[0, 0].set_ylabel("processor seconds")
        panels[1, 0].set_ylabel("peak memory, GB")
        panels[0, 0].legend()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.large:
            macs, seconds, peak = measure(Point(*LARGE), "default", Path(folder))
            print(f"{macs:.1f} GMACs, {LARGE[2]} images: {seconds:.0f} s, {peak:.2f} GB")
            sys.exit(not (macs >= 20 and peak < MOST_GB))
        draw(list(rows(Path(folder))))


if __name__ == "__main__":
    main()
