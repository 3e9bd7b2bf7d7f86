"""What the daemon measures: the text format, both ways to it, and that the numbers are those of what was done."""

import fcntl
import http.client
import os
import pty
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import unittest
from pathlib import Path

from daemon_process import TIMEOUT_S, Daemon, DaemonTest

sys.path.insert(0, os.environ["CONDENSED_PYTHON_CLIENT"])
import condensed  # noqa: E402

CTL = os.environ["CONDENSECTL_BINARY"]
MANUAL = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"')
SUFFIX = re.compile(r"_(bucket|sum|count)$")


class Exposition:
    """Prometheus' text format 0.0.4, read strictly."""

    def __init__(self, text):
        assert text.endswith("\n"), "the last line has no end"
        self.types = {}
        self.samples = {}  # (name, labels) -> value
        helped = set()
        family = None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                assert family not in helped and line.split(" ", 3)[3], line
                helped.add(family)
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name == family and name not in self.types, line
                assert kind in ("counter", "gauge", "histogram"), line
                self.types[name] = kind
            else:
                match = SAMPLE.fullmatch(line)
                assert match, f"no sample: {line!r}"
                name, labels, value = match.groups()
                of = SUFFIX.sub("", name) if self.types[family] == "histogram" else name
                assert of == family, f"{line} stands among {family}"
                key = (name, frozenset(LABEL.findall(labels or "")))
                assert key not in self.samples, f"twice: {line}"
                self.samples[key] = float(value)
        assert helped == set(self.types)
        for name, kind in self.types.items():
            if kind == "histogram":
                self.check_histogram(name)
            elif kind == "counter":
                assert name.endswith("_total"), name
                assert all(value >= 0 for (of, _), value in self.samples.items() if of == name), name

    def check_histogram(self, name):
        series = {}
        for (of, labels), value in self.samples.items():
            if of == name + "_bucket":
                bound = float(dict(labels)["le"])
                series.setdefault(frozenset(l for l in labels if l[0] != "le"), {})[bound] = value
        assert series, f"{name} has no buckets"
        for labels, buckets in series.items():
            counts = [buckets[bound] for bound in sorted(buckets)]
            assert counts == sorted(counts), f"{name} is not cumulative: {counts}"
            assert self.samples[name + "_count", labels] == buckets[float("inf")], name
            assert (name + "_sum", labels) in self.samples, name

    def value(self, name, **labels):
        """The one sample with these labels, whatever others it has."""
        found = [v for (of, has), v in self.samples.items() if of == name and set(labels.items()) <= has]
        assert len(found) == 1, f"{name} {labels}: {found}"
        return found[0]

    def label_names(self, family):
        return {
            frozenset(name for name, _ in labels if name != "le")
            for (of, labels) in self.samples
            if of == family or self.types[family] == "histogram" and SUFFIX.sub("", of) == family
        }


class UnixHTTPConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Numbers(DaemonTest):
    def read(self, connection):
        return Exposition(connection.call(op="metrics")["text"])

    def test_they_are_those_of_what_was_done(self):
        c = self.connect()
        start = self.read(c)
        self.assertEqual(start.value("vllm:prompt_tokens_total"), 0)
        self.assertEqual(start.value("condensed_connections"), 1)

        n_read = c.call(op="open", session="a", text="It was a dark and stormy night")["position"]
        c.send(op="generate", session="a", max_tokens=200, ignore_eos=True)
        c.until("done")
        c.send(op="generate", session="a", max_tokens=3, ignore_eos=True)
        c.until("done")
        c.call(op="open", session="b", tokens=[5, 6, 7])
        c.send(op="generate", session="b")
        c.tokens(1)
        watched = self.read(c)
        self.assertEqual(watched.value("vllm:num_requests_running"), 1)
        self.assertEqual(watched.value("condensed_sessions", state="generating"), 1)
        self.assertEqual(watched.value("condensed_sessions", state="resident"), 1)
        c.call(op="cancel", session="b")
        for bad in (b"{\n", b'{"op":"none"}\n', b'{"op":"stat","session":"none"}\n', b"x" * 2_000_000 + b"\n"):
            c.send_bytes(bad)
            self.assertEqual(c.receive()["event"], "error")
        self.connect().call(op="ping")

        m = self.read(c)
        engine = c.call(op="stat")
        self.assertEqual(m.value("vllm:prompt_tokens_total"), engine["tokens_read"])
        self.assertEqual(m.value("vllm:generation_tokens_total"), engine["tokens_generated"])
        self.assertEqual(m.value("condensed_evictions_total"), engine["evictions"])
        self.assertGreater(engine["evictions"], 0)
        self.assertEqual(m.value("vllm:iteration_tokens_total_count"), engine["steps"])
        self.assertEqual(m.value("condensed_step_seconds_count"), engine["steps"])
        self.assertEqual(m.value("condensed_batch_sessions_sum"), engine["steps"])  # never two at once here
        self.assertEqual(m.value("condensed_cache_bytes"), engine["cache_bytes"])
        self.assertEqual(m.value("condensed_weight_bytes"), engine["weight_bytes"])

        of_b = engine["tokens_generated"] - 203
        self.assertEqual(engine["tokens_read"], (n_read - 1) + 3)
        self.assertEqual(m.value("vllm:time_to_first_token_seconds_count"), 3)
        self.assertEqual(m.value("vllm:inter_token_latency_seconds_count"), 199 + 2 + of_b - 1)
        self.assertEqual(m.value("vllm:e2e_request_latency_seconds_count"), 3)
        self.assertGreaterEqual(m.value("vllm:e2e_request_latency_seconds_sum"),
                                m.value("vllm:inter_token_latency_seconds_sum"))
        self.assertEqual(m.value("vllm:request_generation_tokens_sum"), 203 + of_b)
        self.assertEqual(m.value("vllm:request_prompt_tokens_sum"), (n_read - 1) + 3)
        self.assertEqual(m.value("vllm:request_success_total", finished_reason="length"), 2)
        self.assertEqual(m.value("vllm:request_success_total", finished_reason="abort"), 1)
        self.assertEqual(m.value("condensed_generations_total", reason="cancelled"), 1)
        self.assertEqual(m.value("condensed_append_tokens_count"), 2)
        self.assertEqual(m.value("vllm:num_requests_running"), 0)
        self.assertEqual(m.value("condensed_sessions", state="resident"), 2)
        for code in ("bad_json", "unknown_op", "unknown_session", "line_too_long"):
            self.assertEqual(m.value("condensed_errors_total", code=code), 1, code)
        self.assertEqual(m.value("condensed_connections"), 2)
        self.assertEqual(m.value("condensed_connections_total"), start.value("condensed_connections_total") + 1)
        self.assertGreater(m.value("process_cpu_seconds_total"), 0)
        self.assertEqual(m.samples.keys(), start.samples.keys(), "every series exists from the start")

    def test_the_manual_names_the_labels(self):
        rows = re.findall(r"^\| `([\w:]+)` \| \w+ \|(.*?)\|", MANUAL.read_text(), re.M)
        exposed = self.read(self.connect())
        self.assertEqual({name for name, _ in rows}, set(exposed.types))
        for name, labels in rows:
            self.assertEqual(exposed.label_names(name), {frozenset(re.findall(r"`(\w+)`", labels))}, name)

    def test_the_clients_have_them(self):
        with condensed.Client(self.daemon.socket_path) as client:
            self.assertEqual(Exposition(client.metrics()).value("condensed_connections"), 1)
        result = subprocess.run([CTL, "--socket", self.daemon.socket_path, "metrics"], capture_output=True, text=True,
                                timeout=TIMEOUT_S, check=True)
        self.assertIn("condensed_build_info", {name for name, _ in Exposition(result.stdout).samples})


