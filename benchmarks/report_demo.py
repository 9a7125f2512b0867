"""Real results for a report: networks taught the digits, in every form that a CPU runs. Some minutes.

    python benchmarks/report_demo.py FOLDER

FOLDER gets the files, a store of its own (`results.sqlite`) and `report.html`; what is there already is kept.
"""

import os
import sys
from pathlib import Path

from edgecnn.cli import group

#: Network, width multiplier, resolution, epochs.
NETWORKS = [
    ("mobilenet", 0.25, 64, 10),
    ("mobilenet", 0.5, 64, 8),
    ("mobilenet_v2", 0.25, 64, 10),
    ("mobilenet_v2", 0.5, 64, 8),
    ("resnet18", 0.125, 32, 10),
    ("resnet18", 0.25, 32, 10),
    ("shufflenet_v2_x1_0", 0.5, 64, 8),
    ("shufflenet_v2_x0_5", 1.0, 64, 8),
    ("mobilenet_v3_small", 0.5, 64, 8),
]
FORMS = {"float": [], "int8": ["--int8"], "int8_cpu": ["--int8", "--target", "cpu"]}


def edgecnn(*arguments: str | Path) -> None:
    print("edgecnn", *arguments, flush=True)
    group.main([str(item) for item in arguments], standalone_mode=False)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["EDGECNN_RESULTS"] = str(folder / "results.sqlite")
    models = []
    for name, alpha, resolution, epochs in NETWORKS:
        stem = folder / f"{name}_{alpha:g}"
        checkpoint = stem.with_name(stem.name + ".safetensors")
        if not checkpoint.exists():
            scale = ["--alpha", alpha, "--resolution", resolution, "--weights", "random"]
            how = [
                "--data",
                "digits",
                "--augmentation",
                "digits",
                "--epochs",
                epochs,
                "--batch",
                32,
                "--lr",
                1e-2,
            ]
            edgecnn("train", name, *scale, *how, "-o", checkpoint)
        for form, options in FORMS.items():
            model = stem.with_name(f"{stem.name}_{form}.onnx")
            if not model.exists():
                edgecnn("export", checkpoint, *options, "--data", "digits", "-o", model)
            models.append(model)
        engine = stem.with_name(f"{stem.name}_int8_cpu.ort")
        if not engine.exists():
            edgecnn("compile", models[-1], "--backend", "ort", "-o", engine)
        models.append(engine)
    for model in models:
        if model.suffix == ".onnx":
            edgecnn("eval", model, "--data", "digits")
    edgecnn("profile", *models, "--seconds", "0.3")
    edgecnn("report", "-o", folder / "report.html")


if __name__ == "__main__":
    main()
