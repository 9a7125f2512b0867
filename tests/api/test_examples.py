"""The examples of docs/api.md run, one after the other, and the page names what is public."""

import re
from pathlib import Path

import edgecnn
from edgecnn.verify import verify

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for number, example in enumerate(EXAMPLES, 1):
        exec(compile(example, f"example {number} of docs/api.md", "exec"), names)
    assert "did you mean effort" in capsys.readouterr().out
    assert names["pruned"].after.macs < 0.6 * names["pruned"].before.macs
    assert names["int8"].parity.sqnr_db > 20 and names["small"].met
    assert names["ran"].outcomes[-1].metrics[0]["top1"] > 0.5
    assert names["mine"].manifest.labels == ("cat", "dog")
    assert names["best"].label in "0123456789"
    # What they made can be looked into, and is not made twice.
    (answer,) = verify(names["mine"].path).answers
    assert "a program's own module" in answer.detail
    told: list[str] = []
    edgecnn.run_recipe("two_steps.yaml", progress=told.append)
    assert told == ["step 1 of 2, export: done before", "step 2 of 2, eval: done before"]


def test_every_public_function_is_on_the_page():
    functions = [name for name in edgecnn.__all__ if name[0].islower()]
    assert [name for name in functions if f"{name}(" not in PAGE] == [] and len(functions) > 10
