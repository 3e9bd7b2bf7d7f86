"""condensed-eval: caches compared, what is remembered, the paper's experiment."""

import array
import html
import json
import math
import os
import random
import re
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

from daemon_process import MODEL, TIMEOUT_S

EVAL = os.environ["CONDENSED_EVAL_BINARY"]
WORDS = "the captain said nothing for a long time and the night went on over that dark water while men slept".split()
TEXT = " ".join(random.Random(1).choice(WORDS) for _ in range(500))


def run(*command, code=0):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == code, f"{command}: exit code {result.returncode}: {result.stderr}"
    return result


def page_of(path):
    """The JSON that a page draws."""
    script = re.search(r'<script type="application/json" id="page">(.*?)</script>', path.read_text(), re.S)
    return json.loads(html.unescape(script.group(1)) if "&quot;" in script.group(1) else script.group(1))


def charts_of(page):
    return {section["chart"]["id"]: section["chart"] for section in page["sections"] if "chart" in section}


class EvalTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="condensed-evaluation-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.text = self.folder / "text"
        self.text.write_text(TEXT)


class Compare(EvalTest):
    def perplexity(self, *flags):
        return json.loads(run(EVAL, "perplexity", "--model", MODEL, "--text", self.text, *flags, "--json").stdout)

    def error(self, *flags, code=1):
        return run(EVAL, "perplexity", "--model", MODEL, "--text", self.text, *flags, code=code).stderr

    def test_each_line_is_what_that_cache_alone_gives(self):
        size = ("--sinks", 4, "--window", 60)
        sampling = ("--segments", 3, "--segment-tokens", 8)
        report = self.perplexity(*size, *sampling, "--compare", "sinks,window-only,dense-recompute,dense",
                                 "--dense-tokens", 400)
        caches = {cache["kind"]: cache for cache in report["caches"]}
        sinks = self.perplexity(*size)
        self.assertEqual(caches["sinks"]["nll"], sinks["nll"])
        self.assertEqual(caches["sinks"]["tokens"], sinks["tokens"])
        self.assertEqual(caches["window-only"]["nll"], self.perplexity("--sinks", 0, "--window", 64)["nll"])
        self.assertEqual(caches["window-only"]["nll"], self.perplexity(*size, "--cache", "window-only")["nll"])
        recomputed = self.perplexity(*size, *sampling, "--cache", "dense-recompute")
        self.assertEqual(caches["dense-recompute"]["nll"], recomputed["nll"])
        against = caches["dense-recompute"]["against_first"]
        self.assertEqual(against["tokens"], 24)
        self.assertAlmostEqual(against["perplexity_ratio"] * recomputed["sinks_over_recomputed"], 1)
        for part in caches["dense-recompute"]["parts"]:  # the sample's difference on top of the whole part's
            whole = next(p for p in caches["sinks"]["parts"] if p["position"] == part["position"])
            self.assertLess(abs(part["nll_adjusted"] - whole["nll"]), 0.5)
        dense = self.perplexity("--sinks", 0, "--window", 400, "--tokens", 400)
        self.assertEqual(caches["dense"]["nll"], dense["nll"])
        self.assertEqual(caches["dense"]["tokens"], 399)
        # Nothing is evicted in the first 64 tokens.
        self.assertEqual(caches["window-only"]["growing_parts"][:2], caches["dense"]["growing_parts"][:2])
        self.assertNotIn("against_first", caches["sinks"])

    def test_bits_are_those_of_the_text(self):
        report = self.perplexity("--window", 60, "--compare", "sinks,dense-recompute", "--segments", 2)
        cache = report["caches"][0]
        n_bytes = cache["nll"] * cache["tokens"] / math.log(2) / cache["bits_per_byte"]
        # The stream's first token may begin with a space that is not in the file.
        self.assertIn(round(n_bytes), (len(TEXT.encode()), len(TEXT.encode()) + 1))
        self.assertAlmostEqual(n_bytes, round(n_bytes), places=3)
        self.assertEqual(cache["bits_per_byte"], self.perplexity("--sinks", 4, "--window", 60)["bits_per_byte"])
        self.assertGreater(report["caches"][1]["bits_per_byte"], 0)

    def test_sinks_are_compared_in_caches_of_one_size(self):
        report = self.perplexity("--sinks", "0,1,4", "--window", 60)
        self.assertEqual(report["capacity"], 64)
        self.assertEqual([(cache["sinks"], cache["window"]) for cache in report["caches"]], [(0, 64), (1, 63), (4, 60)])
        for cache in report["caches"]:
            alone = self.perplexity("--sinks", cache["sinks"], "--window", cache["window"])
            self.assertEqual(cache["nll"], alone["nll"])
            against = cache.get("against_first")
            if against:
                self.assertAlmostEqual(against["nll"], cache["nll"] - report["caches"][0]["nll"])
                self.assertLessEqual(against["nll_95"][0], against["nll"])
                self.assertGreaterEqual(against["nll_95"][1], against["nll"])

    def test_table_and_page_show_the_figures_of_the_json(self):
        page_path = self.folder / "page.html"
        json_path = self.folder / "report.json"
        table = run(EVAL, "perplexity", "--model", MODEL, "--text", self.text, "--window", 60, "--compare", "window-only,dense",
                    "--html", page_path, "--json", json_path).stdout
        report = json.loads(json_path.read_text())
        for cache in report["caches"]:
            self.assertRegex(table, re.escape(cache["name"]) + rf" +{cache['tokens']} +{cache['perplexity']:.3f} +{cache['bits_per_byte']:.4f}")
        charts = charts_of(page_of(page_path))
        for chart, parts in (("along-the-stream", "parts"), ("from-the-beginning", "growing_parts")):
            drawn = {series["name"]: [y for _, y in series["points"]] for series in charts[chart]["series"]}
            self.assertEqual(drawn, {cache["name"]: [part["nll"] for part in cache[parts]] for cache in report["caches"]})
        self.assertEqual(charts["from-the-beginning"]["x"]["scale"], "log")

    def test_what_cannot_be_compared_is_an_error(self):
        self.assertIn("foo", self.error("--compare", "sinks,foo", code=2))
        self.assertIn("--sinks", self.error("--sinks", "1,x", code=2))
        self.assertIn("-1", self.error("--sinks", "1,-1", code=2))
        self.error("--compare", "sinks", "--cache", "sinks", code=2)
        self.assertIn("one number of --sinks", self.error("--sinks", "0,4", "--cache", "window-only"))
        self.assertIn("lists sinks twice", self.error("--compare", "sinks,sinks"))
        self.assertIn("lists 4 twice", self.error("--sinks", "4,1,4"))
        self.assertIn("nothing is predicted", self.error("--compare", "dense", "--dense-tokens", 1))
        self.assertIn("give --compare", self.error("--html", self.folder / "page.html"))
        self.assertIn("cannot be written", self.error("--compare", "sinks", "--html", "/no/such/folder/page.html"))
        self.assertIn("too few", self.error("--compare", "dense-recompute", "--window", 2000))


