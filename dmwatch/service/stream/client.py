"""The other side of the socket, for commands: ask the daemon, listen to it. Synchronous."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmwatch.errors import DmwatchError

LIMIT = 15.0
"""So many seconds may an answer take."""
PAUSE_FIRST, PAUSE_LONGEST = 0.2, 2.0
_TIMEVAL = struct.Struct("@ll")


class NoDaemonError(DmwatchError):
    """Nobody listens at the socket."""


class SocketNotPermittedError(DmwatchError):
    """The socket may not be used by this user."""


class RefusedError(DmwatchError):
    """The daemon has answered with an error.

    Attributes:
        said: its answer.
    """

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(str(said["error"]))
        self.said = said


def ask(path: Path, question: str) -> dict[str, Any]:
    """Ask the daemon.

    Args:
        path: of its socket.
        question: conditions, handlers, coverage or health.

    Raises:
        NoDaemonError: there is none.
        SocketNotPermittedError: it may not be asked.
        DmwatchError: it did not answer, or with an error.
    """
    with _connected(path, {"ask": question}) as connection:
        connection.settimeout(LIMIT)
        try:
            line = connection.makefile("rb").readline()
        except OSError as error:
            raise DmwatchError(f"the daemon has not answered: {error}") from None
    if not line.endswith(b"\n"):
        raise DmwatchError("the daemon has gone while it answered", hint="try again")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise RefusedError(answer)
    return answer


def events(
    path: Path,
    request: dict[str, Any],
    *,
    follow: bool,
    on_gap: Callable[[str], None] = lambda _: None,
) -> Iterator[str]:
    """Give events as JSON lines: history, then, following, what happens.

    Following, a daemon that ends is waited for, and listening goes on where it was.

    Args:
        path: of its socket.
        request: as docs/stream.md describes.
        follow: go on after the history.
        on_gap: is told, in a sentence, of what happens to the connection.

    Raises:
        NoDaemonError: there is none at the start.
        SocketNotPermittedError: it may not be listened to.
        RefusedError: it refuses the request.
    """
    listening = _Listening(path, request | {"follow": follow}, on_gap)
    with listening.connect() as connection:
        yield from listening.lines(connection)
    while follow or listening.cut_off:
        with listening.reconnect() as connection:
            yield from listening.lines(connection)


class _Listening:
    """Knows what was heard last."""

    def __init__(self, path: Path, request: dict[str, Any], on_gap: Callable[[str], None]) -> None:
        self._path = path
        self._request = request
        self._on_gap = on_gap
        self._last: dict[str, Any] | None = None
        self._began = datetime.now(UTC).isoformat()
        self._seen: set[str] = set()
        self._pause = PAUSE_FIRST
        self._said = ""
        self.cut_off = False

    def connect(self) -> socket.socket:
        return _connected(self._path, self._request)

    def reconnect(self) -> socket.socket:
        """Connect again, however long it takes."""
        if self.cut_off:
            self._wait()
        else:
            self._on_gap("the daemon has gone: waiting for it")
        # where nothing was heard yet: what the next daemon has told by then is wanted, too
        self._request["since"] = self._request.get("since") or self._began
        while True:
            try:
                return self.connect()
            except NoDaemonError:
                self._wait()

    def _wait(self) -> None:
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, PAUSE_LONGEST)

    def lines(self, connection: socket.socket) -> Iterator[str]:
        """The events that come, until the connection ends."""
        self.cut_off = False
        with connection.makefile("rb") as stream:
            for line in _whole_lines(stream):
                said = json.loads(line)
                if "error" in said and "id" not in said:
                    self._refused(said)
                    return
                if said["id"] not in self._seen:
                    self._heard(said)
                    yield line.decode()

    def _heard(self, event: dict[str, Any]) -> None:
        self._seen.clear()
        self._pause, self._said = PAUSE_FIRST, ""
        self._last = event
        self._request["since"] = event["id"]

    def _refused(self, said: dict[str, Any]) -> None:
        if said.get("resume_from"):
            self._request["since"] = said["resume_from"]
            self.cut_off = True
            self._why_cut_off(said["error"])
        elif "oldest" in said and self._last is not None:
            # its id is gone: from the same time on, where the last one may come once more
            self._on_gap(f"events may be missing here: {said['error']}")
            self._seen = {self._last["id"]}
            self._request["since"] = self._last["time"]
            self.cut_off = True
        else:
            raise RefusedError(said)

    def _why_cut_off(self, sentence: str) -> None:
        if sentence not in ("overflow", self._said):
            self._said = sentence
            self._on_gap(f"{sentence}: trying again")


def _whole_lines(stream: Any) -> Iterator[bytes]:
    with contextlib.suppress(ConnectionError):
        for line in stream:
            if line.endswith(b"\n"):
                yield line[:-1]


def _connected(path: Path, request: dict[str, Any]) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # connecting waits, too, where a daemon that stands still has many who wait already
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(int(LIMIT), 0))
    try:
        made.connect(os.fspath(path))
        made.sendall(json.dumps(request).encode() + b"\n")
    except OSError as error:
        made.close()
        raise _why(path, error) from None
    return made


def _why(path: Path, error: OSError) -> DmwatchError:
    if isinstance(error, PermissionError):
        return SocketNotPermittedError(
            f"the daemon's socket {path} may not be used",
            because="it is open to root and its group only",
            hint="sudo, or [stream] group in the daemon's configuration",
        )
    if isinstance(error, (FileNotFoundError, ConnectionError, NotADirectoryError)):
        return NoDaemonError(
            f"no daemon listens on {path}",
            because="`dmwatch run` is not running, or uses another [stream] socket",
            hint="systemctl start dmwatch",
        )
    if isinstance(error, BlockingIOError):
        return NoDaemonError(
            f"no daemon takes the connection on {path}",
            because=f"it has stood still for {LIMIT:g} s, and others wait",
            hint="systemctl status dmwatch",
        )
    return DmwatchError(f"the daemon's socket {path} cannot be used", because=str(error))
