"""What the plots say, and that it can be read: as matplotlib's own objects, before they are a file."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from figures import collisions, words

from edgecnn import figure
from edgecnn.compress.train import log
from edgecnn.measure.accuracy import accuracy_plot
from edgecnn.measure.accuracy.evaluate import Accuracy
from edgecnn.measure.latency import batch_plot
from edgecnn.measure.latency.batch_sweep import BatchSweep
from edgecnn.measure.layers import layers_plot
from edgecnn.measure.layers.layer_times import BETWEEN, LayerProfile, LayerTime
from edgecnn.measure.layers.roofline import HOW_TO_KNOW, Roofline
from edgecnn.quantize import sensitivity_plot
from edgecnn.quantize.layer_sensitivity import LayerSensitivity

LONG = "a_name_of_a_file_that_somebody_made_of_many_words_$x_1$_int8_for_the_portable_target_2024_final.onnx"
ROOF = Roofline(8.5, 10.0, 1234.0, 20.0, "memory", 0.06, "measured 2026-11-26")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, in place of their files."""
    figures = []
    monkeypatch.setattr(figure, "write", lambda made, path: figures.append(made))
    return figures


def profile(count, macs=1):
    spent = np.linspace(1e-4, 2e-4, count)
    rows = [LayerTime(f"/backbone/stage/blocks.{i}.conv", "Conv", s, 0.1, macs) for i, s in enumerate(spent)]
    rows.append(LayerTime(f"{BETWEEN}: Reorder", "Reorder", 2e-5, 0.01, None))
    return LayerProfile(SimpleNamespace(), rows, float(spent.sum()), 20)


def sweep(batches, name="m.onnx", grows=True):
    engine = SimpleNamespace(path=Path(name))
    return BatchSweep(
        tuple(
            SimpleNamespace(
                batch=batch,
                engine=engine,
                throughput_ips=batch * 100.0 if grows else 700.0 + batch / 10,
                milliseconds={"p50": 10.0 + batch, "p99": 20.0 + batch},
            )
            for batch in batches
        )
    )


def sensitivities(count):
    return [
        LayerSensitivity(f"/features/features.{i}/Conv", "Conv", 1, 40.0 - (30 <= i < 35) * i, 30.0)
        for i in range(count)
    ]


