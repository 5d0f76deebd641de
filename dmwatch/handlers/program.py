"""One run of a program: its input, what is kept of its output, its end. Blocks; for a thread.

The program gets a session, and so a process group, of its own. It is started by fork, not vfork:
with vfork Python would stand still, all of it, until the program's file has been read from a disk
that may hang.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dmwatch.handlers.hunting import hunt, kill_group

setattr(subprocess, "_USE_VFORK", False)  # noqa: B010 - Python documents this switch

MARK = "DMWATCH_RUN"
"""The variable that marks all processes of one run."""
TERM_SECONDS = 1.0
"""So long may a program take to end after SIGTERM, before it is killed."""
_CHUNK = 1 << 16
_FAST = 1 << 20
"""So much output is read as fast as it comes; what floods further is slowed down."""
_SLOW = 0.02
_EXIT_DRAIN = 64


@dataclass(frozen=True, slots=True)
class Order:
    """What to run.

    Attributes:
        argv: the program and its arguments.
        environment: all of it.
        directory: where it runs.
        user: a user id, or None for the daemon's own.
        group: a group id, or None.
        groups: supplementary group ids, or None for the daemon's own.
        keep: so many bytes of the output are kept, half from its begin and half from its end.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    user: int | None = None
    group: int | None = None
    groups: Sequence[int] | None = None
    keep: int = 8192


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        code: the exit code, or less than 0: the signal that ended it.
        output: what is kept of standard output and standard error.
        stopped: it was ended by `stop`.
        strays: processes that had left its group and were killed.
    """

    code: int
    output: str
    stopped: bool = False
    strays: int = 0


@dataclass(slots=True)
class Output:
    """The begin and the end of a stream of bytes."""

    keep: int
    total: int = 0
    _head: bytes = b""
    _tail: bytes = b""

    def add(self, chunk: bytes) -> None:
        """Take more."""
        self.total += len(chunk)
        half = self.keep // 2
        room = half - len(self._head)
        self._head += chunk[:room]
        rest = self._tail + chunk[room:]
        # not [-half:], which is all of it where half is 0
        self._tail = rest[max(0, len(rest) - half) :]

    def text(self) -> str:
        """Give it for people, with what is missing."""
        missing = self.total - len(self._head) - len(self._tail)
        between = f"\n[{missing} bytes left out]\n".encode() if missing else b""
        return (self._head + between + self._tail).decode("utf-8", "replace").rstrip("\n")


@dataclass
class Run:
    """A program that runs once. `run` blocks; `stop` and `kill` may be called from elsewhere.

    Args:
        order: what to run.
        given: its standard input.
        mark: unlike any other run's.
    """

    order: Order
    given: bytes
    mark: str
    _wake: int = field(default_factory=lambda: os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
    _deadline: float | None = None

    def stop(self, patience: float = TERM_SECONDS) -> None:
        """Ask the program to end; after so many seconds it is killed with all that it started."""
        self._deadline = time.monotonic() + patience
        with suppress(OSError):  # it has ended
            os.eventfd_write(self._wake, 1)

    def run(self) -> Ended:
        """Run the program to its end.

        Raises:
            OSError: it cannot be started.
        """
        try:
            with self._started() as process:
                return _Watch(self, process).watch()
        finally:
            wake, self._wake = self._wake, -1
            os.close(wake)

    @property
    def wake(self) -> int:
        """Readable when `stop` was called."""
        return self._wake

    @property
    def deadline(self) -> float | None:
        """When to kill it; None as long as nobody wants it to end."""
        return self._deadline

    def _started(self) -> subprocess.Popen[bytes]:
        order = self.order
        return subprocess.Popen(
            list(order.argv),
            env={**order.environment, MARK: self.mark},
            cwd=order.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            user=order.user,
            group=order.group,
            extra_groups=order.groups,
            umask=0o022,
        )


class _Watch:
    """Feeds a program, reads what it says, and sees it end."""

    def __init__(self, run: Run, process: subprocess.Popen[bytes]) -> None:
        self._run = run
        self._process = process
        self._given = memoryview(run.given)
        self._output = Output(run.order.keep)
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._pidfd = os.pidfd_open(process.pid)
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
        self._stdin, self._stdout = process.stdin, process.stdout

    def watch(self) -> Ended:
        """Wait for the end."""
        try:
            self._listen()
            while not self._has_ended():
                pass
            return self._end()
        finally:
            self._selector.close()
            os.close(self._pidfd)
            self._stdin.close()
            self._stdout.close()

    def _listen(self) -> None:
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)
        self._selector.register(self._stdin, selectors.EVENT_WRITE, self._feed)
        self._selector.register(self._stdout, selectors.EVENT_READ, self._read)
        self._selector.register(self._pidfd, selectors.EVENT_READ)
        self._selector.register(self._run.wake, selectors.EVENT_READ, self._ask_to_end)

    def _has_ended(self) -> bool:
        deadline = self._run.deadline
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return True
        ready = self._selector.select(left)
        for key, _ in ready:
            if key.data is not None:
                key.data()
        return any(key.fd == self._pidfd for key, _ in ready)

    def _end(self) -> Ended:
        """What is left of it is killed, then it is waited for."""
        stopping, strays = self._run.deadline is not None, 0
        if stopping:
            strays = hunt(self._process.pid, f"{MARK}={self._run.mark}".encode())
        else:
            kill_group(self._process.pid)
        code = self._process.wait()
        for _ in range(_EXIT_DRAIN):
            if not self._read():
                break
        return Ended(code, self._output.text(), stopping, strays)

    def _ask_to_end(self) -> None:
        self._selector.unregister(self._run.wake)
        kill_group(self._process.pid, signal.SIGTERM)

    def _feed(self) -> None:
        try:
            self._given = self._given[os.write(self._stdin.fileno(), self._given) :]
        except BlockingIOError:
            return
        except OSError:
            # it has closed its input: it does not want to know
            self._given = memoryview(b"")
        if not self._given:
            self._selector.unregister(self._stdin)
            self._stdin.close()

    def _read(self) -> bool:
        """Read a piece; False where there is none now."""
        try:
            chunk = os.read(self._stdout.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            with suppress(KeyError):
                self._selector.unregister(self._stdout)
            return False
        self._output.add(chunk)
        if self._output.total > _FAST:
            time.sleep(_SLOW)
        return True
