"""Each handler gets what it missed, in order; a new one begins with what comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        await until(lambda: rows("select * from cursors") == [("log", 4)])


async def test_a_handler_that_is_configured_no_more_is_forgotten(
    live: Any, say: Any, rows: Rows, until: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(5))
        life.ledger.cursor("log", 4)
        life.ledger.cursor("pager", 4)
    async with live() as life:
        assert len(await life.owed("log")) == 1
        await until(lambda: rows("select * from cursors") == [("log", 4)])


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
