"""What kernels/cuda/toolkit.cmake does with compilers that will not do. Arguments: cmake, the project's folder."""

import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

CMAKE, SOURCE = sys.argv[1:3]


def configure(folder: pathlib.Path, compiler: str, setting: str) -> subprocess.CompletedProcess:
    """Configures a project that has nothing but the file, with CUDACXX set to the compiler."""
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(toolkit LANGUAGES NONE)\n"
        f'include("{SOURCE}/kernels/cuda/toolkit.cmake")\n'
        'message(STATUS "found: ${CONDENSED_CUDA_FOUND}")\n')
    return subprocess.run([CMAKE, "-S", folder, "-B", folder / "build", f"-DCONDENSED_CUDA={setting}"],
                          env={**os.environ, "CUDACXX": compiler}, capture_output=True, text=True, check=False)


class Toolkit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.broken = self.folder / "nvcc"
        self.broken.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 13.0'\nexit 1\n")
        self.broken.chmod(self.broken.stat().st_mode | stat.S_IXUSR)

    def test_auto_leaves_out_what_does_not_work(self):
        result = configure(self.folder, str(self.broken), "AUTO")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"CUDA backend: left out: {self.broken}", result.stdout)
        self.assertIn("found: OFF", result.stdout)

    def test_on_says_what_is_missing(self):
        result = configure(self.folder, str(self.folder / "none"), "ON")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("CONDENSED_CUDA is ON, but", result.stderr)
        self.assertIn(str(self.folder / "none"), result.stderr.replace("\n  ", " "))

    def test_off_looks_for_nothing(self):
        result = configure(self.folder, str(self.broken), "OFF")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn("CUDA compiler", result.stdout)
        self.assertIn("found: OFF", result.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
