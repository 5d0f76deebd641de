"""History, then live, without gap or repeat; filters; where to go on from."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest


async def test_since_null_gives_what_comes_from_now_on(serve: Any) -> None:
    async with serve() as service:
        await service.tell("before")
        client = await service.live(since=None)
        await service.tell("a", "b")
        assert await client.summaries(2) == ["a", "b"]


async def test_a_client_that_says_nothing_gets_what_comes_from_when_it_came(serve: Any) -> None:
    async with serve() as service:
        await service.tell("before")
        client = await service.client()
        await service.until(lambda: service.stream.clients)
        await service.tell("a")
        assert await client.summaries(1) == ["a"]


async def test_a_line_on_the_stream_is_the_event_as_it_was_told(serve: Any) -> None:
    async with serve() as service:
        await service.tell("a")
        client = await service.live(since="1h")
        await service.tell("b")
        assert await client.lines(2) == [event.model_dump(mode="json") for event in service.told]


async def test_history_since_an_id_begins_after_it_from_every_point(serve: Any) -> None:
    async with serve() as service:
        await service.tell_many(40)
        for index, event in enumerate(service.told):
            client = await service.subscribed(since=event.id, follow=False)
            found = [line["summary"] for line in await client.rest()]
            assert found == [str(number) for number in range(index + 1, 40)]


async def test_history_since_a_time_begins_with_the_first_event_from_then_on(serve: Any) -> None:
    async with serve() as service:
        await service.tell_many(40)
        for event in service.told[::7]:
            since = event.time.isoformat()
            client = await service.subscribed(since=since, follow=False)
            assert await client.rest() == [
                e.model_dump(mode="json") for e in service.told if e.time >= event.time
            ]


async def test_history_since_a_span(serve: Any) -> None:
    async with serve() as service:
        old = service.event("old")
        old = old.model_copy(update={"time": datetime.now(UTC) - timedelta(hours=3)})
        await service.tell(old, "new")
        client = await service.subscribed(since="2h", follow=False)
        assert [line["summary"] for line in await client.rest()] == ["new"]
        client = await service.subscribed(since="4h", follow=False)
        assert [line["summary"] for line in await client.rest()] == ["old", "new"]
        client = await service.subscribed(since="1ms", follow=False)
        assert await client.rest() == []


async def test_many_clients_that_join_while_events_are_told_have_neither_gap_nor_repeat(
    serve: Any,
) -> None:
    async with serve() as service:
        await service.tell_many(700)
        telling = asyncio.create_task(tell_slowly(service, 700, 1500))
        clients = []
        for index in range(30):
            clients.append(
                (index * 20, await service.subscribed(since=service.told[index * 20].id))
            )
            await asyncio.sleep(0.005)
        await telling
        for start, client in clients:
            found = await client.summaries(1500 - start - 1)
            assert found == [str(number) for number in range(start + 1, 1500)]


async def tell_slowly(service: Any, first: int, last: int) -> None:
    for number in range(first, last):
        await service.ledger.tell(service.event(str(number)))
        if number % 20 == 0:
            await asyncio.sleep(0.005)
    await service.ledger.flush()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"types": ["raid.*"]}, ["raid"]),
        ({"types": ["raid.*", "device.re*"]}, ["removed", "raid"]),
        ({"severity": "error"}, ["raid"]),
        ({"severity": "notice"}, ["removed", "raid"]),
        ({"device": "b"}, ["raid"]),
        ({"device": "vg/a"}, ["removed"]),
        ({"device": "253:0"}, ["removed", "raid"]),
        ({"device": "nothing*"}, []),
        ({"types": ["raid.*"], "device": "vg/a"}, []),
    ],
)
async def test_filters_hold_for_history(
    serve: Any, filters: dict[str, Any], expected: list[str]
) -> None:
    async with serve() as service:
        for _ in range(2):
            await service.tell(
                service.event("own", "dmwatch.heartbeat"),
                service.event("removed", "device.removed", "vg-a", "LVM-1", severity="notice"),
                service.event("raid", "raid.leg-failed", "b", severity="error"),
            )
        client = await service.subscribed(since="1h", follow=False, **filters)
        found = [line["summary"].rpartition(" ")[2] for line in await client.rest()]
        assert found == expected * 2


async def test_filters_hold_for_live_events_too(serve: Any) -> None:
    async with serve() as service:
        client = await service.live(types=["raid.*"], severity="error", device="[bc]")
        await service.tell(
            service.event("1", "raid.leg-failed", "b", severity="error"),
            service.event("2", "raid.leg-failed", "b", severity="warning"),
            service.event("3", "raid.leg-failed", "d", severity="error"),
            service.event("4", "thin.failed", "b", severity="error"),
            service.event("5", "raid.leg-failed", severity="error"),
            service.event("6", "raid.leg-failed", "c", severity="critical"),
        )
        assert await client.summaries(2) == ["b: 1", "c: 6"]


async def test_an_id_that_is_not_kept_is_refused_with_the_oldest_that_is(serve: Any) -> None:
    async with serve() as service:
        await service.tell_many(5)
        service.ledger._disk._store._connection.execute("delete from events where position <= 2")
        for since in (service.told[0].id, "0123456789ab-7"):
            client = await service.subscribed(since=since)
            (said,) = await client.rest()
            assert since in said["error"]
            assert said["oldest"] == service.told[2].id
        # this one is gone itself, and nothing after it is
        client = await service.subscribed(since=service.told[1].id, follow=False)
        assert [line["summary"] for line in await client.rest()] == ["2", "3", "4"]


async def test_an_id_that_was_never_told_is_refused(serve: Any) -> None:
    async with serve() as service:
        await service.tell("a")
        client = await service.subscribed(since=f"{service.ledger.epoch}-2")
        (said,) = await client.rest()
        assert "does not have the event" in said["error"]


async def test_history_goes_from_the_journal_into_memory_and_on(serve: Any) -> None:
    async with serve() as service:
        await service.tell_many(300)
        fail(service)
        await service.tell_many(300, first=300)
        assert not service.ledger.on_disk
        for index in (0, 100, 299, 300, 450, 598):
            client = await service.subscribed(since=service.told[index].id, follow=False)
            found = [line["summary"] for line in await client.rest()]
            assert found == [str(number) for number in range(index + 1, 600)], index
        client = await service.subscribed(since=service.told[320].time.isoformat(), follow=False)
        assert (await client.line())["summary"] == "320"


def fail(service: Any) -> None:
    """From now on the journal cannot be written."""
    store = service.ledger._disk._store

    def refuse(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    store.write = refuse
    store.open = refuse


async def test_a_journal_that_cannot_be_read_is_told_and_live_events_are_not_touched(
    serve: Any,
) -> None:
    async with serve() as service:
        await service.tell("a")
        live = await service.live(since=None)
        fail(service)
        service.ledger._disk._reader.page = lambda *_: 1 / 0
        service.ledger._disk._reader.position_before = broken
        client = await service.subscribed(since="1h")
        (said,) = await client.rest()
        assert said["error"].startswith("the journal cannot be used now")
        await service.tell("b")
        assert await live.summaries(1) == ["b"]


@pytest.mark.parametrize("heard", [False, True])
async def test_a_journal_that_cannot_be_read_now_is_begun_later_where_it_was_to_begin(
    serve: Any, heard: bool
) -> None:
    async with serve() as service:
        await service.tell_many(5)
        reader = service.ledger._disk._reader
        if heard:  # the filter lets nothing through, before it fails
            reader.page = broken
        else:
            reader.position_of = reader.position_before = broken
        before = datetime.now(UTC)
        for since in (service.told[1].id, service.told[1].time.isoformat()):
            client = await service.subscribed(since=since)
            (said,) = await client.rest()
            assert said["resume_from"] == since
        client = await service.subscribed(since="2h", types=["none"])
        (said,) = await client.rest()
        back = datetime.fromisoformat(said["resume_from"]) - (before - timedelta(hours=2))
        assert timedelta(0) <= back < timedelta(minutes=1)


def broken(*_: Any) -> None:
    raise sqlite3.OperationalError("disk I/O error")


def example() -> str:
    text = (Path(__file__).parents[4] / "docs/stream.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return str(code)


async def test_the_example_of_the_docs_runs(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code = example()
    async with serve() as service:
        await service.tell(service.event("a", severity="error"), service.event("b"))
        code = code.replace("/run/dmwatch/events.sock", str(service.path))
        running = asyncio.create_task(asyncio.to_thread(exec, code, {}))
        await service.until(service.count_live)
        await service.stream.close()
        await running
    assert capsys.readouterr().out.splitlines()[-1] == "a"
