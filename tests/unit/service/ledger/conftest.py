"""A ledger on a file of its own, a disk that fails or hangs when it is told to, and events."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from journals import kept

from dmwatch.events import Condition, DeviceRef, Event, State
from dmwatch.monitor.teller import Teller
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.service.entry import Entry
from dmwatch.service.ledger import Ledger
from dmwatch.service.ledger.disk import Pace
from dmwatch.service.ledger.store import Batch, Kept, Store
from dmwatch.service.own import Own
from dmwatch.service.settings import JournalSettings
from dmwatch.severity import Severity

FAST = Pace(commit=5.0, retry_first=0.02, retry_longest=0.05, cursors=0.02, tidy=0.05)
"""Nothing fails for being late on a slow machine; what is tried again is tried soon."""
HASTY = Pace(commit=0.2, retry_first=0.02, retry_longest=0.05, cursors=0.02, tidy=60.0)


class Say:
    """Events to tell, as the watcher would make them."""

    def __init__(self) -> None:
        self._teller = Teller()

    def device(self, name: str = "a", uuid: str | None = None, minor: int = 0) -> DeviceRef:
        return DeviceRef.of(DeviceName(name), uuid, DeviceNumber(253, minor), None)

    def event(
        self,
        summary: str = "something",
        type_: str = "device.event",
        on: DeviceRef | None = None,
        severity: Severity = Severity.INFO,
        **more: Any,
    ) -> Event:
        return self._teller.moment(type_, severity, on, summary, **more)

    def events(self, count: int, first: int = 0) -> list[Event]:
        return [self.event(str(number)) for number in range(first, first + count)]

    def raised(self, type_: str = "raid.leg-failed", **more: Any) -> Event:
        return self._step(State.RAISED, type_, **more)

    def changed(self, type_: str = "raid.leg-failed", **more: Any) -> Event:
        return self._step(State.CHANGED, type_, **more)

    def cleared(self, type_: str = "raid.leg-failed", **more: Any) -> Event:
        return self._step(State.CLEARED, type_, **more)

    def reminder(self, type_: str = "raid.leg-failed", **more: Any) -> Event:
        return self._step(State.REMINDER, type_, **more)

    def _step(self, state: State, type_: str, **more: Any) -> Event:
        chosen: dict[str, Any] = {
            "on": self.device(),
            "severity": Severity.ERROR,
            "summary": "a leg failed",
        } | more
        return self.event(type_=type_, state=state, **chosen)


@pytest.fixture
def say() -> Say:
    return Say()


Until = Callable[..., Any]


@pytest.fixture
def until() -> Until:
    """until(true): wait for what happens on other threads."""

    async def wait(true: Callable[[], object], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.005)

    return wait


class FakeDisk(Store):
    """A store whose disk fails, or hangs, from a moment on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.error: Exception | None = None
        self.running = threading.Event()
        self.running.set()
        self.entered = threading.Event()
        self.batches: list[Batch] = []
        self.before_commit: Callable[[Batch], None] = lambda _: None

    def fail(self, code: int, text: str = "it failed") -> None:
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        self.error = error

    def hang(self) -> None:
        self.entered.clear()
        self.running.clear()

    def work(self) -> None:
        self.error = None
        self.running.set()

    def open(self) -> Kept:
        self._meet()
        return super().open()

    def write(self, batch: Batch) -> None:
        self._meet()
        self.before_commit(batch)
        super().write(batch)
        self.batches.append(batch)

    def _meet(self) -> None:
        self.entered.set()
        self.running.wait()
        if self.error is not None:
            raise self.error


class Life:
    """One life of a ledger: what was told through it."""

    def __init__(
        self,
        ledger: Ledger,
        disk: FakeDisk,
        told: list[Entry],
        own: list[Event],
        late: list[Condition],
    ) -> None:
        self.ledger, self.disk, self.told, self.own, self.late = ledger, disk, told, own, late

    @property
    def ids(self) -> list[str]:
        return [entry.event.id for entry in self.told]

    @property
    def summaries(self) -> list[str]:
        return [entry.event.summary for entry in self.told]

    @property
    def sequences(self) -> list[int]:
        return [entry.event.sequence for entry in self.told]

    @property
    def positions(self) -> list[int]:
        return [entry.position for entry in self.told]

    async def tell(self, *events: Event) -> None:
        for one in events:
            await self.ledger.tell(one)
        await self.ledger.flush()

    def asked(self, query: str) -> list[tuple[Any, ...]]:
        """What the journal has now; a copy of a file that is being written may be torn."""
        with self.disk.borrowed() as connection:
            assert connection is not None
            return connection.execute(query).fetchall()

    async def owed(self, handler: str) -> list[Entry]:
        return [entry async for entry in self.ledger.backlog(handler)]


Live = Callable[..., Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def live(path: Path) -> Live:
    """live(disk, hasty=False, **settings): a context with one life of the ledger on `path`."""

    @asynccontextmanager
    async def begin(
        disk: FakeDisk | None = None, *, hasty: bool = False, **settings: Any
    ) -> AsyncIterator[Life]:
        pace = HASTY if hasty else FAST
        disk = disk or FakeDisk(path)
        found: asyncio.Queue[Event] = asyncio.Queue()
        told: list[Entry] = []
        own: list[Event] = []
        late: list[Condition] = []

        async def found_late(standing: list[Condition]) -> None:
            late.extend(standing)

        def found_out(event: Event) -> None:
            own.append(event)
            found.put_nowait(event)

        made = Own(found_out)
        journal = JournalSettings(path=path, **settings)
        async with Ledger(
            journal, made, told.append, on_late=found_late, pace=pace, store=disk
        ) as ledger:
            telling = asyncio.create_task(_tell_own(ledger, found))
            try:
                yield Life(ledger, disk, told, own, late)
            finally:
                disk.running.set()
                telling.cancel()
                await asyncio.wait([telling])

    return begin


async def _tell_own(ledger: Ledger, found: asyncio.Queue[Event]) -> None:
    while True:
        await ledger.tell(await found.get())


@pytest.fixture
def rows(path: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """rows(query): what a kill would leave in the file."""
    return partial(kept, path)


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), thread
