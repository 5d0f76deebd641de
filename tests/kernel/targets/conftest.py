"""Devices of one line, built and seen with dmsetup, read with our code, and watched.

One Watcher runs beside all tests of this folder: wherever a test asks what stands on a device, the
watcher must have told the same, each condition raised once, with its severity, key and data, and
cleared. DMWATCH_TOLD=0 does without it.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from dmwatch.events import Event, State
from dmwatch.monitor import Watcher
from dmwatch.monitor.catalogue import event_types
from dmwatch.monitor.settings import ConditionSettings, MonitorSettings, Settings
from dmwatch.severity import Severity
from dmwatch.targets import (
    Finding,
    Seen,
    TargetMessage,
    TargetTable,
    find,
    load_all,
    plain,
)
from dmwatch.targets.catalogue import ConditionType, FlapType, GaugeType, MomentType, StallType
from dmwatch.units import Sectors

Dmsetup = Callable[..., str]
BLOCK = 64 * 1024
PATIENCE = 60.0
AGREEING = 5.0
ADDED = "device.added"
Id = tuple[str, str | None]
Row = ConditionType | GaugeType | StallType | FlapType | MomentType

ROWS: dict[str, Row] = {
    row.type: row for target in load_all() for row in (*target.conditions, *target.moment_types)
}
FINDINGS = {row.type for row in ROWS.values() if isinstance(row, ConditionType)}


# What every stream of events is


class Stream:
    """Takes events in order, and holds that each is one that may follow those before."""

    def __init__(self, shown: set[tuple[str, State | None]]) -> None:
        self._shown = shown
        self._sequence = 0
        self._standing: dict[tuple[str, Id], Event] = {}

    def take(self, event: Event) -> None:
        self._sequence += 1
        assert event.sequence == self._sequence
        self._shown.add((event.type, event.state))
        _holds(event)
        if event.state is not None:
            self._step(event)

    def _step(self, event: Event) -> None:
        device = str(event.device and event.device.number)
        id_ = device, (event.type, event.key)
        held = self._standing.pop(id_, None)
        assert (held is None) is (event.state is State.RAISED), f"{event} after {held}"
        if event.state is not State.CLEARED:
            self._standing[id_] = event
        if held and event.state is State.CHANGED:
            assert (held.severity, held.data) != (event.severity, event.data), event


def _holds(event: Event) -> None:
    """It is what the catalogue says of its type."""
    known = event_types()[event.type]
    assert (event.state is not None) is known.stands
    assert set(event.data) == {spec.name for spec in fields(known.data)}, event
    _adapter(known.data).validate_python(event.data)
    assert (event.reason is not None) is (event.state is State.CLEARED)
    row = ROWS.get(event.type)
    if row is None:
        return
    assert event.target == event.type.partition(".")[0]
    assert event.severity in _severities(row), event
    grave = event.severity.at_least(Severity.ERROR) and event.state is not State.CLEARED
    assert event.advice or not grave


@cache
def _adapter(data: type) -> TypeAdapter[Any]:
    return TypeAdapter(data)


def _severities(row: Row) -> Iterable[Severity]:
    if isinstance(row, ConditionType):
        return row.severities
    if isinstance(row, GaugeType):
        return Severity
    return (row.severity,)


# The watcher beside all tests


class Told:
    """What a watcher has told, folded: what stands on each device. It has a thread of its own."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._error: BaseException | None = None
        self._standing: dict[str, dict[Id, Event]] = {}
        self._moments: dict[str, set[str]] = {}
        self._more = threading.Condition()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert self._error is None, self._error

    def agrees(self, name: str, found: Iterable[Finding]) -> None:
        """Wait a while until what was told to stand on a device is just this."""
        wanted = {(f.type, f.key): (f.severity, _lasting(f.type, plain(f.data))) for f in found}
        with self._more:
            agreed = self._more.wait_for(lambda: self._error or self._on(name) == wanted, AGREEING)
            assert self._error is None, self._error
            assert agreed, f"the watcher tells {self._on(name)}, there is {wanted}"

    def tells(self, name: str, moments: Iterable[str]) -> None:
        """Wait until moments of these types were told of a device."""
        wanted = set(moments)
        with self._more:
            told = self._more.wait_for(lambda: wanted <= self._moments.get(name, set()), PATIENCE)
            assert told, f"the watcher has told {self._moments.get(name)}, there was {wanted}"

    def looks(self, name: str) -> None:
        """Wait until a look at a device has begun and ended: what changed before was seen."""
        end = time.monotonic() + PATIENCE
        for _ in range(2):  # one may be under way
            before = self._read_at(name)
            while self._read_at(name) == before:
                assert time.monotonic() < end, f"the watcher does not look at {name}"
                time.sleep(0.05)

    def _read_at(self, name: str) -> float:
        tracked = list(self._watcher._tracked.values())
        return max((device.read_at for device in tracked if device.name == name), default=0.0)

    def _on(self, name: str) -> dict[Id, tuple[Severity, dict[str, Any]]]:
        found = self._standing.get(name, {})
        return {id_: (e.severity, _lasting(e.type, e.data)) for id_, e in found.items()}

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._watch())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _watch(self) -> None:
        async with Watcher(settings=_eager()) as watcher:
            self._watcher = watcher
            self._ready.set()
            async for event in watcher:
                with self._more:
                    self._take(event)
                    self._more.notify_all()

    def _take(self, event: Event) -> None:
        try:
            self._stream.take(event)
        except AssertionError as error:
            self._error = self._error or error
        if event.device is None:
            return
        if event.state is None:
            self._moments.setdefault(event.device.name, set()).add(event.type)
        elif event.type in FINDINGS:
            held = self._standing.setdefault(event.device.name, {})
            held[(event.type, event.key)] = event
            if event.state is State.CLEARED:
                del held[(event.type, event.key)]


