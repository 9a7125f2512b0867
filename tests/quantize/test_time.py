"""Which layers are repaired fully within a time: those that win most for it."""

from types import SimpleNamespace

import numpy as np
import pytest
from foreign_graphs import head, model_of, stem, written
from small_layers import layer_of, on_grid

from edgecnn.artifact import read_manifest
from edgecnn.budget import Budget
from edgecnn.errors import InvalidValueError
from edgecnn.export import ExportRequest
from edgecnn.options import make
from edgecnn.parity import Parity
from edgecnn.quantize.escalate import Verdict, escalate
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.quantize.repair import repair_network, repair_plan
from edgecnn.quantize.repair.repair_cost import RepairCost, repair_cost
from edgecnn.quantize.repair.survey import Survey
from edgecnn.quantize.repair.walk import LayerShape
from edgecnn.quantize.time_budget import TimeBudget, seconds_of
from edgecnn.recipe import schema
from edgecnn.verify import UNKNOWN, verify
from edgecnn.zoo import NetworkSpec

COSTS = {name: RepairCost(1.0, 1.0 + extra) for name, extra in {"a": 1, "b": 10, "c": 2, "d": 50}.items()}
#: By second: c 0.2, a 0.1, b 0.03, d 0.0008.
GAINS = {"a": 0.1, "b": 0.3, "c": 0.4, "d": 0.04}


def test_layers_that_win_most_for_their_time_come_first():
    assert repair_plan.ordered(COSTS, GAINS) == ["c", "a", "b", "d"]


@pytest.mark.parametrize(
    ("seconds", "chosen"), [(3, []), (4, []), (6, ["c"]), (7.5, ["c", "a"]), (100, ["c", "a", "b", "d"])]
)
def test_within_a_time_all_layers_get_the_cheap_repair_and_the_best_the_full_one(seconds, chosen):
    assert repair_plan.within(["c", "a", "b", "d"], COSTS, seconds) == chosen


def test_costs_grow_with_inputs_outputs_and_positions():
    def cost(outputs, inputs, positions=1 << 20):
        return repair_cost(LayerShape((1, outputs, inputs), clipped=True), positions)

    assert cost(64, 64).full < cost(64, 576).full < cost(128, 576).full < cost(512, 4608).full
    assert cost(64, 576, 100).full < cost(64, 576).full
    assert all(cost(*shape).cheap < cost(*shape).full for shape in ((1, 9), (64, 64), (1000, 2048)))


def test_the_survey_tells_the_layer_whose_rounding_adds_most(rng):
    """Weights that are whole steps add nothing; those of an input that is exact add all there is."""
    exact = on_grid(rng, 64, 20)
    noisy = (exact + rng.normal(size=exact.shape)).astype(np.float32)
    coarse = rng.normal(size=(20, 5)).astype(np.float32)
    whole = (rng.integers(-126, 127, (20, 5)) / 127).astype(np.float32)
    whole[0] = 1
    survey = Survey()
    for name, weight, inexact in (("all", coarse, exact), ("some", coarse, noisy), ("none", whole, noisy)):
        layer = layer_of("MatMul", weight, exact, inexact)
        layer.node.name = name
        survey(layer)
    assert survey.shares["all"] > 0.99 and survey.shares["none"] < 1e-6
    assert survey.shares["none"] < survey.shares["some"] < 0.1


def test_a_time_is_read_and_nonsense_refused():
    assert [seconds_of(text) for text in ("30s", "5m", "1.5 h", "20", "2min")] == [30, 300, 5400, 20, 120]
    for text in ("", "soon", "-3s", "1d", "3 4", "infs", "1e3"):
        with pytest.raises(InvalidValueError, match="no time"):
            seconds_of(text)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "30s", True])
def test_a_time_that_is_none_is_refused(seconds, tmp_path):
    with pytest.raises(InvalidValueError, match="time"):
        QuantizeRequest(tmp_path / "a.onnx", tmp_path / "b.onnx", time=seconds)


def test_a_time_belongs_to_int8(tmp_path):
    with pytest.raises(InvalidValueError, match="`time` belongs to int8"):
        QuantizeRequest(tmp_path / "a.onnx", tmp_path / "b.onnx", time=3.0, precision="float16")
    with pytest.raises(InvalidValueError, match="`time` belongs to `int8`"):
        ExportRequest(NetworkSpec("lenet5", num_classes=7), time=3.0)


def test_recipes_give_a_time_as_text_or_in_seconds(tmp_path):
    for text, seconds in (("30s", 30), ("2m", 120), ("45", 45)):
        path = tmp_path / "r.yaml"
        path.write_text(f"steps: [{{quantize: {{model: m.onnx, time: {text}}}}}]")
        (step,) = schema.read(path).steps
        asked = step.kind.request
        known = {"model": "m.onnx", "output": tmp_path / "o.onnx", "time": step.options["time"]}
        value = known["time"] if isinstance(known["time"], float) else seconds_of(known["time"])
        assert make(asked, {**known, "time": value}).time == seconds
    path.write_text("steps: [{quantize: {model: m.onnx, time: soon}}]")
    with pytest.raises(Exception, match="no time"):
        schema.read(path)


