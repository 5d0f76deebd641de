"""The dispatcher: a lane for each handler; an entry goes to all whose match it fits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from dmwatch.events import Event
from dmwatch.service.delivery import health
from dmwatch.service.delivery.blocking import LoopWatch
from dmwatch.service.delivery.health import Counts, HandlerHealth, Standing
from dmwatch.service.delivery.inbox import Inbox
from dmwatch.service.delivery.lane import Lane
from dmwatch.service.delivery.limits import Limits
from dmwatch.service.delivery.owner import contain
from dmwatch.service.delivery.plugins import Loaded
from dmwatch.service.entry import Entry
from dmwatch.service.own import Own

_DEFAULT = Limits()


class Dispatcher:
    """Brings entries to handlers.

    Args:
        own: makes events of what is found out about handlers.
        delivered: told `(handler, position)`: every entry up to there is done with for it.
        limits: see Limits.
    """

    def __init__(
        self, own: Own, delivered: Callable[[str, int], None], limits: Limits = _DEFAULT
    ) -> None:
        self._own = own
        self._delivered = delivered
        self._limits = limits
        self._lanes: dict[str, Lane] = {}
        self._watch: LoopWatch | None = None
        self._undo: Callable[[], None] | None = None

    async def start(
        self,
        handlers: Mapping[str, Loaded],
        backlog: Callable[[str], AsyncIterator[Entry]] | None = None,
    ) -> None:
        """Start a lane for each handler; waits for none of them.

        Args:
            handlers: by name.
            backlog: gives what was recorded before this start and is not done with.
        """
        self._undo = contain(asyncio.get_running_loop())
        self._watch = LoopWatch(
            self._whose, self._blocked, self._limits.blocked, self._limits.interrupt
        )
        self._watch.start()
        for name, loaded in handlers.items():
            self._begin(self._made(loaded, backlog(name) if backlog else None))

    def put(self, entry: Entry) -> None:
        """Take an entry; never waits."""
        for lane in self._lanes.values():
            lane.inbox.put(entry)

    async def reconfigure(self, handlers: Mapping[str, Loaded]) -> None:
        """Take new handlers: equal ones stay as they are, changed ones keep what waits."""
        old = self._lanes
        self._lanes = {name: lane for name, lane in old.items() if name in handlers}
        gone = [lane for name, lane in old.items() if name not in handlers]
        changed = [
            (lane, handlers[name])
            for name, lane in self._lanes.items()
            if lane.loaded.table != handlers[name].table
        ]
        new = [self._made(loaded) for name, loaded in handlers.items() if name not in old]
        # from now on they are owed what is told; they begin when those that go have ended
        self._lanes |= {lane.loaded.name: lane for lane in new}
        await asyncio.gather(
            *(self._remove(lane) for lane in gone),
            *(self._replace(lane, loaded) for lane, loaded in changed),
        )
        for lane in new:
            lane.start()

    async def close(self, limit: float) -> None:
        """Bring what waits, within so many seconds, then end; what remains stays recorded."""
        lanes = self._lanes.values()
        await asyncio.gather(*(lane.stop(limit, drain=True) for lane in lanes))
        if self._watch is not None:
            self._watch.close()
        if self._undo is not None:
            self._undo()

    def health(self) -> list[HandlerHealth]:
        """Give how each handler fares."""
        return [lane.health() for lane in self._lanes.values()]

    def _made(self, loaded: Loaded, backlog: AsyncIterator[Entry] | None = None) -> Lane:
        counts, standing = Counts(), Standing(loaded.name, self._own)

        def overflow() -> None:
            counts.dropped += 1
            standing.overflow()

        inbox = Inbox(
            loaded.table.delivery.queue,
            partial(_fits, loaded),
            partial(self._delivered, loaded.name),
            overflow,
            backlog,
        )
        return Lane(loaded, inbox, counts, standing, self._limits)

    def _begin(self, lane: Lane) -> None:
        self._lanes[lane.loaded.name] = lane
        lane.start()

    async def _replace(self, lane: Lane, loaded: Loaded) -> None:
        await lane.stop(self._limits.handover, drain=False)
        lane.inbox.hand_over(loaded.table.delivery.queue, partial(_fits, loaded))
        lane.counts.state = health.LaneState.STARTING
        self._begin(Lane(loaded, lane.inbox, lane.counts, lane.standing, self._limits))

    async def _remove(self, lane: Lane) -> None:
        await lane.stop(self._limits.handover, drain=True)
        lane.standing.gone()

    def _whose(self, task: asyncio.Task[Any] | None) -> str | None:
        owners = (name for name, lane in list(self._lanes.items()) if lane.owns(task))
        return next(owners, None) if task is not None else None

    def _blocked(self, name: str, seconds: float) -> None:
        lane = self._lanes.get(name)
        if lane is not None:
            lane.blocked(seconds)


def _fits(loaded: Loaded, event: Event) -> bool:
    about_itself = event.type in health.TYPES and event.key == loaded.name
    return not about_itself and loaded.table.match.fits(event)
