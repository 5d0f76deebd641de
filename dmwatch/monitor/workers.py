"""Calls that may never return, made where they hurt nobody.

A call into the kernel can sleep for ever, in a sleep that even SIGKILL does not end. So each runs
on a plain daemon thread, off the loop, with a deadline: past it the caller goes on and the thread
stays behind, pinned, until the kernel lets it go. There are at most `limit` threads; when all of
them are pinned, further calls wait for their deadline and fail in the same way, and nothing grows.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from dmwatch.errors import DmwatchError

T = TypeVar("T")
LIMIT = 16
"""How many threads calls that hang can pin."""


class StuckError(DmwatchError):
    """A call that has not come back by its deadline, or waits behind one on the same device."""


@dataclass(slots=True)
class _Call:
    key: Hashable
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    abandoned: bool = False


class Workers:
    """Threads for calls that may hang. Made and used within one event loop.

    Args:
        limit: how many threads there may be.
        on_late: called in the loop with the key of a call that came back after its deadline.
    """

    def __init__(
        self, *, limit: int = LIMIT, on_late: Callable[[Hashable], None] | None = None
    ) -> None:
        self._limit = limit
        self._on_late = on_late
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads = 0
        self._outstanding: set[Hashable] = set()

    @property
    def pinned(self) -> int:
        """How many calls have not come back yet."""
        return len(self._outstanding)

    async def run(self, key: Hashable, function: Callable[[], T], deadline: float) -> T:
        """Call a function on a thread and give what it gives.

        Args:
            key: names the device: one call at a time for each key.
            function: what to call.
            deadline: seconds until the caller goes on without it.

        Raises:
            StuckError: the deadline passed, or an earlier call on this key is still out.
        """
        if key in self._outstanding:
            raise StuckError(f"{key} has not answered an earlier call yet")
        loop = asyncio.get_running_loop()
        call = _Call(key, function, loop, loop.create_future())
        self._outstanding.add(key)
        self._submit(call)
        try:
            # wait, unlike wait_for, leaves the future alone: it ends when the kernel says so
            done, _ = await asyncio.wait([call.future], timeout=deadline)
        finally:
            call.abandoned = not call.future.done()
        if not done:
            raise StuckError(f"{key} has not answered within {deadline:g} s")
        result: T = call.future.result()
        return result

    def close(self) -> None:
        """Let threads end once their calls come back. Those pinned in the kernel stay behind."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _submit(self, call: _Call) -> None:
        waiting = len(self._outstanding)
        if waiting > self._threads and self._threads < self._limit:
            self._threads += 1
            name = f"dmwatch-worker-{self._threads}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        self._calls.put(call)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            self._carry_out(call)

    def _carry_out(self, call: _Call) -> None:
        result, error = None, None
        try:
            # nobody waits any more for what was queued behind pinned threads
            result = None if call.abandoned else call.function()
        except BaseException as caught:  # noqa: BLE001 - it is raised where it was asked for
            error = caught
        try:
            call.loop.call_soon_threadsafe(self._deliver, call, result, error)
        except RuntimeError:
            # the loop was closed while the call was out: nobody is left to be told
            return

    def _deliver(self, call: _Call, result: object, error: BaseException | None) -> None:
        self._outstanding.discard(call.key)
        if call.abandoned:
            if self._on_late:
                self._on_late(call.key)
        elif error is None:
            call.future.set_result(result)
        else:
            call.future.set_exception(error)