class Recall(EvalTest):
    def recall(self, model, *flags):
        return json.loads(run(EVAL, "recall", "--model", model, *flags, "--json").stdout)

    def one_layer_model(self):
        """Random weights. One layer sees tokens only, and nothing that tokens saw before: what has left the window
        cannot matter."""
        hidden, vocab = 16, 60
        shapes = {"model.embed_tokens.weight": [vocab, hidden], "lm_head.weight": [vocab, hidden],
                  "model.norm.weight": [hidden]}
        layer = {"input_layernorm": [hidden], "post_attention_layernorm": [hidden]}
        layer |= {f"self_attn.{name}_proj": [hidden, hidden] for name in "qkvo"}
        layer |= {"mlp.gate_proj": [24, hidden], "mlp.up_proj": [24, hidden], "mlp.down_proj": [hidden, 24]}
        shapes |= {f"model.layers.0.{name}.weight": shape for name, shape in layer.items()}
        draw = random.Random(1)
        header, data = {}, b""
        for name, shape in shapes.items():
            values = array.array("f", (draw.gauss(0, 1) for _ in range(math.prod(shape))))
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * len(values)]}
            data += values.tobytes()
        head = json.dumps(header).encode()
        folder = self.folder / "one-layer"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
        (folder / "config.json").write_text(json.dumps(
            {"model_type": "llama", "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": 24,
             "num_hidden_layers": 1, "num_attention_heads": 2, "rms_norm_eps": 1e-5}))
        return folder

    def test_outside_the_window_one_layer_remembers_nothing(self):
        report = self.recall(self.one_layer_model(), "--sinks", 2, "--window", 30, "--distances", "7,20,23,34,50,90",
                             "--trials", 20)
        rows = {row["distance"]: row for row in report["rows"]}
        self.assertEqual([row["fact_in_window"] for row in report["rows"]], ["inside"] * 3 + ["outside"] * 3)
        for distance in (34, 50, 90):
            self.assertEqual(rows[distance]["gain_nats"], 0)
            self.assertEqual(rows[distance]["accuracy"], rows[distance]["control_accuracy"])
        for distance in (7, 20, 23):
            self.assertNotEqual(rows[distance]["gain_nats"], 0)
        self.assertEqual(report["chance"], 1 / 60)

    def test_a_seed_repeats_a_run_and_text_may_surround_the_facts(self):
        flags = ("--sinks", 4, "--window", 60, "--trials", 5, "--distances", "20,90")
        one = self.recall(MODEL, *flags)
        self.assertEqual(one, self.recall(MODEL, *flags))
        self.assertNotEqual(one["rows"], self.recall(MODEL, *flags, "--seed", 2)["rows"])
        in_text = self.recall(MODEL, *flags, "--text", self.text)
        self.assertEqual(in_text["filler"], str(self.text))
        for row in one["rows"] + in_text["rows"]:
            self.assertGreaterEqual(row["control_accuracy_95"][1], row["control_accuracy"])
            self.assertLess(row["control_accuracy"], 0.2)  # the fact is random tokens

    def test_table_and_page_show_the_figures_of_the_json(self):
        page_path = self.folder / "page.html"
        json_path = self.folder / "report.json"
        table = run(EVAL, "recall", "--model", MODEL, "--window", 40, "--trials", 3, "--html", page_path, "--json",
                    json_path).stdout
        rows = json.loads(json_path.read_text())["rows"]
        self.assertGreater({row["fact_in_window"] for row in rows}, {"inside"})
        for row in rows:
            self.assertRegex(table, rf"\n +{row['distance']}  {row['fact_in_window']} +{row['accuracy']:.3f} ")
        charts = charts_of(page_of(page_path))
        self.assertEqual(charts["gain"]["series"][0]["points"],
                         [[row["distance"], row["gain_nats"], *row["gain_nats_95"]] for row in rows])
        self.assertEqual(charts["accuracy"]["marks"], [{"x": 40, "label": "window"}])

    def test_what_cannot_be_probed_is_an_error(self):
        def error(*flags, code=1):
            return run(EVAL, "recall", "--model", MODEL, *flags, code=code).stderr

        self.assertIn("at 7 or more", error("--distances", "20,3"))
        self.assertIn("--distances", error("--distances", "20,far", code=2))
        self.assertIn("shorter --key-tokens", error("--key-tokens", 1000, "--value-tokens", 20))
        self.assertIn("tokens, a stream of this window", error("--text", self.text))
        error("--trials", 0, code=2)


