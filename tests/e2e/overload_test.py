"""More than the daemon will take: limits and what they say, clients that do not read, no descriptors left."""

import select
import time
import unittest

from daemon_process import TIMEOUT_S, DaemonTest, sanitized


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not come")
        time.sleep(0.01)


class Limits(DaemonTest):
    flags = ("--max-connections", "3", "--max-sessions", "3", "--max-requests-in-flight", "4", "--max-generating", "1",
             "--max-line-bytes", "500000", "--max-waiting-input-bytes", "200000",
             "--max-total-waiting-input-bytes", "400000")

    def assert_limit(self, error, code, limit, retries=True):
        self.assertEqual((error["event"], error["code"], error.get("limit")), ("error", code, limit))
        self.assertIn(limit, error["message"])
        self.assertEqual("retry_after_ms" in error, retries, error)
        if retries:
            self.assertGreaterEqual(error["retry_after_ms"], 1)
            self.assertLessEqual(error["retry_after_ms"], 60000)

    def test_every_limit_names_itself(self):
        client, other = self.connect(), self.connect()
        for name in ("a", "b", "c"):
            client.call(op="open", session=name)
        self.assert_limit(client.call(op="open", session="d"), "session_limit", "max_sessions")
        client.send(op="append", session="a", text="x" * 500001)
        self.assert_limit(client.receive(), "line_too_long", "max_line_bytes", retries=False)
        too_long = client.call(op="append", session="a", text="x" * 200001)
        self.assert_limit(too_long, "append_limit", "max_waiting_input_bytes", retries=False)
        never = client.call(op="append", session="a", tokens=[1] * 100001)
        self.assert_limit(never, "append_limit", "max_total_waiting_input_bytes", retries=False)
        self.assertEqual(client.call(op="open", session="a", window=1 << 40)["code"], "session_exists")
        client.call(op="close", session="c")
        self.assert_limit(client.call(op="open", session="c", window=1 << 40), "bad_request", "max_window", retries=False)

        other.call(op="generate", session="b")
        self.assert_limit(client.call(op="generate", session="a"), "generation_limit", "max_generating")
        other.call(op="cancel", session="b")
        self.assertEqual(client.call(op="generate", session="a", max_tokens=1, ignore_eos=True)["event"], "token")
        client.until("done")

        third, refused = self.connect(), self.connect()
        self.assertEqual(third.call(op="ping")["event"], "pong")
        self.assert_limit(refused.receive(), "connection_limit", "max_connections")

    def test_what_waits_is_refused_and_worth_trying_again(self):
        client = self.connect()
        for name in ("a", "b", "c"):
            client.call(op="open", session=name)
        text = "word " * 30000  # takes seconds to read
        client.send(op="append", session="a", text=text, id="waits")
        self.assert_limit(client.call(op="append", session="a", text=text), "append_limit", "max_waiting_input_bytes")
        client.send(op="append", session="b", text=text, id="waits")
        refused = client.call(op="append", session="c", text=text)
        self.assert_limit(refused, "append_limit", "max_total_waiting_input_bytes")
        # Two are unanswered; with two more nothing else is taken.
        client.send(op="append", session="c", text="x", id="waits")
        client.send(op="append", session="a", text="x", id="waits")
        self.assert_limit(client.call(op="ping"), "request_limit", "max_requests_in_flight")
        # What was waited for gives its room back, also when it is given up.
        other = self.connect()
        for name in ("a", "b"):
            other.call(op="close", session=name)
        answers = []
        while len(answers) < 4:
            event = client.receive()
            answers += [event.get("code", event["event"])] if "id" in event else []
        self.assertEqual(sorted(answers), ["appended"] + ["session_closed"] * 3)
        client.send(op="append", session="c", text=text, id="waits")
        self.assertEqual(client.call(op="stat", session="c")["event"], "stat")
        other.call(op="close", session="c")


