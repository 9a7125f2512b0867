"""The Dockerfiles: what an image must be, read off the text and asked of the linter."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker"
#: Each image's Python, which its base decides.
PYTHON = {"cpu": "3.11", "cuda": "3.12", "jetpack6": "3.10", "jetpack7": "3.12"}


def instructions(image: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions: (keyword, the rest)."""
    lines = [line for line in text(image).splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.split("\n")) if word
    ]


def text(image: str) -> str:
    return (FOLDER / f"{image}.Dockerfile").read_text()


def last_stage(image: str) -> list[tuple[str, str]]:
    found = instructions(image)
    return found[max(index for index, (word, _) in enumerate(found) if word == "FROM") :]


def argument(image: str, name: str) -> str:
    """The default of a build argument."""
    values = [rest for word, rest in instructions(image) if word == "ARG" and rest.startswith(f"{name}=")]
    return values[0].partition("=")[2]


def pins(name: str) -> dict[str, list[Requirement]]:
    """A constraints file's lines by package."""
    lines = (ROOT / name).read_text().splitlines()
    found: dict[str, list[Requirement]] = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def pinned(package: str, constraints: str, python: str) -> str | None:
    """The one version of `package` that `constraints` allows on this Python, if it is one."""
    for line in pins(constraints).get(canonicalize_name(package), []):
        if line.marker is None or line.marker.evaluate({"python_version": python}):
            operators = {clause.operator for clause in line.specifier}
            return next(iter(line.specifier)).version if operators == {"=="} else None
    return None


def extras(image: str) -> list[str]:
    return [extra for extra in argument(image, "EXTRAS").split(",") if extra]


def needs(package: str, *extras: str) -> list[Requirement]:
    """What a package asks for: its dependencies, and those of some of its extras."""
    lines = [Requirement(line) for line in metadata.requires(package) or []]
    return [
        line
        for line in lines
        if line.marker is None or any(line.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]


def constraints_of(image: str) -> str:
    (line,) = [rest for word, rest in instructions(image) if word == "RUN" and "install.sh" in rest]
    return line.split()[1]


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("tally_cli", reason="tally-cli, the linter of Dockerfiles, is not installed")
    command = [sys.executable, "-m", "tally_cli", "lint", "--config", str(FOLDER / ".tally.toml")]
    return subprocess.run([*command, "--context", str(ROOT), str(path)], capture_output=True, text=True)


def test_every_dockerfile_is_checked_here():
    assert {path.name for path in FOLDER.glob("*Dockerfile*")} == {f"{image}.Dockerfile" for image in PYTHON}


@pytest.mark.parametrize("image", PYTHON)
def test_the_container_does_not_run_as_root(image):
    users = [rest for word, rest in last_stage(image) if word == "USER"]
    assert users and re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1])


@pytest.mark.parametrize("image", PYTHON)
def test_the_user_is_one_that_the_image_makes(image):
    uid = [rest for word, rest in last_stage(image) if word == "USER"][-1]
    assert any(f"useradd --uid {uid} " in rest for word, rest in last_stage(image) if word == "RUN")


@pytest.mark.parametrize("image", PYTHON)
def test_the_base_is_one_argument_with_a_tag_that_does_not_move(image):
    assert {rest.split()[0] for word, rest in instructions(image) if word == "FROM"} == {"${BASE}"}
    tag = argument(image, "BASE").rpartition("/")[2].partition(":")[2]
    assert re.search(r"\d{8}|\d+\.\d+\.\d+", tag), tag


@pytest.mark.parametrize("image", PYTHON)
def test_the_last_stage_takes_only_the_environment_from_the_first(image):
    copied = [rest for word, rest in last_stage(image) if word in ("COPY", "ADD")]
    assert copied == ["--from=build /opt/edgecnn /opt/edgecnn"]


@pytest.mark.parametrize("image", PYTHON)
def test_the_container_is_the_command_and_shows_the_doctor(image):
    assert ("ENTRYPOINT", '["edgecnn"]') in last_stage(image) and ("CMD", '["doctor"]') in last_stage(image)


@pytest.mark.parametrize("image", PYTHON)
def test_the_extras_exist(image):
    assert set(extras(image)) <= set(metadata.metadata("edgecnn").get_all("Provides-Extra") or [])


@pytest.mark.parametrize("image", PYTHON)
def test_everything_asked_for_has_one_version_that_fits(image):
    for requirement in [
        *needs("edgecnn", *extras(image)),
        Requirement("hatchling>=1.24"),
        Requirement("pip>=22.3"),
    ]:
        version = pinned(requirement.name, constraints_of(image), PYTHON[image])
        assert version is not None and requirement.specifier.contains(version), requirement


def test_what_the_cpu_image_installs_has_one_version_each():
    """Followed through the installed packages' own requirements."""
    asked = needs("edgecnn", *extras("cpu"))
    waiting, seen = list(asked), set()
    while waiting:
        name = canonicalize_name(waiting.pop().name)
        if name not in seen:
            seen.add(name)
            assert pinned(name, "constraints.txt", PYTHON["cpu"]), name
            waiting += needs(name)
    assert len(seen) > len(asked)


def test_jetpack_6_has_the_other_images_versions_where_its_python_can():
    for name, (line,) in pins("docker/jetpack6.constraints.txt").items():
        elsewhere = pinned(name, "constraints.txt", PYTHON["jetpack6"])
        assert elsewhere is None or str(line.specifier) == f"=={elsewhere}", name


@pytest.mark.parametrize("image", PYTHON)
def test_the_linter_finds_nothing(image):
    done = lint(FOLDER / f"{image}.Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ("${BASE} AS build", "debian:latest AS build", "DL3007"),
        ("install --yes", "install", "DL3014"),
        ('ENTRYPOINT ["edgecnn"]', "ENTRYPOINT edgecnn", "JSONArgsRecommended"),
        ("USER 10001", "USER root", "DL3002"),
        ("COPY . .", "ADD . .", "DL3020"),
    ],
)
def test_the_linter_finds_a_planted_mistake(tmp_path, good, bad, rule):
    planted = tmp_path / "planted.Dockerfile"
    assert good in text("cpu")
    planted.write_text(text("cpu").replace(good, bad))
    done = lint(planted)
    assert done.returncode == 1 and rule in done.stdout, done.stdout + done.stderr
