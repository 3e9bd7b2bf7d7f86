#!/usr/bin/env python3
"""Python client of the condensed daemon (docs/protocol.md). One file, standard library only.

    with Client("/run/condensed/condensed.sock") as client:
        client.open("story", text="Once upon a time")
        for token in client.generate("story", max_tokens=100, temperature=0.8):
            print(token["text"], end="", flush=True)
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import sys
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Union

DEFAULT_SOCKET = "/run/condensed/condensed.sock"
PART_BYTES = 48 << 10
"""Of a session's file in one request: as base64 well below the daemon's line limit."""


class RequestFailed(Exception):
    """The daemon answered with an `error` event; `code` is one of docs/protocol.md.

    `limit` is the daemon's setting that was reached, if any, and `retry_after_ms` when trying again may help."""

    def __init__(self, event: Dict[str, Any]) -> None:
        self.code: str = event["code"]
        self.limit: Optional[str] = event.get("limit")
        self.retry_after_ms: Optional[int] = event.get("retry_after_ms")
        retry = "" if self.retry_after_ms is None else f" (try again in {self.retry_after_ms} ms)"
        super().__init__(f"{self.code}: {event['message']}{retry}")


class ConnectionLost(Exception):
    """The daemon has gone, or did not answer in time."""


class Client:
    """One connection. Not thread-safe: use one per thread.

    `user` (a name or a number) makes every request one about that user's sessions; "*" is for list() only, and means
    everybody's. Root and the members of the daemon's admin_group may do that."""

    def __init__(
        self, path: Optional[str] = None, timeout_s: Optional[float] = None, user: Union[str, int, None] = None
    ) -> None:
        self.user = user
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(path or os.environ.get("CONDENSED_SOCKET", DEFAULT_SOCKET))
        except OSError as error:
            self._socket.close()
            raise ConnectionLost(f"cannot connect: {error}") from error
        self._lines = self._socket.makefile("rb")
        self._next_id = 1
        self._waiting: Dict[int, Deque[Dict[str, Any]]] = {}
        self.unasked: Deque[Dict[str, Any]] = deque(maxlen=10_000)
        """Events that answer no request of ours: watched streams, `closed`, `lagged`, `bye`."""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Ends the connection; sessions stay."""
        self._lines.close()
        self._socket.close()

    def open(self, session: Optional[str] = None, **options: Any) -> Dict[str, Any]:
        """Opens or finds a session; options: sinks, window, text, tokens, bos."""
        if session is not None:
            options["session"] = session
        return self._call("open", options)

    def append(self, session: str, text: Optional[str] = None, tokens: Optional[List[int]] = None) -> Dict[str, Any]:
        """Adds text or tokens to the stream; returns when they have been read."""
        return self._call("append", {"session": session, **({"text": text} if tokens is None else {"tokens": tokens})})

    def generate(self, session: str, **options: Any) -> Iterator[Dict[str, Any]]:
        """Yields the `token` events and, last, the `done` event, whose `text` belongs to the stream, too.

        Closing the iterator early cancels the generation; the session stays."""
        request = self._send("generate", {"session": session, **options})
        finished = False
        try:
            while not finished:
                event = self._answer(request)
                finished = event["event"] == "done"
                yield event
        except RequestFailed:
            finished = True
            raise
        finally:
            if not finished:
                self._cancel_and_drain(session, request)
            self._waiting.pop(request, None)

    def resume(self, session: str, detached: bool = False) -> Iterator[Dict[str, Any]]:
        """Goes on with the session's generation that was interrupted; yields as generate() does."""
        return self.generate(session, resume=True, detached=detached)

    def cancel(self, session: str) -> Dict[str, Any]:
        return self._call("cancel", {"session": session})

    def generate_detached(self, session: str, **options: Any) -> None:
        """Starts a generation that goes on without this connection, which is detached from the session.

        Returns when it has begun; come back with attach(session, from_position)."""
        request = self._send("generate", {"session": session, "detached": True, **options})
        try:
            self.detach(session)  # carried out after it: by then it has begun or been refused
            for event in self._waiting[request]:
                if event["event"] == "error":
                    raise RequestFailed(event)
        finally:
            del self._waiting[request]

    def attach(self, session: str, from_position: Optional[int] = None) -> Dict[str, Any]:
        """From now on the session's events arrive here; read them with watch().

        With a position, the kept events from there on come first; `replayed` says how many these are."""
        options = {} if from_position is None else {"from_position": from_position}
        return self._call("attach", {"session": session, **options})

    def detach(self, session: str) -> Dict[str, Any]:
        return self._call("detach", {"session": session})

    def watch(self) -> Iterator[Dict[str, Any]]:
        """Yields events that answer no request, as they come, until the daemon says `bye`."""
        while True:
            while self.unasked:
                event = self.unasked.popleft()
                yield event
                if event["event"] == "bye":
                    return
            self._receive()

    def stat(self, session: Optional[str] = None) -> Dict[str, Any]:
        return self._call("stat", {} if session is None else {"session": session})

    def list(self) -> List[Dict[str, Any]]:
        return self._call("list", {})["sessions"]

    def close(self, session: str) -> Dict[str, Any]:
        """Ends the session and frees its memory."""
        return self._call("close", {"session": session})

    def save(self, session: str) -> Dict[str, Any]:
        """Returns when the session, with all input that came before, is safe on disk."""
        return self._call("save", {"session": session})

    def fork(self, session: str, as_: Optional[str] = None) -> Dict[str, Any]:
        """Another session in the same state; without a name the daemon chooses one."""
        return self._call("fork", {"session": session, **({} if as_ is None else {"as": as_})})

    def rename(self, session: str, to: str) -> Dict[str, Any]:
        return self._call("rename", {"session": session, "to": to})

    def undo(self, session: str, tokens: int) -> Dict[str, Any]:
        """Takes the latest tokens out of the stream."""
        return self._call("undo", {"session": session, "tokens": tokens})

    def export_session(self, session: str) -> bytes:
        """The session as a file that import_session() takes."""
        request = self._send("export", {"session": session})
        parts = []
        try:
            while True:
                event = self._answer(request)
                if event["event"] == "exported":
                    return b"".join(parts)
                parts.append(base64.b64decode(event["data"]))
        finally:
            del self._waiting[request]

    def import_session(self, file: bytes, session: Optional[str] = None) -> Dict[str, Any]:
        """A session in the state of an exported one; without a name the daemon chooses one."""
        fields: Dict[str, Any] = {} if session is None else {"session": session}
        end = 0
        while True:
            part, end = file[end : end + PART_BYTES], end + PART_BYTES
            fields.update(data=base64.b64encode(part).decode(), more=end < len(file))
            answer = self._call("import", fields)
            if not fields["more"]:
                return answer

    def ping(self) -> Dict[str, Any]:
        return self._call("ping", {})

    def metrics(self) -> str:
        """In Prometheus' text format 0.0.4."""
        return self._call("metrics", {})["text"]

    def _send(self, op: str, fields: Dict[str, Any]) -> int:
        number, self._next_id = self._next_id, self._next_id + 1
        if self.user is not None and (op not in ("ping", "metrics", "stat") or "session" in fields):
            fields = {"user": self.user, **fields}
        self._waiting[number] = deque()
        line = json.dumps({"op": op, "id": number, **fields}) + "\n"
        try:
            self._socket.sendall(line.encode())
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        return number

    def _receive(self) -> None:
        try:
            line = self._lines.readline()
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        if not line:
            raise ConnectionLost("the daemon closed the connection")
        event = json.loads(line)
        if event["event"] == "error" and "id" not in event:  # the daemon could not even read a line of ours
            raise RequestFailed(event)
        self._waiting.get(event.get("id"), self.unasked).append(event)

    def _answer(self, request: int) -> Dict[str, Any]:
        while not self._waiting[request]:
            self._receive()
        event = self._waiting[request].popleft()
        if event["event"] == "error":
            raise RequestFailed(event)
        return event

    def _call(self, op: str, fields: Dict[str, Any]) -> Dict[str, Any]:
        request = self._send(op, fields)
        try:
            return self._answer(request)
        finally:
            del self._waiting[request]

    def _cancel_and_drain(self, session: str, request: int) -> None:
        try:
            self.cancel(session)
        except RequestFailed as error:
            if error.code != "not_generating":  # it ended by itself meanwhile
                raise
        while self._answer(request)["event"] != "done":
            pass


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate text with a condensed daemon.")
    parser.add_argument("--socket", help="the daemon's socket; default: $CONDENSED_SOCKET")
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate", help="go on from a text and print what comes")
    generate.add_argument("text")
    generate.add_argument("--max-tokens", type=int, default=200)
    generate.add_argument("--temperature", type=float, default=0.8)
    generate.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    options = {"max_tokens": arguments.max_tokens, "temperature": arguments.temperature}
    if arguments.seed is not None:
        options["seed"] = arguments.seed
    try:
        with Client(arguments.socket) as client:
            session = client.open(text=arguments.text)["session"]
            try:
                for event in client.generate(session, **options):
                    print(event["text"], end="", flush=True)
                print()
            finally:
                client.close(session)
    except (RequestFailed, ConnectionLost) as error:
        print(f"condensed.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
