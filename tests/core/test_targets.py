"""The table of targets: complete, consistent, and equal to the data sheets where it quotes one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from edgecnn.errors import UnknownNameError
from edgecnn.schemes import CPU, OPENVINO, PORTABLE
from edgecnn.targets import TARGETS, Target, target

ROWS = list(TARGETS)
each_row = pytest.mark.parametrize("row", ROWS, ids=TARGETS.names())


@each_row
def test_every_row_names_its_source(row: Target) -> None:
    assert len(row.source) > 20


def test_names_and_titles_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len({row.title for row in ROWS}) == len(ROWS)


@each_row
def test_a_row_is_found_under_its_own_name(row: Target) -> None:
    assert target(row.name) is row


@each_row
def test_dense_rates_rise_as_the_numbers_get_narrower(row: Target) -> None:
    rates = [rate for rate in (row.fp32_tflops, row.fp16_tflops, row.int8_tops) if rate is not None]
    assert rates == sorted(rates)
    assert all(rate > 0 for rate in rates)


@each_row
def test_int8_is_twice_fp16_on_tensor_cores(row: Target) -> None:
    """True of dense rates since Turing: a row that breaks it has taken a sparse figure for a dense one."""
    if row.int8_tops is not None and row.fp16_tflops is not None:
        assert row.int8_tops / row.fp16_tflops == pytest.approx(2, rel=0.04)


@each_row
def test_a_tensorrt_row_has_tensorrts_scheme_and_a_compute_capability(row: Target) -> None:
    assert row.backend in {"any", "onnxruntime", "openvino", "tensorrt"}
    if row.backend == "tensorrt":
        assert row.scheme is PORTABLE
        assert row.compute_capability is not None
        major, minor = row.compute_capability.split(".")
        assert int(major) >= 7
        assert int(minor) >= 0
    else:
        assert row.compute_capability is None


@each_row
def test_only_jetson_boards_have_power_modes(row: Target) -> None:
    assert bool(row.power_modes) == row.name.startswith("jetson-")
    assert len(set(row.power_modes)) == len(row.power_modes)


def test_schemes_follow_the_rules_of_the_engines() -> None:
    assert (PORTABLE.activation, PORTABLE.symmetric, PORTABLE.quantize_bias) == ("int8", True, False)
    assert (CPU.activation, CPU.symmetric, CPU.quantize_bias) == ("uint8", False, True)
    assert target("portable").scheme is PORTABLE
    assert target("cpu").scheme is CPU
    assert (OPENVINO.activation, OPENVINO.symmetric, OPENVINO.quantize_bias) == ("uint8", False, False)
    assert target("openvino").scheme is OPENVINO


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        target("cpu").alignment = 8  # type: ignore[misc]


def test_a_mistyped_name_suggests_the_right_one() -> None:
    with pytest.raises(UnknownNameError, match="jetson-orin-nan") as caught:
        target("jetson-orin-nan")
    assert caught.value.hint is not None
    assert "jetson-orin-nano" in caught.value.hint


def test_agx_orin_agrees_with_its_data_sheet() -> None:
    """DS-10662-001: 170 sparse INT8 TOPS and 5.32 FP32 TFLOPS of GPU, 204.8 GB/s; half of 170 is dense."""
    row = target("jetson-agx-orin")
    assert (row.int8_tops, row.fp32_tflops, row.bandwidth_gbs, row.memory_gb) == (170 / 2, 5.32, 204.8, 64)


def test_rtx_2080_ti_agrees_with_the_turing_whitepaper() -> None:
    """The reference board's column, FP16 with FP16 accumulation."""
    row = target("rtx-2080-ti")
    assert (row.int8_tops, row.fp16_tflops, row.fp32_tflops, row.bandwidth_gbs) == (215.2, 107.6, 13.4, 616)


def test_the_table_needs_only_the_standard_library() -> None:
    heavy = "{'numpy', 'torch', 'yaml', 'onnx'}"
    code = f"import sys, edgecnn.targets; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
