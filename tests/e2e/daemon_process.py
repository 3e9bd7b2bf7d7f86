"""The real daemon, started for a test, and plain line-JSON connections to it."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

TIMEOUT_S = 300  # of any wait: long enough for sanitizer builds
BINARY = os.environ["CONDENSED_BINARY"]
MODEL = os.environ["CONDENSED_MODEL"]


def sanitized():
    """Whether the daemon is built with a sanitizer, whose bookkeeping would be measured instead."""
    with open(BINARY, "rb") as binary:
        content = binary.read()
    return any(name in content for name in (b"__asan_init", b"__tsan_init"))


class Connection:
    """Sends and receives events as they are; numbers nothing."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT_S)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.lines = self.socket.makefile("rb")

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, **request) -> None:
        self.send_bytes(json.dumps(request).encode() + b"\n")

    def receive(self) -> dict:
        line = self.lines.readline()
        if not line:
            raise EOFError("the daemon closed the connection")
        return json.loads(line)

    def until(self, *names: str) -> list[dict]:
        """Events up to and including the first that has one of these names."""
        events = []
        while not events or events[-1]["event"] not in names:
            events.append(self.receive())
        return events

    def call(self, **request) -> dict:
        """Sends a request and returns its answer, skipping the tokens of streams."""
        self.send(id="call", **request)
        while True:
            event = self.receive()
            if event.get("id") == "call":
                return event

    def tokens(self, n: int) -> list[dict]:
        """The next n `token` events."""
        tokens = []
        while len(tokens) < n:
            event = self.receive()
            if event["event"] == "token":
                tokens.append(event)
        return tokens

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


class Daemon:
    """A daemon in a folder of its own."""

    def __init__(self, *flags: str, model: str | Path = MODEL, open_files: int | None = None) -> None:
        self.model = model
        self.open_files = open_files  # what the daemon may have open; None: as this process
        self.folder = tempfile.TemporaryDirectory(prefix="condensed-e2e-")
        self.socket_path = str(Path(self.folder.name) / "socket")
        self.flags = flags
        self.connections: list[Connection] = []
        self.log = open(Path(self.folder.name) / "log", "w+b")
        self.process = self.start()

    def command(self) -> list[str]:
        return [
            BINARY, "--model", str(self.model), "--socket", self.socket_path, "--sinks", "4", "--window", "124", *self.flags
        ]  # fmt: skip

    def start(self) -> subprocess.Popen:
        process = subprocess.Popen(self.command(), stderr=self.log, preexec_fn=self.limit_files)
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                probe = Connection(self.socket_path)
                probe.close()
                return process
            except OSError:
                time.sleep(0.02)
        process.kill()
        raise RuntimeError("the daemon did not start: " + self.log_text())

    def limit_files(self) -> None:
        if self.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))

    def connect(self) -> Connection:
        connection = Connection(self.socket_path)
        self.connections.append(connection)
        return connection

    def log_text(self) -> str:
        return Path(self.log.name).read_text(errors="replace")

    def stop(self) -> int:
        """Ends the daemon as an administrator would; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(TIMEOUT_S)

    def restart(self) -> int:
        """Another daemon in the same folder; the exit code of the one before."""
        code = self.stop()
        self.process = self.start()
        return code

    def clean_up(self) -> None:
        for connection in self.connections:
            connection.close()
        self.stop()
        self.log.close()
        self.folder.cleanup()


class DaemonTest(unittest.TestCase):
    """Each test has a daemon of its own, which must end cleanly."""

    flags: tuple[str, ...] = ()
    open_files: int | None = None

    def setUp(self) -> None:
        self.daemon = Daemon(*self.flags, open_files=self.open_files)
        self.addCleanup(self.daemon.clean_up)

    def tearDown(self) -> None:
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_text())

    def connect(self) -> Connection:
        return self.daemon.connect()
