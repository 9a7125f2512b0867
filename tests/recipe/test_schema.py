"""What a recipe may say, and how it is told that it may not."""

import importlib
import os
from pathlib import Path

import pytest

from edgecnn.errors import RecipeError
from edgecnn.recipe.run_recipe import run
from edgecnn.recipe.schema import read
from edgecnn.recipe.step_kinds import KINDS
from edgecnn.zoo.spec import NetworkSpec

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = """
name: tiny
variables: {data: digits, epochs: 3}
steps:
  - train: {network: lenet5, data: $data, epochs: $epochs}
  - id: student
    seeds: [0, 1]
    distill: {network: lenet5, alpha: 0.5, teacher: "@train", data: $data}
  - export: {network: "@student"}
  - profile: {models: ["@export"]}
"""


def plan_of(tmp_path, text=TINY, changes=()):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return read(path, changes)


def test_steps_get_defaults_variables_and_inputs(tmp_path):
    plan = plan_of(tmp_path)
    assert [step.id for step in plan.steps] == ["train", "student", "export", "profile"]
    train, student, export, profile = plan.steps
    assert train.options["epochs"] == 3 and train.options["data"] == "digits"
    assert train.options["optimizer"] == "adamw" and train.options["alpha"] == 1.0
    assert student.seeds == (0, 1) and student.needs == ("train",)
    assert export.needs == ("student",) and profile.needs == ("export",)


def test_changes_reach_variables_options_and_seeds(tmp_path):
    changes = ("data=photos", "train.lr=0.5", "student.seeds=[7]", "student.alpha=0.25", "epochs=9")
    train, student, *_ = plan_of(tmp_path, changes=changes).steps
    assert train.options["data"] == student.options["data"] == "photos"
    assert train.options["lr"] == 0.5 and train.options["epochs"] == 9
    assert student.seeds == (7,) and student.options["alpha"] == 0.25


def test_steps_are_repeated_for_every_combination(tmp_path):
    text = """
for_each: {alpha: [0.5, 1.0], resolution: [32, 64]}
steps:
  - train: {network: mobilenet, alpha: $alpha, resolution: $resolution, data: digits}
  - export: {network: "@train"}
"""
    plan = plan_of(tmp_path, text)
    assert len(plan.steps) == 8
    assert plan.steps[2].id == "train-alpha-0.5-resolution-64"
    assert plan.steps[3].options["network"] == "@train-alpha-0.5-resolution-64"
    assert plan.steps[2].options["resolution"] == "64"
    assert len(plan_of(tmp_path, text, ("alpha=[0.25]",)).steps) == 4


