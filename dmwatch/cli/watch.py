"""`dmwatch watch`: watch this machine here and now, no daemon."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

import click

from dmwatch.cli.looking import refuse_absent
from dmwatch.cli.output import COLOURS, coloured, print_line
from dmwatch.events import Event
from dmwatch.monitor import Watcher
from dmwatch.monitor.settings import Settings
from dmwatch.names import printable

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
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with watching as watcher:
        print(f"watching {watcher.count} devices", file=sys.stderr, flush=True)  # noqa: T201
        printing = asyncio.create_task(_print(watcher, as_json=as_json, initial=initial))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait(
            [printing, stopping], timeout=duration, return_when=asyncio.FIRST_COMPLETED
        )
        stopping.cancel()
        if printing.done():
            printing.result()
        printing.cancel()


async def _print(watcher: Watcher, *, as_json: bool, initial: bool) -> None:
    async for event in watcher:
        if event.initial and not initial:
            continue
        if as_json:
            print_line(event.json_line())
        elif event.type != "dmwatch.heartbeat":
            print_line(text_line(event))


def text_line(event: Event, *, dated: bool = False) -> str:
    """An event for people: local time, severity, sentence."""
    form = "%Y-%m-%d %H:%M:%S.%f" if dated else "%H:%M:%S.%f"
    time = event.time.astimezone().strftime(form)[:-3]
    severity = coloured(f"{event.severity:<8}", COLOURS[event.severity])
    return f"{time} {severity} {printable(event.summary)}"
