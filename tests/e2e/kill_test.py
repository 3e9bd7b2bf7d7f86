"""A daemon that is killed again and again keeps what it said that it keeps.

Sixteen clients append, generate, save, fork, rename and close on sessions of which few fit in memory, until SIGKILL.
After each restart every session is where it was promised to be or later, and goes on as the same tokens do on a
daemon that is never killed. CONDENSED_KILLS says how many times (default 25), CONDENSED_SEED repeats a run's choices."""

import contextlib
import os
import random
import tempfile
import threading
import time
import unittest
from pathlib import Path

from daemon_process import Daemon

N_KILLS = int(os.environ.get("CONDENSED_KILLS", "25"))
SEED = int(os.environ.get("CONDENSED_SEED", "1"))
N_CLIENTS = 16
MAX_RESIDENT = 6
CHECK_TOKENS = 8
VOCABULARY = 1024  # of the bundled model
POLICIES = ("on_append", "every_tokens=5", "on_idle=1", "on_append,every_tokens=20", "every_tokens=30,on_idle=20", "never")
GREEDY = {"temperature": 0}


class Unkept(AssertionError):
    """The daemon broke a promise."""


class Generation:
    """One that was asked for, and where in the stream its tokens stand."""

    def __init__(self, start, options, n):
        self.start = start
        self.end = start + n
        self.options = options
        self.done = False


class Session:
    """What a client knows of one session, and its twin, which holds a beginning of the same stream."""

    def __init__(self, name, window):
        self.name = name
        self.window = window
        self.twin = None
        self.twin_tokens = 0
        self.tokens = []  # of the stream, as far as known for certain
        self.unanswered = []  # tokens of an append without an answer
        self.generations = []
        self.promised = None  # a position at which it is on disk, at least
        self.names = [name]  # one of these it has
        self.rest = None  # tokens that an interrupted generation has yet to bring
        self.may_be_gone = False  # a close has no answer yet

    def promise(self, position):
        self.promised = max(position, self.promised or 0)


class Twins:
    """Sessions of a daemon that is never killed; one client's."""

    n_made = 0
    lock = threading.Lock()

    def __init__(self, connection):
        self.connection = connection

    def call(self, **request):
        answer = self.connection.call(**request)
        if answer["event"] == "error":
            raise RuntimeError(f"{request}: {answer}")
        return answer

    def new_name(self):
        with Twins.lock:
            Twins.n_made += 1
            return f"twin-{Twins.n_made}"

    def advance(self, session, tokens):
        """Brings the twin to these tokens, of which it holds a beginning."""
        if session.twin is None:
            session.twin = self.new_name()
            self.call(op="open", session=session.twin, window=session.window, bos=False)
        if len(tokens) > session.twin_tokens:
            self.call(op="append", session=session.twin, tokens=tokens[session.twin_tokens:])
            session.twin_tokens = len(tokens)

    def generate(self, session, tokens, options, n):
        """What the twin, brought to these tokens, would say; it stays where it is."""
        self.advance(session, tokens[:session.twin_tokens])
        passing = self.new_name()
        self.call(op="fork", session=session.twin, **{"as": passing})
        if len(tokens) > session.twin_tokens:
            self.call(op="append", session=passing, tokens=tokens[session.twin_tokens:])
        self.connection.send(op="generate", session=passing, max_tokens=n, ignore_eos=True, **options)
        found = [event["token"] for event in self.connection.until("done", "error") if event["event"] == "token"]
        if len(found) != n:
            raise RuntimeError(f"the twin of {session.name} generated {len(found)} tokens of {n}")
        self.call(op="close", session=passing)
        return found

    def forget(self, session):
        if session.twin is not None:
            self.call(op="close", session=session.twin)


