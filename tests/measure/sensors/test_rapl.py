from machines import files

from edgecnn.measure.sensors import rapl

CLASS = "sys/class/powercap"


def zone(name: str, kind: str, microjoules: object = 0) -> dict[str, object]:
    folder = f"{CLASS}/{name}"
    return {f"{folder}/name": kind, f"{folder}/energy_uj": microjoules, f"{folder}/max_energy_range_uj": 1000}


def test_packages_and_memory_are_counted_once(tmp_path):
    files(
        tmp_path,
        {
            **zone("intel-rapl:0", "package-0"),
            **zone("intel-rapl:0:0", "core"),
            **zone("intel-rapl:0:1", "dram"),
            **zone("intel-rapl:1", "package-1"),
            **zone("intel-rapl:1:0", "core"),
            **zone("intel-rapl:2", "psys"),
            **zone("intel-rapl-mmio:0", "package-0"),
        },
    )
    assert list(rapl.zones(tmp_path)) == ["package-0", "package-0 dram", "package-1"]


def test_a_counter_is_in_joules(tmp_path):
    counters = rapl.counters(files(tmp_path, zone("intel-rapl:0", "package-0", 262143328850)))
    assert counters["package-0"]() == 262143.32885


def test_a_counter_that_begins_anew_goes_on():
    values = iter([0.9, 0.95, 0.05, 0.3, 0.2])
    read = rapl.unwrapped(lambda: next(values), 1.0)
    assert [round(read(), 6) for _ in range(5)] == [0.9, 0.95, 1.05, 1.3, 2.2]


def test_an_unreadable_counter_says_why(tmp_path):
    files(tmp_path, {f"{CLASS}/intel-rapl:0/name": "package-0"})
    assert rapl.counters(tmp_path) == {}
    assert rapl.why_none(tmp_path).startswith("RAPL: no such file or directory")
    assert rapl.why_none(tmp_path / "other") == "RAPL: this kernel shows none"
