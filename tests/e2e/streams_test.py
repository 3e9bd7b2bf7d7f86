"""Streams of several clients at once, over real sockets."""

import json
import signal
import subprocess
import sys
import unittest

from daemon_process import TIMEOUT_S, DaemonTest


def ids(events):
    return [event["token"] for event in events if event["event"] == "token"]


def positions(events):
    return [event["position"] for event in events if event["event"] == "token"]


def text_of(events):
    return "".join(event["text"] for event in events if event["event"] in ("token", "done"))


class Streams(DaemonTest):
    # Clients that do not read are left alone: under a sanitizer they do so for long.
    flags = ("--send-buffer-bytes", "16384", "--stall-timeout-ms", "0")

    def start_endless(self, connection, session, **options):
        self.assertEqual(connection.call(op="open", session=session, text="It was ")["event"], "opened")
        connection.send(op="generate", session=session, id=session, **options)

    def position(self, connection, session):
        return connection.call(op="stat", session=session)["position"]

    def progress(self, reader, observer, session, n):
        """Reads on until a token that is n positions past where the session is now: one made after this call."""
        target = self.position(observer, session) + n
        while reader.tokens(1)[0]["position"] < target:
            pass

    def test_two_clients_stream_from_two_sessions_at_once(self):
        a, b = self.connect(), self.connect()
        self.start_endless(a, "a")
        self.start_endless(b, "b")
        for _ in range(10):
            self.assertTrue(all(event["session"] == "a" for event in a.tokens(50)))
            self.assertTrue(all(event["session"] == "b" for event in b.tokens(50)))
        self.assertEqual(a.call(op="cancel", session="a")["event"], "cancelled")
        b.tokens(500)

    def test_one_connection_carries_several_streams(self):
        client = self.connect()
        for name in ("x", "y", "z"):
            client.call(op="open", session=name)
        for name in ("x", "y", "z"):
            client.send(op="generate", session=name, id=name, max_tokens=100, ignore_eos=True)
        seen = {"x": [], "y": [], "z": []}
        done = 0
        while done < 3:
            event = client.receive()
            self.assertEqual(event["id"], event["session"])
            if event["event"] == "token":
                seen[event["session"]].append(event["position"])
            done += event["event"] == "done"
        for stream in seen.values():
            self.assertEqual(stream, list(range(1, 101)))

    def test_a_third_client_attaches_to_a_running_stream(self):
        owner, watcher = self.connect(), self.connect()
        self.start_endless(owner, "s")
        owner.tokens(100)
        attached = watcher.call(op="attach", session="s")
        self.assertEqual(attached["event"], "attached")
        self.assertTrue(attached["generating"])
        owned, watched = {}, {}
        for _ in range(300):
            for seen, connection in ((owned, owner), (watched, watcher)):
                event = connection.tokens(1)[0]
                self.assertEqual("id" in event, connection is owner)
                seen[event["position"]] = (event["token"], event["text"])
        while max(owned) < max(watched):
            event = owner.tokens(1)[0]
            owned[event["position"]] = (event["token"], event["text"])
        # From the first token it was sent, the watcher missed nothing.
        self.assertEqual(sorted(watched), list(range(attached["position"], attached["position"] + 300)))
        self.assertEqual(watched, {position: owned[position] for position in watched})

    def test_a_client_that_does_not_read_stops_its_own_stream_only(self):
        stalled, reader, observer = self.connect(), self.connect(), self.connect()
        self.start_endless(stalled, "stalled")
        self.start_endless(reader, "reader")
        # Its buffers fill, then it rests: while the other stream goes on for thousands of tokens.
        resting = None
        for _ in range(200):
            before = self.position(observer, "stalled")
            self.progress(reader, observer, "reader", 500)
            if self.position(observer, "stalled") == before:
                resting = before
                break
        self.assertIsNotNone(resting)
        self.progress(reader, observer, "reader", 3000)
        self.assertEqual(self.position(observer, "stalled"), resting)
        # Reading again, it goes on where it was, without a gap.
        seen = positions(stalled.tokens(resting + 2000))
        self.assertEqual(seen, list(range(seen[0], seen[0] + len(seen))))
        self.assertGreater(self.position(observer, "stalled"), resting)

    def test_a_slow_watcher_misses_tokens_and_is_told(self):
        owner, watcher = self.connect(), self.connect()
        self.start_endless(owner, "s")
        watcher.call(op="attach", session="s")
        owner.tokens(20000)
        owner.call(op="cancel", session="s")
        events = watcher.until("done")
        lagged = [event for event in events if event["event"] == "lagged"]
        self.assertTrue(lagged)
        first, last = positions(events)[0], events[-1]["position"] - 1
        missed = sum(event["missed"] for event in lagged)
        self.assertEqual(len(positions(events)) + missed, last - first + 1)

    def test_killing_a_client_disturbs_nobody(self):
        reader, observer = self.connect(), self.connect()
        self.start_endless(reader, "reader")
        observer.call(op="open", session="victim")
        code = (
            "import socket, sys\n"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "s.sendall(b'{\"op\":\"generate\",\"session\":\"victim\"}\\n')\n"
            "while s.recv(4096): print('.', flush=True)\n"
        )
        observer.call(op="detach", session="victim")
        client = subprocess.Popen([sys.executable, "-c", code, self.daemon.socket_path], stdout=subprocess.PIPE)
        client.stdout.readline()
        client.send_signal(signal.SIGKILL)
        client.wait(TIMEOUT_S)
        client.stdout.close()
        seen = positions(reader.tokens(3000))
        self.assertEqual(seen, list(range(seen[0], seen[0] + 3000)))
        # Nobody is left to read it, so it stops; the session stays.
        while observer.call(op="stat", session="victim")["generating"]:
            reader.tokens(100)
        observer.send(op="generate", session="victim", max_tokens=5, ignore_eos=True)
        self.assertEqual(observer.until("done")[-1]["usage"]["completion_tokens"], 5)

    def test_the_next_attached_client_paces_a_stream_whose_owner_leaves(self):
        owner, watcher = self.connect(), self.connect()
        self.start_endless(owner, "s")
        watcher.call(op="attach", session="s")
        watcher.tokens(50)
        owner.close()
        watcher.tokens(5000)
        self.assertTrue(watcher.call(op="stat", session="s")["generating"])
        watcher.call(op="cancel", session="s")

    def test_a_session_outlives_its_connection(self):
        first = self.connect()
        self.start_endless(first, "s", max_tokens=20, temperature=0)
        position = first.until("done")[-1]["position"]
        first.close()
        second = self.connect()
        self.assertEqual(second.call(op="open", session="s")["position"], position)
        self.assertTrue(second.call(op="open", session="s")["existed"])
        second.send(op="generate", session="s", max_tokens=20, temperature=0, ignore_eos=True)
        self.assertEqual(positions(second.until("done")), list(range(position, position + 20)))

    def test_consecutive_generations_join_into_one_text(self):
        client = self.connect()
        options = dict(temperature=0, ignore_eos=True)
        self.start_endless(client, "whole", max_tokens=80, **options)
        whole = client.until("done")
        self.start_endless(client, "parts", max_tokens=33, **options)
        parts = client.until("done")
        client.send(op="generate", session="parts", max_tokens=47, **options)
        parts += client.until("done")
        self.assertEqual(ids(parts), ids(whole))
        self.assertEqual(positions(parts), positions(whole))
        self.assertEqual(text_of(parts), text_of(whole))

    def test_cancelling_ends_the_generation_and_keeps_the_session(self):
        client = self.connect()
        self.start_endless(client, "s")
        client.tokens(50)
        client.send(op="cancel", session="s", id="c")
        *before, cancelled = client.until("cancelled")
        self.assertEqual(cancelled["id"], "c")
        self.assertEqual((before[-1]["event"], before[-1]["reason"]), ("done", "cancelled"))
        self.assertEqual(before[-1]["position"], cancelled["position"])
        self.assertEqual(client.call(op="cancel", session="s")["code"], "not_generating")
        self.assertEqual(self.position(client, "s"), cancelled["position"])
        client.send(op="generate", session="s", max_tokens=5, ignore_eos=True)
        self.assertEqual(positions(client.until("done"))[0], cancelled["position"])

    def test_the_same_seed_gives_the_same_tokens_alone_and_in_company(self):
        client = self.connect()
        options = dict(max_tokens=200, seed=11, temperature=0.9, top_p=0.95, ignore_eos=True)
        self.start_endless(client, "alone", **options)
        alone = ids(client.until("done"))
        for i in range(6):
            self.start_endless(self.connect(), f"other{i}", max_tokens=4000, ignore_eos=True)
        self.start_endless(client, "company", **options)
        self.assertEqual(ids(client.until("done")), alone)

    def test_memory_stands_still_once_the_window_is_full(self):
        client = self.connect()
        self.start_endless(client, "s", max_tokens=130, ignore_eos=True)
        client.until("done")
        full = client.call(op="stat", session="s")
        self.assertEqual(full["cached"], 128)
        self.assertEqual(full["cache_bytes"], full["cache_bytes_max"])
        client.send(op="generate", session="s", max_tokens=2000, ignore_eos=True)
        client.until("done")
        later = client.call(op="stat", session="s")
        self.assertEqual(later["cache_bytes"], full["cache_bytes"])
        self.assertEqual(later["evictions"], full["evictions"] + 2000)

    def test_stop_strings_and_log_probabilities(self):
        client = self.connect()
        options = dict(max_tokens=80, temperature=0, ignore_eos=True)
        self.start_endless(client, "whole", logprobs=2, **options)
        events = client.until("done")
        text = "".join(event["text"] for event in events)
        for event in events[:-1]:
            self.assertLessEqual(event["logprob"], 0)
            self.assertEqual(len(event["top"]), 2)
            self.assertEqual(event["top"][0]["token"], event["token"])
        stop = text[30:36]
        self.start_endless(client, "stopped", stop=[stop, "no such text"], **options)
        events = client.until("done")
        self.assertEqual(events[-1]["reason"], "stop")
        self.assertEqual(events[-1]["stop"], stop)
        self.assertEqual("".join(event["text"] for event in events), text[: text.index(stop)])

    def test_text_in_pieces_is_the_text_at_once(self):
        client = self.connect()
        text = "The old man looked out over the water, caf\u00e9 and all, and said: \U0001f600 well."
        continuations = []
        for name, pieces in (("whole", [text]), ("parts", [text[:7], text[7:22], text[22:]])):
            client.call(op="open", session=name)
            for piece in pieces:
                self.assertEqual(client.call(op="append", session=name, text=piece)["event"], "appended")
            client.send(op="generate", session=name, max_tokens=30, temperature=0, ignore_eos=True)
            continuations.append(ids(client.until("done")))
        self.assertEqual(*continuations)

    def test_closing_a_session_tells_everybody_attached(self):
        owner, watcher = self.connect(), self.connect()
        self.start_endless(owner, "s")
        watcher.call(op="attach", session="s")
        self.assertEqual(owner.call(op="close", session="s")["event"], "closed")
        events = watcher.until("closed")
        self.assertEqual([e["reason"] for e in events if e["event"] == "done"], ["closed"])
        self.assertNotIn("id", events[-1])
        self.assertEqual(owner.call(op="stat", session="s")["code"], "unknown_session")

    def test_requests_sent_at_once_are_carried_out_in_order(self):
        client = self.connect()
        lines = [
            {"op": "open", "session": "s", "text": "A long time ago " * 200},
            {"op": "append", "session": "s", "text": "the end came"},
            {"op": "generate", "session": "s", "max_tokens": 3, "ignore_eos": True},
        ]
        client.send_bytes("".join(json.dumps(line) + "\r\n" for line in lines).encode())
        events = client.until("done")
        self.assertEqual([e["event"] for e in events], ["opened", "appended", "token", "token", "token", "done"])


if __name__ == "__main__":
    unittest.main()
