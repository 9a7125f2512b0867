"""Commands with `--on`, as a user runs them."""

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from any_graphs import CASES
from PIL import Image
from program import run_here
from small_classifier import classifier

from edgecnn import devices
from edgecnn.artifact import sidecar
from edgecnn.measure import store

QUICK = ("--seconds", "0.1")


def run(*arguments, code=0):
    done = run_here(*arguments)
    assert done.returncode == code, done.stderr
    return done


def on_board(*arguments, code=0):
    return run(*arguments, "--on", "board", code=code)


def json_of(*arguments):
    """What the only line of a command's output says."""
    (line,) = on_board(*arguments, "--json").stdout.splitlines()
    return json.loads(line)


@pytest.fixture
def known(exported, tmp_path):
    """A model that says how its images are prepared, in the folder of the test."""
    path = tmp_path / "known.onnx"
    path.write_bytes(exported("lenet5", "--batch", "4").read_bytes())
    return path


@pytest.fixture
def images(tmp_path):
    """Class folders with images of noise."""
    rng = np.random.default_rng(0)
    for label in range(10):
        folder = tmp_path / "data" / str(label)
        folder.mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (32, 32), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "data"


def test_everything_on_the_board_is_in_one_folder(made):
    assert {path.name for path in made.home.iterdir()} == {".edgecnn", ".local"}


def test_what_a_library_writes_into_the_home_of_its_user_stays_in_the_folder(board, program):
    program(
        "import pathlib, tempfile\n"
        "(pathlib.Path.home() / 'intel').mkdir(parents=True, exist_ok=True)\n"
        "print(pathlib.Path.home(), tempfile.mkdtemp())"
    )
    for path in on_board("doctor").stdout.split():
        assert Path(path).is_relative_to(board.files)
    assert {path.name for path in board.home.iterdir()} == {".edgecnn", ".local"}


def test_packages_that_the_user_of_the_board_has_installed_are_still_found(board, program):
    program("import site; print(site.getuserbase())")
    assert on_board("doctor").stdout.strip() == str(board.home / ".local")


def test_the_environment_there_has_this_very_edgecnn_and_no_torch(board):
    (package,) = board.files.glob("environment-*/lib/python*/site-packages/edgecnn")
    here = Path(devices.__file__).parents[1]
    for name in ("__init__.py", "devices/remote/board/agent.py"):
        assert (package / name).read_text() == (here / name).read_text()
    assert not package.with_name("torch").exists()


def test_doctor_describes_the_board(board):
    found = json_of("doctor")
    assert "ONNX Runtime" in {check["name"] for check in found["checks"] if check["works"]}


def test_an_environment_is_made_once(board):
    before = {path: path.stat().st_mtime_ns for path in board.files.glob("environment-*")}
    done = on_board("doctor")
    assert "installing" not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in board.files.glob("environment-*")} == before


def test_predictions_are_those_of_this_machine(board, known, images):
    words = ("predict", "known.onnx", "data/0/0.png", str(images / "1" / "1.png"), "--json")
    here, there = json.loads(run(*words).stdout), json_of(*words[:-1])
    assert there["predictions"][0]["image"] == "data/0/0.png"
    assert [item["image"] for item in there["predictions"]] == [item["image"] for item in here["predictions"]]
    for mine, its in zip(here["predictions"], there["predictions"], strict=True):
        assert [item["index"] for item in mine["classes"]] == [item["index"] for item in its["classes"]]


def test_a_result_there_is_in_the_store_here_by_the_path_that_was_typed(board, model):
    found = json_of("profile", str(model), *QUICK)
    (result,) = store.query()
    assert found["path"] == result.path == str(model)
    assert result.values["latency_ms"] == found["latency_ms"] and len(result.samples) > 1


def test_a_table_names_files_as_they_were_typed(board, model):
    lines = on_board("profile", "m.onnx", str(model), *QUICK).stdout.splitlines()
    rows = [line for line in lines if ".onnx" in line][:2]
    assert rows[0].split()[0] == "m.onnx" and rows[1].split()[0] == str(model)
    assert len(rows[0].rstrip()) == len(rows[1].rstrip()), "columns are straight"


def test_no_store_leaves_the_store_alone(board, model):
    json_of("profile", "m.onnx", "--no-store", *QUICK)
    assert not store.place().exists()


def test_a_store_that_fails_does_not_cost_the_measurement(board, model, monkeypatch, tmp_path):
    (tmp_path / "broken").write_text("this is no store of results")
    monkeypatch.setenv("EDGECNN_RESULTS", str(tmp_path / "broken"))
    done = on_board("profile", "m.onnx", *QUICK, "--json")
    assert json.loads(done.stdout)["latency_ms"] and "note: not stored" in done.stderr


