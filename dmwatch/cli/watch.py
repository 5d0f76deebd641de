"""`dmwatch watch`: watch this machine here and now, no daemon."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import NoReturn

import click

from dmwatch.cli.failure import FAILED
from dmwatch.cli.looking import refuse_absent
from dmwatch.cli.output import COLOURS, coloured, print_line
from dmwatch.events import Event
from dmwatch.monitor import Watcher
from dmwatch.monitor.settings import Settings
from dmwatch.names import printable

PATIENCE = 2.0
"""Seconds after which a write that does not get on is given up, twice over, once a signal came."""
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12}")


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    # float() takes `nan`, `1_0` and digits of any script too
    if value is not None and not _SECONDS.fullmatch(value):
        raise click.BadParameter(f"{value!r} is no number of seconds, such as 60 or 0.5.")
    return None if value is None else float(value)


@click.command(epilog="Example: dmwatch watch --json vg-pool")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@click.option("--no-initial", is_flag=True, help="do not tell what stands already")
@click.option("--duration", callback=_seconds, metavar="S", help="end after S seconds")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="take [monitor], [conditions] and [[rules]] from FILE",
)
def command(
    devices: tuple[str, ...],
    as_json: bool,
    no_initial: bool,
    duration: float | None,
    config: Path | None,
) -> None:
    """Watch this machine until interrupted: every event as it happens, a line each.

    A DEVICE is a name, a label, a number or a shell glob; without any all are watched.
    """
    settings = _settings(config)
    refuse_absent(devices)
    watcher = Watcher(devices, settings=settings)
    asyncio.run(_watch(watcher, as_json=as_json, initial=not no_initial, duration=duration))


def _settings(path: Path | None) -> Settings | None:
    if path is None:
        return None
    # the daemon's rooms are not needed where no file is named
    from dmwatch.service.config import read_configuration  # noqa: PLC0415

    return read_configuration(path, check_plugins=False)


async def _watch(
    watching: Watcher, *, as_json: bool, initial: bool, duration: float | None
) -> None:
    loop = asyncio.get_running_loop()
    stop, writing = asyncio.Event(), _Writing(duration)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
        # called also while a write holds the loop up
        signal.signal(number, writing.limit)
    try:
        await _watch_until(
            stop, watching, writing, as_json=as_json, initial=initial, duration=duration
        )
    finally:
        writing.end()


class _Writing:
    """What is being written; once it should end (a signal, the duration) no write may stand still.

    The loop cannot see to that: a write holds it up.
    """

    def __init__(self, duration: float | None) -> None:
        self._steps = 0  # odd while something is being written
        self._duration = duration if duration is None else min(duration, threading.TIMEOUT_MAX)
        self._over = threading.Event()
        # of all that wakes a thread only this can be used in a signal's handler
        self._asked: SimpleQueue[None] = SimpleQueue()
        threading.Thread(target=self._watch, daemon=True).start()

    def line(self, text: str) -> None:
        """Print a line."""
        self._steps += 1
        print_line(text)
        self._steps += 1

    def end(self) -> None:
        """Nothing more is written."""
        self._over.set()
        self._asked.put(None)

    def limit(self, _number: int, _frame: FrameType | None) -> None:
        """A signal has come."""
        self._asked.put(None)

    def _watch(self) -> None:
        with suppress(Empty):
            self._asked.get(timeout=self._duration)
        before = None
        while not self._over.wait(PATIENCE):
            if self._steps % 2 and self._steps == before:
                _leave()
            before = self._steps


def _leave() -> NoReturn:
    with suppress(OSError):
        os.write(2, b"dmwatch: the output cannot be written: nobody reads it\n")
    os._exit(FAILED)


async def _watch_until(
    stop: asyncio.Event,
    watching: Watcher,
    writing: _Writing,
    *,
    as_json: bool,
    initial: bool,
    duration: float | None,
) -> None:
    async with watching as watcher:
        print(f"watching {watcher.count} devices", file=sys.stderr, flush=True)  # noqa: T201
        printing = asyncio.create_task(_print(watcher, writing, as_json=as_json, initial=initial))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait(
            [printing, stopping], timeout=duration, return_when=asyncio.FIRST_COMPLETED
        )
        stopping.cancel()
        if printing.done():
            printing.result()
        printing.cancel()


async def _print(watcher: Watcher, writing: _Writing, *, as_json: bool, initial: bool) -> None:
    async for event in watcher:
        if event.initial and not initial:
            continue
        if as_json:
            writing.line(event.json_line())
        elif event.type != "dmwatch.heartbeat":
            writing.line(text_line(event))


def text_line(event: Event, *, dated: bool = False) -> str:
    """An event for people: local time, severity, sentence."""
    form = "%Y-%m-%d %H:%M:%S.%f" if dated else "%H:%M:%S.%f"
    time = event.time.astimezone().strftime(form)[:-3]
    severity = coloured(f"{event.severity:<8}", COLOURS[event.severity])
    return f"{time} {severity} {printable(event.summary)}"
