"""An error about the value of an option names it as it is typed, whatever part of the library finds it."""

import math

import pytest

from edgecnn.cli.terminal import as_options, words_of
from edgecnn.compile.compile_request import CompileRequest
from edgecnn.compress.distill.distill_request import DistillRequest
from edgecnn.compress.prune.prune_request import PruneRequest
from edgecnn.compress.qat.qat_request import QatRequest
from edgecnn.compress.train.train_request import TrainRequest
from edgecnn.errors import EdgecnnError
from edgecnn.export.export_request import ExportRequest
from edgecnn.measure.measure_options import CompareRequest, EvalRequest, ProfileRequest
from edgecnn.options import fields, from_text, make
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.verbs.describe_request import DescribeRequest

#: The requests of the commands, with the values that they cannot do without.
REQUESTS = {
    CompileRequest: {"model": "a.onnx"},
    CompareRequest: {"models": ("a.onnx", "b.onnx")},
    DescribeRequest: {"model": "a.onnx", "labels": "imagenet"},
    DistillRequest: {"network": "lenet5", "data": "digits", "teacher": "t.onnx"},
    EvalRequest: {"model": "a.onnx", "data": "b"},
    ExportRequest: {"network": "lenet5", "precision": "int8"},
    ProfileRequest: {"models": ("a.onnx",)},
    PruneRequest: {"network": "lenet5"},
    QatRequest: {"network": "lenet5", "data": "digits", "weights": "w.safetensors"},
    QuantizeRequest: {"model": "a.onnx", "output": "b.onnx"},
    TrainRequest: {"network": "lenet5", "data": "digits"},
}
#: What is only known when the work begins: names of files, data sets, weights and nodes.
_LATER = {"crops", "data", "exclude", "metric", "only", "teacher_code", "teacher_weights", "train", "weights"}


def bad_values(field):
    """Return values of which an option refuses some, if there are any that it refuses."""
    if field.option.read is not None:
        return "?!", "0"
    if field.type is int:
        return -7, 0, 10**30
    if field.type is float:
        return -7.0, 0.0, 1e30, math.nan
    return (("?!",) if field.many else "?!",)


def refused(kind, name, field):
    """Yield what a request says to values of one of its options that it cannot have."""
    others = {"ratio": 0.5} if kind is PruneRequest and not name.startswith(("target_", "ratio")) else {}
    for value in bad_values(field):
        try:
            make(kind, {**REQUESTS[kind], **others, name: from_text(field, value)})
        except EdgecnnError as error:
            yield as_options(str(error))


@pytest.mark.parametrize("kind", REQUESTS)
def test_an_error_names_the_option(kind):
    for name, field in fields(kind).items():
        if (
            field.type is bool
            or field.option.path
            or field.option.argument
            or "command" in field.option.hidden
        ):
            continue
        said = list(refused(kind, name, field))
        assert said or name in _LATER or name in ("backend", "device"), f"nothing is refused as --{name}"
        assert [text for text in said if words_of(name) not in text] == []
