"""Calls that may never return, made where they hurt nobody.

A call into the kernel can sleep for ever, in a sleep that even SIGKILL does not end. So each runs
on a plain daemon thread, off the loop, with a deadline: past it the caller goes on and the thread
stays behind, pinned, until the kernel lets it go. There are at most `limit` threads, and what finds
none free waits for one: that time is not the call's own, so that many calls at once are no reason
to call one of them stuck. Only when all threads have been pinned for as long as a deadline do
further calls fail in the same way, and nothing grows.
"""

from __future__ import annotations

import asyncio
import contextlib
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


class NoThreadError(StuckError):
    """A call that was not made: all threads hang in others."""


@dataclass(slots=True)
class _Call:
    key: Hashable
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    abandoned: bool = False
    holds_thread: bool = False


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
        self._free = asyncio.Semaphore(limit)
        self._held = self._behind = 0
        self._all_behind_since: float | None = None

    @property
    def pinned(self) -> int:
        """How many calls have not come back yet."""
        return len(self._outstanding)

    async def run(self, key: Hashable, function: Callable[[], T], deadline: float) -> T:
        """Call a function on a thread and give what it gives.

        Args:
            key: names the device: one call at a time for each key.
            function: what to call.
            deadline: seconds until the caller goes on without it, once it has begun.

        Raises:
            StuckError: the deadline passed, or an earlier call on this key is still out.
            RuntimeError: this process may have no thread at all.
        """
        if key in self._outstanding:
            raise StuckError(f"{key} has not answered an earlier call yet")
        if not self._threads:
            self._grow()
        loop = asyncio.get_running_loop()
        call = _Call(key, function, loop, loop.create_future())
        self._outstanding.add(key)
        try:
            await self._take_thread(call, deadline)
            # wait, unlike wait_for, leaves the future alone: it ends when the kernel says so
            done, _ = await asyncio.wait([call.future], timeout=deadline)
        finally:
            if not call.future.done():
                self._abandon(call)
            else:
                # what came just as the caller was cancelled is nobody's to complain of
                call.future.exception()
        if not done:
            raise StuckError(f"{key} has not answered within {deadline:g} s")
        result: T = call.future.result()
        return result

    def close(self) -> None:
        """Let threads end once their calls come back. Those pinned in the kernel stay behind."""
        for _ in range(self._threads):
            self._calls.put(None)

    async def _take_thread(self, call: _Call, deadline: float) -> None:
        """Begin once a thread is free: a call that comes back in time soon leaves one.

        Raises:
            NoThreadError: all of them have been left behind for so long.
        """
        while self._free.locked():
            since = self._all_behind_since
            patience = deadline if since is None else since + deadline - call.loop.time()
            if patience <= 0:
                raise NoThreadError(f"{call.key} was not asked: all {self._limit} threads hang")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._free.acquire()
                    break
        else:
            await self._free.acquire()
        self._begin(call)

    def _begin(self, call: _Call) -> None:
        call.holds_thread = True
        self._held += 1
        if self._held > self._threads:
            # where no more can be had, those that there are must do
            with contextlib.suppress(RuntimeError):
                self._grow()
        self._calls.put(call)

    def _grow(self) -> None:
        name = f"dmwatch-worker-{self._threads + 1}"
        threading.Thread(target=self._work, name=name, daemon=True).start()
        self._threads += 1

    def _abandon(self, call: _Call) -> None:
        """Nobody waits for it any more."""
        call.abandoned = True
        if not call.holds_thread:
            # it is not made, but told as late once a thread comes to it
            self._calls.put(call)
            return
        self._behind += 1
        if self._behind == self._limit:
            self._all_behind_since = call.loop.time()

    def _give_back(self, call: _Call) -> None:
        self._held -= 1
        self._free.release()
        if call.abandoned:
            self._behind -= 1
            self._all_behind_since = None

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
        if call.holds_thread:
            self._give_back(call)
        if call.abandoned:
            if self._on_late:
                self._on_late(call.key)
        elif error is None:
            call.future.set_result(result)
        else:
            call.future.set_exception(error)
