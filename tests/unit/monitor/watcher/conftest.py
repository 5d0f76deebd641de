"""A watcher on the fake kernel, with short waits, and all that it told so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from dmwatch.events import Event
from dmwatch.monitor import members
from dmwatch.monitor import watcher as module
from dmwatch.monitor.settings import MonitorSettings, Settings
from dmwatch.monitor.watcher import Watcher
from dmwatch.testing import FakeKernel

FRESH = 0.3


class Watch:
    """A watcher and everything that it told so far."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.events: list[Event] = []
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._reading = asyncio.create_task(self._read())

    def stop(self) -> None:
        if self._reading:
            self._reading.cancel()

    async def _read(self) -> None:
        async for event in self.watcher:
            self.events.append(event)

    async def until(self, true: Callable[[], object], seconds: float = 20) -> None:
        """Wait until something is true; what was told until then stands in the failure."""
        end = asyncio.get_running_loop().time() + seconds
        while not true():
            assert asyncio.get_running_loop().time() < end, f"only told: {self.told()}"
            await asyncio.sleep(0.01)

    async def quiet(self, seconds: float = 0.4) -> None:
        """Let everything that is still under way be told."""
        before = -1
        while before != len(self.events):
            before = len(self.events)
            await asyncio.sleep(seconds)

    async def tells(self, *expected: str) -> None:
        """It tells these types, `type device`, in this order, and nothing else."""
        await self.until(lambda: len(self.events) >= len(expected))
        await self.quiet()
        assert self.told() == list(expected)

    def counts(self, told: str) -> int:
        """How often this was told."""
        return self.told().count(told)

    def told(self) -> list[str]:
        return [f"{e.type} {e.device.name if e.device else ''}".strip() for e in self.events]


@asynccontextmanager
async def watching(
    kernel: FakeKernel, *patterns: str, read: bool = True, **monitor: Any
) -> AsyncIterator[Watch]:
    watcher = Watcher(
        patterns,
        settings=Settings(monitor=MonitorSettings(**{"cpu_share": 1.0, **monitor})),
        control=kernel.open(),
        uevents=False,
        diskseq=kernel.diskseq,
    )
    async with watcher:
        watch = Watch(watcher)
        if read:
            watch.start()
        try:
            yield watch
        finally:
            watch.stop()


Watching = Callable[..., AbstractAsyncContextManager[Watch]]


@pytest.fixture(name="watching")
def the_watching() -> Watching:
    """watching(kernel, *patterns, **monitor_settings) -> a context that gives a Watch."""
    return watching


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "FRESH_SECONDS", FRESH)
    monkeypatch.setattr(module, "FRESH_INTERVAL", 0.02)
    monkeypatch.setattr(module, "PAUSE_FIRST", 0.05)
    monkeypatch.setattr(module, "PAUSE_LONGEST", 0.2)


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()
