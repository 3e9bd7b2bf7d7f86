"""condensed-quantize, and condensed-eval and the daemon on what it writes."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from daemon_process import MODEL, TIMEOUT_S, DaemonTest

QUANTIZE = os.environ["CONDENSED_QUANTIZE_BINARY"]
EVAL = os.environ["CONDENSED_EVAL_BINARY"]
TEXT = "It was a dark and stormy night, and the captain said nothing for a long time. " * 20


def run(*command, code=0):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == code, f"{command}: exit code {result.returncode}: {result.stderr}"
    return result


def perplexity(folder, text, *flags):
    report = run(EVAL, "perplexity", "--model", folder, "--text", text, "--sinks", 4, "--window", 60, *flags).stdout
    return json.loads(report)["perplexity"]


class Quantise(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="condensed-quantise-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.text = self.folder / "text"
        self.text.write_text(TEXT)

    def test_a_quantised_folder_is_what_converting_at_start_gives(self):
        for weights in ("q8", "q4"):
            out = self.folder / weights
            self.assertIn("bytes of weights", run(QUANTIZE, MODEL, out, "--weights", weights).stdout)
            self.assertEqual(perplexity(out, self.text), perplexity(MODEL, self.text, "--weights", weights))
            original = Path(MODEL, "model.safetensors").stat().st_size
            self.assertLess((out / "model.safetensors").stat().st_size, original * 0.6)

    def test_it_refuses_what_it_would_spoil(self):
        out = self.folder / "q8"
        run(QUANTIZE, MODEL, out, "--weights", "q8")
        self.assertIn("holds a model.safetensors already", run(QUANTIZE, MODEL, out, "--weights", "q4", code=1).stderr)
        again = run(QUANTIZE, out, self.folder / "again", "--weights", "q4", code=1).stderr
        self.assertIn("is quantised already", again)
        self.assertIn("cannot become q4", run(EVAL, "perplexity", "--model", out, "--text", self.text, "--weights", "q4",
                                              code=1).stderr)
        run(QUANTIZE, self.folder / "nothing", self.folder / "out", "--weights", "q4", code=1)
        run(QUANTIZE, MODEL, out, "--weights", "q5", code=2)

    def test_bytes_without_their_format_are_an_error(self):
        out = self.folder / "q8"
        run(QUANTIZE, MODEL, out, "--weights", "q8")
        config = json.loads((out / "config.json").read_text())
        del config["quantization_config"]
        (out / "config.json").write_text(json.dumps(config))
        error = run(EVAL, "perplexity", "--model", out, "--text", self.text, code=1).stderr
        self.assertIn("has dtype U8", error)
        config["quantization_config"] = {"quant_method": "gptq"}
        (out / "config.json").write_text(json.dumps(config))
        self.assertIn("quantization_config", run(EVAL, "perplexity", "--model", out, "--text", self.text, code=1).stderr)
        config["quantization_config"] = {"quant_method": "condensed", "layers": "q4", "embedding": "q8"}
        (out / "config.json").write_text(json.dumps(config))
        self.assertIn("has shape", run(EVAL, "perplexity", "--model", out, "--text", self.text, code=1).stderr)


class Throughput(unittest.TestCase):
    def test_it_reports_what_was_asked_for(self):
        report = json.loads(run(EVAL, "throughput", "--model", MODEL, "--weights", "q8", "--cache-dtype", "q8", "--batch", 3,
                                "--sinks", 4, "--window", 60, "--prompt", 50, "--tokens", 40, "--fill", "--json").stdout)
        row = report["rows"][0]
        self.assertEqual((row["batch"], row["window"], row["decode_tokens"]), (3, 60, 120))
        config = json.loads(Path(MODEL, "config.json").read_text())
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        row_bytes = head_dim + 2 * ((head_dim + 127) // 128)
        self.assertEqual(row["session_bytes"], 2 * 3 * 64 * config["num_key_value_heads"] * row_bytes)
        self.assertGreater(row["prompt_tokens_per_s"], 0)
        self.assertLessEqual(row["step_ms"]["p50"], row["step_ms"]["max"])

    def test_streams_moved_on_have_full_windows(self):
        report = json.loads(run(EVAL, "throughput", "--model", MODEL, "--sinks", 4, "--window", 60, "--skip", 100000,
                                "--tokens", 5, "--json").stdout)
        row = report["rows"][0]
        self.assertEqual(row["cached_tokens"], 64)
        self.assertGreater(row["position"], 100000)

    def test_random_weights_of_a_shape(self):
        shape = self.shape()
        plain = self.measure(shape, "plain")
        condensed = self.measure(shape, "w=2")
        self.assertEqual(plain["session_bytes"] * 3, condensed["session_bytes"] * 8)  # 3 of 8 layers own a cache
        run(EVAL, "throughput", "--random", "no-such-shape", code=1)
        run(EVAL, "throughput", "--random", shape, "--layer-types", "w=3", code=1)
        run(EVAL, "throughput", code=1)

    def shape(self):
        folder = tempfile.mkdtemp(prefix="condensed-shape-")
        self.addCleanup(shutil.rmtree, folder)
        path = Path(folder, "config.json")
        path.write_text(json.dumps({"model_type": "llama", "vocab_size": 300, "hidden_size": 128, "intermediate_size": 200,
                                    "num_hidden_layers": 8, "num_attention_heads": 4, "rms_norm_eps": 1e-5}))
        return path

    def measure(self, shape, layer_types):
        return json.loads(run(EVAL, "throughput", "--random", shape, "--layer-types", layer_types, "--weights", "q4", "--fill",
                              "--window", 100, "--tokens", 3, "--json").stdout)["rows"][0]


class DaemonWithFewerBits(DaemonTest):
    flags = ("--weights", "q4", "--cache", "q8")

    def test_streams_past_its_window(self):
        client = self.connect()
        client.call(op="open", session="s", text="It was a dark and stormy night")
        client.send(op="generate", session="s", max_tokens=300, ignore_eos=True, temperature=0)
        self.assertEqual(client.until("done")[-1]["reason"], "length")
        stat = client.call(op="stat", session="s")
        self.assertEqual(stat["cache_bytes"], stat["cache_bytes_max"])


if __name__ == "__main__":
    unittest.main()
