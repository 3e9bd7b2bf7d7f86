"""A headless Chromium, driven through the DevTools protocol on a pair of pipes."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TIMEOUT_S = 120  # of any wait
FLAGS = (
    "--headless",
    "--no-sandbox",  # the pages are ours, and root has no sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def high(descriptor: int) -> int:
    """The same pipe's end, numbered so that it is in nobody's way."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 20)
    os.close(descriptor)
    return moved


class Browser:
    """One browser with one tab. Close it when done."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="condensed-browser-", ignore_cleanup_errors=True)
        its_input, self.to_browser = map(high, os.pipe())
        self.from_browser, its_output = map(high, os.pipe())
        self.log = open(Path(self.folder.name) / "log", "w+b")
        # The browser reads from descriptor 3 and writes to 4.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{its_input} 4>&{its_output}', "bash", CHROMIUM, *FLAGS]
            + [f"--user-data-dir={self.folder.name}/profile", "about:blank"],
            pass_fds=(its_input, its_output),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        os.close(its_input)
        os.close(its_output)
        self.unread = b""
        self.last_id = 0
        self.session: str | None = None
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(TIMEOUT_S)
        os.close(self.to_browser)
        os.close(self.from_browser)
        self.log.close()
        self.folder.cleanup()

    def receive(self) -> dict:
        deadline = time.monotonic() + TIMEOUT_S
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.from_browser], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.from_browser, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("the browser " + ("ended: " if ready else "is silent: ") + self.log_text())
            self.unread += data
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)

    def log_text(self) -> str:
        return Path(self.log.name).read_text(errors="replace")[-2000:]

    def call(self, method: str, **parameters) -> dict:
        self.last_id += 1
        request = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(request).encode() + b"\0")
        while True:
            message = self.receive()
            if message.get("id") == self.last_id:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def open(self, path: Path, width: int = 1100, height: int = 900, dark: bool = False) -> None:
        """Shows a file; what happened before is forgotten."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression: str):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression[:80]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def complaints(self) -> list[dict]:
        """Whatever was thrown, logged as a warning or error, or refused since the page was opened."""
        self.evaluate("new Promise(requestAnimationFrame)")  # what the page did so far has been reported
        bad = []
        for event in self.events:
            name, details = event.get("method"), event.get("params", {})
            thrown = name == "Runtime.exceptionThrown"
            logged = name == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert")
            noted = name == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning")
            if thrown or logged or noted:
                bad.append(event)
        return bad

    def requests(self) -> list[str]:
        """What the page asked the network or the disk for since it was opened."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def screenshot(self, path: Path, selector: str = "html") -> None:
        """What the first such element covers."""
        box = self.evaluate(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height, scale: 1}; })()"
        )
        answer = self.call("Page.captureScreenshot", format="png", clip=box, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
