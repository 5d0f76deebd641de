"""A watcher of a test's own, in which nothing is brought about by time unless the test asks for it.

Polls and heartbeats are an hour apart: what is told was told by the kernel.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import pytest

from dmwatch import DeviceMapper, TargetLine
from dmwatch.events import Condition, Event, State
from dmwatch.monitor import Watcher
from dmwatch.monitor.coverage import Coverage
from dmwatch.monitor.settings import Settings

PATIENCE = 60.0
HOUR = 3600.0
NOTHING_BY_TIME = {
    "poll_interval": HOUR,
    "heartbeat": HOUR,
    "status_timeout": 60.0,
    "cpu_share": 1.0,
}


class Taking(Protocol):
    """See targets/conftest.py."""

    def take(self, event: Event) -> None: ...


class Watched:
    """A watcher on a thread of its own, and everything that it told, in order."""

    def __init__(self, watcher: Watcher, stream: Taking | None) -> None:
        self.watcher = watcher
        self._stream = stream
        self._events: list[Event] = []
        self._error: BaseException | None = None
        self._more = threading.Condition()
        self._ready = threading.Event()
        self._frozen = threading.Event()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="watched", daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        self._check()

    def close(self) -> float:
        """Leave the watcher; the seconds that it took."""
        begun = time.monotonic()
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._check()
        return time.monotonic() - begun

    @property
    def events(self) -> list[Event]:
        with self._more:
            return list(self._events)

    def all(self, type_: str, **fields: Any) -> list[Event]:
        """The events of a type, with these fields; `name` is the device's."""
        return [event for event in self.events if _matches(event, type_, fields)]

    def wait(self, type_: str, count: int = 1, **fields: Any) -> Event:
        """The latest such event, once there are `count` of them."""
        with self._more:
            self._more.wait_for(
                lambda: self._error or len(self._all(type_, fields)) >= count, PATIENCE
            )
            self._check()
            found = self._all(type_, fields)
            told = [(e.type, e.key, e.state, e.summary) for e in self._events[-20:]]
        assert len(found) >= count, f"no {count} of {type_} {fields}, but {told}"
        return found[-1]

    def raised(self, type_: str, name: str, **fields: Any) -> Event:
        """The event by which a condition was raised."""
        return self.wait(type_, name=name, state=State.RAISED, **fields)

    def cleared(self, type_: str, name: str, **fields: Any) -> Event:
        """The event by which a condition was cleared."""
        return self.wait(type_, name=name, state=State.CLEARED, **fields)

    def story(self, name: str) -> list[tuple[str, str | None, str | None]]:
        """Type, key and what became of it, of all events about a device."""
        told = [event for event in self.events if event.device and event.device.name == name]
        return [(e.type, e.key, e.state and str(e.state)) for e in told]

    def standing(self) -> set[tuple[str, str, str | None, str]]:
        """Device, type, key and severity of what stands."""
        asked = asyncio.run_coroutine_threadsafe(self._conditions(), self.loop)
        found = asked.result(PATIENCE)
        return {(c.device.name, c.type, c.key, str(c.severity)) for c in found if c.device}

    def conditions(self) -> list[Condition]:
        asked = asyncio.run_coroutine_threadsafe(self._conditions(), self.loop)
        return asked.result(PATIENCE)

    async def _conditions(self) -> list[Condition]:
        return self.watcher.conditions()

    def coverage(self) -> list[Coverage]:
        asked = asyncio.run_coroutine_threadsafe(self._coverage(), self.loop)
        return asked.result(PATIENCE)

    async def _coverage(self) -> list[Coverage]:
        return self.watcher.coverage()

    def freeze(self) -> None:
        """Let its loop stand still until it is thawed."""
        self._frozen.clear()
        reached = threading.Event()

        def stand_still() -> None:
            reached.set()
            self._frozen.wait(PATIENCE)

        self.loop.call_soon_threadsafe(stand_still)
        assert reached.wait(PATIENCE)

    def thaw(self) -> None:
        self._frozen.set()

    def idle(self) -> None:
        """Wait until no device is being attended to."""
        asyncio.run_coroutine_threadsafe(self._idle(), self.loop).result(PATIENCE)

    async def _idle(self) -> None:
        # white-box: the tasks that attend to devices
        while tasks := list(self.watcher._attendant._tasks.values()):
            await asyncio.wait(tasks)

    def _all(self, type_: str, fields: dict[str, Any]) -> list[Event]:
        return [event for event in self._events if _matches(event, type_, fields)]

    def _check(self) -> None:
        if self._error:
            raise self._error

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self._task = self.loop.create_task(self._watch())
        try:
            self.loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self._error = error
        finally:
            self._ready.set()
            self.loop.close()

    async def _watch(self) -> None:
        async with self.watcher as watcher:
            self._ready.set()
            async for event in watcher:
                if self._stream:
                    self._stream.take(event)
                with self._more:
                    self._events.append(event)
                    self._more.notify_all()


def _matches(event: Event, type_: str, fields: dict[str, Any]) -> bool:
    name = fields.get("name")
    if event.type != type_ or (name and (event.device is None or event.device.name != name)):
        return False
    return all(getattr(event, key) == value for key, value in fields.items() if key != "name")


Watching = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture
def watching(stream: Callable[[], Taking]) -> Watching:
    """watching(*devices, conditions=, standing=, uevents=, **monitor): a Watched while it is open.

    What stood before need not have been raised by this watcher: with `standing` the order of its
    events is not held.
    """

    @contextmanager
    def watch(
        *devices: str,
        conditions: dict[str, Any] | None = None,
        standing: list[Condition] | None = None,
        uevents: bool = True,
        **monitor: Any,
    ) -> Iterator[Watched]:
        chosen = {"monitor": NOTHING_BY_TIME | monitor, "conditions": conditions or {}}
        settings = Settings.model_validate(chosen)
        watcher = Watcher(devices, settings=settings, standing=standing or (), uevents=uevents)
        watched = Watched(watcher, None if standing else stream())
        watched.start()
        try:
            yield watched
        finally:
            watched.close()

    return watch


@pytest.fixture
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as found:
        yield found


@pytest.fixture
def barrier(dm: DeviceMapper, device_name: Callable[[str], str]) -> Callable[[Watched], None]:
    """barrier(watched): once what happened before has been looked at, as far as the kernel told."""

    def wait(watched: Watched) -> None:
        name = device_name("barrier")
        dm.create(name)
        dm.load(name, [TargetLine(0, 8, "zero")])
        dm.resume(name)
        try:
            watched.wait("device.added", name=name)
        finally:
            dm.remove(name)
        watched.wait("device.removed", name=name)
        watched.idle()

    return wait


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whether everything was told is asked last."""
    items.sort(key=lambda item: item.path.name == "test_catalogue.py")
