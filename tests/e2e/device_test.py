"""The setting device, and a daemon whose device fails."""

import os
import subprocess
import tempfile
import unittest
from unittest import mock

from daemon_process import BINARY, MODEL, TIMEOUT_S, Daemon

FAILPOINTS_BINARY = os.environ["CONDENSED_FAILPOINTS_BINARY"]


class FailingDaemon(Daemon):
    """A daemon in which failures of the device are planted."""

    def __init__(self, failpoints: str, *flags: str) -> None:
        self.failpoints = failpoints
        super().__init__("--device", "cpu", *flags)

    def command(self) -> list[str]:
        return [FAILPOINTS_BINARY, *super().command()[1:]]

    def start(self) -> subprocess.Popen:
        with mock.patch.dict(os.environ, {"CONDENSED_FAILPOINTS": self.failpoints}):
            return super().start()


def check(*flags: str) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory(prefix="condensed-e2e-") as folder:
        command = [BINARY, "--model", MODEL, "--socket", f"{folder}/socket", "--check", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)


class Setting(unittest.TestCase):
    def test_an_unknown_device_is_refused(self):
        result = check("--device", "gpu")
        self.assertEqual(result.returncode, 2)
        self.assertIn('--device: expected cpu, cuda, cuda:N or auto, found "gpu"', result.stderr)

    def test_the_log_says_where_and_why(self):
        result = check("--device", "cpu")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("computing on the processor, as device says", result.stderr)
        result = check()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, "computing on (the processor: .+|cuda:[0-9]+ .+ sessions of .+ each)")

    def test_a_device_that_is_not_there_is_refused(self):
        result = check("--device", "cuda:99")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "device cuda(:99: there is none of that number| cannot be used: .+device = .cpu.)")
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)


def greedy(session: str, **options) -> dict:
    return {"op": "generate", "session": session, "temperature": 0, "ignore_eos": True, **options}


class Failure(unittest.TestCase):
    def daemon(self, failpoints: str, *flags: str) -> Daemon:
        daemon = FailingDaemon(failpoints, *flags)
        self.addCleanup(daemon.clean_up)
        return daemon

    def generated(self, connection, request) -> tuple[list[int], dict]:
        connection.send(**request)
        events = connection.until("done", "error")
        return [event["token"] for event in events if event["event"] == "token"], events[-1]

    def test_generations_go_on_after_each_failure(self):
        prompt = {"op": "open", "session": "s", "text": "It was a dark and stormy night"}
        whole = self.daemon("").connect()
        whole.call(**prompt)
        expected, _ = self.generated(whole, greedy("s", max_tokens=150))

        daemon = self.daemon("step=fail/every:60")
        connection = daemon.connect()
        self.assertEqual(connection.call(**prompt)["event"], "opened")
        tokens, done = self.generated(connection, greedy("s", max_tokens=150))
        failures = 0
        while done["reason"] == "failed":
            failures += 1
            self.assertTrue(done["resumable"])
            self.assertIn("session 's': it stays as it is, at position", done["message"])
            more, done = self.generated(connection, {"op": "generate", "session": "s", "resume": True})
            tokens += more
        self.assertEqual(done["reason"], "length", done)
        self.assertEqual(tokens, expected)
        self.assertGreaterEqual(failures, 2)
        self.assertIn(f"condensed_device_failures_total {failures}", connection.call(op="metrics")["text"])
        self.assertEqual(daemon.stop(), 0, daemon.log_text())
        self.assertIn("1 sessions stay as they are, 0 go back to what is on disk, 0 are lost", daemon.log_text())

    def test_input_under_which_the_device_fails_again_is_dropped(self):
        daemon = self.daemon("step=fail")
        connection = daemon.connect()
        connection.call(op="open", session="s")
        position = connection.call(op="stat", session="s")["position"]
        refused = connection.call(op="append", session="s", text="It was a dark and stormy night")
        self.assertEqual((refused["event"], refused["code"]), ("error", "device_failed"))
        self.assertNotIn("retry_after_ms", refused)
        self.assertEqual(connection.call(op="stat", session="s")["position"], position)
        self.assertIn("condensed_device_failures_total 2", connection.call(op="metrics")["text"])
        self.assertEqual(daemon.stop(), 0, daemon.log_text())

    def test_a_device_that_stays_away_ends_the_daemon_with_sessions_saved(self):
        with tempfile.TemporaryDirectory(prefix="condensed-e2e-") as folder:
            daemon = self.daemon("step=fail/every:60;restart=fail", "--state-dir", folder, "--snapshots", "never")
            connection = daemon.connect()
            connection.call(op="open", session="s", text="It was a dark and stormy night")
            tokens, done = self.generated(connection, greedy("s", max_tokens=150))
            self.assertEqual((done["reason"], done["resumable"]), ("failed", True))
            self.assertEqual(connection.until("bye")[-1]["reason"], "shutdown")
            self.assertEqual(daemon.process.wait(TIMEOUT_S), 3, daemon.log_text())
            self.assertIn("could not be used again", daemon.log_text())

            later = self.daemon("", "--state-dir", folder, "--snapshots", "never").connect()
            self.assertTrue(later.call(op="stat", session="s")["interrupted"])
            more, done = self.generated(later, {"op": "generate", "session": "s", "resume": True})
            self.assertEqual((done["reason"], len(tokens) + len(more)), ("length", 150))


if __name__ == "__main__":
    unittest.main()
