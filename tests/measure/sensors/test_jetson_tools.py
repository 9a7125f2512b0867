import pytest
from machines import recorded

from edgecnn.measure.sensors import jetson_tools
from edgecnn.measure.sensors.jetson_tools import PowerMode, tegrastats
from edgecnn.measure.sensors.tools import Answer


def line(board: str, number: int = 0):
    return tegrastats(recorded(board, "tegrastats").splitlines()[number])


@pytest.mark.parametrize(
    ("board", "number", "watts"),
    [
        ("nano_jp4", 0, {"POM_5V_IN": 1.75, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.366}),
        ("tx2_jp4", 0, {}),
        ("xavier_nx_jp4", 0, {"VDD_IN": 6.14, "VDD_CPU_GPU_CV": 2.706, "VDD_SOC": 1.074}),
        ("xavier_nx_jp5", 0, {"VDD_IN": 2.763, "VDD_CPU_GPU_CV": 0.65, "VDD_SOC": 0.65}),
        (
            "agx_xavier_jp4",
            0,
            {"GPU": 0.0, "CPU": 0.31, "SOC": 0.931, "CV": 0.0, "VDDRQ": 0.466, "SYS5V": 1.522},
        ),
        (
            "agx_orin_jp5",
            0,
            {"VDD_GPU_SOC": 2.399, "VDD_CPU_CV": 0.4, "VIN_SYS_5V0": 4.032, "VDDQ_VDD2_1V8AO": 0.301},
        ),
        ("orin_nx_jp6", 0, {"VDD_IN": 17.946, "VDD_CPU_GPU_CV": 8.896, "VDD_SOC": 3.923}),
        ("orin_nano_jp7", 1, {"VDD_IN": 3.462, "VDD_CPU_GPU_CV": 0.442, "VDD_SOC": 1.127}),
        (
            "agx_thor_jp7",
            0,
            {"VDD_GPU": 37.528, "VDD_CPU_SOC_MSS": 18.961, "VIN_SYS_5V0": 18.331, "VIN": 87.426},
        ),
    ],
)
def test_power_is_the_present_value_of_every_connected_rail(board, number, watts):
    assert line(board, number).power_w == watts


@pytest.mark.parametrize(
    ("board", "number", "load", "gpu", "memory"),
    [
        ("nano_jp4", 0, 0.0, 76, 1600),
        ("tx2_jp4", 0, 0.0, None, None),
        ("xavier_nx_jp4", 0, 0.0, 1109, 1600),
        ("xavier_nx_jp5", 0, 0.0, 114, 204),
        ("agx_orin_jp5", 1, 14.0, 407, 2133),
        ("orin_nx_jp6", 0, 84.0, 713, 3199),
        ("orin_nano_jp7", 0, 0.0, 305, 665),
        ("agx_thor_jp7", 0, None, None, None),
        ("agx_thor_jp7", 1, None, 314, 2750),
    ],
)
def test_the_gpu_and_the_memory_are_read_in_every_form(board, number, load, gpu, memory):
    found = line(board, number)
    assert (found.gpu_load, found.gpu_mhz, found.memory_mhz) == (load, gpu, memory)


def test_cores_that_are_off_have_no_load_and_no_clock():
    assert line("tx2_jp4").cpu_load == (3.0, None, None, 0.0, 1.0, 1.0)
    assert line("tx2_jp4").cpu_mhz == (345, None, None, 345, 345, 345)
    assert line("orin_nx_jp6").cpu_mhz == (1984, 1984, 1984, 1984, 1984, 247)


def test_cores_may_share_one_clock():
    # As NVIDIA's DRIVE OS documentation of tegrastats gives the form.
    found = tegrastats("RAM 1/2MB CPU [5%,off,7%]@1190")
    assert (found.cpu_load, found.cpu_mhz) == ((5.0, None, 7.0), (1190, None, 1190))


