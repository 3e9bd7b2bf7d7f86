"""Coming back to a stream: what the daemon kept of it, and generations that nobody attends."""

import unittest

from daemon_process import DaemonTest

GREEDY = dict(temperature=0, ignore_eos=True)


def seen_in(events):
    return [(e["event"], e["position"], e.get("token")) for e in events if e["event"] in ("token", "done")]


class Replay(DaemonTest):
    flags = ("--replay-bytes", "20000")

    def rest(self, client, session):
        """Waits until nothing is generated; the session's position then."""
        while True:
            stat = client.call(op="stat", session=session)
            if not stat["generating"]:
                return stat["position"]

    def test_what_was_missed_is_what_was_generated(self):
        owner, back = self.connect(), self.connect()
        start = owner.call(op="open", session="s", text="It was ")["position"]
        owner.send(op="generate", session="s", max_tokens=30, **GREEDY)
        events = owner.until("done")
        owner.call(op="append", session="s", text=" and then")
        owner.send(op="generate", session="s", max_tokens=10, **GREEDY)
        events += owner.until("done")
        expected = seen_in(events)
        for position in (start, start + 7, start + 30, events[-1]["position"]):
            attached = back.call(op="attach", session="s", from_position=position)
            wanted = [event for event in expected if event[1] >= position]
            self.assertEqual(attached["replayed"], len(wanted))
            replayed = [back.receive() for _ in wanted]
            self.assertEqual(seen_in(replayed), wanted)
            self.assertFalse(any("id" in event for event in replayed))
        self.assertEqual(back.call(op="ping")["event"], "pong")
        self.assertNotIn("replayed", back.call(op="attach", session="s"))

    def test_what_is_gone_is_said_to_be(self):
        client = self.connect()
        start = client.call(op="open", session="s", text="It was ")["position"]
        error = client.call(op="attach", session="s", from_position=start + 1)
        self.assertEqual(error["code"], "bad_request")
        self.assertIn("from_position", error["message"])
        self.assertEqual(client.call(op="attach", session="s", from_position=start)["replayed"], 0)
        client.send(op="generate", session="s", max_tokens=400, **GREEDY)
        expected = seen_in(client.until("done"))
        error = client.call(op="attach", session="s", from_position=start)
        self.assertEqual((error["code"], error["session"]), ("replay_gone", "s"))
        kept_from = error["from_position"]
        self.assertGreater(kept_from, start + 200)
        self.assertEqual(client.call(op="attach", session="s", from_position=kept_from - 1)["code"], "replay_gone")
        attached = client.call(op="attach", session="s", from_position=kept_from)
        replayed = [client.receive() for _ in range(attached["replayed"])]
        self.assertEqual(seen_in(replayed), [event for event in expected if event[1] >= kept_from])
        # A session that is closed takes what was kept with it.
        client.call(op="close", session="s")
        client.call(op="open", session="s", text="It was ")
        self.assertEqual(client.call(op="attach", session="s", from_position=1)["code"], "replay_gone")

    def test_a_detached_generation_goes_on_alone_and_ends(self):
        first = self.connect()
        start = first.call(op="open", session="alone", text="It was ")["position"]
        first.send(op="generate", session="alone", max_tokens=60, **GREEDY)
        expected = seen_in(first.until("done"))
        first.call(op="open", session="s", text="It was ")
        first.send(op="generate", session="s", max_tokens=60, detached=True, **GREEDY)
        first.call(op="detach", session="s")
        first.close()
        back = self.connect()
        self.assertEqual(self.rest(back, "s"), start + 60)
        self.assertEqual(back.call(op="attach", session="s", from_position=start)["replayed"], 61)
        self.assertEqual(seen_in([back.receive() for _ in range(61)]), expected)

    def test_the_generation_after_a_detached_one_is_cancelled_as_ever(self):
        first, observer = self.connect(), self.connect()
        first.call(op="open", session="s", text="It was ")
        first.send(op="generate", session="s", max_tokens=5, detached=True, **GREEDY)
        first.until("done")
        first.send(op="generate", session="s")
        first.tokens(5)
        first.close()
        self.rest(observer, "s")
        position = observer.call(op="stat", session="s")["position"]
        attached = observer.call(op="attach", session="s", from_position=position)
        self.assertEqual([observer.receive()["reason"] for _ in range(attached["replayed"])], ["cancelled"])


class Running(DaemonTest):
    flags = ("--replay-bytes", "67108864")  # nothing may be gone, however long this test is kept waiting

    def test_one_joins_a_running_detached_generation_without_a_gap(self):
        first, observer = self.connect(), self.connect()
        first.call(op="open", session="s", text="It was ")
        first.send(op="generate", session="s", detached=True, seed=1)
        seen = first.tokens(20)
        first.close()
        for _ in range(20):  # comes and goes, while the generation goes on
            back = self.connect()
            attached = back.call(op="attach", session="s", from_position=observer.call(op="stat", session="s")["position"])
            self.assertEqual(attached["event"], "attached")
            self.assertTrue(attached["generating"])
            tokens = back.tokens(attached["replayed"] + 50)
            positions = [token["position"] for token in tokens]
            self.assertEqual(positions, list(range(positions[0], positions[0] + len(positions))))
            self.assertGreater(positions[0], seen[-1]["position"])
            back.close()
        self.assertTrue(observer.call(op="stat", session="s")["generating"])
        self.assertEqual(observer.call(op="cancel", session="s")["event"], "cancelled")
        self.assertFalse(observer.call(op="stat", session="s")["generating"])


class NothingKept(DaemonTest):
    flags = ("--replay-bytes", "0")

    def test_only_the_present_can_be_attached_to(self):
        client = self.connect()
        client.call(op="open", session="s", text="It was ")
        client.send(op="generate", session="s", max_tokens=5, **GREEDY)
        end = client.until("done")[-1]["position"]
        error = client.call(op="attach", session="s", from_position=end - 1)
        self.assertEqual((error["code"], error["from_position"]), ("replay_gone", end))
        self.assertEqual(client.call(op="attach", session="s", from_position=end)["replayed"], 0)


if __name__ == "__main__":
    unittest.main()
