"""What the journal and the stream cost: events a second, the disk's part in it, history, fan-out.

Runs on the host, in a folder of its own (`DMWATCH_BENCH` names another one, on another disk).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import structlog

from dmwatch.events import DeviceRef, Event
from dmwatch.monitor.teller import Teller
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.service.entry import Entry
from dmwatch.service.ledger import Ledger, Wanted
from dmwatch.service.own import Own
from dmwatch.service.settings import JournalSettings, StreamSettings
from dmwatch.service.stream import Stream
from dmwatch.severity import Severity

EVENTS, ONE_BY_ONE, FANNED_OUT, CLIENTS = 20_000, 200, 2_000, 100
DEVICE = DeviceRef.of(DeviceName("vg-lv"), "LVM-" + "x" * 64, DeviceNumber(253, 0), 1)
TELLER = Teller()


def event() -> Event:
    return TELLER.moment(
        "raid.leg-failed", Severity.ERROR, DEVICE, "leg 1 has failed", data={"leg": 1}
    )


async def timed(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


async def tell(ledger: Ledger, count: int) -> None:
    for _ in range(count):
        await ledger.tell(event())
    await ledger.flush()


async def one_by_one(ledger: Ledger) -> None:
    for _ in range(ONE_BY_ONE):
        await tell(ledger, 1)


async def read(ledger: Ledger, wanted: Wanted) -> None:
    position = 0
    while position < ledger.history.position:
        position = (await ledger.history.page(position, wanted.test)).last


async def listen(path: Path, count: int) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=2**20)
    writer.write(b"{}\n")
    for _ in range(count):
        await reader.readline()
    writer.close()


async def fan_out(ledger: Ledger, stream: Stream, path: Path) -> float:
    listening = [asyncio.create_task(listen(path, FANNED_OUT)) for _ in range(CLIENTS)]
    while sum(client.live for client in stream._clients) < CLIENTS:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    start = time.perf_counter()
    for _ in range(FANNED_OUT // 100):
        await tell(ledger, 100)
        await asyncio.sleep(0)
    await asyncio.gather(*listening)
    return time.perf_counter() - start


async def no_answer(_question: str) -> dict[str, Any]:
    return {}


def bare_commits(folder: Path, count: int) -> float:
    """The least that a durable write costs here: SQLite alone, one row a transaction."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("create table t (x)")
    start = time.perf_counter()
    for _ in range(count):
        connection.execute("insert into t values (?)", ("x" * 800,))
    spent = time.perf_counter() - start
    connection.close()
    return spent


async def bench(folder: Path) -> None:
    streams: list[Stream] = []

    def publish(entry: Entry) -> None:
        streams[0].put(entry)

    journal = JournalSettings(path=folder / "events.db")
    async with Ledger(journal, Own(lambda _: None), publish) as ledger:
        stream = Stream(StreamSettings(socket=folder / "s"), ledger, no_answer)
        streams.append(stream)
        await stream.start()
        bare = bare_commits(folder, ONE_BY_ONE) / ONE_BY_ONE
        single = await timed(one_by_one(ledger)) / ONE_BY_ONE
        together = await timed(tell(ledger, EVENTS)) / EVENTS
        print(f"a commit of SQLite alone        {bare * 1e3:8.2f} ms")
        ratio, pace = single / bare, 1 / together
        print(f"an event, told and published    {single * 1e3:8.2f} ms  ({ratio:.1f} times that)")
        print(f"an event among many             {together * 1e3:8.2f} ms  ({pace:.0f} a second)")
        for name, wanted in (("all", Wanted()), ("none fits", Wanted(types=("x.*",)))):
            spent = await timed(read(ledger, wanted))
            print(f"history, {name:<12}           {EVENTS / spent:8.0f} events a second")
        spent = await fan_out(ledger, stream, folder / "s")
        lines = CLIENTS * FANNED_OUT / spent
        print(f"live, to {CLIENTS} clients             {lines:8.0f} lines a second")
        await stream.close()
    size = (folder / "events.db").stat().st_size / (EVENTS + ONE_BY_ONE + FANNED_OUT)
    print(f"on disk                         {size:8.0f} bytes an event")


if __name__ == "__main__":
    structlog.configure(logger_factory=lambda *_: structlog.ReturnLogger())
    with tempfile.TemporaryDirectory(dir=os.environ.get("DMWATCH_BENCH")) as made:
        asyncio.run(bench(Path(made)))
