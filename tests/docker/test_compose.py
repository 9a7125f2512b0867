"""docker/compose.yaml: that Compose would take it, and that it asks for what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from program import run_here

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker" / "compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]


def filled(value: str, **variables: str) -> str:
    """Compose's ${NAME:-default}."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), value)


def test_compose_takes_the_file(tmp_path):
    """The linter of Dockerfiles reads a compose file with Compose's own loader; profiles are beyond it."""
    pytest.importorskip("tally_cli", reason="tally-cli, the linter of Dockerfiles, is not installed")
    command = [sys.executable, "-m", "tally_cli", "lint", "--config", str(ROOT / "docker" / ".tally.toml")]
    plain = re.sub(r"\n    profiles: .*", "", TEXT).replace("context: ..", f"context: {ROOT}")
    for text, accepted in ((plain, True), (plain.replace("read_only: true\n", "readonly: true\n"), False)):
        path = tmp_path / "compose.yaml"
        path.write_text(text)
        done = subprocess.run([*command, str(path)], capture_output=True, text=True)
        assert (done.returncode == 0) is accepted, done.stdout + done.stderr


def test_each_kind_of_machine_has_its_service():
    assert {name: service["profiles"] for name, service in SERVICES.items()} == {
        "profile": ["cpu"],
        "profile-cuda": ["cuda"],
        "profile-jetson": ["jetson"],
    }


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("jetpack", ["6", "7"])
def test_the_dockerfile_is_there(service, jetpack):
    build = SERVICES[service]["build"]
    context = ROOT / "docker" / build["context"]
    assert (context / filled(build["dockerfile"], JETPACK=jetpack)).is_file()


@pytest.mark.parametrize("service", SERVICES)
def test_models_cannot_be_written_and_results_can(service):
    writable = {mount["target"]: not mount.get("read_only", False) for mount in SERVICES[service]["volumes"]}
    assert writable["/models"] is False and writable["/results"] is True
    assert SERVICES[service]["working_dir"] == "/results" and SERVICES[service]["read_only"] is True


@pytest.mark.parametrize("service", SERVICES)
def test_the_container_has_no_network_and_no_privileges(service):
    asked = SERVICES[service]
    assert asked["network_mode"] == "none" and asked["cap_drop"] == ["ALL"]
    assert asked["security_opt"] == ["no-new-privileges:true"] and filled(asked["user"]) != "0"


@pytest.mark.parametrize("service", SERVICES)
def test_the_command_is_one_that_edgecnn_has(service):
    done = run_here(*(filled(word) for word in SERVICES[service]["command"]))
    assert (
        done.returncode == 1 and "/models/model.onnx" in done.stderr
    )  # 1: no such file; 2 would be its usage


def test_the_gpu_is_asked_for():
    (device,) = SERVICES["profile-cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and "gpu" in device["capabilities"]
    assert (
        SERVICES["profile-jetson"]["runtime"] == "nvidia"
        and "video" in SERVICES["profile-jetson"]["group_add"]
    )
