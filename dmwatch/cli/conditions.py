"""`dmwatch conditions`: what stands now, worst first."""

from __future__ import annotations

import asyncio

import click

from dmwatch.cli.output import COLOURS, coloured, print_json, print_line
from dmwatch.events import Condition
from dmwatch.monitor import Watcher


@click.command(epilog="Example: dmwatch conditions --json")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects")
def command(devices: tuple[str, ...], as_json: bool) -> None:
    """Show what stands on the devices now, worst first.

    This is one look: what must stand for a while, stall or flap before it is told is not shown.
    """
    found = asyncio.run(_look(devices))
    if as_json:
        print_json([condition.model_dump(mode="json") for condition in found])
        return
    for condition in found:
        _show(condition)
    seen = "nothing stands" if not found else f"{len(found)} conditions"
    click.echo(f"{seen}; what needs time to be seen is not shown by one look", err=True)


async def _look(devices: tuple[str, ...]) -> list[Condition]:
    async with Watcher(devices, uevents=False) as watcher:
        return watcher.conditions()


def _show(condition: Condition) -> None:
    severity = coloured(f"{condition.severity:<8}", COLOURS[condition.severity], bold=True)
    key = f" [{condition.key}]" if condition.key else ""
    print_line(f"{severity} {condition.summary}  ({condition.type}{key})")
    if condition.advice:
        print_line(f"         {condition.advice}")
