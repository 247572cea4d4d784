"""A headless Chromium, driven over its own debugging socket: pages are opened, looked at and photographed.

Owns the browser's process and what it reports. The one idea: whatever the page asks for or complains of is written down, so a
test can say that there was nothing.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S, ANSWER_S = 30, 30
TALL_MAX = 9_000
PAGE_MAX = 256 * 1024 * 1024


def executable() -> str | None:
    """Return the browser's path, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. `asked` has every address that it asked for, `complaints` every error, dialog and broken policy."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._session = ""
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self._loaded = 0
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, path: Path) -> None:
        """Open a file and wait until it has loaded."""
        before = self._loaded
        self._call("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + ANSWER_S
        while self._loaded == before:
            self._heed(json.loads(self._socket.recv(timeout=max(0.1, deadline - time.monotonic()))))

    def evaluate(self, expression: str) -> Any:
        """Return what an expression comes to in the page; one that throws fails the test."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def screen(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Be a screen of this width, in light or dark."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )  # fmt: skip
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", media="screen", features=scheme)

    def without_scripts(self) -> None:
        self._call("Emulation.setScriptExecutionDisabled", value=True)

    def move(self, x: float, y: float) -> None:
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def photograph(self, path: Path, width: int) -> None:
        """Keep a picture of the whole page, as far as a picture goes; what is out of sight is not drawn, so nothing is."""
        tall = min(TALL_MAX, self.evaluate("document.documentElement.scrollHeight"))
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=tall, deviceScaleFactor=1, mobile=width < 600
        )  # fmt: skip
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        path.write_bytes(base64.b64decode(found["data"]))

    def print(self, path: Path) -> None:
        """Print the page to PDF, as a reader would with the browser's own settings."""
        self._call("Emulation.setEmulatedMedia", media="", features=[])
        found = self._call("Page.printToPDF", printBackground=False)
        path.write_bytes(base64.b64decode(found["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        deadline = time.monotonic() + ANSWER_S
        while True:
            answer = json.loads(self._socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._heed(answer)

    def _heed(self, event: dict[str, Any]) -> None:
        what, told = event.get("method"), event.get("params", {})
        if what == "Page.loadEventFired":
            self._loaded += 1
        elif what == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif what == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {told['exceptionDetails']}")
        elif what == "Runtime.consoleAPICalled":
            self.complaints.append(f"console: {told}")
        elif what == "Log.entryAdded":
            self.complaints.append(f"log: {told['entry']}")
        elif what == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {told}")
            self._socket.send(
                json.dumps({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": False}})
            )


@contextmanager
def browser(profile: Path) -> Iterator[ClientConnection]:
    """Run a browser for as long as it is needed; what it is connected by makes pages."""
    path = executable()
    assert path is not None, (
        f"none of {', '.join(NAMES)} is installed; HANDS_NO_BROWSER=1 leaves these tests out"
    )
    flags = [
        "--headless",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += [
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # its sandbox refuses to be root's
    process = subprocess.Popen(
        [path, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with connect(_address(profile, process), max_size=PAGE_MAX, open_timeout=START_S) as socket:
            yield socket
    finally:
        process.terminate()
        process.wait(timeout=START_S)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Return where the browser listens, which it writes down when it does."""
    told = profile / "DevToolsActivePort"
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        lines = told.read_text().splitlines() if told.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError("the browser does not say where it listens")
