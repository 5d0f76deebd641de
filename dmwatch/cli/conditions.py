"""`dmwatch conditions`: what stands now, worst first."""

from __future__ import annotations

import asyncio

import click
from pydantic import ValidationError

from dmwatch.cli import coverage
from dmwatch.cli.asking import answer
from dmwatch.cli.looking import is_meant, refuse_absent, refuse_unknown
from dmwatch.cli.output import COLOURS, coloured, print_json, print_line
from dmwatch.errors import DmwatchError
from dmwatch.events import Condition, DeviceRef
from dmwatch.monitor import Watcher


@click.command(epilog="Example: dmwatch conditions --json")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects")
def command(devices: tuple[str, ...], as_json: bool) -> None:
    """Show what stands now, worst first: what the daemon knows, where one runs.

    Without one this is one look at the devices: what must stand for a while, stall or flap before
    it is told is not shown.
    """
    told = _told(devices)
    found = asyncio.run(_look(devices)) if told is None else told
    if as_json:
        print_json([condition.model_dump(mode="json") for condition in found])
        return
    for condition in found:
        _show(condition)
    seen = "nothing stands" if not found else f"{len(found)} conditions"
    more = "; what needs time to be seen is not shown by one look" if told is None else ""
    click.echo(f"{seen}{more}", err=True)


def _told(devices: tuple[str, ...]) -> list[Condition] | None:
    said = answer("conditions")
    if said is None:
        refuse_absent(devices)
        return None
    _refuse_unwatched(devices)
    try:
        found = [Condition.model_validate(condition) for condition in said["conditions"]]
    except ValidationError:
        raise DmwatchError(
            "the daemon's answer cannot be read",
            because="the daemon is of another version than this command",
            hint="systemctl restart dmwatch",
        ) from None
    return [condition for condition in found if is_meant(_names(condition.device), devices)]


def _refuse_unwatched(devices: tuple[str, ...]) -> None:
    # of a device that is not there nothing stands either: that would be a lie about a misspelt one
    covered = answer("coverage") if devices else None
    if covered is not None:
        refuse_unknown(devices, [coverage.names(shown) for shown in covered["coverage"]])


def _names(device: DeviceRef | None) -> tuple[str, ...]:
    return (device.name, device.label, str(device.number)) if device else ()


async def _look(devices: tuple[str, ...]) -> list[Condition]:
    async with Watcher(devices, uevents=False) as watcher:
        return watcher.conditions()


def _show(condition: Condition) -> None:
    severity = coloured(f"{condition.severity:<8}", COLOURS[condition.severity], bold=True)
    key = f" [{condition.key}]" if condition.key else ""
    print_line(f"{severity} {condition.summary}  ({condition.type}{key})")
    if condition.advice:
        print_line(f"         {condition.advice}")
