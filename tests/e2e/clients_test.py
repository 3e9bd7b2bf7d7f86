"""condensectl and the Python client against the real daemon."""

import json
import os
import signal
import subprocess
import sys
import unittest

from daemon_process import TIMEOUT_S, DaemonTest

sys.path.insert(0, os.environ["CONDENSED_PYTHON_CLIENT"])
import condensed  # noqa: E402

CTL = os.environ["CONDENSECTL_BINARY"]
GREEDY = ("--temperature", "0", "--ignore-eos")


class Condensectl(DaemonTest):
    flags = ("--replay-bytes", "16777216")

    def run_ctl(self, *arguments, code=0, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run([CTL, "--socket", self.daemon.socket_path, *arguments], capture_output=True, text=True,
                                timeout=TIMEOUT_S, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def events(self, *arguments, **options):
        return [json.loads(line) for line in self.run_ctl("--json", *arguments, **options).stdout.splitlines()]

    def test_generate_prints_the_text_and_cleans_up(self):
        result = self.run_ctl("--verbose", "generate", "--prompt", "It was", "--max-tokens", "40", *GREEDY)
        self.assertGreater(len(result.stdout), 40)
        self.assertIn("40 tokens", result.stderr)
        events = self.events("generate", "--prompt", "It was", "--max-tokens", "40", *GREEDY)
        self.assertEqual("".join(e["text"] for e in events if e["event"] in ("token", "done")), result.stdout)
        self.assertEqual(self.events("sessions")[0]["sessions"], [])

    def test_the_prompt_may_come_through_a_pipe(self):
        options = ("generate", "--max-tokens", "20", *GREEDY)
        piped = subprocess.run([CTL, "--socket", self.daemon.socket_path, *options], input="It was", text=True,
                               capture_output=True, timeout=TIMEOUT_S)
        self.assertEqual(piped.stdout, self.run_ctl(*options, "--prompt", "It was").stdout)

    def test_append_stat_sessions_and_close(self):
        book = "One more sentence of a rather long book. " * 2000  # several appends
        process = subprocess.run([CTL, "--socket", self.daemon.socket_path, "append", "--session", "book"], input=book,
                                 text=True, capture_output=True, timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 0, process.stderr)
        stat = self.events("stat", "book")[0]
        self.assertIn(f"position {stat['position']}", process.stdout)
        self.assertEqual(stat["cached"], 128)
        self.assertIn("book", self.run_ctl("sessions").stdout)
        self.assertIn("resident_bytes", self.run_ctl("stat").stdout)
        self.run_ctl("close", "book")
        self.assertIn("unknown_session", self.run_ctl("stat", "book", code=1).stderr)

    def test_interrupting_cancels_the_generation_and_not_the_session(self):
        process = subprocess.Popen([CTL, "--socket", self.daemon.socket_path, "generate", "--session", "s"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(200)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130)
        stat = self.events("stat", "s")[0]
        self.assertFalse(stat["generating"])
        self.assertGreater(stat["position"], 10)

    def test_a_closed_pipe_cancels_quietly(self):
        process = subprocess.Popen([CTL, "--socket", self.daemon.socket_path, "generate", "--session", "s"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(100)
        process.stdout.close()
        self.assertEqual(process.wait(TIMEOUT_S), 0)
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        self.assertFalse(self.events("stat", "s")[0]["generating"])

    def test_a_refused_generation_leaves_no_session_behind(self):
        self.run_ctl("generate", "--prompt", "It was", "--top-p", "7", code=1)
        self.run_ctl("generate", "--prompt", "It was", "--logit-bias", "1=x", code=2)
        self.assertEqual(self.events("sessions")[0]["sessions"], [])

    def test_chat_answers_every_line(self):
        process = subprocess.run([CTL, "--socket", self.daemon.socket_path, "--json", "chat", "--max-tokens", "5",
                                  "--ignore-eos"], input="Hello\nAnd you?\n", text=True, capture_output=True,
                                 timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 0, process.stderr)
        done = [e for e in map(json.loads, process.stdout.splitlines()) if e["event"] == "done"]
        self.assertEqual([e["usage"]["completion_tokens"] for e in done], [5, 5])

    def test_attach_watches_to_the_end(self):
        owner = self.connect()
        owner.call(op="open", session="s")
        watcher = subprocess.Popen([CTL, "--socket", self.daemon.socket_path, "--json", "attach", "s"],
                                   stdout=subprocess.PIPE, text=True)
        self.assertEqual(json.loads(watcher.stdout.readline())["event"], "attached")
        owner.send(op="generate", session="s", max_tokens=50, ignore_eos=True)
        out, _ = watcher.communicate(timeout=TIMEOUT_S)
        self.assertEqual(watcher.returncode, 0)
        self.assertEqual([json.loads(line)["event"] for line in out.splitlines()], ["token"] * 50 + ["done"])

    def test_a_detached_generation_is_come_back_to(self):
        options = ("--max-tokens", "40", *GREEDY)
        whole = self.run_ctl("generate", "--prompt", "It was", *options).stdout
        session = self.run_ctl("generate", "--detach", "--prompt", "It was", *options).stdout.strip()
        while self.events("stat", session)[0]["generating"]:
            pass
        end = self.events("stat", session)[0]["position"]
        self.assertEqual(self.run_ctl("attach", session, "--from", str(end - 40)).stdout, whole)
        events = self.events("attach", session, "--from", str(end))
        self.assertEqual([e["event"] for e in events], ["attached", "done"])
        self.assertEqual(events[0]["replayed"], 1)
        gone = self.run_ctl("attach", session, "--from", "0", code=1).stderr
        self.assertIn("replay_gone", gone)
        self.assertIn(f"from {end - 40} on", gone)
        self.run_ctl("generate", "--detach", "--session", session, "--top-p", "7", code=1)
        self.run_ctl("close", session)

    def test_an_endless_detached_generation_is_watched_and_cancelled(self):
        session = self.run_ctl("generate", "--detach", "--session", "s", "--prompt", "It was").stdout.strip()
        self.assertEqual(session, "s")
        self.assertIn("session_busy", self.run_ctl("generate", "--detach", "--session", "s", code=1).stderr)
        position = self.events("stat", "s")[0]["position"]
        watcher = subprocess.Popen([CTL, "--socket", self.daemon.socket_path, "--json", "attach", "s", "--from",
                                    str(position)], stdout=subprocess.PIPE, text=True)
        seen = [json.loads(watcher.stdout.readline()) for _ in range(200)]
        self.assertEqual([e["position"] for e in seen[1:]], list(range(position, position + 199)))
        self.run_ctl("cancel", "s")
        last = json.loads(watcher.communicate(timeout=TIMEOUT_S)[0].splitlines()[-1])
        self.assertEqual((last["event"], last["reason"]), ("done", "cancelled"))
        self.assertEqual(watcher.returncode, 0)

    def test_exit_codes(self):
        self.assertEqual(self.run_ctl("ping").stdout, "pong\n")
        self.run_ctl("no-such-command", code=2)
        for bias in ("x", "5=", "5=1x", "=1"):
            self.assertIn("--logit-bias", self.run_ctl("generate", "--logit-bias", bias, code=2).stderr)
        self.assertIn("top_p", self.run_ctl("generate", "--top-p", "7", code=1).stderr)
        lost = subprocess.run([CTL, "--socket", self.daemon.socket_path + "x", "ping"], capture_output=True)
        self.assertEqual(lost.returncode, 3)


class PythonClient(DaemonTest):
    def test_generate_yields_tokens_and_the_end(self):
        with condensed.Client(self.daemon.socket_path) as client:
            client.open("s", text="It was a dark night")
            events = list(client.generate("s", max_tokens=30, ignore_eos=True, seed=1))
            self.assertEqual([e["event"] for e in events], ["token"] * 30 + ["done"])
            self.assertEqual(client.stat("s")["position"], events[-1]["position"])
            self.assertEqual([s["session"] for s in client.list()], ["s"])
            self.assertEqual(client.append("s", " and then")["event"], "appended")
            client.close("s")
            with self.assertRaises(condensed.RequestFailed) as raised:
                client.stat("s")
            self.assertEqual(raised.exception.code, "unknown_session")

    def test_a_line_the_daemon_cannot_read_is_an_error(self):
        with condensed.Client(self.daemon.socket_path) as client:
            client.open("s")
            with self.assertRaises(condensed.RequestFailed) as raised:
                client.append("s", "x" * (64 << 20))
            self.assertEqual(raised.exception.code, "line_too_long")
            self.assertEqual(client.ping()["event"], "pong")

    def test_leaving_the_iterator_cancels(self):
        with condensed.Client(self.daemon.socket_path) as client:
            client.open("s")
            for event in client.generate("s"):
                if event["position"] > 20:
                    break
            self.assertFalse(client.stat("s")["generating"])
            self.assertEqual(client.ping()["event"], "pong")

    def test_watching_another_client(self):
        with condensed.Client(self.daemon.socket_path) as owner, condensed.Client(self.daemon.socket_path) as watcher:
            owner.open("s")
            watcher.attach("s")
            tokens = [e["token"] for e in owner.generate("s", max_tokens=20, ignore_eos=True) if e["event"] == "token"]
            seen = []
            for event in watcher.watch():
                if event["event"] == "done":
                    break
                seen.append(event["token"])
            self.assertEqual(seen, tokens)

    def test_coming_back_to_a_detached_generation(self):
        with condensed.Client(self.daemon.socket_path) as client:
            position = client.open("s", text="It was")["position"]
            client.generate_detached("s", max_tokens=20, ignore_eos=True)
            with self.assertRaises(condensed.RequestFailed) as raised:
                client.generate_detached("s", top_p=7)
            self.assertEqual(raised.exception.code, "bad_request")
        with condensed.Client(self.daemon.socket_path) as client:
            client.attach("s", from_position=position)
            seen = []
            for event in client.watch():
                seen.append(event["position"])
                if event["event"] == "done":
                    break
            self.assertEqual(seen, list(range(position, position + 21)))

    def test_an_error_names_the_limit(self):
        with condensed.Client(self.daemon.socket_path) as client:
            client.open("s")
            with self.assertRaises(condensed.RequestFailed) as raised:
                client.append("s", tokens=[1] * 2_200_000)
            self.assertEqual((raised.exception.limit, raised.exception.retry_after_ms), ("max_line_bytes", None))

    def test_the_daemon_going_away_is_an_error(self):
        client = condensed.Client(self.daemon.socket_path)
        client.ping()
        self.daemon.stop()
        with self.assertRaises(condensed.ConnectionLost):
            client.ping()
            client.ping()
        client.disconnect()
        with self.assertRaises(condensed.ConnectionLost):
            condensed.Client(self.daemon.socket_path)


if __name__ == "__main__":
    unittest.main()