def test_temperatures_are_those_of_sensors_that_measure():
    # Not PMIC, which stands at 100, nor units that are off, at -256; the present value, not JetPack 7's peak.
    assert line("xavier_nx_jp4").temperatures_c == {
        **{"AO": 29.0, "GPU": 31.5, "AUX": 30.0, "CPU": 33.5, "thermal": 31.35}
    }
    assert set(line("agx_orin_jp5").temperatures_c) == {
        "CPU",
        "Tboard",
        "SOC2",
        "Tdiode",
        "SOC0",
        "tj",
        "SOC1",
    }
    assert line("orin_nano_jp7", 1).temperatures_c["cpu"] == 45.375


def test_memory_in_use_is_read():
    assert (line("agx_thor_jp7").ram_used_mb, line("agx_thor_jp7").ram_total_mb) == (36529, 125749)


def test_tegrastats_is_asked_for_its_last_whole_line():
    asked = []

    def run(command, seconds):
        asked.append((*command, seconds))
        return Answer(False, recorded("orin_nano_jp7", "tegrastats"))

    assert jetson_tools.read_tegrastats(run).power_w["VDD_IN"] == 3.462
    assert asked == [("tegrastats", "--interval", "100", 0.5)]


def test_without_tegrastats_there_is_no_reading():
    assert jetson_tools.read_tegrastats(lambda command, seconds: Answer(False, "not installed")) is None


@pytest.mark.parametrize(
    ("board", "mode"),
    [
        ("nano_jp4", PowerMode("MAXN", 0)),
        ("xavier_nx_jp4", PowerMode("MODE_15W_6CORE", 2)),
        ("agx_xavier_jp4", PowerMode("MODE_30W_4CORE", 5)),
        ("agx_orin_jp6", PowerMode("MODE_30W", 2)),
        ("orin_nx_jp6", PowerMode("MAXN_SUPER", 2)),
        ("orin_nano_jp7", PowerMode("25W", 1)),
        ("agx_thor_jp7", PowerMode("120W", 1)),
    ],
)
def test_the_power_mode_is_what_nvpmodel_names(board, mode):
    assert jetson_tools.power_mode(recorded(board, "nvpmodel_q")) == mode


def test_an_error_of_nvpmodel_is_no_mode():
    assert jetson_tools.power_mode(recorded("agx_thor_jp7", "nvpmodel_m_refused")) is None


def test_modes_are_those_of_the_configuration():
    assert jetson_tools.power_modes(recorded("nano_jp4", "nvpmodel.conf")) == {"MAXN": 0, "5W": 1}
    assert jetson_tools.power_modes("< POWER_MODEL NAME=MAXN ID=3 >\n# < POWER_MODEL ID=4 NAME=OLD >") == {
        "MAXN": 3
    }


def test_clocks_are_read_in_mhz():
    found = jetson_tools.clocks(recorded("nano_jp4", "jetson_clocks_show"))
    assert list(found) == ["cpu0", "cpu1", "cpu2", "cpu3", "GPU", "EMC"]
    assert (found["cpu0"].min_mhz, found["cpu0"].max_mhz, found["cpu0"].mhz) == (102.0, 1428.0, 1428.0)
    assert (found["GPU"].min_mhz, found["GPU"].max_mhz, found["GPU"].mhz) == (76.8, 921.6, 153.6)


def test_cores_that_are_offline_have_no_clock():
    assert "cpu8" not in jetson_tools.clocks(recorded("agx_orin_jp6", "jetson_clocks_show"))


@pytest.mark.parametrize(
    ("board", "name", "free"),
    [
        ("agx_orin_jp6", "jetson_clocks_show", [*(f"cpu{core}" for core in range(8)), "GPU"]),
        ("agx_orin_jp6", "jetson_clocks_show_pinned", []),
        ("agx_thor_jp7", "jetson_clocks_show_pinned", []),
        ("orin_nano_jp7", "jetson_clocks_show", [*(f"cpu{core}" for core in range(6)), "GPU"]),
        ("orin_nx_jp6", "jetson_clocks_show", [*(f"cpu{core}" for core in range(6)), "GPU"]),
    ],
)
def test_clocks_that_can_move_are_named(board, name, free):
    assert jetson_tools.unpinned(recorded(board, name)) == free
