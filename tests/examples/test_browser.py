"""The page in a headless Chromium, on exported files, against the Python runtime."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from PIL import Image
from webdriver import Browser

pytestmark = pytest.mark.slow

PAGE = ("index.html", "classify.js", "image.js", "resample.js", "manifest.js")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder that a loopback server offers, with the page in it, and its address."""
    packages = examples / "browser/node_modules"
    if not (packages / "onnxruntime-web").is_dir():
        pytest.skip("onnxruntime-web is missing: cd examples/browser && npm install")
    folder = tmp_path_factory.mktemp("site")
    for name in PAGE:
        shutil.copy(examples / "browser" / name, folder)
    (folder / "node_modules").symlink_to(packages)
    labels = (resources.files("edgecnn.runtime") / "imagenet_labels.txt").read_text()
    (folder / "imagenet.txt").write_text(labels)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("Chromium or its driver is missing: apt install chromium chromium-driver")
    browser = Browser(driver, binary)
    yield browser
    browser.close()


def classify(browser: Browser, address: str, model: Path, photo: Path) -> str:
    """Open the page anew, choose a photo, and return what the page then says of its own state."""
    browser.open(f"{address}?model={model.name}")
    assert browser.wait_for("#status", "ready|error") == "ready"
    browser.choose_file("#file", photo)
    return browser.wait_for("#status", "done|error")


def test_the_best_class_is_that_of_the_python_runtime(browser, site, model, photographs, expected, tolerance):
    folder, address = site
    shutil.copy(model, folder / model.name)
    for photo, (index, probability) in zip(photographs, expected, strict=True):
        # A browser reads no PPM; as PNG the pixels are the same.
        png = folder / f"{photo.stem}.png"
        Image.open(photo).save(png)
        assert classify(browser, address, model, png).startswith("done")
        best = browser.text("#classes").splitlines()[0]
        percent, given = re.match(r"([\d.]+)% .* \((\d+)\)", best).groups()
        assert int(given) == index
        assert float(percent) == pytest.approx(100 * probability, abs=tolerance)


def test_classes_have_their_names(browser, site, model, coffee):
    folder, address = site
    shutil.copy(model, folder / model.name)
    assert classify(browser, address, model, coffee).startswith("done")
    assert re.match(r"9\d\.\d% espresso \(967\)", browser.text("#classes"))


def test_what_is_no_image_is_said_on_the_page(browser, site, model):
    folder, address = site
    shutil.copy(model, folder / model.name)
    (folder / "text.png").write_text("no image")
    assert classify(browser, address, model, folder / "text.png").startswith("error: ")


def test_a_model_that_is_not_there_is_said_on_the_page(browser, site):
    browser.open(f"{site[1]}?model=nowhere.onnx")
    assert browser.wait_for("#status", "ready|error") == "error: nowhere.onnx is not there (404)"
