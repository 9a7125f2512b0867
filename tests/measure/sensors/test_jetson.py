import pytest
from machines import AGX_ORIN, files, hwmon, no_tools, recorded, tools

from edgecnn.measure.sensors import jetson
from edgecnn.measure.sensors.jetson_tools import PowerMode


def watts(root):
    return {name: round(read(), 3) for name, read in jetson.rails(root).items()}


@pytest.mark.parametrize(
    ("board", "release"),
    [
        ("tx2_jp4", "L4T 32.5.1 (JetPack 4.5.1)"),
        ("orin_nx_jp6", "L4T 36.4.4 (JetPack 6.2.1)"),
        ("agx_thor_jp7", "L4T 38.2.0 (JetPack 7.0)"),
        ("orin_nano_jp7", "L4T 39.2.1 (JetPack 7.2.1)"),
    ],
)
def test_the_release_is_read_with_its_jetpack(tmp_path, board, release):
    files(tmp_path, {"etc/nv_tegra_release": recorded(board, "nv_tegra_release")})
    assert str(jetson.release(tmp_path)) == release


def test_a_release_that_is_not_known_has_no_jetpack(tmp_path):
    files(tmp_path, {"etc/nv_tegra_release": "# R99 (release), REVISION: 1.2, GCID: 1"})
    assert str(jetson.release(tmp_path)) == "L4T 99.1.2"


def test_the_model_has_no_zero_byte(tmp_path):
    assert jetson.model(files(tmp_path, AGX_ORIN)) == "NVIDIA Jetson AGX Orin Developer Kit"


def test_rails_of_hwmon_are_volts_times_amperes(tmp_path):
    assert watts(files(tmp_path, AGX_ORIN)) == {
        **{"VDD_GPU_SOC": 9.8, "VDD_CPU_CV": 4.9, "VIN_SYS_5V0": 8.0, "VDDQ_VDD2_1V8AO": 0.397}
    }


def test_rails_of_jetpack_4_are_watts(tmp_path):
    device = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    files(
        tmp_path,
        {
            f"{device}/rail_name_0": "POM_5V_IN",
            f"{device}/in_power0_input": 2875,
            f"{device}/rail_name_1": "POM_5V_GPU",
            f"{device}/in_power1_input": 41,
        },
    )
    assert watts(tmp_path) == {"POM_5V_IN": 2.875, "POM_5V_GPU": 0.041}


def test_the_input_of_the_thor_is_in_microwatts(tmp_path):
    files(tmp_path, hwmon(4, "ina238", label="VIN", power1_input=20986000))
    assert watts(tmp_path) == {"VIN": 20.986}


def test_a_rail_without_current_is_left_out(tmp_path):
    files(tmp_path, hwmon(1, "ina3221", in1_label="VDD_IN", in1_input=5000))
    assert watts(tmp_path) == {}


@pytest.mark.parametrize(
    ("rails", "whole"),
    [
        ("VDD_IN VDD_CPU_GPU_CV VDD_SOC", ("VDD_IN",)),
        ("POM_5V_IN POM_5V_GPU POM_5V_CPU", ("POM_5V_IN",)),
        ("VDD_GPU VDD_CPU_SOC_MSS VIN_SYS_5V0 VIN", ("VIN",)),
        ("VDD_GPU_SOC VDD_CPU_CV VIN_SYS_5V0 VDDQ_VDD2_1V8AO", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")),
        ("GPU CPU SOC CV VDDRQ SYS5V", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")),
        ("VDD_GPU VDD_CPU_SOC_MSS VIN_SYS_5V0", ()),
    ],
)
def test_the_whole_of_the_power_is_counted_once(rails, whole):
    assert jetson.whole(set(rails.split())) == whole


def test_the_power_mode_is_asked_of_nvpmodel(tmp_path):
    run = tools({"nvpmodel -q": recorded("orin_nano_jp7", "nvpmodel_q")})
    assert jetson.power_mode(tmp_path, run) == PowerMode("25W", 1)


def test_where_nvpmodel_cannot_run_its_file_tells_the_mode(tmp_path):
    files(
        tmp_path,
        {
            "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet",
            "etc/nvpmodel.conf": recorded("orin_nano_jp7", "nvpmodel.conf"),
        },
    )
    assert jetson.power_mode(tmp_path, no_tools) == PowerMode("MAXN_SUPER", 2)


def test_without_both_the_mode_is_unknown(tmp_path):
    assert jetson.power_mode(tmp_path, no_tools) is None


@pytest.mark.parametrize(
    "name", ["17000000.gpu", "17000000.ga10b", "17000000.gv11b", "57000000.gpu", "gpu-gpc-0"]
)
def test_the_gpus_clock_is_found_among_others(tmp_path, name):
    others = ("15340000.vic", "gpu-nvd-0", "bwmgr")
    files(tmp_path, {f"sys/class/devfreq/{other}/cur_freq": 1 for other in (name, *others)})
    assert jetson.gpu_folder(tmp_path).name == name


def test_a_board_without_that_clock_has_no_gpu_folder(tmp_path):
    assert jetson.gpu_folder(files(tmp_path, {"sys/class/devfreq/gpu-nvd-0/cur_freq": 1})) is None


def test_the_fan_is_a_share_of_full_speed(tmp_path):
    assert jetson.fan_percent(files(tmp_path / "orin", AGX_ORIN)) == 40
    assert jetson.fan_percent(files(tmp_path / "nano", {"sys/devices/pwm-fan/target_pwm": 255})) == 100
    assert jetson.fan_percent(tmp_path / "none") is None


def test_the_cuda_version_is_that_of_the_toolkit(tmp_path):
    # The first lines of the file on JetPack 7.2.1.
    content = (
        '{\n   "cuda" : {\n      "name" : "CUDA SDK",\n      "version" : "13.2.2"\n   },\n   "cuda_cccl" : {'
    )
    assert jetson.cuda_version(files(tmp_path, {"usr/local/cuda/version.json": content})) == "13.2.2"