@pytest.mark.parametrize(
    ("old", "new", "words", "hint"),
    [
        ("steps:", "stepz:", "no list of steps", "steps"),
        ("name: tiny", "nmae: tiny", "cannot say 'nmae'", "name"),
        ("- train:", "- trian:", "unknown step 'trian'", "train"),
        ("epochs: $epochs", "epoch: 3", "cannot say 'epoch'", "epochs"),
        ("$data, epochs", "$dta, epochs", "uses $dta", "data"),
        ("{data: digits, epochs: 3}", "{data: digits, ~: 3}", "uses $epochs", "data"),
        ('"@train"', '"@trian"', "takes @trian", "train"),
        ("{network: lenet5, data: $data, epochs: $epochs}", "{data: digits}", "lacks network", "network"),
        ("data: digits,", "data: ,", "needs a value for data", "--set data"),
        ("data: digits,", "data: digits, 7: ,", "needs a value for 7", "--set 7"),
        ("data: digits,", "data: digits, ~: ,", "needs a value for None", "--set None"),
        ("seeds: [0, 1]", "seeds: two", "no list of numbers", "seeds"),
        ("- profile:", "- id: student\n    profile:", "two steps are called student", "id"),
        ('["@export"]', '["@profile"]', "comes later", "order"),
        ("id: student", "id: a b", "cannot name a step", "letters"),
        ("steps:", "steps: [", "no YAML", None),
        ("- profile:", "- seeds: [1]\n    profile:", "takes no seeds", "leave"),
    ],
)
def test_what_no_recipe_can_say_is_refused_with_the_nearest_word(tmp_path, old, new, words, hint):
    assert TINY.count(old) == 1, old
    with pytest.raises(RecipeError) as caught:
        plan_of(tmp_path, TINY.replace(old, new))
    assert words in str(caught.value)
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize(
    ("new", "words", "hint"),
    [
        ("epochs: ten", "epochs of step train (train) is 'ten'", "whole number"),
        ("epochs: 2.5", "is 2.5", "whole number"),
        ("channels_last: no", "is 'no'", "true or false"),
        ("data: {a: 1}", "data of step train", "text"),
        ("optimizer: adam", "unknown optimizer 'adam'", "adamw"),
        ("label_smoothing: 5", "label_smoothing of 5", "0 to 0.9"),
        ("alpha: -1", "step train (train): alpha", "above 0"),
        ("target: jetson", "step train (train): unknown target", "jetson"),
        ("network: lenet6", "unknown architecture 'lenet6'", "lenet5"),
        ("channels: 2000000", "channels of 2000000", "1 to 1,024"),
        ("channels: 0", "channels of 0", "1 to 1,024"),
    ],
)
def test_values_that_cannot_work_are_refused_before_the_first_step(tmp_path, new, words, hint):
    options = {"network": "lenet5", "data": "digits"}
    key, _, value = new.partition(": ")
    listed = ", ".join(f"{name}: {text}" for name, text in {**options, key: value}.items())
    with pytest.raises(RecipeError) as caught:
        plan_of(tmp_path, f"steps: [train: {{{listed}}}]")
    assert words in str(caught.value) and hint in caught.value.hint


@pytest.mark.parametrize(
    ("step", "words", "hint"),
    [
        ("export: {network: lenet5, precision: int4}", "unknown precision 'int4'", "int8"),
        ("export: {network: '@first', precision: int4}", "unknown precision 'int4'", "int8"),
        ("export: {network: lenet5, channels: 2000000}", "channels of 2000000", "1,024"),
        ("export: {network: lenet5, classes: 2000000}", "classes of 2000000", "1,000,000"),
        ("export: {network: '@first', classes: -1}", "classes of -1", "1,000,000"),
        ("export: {network: efficientnet, phi: 99, resolution: 64}", "phi must be", "doubles"),
        ("export: {network: mobilnet, resolution: 64}", "unknown architecture", "mobilenet"),
        ("export: {network: '@first', alpha: 0.5}", "says itself what alpha", "leave"),
        ("export: {network: mobilnet}", "unknown architecture 'mobilnet'", "mobilenet"),
        ("export: {network: lenet5, min_agreement: 200}", "agreement", None),
        ("export: {network: lenet5, calib: a, data: b}", "cannot both calibrate", None),
        ("distill: {network: lenet5, teacher: '@first', data: digits, features: hints}", "features", "hint"),
        ("distill: {network: lenet5, teacher: lenet6, data: digits}", "unknown architecture", "lenet5"),
        ("distill: {network: lenet5, teacher: '@first'}", "nothing to learn from", "unlabeled"),
        ("prune: {network: '@first'}", "one goal", "ratio"),
        ("prune: {network: '@first', target_macs: much}", "much", None),
        ("prune: {network: '@first', sparsity: 1:4}", "1:4", "2:4"),
        ("prune: {network: '@first', ratio: 0.5, epochs: 1}", "labelled images", "data"),
        ("train: {network: lenet5, data: digits, qat: true}", "random weights", "train"),
        ("train: {network: lenet5, data: digits, augmentation: lite}", "unknown augmentation", "light"),
        ("train: {network: lenet5, data: digits, workers: 0}", "workers of 0", None),
        ("profile: {models: []}", "no model", "models"),
        ("profile: {models: [m.onnx], seconds: 0}", "seconds of 0", None),
        ("profile: {models: [[m.onnx]]}", "is [['m.onnx']]", "texts"),
        ("train: {network: lenet5, data: digits, lr: 1e999}", "is inf", "number"),
        ("train: {network: lenet5, data: digits, lr: {a: 1}}", "lr of step", "number"),
    ],
)
def test_what_only_a_later_step_would_have_met_is_refused_before_the_first(tmp_path, step, words, hint):
    first = "{id: first, train: {network: lenet5, data: digits}}"
    with pytest.raises(RecipeError) as caught:
        plan_of(tmp_path, f"steps: [{first}, {{id: second, {step}}}]")
    assert words in str(caught.value) and "step second" in str(caught.value)
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("train: {network: lenet5, data: digts}", "no data set digts"),
        ("train: {network: lenet5, data: photos/here}", "no data set photos/here"),
        ("train: {network: lenet5, data: digits, weights: lenet.pth}", "lenet.pth is not there"),
        ("distill: {network: lenet5, data: digits, teacher: gone.onnx}", "gone.onnx is not there"),
        ("distill: {network: lenet5, data: digits, teacher: '@first', unlabeled: more}", "no folder more"),
        ("export: {network: '@first', precision: int8, calib: images}", "no folder images"),
        ("eval: {model: gone.onnx, data: digits}", "gone.onnx is not there"),
        ("profile: {models: [gone.onnx]}", "gone.onnx is not there"),
    ],
)
def test_what_is_not_there_is_missed_before_the_first_step(tmp_path, monkeypatch, step, words):
    monkeypatch.chdir(tmp_path)
    first = "{id: first, train: {network: lenet5, data: digits}}"
    plan = plan_of(tmp_path, f"steps: [{first}, {{id: second, {step}}}]")
    with pytest.raises(RecipeError, match=words) as caught:
        run(plan, tmp_path / "out", None)
    assert "of step second" in str(caught.value) and caught.value.hint
    assert not (tmp_path / "out").exists()


LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
STEP = "steps: [train: {network: lenet5, data: digits}]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STEP + LAUGHS, "10000 values"),
        (STEP + "about: &a [*a]", "10000 values"),
        (STEP + "about: &a {b: *a}", "10000 values"),
        ("x: &a {k: 1}\n" + STEP + "variables: {<<: [" + "*a, " * 10_001 + "]}", "10000 values"),
        (STEP + "about: " + "[" * 1500 + "]" * 1500, "too deeply"),
        (STEP + "variables: {n: " + "9" * 5000 + "}", "digits"),
        (STEP + "for_each: {" + ", ".join(f"v{i}: [1, 2, 3, 4]" for i in range(30)) + "}", "steps"),
        (STEP + "for_each: {v: [[1, 2]]}", "cannot repeat v"),
        (STEP + "for_each: {v: [{a: 1}]}", "cannot repeat v"),
        (STEP + f"for_each: {{v: [{'x' * 300}]}}", "cannot name a step"),
        (f"steps: [{{seeds: {list(range(200))}, train: {{network: lenet5, data: digits}}}}]", "seeds"),
        ("steps: [{seeds: [1, 1], train: {network: lenet5, data: digits}}]", "seeds"),
        (STEP + "name: ..", "cannot be called '..'"),
        (STEP + "name: .hidden", "cannot be called"),
        (STEP + "name: /etc", "cannot be called"),
        (STEP + 'name: "a\\0b"', "cannot be called"),
        (STEP + 'name: ""', "cannot be called"),
        (STEP + f"name: {'x' * 300}", "cannot be called"),
        (STEP + "name: [a]", "cannot be called"),
        ("steps: [{id: ../x, train: {network: lenet5, data: digits}}]", "cannot name a step"),
        ("#" * (1 << 20) + "\n" + STEP, "no recipe"),
    ],
)  # fmt: skip
def test_what_multiplies_or_escapes_is_refused_at_once(tmp_path, text, words):
    with pytest.raises(RecipeError) as caught:
        plan_of(tmp_path, text)
    assert words in str(caught.value) or words in (caught.value.hint or "")
    assert len(str(caught.value)) < 400


