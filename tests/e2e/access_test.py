"""Whose sessions are whose, and who may connect."""

import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from daemon_process import BINARY, MODEL, TIMEOUT_S, Connection, DaemonTest

sys.path.insert(0, os.environ["CONDENSED_PYTHON_CLIENT"])
import condensed  # noqa: E402

CTL = os.environ["CONDENSECTL_BINARY"]
ALICE, BOB, ADMINS = 30001, 30002, 30003  # ids that no user need have
AS_ROOT = unittest.skipUnless(os.geteuid() == 0, "needs root: acts as several users")


def as_user(user: int, action, groups: tuple[int, ...] = ()):
    """What the action returns (as JSON) when a process of this user runs it."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            os.write(write_end, json.dumps(action()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        result = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        raise AssertionError(f"what ran as user {user} failed")
    return json.loads(result)


class Access(DaemonTest):
    flags = ("--socket-mode", "0666", "--admin-group", str(ADMINS), "--prefill", "serial")

    def setUp(self) -> None:
        super().setUp()
        os.chmod(self.daemon.folder.name, 0o711)

    def calls(self, *requests: dict) -> list[dict]:
        """The answers to requests on a connection of the process that calls."""
        connection = Connection(self.daemon.socket_path)
        try:
            return [connection.call(**request) for request in requests]
        finally:
            connection.close()

    def codes(self, *requests: dict) -> list[str]:
        return [answer.get("code", answer["event"]) for answer in self.calls(*requests)]

    @AS_ROOT
    def test_nobody_sees_or_touches_the_sessions_of_others(self):
        opened, = as_user(ALICE, lambda: self.calls({"op": "open", "session": "diary", "text": "Dear diary"}))
        self.assertEqual(opened["event"], "opened")
        touching = [{"op": op, "session": "diary"} for op in ("append", "generate", "cancel", "attach", "detach", "stat",
                                                              "close", "save", "fork", "rename", "undo", "export")]
        touching[0]["text"] = "x"
        touching[-3]["to"] = "x"
        touching[-2]["tokens"] = 1
        self.assertEqual(as_user(BOB, lambda: self.codes(*touching)), ["unknown_session"] * len(touching))
        listed, = as_user(BOB, lambda: self.calls({"op": "list"}))
        self.assertEqual(listed["sessions"], [])
        named = [{**request, "user": ALICE} for request in touching]
        named += [{"op": "list", "user": user} for user in ("*", ALICE, str(ALICE), "root", "no-such-user")]
        named.append({"op": "open", "session": "planted", "user": ALICE})
        self.assertEqual(as_user(BOB, lambda: self.codes(*named)), ["forbidden"] * len(named))
        mine, = as_user(ALICE, lambda: self.calls({"op": "list"}))
        self.assertEqual([(s["session"], s["user"], s["position"]) for s in mine["sessions"]],
                         [("diary", ALICE, opened["position"])])

    @AS_ROOT
    def test_names_are_each_users_own(self):
        for user, text in ((ALICE, "one"), (BOB, "rather more than one")):
            as_user(user, lambda: self.calls({"op": "open", "session": "a", "text": text}))
        positions = [as_user(user, lambda: self.calls({"op": "stat", "session": "a"}))[0]["position"]
                     for user in (ALICE, BOB)]
        self.assertLess(*positions)
        as_user(ALICE, lambda: self.calls({"op": "close", "session": "a"}))
        self.assertEqual(as_user(BOB, lambda: self.codes({"op": "stat", "session": "a"})), ["stat"])
        self.assertEqual(as_user(BOB, lambda: self.codes({"op": "stat", "session": "a", "user": BOB})), ["stat"])

    def check_administrator(self, run) -> None:
        """run: makes calls as an administrator."""
        for user in (ALICE, BOB):
            as_user(user, lambda: self.calls({"op": "open", "session": "a", "text": "Dear diary"}))
        listed = run({"op": "list", "user": "*"})[0]["sessions"]
        self.assertEqual([(s["user"], s["session"]) for s in listed], [(ALICE, "a"), (BOB, "a")])
        self.assertEqual(run({"op": "list"})[0]["sessions"], [])
        answers = run({"op": "open", "session": "b", "user": ALICE}, {"op": "rename", "session": "a", "to": "c", "user": ALICE},
                      {"op": "close", "session": "a", "user": BOB}, {"op": "stat", "session": "c"},
                      {"op": "stat", "session": "c", "user": "*"}, {"op": "list", "user": "no-such-user"})
        self.assertEqual([answer.get("code", answer["event"]) for answer in answers],
                         ["opened", "renamed", "closed", "unknown_session", "bad_request", "bad_request"])
        self.assertIn("there is no user no-such-user", answers[-1]["message"])
        mine, = as_user(ALICE, lambda: self.calls({"op": "list"}))
        self.assertEqual([s["session"] for s in mine["sessions"]], ["b", "c"])

    @AS_ROOT
    def test_root_may_use_everybodys(self):
        self.check_administrator(self.calls)

    @AS_ROOT
    def test_the_administrators_group_may_use_everybodys(self):
        self.check_administrator(lambda *requests: as_user(BOB + 10, lambda: self.calls(*requests), (ADMINS,)))

    @AS_ROOT
    def test_clients_say_whose_sessions(self):
        for user in (ALICE, BOB):
            as_user(user, lambda: self.calls({"op": "open", "session": f"of-{user}", "text": "Dear diary"}))
        ctl = [CTL, "--socket", self.daemon.socket_path]

        def run(*arguments: str) -> str:
            return subprocess.run([*ctl, *arguments], check=True, capture_output=True, text=True, timeout=TIMEOUT_S,
                                  stdin=subprocess.DEVNULL).stdout

        everybodys = [line.split() for line in run("--user", "*", "sessions").splitlines()]
        self.assertEqual([line[:2] for line in everybodys],
                         [["SESSION", "USER"], [f"of-{ALICE}", str(ALICE)], [f"of-{BOB}", str(BOB)]])
        alices = [line.split() for line in run("--user", str(ALICE), "sessions").splitlines()]
        self.assertEqual([line[0] for line in alices], ["SESSION", f"of-{ALICE}"])
        self.assertNotIn("USER", alices[0])
        top = run("--user", "*", "top", "--once", "--interval", "0.05").splitlines()
        self.assertEqual([line.split()[:2] for line in top[-3:]],
                         [["SESSION", "USER"], [f"of-{ALICE}", str(ALICE)], [f"of-{BOB}", str(BOB)]])
        generate = ("generate", "--session", f"of-{ALICE}", "--max-tokens", "5", "--ignore-eos")
        self.assertGreater(len(run("--user", str(ALICE), *generate)), 0)
        run("--user", str(ALICE), "close", f"of-{ALICE}")
        with condensed.Client(self.daemon.socket_path, user="*") as client:
            self.assertEqual([s["session"] for s in client.list()], [f"of-{BOB}"])
            self.assertEqual((client.ping()["event"], client.stat()["sessions"]), ("pong", 1))
        with condensed.Client(self.daemon.socket_path, user=BOB) as client:
            self.assertEqual(client.stat(f"of-{BOB}")["user"], BOB)
            self.assertEqual(client.export_session(f"of-{BOB}")[:8], b"CONDSNAP")

    def test_one_may_name_oneself(self):
        me = os.geteuid()
        self.assertEqual(self.codes({"op": "open", "session": "a", "user": me}, {"op": "stat", "session": "a"},
                                    {"op": "list", "user": str(me)}, {"op": "list", "user": -1},
                                    {"op": "list", "user": ""}, {"op": "list", "user": True}),
                         ["opened", "stat", "list", "bad_request", "bad_request", "bad_request"])

    @unittest.skipIf(os.geteuid() == 0, "needs an ordinary user: root may use everybody's sessions")
    def test_others_are_not_for_an_ordinary_user(self):
        self.assertEqual(self.codes({"op": "list", "user": "*"}, {"op": "list", "user": 0}, {"op": "list", "user": "root"}),
                         ["forbidden"] * 3)


class SocketAccess(unittest.TestCase):
    def start_failing(self, *flags: str) -> str:
        with tempfile.TemporaryDirectory(prefix="condensed-access-") as folder:
            result = subprocess.run([BINARY, "--model", MODEL, "--socket", str(Path(folder) / "socket"), *flags],
                                    capture_output=True, text=True, timeout=TIMEOUT_S)
            self.assertEqual(list(Path(folder).iterdir()), [])
        self.assertEqual(result.returncode, 1)
        return result.stderr

    def test_names_that_nobody_has(self):
        for key in ("socket-owner", "socket-group", "admin-group"):
            self.assertIn(key.replace("-", "_"), self.start_failing(f"--{key}", "no-such-one"))

    @unittest.skipIf(os.geteuid() == 0, "needs an ordinary user: root may give the socket away")
    def test_an_ordinary_user_cannot_give_the_socket_away(self):
        self.assertIn("cannot give it to its owner and group", self.start_failing("--socket-owner", "root"))


class SocketOfItsOwner(DaemonTest):
    flags = ("--socket-owner", str(ALICE), "--socket-group", str(ADMINS), "--socket-mode", "0660")

    @classmethod
    def setUpClass(cls) -> None:
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root: gives the socket to another user")

    def test_owner_group_and_mode_are_those_of_the_configuration(self):
        status = os.stat(self.daemon.socket_path)
        self.assertEqual((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)), (ALICE, ADMINS, 0o660))
        os.chmod(self.daemon.folder.name, 0o711)

        def may_connect() -> bool:
            try:
                Connection(self.daemon.socket_path).close()
                return True
            except PermissionError:
                return False

        self.assertTrue(as_user(ALICE, may_connect))
        self.assertTrue(as_user(BOB, may_connect, (ADMINS,)))
        self.assertFalse(as_user(BOB, may_connect))


if __name__ == "__main__":
    unittest.main()
