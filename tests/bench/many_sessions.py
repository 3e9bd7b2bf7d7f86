#!/usr/bin/env python3
"""What it costs to have many more sessions than memory: wake-up times, throughput, memory and disk.

    tests/bench/many_sessions.py build/release/daemon/condensed tests/models/books-1m [--sessions N] [--resident N]

Sessions are touched at random by a few clients; every token is compared with what a daemon with memory for all says.
A wake-up is timed from the request to the answer, at the client, and by the daemon (from request to being in memory)."""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

MIB = 1 << 20


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--resident", type=int, default=100)
    parser.add_argument("--touches", type=int, default=10000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--snapshots", default="never", help="policy; sessions are saved at least when they leave memory")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    os.environ.update(CONDENSED_BINARY=str(arguments.binary.resolve()), CONDENSED_MODEL=str(arguments.model.resolve()))
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
    from daemon_process import Daemon
    from session_crowd import touch_at_random, wake_quantile_ms

    with tempfile.TemporaryDirectory(prefix="condensed-bench-") as state:
        undisturbed = Daemon("--prefill", "serial")
        daemon = Daemon("--prefill", "serial", "--state-dir", state, "--snapshots", arguments.snapshots,
                        "--max-resident-sessions", str(arguments.resident), "--max-sessions", str(arguments.sessions))
        try:
            observer = daemon.connect()
            at_start = observer.call(op="stat")["resident_bytes"]
            figures = touch_at_random(daemon, undisturbed, arguments.sessions, arguments.touches, arguments.clients)
            metrics = observer.call(op="metrics")["text"]
            files = [path.stat().st_size for path in (Path(state) / "sessions").iterdir()]
        finally:
            daemon.clean_up()
            undisturbed.clean_up()
    p99 = statistics.quantiles(figures.waits_ms, n=100)[98]
    print(f"{arguments.sessions} sessions, memory for {arguments.resident} (at most {figures.resident_sessions} there)")
    print(f"wrong answers     {len(figures.wrong)} of {figures.touches}")
    print(f"wake-up, client   median {statistics.median(figures.waits_ms):.2f} ms   p99 {p99:.2f} ms   "
          f"({len(figures.waits_ms)} wake-ups)")
    print(f"wake-up, daemon   median ≤ {wake_quantile_ms(metrics, 0.5):g} ms   p99 ≤ {wake_quantile_ms(metrics, 0.99):g} ms")
    print(f"throughput        {figures.touches / figures.seconds:.0f} touches/s, each checked against a twin")
    print(f"resident memory   {at_start / MIB:.1f} MiB at start, at most {figures.resident_bytes / MIB:.1f} MiB")
    print(f"disk              {sum(files) / MIB:.1f} MiB in {len(files)} files")
    if figures.wrong:
        sys.exit("\n".join(figures.wrong[:10]))


if __name__ == "__main__":
    main()
