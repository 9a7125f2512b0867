"""A recipe trains, prunes and exports a network of the user's own, and notices that its code changed."""

import own_code
import pytest

import edgecnn
from edgecnn.recipe.run_recipe import _fingerprint
from edgecnn.recipe.schema import read

RECIPE = """
steps:
  - train: {network: "nets.py:TwoHeads", size: 16, data: photos, epochs: 1, batch: 8, augmentation: none,
            arg: ["width=8"]}
  - prune: {network: "@train", code: "nets.py:TwoHeads", ratio: 0.5, align: 1, measure: false}
"""


def test_code_that_changed_makes_another_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_code.write(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "own.yaml").write_text(RECIPE)
    (step, _) = read("own.yaml").steps
    before = _fingerprint(step, {})
    assert _fingerprint(step, {}) == before
    own_code.write(tmp_path, own_code.NETS + "\n# changed\n")
    assert _fingerprint(step, {}) != before


@pytest.mark.slow
def test_a_recipe_takes_a_network_of_ones_own_and_sees_when_its_code_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_code.write(tmp_path)
    own_code.images(tmp_path / "photos")
    (tmp_path / "own.yaml").write_text(RECIPE)
    ran = edgecnn.run_recipe("own.yaml")
    assert ran.outcomes[-1].metrics[0]["macs"] < ran.outcomes[0].metrics[0]["macs"]
    told: list[str] = []
    edgecnn.run_recipe("own.yaml", progress=told.append)
    assert told == ["step 1 of 2, train: done before", "step 2 of 2, prune: done before"]
    own_code.write(tmp_path, own_code.NETS + "\n# changed\n")
    again: list[str] = []
    edgecnn.run_recipe("own.yaml", progress=again.append)
    assert "step 1 of 2, train: done before" not in again