class Client:
    """Uses a few sessions until the connection breaks, and checks them when the daemon is back."""

    def __init__(self, number, twins):
        self.number = number
        self.twins = twins
        self.random = random.Random(SEED * 1000 + number)
        self.sessions = []
        self.n_names = 0
        self.closed = set()  # names of sessions that are gone for good
        self.figures = dict.fromkeys(("promises", "restored", "resumed", "lost", "errors", "actions"), 0)

    def new_name(self):
        if self.closed and self.random.random() < 0.3:
            return self.closed.pop()
        self.n_names += 1
        return f"c{self.number}-{self.n_names}"

    # After a restart.

    def check(self, listed):
        """listed: the sessions of this client that are there, by name. Brings what is known in line."""
        for session in list(self.sessions):
            there = [name for name in session.names if name in listed]
            if len(there) > 1:
                raise Unkept(f"{session.name} is there twice: {there}")
            if not there:
                if session.promised is not None and not session.may_be_gone:
                    raise Unkept(f"{session.names}, saved at position {session.promised}, is gone")
                self.figures["lost"] += 1
                self.sessions.remove(session)
                self.twins.forget(session)
                self.closed.update(session.names)
                continue
            session.name = there[0]
            self.closed.update(name for name in session.names if name != session.name)
            session.names = [session.name]
            session.may_be_gone = False
            self.settle(session, listed.pop(session.name))
        if listed:
            raise Unkept(f"sessions that were closed, or never were, are there: {sorted(listed)}")

    def settle(self, session, stat):
        position = stat["position"]
        if position < (session.promised or 0):
            raise Unkept(f"{session.name} is at {position}, was saved at {session.promised}")
        if stat["saved_position"] != position:
            raise Unkept(f"{session.name}: not saved where it is: {stat}")
        stream = session.tokens + session.unanswered
        generation = next((g for g in reversed(session.generations) if g.start <= position), None)
        if generation is not None and not generation.done:
            whole = self.twins.generate(session, stream[:generation.start], generation.options,
                                        generation.end - generation.start)
            seen = stream[generation.start:]
            if seen != whole[:len(seen)]:
                raise Unkept(f"{session.name}: generated {seen}, its twin {whole}")
            stream = stream[:generation.start] + whole
        if position > len(stream):
            raise Unkept(f"{session.name} is at {position}, beyond the {len(stream)} tokens of its stream")
        session.rest = None
        if stat["interrupted"]:
            if generation is None or position >= generation.end:
                raise Unkept(f"{session.name} at {position}: interrupted outside of any generation")
            session.rest = stream[position:generation.end]
        session.tokens = stream[:position]
        session.unanswered = []
        session.generations = [g for g in session.generations if g.start <= position] if session.rest else []
        session.promised = position
        self.twins.advance(session, session.tokens)
        self.figures["restored"] += 1

    def go_on(self, connection):
        """Every session goes on as its twin does."""
        for session in self.sessions:
            if session.rest is not None:
                generation = session.generations[-1]
                expected = session.rest
                connection.send(op="generate", session=session.name, resume=True)
                self.figures["resumed"] += 1
            else:
                generation = self.begin(session, GREEDY, CHECK_TOKENS)
                expected = self.twins.generate(session, session.tokens, GREEDY, CHECK_TOKENS)
                connection.send(op="generate", session=session.name, max_tokens=CHECK_TOKENS, ignore_eos=True, **GREEDY)
            events = connection.until("done", "error")
            found = [event["token"] for event in events if event["event"] == "token"]
            if found != expected:
                raise Unkept(f"{session.name} at {len(session.tokens)}: generated {found}, its twin {expected}; "
                             f"{events[-1]}, {generation.options}")
            session.tokens += found
            generation.done = True

    # Until the end.

    def begin(self, session, options, n):
        generation = Generation(len(session.tokens), options, n)
        session.generations.append(generation)
        return generation

    def answers(self, connection, session, n):
        """Reads n answers, whatever comes between, and keeps book."""
        answers = []
        while len(answers) < n:
            event = connection.receive()
            name = event["event"]
            if name == "token":
                session.tokens.append(event["token"])
            elif name in ("saved", "error", "done", "appended", "renamed", "closed", "stat", "forked", "opened"):
                if name == "saved":
                    session.promise(event["position"])
                    self.figures["promises"] += 1
                answers.append(event)
                if name == "error":
                    self.figures["errors"] += 1
        return answers

    def tokens(self):
        return [self.random.randrange(3, VOCABULARY) for _ in range(self.random.choice((1, 3, 12, 40)))]

    def open(self, connection, on_append):
        session = Session(self.new_name(), self.random.choice((20, 124)))
        session.unanswered = self.tokens()
        self.sessions.append(session)
        connection.send(op="open", session=session.name, window=session.window, bos=False, tokens=session.unanswered)
        self.appended(session, self.answers(connection, session, 1)[0], on_append)

    def appended(self, session, answer, on_append):
        if answer["event"] == "error":
            if answer["code"] != "memory_limit":
                raise Unkept(str(answer))
            if not session.tokens:  # nothing was opened
                self.sessions.remove(session)
                self.closed.add(session.name)
        else:
            session.tokens += session.unanswered
            if answer["position"] != len(session.tokens):
                raise Unkept(f"{answer}, {len(session.tokens)} tokens were sent")
            if on_append:
                session.promise(answer["position"])
                self.figures["promises"] += 1
        session.unanswered = []

    def append(self, connection, session, on_append):
        session.unanswered = self.tokens()
        connection.send(op="append", session=session.name, tokens=session.unanswered)
        self.appended(session, self.answers(connection, session, 1)[0], on_append)

    def generate(self, connection, session):
        options = GREEDY
        if self.random.random() < 0.5:
            options = {"temperature": 0.9, "top_p": 0.95, "repetition_penalty": 1.1, "frequency_penalty": 0.1,
                       "seed": self.random.randrange(1 << 63)}
        n_tokens = self.random.choice((1, 5, 40))
        generation = self.begin(session, options, n_tokens)
        connection.send(op="generate", session=session.name, max_tokens=n_tokens, ignore_eos=True, **options)
        n = 1
        if self.random.random() < 0.5:  # in its midst
            connection.send(op="save", session=session.name)
            n = 2
        answers = self.answers(connection, session, n)
        generation.done = any(answer["event"] == "done" for answer in answers)
        if not generation.done:
            if len(session.tokens) != generation.start:
                raise Unkept(f"{session.name}: a generation ended with {answers}")
            session.generations.remove(generation)

    def save(self, connection, session):
        n = self.random.choice((1, 1, 3))
        for _ in range(n):
            connection.send(op="save", session=session.name)
        self.answers(connection, session, n)

    def stat(self, connection, session):
        connection.send(op="stat", session=session.name)
        answer = self.answers(connection, session, 1)[0]
        if "saved_position" in answer:
            session.promise(answer["saved_position"])

    def fork(self, connection, session):
        fork = Session(self.new_name(), session.window)
        fork.tokens = list(session.tokens)
        fork.generations = list(session.generations)
        self.sessions.append(fork)
        connection.send(op="fork", session=session.name, **{"as": fork.name})
        answer = self.answers(connection, session, 1)[0]
        if answer["event"] == "error":
            self.sessions.remove(fork)
            self.closed.add(fork.name)

    def rename(self, connection, session):
        to = self.new_name()
        session.names = [session.name, to]
        saves = self.random.random() < 0.5
        if saves:
            connection.send(op="save", session=session.name)
        connection.send(op="rename", session=session.name, to=to)
        answers = self.answers(connection, session, 2 if saves else 1)
        renamed = any(answer["event"] == "renamed" for answer in answers)
        session.name, left = (to, session.name) if renamed else (session.name, to)
        session.names = [session.name]
        self.closed.add(left)

    def close(self, connection, session):
        session.may_be_gone = True
        n = self.random.choice((0, 0, 1, 2))
        for _ in range(n):
            connection.send(op="save", session=session.name)
        connection.send(op="close", session=session.name)
        closed = self.answers(connection, session, n + 1)
        if not any(answer["event"] == "closed" for answer in closed):
            raise Unkept(str(closed))
        self.sessions.remove(session)
        self.closed.add(session.name)
        self.twins.forget(session)

    def act(self, connection, on_append):
        self.figures["actions"] += 1
        if not self.sessions or self.random.random() < 0.02:
            return self.open(connection, on_append)
        session = self.random.choice(self.sessions)
        action = self.random.choices(("append", "generate", "save", "stat", "fork", "rename", "close"),
                                     (6, 6, 3, 2, 1, 1, 1))[0]
        if action == "append":
            return self.append(connection, session, on_append)
        if action == "fork" and len(self.sessions) > 2:
            action = "close"
        return getattr(self, action)(connection, session)

    def run(self, connection, on_append):
        with contextlib.suppress(OSError, EOFError):
            while True:
                self.act(connection, on_append)


