"""Sessions that outlive the daemon, move to another, are copied and go back: condensectl and the Python client."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from daemon_process import BINARY, MODEL, TIMEOUT_S, Connection, Daemon

sys.path.insert(0, os.environ["CONDENSED_PYTHON_CLIENT"])
import condensed  # noqa: E402

CTL = os.environ["CONDENSECTL_BINARY"]
TEXT = "It was a dark and stormy night, and the captain stood upon the deck of the old ship. "
GREEDY = {"temperature": 0, "ignore_eos": True}


class SnapshotTest(unittest.TestCase):
    """Each test has a state folder and a daemon that keeps its sessions there. Prompts are read token by token, so
    that equal streams have equal caches."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="condensed-state-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.state = self.folder / "state"
        self.daemon = self.start("--state-dir", str(self.state))

    def start(self, *flags: str) -> Daemon:
        daemon = Daemon("--prefill", "serial", *flags)
        self.addCleanup(daemon.clean_up)
        return daemon

    def replace_daemon(self, *flags: str) -> None:
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_text())
        self.daemon = self.start("--state-dir", str(self.state), *flags)

    def restart(self) -> None:
        self.assertEqual(self.daemon.restart(), 0, self.daemon.log_text())

    def client(self, daemon: Daemon | None = None) -> condensed.Client:
        client = condensed.Client((daemon or self.daemon).socket_path)
        self.addCleanup(client.disconnect)
        return client

    def connect(self) -> Connection:
        return self.daemon.connect()

    def ctl(self, *arguments: str, code: int = 0, daemon: Daemon | None = None, **options) -> subprocess.CompletedProcess:
        options.setdefault("text", True)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run([CTL, "--socket", (daemon or self.daemon).socket_path, *arguments],
                                capture_output=True, timeout=TIMEOUT_S, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.state / "sessions").iterdir())

    def refusal(self, call, *arguments, **options) -> condensed.RequestFailed:
        with self.assertRaises(condensed.RequestFailed) as raised:
            call(*arguments, **options)
        return raised.exception


def tokens(client: condensed.Client, session: str, n: int, **options) -> list[int]:
    events = client.generate(session, max_tokens=n, **(options or GREEDY))
    return [event["token"] for event in events if event["event"] == "token"]


