"""Each handler gets what it missed, in order; a new one begins with what comes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dmwatch.service.delivery.inbox import Inbox
from dmwatch.service.ledger.disk import JournalError

Rows = Callable[[str], list[tuple[Any, ...]]]


async def test_a_handler_that_was_never_there_is_owed_nothing_of_before(
    live: Any, say: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(3))
    async with live() as life:
        assert await life.owed("log") == []
        await life.tell(*say.events(2, first=3))
    async with live() as life:
        assert [entry.event.summary for entry in await life.owed("log")] == ["3", "4"]


async def test_a_new_handler_that_was_never_reached_is_owed_everything_since_it_was_new(
    live: Any, say: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(3))
        life.ledger.backlog("pager")
        await life.tell(*say.events(2, first=3))
        life.ledger.owe("later")
        life.ledger.owe("pager")
        await life.tell(*say.events(2, first=5))
    async with live() as life:
        assert [entry.event.summary for entry in await life.owed("pager")] == ["3", "4", "5", "6"]
        assert [entry.event.summary for entry in await life.owed("later")] == ["5", "6"]


async def test_it_is_owed_what_comes_after_its_cursor_and_nothing_of_this_life(
    live: Any, say: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(700))
        life.ledger.cursor("pager", 10)
        life.ledger.cursor("log", 700)
    async with live() as life:
        await life.tell(*say.events(3))
        owed = await life.owed("pager")
        assert [entry.position for entry in owed] == list(range(11, 701))
        assert [entry.event.summary for entry in owed] == [str(n) for n in range(10, 700)]
        assert await life.owed("log") == []


async def test_a_cursor_never_goes_back(live: Any, say: Any) -> None:
    async with live() as life:
        await life.tell(*say.events(5))
        life.ledger.cursor("log", 5)
        life.ledger.cursor("log", 2)
    async with live() as life:
        assert await life.owed("log") == []


async def test_cursors_are_written_soon_though_nothing_is_told(
    live: Any, say: Any, rows: Rows, until: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(5))
        life.ledger.cursor("log", 4)
        await until(lambda: life.asked("select * from cursors") == [("log", 4)])


async def test_a_handler_that_is_configured_no_more_is_forgotten(
    live: Any, say: Any, rows: Rows, until: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(5))
        life.ledger.cursor("log", 4)
        life.ledger.cursor("pager", 4)
    async with live() as life:
        assert len(await life.owed("log")) == 1
        await until(lambda: life.asked("select * from cursors") == [("log", 4)])


async def test_an_event_that_cannot_be_read_back_does_not_keep_the_others(
    live: Any, say: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(3))
        life.ledger.cursor("log", 0)
        await life.ledger.flush()
        connection = life.disk._connection
        connection.execute("update events set event = '{' where position = 2")
    async with live() as life:
        assert [entry.position for entry in await life.owed("log")] == [1, 3]


def refuse(*_: Any) -> None:
    raise sqlite3.OperationalError("disk I/O error")


def inbox(life: Any, handler: str) -> Inbox:
    """As the dispatcher makes it."""
    passed = partial(life.ledger.cursor, handler)
    return Inbox(100, lambda _: True, passed, lambda: None, life.ledger.backlog(handler))


async def test_what_cannot_be_read_back_now_stays_owed_while_the_handler_is_told_what_comes(
    live: Any, say: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(5))
        life.ledger.cursor("pager", 2)
    async with live() as life:
        life.ledger._disk._reader.page = refuse
        with pytest.raises(JournalError):
            await life.owed("pager")
        waiting = inbox(life, "pager")
        await life.tell(say.event("live"))
        waiting.put(life.told[-1])
        async with asyncio.timeout(30):
            entry = await waiting.next()
        assert entry is not None
        assert entry.event.summary == "live"
        waiting.done()
    async with live() as life:
        assert [entry.event.summary for entry in await life.owed("pager")] == [
            *"234",
            "live",
        ]


async def test_what_was_owed_when_the_journal_could_not_be_read_at_the_start_stays_owed(
    live: Any, say: Any, until: Any, path: Path
) -> None:
    async with live() as life:
        await life.tell(*say.events(5))
        life.ledger.cursor("pager", 2)
        life.ledger.cursor("log", 5)
    os.rename(path, f"{path}.aside")  # noqa: PTH104
    disk = life.disk
    disk.fail(sqlite3.SQLITE_CANTOPEN)
    async with live(disk) as life:
        for handler in ("pager", "log"):
            assert await life.owed(handler) == []
        await life.tell(say.event("meanwhile"))
        os.rename(f"{path}.aside", path)  # noqa: PTH104
        disk.work()
        await until(lambda: life.ledger.on_disk)
        await life.ledger.flush()
        for handler in ("pager", "log"):
            life.ledger.cursor(handler, life.positions[-1])
    told = life.summaries
    assert "meanwhile" in told
    async with live() as life:
        owed = [entry.event.summary for entry in await life.owed("pager")]
        assert owed == ["2", "3", "4", *told]
        assert await life.owed("log") == []
