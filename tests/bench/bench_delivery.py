"""Events a second through two handlers before their queues grow, and memory while they do.

    python tests/bench/bench_delivery.py [--json]

First the ceiling: as many events as two lanes take when there are always some waiting. Then steps:
so many events a second for a while, and the longest that a queue got. The highest step whose queue
stays under a quarter of a second's events is the rate before the queue grows. Then memory: a queue
that nobody empties is filled. `keep` takes events and does nothing; `file` writes them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from dmwatch.events import Event
from dmwatch.handlers import Handler, HandlerSettings
from dmwatch.service.delivery import Dispatcher, Loaded, load
from dmwatch.service.entry import Entry
from dmwatch.service.own import Own
from dmwatch.service.settings import HandlerTable
from dmwatch.testing import make_event

LONGEST_QUEUE = 100_000
SECONDS = 2.0
STEPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Keep(Handler[HandlerSettings]):
    """Takes events and does nothing with them."""

    async def handle(self, event: Event) -> None:
        """Take one."""


class Hang(Handler[HandlerSettings]):
    """Never takes the first."""

    async def handle(self, event: Event) -> None:  # noqa: ARG002
        """Hang."""
        await asyncio.sleep(3600)


def made(name: str, kind: type[Handler[Any]]) -> Loaded:
    delivery = {"queue": LONGEST_QUEUE, "timeout": "1h"}
    table = HandlerTable.model_validate({"use": name, "delivery": delivery})
    return Loaded(name, table, kind, kind.Settings())


def to_file(folder: str) -> Loaded:
    delivery = {"queue": LONGEST_QUEUE}
    own = {"path": f"{folder}/events", "max_size": "1GiB"}
    return load("file", HandlerTable.model_validate({"use": "file", "delivery": delivery} | own))


def pairs(folder: str) -> dict[str, dict[str, Loaded]]:
    return {
        "keep + keep": {"one": made("one", Keep), "two": made("two", Keep)},
        "keep + file": {"one": made("one", Keep), "file": to_file(folder)},
    }


class Bench:
    """A dispatcher with two handlers."""

    def __init__(self, handlers: dict[str, Loaded]) -> None:
        self.handlers = handlers
        self.dispatcher = Dispatcher(Own(lambda _: None), lambda *_: None)
        self.entries = entries()

    async def __aenter__(self) -> Self:
        await self.dispatcher.start(self.handlers)
        await asyncio.sleep(0.2)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.dispatcher.close(0.2)

    def put(self, number: int) -> None:
        for _ in range(number):
            self.dispatcher.put(next(self.entries))

    @property
    def queued(self) -> int:
        return max(health.queued for health in self.dispatcher.health())

    async def ceiling(self) -> tuple[float, float]:
        """Events a second where some always wait, and microseconds of processor for each."""
        number = 10_000
        started, cpu = time.perf_counter(), time.process_time()
        self.put(number)
        await self._emptied()
        cpu = time.process_time() - cpu
        return number / (time.perf_counter() - started), cpu / number * 1e6

    async def longest(self, rate: float) -> int:
        """How long a queue gets at so many events a second, put every 5 ms."""
        started, sent, longest = time.perf_counter(), 0, 0
        while (passed := time.perf_counter() - started) < SECONDS:
            due = int(rate * passed)
            longest = max(longest, self.queued)
            self.put(due - sent)
            sent = due
            await asyncio.sleep(0.005)
        await self._emptied()
        return longest

    async def _emptied(self) -> None:
        while self.queued:  # noqa: ASYNC110 - the lanes say nothing when they are idle
            await asyncio.sleep(0.01)


def entries() -> Iterator[Entry]:
    """Entries with events like real ones; making each anew would be measured, too."""
    event = make_event("raid.leg-failed")
    position = 0
    while True:
        position += 1
        yield Entry(position, event)


async def rates(handlers: dict[str, Loaded]) -> dict[str, Any]:
    async with Bench(handlers) as bench:
        ceiling, cpu = await bench.ceiling()
        best: dict[str, Any] = {"ceiling": round(ceiling), "cpu_us_each": round(cpu, 1)}
        best["before_the_queue_grows"] = 0
        for step in STEPS:
            rate = ceiling * step
            longest = await bench.longest(rate)
            if longest > rate / 4:
                break
            best |= {"before_the_queue_grows": round(rate), "longest_queue": longest}
        return best


async def memory() -> dict[str, float]:
    """KiB for an event that waits in two queues, each event its own."""
    number = 20_000
    async with Bench({"one": made("one", Hang), "two": made("two", Hang)}) as bench:
        before = rss()
        for position in range(number):
            bench.dispatcher.put(Entry(position, make_event("raid.leg-failed")))
        await asyncio.sleep(0.1)
        grown = rss() - before
    return {
        "events": number,
        "grown_mib": round(grown / 1024, 1),
        "kib_each": round(grown / number, 2),
    }


def rss() -> int:
    """Resident memory in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


async def main(*, as_json: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        result: dict[str, Any] = {name: await rates(pair) for name, pair in pairs(folder).items()}
    result["memory"] = await memory()
    if as_json:
        print(json.dumps(result))
        return
    for name, figures in result.items():
        print(f"{name:12}", ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    asyncio.run(main(as_json=parser.parse_args(sys.argv[1:]).json))
