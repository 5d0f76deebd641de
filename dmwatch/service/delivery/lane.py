"""A lane: one handler, and the events that are brought to it, in order, one at a time.

Theory of operation. A lane is a task of its own, so a slow or dead handler delays nobody. It opens
the handler, takes the oldest entry from the inbox, brings it, and takes it off the inbox only when
it is done with: delivered, dropped by the handler, or given up after `max_attempts`. Between two
attempts the pause grows, and goes on growing over events: a receiver that is down all day is not
asked more often because there is more to tell. The next success resets it.

A call that goes on after its time limit and in spite of being cancelled is left behind, and the
handler with it: a new one is made, so that no two calls are ever in the same handler at once. Only
so many calls may hang; then the lane waits for one of them to end.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from dmwatch.handlers import Handler
from dmwatch.service import logs
from dmwatch.service.delivery.attempt import Came, Outcome, attempt
from dmwatch.service.delivery.backoff import Backoff
from dmwatch.service.delivery.health import Counts, HandlerHealth, LaneState, Standing
from dmwatch.service.delivery.inbox import Inbox
from dmwatch.service.delivery.limits import Limits
from dmwatch.service.delivery.owner import Owner
from dmwatch.service.delivery.plugins import Loaded
from dmwatch.service.entry import Entry


class Lane:
    """Brings events to one handler.

    Args:
        loaded: the handler.
        inbox: what waits for it.
        counts: its figures, also of an earlier lane of this name.
        standing: what stands on it.
        limits: see Limits.
    """

    def __init__(
        self, loaded: Loaded, inbox: Inbox, counts: Counts, standing: Standing, limits: Limits
    ) -> None:
        self.loaded, self.inbox, self.counts, self.standing = loaded, inbox, counts, standing
        self._limits = limits
        self._delivery = loaded.table.delivery
        self._log = logs.get("dmwatch.delivery", handler=loaded.name)
        self.owner = Owner(loaded.name, self._leaks)
        self._handler: Handler[Any] | None = None
        self._backoff = Backoff(self._delivery.retry_first, self._delivery.retry_longest)
        self._stopping = asyncio.Event()
        self._hung: set[Owner] = set()
        self._row = _Row()
        self._free_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin: the handler is opened, then told."""
        self._task = asyncio.create_task(self._run(), name=f"lane {self.loaded.name}")
        self._task.add_done_callback(self._ended)

    async def stop(self, limit: float, *, drain: bool) -> None:
        """End, within the limit and a little more for the handler's own closing.

        Args:
            limit: seconds; then the call that is under way is cancelled.
            drain: first bring what waits; without, what waits stays in the inbox.
        """
        self.inbox.end(drain=drain)
        self._stopping.set()
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=limit)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=self._limits.close + 0.3)
        self.counts.state = LaneState.CLOSED
        for owner in (self.owner, *self._hung):
            owner.close()

    def owns(self, task: asyncio.Task[Any] | None) -> bool:
        """Say whether a task runs on behalf of this handler."""
        return self.owner.has(task) or any(owner.has(task) for owner in self._hung)

    def blocked(self, seconds: float) -> None:
        """Be told that this handler's code has held up the whole daemon."""
        problem = f"it blocked the whole daemon for {seconds:.1f} s"
        self.counts.failures += 1
        self.counts.problem = problem
        self._row.blamed = True
        self.standing.failing(max(1, self._row.failures), problem)

    def health(self) -> HandlerHealth:
        """Give how it fares."""
        counts = self.counts
        return HandlerHealth(
            name=self.loaded.name,
            use=self.loaded.table.use,
            state=counts.state,
            queued=len(self.inbox),
            delivered=counts.delivered,
            dropped=counts.dropped,
            failures=counts.failures,
            problem=counts.problem,
            last=counts.last,
        )

    # The task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # no handler's fault: ours. It must not go unnoticed
            self._log.error("the lane has ended", exc_info=error)
            self.counts.state = LaneState.FAILING
            self.counts.problem = f"its lane has ended: {error!r}"
            self.standing.failing(max(1, self._row.failures), self.counts.problem)

    async def _run(self) -> None:
        try:
            while await self._ready():
                entry = await self.inbox.next()
                if entry is None or not await self._bring(entry):
                    break
                self.inbox.done()
                if not self.inbox:
                    self.standing.caught_up()
        finally:
            await self._close()

    async def _bring(self, entry: Entry) -> bool:
        """Bring an entry until it is done with; False when it is time to end first."""
        for number in itertools.count(1):
            if not (await self._ready() and await self._throttled()):
                return False
            outcome = await self._call(partial(self._opened_handler.handle, entry.event))
            if self._is_done_with(entry, outcome, number):
                return True
            if not await self._pause(outcome):
                return False
        raise AssertionError("it counts for ever")

    def _is_done_with(self, entry: Entry, outcome: Outcome, number: int) -> bool:
        if outcome.done:
            self._succeeded()
            return True
        self._failed(outcome, entry)
        last = number >= self._delivery.max_attempts
        if outcome.came is not Came.DROP and not last:
            return False
        self.counts.dropped += 1
        if last:
            self.standing.failing(self._row.failures, outcome.problem)
            self.counts.state = LaneState.FAILING
            self._log.error(
                "event given up", event_id=entry.event.id, type=entry.event.type, attempts=number
            )
        return True

    # The handler

    async def _ready(self) -> bool:
        """Have the handler open; False when it is time to end first."""
        while self._handler is None:
            outcome = await self._open()
            if outcome.done:
                self._handler = outcome.value
                self._opened()
                break
            self._row.opening = True
            self._failed(outcome)
            if not await self._pause(outcome):
                return False
        return True

    @property
    def _opened_handler(self) -> Handler[Any]:
        assert self._handler is not None, "_ready comes first"  # noqa: S101
        return self._handler

    async def _open(self) -> Outcome:
        self._hung = {owner for owner in self._hung if owner.busy}
        if len(self._hung) >= self._limits.abandoned:
            return Outcome(Came.FAULT, f"{len(self._hung)} of its calls hang and cannot be stopped")
        made: list[Handler[Any]] = []

        async def opening() -> Handler[Any]:
            made.append(self.loaded.make(logs.get("dmwatch.handler", handler=self.loaded.name)))
            await made[0].open()
            return made[0]

        outcome = await self._call(opening)
        if made and not outcome.done and outcome.came is not Came.STUCK:
            await self._call(made[0].close, self._limits.close)
        return outcome

    async def _close(self) -> None:
        handler, self._handler = self._handler, None
        if handler is None:
            return
        outcome = await self._call(handler.close, self._limits.close)
        if not outcome.done:
            self._log.warning("not closed well", problem=outcome.problem)

    async def _call(
        self, call: Callable[[], Awaitable[Any]], limit: float | None = None
    ) -> Outcome:
        seconds = self._delivery.timeout if limit is None else limit
        grace = self._limits.grace if limit is None else limit / 2
        outcome = await attempt(self.owner, call, seconds, grace)
        if outcome.came is Came.STUCK:
            self._abandon()
        return outcome

    def _abandon(self) -> None:
        self._log.error("a call cannot be stopped: the handler is left behind and made anew")
        self._handler = None
        self._hung.add(self.owner)
        self.owner = Owner(self.loaded.name, self._leaks)

    # What came of it

    def _succeeded(self) -> None:
        self._backoff.reset()
        self.counts.took()
        blamed = self._row.blamed
        self._row = _Row()
        self.counts.state = LaneState.OK
        if not blamed:
            self.counts.problem = None
            self.standing.well()

    def _opened(self) -> None:
        if self._row.opening:
            self._backoff.reset()
            self._row = _Row(blamed=self._row.blamed)
            self.standing.well()
            self._log.info("open")
        if not self._row.failures:
            self.counts.state = LaneState.OK
            self.counts.problem = None

    def _failed(self, outcome: Outcome, entry: Entry | None = None) -> None:
        row, now = self._row, asyncio.get_running_loop().time()
        row.count(outcome, now)
        self.counts.failures += 1
        self.counts.problem = outcome.problem
        if self._is_failing(outcome, now):
            self.standing.failing(row.failures, outcome.problem)
        failing = self.standing.is_failing
        self.counts.state = LaneState.FAILING if failing else LaneState.RETRYING
        self._tell(outcome, entry)

    def _is_failing(self, outcome: Outcome, now: float) -> bool:
        row, limits = self._row, self._limits
        if outcome.came is Came.DROP:
            return row.drops >= limits.drops_in_a_row
        return (
            outcome.came is Came.STUCK
            or row.failures >= limits.failing_count
            or now - row.since >= limits.failing_after
        )

    def _tell(self, outcome: Outcome, entry: Entry | None) -> None:
        event = {"event_id": entry.event.id, "type": entry.event.type} if entry else {}
        # the traceback of a fault once: what comes again and again is known by then
        seen = outcome.problem in self._row.told
        self._row.told.add(outcome.problem)
        error = None if seen else outcome.error
        self._log.warning(
            f"{'not delivered' if entry else 'not opened'}: {outcome.came.value}",
            problem=outcome.problem,
            exc_info=error,
            **event,
        )

    def _leaks(self, count: int) -> None:
        if not self._row.leaks:
            self._row.leaks = True
            self._log.error("the handler leaks tasks: the oldest are cancelled", tasks=count)

    # Waiting

    async def _pause(self, outcome: Outcome) -> bool:
        """Wait until it is time for the next attempt; False when it is time to end."""
        pause, asked = self._backoff.pause(), outcome.after
        if asked is not None:
            asked = min(max(self._limits.shortest_after, asked), self._limits.longest_after)
            # who asks for little again and again shall not use up the attempts in a moment
            often = self._row.failures >= self._limits.failing_count
            pause = max(asked, pause) if often else asked
        return await self._sleep(pause)

    async def _throttled(self) -> bool:
        loop = asyncio.get_running_loop()
        wait = self._free_at - loop.time()
        if wait > 0 and not await self._sleep(wait):
            return False
        self._free_at = loop.time() + self._delivery.every
        return True

    async def _sleep(self, seconds: float) -> bool:
        """Sleep; False when it is time to end."""
        if not self._stopping.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()
            except TimeoutError:
                return True
        return False


class _Row:
    """Failures in a row, since the last success."""

    def __init__(self, *, blamed: bool = False) -> None:
        self.failures = 0
        self.drops = 0
        self.since = 0.0
        self.opening = False
        self.leaks = False
        self.blamed = blamed
        self.told: set[str] = set()

    def count(self, outcome: Outcome, now: float) -> None:
        """Count one more."""
        if not self.failures:
            self.since = now
        self.failures += 1
        self.drops = self.drops + 1 if outcome.came is Came.DROP else 0
        if len(self.told) > 100:
            self.told.clear()
