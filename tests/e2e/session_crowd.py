"""Many sessions on a daemon with memory for few, touched at random and compared with twins that are computed at once."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

TOKENS = 4  # generated at each touch
VOCABULARY = 1024


@dataclass
class Figures:
    """What was seen while sessions were touched."""

    waits_ms: list[float] = field(default_factory=list)  # from a request for a sleeping session to its answer
    wrong: list[str] = field(default_factory=list)
    resident_bytes: int = 0  # the most
    resident_sessions: int = 0  # the most
    touches: int = 0
    seconds: float = 0


def prompt(number: int) -> list[int]:
    generator = random.Random(number)
    return [generator.randrange(3, VOCABULARY) for _ in range(generator.randrange(2, 9))]


def generated(connection, session: str) -> list[int]:
    connection.send(op="generate", session=session, max_tokens=TOKENS, ignore_eos=True, temperature=0)
    events = connection.until("done", "error")
    if events[-1]["event"] == "error":
        raise RuntimeError(str(events[-1]))
    return [event["token"] for event in events if event["event"] == "token"]


class Worker:
    """One client: the sessions whose number leaves `index` when divided by n_workers."""

    def __init__(self, index: int, n_workers: int, n_sessions: int, connection, undisturbed) -> None:
        self.numbers = range(index, n_sessions, n_workers)
        self.connection = connection
        self.undisturbed = undisturbed
        self.random = random.Random(index)
        self.streams: dict[int, list[int]] = {}  # tokens of each session so far
        self.waits_ms: list[float] = []
        self.wrong: list[str] = []

    def open_all(self) -> None:
        for number in self.numbers:
            self.streams[number] = prompt(number)
            self.call(op="open", session=f"s{number}", bos=False, tokens=self.streams[number])

    def call(self, **request) -> dict:
        answer = self.connection.call(**request)
        if answer["event"] == "error":
            raise RuntimeError(f"{request}: {answer}")
        return answer

    def expected(self, stream: list[int]) -> list[int]:
        """What a session that was always there would say."""
        twin = self.undisturbed.call(op="open", bos=False, tokens=stream)["session"]
        tokens = generated(self.undisturbed, twin)
        self.undisturbed.call(op="close", session=twin)
        return tokens

    def touch(self, n_touches: int) -> None:
        for _ in range(n_touches):
            number = self.random.choice(self.numbers)
            stream = self.streams[number]
            session = f"s{number}"
            asleep = self.call(op="stat", session=session)["state"] == "asleep"
            began = time.perf_counter()
            if asleep:
                self.call(op="open", session=session)  # does nothing but wake it
                self.waits_ms.append((time.perf_counter() - began) * 1000)
            found = generated(self.connection, session)
            expected = self.expected(stream)
            if found != expected:
                self.wrong.append(f"{session} at {len(stream)}: {found}, its twin {expected}")
            stream += found


def run_all(workers: list[Worker], work) -> None:
    """In a thread each; what one raises is raised here."""
    failures = []

    def guarded(worker):
        try:
            work(worker)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def touch_at_random(daemon, undisturbed, n_sessions: int, n_touches: int, n_workers: int) -> Figures:
    """Opens the sessions and touches them; the daemon's memory is looked at throughout."""
    figures = Figures()
    observer = daemon.connect()
    done = threading.Event()

    def observe():
        while not done.is_set():
            stat = observer.call(op="stat")
            figures.resident_bytes = max(figures.resident_bytes, stat["resident_bytes"])
            figures.resident_sessions = max(figures.resident_sessions, stat["sessions"] - stat["asleep"])
            done.wait(0.05)

    workers = [Worker(i, n_workers, n_sessions, daemon.connect(), undisturbed.connect()) for i in range(n_workers)]
    observing = threading.Thread(target=observe)
    observing.start()
    try:
        run_all(workers, Worker.open_all)
        began = time.perf_counter()
        run_all(workers, lambda worker: worker.touch(n_touches // n_workers))
        figures.seconds = time.perf_counter() - began
    finally:
        done.set()
        observing.join()
    for worker in workers:
        figures.waits_ms += worker.waits_ms
        figures.wrong += worker.wrong
    figures.touches = n_touches // n_workers * n_workers
    return figures


def wake_quantile_ms(metrics: str, quantile: float) -> float:
    """The bound of the bucket of the daemon's own histogram that holds the quantile."""
    buckets = []
    for line in metrics.splitlines():
        if line.startswith("condensed_wake_seconds_bucket"):
            bound = line.split('le="')[1].split('"')[0]
            buckets.append((float(bound), float(line.split()[-1])))
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count >= quantile * total) * 1000
