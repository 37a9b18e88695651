"""A real browser: Chromium without a window, over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 30.0


@dataclass
class Page:
    """One tab. What it asked for and what it complained of is kept."""

    socket: ClientConnection
    session: str
    requests: list[str] = field(default_factory=list)
    """Every address that it asked for."""
    complaints: list[str] = field(default_factory=list)
    """What was written to the console, exceptions, and what a policy refused."""
    statuses: list[int] = field(default_factory=list)
    _events: list[str] = field(default_factory=list)
    _asked: int = 0

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        self._asked += 1
        number = self._asked
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters, "sessionId": self.session}))
        while True:
            message = self._read()
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return dict(message["result"])

    def open(self, url: str) -> Page:
        """Load a page, to its end."""
        self.requests.clear()
        self.complaints.clear()
        self.statuses.clear()
        self._events.clear()
        failed = self.ask("Page.navigate", url=url).get("errorText")
        assert not failed, (url, failed)
        return self.loaded()

    def loaded(self) -> Page:
        """Wait until a page, this one or the next, has loaded."""
        while "Page.loadEventFired" not in self._events:
            self._read()
        self._events.clear()
        return self

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def look(self, *, width: int, height: int = 900, is_dark: bool = False) -> None:
        """The size of the window, in CSS pixels, and what the reader prefers."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def shoot(self, path: Path, *, height: int | None = None) -> None:
        """A PNG of the whole page, or of so many pixels of it."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        answer = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def _read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=SECONDS))
        name, of = message.get("method", ""), message.get("params", {})
        self._events.append(name)
        match name:
            case "Network.requestWillBeSent":
                self.requests.append(of["request"]["url"])
            case "Network.responseReceived":
                self.statuses.append(of["response"]["status"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(of))
            case "Log.entryAdded":
                self.complaints.append(of["entry"]["text"])
        return message


@contextmanager
def browser(folder: Path, *more: str) -> Iterator[Page]:
    """A browser with an empty profile in `folder`, and one tab of it; `more` options are its command line's."""
    assert CHROMIUM is not None
    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--remote-debugging-port=0",
        *more,
    )
    with (folder / "chromium.log").open("w") as log:
        process = subprocess.Popen([CHROMIUM, *options, f"--user-data-dir={folder}"], stdout=log, stderr=log)
    try:
        with connect(_address(folder, process), max_size=None) as socket:
            tab = Page(socket, "")
            target = _of_browser(socket, "Target.createTarget", url="about:blank")["targetId"]
            tab.session = _of_browser(socket, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for part in ("Page", "Network", "Runtime", "Log"):
                tab.ask(f"{part}.enable")
            yield tab
    finally:
        process.kill()
        process.wait(10)


def _address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the browser listens: it writes that down once it does."""
    written, ends = folder / "DevToolsActivePort", time.monotonic() + SECONDS
    while time.monotonic() < ends:
        assert process.poll() is None, (folder / "chromium.log").read_text()
        lines = written.read_text().splitlines() if written.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError((folder / "chromium.log").read_text())


def _of_browser(socket: ClientConnection, method: str, **parameters: Any) -> dict[str, Any]:
    socket.send(json.dumps({"id": 0, "method": method, "params": parameters}))
    while (message := json.loads(socket.recv(timeout=SECONDS))).get("id") != 0:
        pass
    return dict(message["result"])
