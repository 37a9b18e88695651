"""The console in a real browser with a microphone that plays a file, and what its tests do with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import soundfile
from browser import Page, browser

LEAD, TRAIL = 0.2, 3.0
"""Seconds of silence around the clip that the microphone plays; it begins anew whenever it is opened."""
SECONDS = 20.0
CODES = {" ": ("Space", 32), "Enter": ("Enter", 13), "Escape": ("Escape", 27), "Tab": ("Tab", 9)}
WATCHED = """{
  window.streams = [];
  window.delay = 0;
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (asked) => {
    await new Promise((done) => setTimeout(done, window.delay));  // as a prompt would
    const stream = await real(asked);
    window.streams.push(stream);
    return stream;
  };
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
}"""


@dataclass(frozen=True)
class Console:
    """One tab with the console of the gateway at a port of this machine."""

    page: Page

    def open(self, port: int) -> Console:
        self.page.open(f"http://127.0.0.1:{port}/console")
        return self

    def ready(self) -> Console:
        """Wait until one may talk."""
        self.until("document.querySelector('#talk').ariaDisabled === 'false'")
        return self

    def until(self, expression: str, seconds: float = SECONDS) -> None:
        ends = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < ends, (expression, self.text("body"), self.page.complaints)
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        return str(self.page.evaluate(f"document.querySelector({selector!r}).innerText"))

    def choose(self, *, speaker: str = "", defense: str = "") -> None:
        for name, value in (("speaker", speaker), ("defense", defense)):
            field = f"document.querySelector('#{name}')"
            self.page.evaluate(f"{field}.value = {value!r}; {field}.dispatchEvent(new Event('change'))")
            assert self.page.evaluate(f"{field}.value") == value

    @property
    def sent(self) -> int:
        """Clips that the page sent, by the browser's own account."""
        self.page.evaluate("1")  # reads what has happened by now
        return sum(urlsplit(address).path == "/v1/commands" for address in self.page.requests)

    @property
    def tracks(self) -> list[str]:
        """The state of each microphone that the page was ever given: live or ended."""
        return list(self.page.evaluate("streams.flatMap(s => s.getTracks().map(t => t.readyState))"))

    @property
    def decided(self) -> int:
        return int(self.page.evaluate("document.querySelector('#last').children.length"))

    def mouse(self, kind: str) -> None:
        x, y = self._middle()
        self.page.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def touch(self, kind: str) -> None:
        x, y = self._middle()
        points = [] if kind in ("touchEnd", "touchCancel") else [{"x": x, "y": y}]
        self.page.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def key(self, kind: str, key: str, *, is_repeat: bool = False) -> None:
        code, number = CODES[key]
        options = {"text": "\r" if key == "Enter" else key} if kind == "keyDown" and key in (" ", "Enter") else {}
        self.page.ask(
            "Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number,
            autoRepeat=is_repeat, **options,
        )  # fmt: skip

    def heard(self, seconds: float) -> None:
        """Wait until so much is recorded."""
        self.until("document.querySelector('#recording').matches('.on')")
        self.until(f"parseFloat(document.querySelector('#recording-seconds').textContent) >= {seconds}")

    def answered(self, decisions: int) -> str:
        """Wait for a decision; the announcement of it."""
        self.until(f"document.querySelector('#last').children.length === {decisions}")
        self.until("document.querySelector('#status').textContent === ''")
        return str(self.page.evaluate("document.querySelector('#announcement').textContent"))

    def drop(self, *files: Path) -> None:
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.page.ask("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)

    def pick(self, file: Path) -> None:
        """As the file chooser does."""
        root = self.page.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.page.ask("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.page.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def _middle(self) -> tuple[float, float]:
        box: Any = self.page.evaluate(
            "(e => (e.scrollIntoView({block: 'center'}), e = e.getBoundingClientRect(), "
            "[e.x + e.width / 2, e.y + e.height / 2]))(document.querySelector('#talk'))"
        )
        return box[0], box[1]


@contextmanager
def console(folder: Path, clip: Path, *, is_allowed: bool = True) -> Iterator[Console]:
    """A browser whose microphone plays a clip; whoever is asked for it agrees, or does not."""
    samples, rate = soundfile.read(clip)
    played = np.concatenate([np.zeros(round(LEAD * rate)), samples, np.zeros(round(TRAIL * rate))])
    soundfile.write(folder / "microphone.wav", played, rate, subtype="PCM_16")
    options = (
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}%noloop",
        "--use-fake-ui-for-media-stream" + ("" if is_allowed else "=deny"),
    )
    with browser(folder, *options) as page:
        page.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCHED)
        page.look(width=1200)
        yield Console(page)
