"""Lanes of handlers that are made up in the tests, with short waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from dmwatch.events import Event
from dmwatch.handlers import Handler, HandlerSettings
from dmwatch.service.delivery import Dispatcher, HandlerHealth, Limits, Loaded
from dmwatch.service.entry import Entry
from dmwatch.service.own import Own
from dmwatch.service.settings import HandlerTable
from dmwatch.testing import make_event

QUICK = Limits(
    grace=0.2,
    close=0.2,
    handover=0.3,
    failing_after=60,
    failing_count=3,
    drops_in_a_row=3,
    shortest_after=0.01,
    longest_after=0.1,
    abandoned=2,
    # of a loaded machine: only the tests of blocking take less
    blocked=10,
    interrupt=20,
)
DELIVERY: dict[str, Any] = {
    "timeout": 20.0,
    "retry_first": 0.1,
    "retry_longest": 0.1,
    "max_attempts": 1000,
}


class Keeping(Handler[HandlerSettings]):
    """Takes everything."""

    async def open(self) -> None:
        self.taken: list[str] = []
        _handlers.setdefault(self.name, []).append(self)

    async def handle(self, event: Event) -> None:
        self.taken.append(event.id)


_handlers: dict[str, list[Any]] = {}


async def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true."""
    end = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < end, "it never came true"
        await asyncio.sleep(0.005)


class Delivery:
    """A dispatcher, what it told and how far each handler is."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.own = Own(self.told.append)
        self.cursors: dict[str, list[int]] = {}
        self._positions = count(1)
        self.limit()

    def limit(self, **limits: Any) -> None:
        """Have other limits, before `start`."""
        self.limits = replace(QUICK, **limits)
        self.dispatcher = Dispatcher(self.own, self._delivered, self.limits)

    def _delivered(self, name: str, position: int) -> None:
        self.cursors.setdefault(name, []).append(position)

    async def start(
        self,
        backlog: Callable[[str], AsyncIterator[Entry]] | None = None,
        **handlers: type[Handler[Any]] | Loaded,
    ) -> None:
        made = {
            name: kind if isinstance(kind, Loaded) else self.loaded(name, kind)
            for name, kind in handlers.items()
        }
        await self.dispatcher.start(made, backlog)

    @staticmethod
    def loaded(
        name: str,
        kind: type[Handler[Any]],
        match: Mapping[str, Any] | None = None,
        settings: HandlerSettings | None = None,
        **delivery: Any,
    ) -> Loaded:
        table = HandlerTable.model_validate(
            {"use": kind.__name__, "match": match or {}, "delivery": DELIVERY | delivery}
        )
        return Loaded(name, table, kind, settings or kind.Settings())

    def entry(self, **more: Any) -> Entry:
        return Entry(next(self._positions), make_event(**more))

    def put(self, number: int = 1, **more: Any) -> list[str]:
        """Put entries and give their ids."""
        entries = [self.entry(**more) for _ in range(number)]
        for entry in entries:
            self.dispatcher.put(entry)
        return [entry.event.id for entry in entries]

    def handlers(self, name: str) -> list[Any]:
        """All that were ever made under this name."""
        return _handlers.get(name, [])

    def taken(self, name: str) -> list[str]:
        return [id_ for handler in self.handlers(name) for id_ in handler.taken]

    def health(self, name: str) -> HandlerHealth:
        return next(health for health in self.dispatcher.health() if health.name == name)

    def stories(self, name: str) -> list[tuple[str, str | None]]:
        """What was told about a handler: type without its prefix, and state."""
        return [
            (event.type.removeprefix("dmwatch.handler-"), event.state)
            for event in self.told
            if event.key == name
        ]

    async def gets(self, name: str, ids: list[str]) -> None:
        """It takes these, in this order, and nothing else."""
        await until(lambda: len(self.taken(name)) >= len(ids))
        assert self.taken(name) == ids


@pytest.fixture
async def delivery() -> AsyncIterator[Delivery]:
    _handlers.clear()
    made = Delivery()
    yield made
    await made.dispatcher.close(0.05)