def test_an_exit_code_comes_through(board, program):
    program("import sys; sys.exit(3)")
    on_board("doctor", code=3)


@pytest.mark.slow
def test_a_comparison_has_the_boards_conditions_and_a_gates_exit_code_comes_through(board, model):
    classifier(Path("other.onnx"))
    done = on_board("compare", "m.onnx", "other.onnx", "--fail-above", "0.001", *QUICK, "--json", code=3)
    found = json.loads(done.stdout)
    assert found["baseline"] == "m.onnx" and found["gate"]["met"] is False


def test_accuracy_on_a_folder_is_that_of_this_machine(board, known, images):
    here = json.loads(run("eval", "known.onnx", "--data", "data", "--json").stdout)
    there = json_of("eval", "known.onnx", "--data", str(images))
    assert there["n"] == 20 and there["per_class"] == here["per_class"]
    assert {result.kind for result in store.query()} == {"eval"}


def test_an_engine_comes_home_with_its_manifest(board, model):
    found = json_of("compile", "m.onnx", "--backend", "ort", "-o", "engine.ort")
    assert (
        found["path"] == "engine.ort" and Path("engine.ort").exists() and sidecar(Path("engine.ort")).exists()
    )
    assert run("predict", "engine.ort", "x", code=1).stderr  # opens here, then there is no image


def test_an_engine_without_a_given_name_comes_back_beside_its_source(board, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    model = classifier(tmp_path / "elsewhere" / "m.onnx")
    done = on_board("compile", str(model), "--backend", "ort")
    assert f"{model.with_suffix('.ort')}  (" in done.stdout
    assert model.with_suffix(".ort").exists()


def test_what_cannot_be_written_here_is_said_before_anything_is_built(board, model):
    done = on_board("compile", "m.onnx", "--backend", "ort", "-o", "not/there.ort", code=1)
    assert "the folder does not exist" in done.stderr and "connecting" not in done.stderr


@pytest.mark.slow
def test_a_plot_is_drawn_there_and_what_draws_it_stays(board, known):
    if "plot" not in metadata.metadata("edgecnn").get_all("Provides-Extra"):
        pytest.skip("edgecnn was installed from an older source")
    on_board("profile", "known.onnx", "--plot", "p.svg", *QUICK)
    assert "<svg" in Path("p.svg").read_text()
    assert "installing" not in on_board("doctor").stderr, "one environment has both"


@pytest.mark.slow
def test_an_engine_is_built_once_for_a_backend(board, model):
    first = on_board("profile", "m.onnx", "--backend", "ort", *QUICK)
    second = on_board("profile", "m.onnx", "--backend", "ort", *QUICK)
    assert "ONNX Runtime ..." in first.stderr and "ONNX Runtime ..." not in second.stderr


def test_an_engine_that_does_not_fit_is_built_anew_from_the_file_beside_it(board, model):
    run("compile", "m.onnx", "--backend", "ort")
    record = sidecar(Path("m.ort"))
    values = json.loads(record.read_text())
    values["engine"]["needs"]["ONNX Runtime"] = ["1.2.3"]
    record.write_text(json.dumps(values))
    assert "built for ONNX Runtime 1.2.3" in run("profile", "m.ort", *QUICK, code=1).stderr
    found = json_of("profile", "m.ort", *QUICK)
    assert found["path"] == "m.ort" and found["latency_ms"]


def test_bad_input_is_one_line_of_the_boards_with_names_of_here(board, tmp_path):
    path = tmp_path / "bad" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(b"no model")
    done = on_board("profile", str(path), *QUICK, code=1)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert str(path) in line


def test_a_file_that_is_not_there_is_refused_there(board):
    done = on_board("profile", "nowhere.onnx", *QUICK, code=1)
    assert "error: nowhere.onnx is not there" in done.stderr


@pytest.mark.slow
def test_machines_side_by_side_are_rows_of_one_table(board, model):
    done = run("profile", "m.onnx", *QUICK, "--on", "board,local")
    rows = [line.split()[:2] for line in done.stdout.splitlines() if "m.onnx" in line]
    assert ["board", "m.onnx"] in rows and ["local", "m.onnx"] in rows
    assert {result.path for result in store.query()} == {str(model)} and len(store.query()) == 2


def test_a_board_that_fails_does_not_keep_another_from_being_measured(board, model):
    done = run("profile", "m.onnx", *QUICK, "--on", "board,not a name", "--json", code=1)
    found = json.loads(done.stdout)
    assert [item["on"] for item in found["results"]] == ["board"]
    assert [item["on"] for item in found["failed"]] == ["not a name"]
    assert "error: 'not a name' is no name" in done.stderr


def test_other_commands_take_one_board(board, model):
    assert "one board at a time" in run("doctor", "--on", "board,local", code=2).stderr


def test_a_devices_limit_of_time_ends_a_command(board, desk, program, monkeypatch, tmp_path):
    limited = tmp_path / "devices.toml"
    limited.write_text(f"{desk.read_text()}max_seconds = 0.5\n")
    monkeypatch.setenv("EDGECNN_DEVICES", str(limited))
    program("import time; time.sleep(60)")
    assert "error: board: stopped after 0.5 s" in on_board("doctor", code=1).stderr


def test_a_program_that_the_system_kills_is_said_to_be(board, program):
    program("import os; os.kill(os.getpid(), 9)")
    done = on_board("doctor", code=1)
    assert "error: board: the program there was ended by SIGKILL" in done.stderr
    assert "memory" in done.stderr


def test_a_file_travels_once(board, tmp_path):
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(3000))
    first = on_board("profile", "noise.onnx", code=1).stderr
    path.rename("other_name.onnx")
    second = on_board("profile", "other_name.onnx", code=1).stderr
    assert "sending to board" in first and "sending to board" not in second