class Top(DaemonTest):
    def setUp(self):
        super().setUp()
        c = self.connect()
        for name in ("busy", "idle"):
            c.call(op="open", session=name, tokens=[5, 6, 7])
        c.send(op="generate", session="busy", max_tokens=50, ignore_eos=True)
        c.until("done")

    def command(self, *flags, interval="0.05"):
        return [CTL, "--socket", self.daemon.socket_path, "top", "--interval", interval, *flags]

    def test_one_frame(self):
        for flags in (("--once",), ()):  # output is no terminal
            result = subprocess.run(self.command(*flags), capture_output=True, text=True, timeout=TIMEOUT_S)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn("\x1b", result.stdout)
            lines = result.stdout.splitlines()
            self.assertRegex(lines[0], r"^condensed \S+   books-1m   \S+   up [\d:]+   rates over \d+\.\d s$")
            self.assertIn("0 generating, 2 resident, 0 asleep of 100000", lines[1])
            self.assertRegex(result.stdout, r"\nbusy +resting +54 +53 +0\.0 +1\n")
            self.assertRegex(result.stdout, r"\nidle +resting +4 +3 +0\.0 +1\n")

    def start_live(self):
        """On a terminal of 9 rows and 40 columns; our side of it, the process and what it has shown: four frames."""
        try:
            controller, terminal = pty.openpty()
        except OSError as error:  # a change of root without /dev/pts
            self.skipTest(f"no pseudo-terminal can be had here: {error}")
        self.addCleanup(os.close, controller)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 9, 40, 0, 0))
        process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal)
        os.close(terminal)
        shown = b""
        while shown.count(b"\x1b[H") < 4:
            shown += os.read(controller, 65536)
        return controller, process, shown

    def end_live(self, controller, process, shown):
        try:
            while part := os.read(controller, 65536):
                shown += part
        except OSError:
            pass  # how the end looks from this side
        return process.wait(TIMEOUT_S), shown

    def test_live_on_a_terminal(self):
        controller, process, shown = self.start_live()
        process.send_signal(signal.SIGINT)
        code, shown = self.end_live(controller, process, shown)
        self.assertEqual(code, 0)
        self.assertTrue(shown.startswith(b"\x1b[?1049h\x1b[?25l\x1b[H"), shown[:100])
        self.assertTrue(shown.endswith(b"\x1b[?25h\x1b[?1049l"), shown[-100:])
        for frame in shown.split(b"\x1b[H")[1:4]:
            lines = re.sub(r"\x1b\[[KJ]|\r", "", frame.decode()).split("\n")
            self.assertEqual(len(lines), 9)
            self.assertLessEqual(max(map(len, lines)), 40)
            self.assertEqual(lines[8], "... and 2 more")

    def test_the_daemon_goes_away(self):
        controller, process, shown = self.start_live()
        self.assertEqual(self.daemon.stop(), 0)
        code, shown = self.end_live(controller, process, shown)
        self.assertEqual(code, 3)
        _, after = shown.split(b"\x1b[?25h\x1b[?1049l")
        self.assertIn(b"the connection was lost", after)  # where it can still be read

    def test_without_a_daemon(self):
        self.assertEqual(self.daemon.stop(), 0)
        result = subprocess.run(self.command("--once"), capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(result.returncode, 3)
        self.assertIn("is the daemon running?", result.stderr)

    def test_a_bad_interval_is_refused(self):
        result = subprocess.run(self.command(interval="0"), capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(result.returncode, 2)
        self.assertIn("--interval", result.stderr)


class Endpoint(DaemonTest):
    """Started for each test with a metrics socket beside the other one."""

    def setUp(self):
        self.flags = ()
        super().setUp()
        self.daemon.stop()
        self.path = str(Path(self.daemon.folder.name) / "metrics")
        self.daemon.flags = ("--metrics-socket", self.path)
        self.daemon.process = self.daemon.start()

    def http(self):
        connection = UnixHTTPConnection(self.path)
        self.addCleanup(connection.close)
        return connection

    def get(self, connection, method="GET", target="/metrics", **options):
        connection.request(method, target, **options)
        response = connection.getresponse()
        return response, response.read().decode()

    def raw(self, data):
        """Sends bytes and returns all that comes back until the daemon ends the connection."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(TIMEOUT_S)
            s.connect(self.path)
            received = b""
            try:
                s.sendall(data)
            except BrokenPipeError:
                pass  # it was turned away already; the answer says why
            try:
                while part := s.recv(65536):
                    received += part
            except ConnectionResetError:
                pass  # it closed with some of ours unread; what it said came before that
            return received

    def test_get(self):
        connection = self.http()
        for _ in range(3):  # one after another on the same connection
            response, text = self.get(connection)
            self.assertEqual(response.status, 200)
            self.assertEqual(response.getheader("Content-Type"), "text/plain; version=0.0.4; charset=utf-8")
            Exposition(text)
        c = self.connect()
        c.call(op="open", session="a", tokens=[5, 6, 7])
        c.send(op="generate", session="a", max_tokens=10, ignore_eos=True)
        c.until("done")
        _, text = self.get(connection, target="/metrics?a=b")
        self.assertEqual(Exposition(text).value("vllm:generation_tokens_total"), 10)

    def test_what_else_may_be_asked(self):
        connection = self.http()
        response, text = self.get(connection, "HEAD")
        self.assertEqual((response.status, text), (200, ""))
        self.assertGreater(int(response.getheader("Content-Length")), 1000)
        self.assertEqual(self.get(connection, target="/")[0].status, 404)
        response, text = self.get(connection, "DELETE")
        self.assertEqual((response.status, response.getheader("Allow")), (405, "GET, HEAD"))
        self.assertEqual(self.get(self.http(), "POST", body="x" * 100)[0].status, 405)
        self.assertTrue(self.raw(b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 "))
        self.assertTrue(self.raw(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 "))

    def test_what_is_no_request_gets_an_answer_and_hurts_nobody(self):
        self.assertTrue(self.raw(b'{"op":"metrics"}\r\n\r\n').startswith(b"HTTP/1.1 400 "))
        long = b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n"
        self.assertTrue(self.raw(long).startswith(b"HTTP/1.1 431 "))
        half = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        half.connect(self.path)
        half.sendall(b"GET /met")
        half.close()
        self.assertEqual(self.get(self.http())[0].status, 200)

    def test_connections_are_bounded(self):
        connections = [self.http() for _ in range(16)]
        for connection in connections:
            self.assertEqual(self.get(connection)[0].status, 200)
        self.assertTrue(self.raw(b"").startswith(b"HTTP/1.1 503 "))
        self.connect().call(op="ping")  # clients are not concerned
        connections[0].close()
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200 "):  # the daemon hears of that soon
            answer = self.raw(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
            self.assertRegex(answer, b"^HTTP/1.1 (200|503) ")

    def test_the_socket_can_be_read_by_all_and_goes_with_the_daemon(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o666)
        self.get(self.http())  # an idle connection does not hold up the end
        self.assertEqual(self.daemon.stop(), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_the_mode_can_be_set(self):
        self.daemon.stop()
        self.daemon.flags += ("--metrics-socket-mode", "0600")
        self.daemon.process = self.daemon.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_a_path_that_another_daemon_serves_is_refused(self):
        with self.assertRaisesRegex(RuntimeError, "another daemon serves it"):
            Daemon("--metrics-socket", self.path)


if __name__ == "__main__":
    unittest.main()
