"""Drive a browser by the W3C WebDriver protocol, with the standard library alone."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key of an element


class Browser:
    """A headless Chromium that reaches nothing but the loopback interface; close it when done."""

    def __init__(self, driver: str, binary: str) -> None:
        self._process = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        port = None
        for line in self._process.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                port = found[1]
                break
        assert port, "chromedriver did not start"
        self._base = f"http://127.0.0.1:{port}/session"
        options = {
            "binary": binary,
            "args": [
                "--headless=new",
                "--no-sandbox",  # without it Chromium does not start as root
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            ],
        }
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        try:
            session = self._send("POST", "", {"capabilities": capabilities})
        except BaseException:
            self._process.kill()
            raise
        self._base += f"/{session['sessionId']}"

    def open(self, url: str) -> None:
        self._send("POST", "/url", {"url": url})

    def choose_file(self, selector: str, path: Path) -> None:
        element = self._send("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]
        self._send("POST", f"/element/{element}/value", {"text": str(path)})

    def text(self, selector: str) -> str:
        script = "return document.querySelector(arguments[0]).innerText"
        return self._send("POST", "/execute/sync", {"script": script, "args": [selector]})

    def wait_for(self, selector: str, pattern: str, seconds: float = 60) -> str:
        """Return an element's text once it matches, or the last one when the time is over."""
        end = time.monotonic() + seconds
        while not re.match(pattern, text := self.text(selector)) and time.monotonic() < end:
            time.sleep(0.05)
        return text

    def close(self) -> None:
        try:
            self._send("DELETE", "", None)
        finally:
            self._process.terminate()
            self._process.wait(10)

    def _send(self, method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]
