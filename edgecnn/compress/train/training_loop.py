"""The training loop. Every process of a distributed run calls it, and each takes its part of every batch.

What a step does depends on the seed and the number of the step alone: images, augmentation, dropout,
learning rate. So a run that goes on from its state ends where it would have ended.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgecnn.compress.losses import one_hot
from edgecnn.compress.train import optimizer as optimizers
from edgecnn.compress.train import resume_state as states
from edgecnn.compress.train.average import Average
from edgecnn.compress.train.freed_memory import keep_freed_memory
from edgecnn.compress.train.mixing import mix
from edgecnn.compress.train.precision import MixedPrecision
from edgecnn.compress.train.resume_state import TrainingState
from edgecnn.compress.train.single_value import single_values_normalized
from edgecnn.compress.train.sync_norm import synchronized
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.data.loader import Loader
from edgecnn.errors import EdgecnnError, InvalidValueError
from edgecnn.lazy import require

#: Seconds between two saves of the state, and between two reports.
SAVE_SECONDS, REPORT_SECONDS = 60.0, 0.2


class TrainingError(EdgecnnError):
    """Training went wrong: the loss is not a number any more."""


@dataclass(frozen=True)
class Stage:
    """A part of a run, with a learning rate that rises and falls once."""

    name: str
    epochs: int
    rate: float
    #: Names of the modules that are trained; None for all.
    modules: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Report:
    """Where a run stands, for whoever waits. `row` is the line of the log where an epoch has just ended."""

    stage: str
    done: int
    total: int
    loss: float
    images_per_second: float
    seconds_left: float
    row: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and where its state is kept."""

    network: nn.Module
    #: Maps (network, images, targets) to a loss; its own parameters are trained too.
    objective: nn.Module
    train: Loader
    #: None for no measurement after each epoch.
    validation: Loader | None
    classes: int
    options: TrainOptions
    stages: Sequence[Stage]
    state_file: Path | None = None
    #: What the state belongs to.
    identity: Mapping[str, Any] | None = None
    #: Called with the log so far after every epoch, in the first process.
    keep_log: Callable[[Sequence[Mapping[str, Any]]], None] = lambda rows: None


def make_accelerator(options: TrainOptions) -> Any:
    """Return what knows the devices and the other processes (`accelerate.Accelerator`).

    Raises InvalidValueError for float16 where there is no GPU.
    """
    accelerate = require("accelerate", "training")
    if options.amp == "fp16" and not torch.cuda.is_available():
        raise InvalidValueError(
            "mixed precision in float16 needs a GPU, and none answers", hint="--amp bf16, or no"
        )
    if not torch.cuda.is_available():
        keep_freed_memory()
    # The precision is `MixedPrecision`'s: accelerate keeps that of the first network of a process.
    return accelerate.Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())


def fit(
    task: Task, accelerator: Any, report: Callable[[Report], None] = lambda report: None
) -> list[dict[str, Any]]:
    """Train `task.network` in place, in evaluation mode afterwards; return the log, a row for each epoch.

    Goes on from `task.state_file` if that exists; whoever calls deletes it when the result is safe. Raises
    TrainingError if the loss is not finite, InvalidValueError if the state belongs to another run.
    """
    with contextlib.ExitStack() as stack:
        if accelerator.num_processes > 1:
            stack.enter_context(synchronized(task.network))
        elif task.options.batch == 1:
            stack.enter_context(single_values_normalized(task.network))
        return _Run(task, accelerator, report).all_stages()


def evaluate(network: nn.Module, loader: Loader, accelerator: Any = None) -> tuple[float, float, int]:
    """Return top-1 and mean cross entropy of a network, and on how many of a loader's images they rest.

    The network stays on the device where it is.
    """
    rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    home = next(network.parameters()).device
    device = accelerator.device if accelerator else home
    training = network.training
    network.eval().to(device)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    with torch.inference_mode():
        for images, labels in loader.epoch(0, rank=rank, world=world):
            wanted = torch.from_numpy(labels).to(device)
            logits = network(torch.from_numpy(images).to(device)).float()
            loss = nn.functional.cross_entropy(logits, wanted, reduction="sum")
            right = (logits.argmax(1) == wanted).sum()
            sums += torch.stack([right.to(sums), loss.to(sums), sums.new_tensor(len(labels))])
    network.train(training).to(home)
    hits, total, count = (accelerator.reduce(sums) if accelerator else sums).tolist()
    return hits / max(1, count), total / max(1, count), int(count)


