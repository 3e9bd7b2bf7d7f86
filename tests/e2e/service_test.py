"""condensed as a service: notifications, watchdog, inherited sockets, reload, units."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from daemon_process import BINARY, MODEL, TIMEOUT_S, Connection, Daemon

SYSTEMD = Path(__file__).resolve().parents[2] / "etc/systemd"
# Becomes the daemon as a service manager starts it: descriptors from 3 on, variables that name its process id.
EXEC = """
import fcntl, os, sys
variables = os.environ
descriptors = [int(fd) for fd in variables.pop("TEST_DESCRIPTORS").split()]
kept = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3 + len(descriptors)) for fd in descriptors]  # out of the way
for place, fd in enumerate(kept):
    os.dup2(fd, 3 + place, inheritable=True)
if descriptors:
    variables.update(LISTEN_FDS=str(len(descriptors)), LISTEN_PID=str(os.getpid()))
if "WATCHDOG_USEC" in variables:
    variables["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""


class Notifications:
    """A service manager's end of sd_notify."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.bind(self.path)
        self.seen: list[str] = []

    def next(self) -> str:
        self.seen.append(self.socket.recv(4096).decode())
        return self.seen[-1]

    def until(self, pattern: str) -> str:
        while not re.search(pattern, self.next(), re.M):
            pass
        return self.seen[-1]


class Service(Daemon):
    """The daemon, started as a service manager does it."""

    def __init__(self, *flags: str, sockets=(), variables=None, config: str | None = None, wait=True) -> None:
        self.sockets = sockets
        self.wait = wait
        self.variables = variables or {}
        self.config = config
        super().__init__(*flags)

    @property
    def config_path(self) -> Path:
        return Path(self.folder.name) / "condensed.toml"

    def command(self) -> list[str]:
        if self.config is None:
            return super().command()
        return [BINARY, "--config", str(self.config_path), "--socket", self.socket_path, "--model", MODEL, *self.flags]

    def start(self) -> subprocess.Popen:
        self.notifications = Notifications(Path(self.folder.name) / "notify")
        if self.config is not None:
            self.config_path.write_text(self.config)
        environment = {
            **os.environ,
            **self.variables,
            "NOTIFY_SOCKET": self.notifications.path,
            "TEST_DESCRIPTORS": " ".join(str(each.fileno()) for each in self.sockets),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", EXEC, *self.command()],
            stderr=self.log,
            env=environment,
            pass_fds=[each.fileno() for each in self.sockets],
        )
        if self.wait:
            self.notifications.until("^READY=1$")
        return process

    def clean_up(self) -> None:
        super().clean_up()
        self.notifications.socket.close()


class ServiceTest(unittest.TestCase):
    def service(self, *flags: str, **options) -> Service:
        service = Service(*flags, **options)
        self.addCleanup(service.clean_up)
        return service

    def stopped(self, service: Service) -> None:
        self.assertEqual(service.stop(), 0, service.log_text())


class Notifying(ServiceTest):
    def test_ready_comes_after_the_model_and_with_the_socket(self):
        service = self.service()
        seen = service.notifications.seen
        self.assertRegex(seen[-1], r"^READY=1\nSTATUS=Serving$")
        self.assertTrue(any(re.fullmatch(r"EXTEND_TIMEOUT_USEC=\d+", each) for each in seen[:-1]), seen)
        self.assertIn(f"STATUS=Loading {MODEL}", seen[:-1])
        self.assertIn("model books-1m", service.log_text())  # loaded
        self.assertEqual(service.connect().call(op="ping")["event"], "pong")
        self.stopped(service)

    def test_status_counts_what_is_there(self):
        service = self.service()
        client = service.connect()
        client.call(op="open", session="a")
        client.send(op="generate", session="a")
        client.tokens(1)
        service.notifications.until("^STATUS=Serving books-1m; connections: 1, sessions: 1, generating: 1$")
        client.call(op="cancel", session="a")
        service.notifications.until("generating: 0$")
        self.stopped(service)

    def test_stopping_is_told_before_the_end(self):
        service = self.service()
        self.stopped(service)
        service.notifications.until("^STOPPING=1$")

    def test_a_start_that_fails_says_why(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        notifications = Notifications(Path(folder.name) / "notify")
        self.addCleanup(notifications.socket.close)
        process = subprocess.run(
            [BINARY, "--model", folder.name, "--socket", folder.name + "/socket"],
            env={**os.environ, "NOTIFY_SOCKET": notifications.path},
            capture_output=True,
            timeout=TIMEOUT_S,
        )
        self.assertEqual(process.returncode, 1)
        self.assertIn("config.json", notifications.until("^STATUS=Could not start: "))
        self.assertFalse(any("READY" in each for each in notifications.seen))

    def test_a_hangup_while_the_model_loads_is_no_end(self):
        service = self.service(wait=False)
        service.notifications.until("^STATUS=Loading ")
        service.process.send_signal(signal.SIGHUP)
        service.notifications.until("^READY=1$")
        self.stopped(service)


class Watchdog(ServiceTest):
    def test_it_is_fed_while_idle_and_while_streaming(self):
        service = self.service(variables={"WATCHDOG_USEC": "100000"})
        for _ in range(3):
            service.notifications.until("^WATCHDOG=1$")
        client = service.connect()
        client.call(op="open", session="a")
        client.send(op="generate", session="a", max_tokens=100000)
        client.tokens(5)
        for _ in range(3):
            service.notifications.until("^WATCHDOG=1$")
        self.stopped(service)

    def test_it_is_not_fed_when_nobody_asked(self):
        service = self.service()
        service.connect().call(op="ping")
        self.stopped(service)
        service.notifications.until("^STOPPING=1$")
        self.assertNotIn("WATCHDOG=1", service.notifications.seen)


class Reloading(ServiceTest):
    CONFIG = "sinks = 4\nwindow = 124\n"

    def reload(self, service: Service, config: str) -> str:
        """The notification that ends the reload."""
        service.config_path.write_text(config)
        service.process.send_signal(signal.SIGHUP)
        self.assertRegex(service.notifications.until("^RELOADING=1$"), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        return service.notifications.until("^READY=1$")

    def test_limits_change_and_a_stream_goes_on(self):
        service = self.service("--send-buffer-bytes", "300000", config=self.CONFIG)
        streaming, resting = service.connect(), service.connect()
        streaming.call(op="open", session="a")
        streaming.send(op="generate", session="a")
        positions = [token["position"] for token in streaming.tokens(20)]
        self.reload(service, self.CONFIG.replace("124", "60") + "max_connections = 2\nsend_buffer_bytes = 4096\n")
        positions += [token["position"] for token in streaming.tokens(2000)]
        self.assertEqual(positions, list(range(positions[0], positions[0] + len(positions))))
        self.assertEqual(resting.call(op="stat", session="a")["window"], 124)
        refused = service.connect().receive()
        self.assertEqual(refused["code"], "connection_limit")
        self.assertIn("(2)", refused["message"])
        log = service.log_text()
        self.assertIn("max_connections = 2 from now on, was 1024", log)
        self.assertIn("window = 60 needs a restart; until then 124 stays in force", log)
        self.assertNotIn("send_buffer_bytes", log)  # flags win
        self.stopped(service)

    def test_new_connections_get_new_limits_and_old_ones_keep_theirs(self):
        service = self.service(config=self.CONFIG)
        old = service.connect()
        old.call(op="ping")
        self.reload(service, self.CONFIG + "max_line_bytes = 2000\n")
        long_ping = b'{"op":"ping"' + b" " * 3000 + b"}\n"
        old.send_bytes(long_ping)
        self.assertEqual(old.receive()["event"], "pong")
        new = service.connect()
        new.send_bytes(long_ping)
        self.assertEqual(new.receive()["code"], "line_too_long")
        self.stopped(service)

    def test_the_log_level_changes(self):
        service = self.service(config=self.CONFIG)
        service.connect().call(op="ping")
        self.assertNotIn("opened user=", service.log_text())
        self.reload(service, self.CONFIG + 'log_level = "debug"\n')
        client = service.connect()
        client.call(op="open", session="a")
        client.call(op="no_such_operation", secret="text of a user")
        client.call(op="stat", session="none")
        log = service.log_text()
        self.assertRegex(log, rf"connection opened user={os.getuid()} connection=\d+\n")
        self.assertRegex(log, r"refused a request code=unknown_op connection=\d+\n")
        self.assertRegex(log, r"session=none user=\d+ code=unknown_session connection=\d+\n")
        self.assertNotIn("text of a user", log)
        self.stopped(service)

    def test_a_broken_file_changes_nothing(self):
        service = self.service(config=self.CONFIG)
        status = self.reload(service, "max_connections = 1\nwindow = many\n")
        self.assertIn("was not reloaded", status)
        self.assertIn(f"{service.config_path}:2:", status)
        self.assertRegex(service.log_text(), r"error the configuration stays as it was: .*:2:")
        clients = [service.connect() for _ in range(3)]
        self.assertEqual([client.call(op="ping")["event"] for client in clients], ["pong"] * 3)
        # Whoever looks at the service's status later still sees it.
        service.notifications.until("connections: 3, .*; the configuration was not reloaded: ")
        status = self.reload(service, self.CONFIG + "max_connections = 3\n")
        self.assertNotIn("not reloaded", status)
        self.assertIn("max_connections = 3 from now on", service.log_text())
        self.stopped(service)


class Inheriting(ServiceTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name + "/activated"
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(self.listening.close)
        self.listening.bind(self.path)
        self.listening.listen()

    def test_it_serves_who_waited_and_leaves_the_path(self):
        early = Connection(self.path)
        self.addCleanup(early.close)
        early.send(op="ping")
        service = self.service(sockets=[self.listening])
        self.assertEqual(early.receive()["event"], "pong")
        self.assertFalse(os.path.exists(service.socket_path))
        self.assertIn(f"listening on {self.path} (inherited)", service.log_text())
        self.stopped(service)
        self.assertTrue(os.path.exists(self.path))
        late = Connection(self.path)  # waits for the next start
        self.addCleanup(late.close)
        late.send(op="ping")
        again = self.service(sockets=[self.listening])
        self.assertEqual(late.receive()["event"], "pong")
        self.stopped(again)

    def test_names_say_which_socket_is_which(self):
        other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(other.close)
        other.bind(self.path + "-other")
        other.listen()
        service = self.service(
            sockets=[other, self.listening], variables={"LISTEN_FDNAMES": "something.socket:condensed.socket"}
        )
        client = Connection(self.path)
        self.addCleanup(client.close)
        self.assertEqual(client.call(op="ping")["event"], "pong")
        self.assertIn("the inherited socket something.socket is not used", service.log_text())
        self.stopped(service)

    def test_metrics_have_a_socket_of_their_own(self):
        metrics = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(metrics.close)
        metrics.bind(self.path + "-metrics")
        metrics.listen()
        service = self.service(
            sockets=[self.listening, metrics],
            variables={"LISTEN_FDNAMES": "condensed.socket:condensed-metrics.socket"},
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as scraper:
            scraper.settimeout(TIMEOUT_S)
            scraper.connect(self.path + "-metrics")
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = scraper.makefile("rb").read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:100])
        self.assertIn(b"vllm:num_requests_running", answer)
        self.stopped(service)
        self.assertTrue(os.path.exists(self.path + "-metrics"))

    def test_what_is_no_listening_stream_is_an_error(self):
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(datagrams.close)
        result = subprocess.run(
            [sys.executable, "-c", EXEC, BINARY, "--model", MODEL],
            env={**os.environ, "TEST_DESCRIPTORS": str(datagrams.fileno())},
            pass_fds=[datagrams.fileno()],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        self.assertEqual(result.returncode, 1)
        self.assertIn("expected a listening Unix stream socket", result.stderr)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is missing: install the package systemd")
class Units(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for unit in SYSTEMD.glob("*.service"), SYSTEMD.glob("*.socket"):
            for path in unit:
                text = path.read_text().replace("/usr/bin/condensed ", f"{BINARY} ")
                (self.folder / path.name).write_text(text)

    def analyze(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S
        )

    def exposure(self) -> float:
        result = self.analyze("security", "--offline=yes", str(self.folder / "condensed.service"))
        return float(re.search(r"Overall exposure level for condensed.service: ([\d.]+)", result.stdout).group(1))

    def test_they_verify_without_a_word(self):
        result = self.analyze("verify", "--man=no", *sorted(str(path) for path in self.folder.iterdir()))
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_the_service_is_sandboxed(self):
        self.assertLessEqual(self.exposure(), 0.5)

    def test_a_gpu_costs_little(self):
        drop_in = self.folder / "condensed.service.d"
        drop_in.mkdir()
        shutil.copy(SYSTEMD / "condensed.service.d-gpu.conf", drop_in / "gpu.conf")
        self.assertLessEqual(self.exposure(), 1.0)
        self.assertGreater(self.exposure(), 0.4)  # it is read

    def test_the_socket_is_the_one_clients_use(self):
        text = (SYSTEMD / "condensed.socket").read_text()
        self.assertIn("ListenStream=/run/condensed/condensed.sock\n", text)
        self.assertIn("FileDescriptorName=condensed.socket\n", text)


if __name__ == "__main__":
    unittest.main()
