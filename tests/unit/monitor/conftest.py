"""A fake kernel, uevents that a test sends, and a watcher whose events are collected."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import fields
from typing import Any

import pytest
from pydantic import TypeAdapter

from dmwatch import TargetLine
from dmwatch.events import Condition, Event
from dmwatch.ioctl.abi import Command
from dmwatch.monitor import watcher as watcher_module
from dmwatch.monitor.catalogue import event_types
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.uevents import OverrunError, Uevent, parse
from dmwatch.monitor.watcher import Watcher
from dmwatch.testing import FakeKernel

PATIENCE = 40.0
NEW_TARGETS = (
    "clone",
    "dust",
    "integrity",
    "log-writes",
    "snapshot-merge",
    "snapshot-origin",
    "vdo",
    "writecache",
)


class Releasing(FakeKernel):
    """Lets go of what hangs in it: a test that fails half-way leaves no thread to the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._hanging: list[threading.Event] = []

    def hang(self, command: Command, *, device: str | None = None) -> threading.Event:
        self._hanging.append(super().hang(command, device=device))
        return self._hanging[-1]

    def release(self) -> None:
        for hanging in self._hanging:
            hanging.set()


class FakeUevents:
    """In place of the netlink socket: a pair of sockets, one end in the test's hands."""

    def __init__(self) -> None:
        kinds = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self._here, self._there = socket.socketpair(socket.AF_UNIX, kinds)
        self.overrun = False

    def send(self, kernel: FakeKernel, action: str, name: str, **properties: str | int) -> None:
        """What the kernel would send about a device, with its DISKSEQ where it has one."""
        number = kernel.device(name).number
        said: dict[str, Any] = {"SUBSYSTEM": "block", "MAJOR": number.major, "MINOR": number.minor}
        if (diskseq := kernel.diskseq(number)) is not None:
            said["DISKSEQ"] = diskseq
        head = f"{action}@/devices/virtual/block/dm-{number.minor}"
        lines = [head, *(f"{key}={value}" for key, value in (said | properties).items())]
        self._there.send("\x00".join(lines).encode())

    def drop(self) -> None:
        """The kernel has dropped some."""
        self.overrun = True
        self._there.send(b"what a full socket still holds")

    def fileno(self) -> int:
        return self._here.fileno()

    def read(self) -> list[Uevent]:
        found = []
        while True:
            try:
                found.append(parse(self._here.recv(65536)))
            except BlockingIOError:
                break
        if self.overrun:
            self.overrun = False
            raise OverrunError
        return [uevent for uevent in found if uevent]

    def close(self) -> None:
        self._here.close()
        self._there.close()


class Watched:
    """A watcher, and everything that it has told."""

    def __init__(self, watcher: Watcher, kernel: FakeKernel) -> None:
        self.watcher = watcher
        self.kernel = kernel
        self.events: list[Event] = []
        self._more = asyncio.Condition()

    async def collect(self) -> None:
        async for event in self.watcher:
            async with self._more:
                check_data(event)
                self.events.append(event)
                self._more.notify_all()

    def all(self, type_: str, **fields: Any) -> list[Event]:
        """The events of a type, with these fields; `name` is the device's."""
        return [
            event
            for event in self.events
            if event.type == type_
            and all(_field(event, name) == value for name, value in fields.items())
        ]

    async def wait(self, type_: str, count: int = 1, **fields: Any) -> Event:
        """The latest such event, once there are `count` of them."""
        try:
            async with asyncio.timeout(PATIENCE), self._more:
                await self._more.wait_for(lambda: len(self.all(type_, **fields)) >= count)
        except TimeoutError:
            told = [(event.type, event.state, event.summary) for event in self.events[-20:]]
            pytest.fail(f"no {count} of {type_} {fields}, but {told}")
        return self.all(type_, **fields)[-1]

    async def settle(self) -> None:
        """Once everything that the kernel has to say by now was looked at and told.

        Without uevents this has every device's status and table read too.
        """
        for _ in range(2):
            await self._look()
        # white-box: the tasks that attend to devices, and what nobody has collected yet
        await until(lambda: not self.watcher._attendant._tasks)
        await until(self.watcher._outbox._queue.empty)
        await asyncio.sleep(0)

    async def _look(self) -> None:
        await until(self._waits)
        looks = self.kernel.count(Command.DEV_ARM_POLL)
        self.kernel.tell()
        await until(lambda: self.kernel.count(Command.DEV_ARM_POLL) > looks)
        await until(self._waits)

    def _waits(self) -> bool:
        """White-box: it has taken in what its last look found, and listens to the node again."""
        loop: Any = asyncio.get_running_loop()
        return self.watcher._dm.fileno() in loop._selector.get_map()

    async def called(self, command: Command, name: str, more: int) -> None:
        """Once a command was called that often again on a device."""
        before = self.kernel.count(command, name)
        await until(lambda: self.kernel.count(command, name) >= before + more)

    def steps(self, name: str | None = None) -> list[tuple[str, str | None, str | None]]:
        """Type, key and what became of it, of every event (about a device)."""
        return [
            (event.type, event.key, event.state and str(event.state))
            for event in self.events
            if name is None or (event.device and event.device.name == name)
        ]

    def standing(self) -> list[tuple[str, str | None, str]]:
        """Type, key and severity of what stands."""
        return [(c.type, c.key, str(c.severity)) for c in self.watcher.conditions()]


