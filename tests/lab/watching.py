"""A running `dmwatch watch`, read by threads: its events, or its lines on the screen."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO, Any, Self

Event = dict[str, Any]


_screen = threading.Lock()


def say(line: str) -> None:
    """One line on the screen, whole, whichever thread says it."""
    with _screen:
        print(line, flush=True)


class Watch:
    """A watcher process. With `show` its lines are printed after that mark, else they are events.

    What it writes to stderr is always shown; the line `watching N devices` makes it ready.
    """

    def __init__(self, command: list[str], show: str | None = None) -> None:
        self._show = show
        self._events: list[Event] = []
        self._ready = False
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        take = self._collect if show is None else self._print
        self._threads = [
            self._read(self._process.stdout, take),
            self._read(self._process.stderr, self._complain),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ready(self, patience: float) -> bool:
        """Whether it watches, within that many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._dead(), patience)
            return self._ready

    def mark(self) -> int:
        """How many events there are; what comes later has this index or a higher one."""
        with self._changed:
            return len(self._events)

    def wait(self, seen: Callable[[Event], bool], mark: int, patience: float) -> Event | None:
        """The first event from the mark on that `seen` is true of; None when none came."""
        deadline = time.monotonic() + patience
        with self._changed:
            while True:
                for event in self._events[mark:]:
                    if seen(event):
                        return event
                mark = len(self._events)
                left = deadline - time.monotonic()
                if left <= 0 or self._dead():
                    return None
                self._changed.wait(min(left, 1.0))

    def end(self, patience: float) -> int | None:
        """SIGTERM; its exit status, None when it did not end. All that it wrote was read."""
        self._process.terminate()
        try:
            status = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return None
        for thread in self._threads:
            thread.join(patience)
        return status

    def _dead(self) -> bool:
        return self._process.poll() is not None

    def _read(self, stream: IO[str], take: Callable[[str], None]) -> threading.Thread:
        def lines() -> None:
            for line in stream:
                take(line.rstrip("\n"))

        thread = threading.Thread(target=lines, daemon=True)
        thread.start()
        return thread

    def _collect(self, line: str) -> None:
        event: Event = json.loads(line)
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def _print(self, line: str) -> None:
        say(f"{self._show}{line}")

    def _complain(self, line: str) -> None:
        if line.startswith("watching "):
            with self._changed:
                self._ready = True
                self._changed.notify_all()
        if self._show is not None or not line.startswith("watching "):
            say(f"{self._show or '        '}{line}")
