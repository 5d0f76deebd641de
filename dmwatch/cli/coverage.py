"""`dmwatch coverage`: what is watched of each device, how, and what cannot be."""

from __future__ import annotations

import asyncio

import click

from dmwatch.cli.output import print_columns, print_json
from dmwatch.monitor import Watcher
from dmwatch.monitor.coverage import Coverage

_HEADS = ("DEVICE", "NUMBER", "TARGETS", "SEEN BY", "UNPROTECTED")


@click.command(epilog="Example: dmwatch coverage")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects")
def command(devices: tuple[str, ...], as_json: bool) -> None:
    """Show for each device what is watched, how changes are seen, and what is unprotected."""
    found = asyncio.run(_look(devices))
    if as_json:
        print_json([coverage.plain() for coverage in found])
        return
    print_columns(_HEADS, [_row(coverage) for coverage in found])


async def _look(devices: tuple[str, ...]) -> list[Coverage]:
    async with Watcher(devices) as watcher:
        return sorted(watcher.coverage(), key=lambda coverage: coverage.device)


def _row(coverage: Coverage) -> tuple[str, ...]:
    poll = f"poll {coverage.poll:g} s" if coverage.poll is not None else None
    how = [*(word for word in coverage.how if word != "poll"), *([poll] if poll else [])]
    return (
        coverage.label,
        coverage.number,
        ",".join(coverage.targets) or "-",
        ", ".join(how) or "-",
        "; ".join(coverage.unprotected) or "-",
    )
