"""condensed-train from a text to a model that the daemon serves, and its logits against condensed-eval's."""

import json
import os
import re
import resource
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from daemon_process import MODEL, TIMEOUT_S, Daemon

TRAIN = os.environ["CONDENSED_TRAIN_BINARY"]
EVAL = os.environ["CONDENSED_EVAL_BINARY"]
TOLERANCE = 1e-4
SHAPE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WORDS = "the captain of this ship was an old man and he said nothing for a long time but looked at the sea".split()
SMALL = ("--batch-tokens", 512, "--micro-tokens", 512, "--sequence", 64, "--learning-rate", "3e-3", "--threads", 1)


def run(*command, code=0):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == code, f"{command}: exit code {result.returncode}: {result.stderr}"
    return result


def sentences(n):
    """Words in an order that a model can learn something of."""
    state, lines = 1, []
    for _ in range(n):
        line = []
        for _ in range(12):
            state = (state * 1103515245 + 12345) % 2**31
            line.append(WORDS[(state >> 16) % len(WORDS)])
        lines.append(" ".join(line).capitalize() + ".")
    return "\n".join(lines) + "\n"


def tensor(path, name):
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + length])[name]
    begin, end = entry["data_offsets"]
    body = data[8 + length + begin : 8 + length + end]
    return struct.unpack(f"<{len(body) // 4}f", body)


class Folder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="condensed-train-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        text = cls.folder / "text"
        text.write_text(sentences(3000))
        run(TRAIN, "tokenizer", text, "--vocab-size", 400, "--out", cls.folder / "tokenizer.model")
        run(TRAIN, "prepare", text, "--tokenizer", cls.folder / "tokenizer.model", "--out", cls.folder / "tokens")
        (cls.folder / "config.json").write_text(json.dumps(SHAPE))
        run(TRAIN, "init", "--config", cls.folder / "config.json", "--tokenizer", cls.folder / "tokenizer.model",
            "--out", cls.folder / "plain")  # fmt: skip

    def same_logits(self, model, *flags):
        """The engine's and libtorch's, exact and by passes."""
        tokens = self.folder / "tokens.json"
        tokens.write_text(json.dumps({"tokens": [1] + [i * 37 % 390 + 3 for i in range(60)]}))
        for passes, prefill in ((0, ("--prefill", "serial")), (5, ("--prefill", "passes=5"))):
            ours, theirs = self.folder / "ours", self.folder / "theirs"
            run(TRAIN, "logits", "--model", model, "--tokens", tokens, "--out", theirs, "--passes", passes)
            run(EVAL, "logits", "--model", model, "--tokens", tokens, "--output", ours, *prefill, *flags)
            a, b = tensor(ours, "logits"), tensor(theirs, "logits")
            self.assertEqual(len(a), len(b))
            self.assertLess(max(abs(x - y) for x, y in zip(a, b)), TOLERANCE)
            self.assertGreater(max(a) - min(a), 1)


