"""A state folder that takes nothing any more: the daemon goes on, says so once for each pause, and recovers."""

import resource
import time
import unittest
from pathlib import Path

from daemon_process import TIMEOUT_S, Daemon

MOST_BYTES = 8192  # of a file: less than any snapshot here
N_SESSIONS = 12


class LimitedDaemon(Daemon):
    """Cannot write large files, as on a disk that is full; the limit can be lifted while it runs."""

    def __init__(self):
        super().__init__("--prefill", "serial")
        self.stop()
        self.state = Path(self.folder.name) / "state"
        self.flags = ("--prefill", "serial", "--snapshots", "on_idle=1", "--state-dir", str(self.state),
                      "--max-resident-sessions", str(N_SESSIONS))
        self.process = self.start()

    def limit_file_size(self, n_bytes):
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


class FullDisk(unittest.TestCase):
    def setUp(self):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        if hard != resource.RLIM_INFINITY:
            self.skipTest(f"the size of files is limited to {hard} bytes already")
        self.daemon = LimitedDaemon()
        self.addCleanup(self.daemon.clean_up)

    def wait_until(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, "what was waited for did not come: " + self.daemon.log_text())
            time.sleep(0.01)

    def generate(self, connection, session):
        connection.send(op="generate", session=session, max_tokens=20, ignore_eos=True, temperature=0)
        return [event["token"] for event in connection.until("done") if event["event"] == "token"]

    def test_sessions_stay_until_there_is_room(self):
        connection = self.daemon.connect()
        self.daemon.limit_file_size(MOST_BYTES)
        tokens = {}
        for i in range(N_SESSIONS):
            connection.call(op="open", session=f"s{i}", text="It was a dark night and the captain went")
            tokens[i] = self.generate(connection, f"s{i}")
        self.assertEqual(len({tuple(each) for each in tokens.values()}), 1)
        refused = connection.call(op="save", session="s0")
        self.assertEqual(refused["code"], "snapshot_failed", refused)
        self.assertGreater(refused["retry_after_ms"], 0)
        self.wait_until(lambda: self.n_failed(connection) >= N_SESSIONS)
        self.assertLess(self.daemon.log_text().count("cannot be saved"), N_SESSIONS)
        full = connection.call(op="open", session="another")  # none can make room for it
        self.assertEqual((full.get("code"), full.get("limit")), ("memory_limit", "max_resident_sessions"), full)
        self.assertEqual(connection.call(op="stat")["sessions"], N_SESSIONS)
        self.assertEqual([path.name for path in (self.daemon.state / "sessions").iterdir()], [])

        self.daemon.limit_file_size(resource.RLIM_INFINITY)
        self.wait_until(lambda: all("saved_position" in s for s in connection.call(op="list")["sessions"]))
        self.assertEqual(connection.call(op="open", session="another")["event"], "opened")
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.process = self.daemon.start()
        again = self.daemon.connect()
        self.assertEqual(len({tuple(self.generate(again, f"s{i}")) for i in range(N_SESSIONS)}), 1)

    def n_failed(self, connection):
        text = connection.call(op="metrics")["text"]
        line = next(l for l in text.splitlines() if l.startswith("condensed_snapshot_failures_total"))
        return float(line.split()[-1])


if __name__ == "__main__":
    unittest.main()
