"""Whatever the disk does, and whenever the daemon ends: order, ids, and what stands."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import kept

from dmwatch.events import DeviceRef, Event, State
from dmwatch.monitor.teller import Teller
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.service.entry import Entry
from dmwatch.service.ledger import Ledger
from dmwatch.service.ledger.disk import Pace
from dmwatch.service.ledger.standing import StandingConditions
from dmwatch.service.ledger.store import Batch, Kept, Store
from dmwatch.service.own import Own
from dmwatch.service.settings import JournalSettings
from dmwatch.severity import Severity

PACE = Pace(commit=20.0, open=20.0, retry_first=0.001, retry_longest=0.002, cursors=0.001)
DEVICES = [DeviceRef.of(DeviceName(f"d{n}"), f"U{n}", DeviceNumber(253, n), None) for n in range(3)]
OWN = "dmwatch.journal-failing"

steps = st.one_of(
    st.tuples(
        st.just("tell"), st.integers(0, 2), st.sampled_from(["raised", "cleared", "changed"])
    ),
    st.tuples(st.just("burst"), st.integers(1, 400)),
    st.tuples(st.just("fail")),
    st.tuples(st.just("work")),
    st.tuples(st.just("wait")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("handled"), st.integers(0, 100)),
)


class Disk(Store):
    """It fails while it is told to; half of the writes that fail are done all the same."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fails = False
        self._count = 0

    def open(self) -> Kept:
        if self.fails:
            raise sqlite3.OperationalError("it fails")
        return super().open()

    def write(self, batch: Batch) -> None:
        self._count += self.fails
        if self.fails and self._count % 2:
            raise sqlite3.OperationalError("it fails")
        super().write(batch)
        if self.fails:
            raise sqlite3.OperationalError("it was done, and nobody knows")


class Story:
    """What was told, over all lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[Entry] = []
        self.teller = Teller()
        self.handled = 0
        self.count = 0

    async def play(self, plan: list[tuple[Any, ...]]) -> None:
        lives: list[list[tuple[Any, ...]]] = [[]]
        for step in plan:
            if step[0] == "restart":
                lives.append([])
            else:
                lives[-1].append(step)
        for life in lives:
            await self.live(life)

    async def live(self, plan: list[tuple[Any, ...]]) -> None:
        disk = Disk(self.path)
        found: list[Event] = []
        ledger = Ledger(
            JournalSettings(path=self.path),
            Own(found.append),
            self.told.append,
            pace=PACE,
            store=disk,
        )
        async with ledger:
            owed = [entry.position async for entry in ledger.backlog("handler")]
            self.check_owed(owed)
            self.check_standing(ledger)
            for step in plan:
                await self.step(ledger, disk, found, step)
            disk.fails = False
            await self.back_on_disk(ledger)
            for event in found:
                await ledger.tell(event)

    async def step(self, ledger: Ledger, disk: Disk, found: list[Event], step: Any) -> None:
        match step:
            case ("tell", index, state):
                await ledger.tell(self.event(DEVICES[index], State(state)))
            case ("burst", count):
                for _ in range(count):
                    await ledger.tell(self.event(DEVICES[0], None))
            case ("fail",):
                disk.fails = True
            case ("work",):
                disk.fails = False
            case ("wait",):
                await ledger.flush()
                await asyncio.sleep(0.01)
            case ("handled", share):
                await ledger.flush()
                self.handled = max(self.handled, ledger.history.position * share // 100)
                ledger.cursor("handler", self.handled)
        while found:
            await ledger.tell(found.pop(0))

    def event(self, device: DeviceRef, state: State | None) -> Event:
        self.count += 1
        return self.teller.moment(
            "a.b", Severity.ERROR, device, str(self.count), state=state, key="k" if state else None
        )

    async def back_on_disk(self, ledger: Ledger) -> None:
        async with asyncio.timeout(30):
            while not ledger.on_disk:  # noqa: ASYNC110 - it is on another task
                await asyncio.sleep(0.001)

    def check_owed(self, owed: list[int]) -> None:
        told = [entry.position for entry in self.told]
        assert owed == [position for position in told if position > self.handled]

    def check_standing(self, ledger: Ledger) -> None:
        folded = StandingConditions()
        for entry in self.told:
            folded.take(entry.event)
        assert ledger.standing() == folded.conditions

    def check(self) -> None:
        ids = [entry.event.id for entry in self.told]
        assert len(set(ids)) == len(ids)
        positions = [entry.position for entry in self.told]
        assert positions == list(range(1, len(positions) + 1))
        told = [int(e.event.summary.split()[-1]) for e in self.told if e.event.type == "a.b"]
        assert told == list(range(1, self.count + 1))
        last: dict[str, int] = {}
        for entry in self.told:
            epoch = entry.event.id.rpartition("-")[0]
            assert entry.event.sequence == last.get(epoch, 0) + 1
            last[epoch] = entry.event.sequence
        query = "select position, epoch || '-' || sequence from events order by position"
        assert kept(self.path, query) == list(zip(positions, ids, strict=True))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25))
def test_order_ids_and_what_stands_hold_whatever_happens(plan: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder) / "events.db")
        asyncio.run(story.play(plan))
        story.check()
