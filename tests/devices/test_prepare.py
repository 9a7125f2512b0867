import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machines import files, no_tools, recorded

from edgecnn.devices.machine_state import prepare
from edgecnn.errors import UnknownNameError
from edgecnn.measure.sensors.tools import Answer

NO_RIGHTS = "Error: Run this script(/usr/bin/jetson_clocks) as a root user"


MODES = {"MAXN": 0, "MODE_15W": 1, "MODE_30W": 2}


class Board:
    """An AGX Orin in 30 W: its tools with what they change. `refuses` is answered to whatever changes it."""

    def __init__(self, root: Path, *, refuses: str = "", needs_reboot: int | None = None) -> None:
        conf = "".join(f"< POWER_MODEL ID={number} NAME={name} >\n" for name, number in MODES.items())
        files(root, {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3", "etc/nvpmodel.conf": conf})
        self.mode, self.pinned, self.stays_free = 2, False, False
        self.refuses, self.needs_reboot = refuses, needs_reboot
        self.log: list[str] = []

    def __call__(self, command, seconds):
        match list(command):
            case ["nvpmodel", "-q"]:
                name = next(name for name, number in MODES.items() if number == self.mode)
                return Answer(True, f"NV Power Mode: {name}\n{self.mode}\n")
            case ["jetson_clocks", "--show"]:
                pinned = self.pinned and not self.stays_free
                return Answer(
                    True, recorded("agx_orin_jp6", f"jetson_clocks_show{'_pinned' if pinned else ''}")
                )
        self.log.append(" ".join(command[:2] if "--store" in command or "--restore" in command else command))
        if self.refuses:
            return Answer(False, self.refuses)
        match list(command):
            case ["nvpmodel", "-m", number]:
                if int(number) == self.needs_reboot:
                    return Answer(False, recorded("agx_orin_jp5", "nvpmodel_m_refused"))
                self.mode = int(number)
            case ["jetson_clocks", "--store", path]:
                assert not Path(path).exists()  # else the tool asks whether to overwrite it
                Path(path).write_text(str(self.pinned))
            case ["jetson_clocks", "--fan"]:
                self.pinned = True
            case ["jetson_clocks", "--restore", path]:
                self.pinned = Path(path).read_text() == "True"
        return Answer(True, "")


def test_a_board_is_set_and_put_back_in_reverse(tmp_path):
    board = Board(tmp_path)
    with prepare("MAXN", root=tmp_path, run=board) as prepared:
        assert (board.mode, board.pinned) == (0, True)
    assert (board.mode, board.pinned) == (2, False)
    assert board.log == [
        *("nvpmodel -m 0", "jetson_clocks --store", "jetson_clocks --fan"),
        *("jetson_clocks --restore", "nvpmodel -m 2"),
    ]
    assert prepared.done[0] == "power mode MAXN, was MODE_30W" and "fan at full speed" in prepared.done[1]
    assert not prepared.could_not and not prepared.not_restored


@pytest.mark.parametrize("mode", [None, "MODE_30W"])
def test_the_mode_that_is_there_is_left_alone(tmp_path, mode):
    board = Board(tmp_path)
    with prepare(mode, root=tmp_path, run=board):
        assert board.pinned
    assert not any(line.startswith("nvpmodel") for line in board.log)


def test_without_rights_nothing_changes_and_the_reasons_are_told(tmp_path):
    board = Board(tmp_path, refuses=NO_RIGHTS)
    with prepare("MAXN", root=tmp_path, run=board) as prepared:
        assert not prepared.done
    assert [line.partition(": ")[2].startswith(NO_RIGHTS) for line in prepared.could_not] == [True, True]
    # What was refused is not put back, so that is not refused as well.
    assert board.log == ["nvpmodel -m 0", "jetson_clocks --store"] and not prepared.not_restored


def test_a_mode_that_needs_a_reboot_is_not_set(tmp_path):
    board = Board(tmp_path, needs_reboot=0)
    with prepare("MAXN", root=tmp_path, run=board) as prepared:
        assert (board.mode, board.pinned) == (2, True)
    assert prepared.could_not == [
        "power mode MAXN, was MODE_30W: it needs a reboot (sudo nvpmodel -m 0, and answer yes)"
    ]


def test_a_mode_is_set_only_if_nvpmodel_then_names_it(tmp_path):
    board = Board(tmp_path)

    def liar(command, seconds):
        return Answer(True, "") if "-m" in command else board(command, seconds)

    with prepare("MAXN", root=tmp_path, run=liar) as prepared:
        assert [line.partition(":")[0] for line in prepared.could_not] == ["power mode MAXN, was MODE_30W"]


def test_clocks_that_still_move_are_named(tmp_path):
    board = Board(tmp_path)
    board.stays_free = True
    with prepare(root=tmp_path, run=board) as prepared:
        assert "cpu7, GPU can still move" in prepared.could_not[0] and not prepared.done
    assert board.log[-1] == "jetson_clocks --restore"


def test_an_error_puts_everything_back(tmp_path):
    board = Board(tmp_path)
    with pytest.raises(ZeroDivisionError), prepare("MAXN", root=tmp_path, run=board):
        raise ZeroDivisionError
    assert (board.mode, board.pinned) == (2, False)


def test_what_cannot_be_put_back_is_told(tmp_path):
    board = Board(tmp_path)
    with prepare("MAXN", root=tmp_path, run=board) as prepared:
        board.refuses = "NVPM ERROR: failed to set power mode!"
    assert len(prepared.not_restored) == 2 and "failed to set power mode" in prepared.not_restored[1]


def test_an_unknown_mode_changes_nothing_and_names_those_there_are(tmp_path):
    board = Board(tmp_path)
    with pytest.raises(UnknownNameError) as refused, prepare("25W", root=tmp_path, run=board):
        pass
    assert refused.value.hint == "it has: MAXN, MODE_15W, MODE_30W" and not board.log


def test_other_machines_have_no_power_modes(tmp_path):
    with (
        pytest.raises(UnknownNameError, match="no Jetson board"),
        prepare("MAXN", root=tmp_path, run=no_tools),
    ):
        pass


def governors(root: Path, *names: str) -> Path:
    folder = "sys/devices/system/cpu/cpufreq/policy"
    return files(root, {f"{folder}{core}/scaling_governor": name for core, name in enumerate(names)})


def read(root: Path) -> list[str]:
    return [
        path.read_text().strip()
        for path in sorted(root.glob("sys/devices/system/cpu/cpufreq/*/scaling_governor"))
    ]


def test_every_core_gets_the_performance_governor_and_its_own_back(tmp_path):
    before = ["powersave", "performance", "schedutil"]
    with prepare(root=governors(tmp_path, *before), run=no_tools) as prepared:
        assert read(tmp_path) == ["performance"] * 3
    assert read(tmp_path) == before and not prepared.could_not and len(prepared.done) == 2


def test_a_governor_that_may_not_be_changed_is_told_once(tmp_path, monkeypatch):
    def refuse(path, value):
        raise PermissionError(13, "Permission denied")

    governors(tmp_path, "powersave", "powersave")
    monkeypatch.setattr(Path, "write_text", refuse)
    with prepare(root=tmp_path, run=no_tools) as prepared:
        assert (
            len(prepared.could_not) == 1
            and "policy0/scaling_governor: permission denied" in prepared.could_not[0]
        )
    assert not prepared.not_restored


def test_a_machine_without_clocks_to_set_says_so(tmp_path):
    with prepare(root=tmp_path, run=no_tools) as prepared:
        assert prepared.could_not == ["governor performance: this kernel shows no cpufreq"]


class Card:
    """An NVIDIA card by nvidia-smi."""

    def __init__(self, persistence: str, refuses: str = "") -> None:
        self.persistence, self.refuses = persistence, refuses
        self.log: list[str] = []

    def __call__(self, command, seconds):
        assert command[:3] == ("nvidia-smi", "-i", "0") or command[:3] == ["nvidia-smi", "-i", "0"]
        if command[3].startswith("--query"):
            return Answer(True, f"{self.persistence}, 3105\n")
        self.log.append(" ".join(command[3:]))
        return Answer(not self.refuses, self.refuses)


@pytest.mark.parametrize(
    ("persistence", "log"),
    [
        ("Disabled", ["-pm 1", "-lgc 3105,3105", "-rgc", "-pm 0"]),
        ("Enabled", ["-lgc 3105,3105", "-rgc"]),
    ],
)
def test_a_card_is_locked_to_its_highest_clock_and_unlocked(tmp_path, persistence, log):
    card = Card(persistence)
    with prepare(root=governors(tmp_path, "performance"), run=card) as prepared:
        assert prepared.done[-1] == "GPU clock locked to 3105 MHz"
    assert card.log == log


def test_a_card_that_refuses_is_told_in_its_words(tmp_path):
    reason = "The current user does not have permission to change clocks for GPU 00000000:01:00.0."
    card = Card("Enabled", refuses=reason)
    with prepare(root=governors(tmp_path, "performance"), run=card) as prepared:
        assert prepared.could_not[0].startswith(f"GPU clock locked to 3105 MHz: {reason}")
    assert card.log == ["-lgc 3105,3105"]


def test_a_machine_without_a_card_lacks_nothing(tmp_path):
    with prepare(root=governors(tmp_path, "performance"), run=no_tools) as prepared:
        assert not prepared.could_not


PROGRAM = """
import signal, sys, time
from pathlib import Path
from edgecnn.devices.machine_state import prepare
# Whoever runs the tests in the background has SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with prepare(root=Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_puts_everything_back(tmp_path, number):
    governors(tmp_path, "powersave")
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert program.stdout.readline() == b"ready\n" and read(tmp_path) == ["performance"]
    program.send_signal(number)
    assert program.wait(timeout=20) != 0
    assert read(tmp_path) == ["powersave"]


@pytest.fixture
def heeding_sigint():
    """Whoever runs the tests in the background has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_does_not_cut_restoring_short(tmp_path, heeding_sigint):
    board = Board(tmp_path)

    def impatient(command, seconds):
        if "--restore" in command:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0)
        return board(command, seconds)

    with pytest.raises(KeyboardInterrupt), prepare("MAXN", root=tmp_path, run=impatient):
        signal.raise_signal(signal.SIGINT)
    assert (board.mode, board.pinned) == (2, False)


def test_handlers_are_those_of_before(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with prepare(root=tmp_path, run=no_tools):
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