class FromAPlainModel(Folder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tokens, run_folder = cls.folder / "tokens", cls.folder / "run"
        cls.served = cls.folder / "served"
        run(TRAIN, "run", "--out", cls.folder / "plain-run", "--model", cls.folder / "plain", "--tokens", tokens,
            "--steps", 20, *SMALL)  # fmt: skip
        run(TRAIN, "export", cls.folder / "plain-run", cls.folder / "plain-trained", "--dtype", "f32")
        run(TRAIN, "init", "--from", cls.folder / "plain-trained", "--layer-types", "w=2", "--out",
            cls.folder / "condensed")  # fmt: skip
        run(TRAIN, "run", "--out", run_folder, "--model", cls.folder / "condensed", "--tokens", tokens, "--validation",
            tokens, "--validation-sequences", 4, "--steps", 15, "--passes-without-gradient", "1,10:4", "--sink-token",
            *SMALL)  # fmt: skip
        run(TRAIN, "export", run_folder, cls.served, "--dtype", "bf16")

    def test_the_engine_computes_what_libtorch_does(self):
        self.same_logits(self.folder / "plain-trained")
        self.same_logits(self.folder / "condensed")
        self.same_logits(self.served, "--weights", "stored")

    def test_the_daemon_serves_it(self):
        config = json.loads((self.served / "config.json").read_text())
        self.assertEqual((config["model_type"], config["layer_types"]), ("lckv-llama", "0_2_2_3"))
        self.assertEqual((config["architectures"], config["torch_dtype"]), (["LCKVLlamaForCausalLM"], "bfloat16"))
        daemon = Daemon(model=self.served)
        self.addCleanup(daemon.clean_up)
        client = daemon.connect()
        client.call(op="open", session="s", text="The captain of this")
        client.send(op="generate", session="s", max_tokens=60, ignore_eos=True, temperature=0)
        self.assertEqual(client.until("done")[-1]["reason"], "length")

    def test_the_log_says_what_happened(self):
        rows = [row.split(",") for row in (self.folder / "run/log.csv").read_text().splitlines()]
        self.assertEqual([row[0] for row in rows], ["step", *map(str, range(1, 16))])
        passes = rows[0].index("passes_without_gradient")
        self.assertEqual([row[passes] for row in rows[1:]], ["1"] * 10 + ["4"] * 5)
        exact = rows[0].index("validation_exact_perplexity")
        self.assertEqual([bool(row[exact]) for row in rows[1:]], [False] * 14 + [True])
        self.assertIn('"validation"', (self.folder / "run/log.html").read_text())


class Manual(unittest.TestCase):
    def test_every_command_and_flag_is_in_it(self):
        page = (Path(__file__).resolve().parents[2] / "etc/man/condensed-train.1").read_text()
        commands = re.findall(r"^  ([a-z]+) ", run(TRAIN, "--help").stdout.split("Subcommands:")[1], re.M)
        self.assertEqual(commands, re.findall(r"^\.It Cm ([a-z]+)$", page, re.M))
        for command in commands:
            flags = set(re.findall(r"--([a-z][a-z0-9-]+)", run(TRAIN, command, "--help").stdout)) - {"help"}
            self.assertGreaterEqual(len(flags), 1)
            for flag in flags:
                self.assertRegex(page, rf"Fl -{flag}\b", command)


class Interrupted(Folder):
    def test_an_interrupt_saves_and_resume_ends_as_if_there_had_been_none(self):
        command = (TRAIN, "run", "--model", self.folder / "plain", "--tokens", self.folder / "tokens", "--steps", 60,
                   "--save-every", 1000, *SMALL)  # fmt: skip
        run(*command, "--out", self.folder / "whole")
        cut = self.folder / "cut"
        process = subprocess.Popen([str(part) for part in (*command, "--out", cut)], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + TIMEOUT_S
        while not (cut / "log.csv").exists() or (cut / "log.csv").read_text().count("\n") < 4:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 0)
        self.assertIn("go on with: condensed-train run --resume", said)
        run(TRAIN, "run", "--resume", cut)
        for name in ("whole", "cut"):
            run(TRAIN, "export", self.folder / name, self.folder / f"{name}-model", "--dtype", "f32")
        whole, resumed = (self.folder / f"{name}-model/model.safetensors" for name in ("whole", "cut"))
        self.assertEqual(whole.read_bytes(), resumed.read_bytes())

    def test_a_full_disk_ends_the_run_and_keeps_its_state(self):
        command = [str(part) for part in (TRAIN, "run", "--model", self.folder / "plain", "--tokens", self.folder / "tokens",
                   "--steps", 4, "--save-every", 2, *SMALL)]  # fmt: skip
        full = self.folder / "full"
        run(*command, "--out", self.folder / "room")
        size = (self.folder / "room/state.pt").stat().st_size
        # The first state has no moments yet and fits; those after it do not.
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size * 2 // 3, size * 2 // 3))
        result = subprocess.run([*command, "--out", str(full)], capture_output=True, text=True, timeout=TIMEOUT_S,
                                preexec_fn=limit, restore_signals=False)  # fmt: skip
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("state.pt: cannot be written", result.stderr)
        self.assertFalse((full / "state.pt.part").exists())
        run(TRAIN, "run", "--resume", full)
        for name in ("room", "full"):
            run(TRAIN, "export", self.folder / name, self.folder / f"{name}-model")
        room, resumed = (self.folder / f"{name}-model/model.safetensors" for name in ("room", "full"))
        self.assertEqual(room.read_bytes(), resumed.read_bytes())

    def test_what_cannot_be_used_is_said(self):
        tokens, plain = self.folder / "tokens", self.folder / "plain"
        out = self.folder / "refused"
        for code, message, command in (
            (1, "holds a model already", ("init", "--config", self.folder / "config.json", "--out", plain)),
            (1, "expected a plain Llama", ("init", "--from", MODEL, "--layer-types", "w=2", "--out", out)),
            (1, "expected w=N", ("init", "--from", plain, "--layer-types", "w=3", "--out", out)),
            (1, "the model's vocabulary", ("run", "--out", out, "--model", self.small_vocabulary(), "--tokens", tokens)),
            (1, "is no file", ("init", "--config", self.folder / "config.json", "--tokenizer", "nowhere", "--out", out)),
            (1, "--device teapot", ("run", "--out", out, "--model", plain, "--tokens", tokens, "--device", "teapot")),
            (1, "nowhere", ("run", "--resume", self.folder / "nowhere")),
            (2, "--resume", ("run", "--resume", out, "--steps", 3)),
            (2, "required", ("run", "--out", out)),
            (2, "required", ("init", "--out", out)),
            (2, "--seed", ("init", "--from", plain, "--seed", 3, "--out", out)),
            (2, "--validation", ("run", "--out", out, "--model", plain, "--tokens", tokens, "--validate-every", 3)),
            (1, "not valid UTF-8", ("prepare", self.binary(), "--tokenizer", self.folder / "tokenizer.model", "--out", out)),
            (1, "expected a text file", ("tokenizer", self.folder / "nowhere", "--out", out)),
            (2, "vocab-size", ("tokenizer", tokens, "--out", out, "--vocab-size", 5)),
        ):  # fmt: skip
            with self.subTest(message=message):
                result = run(TRAIN, *command, code=code)
                self.assertIn(message, result.stderr + result.stdout)
                self.assertFalse(out.exists(), command)

    def small_vocabulary(self):
        folder = self.folder / "small"
        if not folder.exists():
            config = {key: value for key, value in SHAPE.items() if key != "bos_token_id"}
            (self.folder / "small.json").write_text(json.dumps({**config, "vocab_size": 20, "eos_token_id": 2}))
            run(TRAIN, "init", "--config", self.folder / "small.json", "--out", folder)
        return folder

    def binary(self):
        path = self.folder / "binary"
        path.write_bytes(b"\xff\xfe\x00")
        return path


if __name__ == "__main__":
    unittest.main()