def epochs(count, stages=("train",), validated=True):
    measured = {"validation_loss": 1.0, "top1": 0.9} if validated else {}
    return [
        {"epoch": i + 1, "stage": stages[i * len(stages) // count], "loss": 1.0, **measured}
        for i in range(count)
    ]


def accuracy(classes, name="class", images=4):
    labels = np.arange(classes * images) % classes
    logits = 9 * np.eye(classes, dtype=np.float32)[np.where(labels == 1, 0, labels)]
    return Accuracy(Path("m.onnx"), "d", logits, labels, [f"{name} {i}" for i in range(classes)], (), 1.0, {})


PLOTS = {
    "many layers": lambda path: layers_plot.draw(profile(65), None, "m.onnx", path),
    "layers and roof": lambda path: layers_plot.draw(profile(5), ROOF, LONG, path),
    "one layer": lambda path: layers_plot.draw(profile(1), None, LONG, path),
    "batches": lambda path: batch_plot.draw(sweep([1, 2, 4, 8, 16, 32, 64, 128]), path),
    "many batches": lambda path: batch_plot.draw(sweep([*range(1, 33), 256], LONG), path),
    "near batches": lambda path: batch_plot.draw(sweep([60, 61, 62], grows=False), path),
    "sensitivity": lambda path: sensitivity_plot.draw(sensitivities(250), LONG, path),
    "training": lambda path: log.plot(path, epochs(12, ("classifier", "whole network")), LONG),
    "one epoch": lambda path: log.plot(path, epochs(1), "lenet5 on digits"),
    "three classes": lambda path: accuracy_plot.draw(accuracy(3, LONG), path),
    "forty classes": lambda path: accuracy_plot.draw(accuracy(40, LONG), path),
    "a hundred classes": lambda path: accuracy_plot.draw(accuracy(100), path),
}


@pytest.mark.parametrize("name", PLOTS)
def test_no_text_is_cut_or_runs_into_another_and_no_legend_hides_data(name, drawn, tmp_path):
    PLOTS[name](tmp_path / "p.png")
    assert collisions(drawn[0]) == ([], [])
    for axes in drawn[0].axes:
        if axes.get_legend() is not None:
            assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1


def test_without_a_roofline_there_is_no_empty_half_but_a_way_to_one(drawn, tmp_path):
    layers_plot.draw(profile(5), None, "m.onnx", tmp_path / "p.png")
    layers_plot.draw(profile(5), ROOF, "m.onnx", tmp_path / "p.png")
    assert [len(made.axes) for made in drawn] == [1, 2]
    assert HOW_TO_KNOW in words(drawn[0]) and HOW_TO_KNOW not in words(drawn[1])
    assert drawn[0].get_figheight() < 0.7 * drawn[1].get_figheight()


def test_the_roof_has_numbers_without_exponents_and_its_point_inside(drawn, tmp_path):
    layers_plot.draw(profile(5), replace(ROOF, achieved_gflops=0.5), "m.onnx", tmp_path / "p.png")
    axes = drawn[0].axes[1]
    assert axes.get_ylim()[0] < 0.5 < axes.get_ylim()[1]
    said = words(drawn[0])
    assert "1,234 GFLOP/s, 20 GB/s" in said and "0.5 GFLOP/s: 6% of the memory limit" in said
    assert "10^" not in said and "e+" not in said


def test_a_kind_of_layer_is_said_only_where_it_occurs_and_unknown_cost_is_no_lack_of_weights(drawn, tmp_path):
    layers_plot.draw(profile(5, macs=None), None, "m.onnx", tmp_path / "p.png")
    (legend,) = [axes.get_legend() for axes in drawn[0].axes]
    assert [item.get_text() for item in legend.get_texts()] == ["cost unknown", BETWEEN]


def test_the_slowest_layer_has_its_name(drawn, tmp_path):
    layers_plot.draw(profile(65), None, "m.onnx", tmp_path / "p.png")
    names = [item.get_text() for item in drawn[0].axes[0].get_xticklabels()]
    assert any(name.endswith("blocks.64.conv") for name in names) and len(names) <= 24


def test_short_times_are_in_microseconds(drawn, tmp_path):
    short = profile(3)
    short = replace(short, layers=[replace(layer, seconds=layer.seconds / 100) for layer in short.layers])
    layers_plot.draw(short, None, "m.onnx", tmp_path / "p.png")
    assert "time of a layer, µs" in words(drawn[0])


def test_the_batch_that_is_enough_is_marked_only_where_a_larger_one_was_tried(drawn, tmp_path):
    batch_plot.draw(sweep([1, 2, 4], grows=False), tmp_path / "p.png")
    batch_plot.draw(sweep([1, 2, 4]), tmp_path / "p.png")
    assert "batch 1: larger ones give less than 5% more" in words(drawn[0])
    assert "larger ones give" not in words(drawn[1])


def test_latencies_far_apart_have_an_axis_on_which_both_are_seen(drawn, tmp_path):
    batch_plot.draw(sweep([1, 2, 4]), tmp_path / "p.png")
    far = sweep([1, 2, 4])
    far.results[2].milliseconds["p99"] = 500.0
    batch_plot.draw(far, tmp_path / "p.png")
    assert [made.axes[1].get_yscale() for made in drawn] == ["linear", "log"]
    assert "\n50\n" in words(drawn[1]) and "10^" not in words(drawn[1])


def test_the_worst_layers_are_listed_although_they_are_neighbours(drawn, tmp_path):
    sensitivity_plot.draw(sensitivities(60), "int8.onnx", tmp_path / "p.png")
    listed = next(item for item in words(drawn[0]).split("the worst alone:\n")[1:])
    assert [line.rsplit(".", 1)[1] for line in listed.splitlines()[:5]] == [
        f"{i}/Conv" for i in (34, 33, 32, 31, 30)
    ]
    assert drawn[0].get_figwidth() < 15


def test_a_training_of_one_epoch_shows_points_and_stages_are_marked(drawn, tmp_path):
    log.plot(tmp_path / "p.png", epochs(1), "t")
    log.plot(tmp_path / "p.png", epochs(4, ("classifier", "whole network")), "t")
    log.plot(tmp_path / "p.png", epochs(4, validated=False), "t")
    assert all(line.get_marker() == "o" for line in drawn[0].axes[0].lines)
    assert [tick for tick in drawn[0].axes[-1].get_xticks() if 0.5 < tick < 1.5] == [1]
    assert "classifier from epoch 1; whole network from epoch 3" in words(drawn[1])
    assert [len(made.axes) for made in drawn] == [2, 2, 1]


def test_of_many_classes_confusions_and_the_lowest_are_listed(drawn, tmp_path):
    accuracy_plot.draw(accuracy(100), tmp_path / "p.png")
    said = words(drawn[0])
    assert "4 of 4 class 1 are taken for class 0" in said and "0% class 1\n" in said


def test_a_long_name_keeps_both_its_ends():
    assert figure.shorten("n02-sparrow-of-the-north", 12) == "n02-…e-north"
    assert figure.shorten("short", 12) == "short"
    assert figure.shorten("a\x1bb", 12) == r"a\x1bb"


def test_colours_are_those_that_everybody_tells_apart():
    """Okabe and Ito's: no two are near each other even as a deuteranope sees them (Viénot 1999)."""
    seen = np.array([[0.29275, 0.70725, -0.02234], [0.29275, 0.70725, -0.02234], [-0.02234, 0.02234, 1.0]])
    colours = [getattr(figure, name) for name in ("BLUE", "SKY", "ORANGE", "GREEN", "VERMILION", "GREY")]
    linear = (np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]) / 255) ** 2.2
    shown = (np.clip(linear @ seen.T, 0, 1) ** (1 / 2.2)) * 255
    apart = np.abs(shown[:, None] - shown[None]).max(axis=2) + 255 * np.eye(len(colours))
    assert apart.min() > 25
