"""`dmwatch handlers`: which are installed, which are configured, how they fare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dmwatch.cli.output import print_columns, print_json, print_line
from dmwatch.errors import DmwatchError
from dmwatch.service.config import read_configuration
from dmwatch.service.delivery import Installed, installed
from dmwatch.service.settings import Configuration

_CONFIGURED = ("NAME", "USE", "STATE", "QUEUED", "DELIVERED", "DROPPED", "FAILURES", "PROBLEM")
_INSTALLED = ("HANDLER", "FROM", "WHERE")
Row = dict[str, Any]


@click.command(epilog="Example: dmwatch handlers --json")
@click.option("--config", "path", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="print a JSON object")
def command(path: Path | None, as_json: bool) -> None:
    """Show the handlers that are configured, how they fare, and all that are installed.

    How they fare the daemon says; where none answers, only what the configuration says is shown.
    """
    found = installed()
    rows = _rows(path)
    if as_json:
        print_json({"configured": rows, "installed": [_plain(item) for item in found]})
        return
    print_columns(_CONFIGURED, [_cells(row) for row in rows])
    print_line("")
    print_columns(_INSTALLED, [(i.name, f"{i.origin} {i.version}", i.where) for i in found])


def _rows(path: Path | None) -> list[Row]:
    try:
        configuration = read_configuration(path, check_plugins=False)
    except DmwatchError as error:
        if path is not None and not path.exists():
            raise
        click.echo(f"what is configured is not shown: {error}", err=True)
        return []
    try:
        return _asked(configuration)
    except (DmwatchError, OSError) as error:
        click.echo(f"how they fare is not shown, no daemon answers: {error}", err=True)
        return [_unknown(name, table.use) for name, table in configuration.handlers.items()]


def _asked(configuration: Configuration) -> list[Row]:
    from dmwatch.service.stream.client import ask  # noqa: PLC0415

    answer: Mapping[str, Any] = ask(configuration.stream.socket, "handlers")
    return list(answer["handlers"])


def _unknown(name: str, use: str) -> Row:
    keys = ("state", "queued", "delivered", "dropped", "failures", "problem", "last")
    return {"name": name, "use": use} | dict.fromkeys(keys)


def _cells(row: Row) -> tuple[str, ...]:
    names = (head.lower() for head in _CONFIGURED)
    return tuple("-" if row[name] is None else str(row[name]) for name in names)


def _plain(item: Installed) -> Row:
    return {
        "name": item.name,
        "from": item.origin,
        "version": item.version,
        "where": item.where,
    }
