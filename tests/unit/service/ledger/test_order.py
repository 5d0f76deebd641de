"""What is told is numbered, written and published, in order, over many lives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.errors import AlreadyRunningError
from dmwatch.events import Event

Rows = Callable[[str], list[tuple[Any, ...]]]


async def test_events_are_published_in_order_under_one_epoch_without_gaps(
    live: Any, say: Any
) -> None:
    async with live() as life:
        await life.tell(*say.events(1000))
    assert life.summaries == [str(number) for number in range(1000)]
    assert life.sequences == life.positions == list(range(1, 1001))
    assert life.ids == [f"{life.ledger.epoch}-{number}" for number in range(1, 1001)]
    assert life.own == []


async def test_an_event_is_in_the_file_as_it_was_told_before_anybody_is_told(
    live: Any, say: Any, rows: Rows
) -> None:
    found = []
    async with live() as life:
        life.told = Watching(lambda: found.append(rows("select position from events")))
        life.ledger._publish = life.told.append
        await life.tell(say.event("x"))
    assert found == [[(1,)]]
    ((text,),) = rows("select event from events")
    assert Event.model_validate_json(text) == life.told[0].event
    assert json.loads(text)["id"] == f"{life.ledger.epoch}-1"


class Watching(list[Any]):
    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__()
        self._look = look

    def append(self, value: Any) -> None:
        self._look()
        super().append(value)


async def test_the_next_life_goes_on_with_the_same_epoch_and_the_next_sequence(
    live: Any, say: Any
) -> None:
    async with live() as first:
        await first.tell(*say.events(3))
    async with live() as second:
        assert (second.ledger.epoch, second.ledger.sequence) == (first.ledger.epoch, 3)
        await second.tell(say.event())
    assert second.sequences == second.positions == [4]


async def test_what_is_told_at_once_is_written_together(live: Any, say: Any) -> None:
    async with live() as life:
        for event in say.events(500):
            await life.ledger.tell(event)
        await life.ledger.flush()
    assert len(life.told) == 500
    assert len(life.disk.batches) < 20


async def test_a_subscriber_that_fails_keeps_nobody_from_being_told(live: Any, say: Any) -> None:
    async with live() as life:
        publish, failed = life.told.append, []

        def fail(entry: Any) -> None:
            publish(entry)
            failed.append(entry)
            raise RuntimeError("a fault in a lane")

        life.ledger._publish = fail
        await life.tell(*say.events(3))
    assert life.sequences == [1, 2, 3]
    assert len(failed) == 3


async def test_names_that_are_no_text_are_recorded(live: Any, say: Any) -> None:
    async with live() as life:
        data = {"old_name": "\udcff", "more": ["\udcff", 1, None]}
        await life.tell(say.raised(data=data, key="\udc80"))
        page = await life.ledger.history.page(0)
    (told,) = life.told
    assert told.event.key == "\\x80"
    assert told.event == page.rows[0].entry().event
    assert json.loads(page.rows[0].json)["data"] == {
        "old_name": "\\xff",
        "more": ["\\xff", 1, None],
    }


async def test_a_second_ledger_on_the_same_journal_is_refused_with_a_sentence(
    live: Any, path: Path
) -> None:
    async with live():
        with pytest.raises(AlreadyRunningError) as caught:
            async with live():
                pass
        assert str(path) in caught.value.what
        assert "process" in caught.value.because
    async with live():
        pass


async def test_the_folder_is_made_and_the_file_is_not_for_everybody(live: Any, path: Path) -> None:
    async with live() as life:
        await life.ledger.flush()
    assert os.stat(path).st_mode & 0o777 == 0o640  # noqa: PTH116
