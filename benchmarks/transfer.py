"""EfficientNet-Lite0 taken to the classes of a folder, in int8, against the same network from random weights.

    apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default*.deb stamps
    python benchmarks/transfer.py stamps/usr/share/tuxpaint/stamps

Makes a folder of class folders from the pictures, a third of each class for the test, and runs
recipes/transfer_image_folder.yaml on it. Targets: int8 within one point of float, and float at least 20
points above the network that started from random weights.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from edgecnn.runtime import open_image

CLASSES = ("animals", "food", "household", "plants", "seasonal", "symbols", "town", "vehicles")
EPOCHS, BATCH = 8, 16
RECIPE = Path(__file__).parents[1] / "recipes" / "transfer_image_folder.yaml"


def make_set(stamps: Path, folder: Path) -> None:
    """Copy the pictures onto white; every third of a class tests."""
    for name in CLASSES:
        pictures = sorted(path for path in (stamps / name).rglob("*") if path.suffix in (".png", ".jpg"))
        for number, path in enumerate(pictures):
            target = folder / ("train", "train", "test")[number % 3] / name
            target.mkdir(parents=True, exist_ok=True)
            open_image(path).convert("RGB").save(target / f"{number:03}.png")


def edgecnn(*arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", *arguments, "--json"], check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_set(Path(sys.argv[1]), folder / "stamps")
        data = str(folder / "stamps")
        changes = ("--set", f"data={data}", "--set", f"epochs={EPOCHS}", "--set", f"batch={BATCH}")
        ran = edgecnn("run", str(RECIPE), "-o", str(folder / "run"), *changes)
        steps = {step["id"]: step["metrics"][0] for step in ran["steps"]}
        scratch = edgecnn(
            "train", "efficientnet_lite0", "--weights", "random", "--data", data, "--epochs", str(EPOCHS),
            "--batch", str(BATCH), "--augmentation", "standard", "-o", str(folder / "scratch.safetensors"),
        )  # fmt: skip
    float_top1, int8_top1 = (steps[name]["top1"] for name in ("float_accuracy", "int8_accuracy"))
    parity = steps["int8"]["parity"]
    print(f"{steps['float_accuracy']['n']} test images of {len(CLASSES)} classes, {EPOCHS} epochs")
    print(f"fine-tuned, float   {float_top1:7.2%}")
    print(
        f"fine-tuned, int8    {int8_top1:7.2%}   {parity['sqnr_db']:.1f} dB, {parity['top1_agreement']:.1%}"
    )
    print(f"from random weights {scratch['top1']:7.2%}")
    sys.exit(float_top1 - int8_top1 > 0.01 or float_top1 - scratch["top1"] < 0.2)


if __name__ == "__main__":
    main()
