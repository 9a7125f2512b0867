"""Parse and build with TensorRT-RTX, which needs no GPU for that."""

from __future__ import annotations

from pathlib import Path

import pytest


def build(path: Path) -> int:
    """Return the bytes of an engine for compute capability 8.9; fails the test if there is none."""
    trt = pytest.importorskip("tensorrt_rtx", reason="no wheel for this platform")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    definition = builder.create_network(0)
    parser = trt.OnnxParser(definition, logger)
    parsed = parser.parse(path.read_bytes())
    assert parsed, [parser.get_error(index).desc() for index in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    image = definition.get_input(0)
    batch, *shape = tuple(image.shape)
    if batch < 0:  # any number
        profile = builder.create_optimization_profile()
        profile.set_shape(image.name, (1, *shape), (1, *shape), (8, *shape))
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(definition, config)
    assert engine is not None
    return int(engine.nbytes)
