"""The C++ examples, built and run on exported files, against the Python runtime."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import emulated
import pytest

from edgecnn.runtime.labels import label_set

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: Where `make test-slow` unpacks ONNX Runtime's headers, and where a system has them.
HEADERS = (
    ROOT / "build/onnxruntime/usr/include/onnxruntime",
    Path("/usr/include/onnxruntime"),
    Path("/usr/local/include/onnxruntime"),
    Path("/usr/local/include"),
)


def build(source: Path, folder: Path, option: str) -> Path:
    if not (shutil.which("cmake") and (shutil.which("g++") or shutil.which("clang++"))):
        pytest.skip("CMake or a C++ compiler is missing: apt install cmake g++")
    for command in (["-S", source, "-B", folder, option], ["--build", folder]):
        done = subprocess.run(["cmake", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "classify"


@pytest.fixture(scope="module")
def onnxruntime(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example against the wheel's library, laid out as the release archive is."""
    headers = next((path for path in HEADERS if (path / "onnxruntime_cxx_api.h").is_file()), None)
    if headers is None:
        pytest.skip("ONNX Runtime's C++ headers are missing: make build/onnxruntime")
    (package,) = importlib.util.find_spec("onnxruntime").submodule_search_locations
    libraries = list(Path(package).glob("capi/libonnxruntime.so.*"))
    if not libraries:
        pytest.skip("this onnxruntime wheel has no libonnxruntime.so")
    prefix = tmp_path_factory.mktemp("onnxruntime")
    (prefix / "include").symlink_to(headers)
    (prefix / "lib").mkdir()
    (prefix / "lib/libonnxruntime.so.1").symlink_to(libraries[0])
    (prefix / "lib/libonnxruntime.so").symlink_to("libonnxruntime.so.1")
    return build(examples / "cpp/onnxruntime", prefix / "build", f"-DCMAKE_PREFIX_PATH={prefix}")


@pytest.fixture(scope="module")
def openvino(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example against the headers and libraries of OpenVINO's wheel."""
    spec = importlib.util.find_spec("openvino")
    if spec is None:
        pytest.skip('OpenVINO is missing: pip install "edgecnn[openvino]"')
    (package,) = spec.submodule_search_locations
    if not (Path(package) / "cmake/OpenVINOConfig.cmake").is_file():
        pytest.skip("this OpenVINO brings no CMake package")
    folder = tmp_path_factory.mktemp("openvino")
    return build(examples / "cpp/openvino", folder, f"-DOpenVINO_DIR={package}/cmake")


@pytest.fixture(params=["onnxruntime", "openvino"])
def program(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def run(program: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120)


def test_the_best_class_is_that_of_the_python_runtime(program, model, photographs, expected, tolerance):
    for photo, (index, probability) in zip(photographs, expected, strict=True):
        done = run(program, model, photo)
        assert done.returncode == 0, done.stderr
        percent, _, given = re.match(r" *([\d.]+)%  (.*) \((\d+)\)\n", done.stdout).groups()
        assert int(given) == index
        assert float(percent) == pytest.approx(100 * probability, abs=tolerance)


def test_labels_are_read_from_a_file(program, model, photographs, tmp_path):
    (tmp_path / "labels.txt").write_text("# a comment\n" + "\n".join(label_set("imagenet")))
    assert "  espresso (967)" in run(program, model, photographs[0], tmp_path / "labels.txt").stdout


def test_a_cut_image_is_one_line_on_standard_error(program, model, photographs, tmp_path):
    (tmp_path / "cut.ppm").write_bytes(photographs[0].read_bytes()[:1000])
    done = run(program, model, tmp_path / "cut.ppm")
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'cut.ppm'} is cut short\n"


@pytest.mark.parametrize("target", ["cpu", "openvino-avx2"])
def test_a_processor_without_vnni_gives_the_same_class_or_says_why_not(
    program, target, exported, photographs, request
):
    model = exported("efficientnet_lite0", "--weights", "imagenet", "--int8", "--target", target)
    here = run(program, model, photographs[0]).stdout
    there = subprocess.run(
        [emulated.program(), "-cpu", "Haswell", program, model, photographs[0]],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if request.node.callspec.params["program"] == "openvino" and target == "cpu":
        assert there.returncode == 1 and "error: this processor has no VNNI" in there.stderr
    else:
        assert there.returncode == 0, there.stderr
        assert re.findall(r"\((\d+)\)", there.stdout)[:1] == re.findall(r"\((\d+)\)", here)[:1]
        wanted, given = (float(re.match(r" *([\d.]+)%", text)[1]) for text in (here, there.stdout))
        assert given == pytest.approx(wanted, abs=0.5)
