"""The file: its schema, what is damaged, foreign or newer, what is too old or too much."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dmwatch.errors import AlreadyRunningError, DmwatchError
from dmwatch.service.ledger import Wanted, schema
from dmwatch.service.ledger.disk import Disk, JournalError, Pace
from dmwatch.service.ledger.offline import recorded
from dmwatch.service.ledger.schema import ForeignError, NewerError
from dmwatch.service.ledger.store import Batch, Kept, Store, read_only

Rows = Callable[[str], list[tuple[Any, ...]]]


def content(path: Path) -> bytes:
    return path.read_bytes()


def size_of(path: Path) -> int:
    return path.stat().st_size


def spoil(path: Path, where: int, pages: int) -> None:
    with path.open("r+b") as file:
        file.seek(where)
        file.write(os.urandom(4096 * pages))


def test_a_new_journal_is_marked_as_ours_and_empty(path: Path, rows: Rows) -> None:
    store = Store(path)
    assert store.open() == Kept()
    store.close()
    assert rows("pragma user_version") == [(len(schema.MIGRATIONS),)]
    assert rows("pragma application_id") == [(schema.APPLICATION_ID,)]
    assert rows("pragma journal_mode") == [("wal",)]


def test_an_older_journal_becomes_a_newer_one_with_all_that_is_in_it(
    path: Path, rows: Rows
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    schema.migrate(connection, path)
    connection.execute("insert into cursors values ('log', 7)")
    later = (
        *schema.MIGRATIONS,
        ("alter table cursors add column written text", "update cursors set written = 'before'"),
        ("create table more (one integer)",),
    )
    schema.migrate(connection, path, later)
    schema.migrate(connection, path, later)
    connection.close()
    assert rows("select * from cursors") == [("log", 7, "before")]
    assert rows("pragma user_version") == [(len(later),)]


def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path, rows: Rows) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    schema.migrate(connection, path)
    broken = (*schema.MIGRATIONS, ("create table more (one integer)", "no sql"))
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, path, broken)
    connection.close()
    assert rows("pragma user_version") == [(len(schema.MIGRATIONS),)]
    assert rows("select name from sqlite_schema where name = 'more'") == []


async def test_a_journal_of_a_later_dmwatch_is_refused_with_a_sentence_and_left_alone(
    live: Any, path: Path
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    schema.migrate(connection, path, (*schema.MIGRATIONS, ("create table more (one integer)",)))
    connection.close()
    before = content(path)
    with pytest.raises(NewerError, match=r"has schema 2, this dmwatch knows 1.*try this"):
        async with live():
            pass
    assert content(path) == before


async def test_a_database_of_another_program_is_refused_and_left_alone(
    live: Any, path: Path
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("create table precious (one integer)")
    connection.close()
    before = content(path)
    with pytest.raises(ForeignError, match="of another program"):
        async with live():
            pass
    assert content(path) == before


async def test_a_folder_in_its_place_is_refused(live: Any, path: Path) -> None:
    os.mkdir(path)  # noqa: PTH102
    with pytest.raises(DmwatchError, match="is no file"):
        async with live():
            pass


@pytest.mark.parametrize("where", [0, 100, 4096 * 2])
async def test_a_damaged_journal_is_set_aside_told_and_a_new_one_begun(
    live: Any, say: Any, path: Path, where: int
) -> None:
    async with live() as life:
        await life.tell(*say.events(200), say.raised())
    spoil(path, where, 3)
    damaged = content(path)
    async with live() as life:
        await life.tell(say.event("after"))
        assert life.ledger.on_disk
        assert life.ledger.standing() == []
    aside = [name for name in os.listdir(path.parent) if ".damaged-" in name]  # noqa: PTH208
    assert content(path.parent / aside[0]) == damaged
    raised, cleared = life.own
    assert (raised.state, cleared.state) == ("raised", "cleared")
    assert f"it is kept as {path.parent / aside[0]}" in raised.summary


@pytest.mark.parametrize("length", [1, 100, 1000])
async def test_a_text_in_its_place_is_somebody_elses_and_stays(
    live: Any, path: Path, length: int
) -> None:
    text = "not a database at all\n" * length
    with open(path, "w") as file:  # noqa: ASYNC230, PTH123
        file.write(text)
    with pytest.raises(DmwatchError, match="is no journal of dmwatch"):
        async with live():
            pass
    assert content(path) == text.encode()


async def test_damage_that_is_met_while_writing_leads_to_a_new_journal(
    live: Any, say: Any, until: Any, path: Path
) -> None:
    async with live() as life:
        await life.tell(*say.events(200))
        life.disk._connection.execute("pragma wal_checkpoint(truncate)")
        spoil(path, 0, 20)
        life.disk.fail(sqlite3.SQLITE_CORRUPT)
        await life.tell(say.event("meanwhile"))
        life.disk.work()
        await until(lambda: life.ledger.on_disk)
        await life.tell(say.event("after"))
        page = await life.ledger.history.page(0)
    assert [row.json for row in page.rows if "meanwhile" in row.json or "after" in row.json]
    assert any("it was damaged" in event.summary for event in life.own)


async def test_damage_that_is_met_while_reading_leads_to_a_new_journal(
    live: Any, say: Any, until: Any, path: Path
) -> None:
    async with live() as life:
        await life.tell(*say.events(600))
    spoil(path, size_of(path) // 2 // 4096 * 4096, 6)
    async with live() as life:
        assert await read_all(life) is False
        await life.tell(say.event("after"))
        await until(lambda: [event.state for event in life.own][-1] == "cleared")
        assert await read_all(life) is True
        assert "it was damaged: it is kept as" in life.own[-1].summary


async def read_all(life: Any) -> bool:
    """Whether everything can be read that was told."""
    position = 0
    try:
        while position < life.ledger.history.position:
            position = (await life.ledger.history.page(position)).last
    except JournalError:
        return False
    return True


def moved(path: Path) -> None:
    os.rename(path, f"{path}.before")  # noqa: PTH104


def replaced(path: Path) -> None:
    os.rename(path, f"{path}.before")  # noqa: PTH104
    path.touch()


@pytest.mark.parametrize("leave", [Path.unlink, moved, replaced])
async def test_a_journal_that_is_taken_away_is_told_and_begun_anew_with_what_stands(
    live: Any, say: Any, until: Any, path: Path, leave: Callable[[Path], None]
) -> None:
    async with live() as life:
        await life.tell(say.raised(), *say.events(3))
        life.ledger.cursor("log", 3)
        await life.ledger.flush()
        leave(path)
        await life.tell(say.event("meanwhile"))
        await until(lambda: life.ledger.on_disk)
        await life.tell(say.event("after"))
        assert "its file was removed, or another one was put in its place" in life.own[0].summary
    last = life.told[-1]
    async with live() as life:
        assert [c.type for c in life.ledger.standing()] == ["raid.leg-failed"]
        assert [e.event.summary for e in await life.owed("log")][-1] == "after"
        assert (life.ledger.epoch, life.ledger.sequence) == (
            last.event.id.split("-")[0],
            last.event.sequence,
        )


def as_a_kill_leaves_it(store: Store, to: Path) -> None:
    """The file and its log, beside each other."""
    shutil.copy(store.path, to)
    shutil.copy(f"{store.path}-wal", f"{to}-wal")


def test_a_journal_behind_a_link_is_read_with_its_log(path: Path, tmp_path: Path) -> None:
    store = Store(path)
    store.open()
    store.write(Batch("0123456789ab", 7, 9, cursors={"log": 3}))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    as_a_kill_leaves_it(store, folder / "real.db")
    store.close()
    link = tmp_path / "link.db"
    link.symlink_to(folder / "real.db")
    assert read_only(link) == Kept("0123456789ab", 7, 9, {"log": 3})
    assert list(recorded(link, "1970-01-01", Wanted())) == []


async def test_a_journal_behind_another_name_is_the_same_journal(
    live: Any, say: Any, path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    async with live() as life:
        await life.tell(say.event())
        other = Disk(Store(link), Pace())
        with pytest.raises(AlreadyRunningError):
            await other.open()
        await other.close()


def test_a_killed_ones_journal_is_read_where_no_file_can_be_made_beside_it(
    path: Path, tmp_path: Path
) -> None:
    store = Store(path)
    store.open()
    store.write(Batch("0123456789ab", 7, 9, cursors={"log": 3}))
    folder = tmp_path / "closed"
    folder.mkdir()
    copy = folder / "events.db"
    as_a_kill_leaves_it(store, copy)
    store.close()
    in_the_way = folder / "events.db-shm"
    in_the_way.mkdir()
    before = [content(copy), content(folder / "events.db-wal")]
    assert read_only(copy) == Kept("0123456789ab", 7, 9, {"log": 3})
    assert list(recorded(copy, "1970-01-01", Wanted())) == []
    assert [content(copy), content(folder / "events.db-wal")] == before


def fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def forbid(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize("spoil_it", [fill, forbid])
def test_a_killed_ones_journal_is_read_from_a_file_system_that_is_full_or_can_only_be_read(
    path: Path, tmp_path: Path, spoil_it: Callable[[Path], None]
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    store = Store(path)
    store.open()
    store.write(Batch("0123456789ab", 7, 9, cursors={"log": 3}))
    as_a_kill_leaves_it(store, tmp_path / "kept.db")
    store.close()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"kept.db{suffix}", folder / f"events.db{suffix}")
        spoil_it(folder)
        assert read_only(folder / "events.db") == Kept("0123456789ab", 7, 9, {"log": 3})
        assert list(recorded(folder / "events.db", "1970-01-01", Wanted())) == []
    finally:
        subprocess.run(["umount", folder], check=True)


# what is too old, or too much


async def test_events_older_than_is_wanted_are_deleted(
    live: Any, say: Any, rows: Rows, until: Any
) -> None:
    old = datetime.now(UTC) - timedelta(days=2)
    events = [event.model_copy(update={"time": old}) for event in say.events(900)]
    async with live(keep=86400.0) as life:
        await life.tell(*events, *say.events(10, first=900))
        await until(lambda: life.asked("select count(*) from events") == [(10,)])
        await life.tell(say.event("later"))
    assert rows("select min(sequence), max(sequence) from events") == [(901, 911)]
    assert life.own == []


async def test_events_of_a_wrong_clock_leave_no_hole_among_the_others(
    live: Any, say: Any, rows: Rows
) -> None:
    past = datetime(2000, 1, 1, tzinfo=UTC)
    events = say.events(30)
    events[10:20] = [event.model_copy(update={"time": past}) for event in events[10:20]]
    async with live(keep=86400.0) as life:
        await life.tell(*events)
        tidied = life.disk.trim(86400.0, 2**30)
        assert tidied is False
    assert rows("select count(*) from events") == [(30,)]


async def test_a_journal_that_outgrows_its_size_loses_the_oldest_and_gives_room_back(
    live: Any, say: Any, until: Any, path: Path, rows: Rows
) -> None:
    size = 1024**2
    async with live(max_size=size) as life:
        await life.tell(*(say.event("x" * 2000) for _ in range(2000)))
        await until(lambda: life.asked("select count(*) from events") < [(600,)])
        await life.tell(say.event("last"))
    assert size_of(path) <= size + 64 * 4096
    ((first, last, count),) = rows("select min(position), max(position), count(*) from events")
    assert (last, count) == (2001, last - first + 1)
    assert count > 200  # and no more of them than need be


async def test_numbers_go_on_though_every_event_is_gone(
    live: Any, say: Any, until: Any, rows: Rows
) -> None:
    async with live() as life:
        await life.tell(*say.events(5))
        life.disk._connection.execute("delete from events")
    async with live() as life:
        await life.tell(say.event())
    assert (life.sequences, life.positions) == ([6], [6])


# one who reads what another one writes


def test_a_journal_that_cannot_be_written_can_be_read_without_a_trace(path: Path) -> None:
    store = Store(path)
    store.open()
    store.write(Batch("0123456789ab", 7, 9, cursors={"log": 3}))
    store.close()
    assert read_only(path) == Kept("0123456789ab", 7, 9, {"log": 3})
    assert [file.name for file in path.parent.iterdir()] == ["events.db"]