class Restart(SnapshotTest):
    def test_sessions_are_there_and_go_on_as_if_nothing_had_happened(self):
        client = self.client()
        client.open("whole", text=TEXT * 10, sinks=2, window=60)
        whole = tokens(client, "whole", 60)
        client.open("cut", text=TEXT * 10, sinks=2, window=60)
        cut = tokens(client, "cut", 20)
        before = client.stat("cut")
        self.restart()
        client = self.client()
        self.assertEqual([s["session"] for s in client.list()], ["cut", "whole"])
        asleep = client.stat("cut")
        self.assertEqual((asleep["state"], asleep["cache_bytes"]), ("asleep", 0))
        self.assertEqual(asleep["saved_position"], before["position"])
        self.assertGreater(asleep["snapshot_bytes"], 1000)
        for key in ("position", "cached", "evictions", "sinks", "window", "cache_bytes_max"):
            self.assertEqual(asleep[key], before[key], key)
        self.assertEqual(cut + tokens(client, "cut", 40), whole)
        self.assertEqual(client.stat("cut")["state"], "resting")

    def test_an_interrupted_generation_goes_on_with_its_own_seed(self):
        command = [CTL, "--socket", self.daemon.socket_path, "generate", "--session", "cut"]
        options = ("--prompt", TEXT, "--seed", "7")
        # Unbuffered: communicate() would leave out what a buffer holds.
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
        cut = subprocess.Popen([*command, *options], **pipes)  # endless: it is not waited for
        text = cut.stdout.read(300)
        self.client().open("twin", text=TEXT)
        self.restart()
        rest, error = cut.communicate(timeout=TIMEOUT_S)
        self.assertEqual(cut.returncode, 3)
        self.assertIn(b"generate --session cut --resume goes on", error)
        shown = self.ctl("sessions").stdout.splitlines()
        self.assertIn("asleep, interrupted", next(line for line in shown if line.startswith("cut ")))
        self.assertNotIn("interrupted", next(line for line in shown if line.startswith("twin ")))
        resumed = subprocess.Popen([*command, "--resume"], **pipes)
        text += rest + resumed.stdout.read(300)
        resumed.send_signal(signal.SIGINT)
        text += resumed.communicate(timeout=TIMEOUT_S)[0]
        self.assertEqual(resumed.returncode, 130)
        twin = b""
        for event in self.client().generate("twin", seed=7):
            twin += event["text"].encode()
            if len(twin) > len(text):
                break
        self.assertEqual(twin[:len(text)], text)
        self.assertIn("nothing_to_resume", self.ctl("generate", "--session", "cut", "--resume", code=1).stderr)

    def test_done_says_that_it_can_be_resumed(self):
        connection = self.connect()
        connection.call(op="open", session="s", text=TEXT)
        connection.send(op="generate", session="s", seed=3)  # endless: it is not waited for
        first = connection.tokens(50)
        self.restart()
        events = connection.until("bye")
        done = events[-2]
        self.assertEqual((done["event"], done["reason"], done["resumable"]), ("done", "shutdown", True))
        seen = [e["token"] for e in first + events if e["event"] == "token"]
        client = self.client()
        client.open("twin", text=TEXT)
        twin = tokens(client, "twin", len(seen) + 30, seed=3, ignore_eos=True)
        self.assertTrue(client.stat("s")["interrupted"])
        for event in client.resume("s"):
            seen.append(event["token"])
            if len(seen) == len(twin):
                break
        self.assertEqual(seen, twin)

    def test_a_generation_with_an_end_is_waited_for(self):
        self.replace_daemon("--drain-timeout-ms", str(TIMEOUT_S * 1000))
        connection = self.connect()
        connection.call(op="open", session="s", text=TEXT)
        connection.send(op="generate", session="s", max_tokens=200, ignore_eos=True)
        connection.tokens(1)
        self.restart()
        done = connection.until("bye")[-2]
        self.assertEqual((done["event"], done["reason"]), ("done", "length"))
        self.assertNotIn("resumable", done)

    def test_a_resumption_may_be_detached_and_takes_no_options(self):
        client = self.client()
        client.open("s", text=TEXT)
        client.generate_detached("s")
        self.restart()
        refused = self.refusal(next, self.client().generate("s", resume=True, top_k=3))
        self.assertIn('unknown key "top_k"', str(refused))
        self.ctl("generate", "--session", "s", "--resume", "--top-k", "3", code=2)
        self.ctl("generate", "--resume", code=2)
        self.assertEqual(self.ctl("generate", "--session", "s", "--resume", "--detach").stdout, "s\n")
        self.assertEqual(self.client().stat("s")["state"], "generating")
        self.ctl("cancel", "s")
        self.restart()  # a refusal comes after the session has woken, and is not missed
        self.assertIn("nothing_to_resume",
                      self.ctl("generate", "--session", "s", "--resume", "--detach", code=1).stderr)
        self.assertIn("unknown_session", self.ctl("generate", "--session", "none", "--resume", code=1).stderr)

    def test_what_was_answered_or_saved_survives_a_kill(self):
        self.replace_daemon("--snapshots", "on_append")
        client = self.client()
        appended = client.append(client.open("s")["session"], TEXT)
        self.kill_and_replace("--snapshots", "never")
        client = self.client()
        self.assertEqual(client.stat("s")["position"], appended["position"])
        client.append("s", TEXT)
        saved = self.ctl("--json", "save", "s")
        event = json.loads(saved.stdout)
        self.assertEqual((event["event"], event["position"]), ("saved", client.stat("s")["position"]))
        self.assertEqual(event["bytes"], client.stat("s")["snapshot_bytes"])
        client.append("s", "lost")
        self.kill_and_replace()
        self.assertEqual(self.client().stat("s")["position"], event["position"])

    def kill_and_replace(self, *flags: str) -> None:
        self.daemon.process.kill()
        self.daemon.process.wait(TIMEOUT_S)
        self.daemon = self.start("--state-dir", str(self.state), *flags)

    def test_a_damaged_file_costs_its_session_and_says_so(self):
        client = self.client()
        for name in ("good", "header", "cache"):
            client.open(name, text=TEXT)
        self.assertEqual(self.daemon.stop(), 0)
        for name, place in (("header", 3), ("cache", -3)):
            path = self.state / "sessions" / f"{os.geteuid()}.{name}.snapshot"
            content = bytearray(path.read_bytes())
            content[place] ^= 1
            path.write_bytes(content)
        self.daemon.process = self.daemon.start()
        client = self.client()
        self.assertEqual([s["session"] for s in client.list()], ["cache", "good"])  # the header was looked at
        refused = self.refusal(client.append, "cache", TEXT)
        self.assertEqual(refused.code, "snapshot_refused")
        self.assertIn("its cache is damaged (checksum)", str(refused))
        self.assertEqual(self.refusal(client.stat, "cache").code, "unknown_session")
        self.assertEqual(client.append("good", TEXT)["event"], "appended")
        set_aside = sorted(path.name for path in (self.state / "set-aside").iterdir())
        self.assertEqual(set_aside, [f"{os.geteuid()}.{name}.snapshot" for name in ("cache", "header")])
        self.assertIn("does not begin as a snapshot does", self.daemon.log_text())

    def test_a_folder_has_one_daemon_and_is_nobody_elses_business(self):
        self.client().open("s", text=TEXT)
        self.client().save("s")
        for name in ("sessions", "set-aside"):
            self.assertEqual(stat.S_IMODE((self.state / name).stat().st_mode), 0o700)
        second = subprocess.run([BINARY, "--model", MODEL, "--socket", str(self.folder / "other"), "--state-dir",
                                 str(self.state)], capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(second.returncode, 1)
        self.assertIn("another daemon uses it; give each its own (state_dir)", second.stderr)

    def test_closing_deletes_the_file(self):
        client = self.client()
        client.open("s", text=TEXT)
        client.save("s")
        self.assertEqual(self.files(), [f"{os.geteuid()}.s.snapshot"])
        client.close("s")
        self.assertEqual(self.files(), [])


class Sleep(SnapshotTest):
    def asleep(self, client: condensed.Client, session: str) -> bool:
        return client.stat(session)["state"] == "asleep"

    def test_only_what_needs_the_session_wakes_it(self):
        self.replace_daemon("--max-resident-sessions", "1")
        client = self.client()
        client.open("a", text=TEXT)
        client.open("b", text=TEXT)  # takes the only place
        self.assertTrue(self.asleep(client, "a"))
        self.assertEqual(client.stat()["asleep"], 1)
        client.attach("a")
        client.detach("a")
        self.assertEqual(self.refusal(client.cancel, "a").code, "not_generating")
        saved = client.save("a")
        self.assertEqual(len(client.export_session("a")), saved["bytes"])
        client.rename("a", "c")
        self.assertTrue(self.asleep(client, "c"))
        self.assertFalse(self.asleep(client, "b"))
        for wake in (lambda s: client.open(s), lambda s: client.append(s, TEXT), lambda s: tokens(client, s, 3),
                     lambda s: client.undo(s, 1)):
            sleeping, = (s["session"] for s in client.list() if s["state"] == "asleep")
            wake(sleeping)
            self.assertFalse(self.asleep(client, sleeping))
        client.fork("b", "d")
        self.assertFalse(self.asleep(client, "d"))
        shown = self.ctl("sessions").stdout.splitlines()
        self.assertEqual(shown[0].split(),
                         ["SESSION", "POSITION", "CACHED", "WINDOW", "MEMORY", "DISK", "IDLE", "ATTACHED", "STATE"])
        self.assertEqual([line.split()[-1] for line in shown[1:]], ["asleep", "asleep", "resting"])
        states = [line.split()[1] for line in self.ctl("top", "--once", "--interval", "0.05").stdout.splitlines()[-3:]]
        self.assertEqual(states, ["resting", "asleep", "asleep"])
        client.close("c")  # asleep
        self.assertEqual([s["session"] for s in client.list()], ["b", "d"])

    def test_every_save_is_answered_before_its_session_sleeps(self):
        self.replace_daemon("--max-resident-sessions", "1", "--snapshots", "never")
        connection = self.connect()
        connection.call(op="open", session="a", text=TEXT)
        for request in ({"op": "save", "session": "a", "id": 1}, {"op": "save", "session": "a", "id": 2},
                        {"op": "open", "session": "b", "id": 3}):
            connection.send(**request)
        answers = {event["id"]: event["event"] for event in (connection.receive() for _ in range(3))}
        self.assertEqual(answers, {1: "saved", 2: "saved", 3: "opened"})

    def test_without_a_folder_there_is_nowhere_to_go(self):
        memory = self.start("--max-resident-sessions", "1")
        client = self.client(memory)
        client.open("s", text=TEXT)
        self.assertEqual(self.refusal(client.save, "s").code, "no_state_dir")
        self.assertIn("no_state_dir", self.ctl("save", "s", code=1, daemon=memory).stderr)
        for refused in (self.refusal(client.open, "t"), self.refusal(client.fork, "s", "t")):
            self.assertEqual((refused.code, refused.limit, refused.retry_after_ms),
                             ("memory_limit", "max_resident_sessions", 1000))
        self.assertEqual([s["session"] for s in client.list()], ["s"])
        self.assertNotIn("saved_position", client.stat("s"))
        connection = memory.connect()
        connection.send(op="generate", session="s")
        connection.tokens(5)
        memory.process.send_signal(signal.SIGTERM)
        done = connection.until("bye")[-2]
        self.assertEqual((done["event"], done["reason"]), ("done", "shutdown"))
        self.assertNotIn("resumable", done)


class Moving(SnapshotTest):
    def setUp(self) -> None:
        super().setUp()
        self.other = self.start()
        self.client().open("s", text=TEXT * 3)

    def test_a_session_moves_to_another_daemon(self):
        path = self.folder / "s.snapshot"
        self.ctl("export", "s", str(path))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(self.ctl("import", str(path), "--session", "moved", daemon=self.other).stdout, "moved\n")
        here, there = self.client(), self.client(self.other)
        self.assertEqual(there.stat("moved")["position"], here.stat("s")["position"])
        file = here.export_session("s")
        self.assertEqual(file, path.read_bytes())
        chosen = there.import_session(file)
        self.assertEqual((chosen["event"], chosen["position"]), ("imported", here.stat("s")["position"]))
        expected = tokens(here, "s", 30)
        self.assertEqual(tokens(there, "moved", 30), expected)
        self.assertEqual(tokens(there, chosen["session"], 30), expected)

    def test_a_file_longer_than_a_part(self):
        client = self.client()
        client.open("long", text=TEXT * 20, window=400)
        file = client.export_session("long")
        self.assertGreater(len(file), 2 * condensed.PART_BYTES)
        path = self.folder / "long.snapshot"
        self.ctl("export", "long", str(path))
        self.assertEqual(path.read_bytes(), file)
        self.assertEqual(self.ctl("import", str(path), "--session", "a", daemon=self.other).stdout, "a\n")
        there = self.client(self.other)
        there.import_session(file, "b")
        self.assertEqual(there.export_session("a"), file)
        self.assertEqual(tokens(there, "b", 10), tokens(client, "long", 10))

    def test_through_a_pipe(self):
        file = self.ctl("export", "s", "-", text=False).stdout
        self.assertEqual(file, self.client().export_session("s"))
        self.assertEqual(self.ctl("import", "-", "--session", "t", input=file, text=False).stdout, b"t\n")

    def test_one_that_generates_is_moved_with_its_generation(self):
        connection = self.connect()
        connection.send(op="generate", session="s", seed=5)
        connection.tokens(20)
        there = self.client(self.other)
        imported = there.import_session(self.client().export_session("s"), "s")
        self.assertTrue(there.stat("s")["interrupted"])
        event = next(there.resume("s"))
        here = [e for e in connection.tokens(event["position"]) if e["position"] == event["position"]]
        self.assertEqual([event["token"]], [e["token"] for e in here])
        self.assertEqual(event["position"], imported["position"])

    def test_a_damaged_file_is_refused_with_the_reason(self):
        file = self.client().export_session("s")
        path = self.folder / "damaged"
        for content, reason in ((file[:-1], "its cache takes"), (b"", "before its header does"),
                                (file[:-5] + bytes([file[-5] ^ 1]) + file[-4:], "its cache is damaged (checksum)"),
                                (b"x" + file[1:], "does not begin as a snapshot does")):
            path.write_bytes(content)
            error = self.ctl("import", str(path), "--session", "t", code=1).stderr
            self.assertIn("snapshot_refused", error)
            self.assertIn(reason, error)
            self.assertIn(reason, str(self.refusal(self.client().import_session, content)))
        self.ctl("import", str(self.folder / "none"), code=1)
        self.assertIn("session_exists", str(self.refusal(self.client().import_session, file, "s")))
        self.assertEqual([s["session"] for s in self.client().list()], ["s"])
        small = self.start("--cache", "q8")
        self.assertIn("its cache is kept as", str(self.refusal(self.client(small).import_session, file)))

    def test_a_refused_export_leaves_no_file_behind(self):
        self.assertIn("unknown_session", self.ctl("export", "none", str(self.folder / "x"), code=1).stderr)
        self.assertIn("is not a file", self.ctl("export", "s", str(self.folder), code=1).stderr)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["state"])

    def test_imports_are_bounded_together(self):
        bounded = self.start("--max-import-bytes", "4096")
        first, second = self.client(bounded), bounded.connect()
        part = condensed.base64.b64encode(b"x" * 3000).decode()
        self.assertEqual(second.call(op="import", data=part, more=True), {"event": "importing", "bytes": 3000,
                                                                          "id": "call"})
        refused = self.refusal(first.import_session, b"x" * 3000)
        self.assertEqual((refused.code, refused.limit, refused.retry_after_ms),
                         ("import_limit", "max_import_bytes", 1000))
        self.assertEqual(second.call(op="import", data="", more=True)["bytes"], 3000)
        self.assertEqual(second.call(op="import", data="")["code"], "snapshot_refused")
        self.assertEqual(self.refusal(first.import_session, b"x" * 3000).code, "snapshot_refused")
        self.assertEqual(second.call(op="import", data="x")["code"], "bad_request")


