"""Images per second of `edgecnn train` against a bare PyTorch loop with the same network and batch.

    python benchmarks/train_throughput.py [ROUNDS]

The bare loop has all images as finished tensors in memory and does nothing but forward, backward and step;
ours loads, shuffles and normalizes uint8 images, smooths labels, sets the rate, clips gradients and reports.
Neither augments. Both run in turns in one process, with the same memory format. Target: at least 0.95 of it.
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

from edgecnn.compress.input_batch import InputBatch
from edgecnn.compress.losses import Supervised
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.training_loop import Stage, Task, fit, make_accelerator
from edgecnn.data.loader import Loader
from edgecnn.data.open_dataset import open_dataset
from edgecnn.zoo import NetworkSpec
from edgecnn.zoo.open_network import open_network

#: Network: options, side in pixels.
NETWORKS = (("mobilenet", {"alpha": 0.5}, 96), ("resnet18", {"alpha": 0.5}, 64))
BATCH, EPOCHS = 64, 4


def bare(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return images per second of the plainest loop."""
    network = network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    steps = len(images) // BATCH
    start = time.perf_counter()
    for _ in range(EPOCHS):
        order = torch.randperm(len(images))
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            batch = images[rows].to(memory_format=torch.channels_last)
            F.cross_entropy(network(batch), labels[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return EPOCHS * steps * BATCH / (time.perf_counter() - start)


def ours(network: nn.Module, loader: Loader) -> float:
    """Return images per second of the project's loop."""
    options = TrainOptions(epochs=EPOCHS, batch=BATCH, lr=1e-3, warmup=0.0)
    stages = (Stage("train", EPOCHS, 1e-3),)
    task = Task(network, Supervised(), loader, None, 10, options, stages)
    accelerator = make_accelerator(options)
    start = time.perf_counter()
    fit(task, accelerator)
    return EPOCHS * len(loader) * BATCH / (time.perf_counter() - start)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    data = open_dataset("digits", validation=0.0).train
    failed = False
    for name, options, size in NETWORKS:
        spec = NetworkSpec(name, resolution=size, num_classes=10, **options)
        loader = Loader(data, spec.preprocessing, BATCH)
        batches = list(loader.epoch(0))
        to_input = InputBatch(spec.preprocessing)
        images = torch.cat([to_input(frames) for frames, _ in batches])
        labels = torch.cat([torch.from_numpy(batch) for _, batch in batches])
        ratios = []
        for number in range(rounds + 1):
            a, b = ours(open_network(spec).network, loader), bare(open_network(spec).network, images, labels)
            if number:  # the first round warms the caches
                ratios.append(a / b)
        print(
            f"{name:10} {size:4} px  ours {a:7.0f} images/s  bare {b:7.0f}"
            f"  ratio {statistics.median(ratios):.3f}"
        )
        failed |= statistics.median(ratios) < 0.95
    sys.exit(failed)


if __name__ == "__main__":
    main()