class StalledReaders(DaemonTest):
    flags = ("--send-buffer-bytes", "16384", "--stall-timeout-ms", "200")

    def connections(self, observer):
        return observer.call(op="stat")["connections"]

    def cut_off(self, **options):
        """Opens the session s, leaves an endless generation of it unread until the connection is cut off."""
        observer, stalled = self.connect(), self.connect()
        self.assertEqual(stalled.call(op="open", session="s")["event"], "opened")
        self.assertEqual(self.connections(observer), 2)
        stalled.send(op="generate", session="s", **options)
        wait_until(lambda: self.connections(observer) == 1)
        return observer, stalled

    def rest_of(self, connection):
        events = []
        with self.assertRaises((EOFError, ConnectionError, ValueError)):  # the last line may be cut, too
            while True:
                events.append(connection.receive())
        return events

    def test_a_client_that_takes_nothing_is_cut_off_and_its_session_stays(self):
        observer, stalled = self.cut_off()
        wait_until(lambda: not observer.call(op="stat", session="s")["generating"])
        positions = [event["position"] for event in self.rest_of(stalled)]
        self.assertEqual(positions, list(range(1, len(positions) + 1)))
        self.assertGreater(len(positions), 100)
        log = self.daemon.log_text()
        self.assertEqual(log.count("stall_timeout_ms"), 1, log)
        # The session goes on where it is, for whoever wants it.
        position = observer.call(op="stat", session="s")["position"]
        self.assertGreaterEqual(position, len(positions))
        observer.send(op="generate", session="s", max_tokens=5, ignore_eos=True)
        self.assertEqual([e["position"] for e in observer.until("done")][:5], list(range(position, position + 5)))

    def test_a_detached_generation_goes_on_without_the_one_that_was_cut_off(self):
        observer, _ = self.cut_off(detached=True)
        first = observer.call(op="stat", session="s")
        self.assertTrue(first["generating"])
        wait_until(lambda: observer.call(op="stat", session="s")["position"] > first["position"] + 1000)
        self.assertEqual(observer.call(op="cancel", session="s")["event"], "cancelled")


class LargeAnswers(DaemonTest):
    flags = ("--send-buffer-bytes", "16384")

    def test_answers_do_not_pile_up_where_nobody_reads_them(self):
        n_sessions, n_lists = 300, 256
        client, observer = self.connect(), self.connect()
        for i in range(n_sessions):
            observer.call(op="open", session=f"a-rather-long-name-for-a-session-{i}")
        observer.call(op="list")
        before = observer.call(op="stat")["resident_bytes"]
        client.send_bytes(b'{"op":"list"}\n' * n_lists)  # fits what is read at once: answers of 20 MB
        for _ in range(200):
            observer.call(op="ping")
            observer.call(op="stat")
        grown = observer.call(op="stat")["resident_bytes"] - before
        if not sanitized():
            self.assertLess(grown, 4 << 20)
        for _ in range(n_lists):
            self.assertEqual(len(client.receive()["sessions"]), n_sessions)
        self.assertEqual(client.call(op="ping")["event"], "pong")


class OutOfDescriptors(DaemonTest):
    open_files = 40

    def test_who_is_connected_goes_on_and_others_come_when_there_is_room(self):
        owner = self.connect()
        owner.call(op="open", session="s")
        owner.send(op="generate", session="s")
        seen = owner.tokens(100)
        crowd = [self.connect() for _ in range(60)]  # the kernel connects them, whether anybody accepts or not
        for connection in crowd:
            connection.send(op="ping")
        wait_until(lambda: "cannot accept connections" in self.daemon.log_text())
        seen += owner.tokens(500)
        answered = set(select.select([connection.socket for connection in crowd], [], [], 0)[0])
        self.assertGreater(len(answered), 0)
        self.assertLess(len(answered), 40)
        # Who was first is accepted first; each one that leaves makes room for another.
        for connection in crowd:
            self.assertEqual(connection.receive()["event"], "pong")
            connection.close()
        seen += owner.tokens(500)
        positions = [event["position"] for event in seen]
        self.assertEqual(positions, list(range(1, len(positions) + 1)))
        log = self.daemon.log_text()
        self.assertEqual(log.count("cannot accept connections"), 1, log)
        self.assertIn("the limit of open files has room for 8 connections only", log)
        self.assertEqual(self.connect().call(op="ping")["event"], "pong")


if __name__ == "__main__":
    unittest.main()
