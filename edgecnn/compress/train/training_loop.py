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
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgecnn.compress.input_batch import InputBatch
from edgecnn.compress.train import optimizer as optimizers
from edgecnn.compress.train import resume_state as states
from edgecnn.compress.train.average import Average
from edgecnn.compress.train.freed_memory import keep_freed_memory
from edgecnn.compress.train.lesson import Lesson
from edgecnn.compress.train.mixing import mix
from edgecnn.compress.train.precision import MixedPrecision
from edgecnn.compress.train.resume_state import TrainingState
from edgecnn.compress.train.run_report import Clock, Report
from edgecnn.compress.train.single_value import single_values_normalized
from edgecnn.compress.train.sync_norm import synchronized
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.data.loader import Loader
from edgecnn.errors import InvalidValueError, TrainingError
from edgecnn.optional_packages import require
from edgecnn.zoo.code_errors import told

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
    lesson: Lesson
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
        if accelerator.device.type == "cuda":
            stack.enter_context(_same_kernels())
        return _Run(task, accelerator, report).all_stages()


def _same_kernels() -> contextlib.AbstractContextManager[None]:
    """Keep cuDNN from kernels that add in another order each time, and from choosing by the clock."""
    cudnn = torch.backends.cudnn
    kept = {"enabled": cudnn.enabled, "allow_tf32": cudnn.allow_tf32}
    return cudnn.flags(benchmark=False, deterministic=True, **kept)


class _Step(nn.Module):
    """Network and objective as one module, so that distributed training sees the parameters of both."""

    def __init__(self, network: nn.Module, objective: nn.Module, precision: MixedPrecision) -> None:
        super().__init__()
        self.network, self.objective = network, objective
        self._precision = precision

    def forward(self, images: Tensor, targets: Any) -> Tensor:
        with self._precision.forward(), told():
            loss: Tensor = self.objective(self.network, images, targets)
        return loss.float()


class _Run:
    """All stages of a task; what they share."""

    def __init__(self, task: Task, accelerator: Any, report: Callable[[Report], None]) -> None:
        self.task, self.options, self.accelerator = task, task.options, accelerator
        self.report = report if accelerator.is_main_process else lambda report: None
        self.identity = dict(task.identity or {})
        self.history: list[dict[str, Any]] = []
        self.precision = MixedPrecision(self.options.amp, accelerator.device)
        self._format = torch.channels_last if self.options.channels_last else torch.contiguous_format
        self._input = InputBatch(task.train.preprocessing, accelerator.device, self._format)
        task.network.to(accelerator.device).to(memory_format=self._format)  # type: ignore[call-overload]
        task.objective.to(accelerator.device)
        self.steps = sum(stage.epochs for stage in task.stages) * len(task.train)

    def all_stages(self) -> list[dict[str, Any]]:
        saved = None
        if self.task.state_file and self.task.state_file.exists():
            saved = TrainingState.read(self.task.state_file, self.identity)
            self.history = list(saved.history)
        network = self.task.network
        for index in range(len(self.task.stages)):
            if saved is None or saved.stage <= index:
                _RunningStage(self, index, saved if saved and saved.stage == index else None).run()
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        network.to("cpu").to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        return self.history

    def batch(self, frames: npt.NDArray[np.uint8], labels: Any, stage: int, step: int) -> tuple[Tensor, Any]:
        """Return images and targets on the device, mixed if that is asked."""
        options, device = self.options, self.accelerator.device
        seed = np.random.SeedSequence([options.seed, stage, step])
        # Of dropout; each process drops its own.
        drawn = int(seed.generate_state(1)[0]) + self.accelerator.process_index
        torch.default_generator.manual_seed(drawn)  # torch.manual_seed takes a millisecond
        if device.type == "cuda":
            torch.cuda.manual_seed(drawn)
        images, targets = self._input(frames), self.task.lesson.targets(labels, device)
        if not self.task.lesson.mixes:
            return images, targets
        return mix(
            images,
            targets,
            np.random.default_rng(seed),
            mixup=options.mixup,
            cutmix=options.cutmix,
        )


