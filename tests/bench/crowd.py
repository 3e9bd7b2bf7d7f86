#!/usr/bin/env python3
"""How long 56 clients wait between two tokens, alone and in a crowd: 1,000 idle connections and 8 that never read.

    tests/bench/crowd.py build/release/daemon/condensed tests/models/books-1m [--tokens N] [--rounds N]

Prints median and 99th percentile, and their ratio; rounds alternate, so that what else the machine does meets both.
Times are taken when bytes arrive, so tokens that arrive together count as no wait."""

import argparse
import os
import resource
import selectors
import statistics
import sys
import time
from pathlib import Path

N_IDLE, N_READ, N_UNREAD = 1000, 56, 8
OPEN_FILES = 1200


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=1000, help="tokens of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def generate(connection, session, **options):
    connection.call(op="open", session=session, text="It was a dark night and ")
    connection.send(op="generate", session=session, ignore_eos=True, **options)


def waits_ms(connections):
    """Reads every stream to its end; the time between any two of its tokens."""
    waits = []
    latest = {connection: None for connection in connections}
    tails = {connection: b"" for connection in connections}
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        while selector.get_map():
            for key, _ in selector.select():
                data = key.fileobj.recv(65536)
                now = time.perf_counter()
                client = key.data
                for _ in range(data.count(b"\n")):
                    if latest[client] is not None:
                        waits.append((now - latest[client]) * 1000)
                    latest[client] = now
                tails[client] = (tails[client] + data)[-1000:]
                if not data:
                    sys.exit("a stream was cut off")
                if b'"event":"done"' in tails[client]:
                    selector.unregister(key.fileobj)
    return waits


def measure(daemon, tokens, crowded):
    idle = [daemon.connect() for _ in range(N_IDLE if crowded else 0)]
    for connection in idle:
        connection.call(op="ping")
    unread = [daemon.connect() for _ in range(N_UNREAD if crowded else 0)]
    for i, connection in enumerate(unread):
        generate(connection, f"unread-{i}")
    readers = [daemon.connect() for _ in range(N_READ)]
    for i, connection in enumerate(readers):
        generate(connection, f"read-{i}", max_tokens=tokens)
    waits = waits_ms(readers)
    for connection in idle + unread + readers:
        connection.close()
    observer = daemon.connect()
    while observer.call(op="stat")["connections"] > 1:
        time.sleep(0.01)
    for session in observer.call(op="list")["sessions"]:
        observer.call(op="close", session=session["session"])
    observer.close()
    daemon.connections.clear()
    return waits


def main():
    arguments = parse_arguments()
    os.environ.update(CONDENSED_BINARY=str(arguments.binary.resolve()), CONDENSED_MODEL=str(arguments.model.resolve()))
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
    from daemon_process import Daemon

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        sys.exit(f"needs {OPEN_FILES} open files, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    daemon = Daemon("--max-connections", "1100", "--send-buffer-bytes", "16384")
    alone, crowded = [], []
    for _ in range(arguments.rounds):
        alone += measure(daemon, arguments.tokens, crowded=False)
        crowded += measure(daemon, arguments.tokens, crowded=True)
    daemon.clean_up()

    def row(name, waits):
        p99 = statistics.quantiles(waits, n=100)[98]
        print(f"{name:12} median {statistics.median(waits):8.3f} ms   p99 {p99:8.3f} ms   ({len(waits)} waits)")
        return statistics.median(waits), p99

    (median, p99), (crowd_median, crowd_p99) = row("alone", alone), row("in a crowd", crowded)
    print(f"{'ratio':12} median {crowd_median / median:8.3f}      p99 {crowd_p99 / p99:8.3f}")


if __name__ == "__main__":
    main()
