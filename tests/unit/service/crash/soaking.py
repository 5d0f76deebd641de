"""Run by test_soak.py and bench_journal.py: events through ledger, handlers and stream, at a pace.

    soaking.py FOLDER SECONDS RATE

Prints `ready`, waits for a line, then tells. In the end, as JSON: resident memory at 10 % and
at the end, the processor time, and how late events were published.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from dmwatch.events import DeviceRef, Event, State
from dmwatch.monitor.teller import Teller
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.service import logs
from dmwatch.service.config.reading import parse
from dmwatch.service.delivery import Dispatcher
from dmwatch.service.delivery.plugins import load
from dmwatch.service.entry import Entry
from dmwatch.service.ledger import Ledger
from dmwatch.service.own import Own
from dmwatch.service.stream import Stream
from dmwatch.severity import Severity

FOLDER, SECONDS, RATE = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
STEP = 0.01
DEVICES = [
    DeviceRef.of(DeviceName(f"vg-lv{n}"), f"LVM-{n:032}", DeviceNumber(253, n), n)
    for n in range(100)
]
TOML = f"""
[handlers.one]
use = "file"
path = "{FOLDER}/one"
match = {{ severity = "debug" }}
delivery = {{ queue = 5000 }}
[handlers.two]
use = "file"
path = "{FOLDER}/two"
match = {{ severity = "debug" }}
delivery = {{ queue = 5000 }}
[journal]
path = "{FOLDER}/events.db"
[stream]
socket = "{FOLDER}/sock"
"""


class Source:
    """Legs that fail and are mended, on a hundred devices."""

    def __init__(self) -> None:
        self._teller = Teller()
        self._number = 0

    def next(self) -> Event:
        turn, index = divmod(self._number, len(DEVICES))
        self._number += 1
        return self._teller.moment(
            "raid.leg-failed",
            Severity.ERROR,
            DEVICES[index],
            "leg 1 (254:3) has failed: no redundancy is left",
            state=State.CLEARED if turn % 2 else State.RAISED,
            target="raid",
            key="1",
            advice="Replace the disk, then repair the volume: lvconvert --repair",
            data={"leg": 1, "device": "254:3", "redundancy_left": 0},
        )


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def main() -> dict[str, Any]:
    configuration = parse(TOML, "soak")
    ready: asyncio.Queue[Event] = asyncio.Queue()
    own = Own(ready.put_nowait)
    # as large as it will get from the start: what is measured here must not grow itself
    late = array("d", bytes(8 * int(SECONDS * RATE)))
    streams: list[Stream] = []

    def publish(entry: Entry) -> None:
        late[entry.position - 1] = time.time() - entry.event.time.timestamp()
        dispatcher.put(entry)
        streams[0].put(entry)

    ledger = Ledger(configuration.journal, own, publish)
    dispatcher = Dispatcher(own, ledger.cursor)
    async with ledger:
        tables = configuration.handlers.items()
        await dispatcher.start({name: load(name, table) for name, table in tables}, ledger.backlog)
        streams.append(Stream(configuration.stream, ledger, answer))
        await streams[0].start()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        start = time.monotonic()
        tenth = int(SECONDS * RATE) // 10
        early = await tell(ledger, dispatcher, tenth)
        end = await tell(ledger, dispatcher, int(SECONDS * RATE) - tenth)
        took = time.monotonic() - start
        await dispatcher.close(20.0)
        await streams[0].close()
        health = [row.plain() for row in dispatcher.health()]
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "events": ledger.sequence,
        "rss_at_10_percent": early,
        "rss_at_the_end": end,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "late_median": statistics.median(late),
        "late_99": statistics.quantiles(late, n=100)[-1],
        "late_longest": max(late),
        "delivered": {row["name"]: row["delivered"] for row in health},
        "dropped": {row["name"]: row["dropped"] for row in health},
        "seconds": took,
        "own": ready.qsize(),
    }


SOURCE = Source()
QUEUE = 300
"""Above this the handlers are waited for."""


async def tell(ledger: Ledger, dispatcher: Dispatcher, count: int) -> int:
    """Tell so many at the pace, or as fast as this machine writes; gives the memory used.

    What waits for a slow disk is memory too, and says more of the machine than of the daemon.
    """
    start, told = time.monotonic(), 0
    while told < count:
        due = min(int((time.monotonic() - start) * RATE), count) - told
        for _ in range(min(due, 100)):
            await ledger.tell(SOURCE.next())
        told += min(due, 100)
        await asyncio.sleep(STEP)
        await ledger.flush()
        while waiting(dispatcher) > QUEUE:  # noqa: ASYNC110 - there is none
            await asyncio.sleep(STEP)
    await ledger.flush()
    while waiting(dispatcher):  # noqa: ASYNC110 - there is none
        await asyncio.sleep(STEP)
    return resident()


def waiting(dispatcher: Dispatcher) -> int:
    return max(row.queued for row in dispatcher.health())


async def answer(_question: str) -> dict[str, Any]:
    return {}


logs.configure(None, os.open(FOLDER / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
print(json.dumps(asyncio.run(main())))