class _RunningStage:
    """One stage of a run: what is trained in it, and how far it is."""

    def __init__(self, run: _Run, index: int, saved: TrainingState | None) -> None:
        task, options, accelerator = run.task, run.options, run.accelerator
        self._run, self._task, self._options, self._accelerator = run, task, options, accelerator
        self._index, self._stage = index, task.stages[index]
        self._last = index == len(task.stages) - 1
        #: Steps of an epoch, and epochs of the stages before this one.
        self._per_epoch = len(task.train)
        self._before = sum(stage.epochs for stage in task.stages[:index])
        self._steps = self._stage.epochs * self._per_epoch
        self._warmup = min(round(options.rise * self._per_epoch), self._steps // 3)
        self._freeze()
        module = _Step(task.network, task.objective, run.precision)
        self._optimizer = optimizers.make([module], options, self._stage.rate)
        self._average = Average(task.network, options.ema) if options.ema and self._last else None
        self._modules = {"network": task.network, "objective": task.objective}
        if self._average:
            self._modules["average"] = self._average.network
        if saved:
            self._restore(saved)
        self._first, total = (saved.step, saved.total) if saved else (0, 0.0)
        self._model = accelerator.prepare(module)
        #: Sum over the steps of the running epoch.
        self._losses = torch.tensor(total, dtype=torch.float64, device=accelerator.device)
        self._clock = Clock(self._before * self._per_epoch + self._first, run.steps)

    def run(self) -> None:
        """Train all epochs that are left."""
        for epoch in range(self._first // self._per_epoch, self._stage.epochs):
            start = time.perf_counter()
            self._train(epoch)
            row = self._measure(epoch)
            row["seconds"] = round(time.perf_counter() - start, 3)
            self._keep(epoch, row)
        if self._average:
            self._task.network.load_state_dict(self._average.network.state_dict())
        if not self._last:
            # Else this stage's module would still wait for gradients in the next one.
            self._accelerator.free_memory()

    def _train(self, epoch: int) -> None:
        """Take the steps of an epoch that were not taken before the run was cut off."""
        self._train_mode()
        offset = max(0, self._first - epoch * self._per_epoch)
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        batches = self._task.train.epoch(self._before + epoch, start=offset, rank=rank, world=world)
        for number, (frames, labels) in enumerate(batches, start=offset):
            step = epoch * self._per_epoch + number
            self._take_step(frames, labels, step)
            self._clock.images += len(frames) * world
            if self._clock.due("report", REPORT_SECONDS):
                self._report(step + 1, self._losses.item() / (number + 1))
            within = number + 1 < self._per_epoch
            if self._accelerator.is_main_process and self._clock.due("save", SAVE_SECONDS) and within:
                self._check(self._losses.item(), epoch)
                self._save(step + 1)

    def _take_step(self, frames: npt.NDArray[np.uint8], labels: Any, step: int) -> None:
        optimizers.set_rate(self._optimizer, step, self._steps, self._warmup)
        loss = self._model(*self._run.batch(frames, labels, self._index, step))
        self._run.precision.backward(loss, self._optimizer)
        if self._options.clip is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._options.clip)
        self._run.precision.step(self._optimizer)
        # Of all processes, so that any of them knows the sum that a state keeps.
        self._losses += self._accelerator.reduce(loss.detach().double(), "mean")
        if self._average:
            self._average.update(self._task.network, step)

    def _measure(self, epoch: int) -> dict[str, Any]:
        """Return the row of the log of an epoch that was trained. Raises TrainingError."""
        mean = self._losses.item() / self._per_epoch
        self._check(mean, epoch)
        self._losses.zero_()
        share = optimizers.schedule((epoch + 1) * self._per_epoch - 1, self._steps, self._warmup)
        row: dict[str, Any] = {
            "epoch": self._before + epoch + 1,
            "stage": self._stage.name,
            "loss": mean,
            "lr": self._stage.rate * share,
        }
        if self._task.validation is not None:
            measured = self._average.network if self._average else self._task.network
            found = self._task.lesson.measure(measured, self._task.validation, self._accelerator)
            row |= {**found.figures, "validation_loss": found.loss}
        return row

    def _keep(self, epoch: int, row: dict[str, Any]) -> None:
        """Keep what an epoch gave: in the state, in the log, and for whoever waits."""
        self._run.history.append(row)
        if not (self._last and epoch == self._stage.epochs - 1):  # after the very last the result is written
            self._save((epoch + 1) * self._per_epoch)
        if self._accelerator.is_main_process:
            self._task.keep_log(self._run.history)
        self._report((epoch + 1) * self._per_epoch, row["loss"], row)

    def _report(self, step: int, loss: float, row: Mapping[str, Any] | None = None) -> None:
        done = self._before * self._per_epoch + step
        self._run.report(self._clock.report(self._stage.name, done, loss, row))

    def _save(self, step: int) -> None:
        """Keep the state after a step in the run's file."""
        if self._task.state_file is None or not self._accelerator.is_main_process:
            return
        scaler = self._run.precision.scaler.state_dict()
        tensors = states.gather(self._modules, self._optimizer)
        total, history = self._losses.item(), self._run.history
        state = TrainingState(self._run.identity, self._index, step, total, history, scaler, tensors)
        state.write(self._task.state_file)

    def _restore(self, saved: TrainingState) -> None:
        for name, module in self._modules.items():
            states.restore_module(module, name, saved.tensors)
        states.restore_optimizer(self._optimizer, saved.tensors)
        self._run.precision.scaler.load_state_dict(dict(saved.scaler))

    def _freeze(self) -> None:
        for name, parameter in self._task.network.named_parameters():
            parameter.requires_grad_(self._stage.modules is None or name.startswith(self._stage.modules))

    def _train_mode(self) -> None:
        """Put what is trained in training mode; what is frozen keeps its batch-norm statistics."""
        trained = self._stage.modules
        network = self._task.network.train(trained is None)
        for name, module in network.named_modules():
            if trained is not None and f"{name}.".startswith(trained):
                module.train()
        self._task.objective.train()

    def _check(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is not finite in epoch {self._before + epoch + 1}",
                hint="a lower `lr`, a longer `warmup` or a smaller `clip` keeps it finite",
            )
