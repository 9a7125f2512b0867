"""`edgecnn targets`: what --target takes."""

import json

from program import run_here

from edgecnn.targets import TARGETS


def test_every_target_is_listed_and_no_board_that_only_jetpack_5_serves():
    listed = json.loads(run_here("targets", "--json").stdout)["targets"]
    assert [row["name"] for row in listed] == TARGETS.names()
    assert not any("xavier" in row["name"] for row in listed)
    seven = {row["name"] for row in listed if row["scheme"]["weight_bits"] == 7}
    assert seven == {"openvino-avx2"}


def test_a_pattern_or_a_part_of_the_name_picks_some():
    for pattern in ("jetson*", "jetson"):
        done = run_here("targets", pattern)
        rows = [line for line in done.stdout.splitlines() if "NVIDIA" in line]
        assert len(rows) == 7 and all("jetson-" in row for row in rows)
    assert "edgecnn targets lists all" in run_here("targets", "abacus").stdout
