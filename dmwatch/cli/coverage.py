"""`dmwatch coverage`: what is watched of each device, how, and what cannot be."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from dmwatch.cli.asking import answer
from dmwatch.cli.looking import is_meant, refuse_absent, refuse_unknown
from dmwatch.cli.output import print_columns, print_json
from dmwatch.monitor import Watcher

Shown = dict[str, Any]
_HEADS = ("DEVICE", "NUMBER", "TARGETS", "SEEN BY", "UNPROTECTED")


@click.command(epilog="Example: dmwatch coverage")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects")
def command(devices: tuple[str, ...], as_json: bool) -> None:
    """Show for each device what is watched, how changes are seen, and what is unprotected.

    Where the daemon runs it says so, and which handlers would hear of the device.
    """
    told = _told(devices)
    found = asyncio.run(_look(devices)) if told is None else told
    if as_json:
        print_json(found)
        return
    heads = _HEADS if told is None else (*_HEADS, "HANDLERS")
    print_columns(heads, [_row(coverage) for coverage in found])
    if told is None:
        click.echo("no daemon answers: which handlers would hear of it is not shown", err=True)


def _told(devices: tuple[str, ...]) -> list[Shown] | None:
    said = answer("coverage")
    if said is None:
        refuse_absent(devices)
        return None
    covered = said["coverage"]
    refuse_unknown(devices, [names(shown) for shown in covered])
    return [shown for shown in covered if is_meant(names(shown), devices)]


def names(shown: Shown) -> tuple[str, ...]:
    """What a device is called, by its coverage."""
    return shown["device"], shown["label"], shown["number"]


async def _look(devices: tuple[str, ...]) -> list[Shown]:
    async with Watcher(devices) as watcher:
        found = sorted(watcher.coverage(), key=lambda coverage: coverage.device)
        return [coverage.plain() for coverage in found]


def _row(shown: Shown) -> tuple[str, ...]:
    poll = f"poll {shown['poll']:g} s" if shown["poll"] is not None else None
    how = [*(word for word in shown["how"] if word != "poll"), *([poll] if poll else [])]
    handlers = [", ".join(shown["handlers"]) or "-"] if "handlers" in shown else []
    return (
        shown["label"],
        shown["number"],
        ",".join(shown["targets"]) or "-",
        ", ".join(how) or "-",
        "; ".join(shown["unprotected"]) or "-",
        *handlers,
    )