class Kill(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="condensed-kill-")
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name) / "state"
        self.undisturbed = Daemon("--prefill", "serial", "--max-sessions", "4096")
        self.addCleanup(self.undisturbed.clean_up)
        self.flags = ("--prefill", "serial", "--state-dir", str(self.state), "--hibernate-after-s", "1",
                      "--max-resident-sessions", str(MAX_RESIDENT))
        self.daemon = Daemon(*self.flags)
        self.addCleanup(self.daemon.clean_up)
        self.random = random.Random(SEED)
        self.clients = [Client(number, Twins(self.undisturbed.connect())) for number in range(N_CLIENTS)]
        self.failures = []

    def restart(self):
        for connection in self.daemon.connections:
            connection.close()
        self.daemon.connections.clear()
        policy = self.random.choice(POLICIES)
        self.daemon.flags = (*self.flags, "--snapshots", policy)
        self.daemon.process = self.daemon.start()
        return policy

    def each(self, work):
        """Runs it for every client at once."""

        def guarded(client):
            try:
                work(client)
            except Exception as error:
                self.failures.append(error)

        threads = [threading.Thread(target=guarded, args=(client,)) for client in self.clients]
        for thread in threads:
            thread.start()
        return threads

    def join(self, threads):
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def check(self):
        """What a daemon just started has, with what the clients were told."""
        observer = self.daemon.connect()
        listed = {session["session"]: session for session in observer.call(op="list")["sessions"]}
        files = [path.name for path in (self.state / "sessions").iterdir()]
        self.assertTrue(all(name.endswith(".snapshot") for name in files), files)
        self.assertEqual(list((self.state / "set-aside").iterdir()), [])
        self.assertEqual(len(listed), len(files))
        mine = {client: {} for client in self.clients}
        for name, session in listed.items():
            mine[self.clients[int(name[1:].split("-")[0])]][name] = session
        self.join(self.each(lambda client: client.check(mine[client])))
        self.join(self.each(lambda client: client.go_on(self.daemon.connect())))

    def use(self, policy, seconds):
        """Clients at work, and the end of the daemon in their midst."""
        on_append = "on_append" in policy
        threads = self.each(lambda client: client.run(self.daemon.connect(), on_append))
        time.sleep(seconds)
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.join(threads)

    def test_promises_outlive_kills(self):
        self.daemon.process.kill()
        self.daemon.process.wait()
        began = time.monotonic()
        for kill in range(N_KILLS):
            policy = self.restart()
            try:
                self.check()
                self.use(policy, self.random.uniform(0.02, 0.5))
            except AssertionError as error:
                self.fail(f"kill {kill}, policy {policy}: {error}\n{self.daemon.log_text()[-2000:]}")
        self.restart()
        self.check()
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_text())
        self.assertEqual(self.undisturbed.stop(), 0)
        figures = {key: sum(client.figures[key] for client in self.clients) for key in self.clients[0].figures}
        print(f"{N_KILLS} kills in {time.monotonic() - began:.1f} s: {figures}")
        for key in ("promises", "restored"):
            self.assertGreater(figures[key], N_KILLS)


if __name__ == "__main__":
    unittest.main()