def test_nothing_is_left_running_and_no_job_stays(board, program):
    program("import subprocess; subprocess.Popen(['sleep', '60'])")
    on_board("doctor")
    assert board.quiet(60) and not (board.files / "jobs").exists()


def test_an_environment_for_more_serves_a_command_that_needs_less(board, monkeypatch):
    """What was made for a plot is used without one; nothing is made anew to and fro."""
    (environment,) = board.files.glob("environment-*")
    more = environment.with_name(f"{environment.name}+zoo")
    environment.rename(more)
    more.with_name(environment.name).symlink_to(more.name)  # its scripts name it
    try:
        done = on_board("doctor")
        assert "installing" not in done.stderr
    finally:
        more.with_name(environment.name).unlink()
        more.rename(environment)


def test_devices_are_added_listed_checked_and_removed(board, desk, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECNN_DEVICES", str(tmp_path / "own.toml"))
    address = board.address
    done = run("devices", "add", "bench1", address, "--target", "jetson-orin-nano", "--no-check")
    assert "next: edgecnn profile m.onnx --on bench1" in done.stdout
    assert "jetson-orin-nano" in run("devices", "list").stdout
    (row,) = json.loads(run("devices", "list", "--json").stdout)["devices"]
    assert row == {"name": "bench1", "address": address, "target": "jetson-orin-nano"}
    assert "environment  made" in run("devices", "check", "bench1").stdout
    run("devices", "remove", "bench1", "--keep-files")
    assert "none yet" in run("devices", "list").stdout
    assert board.files.exists()


def test_removing_a_device_deletes_its_folder_there(desk, bare_board, monkeypatch, tmp_path):
    import ssh_board

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("EDGECNN_SSH", ssh_board.stand_in(tmp_path, home))
    (home / ".edgecnn" / "environment-x").mkdir(parents=True)
    (home / "kept").touch()
    done = run("devices", "remove", "somewhere")
    assert f"deleted {home}/.edgecnn on somewhere" in done.stdout
    assert [path.name for path in home.iterdir()] == ["kept"]


def test_a_check_of_a_bare_board_says_that_nothing_is_made_yet(desk, monkeypatch, tmp_path):
    import ssh_board

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("EDGECNN_SSH", ssh_board.stand_in(tmp_path, home))
    assert "not made yet" in run("devices", "check", "somewhere").stdout
    assert not list(home.iterdir())


def test_a_data_set_by_name_is_refused_before_connecting(known):
    done = run_here("eval", str(known), "--data", "digits", "--on", "ssh://nobody@203.0.113.1")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: there is no digits here, and a board has no data sets of its own",
        "hint: give a folder of images",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["image and vector from files, batch n", "3 outputs, batch n"])
def test_networks_of_any_inputs_and_outputs_are_taken_with_their_samples(board, made, tmp_path, name):
    case = CASES[name]()
    path = tmp_path / "any.onnx"
    onnx.save(case.model, path)
    samples = ["--samples", str(case.write_samples(tmp_path / "samples"))] if case.samples else []
    found = json_of("profile", str(path), *QUICK, *samples)
    assert found["n"] >= 20 and found["path"] == str(path)
    if case.samples:
        data = ("--data", samples[1], "--reference", str(path))
        (line,) = on_board("eval", str(path), *data, "--json").stdout.splitlines()
        parity = json.loads(line)["agreement"]["parity"]
        assert [item["name"] for item in parity["outputs"]] == ["y"] and parity["max_abs_diff"] == 0
