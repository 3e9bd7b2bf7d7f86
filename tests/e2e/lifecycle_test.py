"""Starting, configuring and stopping the daemon."""

import os
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from daemon_process import BINARY, MODEL, TIMEOUT_S, DaemonTest


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S)


class Stopping(DaemonTest):
    def test_clients_are_told_and_the_socket_goes(self):
        streaming, resting = self.connect(), self.connect()
        streaming.call(op="open", session="s")
        streaming.send(op="generate", session="s")
        streaming.tokens(10)
        self.assertEqual(resting.call(op="ping")["event"], "pong")
        self.daemon.process.send_signal(signal.SIGTERM)
        events = streaming.until("bye")
        self.assertEqual([e["reason"] for e in events if e["event"] == "done"], ["shutdown"])
        self.assertEqual(resting.until("bye")[-1]["reason"], "shutdown")
        with self.assertRaises(EOFError):
            streaming.receive()
        self.assertEqual(self.daemon.process.wait(TIMEOUT_S), 0)
        self.assertFalse(os.path.exists(self.daemon.socket_path))

    def test_a_client_that_does_not_read_cannot_hold_it_up(self):
        stalled = self.connect()
        stalled.call(op="open", session="s")
        stalled.send(op="generate", session="s")
        other = self.connect()
        other.call(op="open", session="pace")
        before = -1
        while (now := other.call(op="stat", session="s")["position"]) != before:
            before = now
            other.send(op="generate", session="pace", max_tokens=100, ignore_eos=True)
            other.until("done")
        self.daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(self.daemon.process.wait(TIMEOUT_S), 0)


class Socket(DaemonTest):
    def test_a_second_daemon_leaves_the_socket_alone(self):
        second = subprocess.run(self.daemon.command(), capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(second.returncode, 1)
        self.assertIn("another daemon", second.stderr)
        self.assertEqual(self.connect().call(op="ping")["event"], "pong")

    def test_the_socket_has_the_permissions_asked_for(self):
        self.assertEqual(os.stat(self.daemon.socket_path).st_mode & 0o777, 0o660)

    def test_a_stale_socket_is_replaced(self):
        self.daemon.process.kill()
        self.daemon.process.wait(TIMEOUT_S)
        self.assertTrue(os.path.exists(self.daemon.socket_path))
        self.daemon.process = self.daemon.start()
        self.assertEqual(self.connect().call(op="ping")["event"], "pong")


class Limits(DaemonTest):
    flags = ("--max-connections", "3", "--max-requests-in-flight", "4", "--max-sessions", "2")

    def test_connections(self):
        kept = [self.connect() for _ in range(3)]
        for connection in kept:
            self.assertEqual(connection.call(op="ping")["event"], "pong")
        refused = self.connect()
        self.assertEqual(refused.receive()["code"], "connection_limit")
        with self.assertRaises(EOFError):
            refused.receive()
        kept[0].close()
        self.assertEqual(kept[1].call(op="ping")["event"], "pong")

    def test_sessions_and_requests(self):
        client = self.connect()
        client.call(op="open", session="a")
        client.call(op="open")
        self.assertEqual(client.call(op="open")["code"], "session_limit")
        text = "word " * 10000
        for _ in range(6):
            client.send(op="append", session="a", text=text)
        codes = [event.get("code", event["event"]) for event in (client.receive() for _ in range(6))]
        self.assertEqual(codes.count("request_limit"), 2)
        self.assertEqual(codes.count("appended"), 4)


class Configuration(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "condensed.toml"

    def refused(self, text: str) -> str:
        self.file.write_text(text)
        result = run("--config", str(self.file))
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        return result.stderr

    def test_errors_name_file_line_and_column(self):
        self.assertIn(f"{self.file}:2:1: unknown key windw; did you mean window?", self.refused('model = "x"\nwindw = 5\n'))
        self.assertIn(f"{self.file}:1:", self.refused("window = \n"))
        self.assertIn(f"{self.file}:1:10: window: expected a whole number from 1 to", self.refused("window = 0\n"))
        wrong_type = self.refused('model = "x"\n  window = "many"\n')
        self.assertIn(f"{self.file}:2:12: window: expected a whole number", wrong_type)
        self.assertIn('found "many"', wrong_type)
        self.assertIn("expected a string, found 5", self.refused("model = 5\n"))
        self.assertIn("octal", self.refused('socket_mode = "999"\n'))
        self.assertIn("passes=N", self.refused('prefill = "fast"\n'))
        self.assertIn("one of auto", self.refused('kernels = "mmx"\n'))
        self.assertIn("window", self.refused("window = [1]\n"))
        self.assertIn("no model", self.refused(""))

    def test_flags_win_over_the_file(self):
        self.file.write_text('model = "/no/such/folder"\nwindow = 77\n')
        self.assertEqual(run("--config", str(self.file), "--check").returncode, 1)
        result = run("--config", str(self.file), "--model", MODEL, "--window", "60", "--check")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("window 60", result.stderr)

    def test_usage(self):
        self.assertEqual(run("--no-such-flag").returncode, 2)
        self.assertEqual(run("--window", "x", "--model", MODEL).returncode, 2)
        self.assertIn("condensed 0.", run("--version").stdout)
        self.assertIn("--max-sessions", run("--help").stdout)

    def test_what_is_no_socket_is_left_alone(self):
        self.file.write_text("precious")
        result = run("--model", MODEL, "--socket", str(self.file))
        self.assertEqual(result.returncode, 1)
        self.assertIn("not a socket", result.stderr)
        self.assertEqual(self.file.read_text(), "precious")
        missing = run("--model", MODEL, "--socket", str(self.folder / "no" / "socket"))
        self.assertEqual(missing.returncode, 1)
        self.assertIn("does not exist", missing.stderr)

    def test_a_model_that_cannot_be_loaded(self):
        (self.folder / "config.json").write_text("{}")
        result = run("--model", str(self.folder), "--socket", str(self.folder / "socket"))
        self.assertEqual(result.returncode, 1)
        self.assertIn("config.json", result.stderr)


if __name__ == "__main__":
    unittest.main()
