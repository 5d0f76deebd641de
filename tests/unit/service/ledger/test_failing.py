"""A journal that cannot be written delays nobody: memory, a new epoch, and back."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dmwatch.service.ledger import memory

Rows = Callable[[str], list[tuple[Any, ...]]]
FAILING = "dmwatch.journal-failing"


def steps(life: Any) -> list[tuple[str, str]]:
    """What was told of the journal, in the order of all that was told."""
    return [
        (str(entry.event.state), entry.event.data["problem"])
        for entry in life.told
        if entry.event.type == FAILING
    ]


@pytest.mark.parametrize(
    "fault",
    [
        (sqlite3.SQLITE_FULL, "its file system is full"),
        (sqlite3.SQLITE_READONLY, "it can only be read"),
        (sqlite3.SQLITE_BUSY, "another process has locked it"),
        (sqlite3.SQLITE_IOERR, "its disk or SQLite reports: it failed"),
    ],
)
async def test_a_write_that_fails_is_told_and_events_go_on_under_a_new_epoch(
    live: Any, say: Any, rows: Rows, until: Any, fault: tuple[int, str]
) -> None:
    code, problem = fault
    async with live() as life:
        await life.tell(*say.events(3))
        first = life.ledger.epoch
        life.disk.fail(code)
        await life.tell(*say.events(3, first=3))
        second = life.ledger.epoch
        assert life.ids[:6] == [f"{first}-{n}" for n in (1, 2, 3)] + [
            f"{second}-{n}" for n in (1, 2, 3)
        ]
        assert not life.ledger.on_disk
        life.disk.work()
        await until(lambda: len(steps(life)) == 2)
        assert steps(life) == [("raised", problem), ("cleared", problem)]
    assert life.positions == list(range(1, len(life.told) + 1))
    # the epoch goes on in the journal, which has everything that was told
    assert second == life.ledger.epoch != first
    kept = rows("select epoch || '-' || sequence, position from events order by position")
    assert kept == list(zip(life.ids, life.positions, strict=True))


async def test_too_little_memory_for_a_write_loses_nothing(
    live: Any, say: Any, rows: Rows, until: Any
) -> None:
    async with live() as life:
        life.disk.error = MemoryError()
        await life.tell(*say.events(3))
        assert life.summaries[:3] == ["0", "1", "2"]
        life.disk.work()
        await until(lambda: life.ledger.on_disk)
    kept = rows("select epoch || '-' || sequence from events order by position")
    assert [id_ for (id_,) in kept] == life.ids


async def test_a_fault_of_ours_with_cursors_or_in_tidying_ends_neither(
    live: Any, say: Any, rows: Rows, until: Any
) -> None:
    async with live(keep=86400.0) as life:
        trim = life.disk.trim
        life.disk.trim = life.disk.forget_cursors = lambda *_: 1 / 0
        life.disk.entered.clear()
        life.disk.error = ValueError("no such thing")
        life.ledger.cursor("log", 0)
        await until(life.disk.entered.is_set)
        life.disk.work()
        old = datetime.now(UTC) - timedelta(days=2)
        await life.tell(say.event("a").model_copy(update={"time": old}))
        assert life.summaries == ["a"]
        life.disk.trim = trim
        await until(lambda: life.asked("select count(*) from events") == [(0,)])


async def test_a_write_that_hangs_is_given_up_and_what_it_did_is_replaced(
    live: Any, say: Any, rows: Rows, until: Any
) -> None:
    async with live(hasty=True) as life:
        await life.tell(say.event("0"))
        life.disk.hang()
        await life.tell(*say.events(3, first=1))
        assert life.summaries[:4] == ["0", "1", "2", "3"]
        assert life.sequences[1:4] == [1, 2, 3]
        await life.tell(*say.events(100, first=4))
        assert life.disk.entered.is_set()
        # it comes back, late, and is carried out
        life.disk.work()
        await until(lambda: life.ledger.on_disk)
        await life.tell(say.event("last"))
    assert steps(life)[0][0] == "raised"
    assert steps(life)[-1][0] == "cleared"
    kept = rows("select epoch || '-' || sequence from events order by position")
    assert [id_ for (id_,) in kept] == life.ids
    assert len(set(life.ids)) == len(life.ids)


async def test_a_hung_disk_pins_one_writing_thread_however_often_it_is_tried(
    live: Any, say: Any, until: Any
) -> None:
    async with live(hasty=True) as life:
        await life.tell(say.event())
        life.disk.hang()
        await life.tell(say.event())
        for number in range(20):
            await life.tell(say.event(str(number)))
        assert life.disk.batches[-1].position == 1
        assert life.ledger._disk._writers.pinned == 1
        life.disk.work()
        await until(lambda: life.ledger.on_disk)


async def test_a_journal_that_hangs_when_it_is_closed_does_not_keep_the_end(
    live: Any, say: Any
) -> None:
    async with live(hasty=True) as life:
        await life.tell(say.event())
        life.disk.hang()
        await life.tell(*say.events(3))
        assert len(life.told) >= 4


async def test_a_reading_that_hangs_and_that_nobody_waits_for_does_not_keep_the_end(
    live: Any, say: Any
) -> None:
    go_on = threading.Event()
    async with live(hasty=True) as life:
        await life.tell(say.event())
        life.ledger._disk._reader.page = lambda *_: go_on.wait(60)
        reading = asyncio.create_task(life.ledger.history.page(0))
        await asyncio.sleep(0.05)
        reading.cancel()
        began = time.monotonic()
    assert time.monotonic() - began < 3  # and not what a reading may take
    go_on.set()


async def test_what_memory_cannot_hold_is_counted_and_told(
    live: Any, say: Any, rows: Rows, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.Tail.__init__, "__defaults__", (10, 10**9))
    async with live() as life:
        life.disk.fail(sqlite3.SQLITE_FULL)
        await life.tell(*say.events(30))
        life.disk.work()
        await until(lambda: len(steps(life)) == 3)
    (_, first), (state, problem), (last, _) = steps(life)
    assert (first, state, last) == ("its file system is full", "changed", "cleared")
    lost = int(problem.split()[0])
    assert 20 <= lost <= 21
    kept = rows("select sequence from events order by position")
    assert [sequence for (sequence,) in kept] == life.sequences[lost:]


async def test_ids_are_not_given_twice_when_the_way_back_is_cut_off_in_the_middle(
    live: Any, say: Any, until: Any
) -> None:
    async with live() as life:
        life.disk.fail(sqlite3.SQLITE_FULL)
        await life.tell(*say.events(600))

        def second_chunk_fails(batch: Any) -> None:
            if batch.replacing and batch.replacing > 1:
                raise sqlite3.OperationalError("cut off")

        life.disk.before_commit = second_chunk_fails
        life.disk.work()
        await until(lambda: any(batch.rows for batch in life.disk.batches))
        life.disk.fail(sqlite3.SQLITE_FULL)
    async with live() as after:
        assert after.ledger.epoch != life.ledger.epoch
        await after.tell(say.event())
        assert not set(after.ids) & set(life.ids)
        assert after.positions[0] > 256


async def test_ids_are_not_given_twice_when_the_last_step_back_is_given_up_and_done_all_the_same(
    live: Any, say: Any, until: Any, rows: Rows
) -> None:
    go_on, entered = threading.Event(), threading.Event()

    def hangs(batch: Any) -> None:
        if batch.whole:
            entered.set()
            go_on.wait(60)

    async with live(hasty=True) as life:
        life.disk.fail(sqlite3.SQLITE_FULL)
        await life.tell(*say.events(3))
        life.disk.before_commit = hangs
        life.disk.work()
        await until(lambda: entered.is_set() and steps(life)[-1][0] == "changed")
        await life.tell(*say.events(3, first=3))
        life.disk.fail(sqlite3.SQLITE_FULL)
        go_on.set()
        await until(lambda: not life.ledger._disk.hangs)
        # were it killed now, the next one would go on after these
        ((epoch, sequence),) = rows("select epoch, sequence from numbers")
        assert f"{epoch}-{sequence}" in life.ids
        assert f"{epoch}-{sequence + 1}" not in life.ids
        assert len(set(life.ids)) == len(life.ids)
        life.disk.before_commit = lambda _: None
        life.disk.work()
        await until(lambda: life.ledger.on_disk)
    kept = rows("select epoch || '-' || sequence from events order by position")
    assert [id_ for (id_,) in kept] == life.ids


async def test_a_start_without_a_journal_that_can_be_opened_goes_on_from_memory(
    live: Any, say: Any, until: Any
) -> None:
    async with live() as life:
        await life.tell(say.raised(), *say.events(3))
        life.ledger.cursor("log", 2)
    disk = life.disk
    disk.fail(sqlite3.SQLITE_READONLY)
    async with live(disk) as life:
        # it can be read: what stood is known, and what a handler is owed
        assert [c.type for c in life.ledger.standing()] == ["raid.leg-failed"]
        assert [entry.position for entry in await life.owed("log")] == [3, 4]
        await life.tell(say.event())
        assert life.positions[0] == 5
        assert steps(life)[0] == ("raised", "it can only be read")
        disk.work()
        await until(lambda: life.ledger.on_disk)


async def test_a_start_without_any_knowledge_of_the_journal_gives_later_positions(
    live: Any, say: Any, until: Any, path: Path, rows: Rows
) -> None:
    async with live() as life:
        await life.tell(*say.events(3))
    os.rename(path, f"{path}.aside")  # noqa: PTH104
    disk = life.disk
    disk.fail(sqlite3.SQLITE_CANTOPEN)
    async with live(disk) as life:
        await life.tell(*say.events(2))
        assert life.positions[0] > 3
        os.rename(f"{path}.aside", path)  # noqa: PTH104
        disk.work()
        await until(lambda: life.ledger.on_disk)
        await life.tell(say.event())
    assert len(rows("select * from events")) == 3 + len(life.told)


async def test_what_stood_and_could_not_be_read_at_the_start_is_given_once_it_can(
    live: Any, say: Any, until: Any, path: Path
) -> None:
    gone = say.device("gone", None, 9)
    async with live() as life:
        await life.tell(say.raised(), say.raised(on=gone), say.event())
    os.rename(path, f"{path}.aside")  # noqa: PTH104
    disk = life.disk
    disk.fail(sqlite3.SQLITE_CANTOPEN)
    async with live(disk) as life:
        assert life.ledger.standing() == []
        await life.tell(say.raised())
        os.rename(f"{path}.aside", path)  # noqa: PTH104
        disk.work()
        await until(lambda: life.late)
        # what was told in this life already is known better
        assert [c.device.name for c in life.late if c.device] == ["gone"]
    # it stands until something says that it does not
    async with live(disk) as life:
        names = {c.device.name for c in life.ledger.standing() if c.device}
        assert names == {"gone", say.device().name}
        await life.tell(say.cleared(on=gone))
        assert life.late == []
    async with live(disk) as life:
        assert len(life.ledger.standing()) == 1


async def test_events_flow_while_the_disk_comes_and_goes_and_order_is_kept(
    live: Any, say: Any, until: Any
) -> None:
    async with live() as life:
        for turn in range(5):
            await life.tell(*say.events(300, first=1000 * turn))
            life.disk.fail(sqlite3.SQLITE_FULL)
            await life.tell(*say.events(300, first=1000 * turn + 300))
            life.disk.work()
            for event in say.events(300, first=1000 * turn + 600):
                await life.ledger.tell(event)
            await until(lambda: life.ledger.on_disk)
        await life.ledger.flush()
    told = [int(entry.event.summary) for entry in life.told if entry.event.type != FAILING]
    assert told == sorted(told)
    assert len(told) == 5 * 900
    assert life.positions == list(range(1, len(life.told) + 1))
    assert len(set(life.ids)) == len(life.ids)
