"""One process of the daemon: signals, and an end that nothing can hold up.

A call that hangs in the kernel keeps its thread, and a thread that hangs keeps Python from ending:
so the process leaves by os._exit, once everything that must be said and written has been, or after
a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from dmwatch.service import logs, signals
from dmwatch.service.daemon import Daemon
from dmwatch.service.notify import Notifier
from dmwatch.service.settings import Configuration

STOP_SECONDS = 4.5
"""After a request to stop the process ends within this time; the unit's TimeoutStopSec is 5 s."""


def run(configuration: Configuration, read: Callable[[], Configuration]) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Args:
        configuration: valid.
        read: reads it anew, on SIGHUP.

    Raises:
        DmwatchError: it cannot start.
    """
    loop = asyncio.new_event_loop()
    try:
        # not asyncio.run: that waits for threads, also for those that hang
        complete(loop, loop.create_task(_main(configuration, read)))
    finally:
        _limit_the_end()


def complete(loop: asyncio.AbstractEventLoop, main: asyncio.Task[None]) -> None:
    """Run a loop until a task is done.

    A callback that raises SystemExit or KeyboardInterrupt stops the loop, whoever added it. Calls
    and tasks of handlers are kept from it (owner.py), their callbacks are not: it goes on.
    """
    while True:
        try:
            loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt):
            if main.done():
                raise
            logs.get("dmwatch.daemon").exception("a callback wanted to end the daemon")
        else:
            return


async def _main(configuration: Configuration, read: Callable[[], Configuration]) -> None:
    daemon = Daemon(configuration, read, Notifier())
    running = asyncio.create_task(daemon.run(), name="dmwatch-daemon")
    _Signals(daemon, running).listen()
    try:
        await running
    except asyncio.CancelledError:
        if not daemon.asked_to_stop:
            raise


class _Signals:
    """What signals do."""

    def __init__(self, daemon: Daemon, running: asyncio.Task[None]) -> None:
        self._daemon = daemon
        self._running = running
        self._reloading: asyncio.Task[None] | None = None
        self._asked_again = False

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signals.release()

    def _stop(self, number: signal.Signals) -> None:
        _limit_the_end()
        self._daemon.stop(f"it was told to by {signal.Signals(number).name}")
        if not self._daemon.serving:
            self._running.cancel()

    def _reload(self) -> None:
        self._asked_again = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reloads(), name="dmwatch-reload")

    async def _reloads(self) -> None:
        # the file may have changed after it was read: by a start or a reload still under way
        await self._daemon.started.wait()
        while self._asked_again and not self._daemon.asked_to_stop:
            self._asked_again = False
            await self._daemon.reload()


def _limit_the_end() -> None:
    """From now on the process has so long to end by itself."""
    timer = threading.Timer(STOP_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def leave(code: int) -> None:
    """End the process now, whatever its threads are at."""
    for stream in (sys.stdout, sys.stderr):
        # what cannot be written now, on a full disk or to nobody, is not worth staying for
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