def _lasting(type_: str, data: dict[str, Any]) -> dict[str, Any]:
    """Data without what moves all the time and is not told for its own sake."""
    specs = {spec.name: spec for spec in fields(event_types()[type_].data)}
    return {k: v for k, v in data.items() if not specs[k].metadata.get("volatile")}


def _eager() -> Settings:
    """Everything is told at once, polls are frequent, and no pause is added under emulation."""
    late = [row.type for row in ROWS.values() if isinstance(row, ConditionType) and row.after]
    return Settings(
        monitor=MonitorSettings(poll_interval=1.0, status_timeout=30.0, cpu_share=1.0),
        conditions={kind: ConditionSettings(after=0.0) for kind in late},
    )


@pytest.fixture(scope="session")
def shown() -> set[tuple[str, State | None]]:
    """The types that were told in this run, each with what became of it."""
    return set()


@pytest.fixture(scope="session")
def stream(shown: set[tuple[str, State | None]]) -> Callable[[], Stream]:
    """stream() -> a Stream for the events of one watcher."""
    return lambda: Stream(shown)


@pytest.fixture(scope="session")
def told(stream: Callable[[], Stream]) -> Iterator[Told | None]:
    """The watcher beside the tests."""
    watching = None if os.environ.get("DMWATCH_TOLD") == "0" else Told(stream())
    yield watching
    if watching:
        watching.close()