class Paper(EvalTest):
    def shape(self):
        path = self.folder / "config.json"
        path.write_text(json.dumps({"model_type": "llama", "vocab_size": 300, "hidden_size": 128, "intermediate_size": 200,
                                    "num_hidden_layers": 8, "num_attention_heads": 4, "rms_norm_eps": 1e-5}))
        return path

    def test_the_condensed_cache_takes_less_memory_so_more_sessions_fit(self):
        page_path = self.folder / "page.html"
        json_path = self.folder / "report.json"
        table = run(EVAL, "paper", "--random", f"{self.shape()}=3MiB", "--layer-types", "plain,w=2", "--lengths", "5+59",
                    "--cache-sizes", "16,64", "--steps", 2, "--stream-steps", 3, "--json", json_path, "--html", page_path).stdout
        report = json.loads(json_path.read_text())
        plain, condensed = report["models"]
        self.assertEqual((plain["owners"], condensed["owners"], plain["layers"]), (8, 3, 8))
        self.assertEqual(plain["session_bytes"], 2 * 8 * 64 * 128 * 2)  # keys and values, f16
        self.assertEqual(condensed["session_bytes"] * 8, plain["session_bytes"] * 3)
        self.assertLess(condensed["weight_bytes"], plain["weight_bytes"])
        for model in report["models"]:
            self.assertEqual(model["batch"], ((3 << 20) - model["weight_bytes"]) // model["session_bytes"])
            self.assertEqual(model["cache_bytes"], model["batch"] * model["session_bytes"])  # really allocated
            self.assertGreater(model["resident_bytes"], model["cache_bytes"])
            self.assertGreater(model["tokens_per_s"], 0)
            self.assertGreater(model["tokens_per_cpu_s"], 0)
            self.assertEqual([stream["session_bytes"] * 4 for stream in model["streams"]],
                             [model["session_bytes"], model["session_bytes"] * 4])
            self.assertRegex(table, rf"{model['owners']} of 8 .* {model['batch']} ")
        self.assertGreater(condensed["batch"], plain["batch"] * 2)
        charts = charts_of(page_of(page_path))
        self.assertEqual(charts["batch-0"]["series"][0]["points"],
                         [["plain", plain["batch"]], ["w=2", condensed["batch"]]])
        self.assertEqual([[x, y] for x, y in charts["latency-0"]["series"][1]["points"]],
                         [[stream["cache_size"], stream["step_ms"]["p50"]] for stream in condensed["streams"]])

    def test_what_this_machine_has_no_memory_for_is_computed_only(self):
        report = json.loads(run(EVAL, "paper", "--random", f"{self.shape()}=9000000GiB", "--layer-types", "plain",
                                "--lengths", "5+59", "--json").stdout)
        model = report["models"][0]
        self.assertFalse(model["measured"])
        self.assertIn("MiB available", model["why_not_measured"])
        self.assertGreater(model["batch"], 10**9)
        self.assertNotIn("tokens_per_s", model)

    def test_what_does_not_fit_has_no_throughput(self):
        result = run(EVAL, "paper", "--random", f"{self.shape()}=100KiB", "--layer-types", "plain", "--lengths", "5+59",
                     "--cache-sizes", 16, "--stream-steps", 1)
        self.assertIn("does not fit", result.stdout)

    def test_what_cannot_be_measured_is_an_error_before_anything_is(self):
        def error(*flags, code=1):
            return run(EVAL, "paper", *flags, code=code).stderr

        self.assertIn("expected SHAPE=MEMORY", error("--random", "tinyllama"))
        self.assertIn("expected tinyllama", error("--random", "tinyllama=1GiB,tinylama=1GiB"))
        self.assertIn("tinyllama twice", error("--random", "tinyllama=1GiB,tinyllama=2GiB"))
        self.assertIn("expected w=N", error("--layer-types", "plain,w=3"))
        self.assertIn("as in 5+2043", error("--lengths", "2048"))
        self.assertIn("too short", error("--lengths", "5+6"))
        self.assertIn("too short", error("--lengths", "5+15", "--steps", 4))
        self.assertIn("more than the 4 sinks", error("--cache-sizes", "256,4"))
        self.assertIn("cannot be written", error("--json", "/no/such/folder/report.json"))
        error("--weights", "stored", code=2)


if __name__ == "__main__":
    unittest.main()
