"""`dmwatch explain`: say what `dmsetup status` text means. Needs no root and no kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import click

from dmwatch.cli.failure import FAILED, OK
from dmwatch.cli.meaning import condition_lines, conditions, field_lines, plain_conditions
from dmwatch.cli.output import coloured, print_json, print_line, size_text
from dmwatch.cli.text import Read, read_line
from dmwatch.errors import DmwatchError
from dmwatch.names import printable
from dmwatch.targets import Finding, Seen, plain
from dmwatch.units import Sectors


@click.command(epilog="Example: dmsetup status | dmwatch explain")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")
@click.option("--table", "as_table", is_flag=True, help="the text comes from `dmsetup table`")
@click.option("--json", "as_json", is_flag=True, help="print a JSON array, one object a line read")
def command(file: IO[bytes], as_table: bool, as_json: bool) -> int:
    """Read `dmsetup status` text, say what each line means and which conditions it shows.

    Usage conditions stand on their default rungs. A line that is no status is tried as a table.
    """
    found = [read for read in _reads(file, as_table=as_table) if read]
    if as_json:
        print_json([plain_read(read) for read in found])
    else:
        for read in found:
            _show(read)
    return FAILED if any(read.error for read in found) else OK


def _reads(file: IO[bytes], *, as_table: bool) -> Iterator[Read | None]:
    if file.isatty():
        click.echo("reading `dmsetup status` text from the terminal; Ctrl-D ends it", err=True)
    try:
        for raw in file:
            yield read_line(raw.decode("utf-8", "surrogateescape"), as_table=as_table)
    except OSError as error:
        what = "standard input" if file.name in {0, "<stdin>"} else file.name
        raise DmwatchError(f"{what} cannot be read: {error.strerror}") from None


def _found(read: Read) -> list[Finding]:
    if read.line is None or read.error:
        return []
    start, length = Sectors(read.line.start), Sectors(read.line.length)
    return conditions(Seen(read.line.type, start, length, read.status, read.table))


def plain_read(read: Read) -> dict[str, Any]:
    """A line as `--json` shows it; a line read as a table has its meaning in `table`."""
    line = read.line
    shown: dict[str, Any] = {
        "name": None if read.name is None else printable(read.name),
        "start": line.start if line else None,
        "length": line.length if line else None,
        "type": printable(line.type) if line else None,
        "status": plain(read.status) if read.status else None,
        "conditions": plain_conditions(_found(read)),
        "error": printable(read.error) if read.error else None,
    }
    if read.table:
        shown["table"] = plain(read.table)
    return shown


def _show(read: Read) -> None:
    print_line(coloured(_head(read), bold=True))
    if read.error:
        print_line(f"  {coloured('cannot be read', 'red')}: {printable(read.error)}")
        return
    value = read.status or read.table
    for text in field_lines(value) if value else ("no table is live",):
        print_line(f"  {text}")
    for text in condition_lines(_found(read)):
        print_line(f"  {text}")


def _head(read: Read) -> str:
    name = f"{printable(read.name)}: " if read.name is not None else ""
    if read.line is None:
        return name.rstrip() or "?"
    kind = "table" if read.table else "status"
    size = size_text(read.line.length)
    return f"{name}{printable(read.line.type)} {kind}, {size} at sector {read.line.start}"
