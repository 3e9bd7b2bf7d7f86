"""A thousand idle connections and 64 streams, eight of which nobody reads."""

import json
import resource
import selectors
import time
import unittest

from daemon_process import TIMEOUT_S, DaemonTest, sanitized

N_IDLE = 1000
N_READ = 56
N_UNREAD = 8
N_TOKENS = 250  # past the window; and all of it fits the kernel's buffer, so that no reader can ever stall
OPEN_FILES = 1200
SEND_BUFFER = 16384
REPLAY = 65536
MIB = 1 << 20


def prompt(i):
    return f"In the year {1800 + i} there lived"


class Crowd(DaemonTest):
    flags = ("--max-connections", "1100", "--send-buffer-bytes", str(SEND_BUFFER), "--replay-bytes", str(REPLAY),
             "--stall-timeout-ms", "500")
    open_files = OPEN_FILES

    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
            raise unittest.SkipTest(f"needs {OPEN_FILES} open files, the hard limit is {hard}")
        if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))

    def stat(self):
        return self.observer.call(op="stat")

    def wait_until(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, "what was waited for did not come")
            time.sleep(0.01)

    def generate(self, connection, session, i, **options):
        connection.send(op="open", session=session, text=prompt(i))
        connection.send(op="generate", session=session, temperature=0, ignore_eos=True, **options)

    def tokens_alone(self, i):
        connection = self.connect()
        self.generate(connection, "alone", i, max_tokens=N_TOKENS)
        tokens = [event["token"] for event in connection.until("done") if event["event"] == "token"]
        connection.call(op="close", session="alone")
        connection.close()
        return tokens

    def read_all(self, readers):
        """Reads every connection to the `done` of its stream; the lines of each."""
        lines = {connection: b"" for connection in readers}
        with selectors.DefaultSelector() as selector:
            for connection in readers:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            while selector.get_map():
                for key, _ in selector.select(TIMEOUT_S):
                    data = key.fileobj.recv(65536)
                    self.assertTrue(data, "a reader was cut off")
                    lines[key.data] += data
                    if b'"event":"done"' in lines[key.data][-65536 - 100:]:
                        selector.unregister(key.fileobj)
        return [[json.loads(line) for line in lines[connection].splitlines()] for connection in readers]

    def read_to_the_end(self, connection):
        """What an unread connection still holds, without the line that was cut."""
        data = b""
        try:
            while part := connection.socket.recv(65536):
                data += part
        except ConnectionError:
            pass  # it was cut off with our bytes unread
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def test_nobody_suffers_from_those_who_do_not_read(self):
        self.observer = self.connect()
        at_start = self.stat()["resident_bytes"]
        alone = [self.tokens_alone(i) for i in range(N_READ)]
        before_idle = self.stat()["resident_bytes"]
        idle = [self.connect() for _ in range(N_IDLE)]
        for connection in idle:
            self.assertEqual(connection.call(op="ping")["event"], "pong")
        idle_bytes = self.stat()["resident_bytes"] - before_idle

        unread = [self.connect() for _ in range(N_UNREAD)]
        readers = [self.connect() for _ in range(N_READ)]
        for i, connection in enumerate(unread):
            self.generate(connection, f"unread-{i}", i)
        for i, connection in enumerate(readers):
            self.generate(connection, f"read-{i}", i, max_tokens=N_TOKENS)
        for i, events in enumerate(self.read_all(readers)):
            tokens = [event["token"] for event in events if event["event"] == "token"]
            self.assertEqual(tokens, alone[i], f"stream {i}")

        # The eight are paused, then cut off; their sessions stay.
        self.wait_until(lambda: self.stat()["connections"] == 1 + N_IDLE + N_READ)
        self.wait_until(lambda: self.stat()["generating"] == 0)
        log = self.daemon.log_text()
        self.assertEqual(log.count("stall_timeout_ms"), N_UNREAD, log)
        sessions = {session["session"]: session for session in self.observer.call(op="list")["sessions"]}
        for i, connection in enumerate(unread):
            events = self.read_to_the_end(connection)
            positions = [event["position"] for event in events if event["event"] == "token"]
            self.assertEqual(positions, list(range(positions[0], positions[0] + len(positions))))
            self.assertGreater(sessions[f"unread-{i}"]["position"], positions[-1])
        self.assertEqual(len(sessions), N_READ + N_UNREAD)
        for connection in idle:
            self.assertEqual(connection.call(op="ping")["event"], "pong")

        if sanitized():
            self.skipTest("memory is not measured: the daemon is built with a sanitizer")
        # Per stream: its cache, events on their way and unsent ones (each at most the send buffer), what is kept
        # for replays. Per connection: state and an empty buffer. The rest is scratch memory of the steps and
        # what the allocator keeps.
        caches = sum(session["cache_bytes_max"] for session in sessions.values())
        bound = caches + (N_READ + N_UNREAD) * (2 * SEND_BUFFER + REPLAY) + (N_IDLE + 65) * 8192 + 16 * MIB
        grown = self.stat()["resident_bytes"] - at_start
        self.assertLess(grown, bound)
        self.assertLess(idle_bytes / N_IDLE, 8192)
        print(f"resident: {grown / MIB:.1f} MiB more than at start, of {bound / MIB:.1f} allowed;"
              f" an idle connection: {idle_bytes / N_IDLE:.0f} bytes")


if __name__ == "__main__":
    unittest.main()
