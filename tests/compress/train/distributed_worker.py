"""Trains a small network and writes its log and weights as JSON: alone, or as one of several processes."""

import json
import os
import sys

import torch
from torch import nn

from edgecnn.compress.losses import Supervised
from edgecnn.compress.train.lesson import ClassLesson
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.training_loop import Stage, Task, fit, make_accelerator
from edgecnn.data.loader import Loader
from edgecnn.data.open_dataset import open_dataset
from edgecnn.runtime.preprocessing import Preprocessing


def train(path: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    grey = Preprocessing(8, crop=1.0, mean=(0.5,), std=(0.25,))
    options = TrainOptions(epochs=3, batch=32, lr=0.01, ema=0.9, cutmix=1.0)
    digits = open_dataset("digits", validation=0.1)
    task = Task(
        network,
        Supervised(),
        Loader(digits.train, grey, 32),
        Loader(digits.validation, grey, 32, shuffle=False, drop_last=False),
        ClassLesson(10, options.label_smoothing),
        options,
        (Stage("train", 3, 0.01),),
    )
    accelerator = make_accelerator(options)
    rows = fit(task, accelerator)
    if accelerator.is_main_process:
        weights = torch.cat([value.flatten().double() for value in network.state_dict().values()])
        with open(path, "w") as stream:
            json.dump({"rows": rows, "weights": weights.tolist(), "world": accelerator.num_processes}, stream)
    accelerator.end_training()


if __name__ == "__main__":
    train(sys.argv[1])
    # As the program does: PyTorch's threads may abort an interpreter that shuts down.
    os._exit(0)
