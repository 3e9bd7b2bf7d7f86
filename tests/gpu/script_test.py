"""etc/gpu-check.sh on machines that lack things, with devices that are made up, and as a dry run."""

import json
import os
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "etc/gpu-check.sh"
PROGRAM = os.environ["CONDENSED_GPU_CHECK"]
# What the script itself is written in.
SHELL_TOOLS = ("bash", "cat", "date", "dirname", "env", "grep", "head", "mkdir", "nproc", "printf", "rm", "sed", "sort", "tail",
               "tee", "tr", "uname")


class Machine:
    """A folder of programs that is all the PATH there is."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for tool in SHELL_TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def add(self, name, text, folder=None):
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def add_gpu(self):
        self.add("nvidia-smi", 'echo "Test GPU, 999.1, 1 MiB, 9.0"')
        self.cuda = self.folder / "cuda/bin"
        self.add("nvcc", "echo release 13.0", self.cuda)
        # As the real one: options, then a command whose exit code it passes on.
        self.add("compute-sanitizer", 'echo "$2" >>"$TOOLS"; shift 4; "$@"', self.cuda)

    def run(self, *arguments):
        environment = {"PATH": str(self.bin), "CUDA_HOME": str(self.folder / "cuda"),
                       "TOOLS": str(self.folder / "tools")}
        return subprocess.run([str(self.bin / "bash"), str(SCRIPT), *arguments], env=environment, cwd=self.folder,
                              capture_output=True, text=True, timeout=120)

    def report(self):
        return json.loads((self.folder / "out/report.json").read_text())


class GpuCheckScript(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.machine = Machine(folder.name)

    def outcomes(self):
        return {step["name"]: step["outcome"] for step in self.machine.report()["steps"]}

    def test_says_all_that_a_machine_lacks(self):
        result = self.machine.run("--out", "out")
        self.assertEqual(result.returncode, 3, result.stderr)
        for what in ("CMake: there is no cmake", "there is no g++", "ninja or make", "nvcc: not in", "a GPU: there is no"):
            self.assertIn(what, result.stderr)
        self.assertFalse((self.machine.folder / "out").exists())

    def test_says_what_is_too_old(self):
        self.machine.add_gpu()
        self.machine.add("cmake", "echo cmake version 3.20.1")
        self.machine.add("g++", "echo g++ 9.4.0")
        self.machine.add("ninja", "")
        result = self.machine.run()
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("CMake 3.22 or later: cmake is version 3.20.1", result.stderr)
        self.assertIn("g++ 11 or later: g++ is version 9.4.0", result.stderr)
        self.assertNotIn("nvcc", result.stderr)

    def test_says_what_is_wrong_with_the_driver(self):
        self.machine.add_gpu()
        self.machine.add("nvidia-smi", "echo Driver/library version mismatch; exit 18")
        result = self.machine.run("--program", PROGRAM)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("nvidia-smi says: Driver/library version mismatch", result.stderr)

    def test_refuses_unknown_arguments(self):
        for arguments in (["--fast"], ["--device"], ["--device", "tpu"], ["--jobs", "0"], ["--limit", "long"]):
            self.assertEqual(self.machine.run(*arguments).returncode, 2, arguments)

    def test_a_dry_run_checks_the_processor(self):
        result = self.machine.run("--device", "cpu", "--program", PROGRAM, "--out", "out")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        report = self.machine.report()
        self.assertTrue(report["held"])
        self.assertEqual(report["checks"]["failed"], 0)
        names = [check["name"] for check in report["checks"]["checks"] + report["speeds"]["checks"]]
        for name in ("operations.attend", "golden.condensed-w2.serial", "streams.condensed-w2-stream.cpu_to_device",
                     "evenness.tinyllama", "batch.llama-7b.w=2"):
            self.assertIn(name, names)
        self.assertEqual(self.outcomes()["memcheck"], "skipped")
        self.assertIn("Everything that ran held", (self.machine.folder / "out/summary.txt").read_text())

    def made_up_program(self, code):
        return self.machine.add("program", 'while [ $# -gt 0 ]; do [ "$1" != --json ] || echo "{}" >"$2"; shift; done\n'
                                f'echo "FAILED  \\"a\\" thing"\nexit {code}')

    def test_runs_the_sanitizer_and_the_measurements(self):
        self.machine.add_gpu()
        result = self.machine.run("--program", str(self.made_up_program(0)), "--out", "out")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual((self.machine.folder / "tools").read_text().split(), ["memcheck", "racecheck", "synccheck"])
        self.assertEqual(set(self.outcomes().values()), {"passed"})
        self.assertEqual(self.machine.report()["gpus"], "Test GPU, 999.1, 1 MiB, 9.0")

    def test_a_failed_check_is_told_and_the_rest_is_run(self):
        self.machine.add_gpu()
        result = self.machine.run("--program", str(self.made_up_program(1)), "--out", "out")
        self.assertEqual(result.returncode, 1)
        self.assertFalse(self.machine.report()["held"])
        self.assertEqual(set(self.outcomes().values()), {"FAILED"})
        self.assertIn('FAILED  "a" thing', (self.machine.folder / "out/summary.txt").read_text())

    def test_results_of_an_earlier_run_are_not_reported(self):
        self.machine.add_gpu()
        out = self.machine.folder / "out"
        out.mkdir()
        (out / "speeds.json").write_text('{"old": 1}')
        self.machine.run("--program", str(self.machine.add("program", "exit 1")), "--out", "out")
        self.assertNotIn("speeds", self.machine.report())

    def test_a_program_that_finds_no_device_is_a_failure(self):
        self.machine.add_gpu()
        result = self.machine.run("--program", str(self.made_up_program(77)), "--out", "out")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.outcomes(), {"checks": "skipped"})

    def test_what_the_sanitizer_finds_is_a_failure(self):
        self.machine.add_gpu()
        self.machine.add("compute-sanitizer", '[ "$2" != racecheck ] || exit 99', self.machine.cuda)
        result = self.machine.run("--program", str(self.made_up_program(0)), "--out", "out")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.outcomes()["racecheck"], "FAILED")
        self.assertEqual(self.outcomes()["speeds"], "passed")


if __name__ == "__main__":
    unittest.main()