class Going(SnapshotTest):
    """fork, undo and rename."""

    def test_a_fork_goes_its_own_way(self):
        client = self.client()
        client.open("s", text=TEXT * 3)
        forked = client.fork("s", "t")
        self.assertEqual((forked["event"], forked["session"], forked["position"]),
                         ("forked", "t", client.stat("s")["position"]))
        self.assertEqual(client.stat("t")["attached"], 0)
        expected = tokens(client, "s", 30)
        self.assertEqual(tokens(client, "t", 30), expected)
        client.append("t", TEXT)
        self.assertNotEqual(client.stat("t")["position"], client.stat("s")["position"])
        chosen = self.ctl("fork", "s").stdout.strip()
        self.assertEqual(client.stat(chosen)["position"], client.stat("s")["position"])
        self.assertEqual(self.ctl("fork", "s", "--as", "u").stdout, "u\n")
        self.assertEqual(self.refusal(client.fork, "s", "t").code, "session_exists")

    def test_a_fork_of_one_that_generates_can_go_on_with_it(self):
        connection = self.connect()
        connection.call(op="open", session="s", text=TEXT)
        connection.send(op="generate", session="s", seed=11)
        connection.tokens(20)
        client = self.client()
        client.fork("s", "t")
        self.assertEqual((client.stat("t")["state"], client.stat("t")["interrupted"]), ("resting", True))
        event = next(client.resume("t"))
        original = [e for e in connection.tokens(event["position"]) if e["position"] == event["position"]]
        self.assertEqual([event["token"]], [e["token"] for e in original])

    def test_undo_makes_the_latest_tokens_not_have_come(self):
        client = self.client()
        client.open("s", text=TEXT * 10)  # past the window
        end = client.stat("s")["position"]
        expected = tokens(client, "s", 20)
        undone = client.undo("s", 20)
        self.assertEqual((undone["event"], undone["session"], undone["position"]), ("undone", "s", end))
        self.assertEqual(tokens(client, "s", 20), expected)
        self.assertEqual(self.ctl("undo", "s", "20").stdout, f"session s is at position {end}\n")
        self.assertEqual(self.refusal(client.undo, "s", 105).code, "undo_limit")  # 20 of 124 are gone already
        self.assertEqual(client.undo("s", 104)["position"], end - 104)
        self.assertEqual(self.refusal(client.undo, "s", 1).code, "undo_limit")

    def test_undo_of_everything_leaves_an_empty_stream(self):
        client = self.client()
        client.open("s", text=TEXT)
        self.assertEqual(self.refusal(client.undo, "s", client.stat("s")["position"] + 1).code, "undo_limit")
        self.assertEqual(client.undo("s", client.stat("s")["position"])["position"], 0)
        self.assertIn("no tokens", str(self.refusal(next, client.generate("s"))))
        client.append("s", TEXT)
        client.open("twin", text=TEXT, bos=False)
        self.assertEqual(tokens(client, "s", 10), tokens(client, "twin", 10))

    def test_undo_forgets_what_was_generated_for_clients_that_come_back(self):
        client = self.client()
        position = client.open("s", text=TEXT)["position"]
        tokens(client, "s", 10)
        client.undo("s", 5)
        self.assertEqual(self.refusal(client.attach, "s", from_position=position).code, "replay_gone")
        self.assertEqual(client.attach("s", from_position=position + 5)["replayed"], 0)

    def test_a_new_name_goes_with_those_who_are_attached(self):
        client, watcher = self.client(), self.connect()
        client.open("s", text=TEXT)
        client.save("s")
        watcher.call(op="attach", session="s")
        renamed = client.rename("s", "t")
        self.assertEqual((renamed["session"], renamed["from"]), ("t", "s"))
        self.assertEqual(self.files(), [f"{os.geteuid()}.t.snapshot"])
        expected = tokens(client, "t", 5)
        seen = watcher.until("done")
        self.assertEqual([e["session"] for e in seen], ["t"] * 6)
        self.assertEqual([e["token"] for e in seen[:-1]], expected)
        self.assertEqual(self.refusal(client.stat, "s").code, "unknown_session")
        client.open("s")
        self.assertEqual(self.refusal(client.rename, "s", "t").code, "session_exists")
        self.ctl("rename", "t", "u")
        self.assertEqual(sorted(s["session"] for s in client.list()), ["s", "u"])

    def test_a_running_generation_is_not_renamed_and_not_taken_back(self):
        client, owner = self.client(), self.connect()
        owner.call(op="open", session="s", text=TEXT)
        owner.send(op="generate", session="s")
        owner.tokens(1)
        self.assertEqual(self.refusal(client.rename, "s", "t").code, "session_busy")
        self.assertEqual(self.refusal(client.undo, "s", 1).code, "session_busy")
        self.assertEqual(client.save("s")["event"], "saved")

    def test_they_wait_for_the_input_that_came_before(self):
        connection = self.connect()
        connection.call(op="open", session="s", text=TEXT)
        connection.send(op="append", session="s", text=TEXT * 200)
        for op in ("save", "export"):
            connection.send(op=op, session="s", id=op)
        connection.send(op="fork", session="s", id="fork", **{"as": "t"})
        connection.send(op="undo", session="s", tokens=1, id="undo")
        connection.send(op="rename", session="s", to="u", id="rename")
        end = connection.until("appended")[-1]["position"]
        positions = {}
        while len(positions) < 5:
            event = connection.receive()
            if event["event"] != "chunk":
                positions[event["id"]] = event["position"]
        self.assertEqual(positions, {"save": end, "export": end, "fork": end, "undo": end - 1, "rename": end - 1})


if __name__ == "__main__":
    unittest.main()
