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
from edgecnn.compress.train.run_report import Clock, Report
from edgecnn.compress.train.single_value import single_values_normalized
from edgecnn.compress.train.sync_norm import synchronized
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.data.loader import Loader
from edgecnn.errors import InvalidValueError, TrainingError
from edgecnn.lazy import require

#: Seconds between two saves of the state, and between two reports.
SAVE_SECONDS, REPORT_SECONDS = 60.0, 0.2


@dataclass(frozen=True)
class Stage:
    """A part of a run, with a learning rate that rises and falls once."""

    name: str
    epochs: int
    rate: float
    #: Names of the modules that are trained; None for all.
    modules: tuple[str, ...] | None = None


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
            "mixed precision in float16 needs a GPU, and none answers", hint="`amp` bf16, or no"
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


@dataclass
class _Work:
    """A stage while it runs."""

    index: int
    stage: Stage
    #: Epochs of the stages before it.
    before: int
    #: Whether it is the last one.
    last: bool
    model: Any
    optimizer: torch.optim.Optimizer
    average: Average | None
    #: What a state keeps, by name.
    modules: dict[str, nn.Module]
    #: Sum over the epoch so far, of all processes.
    losses: Tensor
    #: Steps that were done before it was cut off; steps of the whole stage, and of its warm-up.
    first: int
    steps: int
    warmup: int
    clock: Clock


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
        work = self._begin(index, stage, before, saved)
        per_epoch = len(self.task.train)
        for epoch in range(work.first // per_epoch, stage.epochs):
            start = time.perf_counter()
            self._epoch(work, epoch)
            row = self._row(work, epoch)
            row["seconds"] = round(time.perf_counter() - start, 3)
            self.history.append(row)
            if not (work.last and epoch == stage.epochs - 1):  # after the very last the result is written
                self._save(work, (epoch + 1) * per_epoch)
            if self.accelerator.is_main_process:
                self.task.keep_log(self.history)
            done = (before + epoch + 1) * per_epoch
            self._report(work.clock.report(stage.name, done, row["loss"], row))
        if work.average:
            self.task.network.load_state_dict(work.average.network.state_dict())
        if not work.last:
            # Else this stage's module would still wait for gradients in the next one.
            self.accelerator.free_memory()

    def _begin(self, index: int, stage: Stage, before: int, saved: TrainingState | None) -> _Work:
        """Return a stage that is ready to run, from its start or from where it was cut off."""
        task, options = self.task, self.options
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
        steps = stage.epochs * per_epoch
        return _Work(
            index, stage, before, last, self.accelerator.prepare(step_module), optimizer, average, modules,
            losses=torch.tensor(total, dtype=torch.float64, device=self.accelerator.device),
            first=first, steps=steps, warmup=min(round(options.rise * per_epoch), steps // 3),
            clock=Clock(before * per_epoch + first, self._steps),
        )  # fmt: skip

    def _epoch(self, work: _Work, epoch: int) -> None:
        """Train on every image once, or on those that are left of an epoch that was cut off."""
        accelerator, per_epoch, clock = self.accelerator, len(self.task.train), work.clock
        self._train_mode(work.stage)
        offset = work.first - epoch * per_epoch if epoch == work.first // per_epoch else 0
        batches = self.task.train.epoch(
            work.before + epoch,
            start=offset,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        for number, (images, labels) in enumerate(batches, start=offset):
            step = epoch * per_epoch + number
            self._step(work, step, images, labels)
            clock.images += len(images) * accelerator.num_processes
            if clock.due("report", REPORT_SECONDS):
                mean = work.losses.item() / (number + 1)
                self._report(clock.report(work.stage.name, work.before * per_epoch + step + 1, mean))
            if accelerator.is_main_process and clock.due("save", SAVE_SECONDS) and number + 1 < per_epoch:
                self._check(work.losses.item(), work.before + epoch)
                self._save(work, step + 1)

    def _step(
        self, work: _Work, step: int, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
    ) -> None:
        """Move the weights once."""
        optimizers.set_rate(work.optimizer, step, work.steps, work.warmup)
        loss = work.model(*self._batch(images, labels, work.index, step))
        self._precision.backward(loss, work.optimizer)
        if self.options.clip is not None:
            nn.utils.clip_grad_norm_(work.model.parameters(), self.options.clip)
        self._precision.step(work.optimizer)
        # Of all processes, so that any of them knows the sum that a state keeps.
        work.losses += self.accelerator.reduce(loss.detach().double(), "mean")
        if work.average:
            work.average.update(self.task.network, step)

    def _row(self, work: _Work, epoch: int) -> dict[str, Any]:
        """Return the log's line of an epoch that ended; raises TrainingError if its loss is not finite."""
        per_epoch = len(self.task.train)
        mean = work.losses.item() / per_epoch
        self._check(mean, work.before + epoch)
        work.losses.zero_()
        rate = work.stage.rate * optimizers.schedule((epoch + 1) * per_epoch - 1, work.steps, work.warmup)
        row: dict[str, Any] = {
            "epoch": work.before + epoch + 1,
            "stage": work.stage.name,
            "loss": mean,
            "lr": rate,
        }
        if self.task.validation is not None:
            measured = work.average.network if work.average else self.task.network
            row["top1"], row["validation_loss"], _ = evaluate(
                measured, self.task.validation, self.accelerator
            )
        return row

    def _save(self, work: _Work, step: int) -> None:
        """Keep what a run that is cut off needs to go on after so many steps."""
        if self.task.state_file and self.accelerator.is_main_process:
            scaler = self._precision.scaler.state_dict()
            tensors = states.gather(work.modules, work.optimizer)
            total = work.losses.item()
            state = TrainingState(self._identity, work.index, step, total, self.history, scaler, tensors)
            state.write(self.task.state_file)

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
                hint="a lower `lr`, a longer `warmup` or a smaller `clip` keeps it finite",
            )