class _Step(nn.Module):
    """Network and objective as one module, so that distributed training sees the parameters of both."""

    def __init__(self, network: nn.Module, objective: nn.Module, precision: MixedPrecision) -> None:
        super().__init__()
        self.network, self.objective = network, objective
        self._precision = precision

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        with self._precision.forward():
            loss: Tensor = self.objective(self.network, images, targets)
        return loss.float()


class _Run:
    def __init__(self, task: Task, accelerator: Any, report: Callable[[Report], None]) -> None:
        self.task, self.options, self.accelerator = task, task.options, accelerator
        self._report = report if accelerator.is_main_process else lambda report: None
        self._identity = dict(task.identity or {})
        self.history: list[dict[str, Any]] = []
        self._precision = MixedPrecision(self.options.amp, accelerator.device)
        self._format = torch.channels_last if self.options.channels_last else torch.contiguous_format
        task.network.to(accelerator.device).to(memory_format=self._format)  # type: ignore[call-overload]
        task.objective.to(accelerator.device)
        self._steps = sum(stage.epochs for stage in task.stages) * len(task.train)

    def all_stages(self) -> list[dict[str, Any]]:
        saved = None
        if self.task.state_file and self.task.state_file.exists():
            saved = TrainingState.read(self.task.state_file, self._identity)
            self.history = list(saved.history)
        network = self.task.network
        before = 0
        for index, stage in enumerate(self.task.stages):
            if saved is None or saved.stage <= index:
                self._stage(index, stage, before, saved if saved and saved.stage == index else None)
            before += stage.epochs
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        network.to("cpu").to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        return self.history

    def _stage(self, index: int, stage: Stage, before: int, saved: TrainingState | None) -> None:
        """Run one stage; `before` is the number of epochs of those before it."""
        task, options, accelerator = self.task, self.options, self.accelerator
        network, per_epoch = task.network, len(task.train)
        last = index == len(task.stages) - 1
        self._freeze(stage)
        step_module = _Step(network, task.objective, self._precision)
        optimizer = optimizers.make([step_module], options, stage.rate)
        average = Average(network, options.ema) if options.ema and last else None
        modules = {"network": network, "objective": task.objective}
        if average:
            modules["average"] = average.network
        first, total = 0, 0.0
        if saved:
            first, total = saved.step, saved.total
            for name, module in modules.items():
                states.restore_module(module, name, saved.tensors)
            states.restore_optimizer(optimizer, saved.tensors)
            self._precision.scaler.load_state_dict(dict(saved.scaler))
        model = accelerator.prepare(step_module)
        losses = torch.tensor(total, dtype=torch.float64, device=accelerator.device)
        steps = stage.epochs * per_epoch
        warmup = min(round(options.rise * per_epoch), steps // 3)
        clock = _Clock(before * per_epoch + first, self._steps)

        def save(step: int) -> None:
            if task.state_file and accelerator.is_main_process:
                scaler = self._precision.scaler.state_dict()
                tensors = states.gather(modules, optimizer)
                state = TrainingState(
                    self._identity, index, step, losses.item(), self.history, scaler, tensors
                )
                state.write(task.state_file)

        for epoch in range(first // per_epoch, stage.epochs):
            start = time.perf_counter()
            self._train_mode(stage)
            offset = first - epoch * per_epoch if epoch == first // per_epoch else 0
            batches = task.train.epoch(
                before + epoch, start=offset, rank=accelerator.process_index, world=accelerator.num_processes
            )
            for number, (images, labels) in enumerate(batches, start=offset):
                step = epoch * per_epoch + number
                optimizers.set_rate(optimizer, step, steps, warmup)
                loss = model(*self._batch(images, labels, index, step))
                self._precision.backward(loss, optimizer)
                if options.clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), options.clip)
                self._precision.step(optimizer)
                # Of all processes, so that any of them knows the sum that a state keeps.
                losses += accelerator.reduce(loss.detach().double(), "mean")
                if average:
                    average.update(network, step)
                clock.images += len(images) * accelerator.num_processes
                if clock.due("report", REPORT_SECONDS):
                    mean = losses.item() / (number + 1)
                    self._report(clock.report(stage.name, before * per_epoch + step + 1, mean))
                if accelerator.is_main_process and clock.due("save", SAVE_SECONDS) and number + 1 < per_epoch:
                    self._check(losses.item(), before + epoch)
                    save(step + 1)
            mean = losses.item() / per_epoch
            self._check(mean, before + epoch)
            losses.zero_()
            row: dict[str, Any] = {
                "epoch": before + epoch + 1, "stage": stage.name, "loss": mean,
                "lr": stage.rate * optimizers.schedule((epoch + 1) * per_epoch - 1, steps, warmup),
            }  # fmt: skip
            if task.validation is not None:
                measured = average.network if average else network
                row["top1"], row["validation_loss"], _ = evaluate(measured, task.validation, accelerator)
            row["seconds"] = round(time.perf_counter() - start, 3)
            self.history.append(row)
            if not (last and epoch == stage.epochs - 1):  # after the very last the result is written
                save((epoch + 1) * per_epoch)
            if accelerator.is_main_process:
                task.keep_log(self.history)
            self._report(clock.report(stage.name, (before + epoch + 1) * per_epoch, mean, row))
        if average:
            network.load_state_dict(average.network.state_dict())
        if not last:
            # Else this stage's module would still wait for gradients in the next one.
            accelerator.free_memory()

    def _batch(
        self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], stage: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """Return images and target distributions on the device, mixed if that is asked."""
        options, device = self.options, self.accelerator.device
        seed = np.random.SeedSequence([options.seed, stage, step])
        # Of dropout; each process drops its own.
        drawn = int(seed.generate_state(1)[0]) + self.accelerator.process_index
        torch.default_generator.manual_seed(drawn)  # torch.manual_seed takes a millisecond
        if device.type == "cuda":
            torch.cuda.manual_seed(drawn)
        given = torch.from_numpy(images).to(device, memory_format=self._format)
        targets = one_hot(torch.from_numpy(labels).to(device), self.task.classes, options.label_smoothing)
        return mix(given, targets, np.random.default_rng(seed), mixup=options.mixup, cutmix=options.cutmix)

    def _freeze(self, stage: Stage) -> None:
        for name, parameter in self.task.network.named_parameters():
            parameter.requires_grad_(stage.modules is None or name.startswith(stage.modules))

    def _train_mode(self, stage: Stage) -> None:
        """Put what is trained in training mode; what is frozen keeps its batch-norm statistics."""
        network = self.task.network.train(stage.modules is None)
        for name, module in network.named_modules():
            if stage.modules is not None and f"{name}.".startswith(stage.modules):
                module.train()
        self.task.objective.train()

    def _check(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is not finite in epoch {epoch + 1}",
                hint="a lower --lr, a longer --warmup or a smaller --clip keeps it finite",
            )


class _Clock:
    """How fast a run goes."""

    def __init__(self, first: int, total: int) -> None:
        self._start, self._first, self._total = time.perf_counter(), first, total
        self._last = {"report": self._start, "save": self._start}
        self.images = 0

    def due(self, what: str, seconds: float) -> bool:
        """Return whether so many seconds have passed since it was last due."""
        now = time.perf_counter()
        if now - self._last[what] < seconds:
            return False
        self._last[what] = now
        return True

    def report(self, stage: str, done: int, loss: float, row: Mapping[str, Any] | None = None) -> Report:
        passed = time.perf_counter() - self._start
        left = passed / max(1, done - self._first) * (self._total - done)
        return Report(stage, done, self._total, loss, self.images / max(1e-9, passed), left, row)