@dataclass(frozen=True)
class Device:
    """A device with one line; `witness` is dmsetup."""

    name: str
    witness: Dmsetup
    told: Told | None

    @property
    def path(self) -> str:
        return f"/dev/mapper/{self.name}"

    def text(self, what: str) -> str:
        """What `dmsetup status` or `dmsetup table` says, without start, length and type."""
        options = ["--noflush"] if what == "status" else []
        return self.witness(what, *options, self.name).rstrip("\n").split(" ", 3)[3]

    def table(self) -> TargetTable:
        return self.look().table  # type: ignore[return-value]

    def look(self) -> Seen:
        start, length, target, status = self.witness("status", "--noflush", self.name).split(" ", 3)
        known = find(target)
        return Seen(
            type=target,
            start=Sectors(int(start)),
            length=Sectors(int(length)),
            status=known.status(status.rstrip("\n")),
            table=known.table(self.text("table")),
        )

    def standing(self) -> dict[str, Severity]:
        """What stands, as our code reads it and as the watcher has told it."""
        end = time.monotonic() + PATIENCE
        while True:
            seen = self.look()
            found = find(seen.type).observe(seen).findings
            try:
                if self.told:
                    self.told.agrees(self.name, found)
            except AssertionError:  # it may have moved on since this look
                if time.monotonic() > end:
                    raise
                continue
            return {f.type: f.severity for f in found}

    def since(self, before: Seen) -> list[str]:
        """The moments from a look before until now, which the watcher has told too."""
        found = [moment.type for moment in find(before.type).moments(before, self.look())]
        if self.told:
            self.told.tells(self.name, found)
        return found

    def seen(self) -> Seen:
        """A look of ours, after which the watcher has had one, too."""
        found = self.look()
        if self.told:
            self.told.looks(self.name)
        return found

    def until(self, true: Callable[[Seen], bool], seconds: float = 60) -> Seen:
        end = time.monotonic() + seconds
        while not true(seen := self.look()):
            assert time.monotonic() < end, f"still {self.text('status')!r}"
            time.sleep(0.2)
        return seen

    def message(self, message: TargetMessage) -> None:
        self.witness("message", self.name, "0", message.format())

    def replace(self, line: str, *suspend: str) -> None:
        """Put another line in place of the one that it has."""
        self.witness("suspend", *suspend, self.name)
        self.witness("load", self.name, "--table", line)
        self.witness("resume", self.name)

    def fail(self) -> None:
        """Make all its I/O fail from now on."""
        length = int(self.look().length)
        self.replace(f"0 {length} error", "--noflush", "--nolockfs")

    def fail_writes(self) -> None:
        """Make its writes fail from now on; it is a linear device."""
        length = int(self.look().length)
        below = self.text("table")
        line = f"0 {length} flakey {below} 0 1 1 error_writes"
        self.replace(line, "--noflush", "--nolockfs")

    def write(self, start: int, blocks: int = 1, size: int = BLOCK) -> None:
        """Write whole blocks of 64 KiB past the page cache."""
        handle = os.open(self.path, os.O_WRONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, size) as buffer:
                buffer.write(b"\x5a" * size)
                for block in range(start, start + blocks):
                    os.pwritev(handle, [buffer], block * size)
        finally:
            os.close(handle)

    def write_and_flush(self, start: int) -> None:
        self.write(start)
        self.flush()

    def flush(self) -> None:
        handle = os.open(self.path, os.O_WRONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Bench:
    """Makes devices and takes them down, the last one first."""

    def __init__(
        self, dmsetup: Dmsetup, device_name: Callable[[str], str], told: Told | None
    ) -> None:
        self._dmsetup = dmsetup
        self._told = told
        self._name = device_name
        self._made: list[Device] = []

    def make(self, stem: str, line: str, *options: str) -> Device:
        """A device with this line: `start length type text`."""
        device = Device(self._name(stem), self._dmsetup, self._told)
        self._dmsetup("create", *options, device.name, "--table", line)
        self._made.append(device)
        if self._told:
            self._told.tells(device.name, [ADDED])  # what happens from now on it can tell
        return device

    def linear(self, stem: str, below: str, sectors: int) -> Device:
        return self.make(stem, f"0 {sectors} linear {below} 0")

    def drop(self, device: Device) -> None:
        self._made.remove(device)
        self._dmsetup("remove", "--retry", device.name)

    def again(self, device: Device) -> Device:
        """Take a device down and make it anew from the table that our code writes."""
        seen = device.look()
        assert seen.table is not None
        before = device.text("table")
        self.drop(device)
        line = seen.table.line(seen.start, seen.length)
        stem = device.name.split("-")[0]
        new = self.make(stem, f"{line.start} {line.length} {line.type} {line.text}")
        assert new.table() == seen.table
        assert new.text("table") == before
        return new

    def take_down(self) -> None:
        while self._made:
            self.drop(self._made[-1])


@pytest.fixture
def bench(
    loop: Callable[[float], str],
    dmsetup: Dmsetup,
    device_name: Callable[[str], str],
    told: Told | None,
) -> Iterator[Bench]:
    made = Bench(dmsetup, device_name, told)
    yield made
    made.take_down()


@pytest.fixture
def writing() -> Iterator[Callable[[Device, int], subprocess.Popen[bytes]]]:
    """writing(device, block) -> a process that writes one block, which may hang."""
    started: list[subprocess.Popen[bytes]] = []

    def write(device: Device, block: int) -> subprocess.Popen[bytes]:
        options = [f"of={device.path}", f"seek={block}", f"bs={BLOCK}", "count=1", "oflag=direct"]
        command = ["dd", "if=/dev/zero", "conv=notrunc", *options]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return started[-1]

    yield write
    for process in started:
        process.kill()
        process.wait(timeout=60)


@pytest.fixture
def parameter() -> Iterator[Callable[[str, str, str], None]]:
    """parameter(module, name, value): set a module's parameter until the test ends."""
    before: list[tuple[Path, str]] = []

    def change(module: str, name: str, value: str) -> None:
        path = Path("/sys/module") / module / "parameters" / name
        before.append((path, path.read_text()))
        path.write_text(value)

    yield change
    for path, value in reversed(before):
        path.write_text(value)
