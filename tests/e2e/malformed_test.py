"""A thousand requests that no client should send: each is answered, and nobody else notices."""

import json
import random
import string
import unittest

from daemon_process import DaemonTest

OPS = ("open", "append", "generate", "cancel", "attach", "detach", "stat", "list", "close", "ping")
WRONG = (None, True, -1, 1.5, "x", "", [], {}, [1, "a"], 1e300, {"a": 1})


def random_line(rng: random.Random) -> bytes:
    """One line that is wrong in one way or another."""
    kind = rng.randrange(14)
    if kind == 0:  # no JSON
        return "".join(rng.choices(string.printable.replace("\n", "").replace("\r", ""), k=rng.randrange(1, 80))).encode() + b"!"
    if kind == 1:  # no text
        return bytes(rng.choice([b for b in range(128, 256)]) for _ in range(rng.randrange(1, 60)))
    if kind == 2:  # cut short
        line = json.dumps({"op": "generate", "session": "a", "stop": ["x", "y"]})
        return line[: rng.randrange(1, len(line) - 1)].encode()
    if kind == 3:  # too deep
        depth = rng.randrange(20, 4000)
        return b'{"op":' + b"[" * depth + b"]" * depth + b"}"
    if kind == 4:  # too long
        return b'{"op":"append","session":"a","text":"' + b"x" * rng.randrange(70_000, 300_000) + b'"}'
    if kind == 5:  # no operation
        return json.dumps({"op": rng.choice(("", "OPEN", "generate ", "drop", 5, None, []))}).encode()
    if kind == 6:  # an unknown key
        return json.dumps({"op": rng.choice(OPS), "session": "bystander", "sesion": 1}).encode()
    if kind == 7:  # no such session
        return json.dumps({"op": rng.choice(("append", "generate", "cancel", "attach", "detach", "stat", "close")),
                           "session": "nobody-%d" % rng.randrange(1000)}).encode()
    if kind == 8:  # a bad session name
        name = rng.choice(("", "a b", "\u00e9", "x" * 129, "../x", 5, None, ["a"], {}))
        return json.dumps({"op": rng.choice(("append", "generate", "close")), "session": name}).encode()
    if kind == 9:  # an option of the wrong type or out of range
        option = rng.choice(("max_tokens", "temperature", "top_p", "min_p", "repetition_penalty", "penalty_window",
                             "logprobs", "logit_bias", "stop", "ignore_eos"))
        bad = {"max_tokens": (0, -5, "x", 1.5), "temperature": (-1, "hot", None), "top_p": (0, 1.5, []),
               "min_p": (-0.1, 2, "x"), "repetition_penalty": (0, -1, {}), "penalty_window": (-1, 5000, "x"),
               "logprobs": (-1, 21, True), "logit_bias": ([], {"x": 1}, {"5": "y"}, {"99999": 1}, {"5": 101}),
               "stop": (5, [""], ["x"] * 17, ["y" * 257], [1]), "ignore_eos": (1, "yes", None)}[option]
        return json.dumps({"op": "generate", "session": "idle", option: rng.choice(bad)}).encode()
    if kind == 10:  # an open that cannot be
        key = rng.choice(("sinks", "window", "bos", "text", "tokens"))
        bad = {"sinks": (-1, "x", 1e30), "window": (0, -7, 1 << 40, []), "bos": (1, "no"), "text": (5, None, []),
               "tokens": ("x", [-1], [1024], [1.5], [None])}[key]
        return json.dumps({"op": "open", "session": "never-%d" % rng.randrange(10**6), key: rng.choice(bad)}).encode()
    if kind == 11:  # an append that cannot be
        bad = rng.choice(({}, {"text": 5}, {"tokens": "x"}, {"tokens": [-1]}, {"tokens": [1.5]}, {"text": "x", "tokens": [5]}))
        return json.dumps({"op": "append", "session": "idle", **bad}).encode()
    if kind == 12:  # nothing in it
        return rng.choice((b"{}", b"{ }", b'{"id": 7}'))
    value = rng.choice(WRONG)  # no object, or a bad id
    return json.dumps(value if rng.random() < 0.5 and not isinstance(value, dict) else
                      {"op": "ping", "id": rng.choice((None, True, [], {}))}).encode()


class Malformed(DaemonTest):
    flags = ("--max-line-bytes", "65536")

    def test_a_thousand_malformed_requests(self):
        rng = random.Random(20240607)
        bystander = self.connect()
        bystander.call(op="open", session="bystander")
        bystander.send(op="generate", session="bystander")
        client = self.connect()
        client.call(op="open", session="idle", text="x")
        expected = bystander.tokens(1)[0]["position"]
        for i in range(1000):
            line = random_line(rng)
            client.send_bytes(line + b"\n")
            client.send(op="ping", id=i)
            # What the engine refuses is answered later than what the connection itself does.
            answers = [client.receive(), client.receive()]
            self.assertIn({"id": i, "event": "pong"}, answers, line[:200])
            error = next(answer for answer in answers if answer["event"] != "pong")
            self.assertEqual(error["event"], "error", (line[:200], error))
            self.assertTrue(error["code"] and error["message"], error)
            for event in bystander.tokens(3):
                expected += 1
                self.assertEqual(event["position"], expected)
        self.assertEqual(client.call(op="stat", session="idle")["event"], "stat")

    def test_bytes_without_any_line_end(self):
        rng = random.Random(3)
        bystander, client = self.connect(), self.connect()
        bystander.call(op="open", session="bystander")
        bystander.send(op="generate", session="bystander")
        expected = bystander.tokens(1)[0]["position"]
        for _ in range(200):
            client.send_bytes(rng.randbytes(4096).replace(b"\n", b" "))
            for event in bystander.tokens(3):
                expected += 1
                self.assertEqual(event["position"], expected)
        client.send_bytes(b"\n")
        self.assertEqual(client.receive()["code"], "line_too_long")
        self.assertEqual(client.call(op="ping")["event"], "pong")


if __name__ == "__main__":
    unittest.main()