def test_a_pipe_is_no_recipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match="no recipe"):
        read(tmp_path / "pipe.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "variables: [a]\nsteps: [train: {network: lenet5, data: digits}]",
        "for_each: two\nsteps: [train: {network: lenet5, data: digits}]",
        "for_each: {alpha: []}\nsteps: [train: {network: lenet5, data: digits}]",
        "steps: [train]",
        "steps: [train: [1]]",
        "steps: [train: , prune: ]",
        "name: a/b\nsteps: [train: {network: lenet5, data: digits}]",
        "steps: [train: {network: lenet5, data: digits}, eval: {model: '@train', data: digits}]",
    ],
)
def test_what_is_legal_yaml_and_no_recipe_is_refused(tmp_path, text):
    with pytest.raises(RecipeError) as caught:
        plan_of(tmp_path, text, ("train.epochs=3",))
    assert caught.value.hint


def test_plain_words_and_numbers_are_what_they_look_like(tmp_path):
    text = """
for_each: {data: [photos/2024, 0123]}
steps:
  - id: v1.0
    train: {network: lenet5, data: $data, amp: no, lr: 1e-3, mixup: 1, clip: null}
  - prune: {network: "@v1.0", sparsity: 2:4, classes: 4}
  - id: smaller
    prune: {network: "@v1.0", target_macs: 1000000}
"""
    train, prune, smaller, other, *_ = plan_of(tmp_path, text, ("v1.0.epochs=7",)).steps
    assert train.id == "v1.0-data-photos_2024" and prune.needs == (train.id,)
    found = {key: train.options[key] for key in ("amp", "lr", "mixup", "clip", "epochs")}
    assert found == {"amp": "no", "lr": 1e-3, "mixup": 1.0, "clip": None, "epochs": 7}
    assert (prune.options["sparsity"], smaller.options["target_macs"]) == ("2:4", "1000000")
    assert other.options["data"] == "0123"


def test_what_is_trained_starts_from_known_weights_as_on_the_command_line(tmp_path):
    text = "steps: [train: {network: resnet18, data: x}, export: {network: resnet18}]"
    train, export = plan_of(tmp_path, text).steps
    assert (train.options["weights"], export.options["weights"]) == ("auto", "random")
    assert NetworkSpec("resnet18", weights="auto").weights == "imagenet"
    assert NetworkSpec("resnet18", alpha=0.5, weights="auto").weights == "random"


@pytest.mark.parametrize("name", ["train", "distill", "prune", "export", "eval", "profile"])
def test_an_option_of_a_step_has_the_name_and_the_default_of_the_commands(name):
    kind = KINDS[name]
    command = importlib.import_module(f"edgecnn.cli.commands.{name}").command
    theirs = {option.opts[0].lstrip("-").replace("-", "_"): option for option in command.params}
    both = {key for key in kind.options if key in theirs} - {
        *kind.required,
        *(["target"] * (name == "train")),
    }
    assert len(both) >= len(kind.options) / 3 or name == "eval"
    for key in both:
        default = theirs[key].to_info_dict()["default"]
        assert default == kind.options[key].default or (not default and not kind.options[key].default), key


@pytest.mark.parametrize(
    ("change", "words", "hint"),
    [
        ("data", "sets nothing", "VALUE"),
        ("dta=x", "no variable dta", "data"),
        ("trian.lr=1", "no step trian", "train"),
        ("train.lrr=1", "cannot say 'lrr'", "lr"),
    ],
)
def test_changes_of_what_is_not_there_are_refused(tmp_path, change, words, hint):
    with pytest.raises(RecipeError) as caught:
        plan_of(tmp_path, changes=(change,))
    assert words in str(caught.value) and hint in caught.value.hint


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(RecipeError, match="cannot read"):
        read(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_that_are_shipped_can_be_planned(path):
    needs = "data=photos" if "  data:  " in path.read_text() else None
    plan = read(path, (needs,) if needs else ())
    assert plan.name == path.stem and plan.about and len(plan.steps) >= 4
