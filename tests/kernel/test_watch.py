"""The watcher tells what happens: once, with the right fields, and nothing is lost.

Every scenario runs on a thread beside the watcher's loop and reads what was told from a Log.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from dmwatch import DeviceMapper, DeviceNumber, TargetLine, Watcher
from dmwatch.errors import DeviceNotFoundError
from dmwatch.monitor.members import FRESH_SECONDS
from dmwatch.monitor.settings import MonitorSettings, Settings

Name = Callable[[str], str]
Make = Callable[..., str]
Told = dict[str, Any]

ZERO = TargetLine(0, 2048, "zero")
PATIENCE = 90.0
PATH_FAILED = "multipath.path-failed"
# Under emulation everything takes long: no call is to count as stuck, and no pause is to be added.
PATIENT = Settings(monitor=MonitorSettings(status_timeout=30.0, cpu_share=1.0))


class Log:
    """What was told, in order. Written by one thread, read by another."""

    def __init__(self) -> None:
        self._told: list[Told] = []
        self._more = threading.Condition()

    def add(self, told: Told) -> None:
        with self._more:
            self._told.append(told)
            self._more.notify_all()

    def all(self, **fields: Any) -> list[Told]:
        with self._more:
            return [told for told in self._told if matches(told, fields)]

    def wait(self, count: int = 1, **fields: Any) -> Told:
        """The latest event with these fields, once there are `count` of them."""
        with self._more:
            in_time = self._more.wait_for(lambda: len(self.all(**fields)) >= count, PATIENCE)
            told = self.all(**fields)
        assert in_time, (count, fields, [event["summary"] for event in self.all()[-20:]])
        return told[-1]

    def steps(self, *names: str) -> list[str]:
        """The types of the events about a device under these names, in order.

        A uevent can come before the list does that shows a new name, and before the event number
        moves: then it is told that the number moved, besides what was found.
        """
        told = [event for name in names for event in self.all(name=name)]
        told.sort(key=lambda event: int(event["sequence"]))
        return [event["type"] for event in told if event["type"] != "device.event"]


def matches(told: Told, fields: dict[str, Any]) -> bool:
    device = told["device"] or {}
    return all(told.get(key, device.get(key)) == value for key, value in fields.items())


async def watch_during(scenario: Callable[[Log], object], watcher: Watcher | None = None) -> Log:
    log = Log()
    async with watcher or Watcher(settings=PATIENT) as watching:
        collecting = asyncio.create_task(_collect(watching, log))
        await asyncio.to_thread(scenario, log)
        collecting.cancel()
        await asyncio.wait([collecting])
    return log


async def _collect(watcher: Watcher, log: Log) -> None:
    async for event in watcher:
        log.add(json.loads(event.json_line()))


@pytest.fixture(scope="module")
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as found:
        yield found


@pytest.fixture
def make(dm: DeviceMapper, device_name: Name) -> Iterator[Make]:
    """make(stem, *lines, uuid=None) -> the name of a new device; lines go live."""
    numbers: list[DeviceNumber] = []

    def made(stem: str, *lines: TargetLine, uuid: str | None = None) -> str:
        name = device_name(stem)
        numbers.append(dm.create(name, uuid).number)
        if lines:
            dm.load(name, lines)
            dm.resume(name)
        return name

    yield made
    for number in reversed(numbers):
        with suppress(DeviceNotFoundError):
            dm.resume(number)
            dm.remove(number)


@dataclass(frozen=True)
class Paths:
    """A multipath device with three paths: failing one raises an event."""

    dm: DeviceMapper
    name: str
    path: tuple[DeviceNumber, ...]

    def fail(self, index: int = 0) -> None:
        self.dm.message(self.name, f"fail_path {self.path[index]}")

    def reinstate(self, index: int = 0) -> None:
        self.dm.message(self.name, f"reinstate_path {self.path[index]}")

    def wait_for_event(self, event_nr: int) -> None:
        """The event of a path comes from a work item."""
        deadline = time.monotonic() + PATIENCE
        while self.dm.info(self.name).event_nr != event_nr:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def told(self, log: Log, index: int = 0) -> list[str]:
        """What became of the condition of a path."""
        key = str(self.path[index])
        return [event["state"] for event in log.all(type=PATH_FAILED, name=self.name, key=key)]


@pytest.fixture
def paths(dm: DeviceMapper, make: Make) -> Paths:
    path = tuple(dm.info(make("path", ZERO)).number for _ in range(3))
    words = " ".join(f"{number} 1" for number in path)
    text = f"2 queue_mode bio 0 1 1 round-robin 0 3 1 {words}"
    return Paths(dm, make("paths", TargetLine(0, 2048, "multipath", text)), path)


def settle(dm: DeviceMapper, make: Make, log: Log) -> None:
    """Everything that happened before is told once this device is."""
    log.wait(type="device.added", name=make("sentinel", ZERO))


# Each step of a life


async def test_each_step_of_a_device_is_told_once(
    dm: DeviceMapper, make: Make, device_name: Name
) -> None:
    old, new = "life-2-dmwatch-test", device_name("renamed")

    def life(log: Log) -> None:
        number = dm.info(name := make("life", ZERO)).number
        added = log.wait(type="device.added", number=str(number))
        assert added["device"]["name"] == name
        assert added["data"] == {"targets": [{"start": 0, "length": 2048, "type": "zero"}]}
        dm.rename(name, new)
        renamed = log.wait(type="device.renamed")
        assert (renamed["device"]["name"], renamed["data"]) == (new, {"old_name": name})
        dm.set_uuid(new, "DMWATCH-life")
        uuid_set = log.wait(type="device.uuid-set")
        assert uuid_set["device"]["uuid"] == "DMWATCH-life"
        assert uuid_set["device"]["subsystem"] == "DMWATCH"
        dm.remove(new)
        removed = log.wait(type="device.removed", number=str(number))
        assert removed["device"]["name"] == new
        assert removed["device"]["diskseq"] == added["device"]["diskseq"]
        settle(dm, make, log)

    log = await watch_during(life)
    types = ["device.added", "device.renamed", "device.uuid-set", "device.removed"]
    assert log.steps(old, new) == types
    told = log.all()
    assert [event["sequence"] for event in told] == list(range(1, len(told) + 1))
    assert len({event["id"] for event in told}) == len(told)
    assert not any(event["initial"] for event in told)


async def test_what_a_target_reports_is_told_once_when_it_comes_and_once_when_it_goes(
    dm: DeviceMapper, make: Make, paths: Paths
) -> None:
    def fail_and_reinstate(log: Log) -> None:
        paths.fail()
        failed = log.wait(type=PATH_FAILED, name=paths.name)
        assert (failed["state"], failed["key"]) == ("raised", str(paths.path[0]))
        assert (failed["target"], failed["data"]["paths_left"]) == ("multipath", 2)
        paths.reinstate()
        back = log.wait(2, type=PATH_FAILED, name=paths.name)
        assert (back["state"], back["reason"]) == ("cleared", "healthy")
        assert back["key"] == failed["key"]
        settle(dm, make, log)

    log = await watch_during(fail_and_reinstate)
    assert paths.told(log) == ["raised", "cleared"]
    assert log.steps(paths.name) == [PATH_FAILED] * 2


async def test_what_was_there_already_is_not_told(dm: DeviceMapper, make: Make) -> None:
    name = make("before", ZERO)
    log = await watch_during(lambda log: settle(dm, make, log))
    assert log.steps(name) == []


async def test_a_uuid_set_without_a_table_is_told_once(dm: DeviceMapper, make: Make) -> None:
    name = make("bare")

    def set_uuid(log: Log) -> None:
        dm.set_uuid(name, "DMWATCH-bare")
        assert log.wait(type="device.uuid-set")["device"]["uuid"] == "DMWATCH-bare"
        settle(dm, make, log)

    log = await watch_during(set_uuid)
    assert log.steps(name) == ["device.uuid-set"]


async def test_a_device_without_a_table_is_told_after_a_second(make: Make) -> None:
    log = await watch_during(lambda log: log.wait(type="device.added", name=make("bare")))
    assert [event["data"] for event in log.all()] == [{"targets": []}]


async def test_only_the_devices_that_are_meant_are_told(dm: DeviceMapper, make: Make) -> None:
    def create(log: Log) -> None:
        make("other", ZERO)
        settle(dm, make, log)

    log = await watch_during(create, Watcher(["sentinel-*"], settings=PATIENT))
    assert [event["device"]["name"] for event in log.all()] == ["sentinel-2-dmwatch-test"]


async def test_what_stands_already_is_told_first_as_initial(
    dm: DeviceMapper, make: Make, paths: Paths
) -> None:
    paths.fail()
    paths.wait_for_event(1)
    log = await watch_during(lambda log: settle(dm, make, log))
    first = log.all()[0]
    assert (first["type"], first["state"], first["initial"]) == (PATH_FAILED, "raised", True)
    assert paths.told(log) == ["raised"]


async def test_an_undecodable_name_is_told_escaped(dm: DeviceMapper, device_name: Name) -> None:
    name = f"\udcff\x07{device_name('raw')}"

    def create(log: Log) -> None:
        dm.create(name)
        try:
            dm.load(name, [ZERO])
            number = dm.resume(name).number
            told = log.wait(type="device.added", number=str(number))
            assert told["device"]["name"] == f"\\xff\\x07{name[2:]}"
        finally:
            dm.remove(name)
        log.wait(type="device.removed", number=str(number))

    await watch_during(create)


# Bursts


@pytest.mark.timeout(120)
async def test_of_1000_renames_the_last_name_is_told(
    dm: DeviceMapper, make: Make, device_name: Name
) -> None:
    name = make("rename", ZERO)
    last = device_name("last")

    def rename(log: Log) -> None:
        old = name
        for index in range(999):
            new = f"rename-{index % 7}x-dmwatch-test"
            dm.rename(old, new)
            old = new
        dm.rename(old, last)
        log.wait(type="device.renamed", name=last)
        settle(dm, make, log)

    log = await watch_during(rename, Watcher())
    told = log.all(type="device.renamed")
    names = [event["device"]["name"] for event in told]
    assert names[-1] == last
    assert [event["data"]["old_name"] for event in told] == [name, *names[:-1]]
    assert set(log.steps(name, *names)) == {"device.renamed"}


@pytest.mark.timeout(200)
async def test_of_200_devices_created_and_removed_no_final_state_is_lost(
    dm: DeviceMapper, make: Make
) -> None:
    kept: list[str] = []

    def burst(log: Log) -> None:
        for index in range(200):
            name = f"burst-{index}-dmwatch-test"
            dm.create(name)
            if index % 3 == 0:
                dm.load(name, [ZERO])
                dm.resume(name)
            kept.append(name)
            if index % 4:
                dm.remove(kept.pop(-1 - index % 2))
        settle(dm, make, log)
        time.sleep(FRESH_SECONDS)
        settle(dm, make, log)

    try:
        log = await watch_during(burst)
        listed = {d.name for d in dm.list_devices() if d.name.startswith("burst-")}
    finally:
        for name in kept:
            dm.remove(name)
    assert listed == set(kept)
    assert replayed(log.all()) == listed


def replayed(told: list[Told]) -> set[str]:
    """The devices of the burst that are there, to somebody who knows only what was told.

    A number that was freed and taken by another device between two looks can read as a rename:
    a device that never had a table has nothing that tells it from the next one.
    """
    there: set[str] = set()
    for event in told:
        if event["type"] in {"device.renamed", "device.removed"}:
            there.remove(event["data"].get("old_name", event["device"]["name"]))
        if event["type"] in {"device.renamed", "device.added"}:
            assert event["device"]["name"] not in there
            there.add(event["device"]["name"])
    return {name for name in there if name.startswith("burst-")}


async def test_a_reader_that_is_slow_is_told_the_last_state(
    dm: DeviceMapper, make: Make, paths: Paths
) -> None:
    watcher = Watcher(settings=PATIENT)
    watcher._outbox._room = asyncio.Semaphore(2)
    log = Log()
    async with watcher:
        for index in range(41):
            (paths.reinstate if index % 2 else paths.fail)(index // 2 % 2)
            await asyncio.sleep(0.02)
        collecting = asyncio.create_task(_collect(watcher, log))
        await asyncio.to_thread(settle, dm, make, log)
        collecting.cancel()
        await asyncio.wait([collecting])
    for index in (0, 1):
        failed = f"{paths.path[index]} F" in dm.table_status(paths.name).lines[0].text
        told = paths.told(log, index)
        assert told == (["raised", "cleared"] * 41)[: len(told)]
        assert (len(told) % 2 == 1) == failed


# Races and failures inside a look


def hook(watcher: Watcher, method: str, action: Callable[[], None]) -> None:
    """Do something right after the watcher's next call of a method of its DeviceMapper."""
    dm = watcher._dm
    original = getattr(dm, method)
    pending = [action]

    def hooked(*arguments: Any, **keywords: Any) -> Any:
        found = original(*arguments, **keywords)
        if pending:
            pending.pop()()
        return found

    setattr(dm, method, hooked)


