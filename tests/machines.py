"""Machines made of files: recorded Jetson boards, and folders that stand for "/"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgecnn.measure.sensors.tools import Answer

RECORDED = Path(__file__).parent / "measure" / "recorded"


def recorded(board: str, name: str) -> str:
    """Return what a board's tool printed."""
    return (RECORDED / board / name).read_text()


def files(root: Path, contents: Mapping[str, object]) -> Path:
    """Write files below `root`, and return it."""
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def hwmon(number: int, name: str, **contents: object) -> dict[str, object]:
    """Return the files of one hwmon chip."""
    return {
        f"sys/class/hwmon/hwmon{number}/{key}": value for key, value in {"name": name, **contents}.items()
    }


def zones(**temperatures: object) -> dict[str, object]:
    """Return the files of thermal zones, in 1/1000 degree; underscores stand for dashes in types."""
    found = {}
    for number, (name, value) in enumerate(temperatures.items()):
        folder = f"sys/class/thermal/thermal_zone{number}"
        found |= {f"{folder}/type": name.replace("_", "-"), f"{folder}/temp": value}
    return found


def no_tools(command: Sequence[str], seconds: float) -> Answer:
    """Run nothing, as on a machine without the tool."""
    return Answer(False, f"{command[0]} is not installed")


def tools(answers: Mapping[str, str]) -> Callable[[Sequence[str], float], Answer]:
    """Return what answers commands from a table, and others as if the tool were missing."""

    def run(command: Sequence[str], seconds: float) -> Answer:
        words = " ".join(command)
        return Answer(True, answers[words]) if words in answers else no_tools(command, seconds)

    return run


#: An AGX Orin by the values of its sensors in github.com/alumet-dev/alumet/issues/212 and their kin.
AGX_ORIN = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    **hwmon(0, "pwmfan", pwm1=102),
    **hwmon(
        1,
        "ina3221",
        **{"in1_label": "VDD_GPU_SOC", "in1_input": 4900, "curr1_input": 2000},
        **{"in2_label": "VDD_CPU_CV", "in2_input": 4900, "curr2_input": 1000},
        **{"in3_label": "VIN_SYS_5V0", "in3_input": 5000, "curr3_input": 1600},
        **{"in7_label": "sum of shunt voltages", "in7_input": 1200},
    ),
    **hwmon(
        2,
        "ina3221",
        **{"in1_label": "NC", "in1_input": 0, "curr1_input": 0},
        **{"in2_label": "VDDQ_VDD2_1V8AO", "in2_input": 4968, "curr2_input": 80},
    ),
    **hwmon(3, "soctherm_oc", oc1_event_cnt=0, oc1_throt_en=1, oc3_event_cnt=4, oc3_throt_en=1),
    **zones(cpu_thermal=46000, gpu_thermal=-256000, tj_thermal=47000),
    "sys/class/devfreq/17000000.gpu/cur_freq": 306000000,
    "sys/class/devfreq/17000000.gpu/min_freq": 306000000,
    "sys/class/devfreq/17000000.gpu/max_freq": 1300500000,
    "sys/class/devfreq/15340000.vic/cur_freq": 729600000,
}
