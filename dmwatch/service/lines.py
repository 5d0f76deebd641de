"""Lines written to a descriptor that may be slow: no line makes the daemon wait.

The journal can hang with the very disk that is watched. A write to it would then sleep, and the
daemon with it. So a line is written only as far as there is room at once; the rest waits here for
the next line, up to a limit, and past that lines are lost, counted, and told about.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Mapping

LIMIT = 256 * 1024
"""So many bytes may wait for room."""
LONGEST = 32 * 1024
"""A longer line is cut: the journal takes 48 KiB."""
PIPE_BUF = 4096
"""A pipe or terminal that is ready takes so many bytes at once."""


class Lines:
    """Writes lines to a descriptor.

    Args:
        descriptor: of a socket, pipe, terminal or file.
        limit: how many bytes may wait.
    """

    def __init__(self, descriptor: int, limit: int = LIMIT) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._lost = 0
        self._mode = _mode(descriptor)

    def write(self, line: str, prefix: str = "") -> None:
        """Write a line, without its newline; never waits, never raises."""
        data = prefix.encode() + _bytes(line) + b"\n"
        with self._lock:
            self._write(data, prefix)

    def _write(self, data: bytes, prefix: str) -> None:
        self._send()
        if len(self._waiting) + len(data) > self._limit:
            self._lost += 1
            return
        if self._lost and not self._waiting:
            data = f"{prefix}{self._lost} lines were lost here\n".encode() + data
            self._lost = 0
        self._waiting += data
        self._send()

    def flush(self, limit: float = 0.5) -> None:
        """Give what waits a last chance, for at most `limit` seconds."""
        end = time.monotonic() + limit
        with self._lock, contextlib.suppress(OSError):
            while self._waiting and _ready(self._descriptor, end - time.monotonic()):
                self._send()

    def _send(self) -> None:
        try:
            while self._waiting:
                sent = self._some()
                if not sent:
                    return
                del self._waiting[:sent]
        except BlockingIOError:
            return
        except OSError:
            # nobody reads any more: there is nobody to tell
            self._waiting.clear()

    def _some(self) -> int:
        if stat.S_ISSOCK(self._mode):
            return _send(self._descriptor, self._waiting)
        if stat.S_ISREG(self._mode):
            return os.write(self._descriptor, self._waiting)
        if not _ready(self._descriptor, 0.0):
            return 0
        return os.write(self._descriptor, self._waiting[:PIPE_BUF])


def is_journal(descriptor: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether what is written there goes to the journal: JOURNAL_STREAM names it."""
    try:
        device, inode = map(int, environment["JOURNAL_STREAM"].split(":"))
        found = os.fstat(descriptor)
    except (KeyError, ValueError, OSError):
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


def _mode(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_mode
    except OSError:
        return 0


def _send(descriptor: int, data: bytearray) -> int:
    borrowed = socket.socket(fileno=descriptor)
    try:
        return borrowed.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    finally:
        borrowed.detach()


def _bytes(line: str) -> bytes:
    data = line.encode("utf-8", "backslashreplace")
    return data if len(data) <= LONGEST else data[:LONGEST] + b"..."


def _ready(descriptor: int, limit: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(max(0.0, limit) * 1000))
