"""`dmwatch status`: what the targets of each device report, typed."""

from __future__ import annotations

from typing import Any

import click

from dmwatch.cli.failure import FAILED, OK
from dmwatch.cli.looking import Look, look_at, read_status
from dmwatch.cli.meaning import condition_lines, conditions, field_lines
from dmwatch.cli.output import coloured, print_json, print_line, size_text
from dmwatch.errors import DmwatchError
from dmwatch.names import printable
from dmwatch.table import TargetLine
from dmwatch.targets import Finding, Seen, TargetStatus, find, plain
from dmwatch.units import Sectors


@click.command(epilog="Example: dmwatch status vg-pool-tpool")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects")
def command(devices: tuple[str, ...], as_json: bool) -> int:
    """Show what each target reports, and the conditions that it shows by itself."""
    looks = look_at(devices, read_status)
    if as_json:
        print_json([plain_look(look) for look in looks])
    else:
        for look in looks:
            _show(look)
    return FAILED if any(look.problem for look in looks) else OK


def plain_look(look: Look) -> dict[str, Any]:
    """A device as `status --json` shows it."""
    return {
        "name": look.device.name.printable,
        "uuid": look.device.uuid.printable if look.device.uuid else None,
        "number": str(look.device.number),
        "event_nr": look.info.event_nr if look.info else look.device.event_nr,
        "suspended": look.info.suspended if look.info else None,
        "targets": [_plain_line(line, look) for line in look.lines or ()],
        **({"error": look.problem} if look.problem else {}),
    }


def _plain_line(line: TargetLine, look: Look) -> dict[str, Any]:
    status, error = read(line, look)
    shown: dict[str, Any] = {
        "start": line.start,
        "length": line.length,
        "type": printable(line.type),
        "status": plain(status) if status else None,
        "raw": printable(line.text),
    }
    if error:
        shown["error"] = printable(error)
    return shown


def read(line: TargetLine, look: Look) -> tuple[TargetStatus | None, str | None]:
    """The typed status of a device's line, or a sentence that says why there is none."""
    if look.blocks:
        return None, "not read: it would block while the device is suspended"
    try:
        return find(line.type).status(line.text), None
    except DmwatchError as error:
        return None, str(error)


def _show(look: Look) -> None:
    print_line(coloured(f"{look.device.name.printable} ({look.device.number})", bold=True))
    if look.problem:
        print_line(f"  {coloured('cannot be read', 'red')}: {printable(look.problem)}")
    elif not look.lines:
        print_line("  no table is live")
    for line in look.lines or ():
        _show_line(line, look)


def _show_line(line: TargetLine, look: Look) -> None:
    print_line(f"  {printable(line.type)}, {size_text(line.length)} at sector {line.start}")
    status, error = read(line, look)
    if status is None:
        print_line(f"    {printable(error or '')}")
        return
    for text in field_lines(status):
        print_line(f"    {text}")
    for text in condition_lines(shown_conditions(line, look)):
        print_line(f"    {text}")


def shown_conditions(line: TargetLine, look: Look) -> list[Finding]:
    """The conditions that the status of a device's line shows by itself, worst first."""
    status, _ = read(line, look)
    if status is None:
        return []
    start, length = Sectors(line.start), Sectors(line.length)
    return conditions(Seen(line.type, start, length, status, suspended=look.suspended))
