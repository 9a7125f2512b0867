import ctypes

import pytest

from edgecnn.measure.sensors import nvml

NOT_SUPPORTED = 3


class Library:
    """NVML's functions, answering as a card does; what is not in `values` is not supported."""

    def __init__(self, values: dict[str, object], cards: int = 1) -> None:
        self.values, self.cards = values, cards

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = 0x1000 + index.value
        return 0 if index.value < self.cards else 2

    @property
    def nvmlErrorString(self):
        def words(code):
            return {2: b"Invalid Argument"}[code]

        return words

    def nvmlSystemGetCudaDriverVersion_v2(self, version):
        version._obj.value = 13020
        return 0

    def nvmlSystemGetDriverVersion(self, buffer, length):
        buffer.value = b"580.65.06"
        return 0

    def nvmlDeviceGetName(self, handle, buffer, length):
        assert handle.value == 0x1000
        buffer.value = b"NVIDIA GeForce RTX 4090"
        return 0

    def __getattr__(self, name):
        if name == "nvmlDeviceGetTotalEnergyConsumption" and "TotalEnergyConsumption" not in self.values:
            raise AttributeError(name)  # a library of before Volta

        def answer(handle, *arguments):
            *kind, into = arguments
            key = (name.removeprefix("nvmlDeviceGet"), *(word.value for word in kind))
            key = key[0] if len(key) == 1 else key
            if key not in self.values:
                return NOT_SUPPORTED
            into._obj.value = self.values[key]
            return 0

        return answer


CARD = {
    ("ClockInfo", 1): 2520,
    ("ClockInfo", 2): 10501,
    ("MaxClockInfo", 1): 3105,
    ("Temperature", 0): 61,
    "PowerUsage": 387654,
    "EnforcedPowerLimit": 450000,
    "TotalEnergyConsumption": 123456789012,
    "CurrentClocksThrottleReasons": 0x25,
}


def test_a_card_tells_what_it_is():
    assert nvml.Gpu(Library(CARD)).info() == nvml.GpuInfo(
        "NVIDIA GeForce RTX 4090", "580.65.06", "13.2", 3105.0, 450.0
    )


def test_a_card_tells_how_it_is():
    gpu = nvml.Gpu(Library(CARD))
    assert (gpu.mhz(), gpu.memory_mhz(), gpu.temperature_c(), gpu.power_w()) == (2520, 10501, 61, 387.654)
    assert gpu.energy_j() == 123456789.012  # more than 32 bits of millijoules


def test_what_is_not_supported_is_unknown():
    gpu = nvml.Gpu(Library({}))  # as on an Orin
    assert [gpu.mhz(), gpu.temperature_c(), gpu.power_w(), gpu.energy_j(), gpu.throttle_bits()] == [None] * 5
    assert gpu.info().power_limit_w is None and gpu.info().max_mhz is None


def test_idling_and_chosen_clocks_are_no_throttling():
    # nvml.h: idle 0x1, application clocks 0x2, power cap 0x4, sync boost 0x10, software thermal 0x20,
    # display 0x100.
    assert nvml.reasons(0x1 | 0x2 | 0x10 | 0x100) == []
    assert nvml.reasons(0x25) == ["power cap", "too hot (software)"]


def test_a_card_that_is_not_there_is_an_error_in_nvmls_words():
    with pytest.raises(OSError, match="NVML: Invalid Argument"):
        nvml.Gpu(Library(CARD), which=1)


def test_a_machine_without_the_driver_says_so(monkeypatch):
    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(OSError, match="no NVIDIA driver"):
        nvml.open_gpu()


@pytest.mark.parametrize(
    ("visible", "card"),
    [
        ("1,0", 1),
        ("", 0),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
    ],
)
def test_the_card_is_the_first_that_cuda_sees(monkeypatch, visible, card):
    opened = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library(CARD, cards=2))
    monkeypatch.setattr(nvml, "Gpu", lambda library, which: opened.append(which))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvml.open_gpu()
    assert opened == [card]