def check_data(event: Event) -> None:
    """Every event is what the catalogue says of its type."""
    row = event_types()[event.type]
    assert (event.state is not None) is row.stands
    assert set(event.data) == {spec.name for spec in fields(row.data)}, event
    TypeAdapter(row.data).validate_python(event.data)


def _field(event: Event, name: str) -> Any:
    return event.device and event.device.name if name == "name" else getattr(event, name)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - the fake kernel sets no asyncio.Event
            await asyncio.sleep(0.005)


def settings(
    conditions: dict[str, Any] | None = None, rules: list[dict[str, Any]] | None = None, **more: Any
) -> Settings:
    """Nothing happens by time alone, unless a test asks for it."""
    monitor: dict[str, Any] = {
        "poll_interval": 3600,
        "heartbeat": 3600,
        "status_timeout": 30,
        "cpu_share": 1,
    }
    return Settings.model_validate(
        {"monitor": monitor | more, "conditions": conditions or {}, "rules": rules or []}
    )


@asynccontextmanager
async def watching(
    kernel: FakeKernel,
    *devices: str,
    chosen: Settings | None = None,
    standing: list[Condition] | None = None,
    **more: Any,
) -> AsyncIterator[Watched]:
    options: dict[str, Any] = {"uevents": False, "diskseq": kernel.diskseq} | more
    watcher = Watcher(
        devices,
        settings=chosen or settings(),
        standing=standing or [],
        control=kernel.open(),
        **options,
    )
    async with watcher:
        watched = Watched(watcher, kernel)
        collecting = asyncio.create_task(watched.collect())
        try:
            yield watched
        finally:
            collecting.cancel()
            await asyncio.wait([collecting])
    if not collecting.cancelled() and (error := collecting.exception()):
        raise error


Watching = Callable[..., AbstractAsyncContextManager[Watched]]
Choose = Callable[..., Settings]


@pytest.fixture
def kernel() -> Iterator[FakeKernel]:
    made = Releasing()
    made.targets.update(dict.fromkeys(NEW_TARGETS, (1, 0, 0)))
    yield made
    made.release()
    made.dm.close()


@pytest.fixture
def watch() -> Watching:
    """watch(kernel, *devices, chosen=, standing=, ...): a Watched for as long as it is open."""
    return watching


@pytest.fixture
def choose() -> Choose:
    """choose(conditions, rules, **monitor): settings in which time brings nothing about."""
    return settings


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Any]:
    """Wait until something is true."""
    return until


@pytest.fixture
def uevents(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUevents]:
    """The uevents that a watcher with uevents=True hears."""
    fake = FakeUevents()
    monkeypatch.setattr(watcher_module, "Uevents", lambda: fake)
    yield fake
    fake.close()


@pytest.fixture
def line() -> Callable[..., TargetLine]:
    """line(type, table, length, start=): a line of a table."""

    def made(kind: str, text: str = "", length: int = 65536, start: int = 0) -> TargetLine:
        return TargetLine(start, length, kind, text)

    return made
