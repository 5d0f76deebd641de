"""Who blocks the loop: noticed, named, and where possible interrupted.

Everything in the daemon runs in one thread. A handler that computes for ever or makes a call that
blocks (time.sleep, a socket without asyncio) holds up watching and every other lane. A thread of
its own sees that the loop does not tick, and by the task that runs it knows whose code that is. It
logs the stack; if the code is a handler's it is interrupted after a while: a signal is raised in
the main thread, whose handler raises `BlockedError` right there. That also ends system calls,
but neither C code that does not look at signals nor a sleep in the kernel that no signal ends: for
these the service manager's watchdog remains.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from dmwatch.service.delivery.limits import log

NUMBER = signal.SIGVTALRM
"""The signal that interrupts a handler; Python and asyncio have no other use for it."""
_FRAMES = 25
WhoseTask = Callable[["asyncio.Task[Any] | None"], str | None]


class BlockedError(BaseException):
    """Raised in a handler's code that blocks the loop. No Exception: many of them are swallowed."""


class LoopWatch:
    """Watches whether the loop ticks. Made and started in it.

    Args:
        whose: gives the handler on whose behalf a task runs, or None.
        told: called in the loop, once it ticks again, with the handler and the seconds.
        notice: seconds without a tick until it is told.
        interrupt: seconds until a handler's code is interrupted.
    """

    def __init__(
        self, whose: WhoseTask, told: Callable[[str, float], None], notice: float, interrupt: float
    ) -> None:
        self._whose, self._told = whose, told
        self._notice, self._interrupt = notice, interrupt
        self._every = min(notice, interrupt) / 4
        self._loop = asyncio.get_running_loop()
        self._ident = threading.get_ident()
        self._ticked = time.monotonic()
        self._blamed: str | None = None
        self._stop = threading.Event()
        self._handle: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="dmwatch-loop-watch", daemon=True)
        self._can_interrupt = threading.current_thread() is threading.main_thread()
        self._before: Any = None

    def start(self) -> None:
        """Begin to watch."""
        if self._can_interrupt:
            self._before = signal.signal(NUMBER, self._on_signal)
        self._tick()
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._stop.set()
        if self._handle is not None:
            self._handle.cancel()
        if self._can_interrupt and signal.getsignal(NUMBER) == self._on_signal:
            # a signal that is still under way must not end the process
            signal.signal(NUMBER, signal.SIG_IGN if self._thread.is_alive() else self._before)

    def _tick(self) -> None:
        now = time.monotonic()
        blamed, self._blamed = self._blamed, None
        if blamed is not None:
            self._told(blamed, now - self._ticked)
        self._ticked = now
        self._handle = self._loop.call_later(self._every, self._tick)

    # On the thread

    def _watch(self) -> None:
        noticed = False
        while not self._stop.wait(self._every):
            late = time.monotonic() - self._ticked
            if late < self._notice:
                noticed = False
                continue
            whose = self._running()
            if not noticed:
                noticed = True
                log.error(
                    "the event loop stands still", handler=whose, seconds=late, where=self._stack()
                )
            if whose is not None:
                self._blamed = whose
                if late >= self._interrupt and self._can_interrupt and not self._stop.is_set():
                    signal.pthread_kill(self._ident, NUMBER)

    def _running(self) -> str | None:
        try:
            return self._whose(asyncio.current_task(self._loop))
        except RuntimeError:
            # sets change while another thread looks at them
            return None

    def _stack(self) -> list[str]:
        """Where the loop's thread is, innermost first; no source lines: those need the disk."""
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001 - the only way to see it
        lines: list[str] = []
        while frame is not None and len(lines) < _FRAMES:
            code = frame.f_code
            lines.append(f"{code.co_filename}:{frame.f_lineno} {code.co_name}")
            frame = frame.f_back
        return lines

    # In the loop's thread, between two instructions of whatever runs there

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        late = time.monotonic() - self._ticked
        if late >= self._interrupt and self._running() is not None:
            raise BlockedError(f"it blocked the whole daemon for {late:.1f} s and was interrupted")
