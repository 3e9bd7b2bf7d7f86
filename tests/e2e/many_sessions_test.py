"""Twenty times as many sessions as there is memory for: every answer is right and memory stays bounded."""

import unittest
from pathlib import Path

from daemon_process import Daemon, DaemonTest, sanitized
from session_crowd import touch_at_random, wake_quantile_ms

N_SESSIONS = 400
N_RESIDENT = 20
N_TOUCHES = 800
N_WORKERS = 8
MIB = 1 << 20
# Of a session that sleeps: its entry in the engine, the stream that its client is attached to, and up to 24 of the
# events kept for clients that come back.
ASLEEP_BYTES = 16384


class ManySessions(DaemonTest):
    flags = ("--prefill", "serial", "--max-resident-sessions", str(N_RESIDENT), "--snapshots", "never")

    def setUp(self):
        super().setUp()
        self.daemon.stop()
        self.state = Path(self.daemon.folder.name) / "state"
        self.daemon.flags = (*self.flags, "--state-dir", str(self.state))
        self.daemon.process = self.daemon.start()
        self.undisturbed = Daemon("--prefill", "serial")
        self.addCleanup(self.undisturbed.clean_up)

    def test_touched_at_random(self):
        observer = self.connect()
        at_start = observer.call(op="stat")["resident_bytes"]
        figures = touch_at_random(self.daemon, self.undisturbed, N_SESSIONS, N_TOUCHES, N_WORKERS)
        self.assertEqual(figures.wrong, [])
        self.assertLessEqual(figures.resident_sessions, N_RESIDENT)
        self.assertGreater(len(figures.waits_ms), N_TOUCHES // 2)
        metrics = observer.call(op="metrics")["text"]
        self.assertGreater(wake_quantile_ms(metrics, 0.99), 0)
        sessions = observer.call(op="list")["sessions"]
        self.assertEqual(len(sessions), N_SESSIONS)
        if sanitized():
            self.skipTest("memory is not measured: the daemon is built with a sanitizer")
        # Caches of those in memory and copies of those being saved (16 at most), packed and not; what a sleeping
        # session costs; scratch memory of the steps and what the allocator keeps.
        cache = max(session["cache_bytes_max"] for session in sessions)
        bound = N_RESIDENT * cache + 16 * 2 * cache + N_SESSIONS * ASLEEP_BYTES + 16 * MIB
        grown = figures.resident_bytes - at_start
        self.assertLess(grown, bound)
        print(f"resident: {grown / MIB:.1f} MiB more than at start, of {bound / MIB:.1f} allowed")


if __name__ == "__main__":
    unittest.main()
