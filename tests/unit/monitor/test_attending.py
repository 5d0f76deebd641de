from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dmwatch import DeviceMapper, TargetLine
from dmwatch.events import Event
from dmwatch.ioctl.abi import Command
from dmwatch.monitor.attending import Attendant, _moved
from dmwatch.monitor.outbox import Outbox
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.tracked import Tracked
from dmwatch.monitor.workers import StuckError
from dmwatch.names import DeviceName
from dmwatch.testing import FakeKernel

Fixture = Any
STRIPED = TargetLine(0, 8, "striped", "2 128 254:0 0 254:1 0")
WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"
QUICK = Settings.model_validate({"monitor": {"status_timeout": 0.2, "cpu_share": 1}})
PATIENT = Settings.model_validate({"monitor": {"status_timeout": 30, "cpu_share": 1}})


class Attended:
    """An attendant without a watcher."""

    def __init__(self, kernel: FakeKernel, settings: Settings) -> None:
        self.kernel = kernel
        self.settings = settings
        self.dm = DeviceMapper(kernel.open())
        self.outbox = Outbox((), settings)
        self.after: list[tuple[str, bool]] = []
        self.attendant = Attendant(self.dm, settings, self.outbox, kernel.diskseq, self._after)

    def _after(self, device: Tracked, *, changed: bool) -> None:
        self.after.append((device.name, changed))

    def track(self, name: str) -> Tracked:
        number = self.kernel.device(name).number
        return Tracked(number, DeviceName(name), 0, self.settings)

    async def first(self, device: Tracked) -> None:
        device.inbox.table = True
        await self.attendant.first(device)

    @property
    def told(self) -> list[tuple[str, str | None]]:
        return [(event.type, event.state) for event in self.events]

    @property
    def events(self) -> list[Event]:
        return list(self.outbox._first)

    async def done(self) -> None:
        while self.attendant._tasks:
            await asyncio.wait(list(self.attendant._tasks.values()), timeout=40)
            await asyncio.sleep(0)


@pytest.fixture
async def make(kernel: FakeKernel) -> AsyncIterator[Callable[..., Attended]]:
    made: list[Attended] = []

    def attended(settings: Settings = PATIENT) -> Attended:
        made.append(Attended(kernel, settings))
        return made[-1]

    yield attended
    for each in made:
        await each.attendant.close()
        each.dm.close()


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        (0, 0, 0),
        (5, 6, 1),
        (5, 105, 100),
        (0xFFFFFFFF, 0, 1),
        (0xFFFFFFF0, 0x10, 0x20),
        (7, 0, 1),
        (100, 3, 1),
    ],
)
def test_how_many_events_lie_between_two_numbers(old: int, new: int, moved: int) -> None:
    assert _moved(old, new) == moved


async def test_what_comes_in_while_it_is_busy_is_attended_to_by_the_same_task(
    kernel: FakeKernel, make: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    attended = make()
    device = attended.track("vol")
    await attended.first(device)

    def more() -> None:
        device.inbox.read = True

    device.inbox.read = True
    reads = kernel.count(Command.TABLE_STATUS)
    kernel.before(Command.TABLE_STATUS, more)
    attended.attendant.attend(device)
    attended.attendant.attend(device)
    assert len(attended.attendant._tasks) == 1
    await attended.done()
    assert kernel.count(Command.TABLE_STATUS) == reads + 2


async def test_a_device_is_read_by_its_number_whatever_it_is_called(
    kernel: FakeKernel, make: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[BROKEN])
    attended = make()
    device = attended.track("vol")
    kernel.dm.rename("vol", "new")
    await attended.first(device)
    assert attended.told == [("striped.leg-failed", "raised")]


async def test_a_device_that_is_gone_tells_nothing_until_the_list_says_so(
    kernel: FakeKernel, make: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[BROKEN])
    attended = make()
    device = attended.track("vol")
    kernel.dm.remove("vol")
    await attended.first(device)
    assert attended.told == []
    device.gone = True
    attended.attendant.attend(device)
    await attended.done()
    assert attended.told == [("device.removed", None)]


async def test_the_farewell_comes_before_what_took_the_number(
    kernel: FakeKernel, make: Fixture
) -> None:
    kernel.add("old", STRIPED, status=[BROKEN])
    attended = make()
    old = attended.track("old")
    await attended.first(old)
    released = kernel.hang(Command.TABLE_STATUS)
    old.inbox.read = True
    attended.attendant.attend(old)
    old.gone = True
    kernel.dm.remove("old")
    kernel.add("new", STRIPED, status=[BROKEN])
    new = attended.track("new")
    new.inbox.read = True
    attended.attendant.attend(new)
    released.set()
    await attended.done()
    assert [(e.type, e.state, e.device and e.device.name) for e in attended.events][1:] == [
        ("striped.leg-failed", "cleared", "old"),
        ("device.removed", None, "old"),
        ("striped.leg-failed", "raised", "new"),
    ]


async def test_who_asks_is_told_whether_anything_changed(kernel: FakeKernel, make: Fixture) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    attended = make()
    device = attended.track("vol")
    await attended.first(device)
    device.inbox.read = True
    attended.attendant.attend(device)
    await attended.done()
    kernel.raise_event("vol")
    device.inbox.event_nr = 1
    attended.attendant.attend(device)
    await attended.done()
    assert attended.after == [("vol", False), ("vol", False), ("vol", True)]


async def test_a_late_answer_has_the_device_read_again(
    kernel: FakeKernel, make: Fixture, eventually: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    attended = make(QUICK)
    device = attended.track("vol")
    released = kernel.hang(Command.TABLE_STATUS)
    device.inbox.read = True
    attended.attendant.attend(device)
    await attended.done()
    assert attended.told == [("device.status-stuck", "raised")]
    kernel.set_status("vol", 0, BROKEN)
    kernel.calm()
    released.set()
    await eventually(lambda: len(attended.events) == 3)
    assert attended.told[1:] == [
        ("device.status-stuck", "cleared"),
        ("striped.leg-failed", "raised"),
    ]


async def test_a_call_that_hangs_is_stuck_and_so_is_the_next_on_its_key(
    kernel: FakeKernel, make: Fixture, eventually: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    attended = make(QUICK)
    released = kernel.hang(Command.VERSION)
    with pytest.raises(StuckError, match=r"within 0\.2 s"):
        await attended.attendant.call("the version", attended.dm.version)
    with pytest.raises(StuckError, match="an earlier call"):
        await attended.attendant.call("the version", attended.dm.version)
    released.set()
    await eventually(lambda: attended.attendant._workers.pinned == 0)


async def test_closing_ends_its_tasks(kernel: FakeKernel, make: Fixture) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    attended = make()
    device = attended.track("vol")
    released = kernel.hang(Command.TABLE_STATUS)
    device.inbox.read = True
    attended.attendant.attend(device)
    await asyncio.sleep(0.01)
    await attended.attendant.close()
    assert attended.attendant._tasks == {}
    released.set()