def test_what_no_time_is_left_for_is_rounded_to_nearest_and_said(tmp_path):
    model = model_of(stem(), head())
    made = written(model, tmp_path, effort="default", time=0.001, calib_images=40, force=True, yes=True)
    assert "stopped for time (1 s), though the least that there is to do took" in made.notes[-1]
    assert "; 16 of 40 images calibrated; 8 images repaired; 3 layers more" in made.notes[-1]
    assert made.manifest.lineage[-1].parameters["count"] == 16
    result = made.to_json()
    assert result["quantization"]["time"] == {"seconds": 0.001, "stopped": True}
    assert read_manifest(made.path).quantization["out_of_time"] == ["c1", "c2", "fc"]
    assert set(result["stages"]) >= {"prepare", "float outputs", "calibrate", "check", "write"}
    answer = verify(made.path).answers[-1]
    assert answer.verdict == UNKNOWN and "3 were not" in answer.detail


def test_enough_time_changes_nothing_but_what_is_said(tmp_path):
    few = {"effort": "default", "force": True, "yes": True}
    plain, timed = (written(model_of(stem(), head()), tmp_path, time=time, **few) for time in (None, 600.0))
    assert timed.parity == plain.parity and "done in time" in timed.notes[-1]
    assert timed.manifest.quantization["time"] == {"seconds": 600.0, "stopped": False}
    assert "time" not in plain.manifest.quantization


def test_nothing_more_is_tried_when_the_time_has_run_out():
    tried = []

    def quantizer(recipe, exclude=()):
        tried.append(recipe.name)
        return SimpleNamespace(model=0.0, recipe=recipe, int8_mac_share=1.0, out_of_time=())

    quantizer.time, quantizer.least_seconds = TimeBudget(10.0, lambda: 0.0), lambda recipe: 11.0
    verdict = Verdict(Parity(0.0, 10.0, 1.0, 100, 10))
    outcome = escalate(quantizer, lambda model: verdict, lambda _: [], "best", Budget(min_sqnr_db=99))
    assert len(tried) == 1 and outcome.met is False and outcome.out_of_time


def test_fewer_images_repair_where_there_is_no_time_for_all(monkeypatch):
    """As many as leave time for the cheap repair of each layer."""
    monkeypatch.setattr(repair_network.Work, "costs", lambda work: {"a": RepairCost(1.0, 2.0)})
    monkeypatch.setattr(repair_network, "batch_of", lambda model: None)
    work = repair_network.Work(None, None, {}, None, np.zeros((128, 1)), {"a": 10**9})

    def images(seconds):
        return len(repair_network._affordable(work, seconds).images)

    one = repair_network.running_cost(10**9, repair_network._RUNS)
    assert images(1 + 128.5 * one) == 128
    assert [images(1 + count * one) for count in (127, 33, 20, 0)] == [32, 32, 8, 8]


def test_layers_that_win_most_are_repaired_fully_while_there_is_time(monkeypatch):
    costs = {"first": RepairCost(0.0, 10.0), "second": RepairCost(0.0, 1.0), "third": RepairCost(0.0, 4.0)}
    shares = {"first": 0.9, "second": 0.5, "third": 0.1}
    said, now = [], [100.0]

    class Full:
        full = True

        def __call__(self, layer):
            now[0] += costs[layer.node.name].full
            return layer.node.name

    def walk(model, placement, ranges, scheme, images, repair):
        return [repair(SimpleNamespace(node=SimpleNamespace(name=name))) for name in costs], {}

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(repair_network.Work, "costs", lambda work: costs)
    monkeypatch.setattr(repair_network, "batch_of", lambda model: None)
    monkeypatch.setattr(repair_network, "_survey", lambda work: shares)
    monkeypatch.setattr(repair_network, "CHEAP", lambda layer: None)
    monkeypatch.setattr(repair_network, "walk", walk)
    work = repair_network.Work(None, None, {}, None, np.zeros((8, 1, 1, 1)), {})

    def repaired(seconds):
        budget = None if seconds is None else TimeBudget(seconds, lambda: now[0])
        found = repair_network.repair_network(work, Full(), "repair", said.append, budget=budget)
        return found.model, found.out_of_time

    assert repaired(None) == (["first", "second", "third"], [])
    assert "repair (about 15 s): layer 1 of 3, 15 s left" in said and "survey" not in said
    assert repaired(12.0) == (["first", "second", None], ["third"])
    assert "survey" in said
    assert repaired(6.0) == ([None, "second", "third"], ["first"])
    assert repaired(0.5) == ([None, None, None], ["first", "second", "third"])
    assert repaired(100.0) == (["first", "second", "third"], [])
