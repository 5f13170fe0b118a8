"""Chromium without a window, driven over chromedriver's HTTP interface (W3C WebDriver); needs nothing from PyPI."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
_ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
_START_SECONDS = 30.0


class Browser:
    """One window."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL)
        self._address = f"http://127.0.0.1:{port}"
        options = {"binary": CHROMIUM, "args": [*_ARGUMENTS, f"--window-size={width},{height}"]}
        capabilities = {"browserName": "chrome", "goog:chromeOptions": options}
        capabilities["goog:loggingPrefs"] = {"browser": "ALL"}
        try:
            self._wait()
            session = self._call("POST", "/session", capabilities={"alwaysMatch": capabilities})
        except BaseException:
            self._process.kill()
            raise
        self._address += f"/session/{session['sessionId']}"

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            assert time.monotonic() < end, "chromedriver does not answer"
            assert self._process.poll() is None, "chromedriver has ended"
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return bool(self._call("GET", "/status")["ready"])
        except OSError:
            return False

    def _call(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file, and wait until it is there."""
        self._call("POST", "/url", url="about:blank")
        self._call("POST", "/url", url=path.absolute().as_uri() + (f"#{fragment}" if fragment else ""))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns, run as the body of a function in the page."""
        return self._call("POST", "/execute/sync", script=script, args=list(arguments))

    def run_until_called(self, script: str) -> Any:
        """What a script passes to its last argument, a function."""
        return self._call("POST", "/execute/async", script=script, args=[])

    def press(self, *keys: str) -> None:
        """Press keys one after another, as somebody at a keyboard does."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def click(self, selector: str) -> None:
        """Click the first element of a CSS selector."""
        found = self._call("POST", "/element", using="css selector", value=selector)
        self._call("POST", f"/element/{next(iter(found.values()))}/click")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at a point of the window, move it to another and let go."""
        (x, y), (to_x, to_y) = start, end
        actions = [
            {"type": "pointerMove", "x": round(x), "y": round(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": round(to_x), "y": round(to_y)},
            {"type": "pointerUp", "button": 0},
        ]
        self._call("POST", "/actions", actions=[{"type": "pointer", "id": "mouse", "actions": actions}])

    def emulate(self, **features: str) -> None:
        """Set what the page asks of the system, as in `emulate(prefers_color_scheme="dark")`."""
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.command("Emulation.setEmulatedMedia", features=media)

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._call("POST", "/goog/cdp/execute", cmd=name, params=parameters)

    def resize(self, width: int, height: int) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._call("GET", "/screenshot"))

    def messages(self) -> Sequence[str]:
        """What was written to the console since this was last asked: errors and violated policies."""
        return [entry["message"] for entry in self._call("POST", "/se/log", type="browser")]

    def close(self) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._process.terminate()
            self._process.wait(10)
