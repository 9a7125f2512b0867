"""Training on an NVIDIA GPU: against a bare loop in each precision, and in one process under NCCL.

A part of benchmarks/gpu.py. The bare loop has all images on the GPU as finished tensors, with the same
optimizer, autocast and memory format; ours decodes, shuffles, normalizes, sets rates and clips gradients.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from edgecnn.compress.input_batch import InputBatch
from edgecnn.compress.losses import Supervised
from edgecnn.compress.train.train_options import PRECISIONS, TrainOptions
from edgecnn.compress.train.training_loop import Stage, Task, fit, make_accelerator
from edgecnn.data.loader import Batch, Loader
from edgecnn.data.open_dataset import open_dataset
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo import NetworkSpec
from edgecnn.zoo.open_network import open_network

COLUMNS = ["network", "pixels", "precision", "ours images/s", "bare images/s", "ours / bare", "loss, ours"]
#: Where ours takes longer: the same loop over batches that lie ready, and the loader without a loop.
COLUMNS += ["batches ready, images/s", "loader alone, images/s"]
#: Network: options, side in pixels.
NETWORKS = (("resnet50", {}, 224), ("mobilenet_v2", {}, 96))
BATCH, EPOCHS, ROUNDS = 128, 3, 3
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def rows() -> list[list[str]]:
    """Return the table's lines."""
    data = open_dataset("digits", validation=0.0).train
    made = []
    for name, options, size in NETWORKS:
        spec = NetworkSpec(name, resolution=size, num_classes=10, **options)
        loader = Loader(data, spec.preprocessing, BATCH, workers=12)
        batches = list(loader.epoch(0))
        to_input = InputBatch(spec.preprocessing, "cuda")
        images = torch.cat([to_input(frames) for frames, _ in batches])
        labels = torch.cat([torch.from_numpy(batch) for _, batch in batches]).cuda()
        alone = loading(loader)
        for precision in PRECISIONS:
            pairs = []
            for number in range(ROUNDS + 1):
                mine, loss = ours(open_network(spec).network, loader, precision)
                plain = bare(open_network(spec).network, images, labels, precision)
                if number:  # the first round compiles kernels and fills the loader's memory
                    pairs.append((mine, plain))
            ratio = statistics.median(a / b for a, b in pairs)
            ready, _ = ours(open_network(spec).network, Ready(batches, spec.preprocessing), precision)
            figures = [f"{statistics.median(column):.0f}" for column in zip(*pairs, strict=True)]
            figures += [f"{ratio:.2f}", f"{loss:.3f}", f"{ready:.0f}", f"{alone:.0f}"]
            made.append([name, str(size), precision, *figures])
            print("  ".join(made[-1]), flush=True)
    return made


class Ready:
    """Batches that lie in memory, in place of a loader."""

    def __init__(self, batches: list[Batch], preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self._batches = [batch for batch in batches if len(batch[1]) == BATCH]

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, index: int, *, start: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Yield what a loader would of an epoch, in the same order each time."""
        yield from self._batches[start:]


def loading(loader: Loader) -> float:
    """Return images per second of the loader, its images decoded before."""
    start = time.perf_counter()
    count = sum(len(labels) for epoch in range(EPOCHS) for _, labels in loader.epoch(epoch))
    return count / (time.perf_counter() - start)


def ours(network: nn.Module, loader: Loader | Ready, precision: str) -> tuple[float, float]:
    """Return images per second of the project's loop, and the loss of the last epoch."""
    options = TrainOptions(epochs=EPOCHS, batch=BATCH, lr=1e-3, warmup=0.0, amp=precision)
    stages = (Stage("train", EPOCHS, 1e-3),)
    task = Task(network, Supervised(), loader, None, 10, options, stages)  # type: ignore[arg-type]
    accelerator = make_accelerator(options)
    assert accelerator.device.type == "cuda", accelerator.device
    torch.cuda.synchronize()
    start = time.perf_counter()
    history = fit(task, accelerator)
    torch.cuda.synchronize()
    return EPOCHS * len(loader) * BATCH / (time.perf_counter() - start), history[-1]["loss"]


def bare(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, precision: str) -> float:
    """Return images per second of the plainest loop."""
    network = network.train().cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(enabled=precision == "fp16")
    cast = torch.autocast("cuda", DTYPES[precision]) if precision in DTYPES else contextlib.nullcontext()
    steps = len(images) // BATCH
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), device=images.device)
        for step in range(steps):
            taken = order[step * BATCH : (step + 1) * BATCH]
            batch = images[taken].to(memory_format=torch.channels_last)
            with cast:
                loss = F.cross_entropy(network(batch), labels[taken])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    torch.cuda.synchronize()
    return EPOCHS * steps * BATCH / (time.perf_counter() - start)


def under_torchrun(folder: Path) -> list[str]:
    """Train the same network alone and as the one process of torchrun with NCCL; return what came of it."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["train", "lenet5", "--data", "digits", "--augmentation", "digits", "--epochs", "2", "--json"]
    alone = [sys.executable, "-m", "edgecnn"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    lines, weights = [], []
    for name, start in (("alone", alone), ("torchrun", [*torchrun, "-m", "edgecnn"])):
        output = folder / f"{name}.safetensors"
        output.unlink(missing_ok=True)
        done = subprocess.run([*start, *flags, "-o", str(output)], capture_output=True, text=True)
        if done.returncode:
            lines.append(f"{name}: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
            continue
        weights.append(load_file(output))
        lines.append(f"{name}: top-1 {json.loads(done.stdout)['top1']:.2%}")
    if len(weights) == 2:
        first, second = weights
        equal = sum(torch.equal(first[key], second[key]) for key in first)
        lines.append(f"{equal} of {len(first)} tensors are equal to the bit")
    return lines
