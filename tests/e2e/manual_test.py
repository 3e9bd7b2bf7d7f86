"""Manual pages and completions say what the programs say of themselves."""

import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from daemon_process import BINARY, TIMEOUT_S, DaemonTest

ROOT = Path(__file__).resolve().parents[2]
MAN = ROOT / "etc/man"
COMPLETIONS = ROOT / "etc/completions"
CTL = os.environ["CONDENSECTL_BINARY"]
PATH = os.pathsep.join([str(Path(BINARY).parent), str(Path(CTL).parent), os.environ["PATH"]])
COMMANDS_EVERYBODY_HAS = {"generate", "append", "chat", "sessions", "stat", "close"}


def output(*command: str, **variables: str) -> str:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
        env={**os.environ, "PATH": PATH, **variables},
    ).stdout


def commands(*command: str) -> set[str]:
    listed = output(CTL, *command, "--help").split("Subcommands:")[1:]
    return set(re.findall(r"^  ([a-z][a-z-]*)", "".join(listed), re.M))


def all_commands() -> list[tuple[str, ...]]:
    """Each command, and each of those that have some of their own with one of these."""
    names = sorted(commands())
    return [(name,) for name in names] + [(name, inner) for name in names for inner in sorted(commands(name))]


def flags(*program: str) -> set[str]:
    return set(re.findall(r"^  (?:-\w,)?--([a-z][a-z-]*)", output(*program, "--help"), re.M))


class Manual(unittest.TestCase):
    def page(self, name: str) -> str:
        return (MAN / name).read_text()

    def test_what_programs_list_is_found(self):
        self.assertGreaterEqual(commands(), COMMANDS_EVERYBODY_HAS)
        self.assertGreaterEqual(flags(BINARY), {"config", "check", "max-sessions", "socket-mode", "help"})
        self.assertGreaterEqual(flags(CTL, "generate"), {"max-tokens", "stop"})
        self.assertGreaterEqual(commands("bench"), {"stream", "prefill"})

    def test_every_setting_is_in_condensed_toml(self):
        keys = {flag.replace("-", "_") for flag in flags(BINARY) - {"config", "check", "help", "version"}}
        documented = re.findall(r"^\.It Ic (\w+)$", self.page("condensed.toml.5"), re.M)
        self.assertEqual(len(documented), len(set(documented)))
        self.assertEqual(set(documented), keys)

    def test_reloadable_settings_are_marked(self):
        table = (ROOT / "daemon/settings.cpp").read_text()
        entries = re.split(r'\n      \{"', table)[1:]
        reloadable = {entry.split('"')[0] for entry in entries if "kReloadable}" in entry}
        self.assertGreaterEqual(reloadable, {"log_level", "max_connections"})
        items = self.page("condensed.toml.5").split(".It Ic ")[1:]
        marked = {item.split("\n")[0] for item in items if re.search(r"[Rr]eloadable\.$", item, re.M)}
        self.assertEqual(marked, reloadable)

    def test_every_command_and_flag_is_in_condensectl(self):
        page = self.page("condensectl.1")
        self.assertEqual(set(re.findall(r"^\.It Ic ([a-z-]+)", page, re.M)), commands())
        self.assertEqual(set(re.findall(r"^\.It Cm ([a-z-]+)", page, re.M)), commands("bench"))
        for command in all_commands():
            for flag in flags(CTL, *command):
                self.assertIn(f"Fl -{flag}", page, f"{command} --{flag}")

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is missing: install the package mandoc")
    def test_pages_are_sound(self):
        for page in sorted(MAN.iterdir()):
            result = subprocess.run(
                ["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True, timeout=TIMEOUT_S
            )
            self.assertEqual((result.returncode, result.stdout), (0, ""), page)


class Completions(DaemonTest):
    def bash(self, *words: str) -> set[str]:
        """What bash offers for the last word."""
        script = (
            f'. "{COMPLETIONS / Path(words[0]).name}.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            f'_{words[0]}; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        return set(output("bash", "-c", script, "bash", *words).split())

    def fish(self, *words: str) -> set[str]:
        line = " ".join(words)
        script = f'source {COMPLETIONS / words[0]}.fish; complete -C "{line}"'
        home = self.daemon.folder.name
        lines = output("fish", "--no-config", "-c", script, HOME=home, XDG_CONFIG_HOME=home, XDG_DATA_HOME=home)
        return {line.split("\t")[0] for line in lines.splitlines()}

    def zsh(self, *words: str) -> set[str]:
        """What the script hands to zsh, which keeps what begins with the last word."""
        script = (
            'compadd() { print -rl -- "${(P@)2}" }; words=("$@"); CURRENT=$#; '
            f'source "{COMPLETIONS / words[0]}.zsh"'
        )
        return {word for word in output("zsh", "-f", "-c", script, "zsh", *words).split() if word.startswith(words[-1])}

    def check_flags_and_commands(self, offered) -> None:
        self.assertEqual(offered("condensectl", ""), commands())
        self.assertEqual(offered("condensectl", "ge"), {"generate"})
        self.assertEqual(offered("condensectl", "bench", ""), commands("bench"))
        for command in all_commands():
            wanted = {f"--{flag}" for flag in flags(CTL, *command) | flags(CTL)}
            self.assertEqual(offered("condensectl", *command, "--"), wanted, command)
        self.assertEqual(offered("condensed", "--"), {f"--{flag}" for flag in flags(BINARY)})

    def test_bash_offers_all_commands_and_flags(self):
        self.check_flags_and_commands(self.bash)

    def test_bash_offers_the_sessions_of_the_daemon_that_is_meant(self):
        self.connect().call(op="open", session="story")
        socket = self.daemon.socket_path
        self.assertEqual(self.bash("condensectl", "--socket", socket, "stat", ""), {"story"})
        self.assertEqual(self.bash("condensectl", "--socket", socket, "generate", "--session", "st"), {"story"})
        self.assertEqual(self.bash("condensectl", "--socket", socket + "-none", "stat", ""), set())
        self.assertIn(socket, self.bash("condensectl", "--socket", socket[:-1]))

    @unittest.skipUnless(shutil.which("fish"), "fish is missing: install it to test its completions")
    def test_fish_offers_all_commands_and_flags(self):
        self.check_flags_and_commands(self.fish)

    @unittest.skipUnless(shutil.which("zsh"), "zsh is missing: install it to test its completions")
    def test_zsh_offers_all_commands_and_flags(self):
        self.check_flags_and_commands(self.zsh)
        for path in sorted(COMPLETIONS.glob("*.zsh")):
            self.assertEqual(path.read_text().splitlines()[0], f"#compdef {path.stem}")


if __name__ == "__main__":
    unittest.main()
