"""`dmwatch conditions`: what stands now, worst first."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase

import click

from dmwatch.cli.asking import answer
from dmwatch.cli.output import COLOURS, coloured, print_json, print_line
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
        return None
    found = [Condition.model_validate(condition) for condition in said["conditions"]]
    return [condition for condition in found if _is_meant(condition.device, devices)]


def _is_meant(device: DeviceRef | None, devices: tuple[str, ...]) -> bool:
    if device is None or not devices:
        return not devices
    names = (device.name, device.label, str(device.number))
    return any(fnmatchcase(name, glob) for name in names for glob in devices)


async def _look(devices: tuple[str, ...]) -> list[Condition]:
    async with Watcher(devices, uevents=False) as watcher:
        return watcher.conditions()


def _show(condition: Condition) -> None:
    severity = coloured(f"{condition.severity:<8}", COLOURS[condition.severity], bold=True)
    key = f" [{condition.key}]" if condition.key else ""
    print_line(f"{severity} {condition.summary}  ({condition.type}{key})")
    if condition.advice:
        print_line(f"         {condition.advice}")