@pytest.mark.parametrize("method", ["arm_poll", "list_raw", "info", "table_status"])
async def test_an_event_between_the_steps_of_a_look_is_not_lost(
    dm: DeviceMapper, make: Make, paths: Paths, method: str
) -> None:
    watcher = Watcher(settings=PATIENT)
    raised = threading.Event()

    def fail_another() -> None:
        paths.fail(1)
        paths.wait_for_event(2)
        raised.set()

    def race(log: Log) -> None:
        hook(watcher, method, fail_another)
        paths.fail(0)
        assert raised.wait(PATIENCE)
        log.wait(2, type=PATH_FAILED, name=paths.name)
        settle(dm, make, log)

    log = await watch_during(race, watcher)
    assert [paths.told(log, index) for index in (0, 1, 2)] == [["raised"], ["raised"], []]


async def test_a_look_that_fails_is_repeated_after_a_pause_and_loses_nothing(
    dm: DeviceMapper, make: Make
) -> None:
    watcher = Watcher(settings=PATIENT)
    calls: list[float] = []

    def fail_twice(log: Log) -> None:
        original = watcher._dm.list_raw

        def failing(**keywords: Any) -> Any:
            calls.append(time.monotonic())
            if len(calls) <= 2:
                raise OSError(5, "injected")
            return original(**keywords)

        watcher._dm.list_raw = failing  # type: ignore[method-assign]
        settle(dm, make, log)

    log = await watch_during(fail_twice, watcher)
    steps = log.all(type="dmwatch.control-failing")
    assert [step["state"] for step in steps] == ["raised", "cleared"]
    assert calls[1] - calls[0] >= 1.0
    assert calls[2] - calls[1] >= 2.0


async def test_a_quiet_system_is_not_asked(dm: DeviceMapper, make: Make) -> None:
    watcher = Watcher(settings=PATIENT)
    armed: list[float] = []

    def be_quiet(log: Log) -> None:
        settle(dm, make, log)
        time.sleep(1.0)
        original = watcher._dm.arm_poll

        def counting() -> None:
            armed.append(time.monotonic())
            original()

        watcher._dm.arm_poll = counting  # type: ignore[method-assign]
        time.sleep(1.5)
        assert armed == []
        settle(dm, make, log)
        assert armed

    await watch_during(be_quiet, watcher)
