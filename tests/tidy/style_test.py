"""What docs/design.md says of the code's shape, checked: layers, names, formatting, links."""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAY_INCLUDE = {
    "report": {"report"},
    "kernels": {"kernels"},
    "cache": {"kernels", "cache"},
    "engine": {"kernels", "cache", "engine"},
    "daemon": {"kernels", "cache", "engine", "daemon"},
    "eval": {"report", "kernels", "cache", "engine", "eval"},
    "quantize": {"kernels", "engine", "quantize"},
    "train": {"report", "kernels", "engine", "train"},
    "clients": {"report", "clients"},
}
MAX_LINES = 700
# The standard library's, the system's, and those that come with compilers for processors and for CUDA.
PLATFORM_HEADERS = r"^(\w+|sys/.*|(fcntl|unistd|pthread|sched|immintrin|arm_neon|dlfcn|cuda\w*|cublas\w*|nv\w+)\.h)$"


def sources(*folders):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cpp", ".cu"):
                yield path


def all_sources():
    return sources(*MAY_INCLUDE, "tests")


class Style(unittest.TestCase):
    def test_layers_include_only_what_is_below_them(self):
        for folder, allowed in MAY_INCLUDE.items():
            for path in sources(folder):
                for included in re.findall(r'^#include "([^"]+)"', path.read_text(), re.M):
                    self.assertIn(included.split("/")[0], allowed, f"{path.relative_to(ROOT)} includes {included}")

    def test_what_computes_a_model_needs_no_library(self):
        todo = [*sources("kernels", "cache", "tests/gpu")]
        for folder, variable in (("engine", "model_sources"), ("eval", "measure_sources")):
            listed = re.search(rf"set\({variable}\s([^)]*)\)", (ROOT / folder / "CMakeLists.txt").read_text())
            todo += [ROOT / folder / name for name in listed.group(1).split()]
        self.assertGreater(len(todo), 60)
        seen = set()
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            for quote, name in re.findall(r'^#\s*include (["<])([^">]+)', path.read_text(), re.M):
                if quote == '"' and (ROOT / name).exists():
                    todo.append(ROOT / name)
                elif quote == "<":
                    self.assertRegex(name, PLATFORM_HEADERS, f"{path.relative_to(ROOT)} includes it")

    def test_headers_are_guarded_and_files_are_small(self):
        for path in all_sources():
            text = path.read_text()
            self.assertLessEqual(text.count("\n"), MAX_LINES, path.relative_to(ROOT))
            if path.suffix == ".h":
                self.assertTrue(text.startswith("#pragma once"), path.relative_to(ROOT))

    def test_names_say_where_things_belong(self):
        for path in all_sources():
            self.assertIsNone(re.search(r"util|common|helper|manager|misc", path.stem), path.relative_to(ROOT))

    def test_nothing_is_left_unfinished(self):
        words = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
        for path in all_sources():
            self.assertIsNone(words.search(path.read_text()), path.relative_to(ROOT))

    def test_files_are_formatted(self):
        files = [str(path) for path in all_sources()]
        result = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr[:2000])

    def test_links_of_the_documentation_exist(self):
        pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        for page in pages:
            for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
                if not link.startswith("http"):
                    self.assertTrue((page.parent / link).exists(), f"{page.name} links to {link}")

    def test_every_setting_is_documented(self):
        keys = re.findall(r'^ {6}\{"(\w+)",', (ROOT / "daemon/settings.cpp").read_text(), re.M)
        self.assertGreater(len(keys), 15)
        for page in ("docs/configuration.md", "etc/condensed.toml"):
            text = (ROOT / page).read_text()
            for key in keys:
                self.assertRegex(text, rf"\b{key}\b", f"{page} lacks {key}")


if __name__ == "__main__":
    unittest.main()
