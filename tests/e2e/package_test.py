"""The Debian package: built from this build, installed into a root of its own, run from there, purged."""

import gzip
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from daemon_process import TIMEOUT_S, Connection
from service_test import Notifications

CPACK_CONFIG = os.environ["CONDENSED_CPACK_CONFIG"]
NEEDED = ("cpack", "dpkg", "dpkg-shlibdeps", "file", "systemd-sysusers", "deb-systemd-helper")
MISSING = [tool for tool in NEEDED if not shutil.which(tool)]
UNITS = ("condensed.service", "condensed.socket", "condensed-metrics.socket")


def run(*command: str, **options) -> subprocess.CompletedProcess:
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, **options)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result


def setUpModule():
    """Builds the package, once. Where tools are missing, every test is skipped."""
    if MISSING:
        raise unittest.SkipTest(f"missing: {', '.join(MISSING)} (packages dpkg-dev, file, systemd, init-system-helpers)")
    folder = tempfile.TemporaryDirectory(prefix="condensed-package-")
    unittest.addModuleCleanup(folder.cleanup)
    run("cpack", "--config", CPACK_CONFIG, "-G", "DEB", "-B", folder.name)
    global PACKAGE
    (PACKAGE,) = Path(folder.name).glob("*.deb")


class Root:
    """A system of its own below a folder, as far as dpkg is concerned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.admin = folder / "var/lib/dpkg"
        for part in ("info", "updates", "triggers"):
            (self.admin / part).mkdir(parents=True)
        for name in ("status", "available"):
            (self.admin / name).touch()
        (folder / "etc").mkdir()
        for name in ("passwd", "group"):
            (folder / "etc" / name).write_text("root:x:0:0:root:/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n")

    def dpkg(self, *arguments: str) -> None:
        run(
            "dpkg",
            f"--root={self.folder}",
            "--force-not-root,script-chrootless,depends,bad-path",
            "--log=/dev/null",
            *arguments,
            env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
        )

    def files(self) -> set[str]:
        """What is there, apart from dpkg's and sysusers' own books."""
        found = set()
        for path in self.folder.rglob("*"):
            name = str(path.relative_to(self.folder))
            books = name.startswith("var/lib/dpkg/") or re.fullmatch(r"etc/(passwd|group|g?shadow|\.pwd\.lock)-?", name)
            if not books and (path.is_symlink() or not path.is_dir()):
                found.add(name)
        return found

    def remaining(self, path: str) -> bool:
        return os.path.lexists(self.folder / path)


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        work = tempfile.TemporaryDirectory(prefix="condensed-root-")
        cls.addClassCleanup(work.cleanup)
        cls.root = Root(Path(work.name))
        cls.root.dpkg("--install", str(PACKAGE))
        cls.installed = cls.root.files()

    def path(self, name: str) -> Path:
        return self.root.folder / name

    def test_everything_is_in_its_place(self):
        self.assertGreaterEqual(
            self.installed,
            {
                "usr/bin/condensed",
                "usr/bin/condensectl",
                "etc/condensed/condensed.toml",
                "lib/systemd/system/condensed.service",
                "lib/systemd/system/condensed.socket",
                "usr/lib/sysusers.d/condensed.conf",
                "usr/lib/tmpfiles.d/condensed.conf",
                "usr/share/condensed/models/books-6m/model.safetensors",
                "usr/share/bash-completion/completions/condensectl",
                "usr/share/zsh/vendor-completions/_condensed",
                "usr/share/fish/vendor_completions.d/condensed.fish",
                "usr/share/man/man1/condensectl.1.gz",
                "usr/share/man/man5/condensed.toml.5.gz",
                "usr/share/man/man8/condensed.8.gz",
                "usr/share/doc/condensed/copyright",
                "usr/share/doc/condensed/changelog.gz",
                "usr/share/doc/condensed/examples/condensed.service.d-gpu.conf",
            },
        )
        allowed = ("usr/", "lib/systemd/system/", "etc/condensed/", "etc/systemd/system/", "var/lib/systemd/", "run/")
        self.assertEqual([name for name in self.installed if not name.startswith(allowed)], [])
        self.assertFalse([name for name in self.installed if name.startswith(("usr/etc", "usr/local"))])

    def test_documentation_is_compressed_as_debian_wants(self):
        for name in sorted(self.installed):
            if name.startswith("usr/share/doc/") and name.endswith(".md"):
                self.assertLessEqual(self.path(name).stat().st_size, 4096, name)
            if name.endswith(".gz"):
                self.assertTrue(gzip.decompress(self.path(name).read_bytes()), name)

    def test_units_run_what_is_installed(self):
        service = self.path("lib/systemd/system/condensed.service").read_text()
        program, config = re.search(r"^ExecStart=/(\S+) --config /(\S+)", service, re.M).groups()
        self.assertIn(program, self.installed)
        self.assertIn(config, self.installed)
        enabled = {Path(name).name for name in self.installed if name.startswith("etc/systemd/system/")}
        self.assertEqual(enabled, set(UNITS))

    def test_groups_and_folders_are_made(self):
        groups = {line.split(":")[0] for line in self.path("etc/group").read_text().splitlines()}
        self.assertGreaterEqual(groups, {"condensed", "condensed-admin"})
        # Clients pass through this folder whatever else happens.
        self.assertEqual(self.path("run/condensed").stat().st_mode & 0o7777, 0o755)

    def test_control_data(self):
        fields = run("dpkg-deb", "--field", str(PACKAGE)).stdout
        depends = re.search(r"^Depends: (.*)$", fields, re.M).group(1)
        for library in ("libc6", "libstdc++6", "libsystemd0", "libsentencepiece0"):
            self.assertIn(library, depends)
        conffiles = run("dpkg-deb", "--info", str(PACKAGE), "conffiles").stdout
        self.assertEqual(conffiles, "/etc/condensed/condensed.toml\n")

    def command(self) -> list[str]:
        config = self.path("etc/condensed/condensed.toml")
        model = self.path("usr/share/condensed/models/books-6m")
        return [str(self.path("usr/bin/condensed")), "--config", str(config), "--model", str(model)]

    def test_the_installed_daemon_serves(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        notifications = Notifications(Path(folder.name) / "notify")
        self.addCleanup(notifications.socket.close)
        path = folder.name + "/socket"
        process = subprocess.Popen(
            [*self.command(), "--socket", path],
            env={**os.environ, "NOTIFY_SOCKET": notifications.path},
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        notifications.until("^READY=1$")
        ping = run(str(self.path("usr/bin/condensectl")), "--socket", path, "stat")
        self.assertIn("books-6m", ping.stdout)
        process.terminate()
        notifications.until("^STOPPING=1$")
        self.assertEqual(process.wait(TIMEOUT_S), 0)

    @unittest.skipUnless(shutil.which("systemd-socket-activate"), "systemd-socket-activate is missing: install systemd")
    def test_the_installed_daemon_is_activated_by_its_socket(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = folder.name + "/socket"
        process = subprocess.Popen(
            ["systemd-socket-activate", "--listen", path, *self.command()],
            env={**os.environ, "NOTIFY_SOCKET": ""},
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + TIMEOUT_S
        while not os.path.exists(path) and time.monotonic() < deadline:
            time.sleep(0.02)
        client = self.connected(path, deadline)
        self.assertEqual(client.call(op="ping")["event"], "pong")  # starts it
        process.terminate()
        self.assertEqual(client.until("bye")[-1]["reason"], "shutdown")
        self.assertEqual(process.wait(TIMEOUT_S), 0)
        self.assertTrue(os.path.exists(path))

    def connected(self, path: str, deadline: float) -> Connection:
        while True:
            try:
                client = Connection(path)
                self.addCleanup(client.close)
                return client
            except (ConnectionRefusedError, FileNotFoundError):  # bound, and not listening yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    @unittest.skipUnless(shutil.which("lintian"), "lintian is missing: install it to check the package's form")
    def test_lintian_finds_no_errors(self):
        result = subprocess.run(
            ["lintian", "--allow-root", "--fail-on", "error", str(PACKAGE)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        self.assertEqual(result.returncode, 0, result.stdout)


class Removal(unittest.TestCase):
    def test_configuration_survives_removal_and_nothing_survives_purging(self):
        work = tempfile.TemporaryDirectory(prefix="condensed-root-")
        self.addCleanup(work.cleanup)
        root = Root(Path(work.name))
        before = root.files()
        root.dpkg("--install", str(PACKAGE))
        state = root.folder / "var/lib/private/condensed"
        state.mkdir(parents=True)
        (state / "snapshot").write_text("a stream")
        (root.folder / "var/lib/condensed").symlink_to("private/condensed")
        config = root.folder / "etc/condensed/condensed.toml"
        config.write_text(config.read_text() + "# mine\n")
        root.dpkg("--install", str(PACKAGE))  # again, as an upgrade does
        self.assertIn("# mine", config.read_text())
        root.dpkg("--remove", "condensed")
        self.assertIn("# mine", config.read_text())
        self.assertTrue((state / "snapshot").exists())
        self.assertFalse(root.remaining("usr/bin/condensed"))
        root.dpkg("--purge", "condensed")
        self.assertEqual(root.files() - before, set())
        for path in ("etc", "var/lib", "var/lib/private", "run", "usr/share"):
            self.assertFalse(root.remaining(f"{path}/condensed"), path)


if __name__ == "__main__":
    unittest.main()
