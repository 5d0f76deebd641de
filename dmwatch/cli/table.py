"""`dmwatch table`: the live tables, typed. Keys are never shown."""

from __future__ import annotations

from typing import Any

import click

from dmwatch.cli.failure import FAILED, OK
from dmwatch.cli.looking import Look, look_at, read_table
from dmwatch.cli.meaning import field_lines
from dmwatch.cli.output import coloured, print_json, print_line, size_text
from dmwatch.errors import DmwatchError
from dmwatch.names import printable
from dmwatch.table import KEYED_TYPES, TargetLine
from dmwatch.targets import TargetTable, find, plain


@click.command(epilog="Example: dmwatch table vg-pool-tpool")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects")
def command(devices: tuple[str, ...], as_json: bool) -> int:
    """Show the live table of each device, field by field. Keys are never shown."""
    looks = look_at(devices, read_table)
    if as_json:
        print_json([plain_look(look) for look in looks])
    else:
        for look in looks:
            _show(look)
    return FAILED if any(look.problem for look in looks) else OK


def plain_look(look: Look) -> dict[str, Any]:
    """A device as `table --json` shows it."""
    return {
        "name": look.device.name.printable,
        "uuid": look.device.uuid.printable if look.device.uuid else None,
        "number": str(look.device.number),
        "event_nr": look.info.event_nr if look.info else look.device.event_nr,
        "suspended": look.info.suspended if look.info else None,
        "targets": [_plain_line(line) for line in look.lines or ()],
        **({"error": look.problem} if look.problem else {}),
    }


def _plain_line(line: TargetLine) -> dict[str, Any]:
    table, error = read(line)
    keyed = find(line.type).keyed and line.type in KEYED_TYPES
    shown: dict[str, Any] = {
        "start": line.start,
        "length": line.length,
        "type": printable(line.type),
        "table": plain(table) if table else None,
        "raw": None if keyed else printable(line.text),
    }
    if error:
        shown["error"] = printable(error)
    return shown


def read(line: TargetLine) -> tuple[TargetTable | None, str | None]:
    """The typed table of a line, or a sentence that says why there is none."""
    try:
        return find(line.type).table(line.text), None
    except DmwatchError as error:
        return None, str(error)


def _show(look: Look) -> None:
    print_line(coloured(f"{look.device.name.printable} ({look.device.number})", bold=True))
    if look.problem:
        print_line(f"  {coloured('cannot be read', 'red')}: {printable(look.problem)}")
    elif not look.lines:
        print_line("  no table is live")
    for line in look.lines or ():
        print_line(f"  {printable(line.type)}, {size_text(line.length)} at sector {line.start}")
        table, error = read(line)
        for text in field_lines(table) if table else (printable(error or ""),):
            print_line(f"    {text}")
