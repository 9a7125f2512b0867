"""This machine: what it is, and how warm, fast and busy it is at one moment."""

from __future__ import annotations

import dataclasses
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edgecnn import __version__
from edgecnn.measure.sensors import jetson, jetson_tools, linux, nvml, tools
from edgecnn.measure.sensors.kernel_files import number


@dataclass(frozen=True)
class Machine:
    """What stays as it is while a machine measures. None is what it does not tell; `unknown` says why.

    `cores` are those that may be used; `cpu_quota` is how many cores' time a control group allows. Limits
    are [lowest, highest] MHz: of each group of cores by the first core's number, and of the GPU. The two
    are equal where clocks are pinned. `emulated` machines do not have the speed of what they imitate.
    """

    machine: str
    emulated: bool
    system: str
    board: str | None
    release: str | None
    cpu: str
    cores: int
    affinity: str
    cpu_quota: float | None
    governor: str | None
    cpu_limits_mhz: dict[str, list[float | None]]
    gpu: str | None
    driver: str | None
    cuda: str | None
    gpu_limits_mhz: list[float | None] | None
    gpu_power_limit_w: float | None
    power_mode: str | None
    power_supply: str | None
    libraries: dict[str, str]
    unknown: dict[str, str]

    @classmethod
    def read(cls, root: Path = Path("/"), run: tools.Run = tools.run) -> Machine:
        """Read this machine; `root` stands for "/", and `run` runs nvpmodel."""
        unknown: dict[str, str] = {}
        clocks = linux.cpu_clocks(root)
        if not clocks:
            unknown["governor"] = "this kernel shows no cpufreq"
        affinity = linux.affinity()
        board = jetson.is_jetson(root)
        mode = jetson.power_mode(root, run) if board else None
        if board and mode is None:
            unknown["power_mode"] = f"nvpmodel: {run(['nvpmodel', '-q'], 10.0).reason}"
        gpu = _jetson_gpu(root) if board else _nvml_gpu(unknown)
        return cls(
            machine=platform.machine(),
            emulated=linux.emulated(root),
            system=f"{platform.system()} {platform.release()}",
            board=jetson.model(root),
            release=str(jetson.release(root) or "") or None,
            cpu=linux.cpu_model(root),
            cores=linux.count(affinity),
            affinity=affinity,
            cpu_quota=linux.cpu_quota(root),
            governor=", ".join(dict.fromkeys(clock.governor for clock in clocks if clock.governor)) or None,
            cpu_limits_mhz={clock.cores.split()[0]: [clock.min_mhz, clock.max_mhz] for clock in clocks},
            power_mode=mode.name if mode else None,
            power_supply=linux.power_supply(root),
            libraries={
                "edgecnn": __version__,
                "python": platform.python_version(),
                "numpy": metadata.version("numpy"),
            },
            unknown=unknown,
            **gpu,
        )


def _jetson_gpu(root: Path) -> dict[str, Any]:
    folder = jetson.gpu_folder(root)
    limits = [number(folder / name) for name in ("min_freq", "max_freq")] if folder else None
    return {
        "gpu": "integrated",
        "driver": None,  # part of the release
        "cuda": jetson.cuda_version(root),
        "gpu_limits_mhz": [None if hz is None else hz / 1e6 for hz in limits] if limits else None,
        "gpu_power_limit_w": None,
    }


def _nvml_gpu(unknown: dict[str, str]) -> dict[str, Any]:
    keys = ("gpu", "driver", "cuda", "gpu_limits_mhz", "gpu_power_limit_w")
    try:
        info = nvml.open_gpu().info()
    except OSError as error:
        unknown["gpu"] = str(error)
        return dict.fromkeys(keys)
    limits = [None, info.max_mhz]
    return dict(zip(keys, (info.name, info.driver, info.cuda, limits, info.power_limit_w), strict=True))


@dataclass(frozen=True)
class Snapshot:
    """What moves, at one moment. `time` is time.perf_counter's; `cpu_time` is not part of the result.

    `gpu_load` in percent and `power_w` by rail are tegrastats', on Jetson boards: before a measurement, idle.
    """

    time: float
    temperatures_c: dict[str, float]
    cpu_mhz: dict[str, float | None]
    gpu_mhz: float | None
    memory_mhz: float | None
    gpu_load: float | None
    power_w: dict[str, float]
    memory_available_mb: float | None
    fan_percent: float | None
    load: float | None
    cpu_time: linux.CpuTime | None

    @classmethod
    def read(cls, root: Path = Path("/"), run: tools.Run = tools.run) -> Snapshot:
        """Read the machine now; on a Jetson board, half a second of tegrastats tells the memory's clock."""
        temperatures = {
            name: linux.plausible(number(file)) for name, file in linux.thermometers(root).items()
        }
        stats = None
        gpu_mhz: float | None = None
        memory_mhz: float | None = None
        if jetson.is_jetson(root):
            folder, stats = jetson.gpu_folder(root), jetson_tools.read_tegrastats(run)
            hertz = number(folder / "cur_freq") if folder else None
            gpu_mhz = hertz / 1e6 if hertz is not None else None
            memory_mhz = stats.memory_mhz if stats else None
        else:
            try:
                gpu = nvml.open_gpu()
            except OSError:
                pass  # Machine.unknown says so
            else:
                gpu_mhz, memory_mhz = gpu.mhz(), gpu.memory_mhz()
                temperatures["gpu"] = gpu.temperature_c()
        return cls(
            time=time.perf_counter(),
            temperatures_c={name: value for name, value in temperatures.items() if value is not None},
            cpu_mhz={clock.cores.split()[0]: clock.mhz for clock in linux.cpu_clocks(root)},
            gpu_mhz=gpu_mhz,
            memory_mhz=memory_mhz,
            gpu_load=stats.gpu_load if stats else None,
            power_w=stats.power_w if stats else {},
            memory_available_mb=linux.memory_available_mb(root),
            fan_percent=jetson.fan_percent(root),
            load=linux.load(root),
            cpu_time=linux.CpuTime.read(root),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the keys of `before` and `after` in the conditions of a result."""
        values = dataclasses.asdict(self)
        del values["time"], values["cpu_time"]
        return values
