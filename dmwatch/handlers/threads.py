"""A thread for what can block: disks that hang, programs. One for a handler, one call at a time.

A plain daemon thread: one that hangs in the kernel for ever keeps neither the loop nor the end of
the process.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from dmwatch.handlers.base import Retry

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Thread:
    """Runs calls of one handler, one after the other.

    Args:
        name: the thread's.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._busy = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function on the thread and give what it gives. Cancelled, the call goes on there.

        Raises:
            Retry: an earlier call has not come back yet.
        """
        if self._busy.is_set():
            raise Retry(reason="an earlier call still hangs: most likely a disk does not answer")
        self._busy.set()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((function, future, loop))
        return await future

    def close(self) -> None:
        """Let the thread end, once the call that it is in has come back."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, future, loop = job
            value: Any = None
            error: BaseException | None = None
            try:
                value = function()
            except BaseException as raised:  # noqa: BLE001 - it is raised where it is waited for
                error = raised
            self._busy.clear()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, future, value, error)
            del job, function, future, value, error


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
