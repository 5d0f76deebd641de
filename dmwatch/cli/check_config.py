"""`dmwatch check-config`: is a configuration sound, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click

from dmwatch.cli.output import print_json, print_line
from dmwatch.service.settings import Configuration


@click.command(epilog="Example: dmwatch check-config /etc/dmwatch/config.toml")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="print a JSON array with an object a fault")
def command(file: Path | None, as_json: bool) -> int:
    """Check a configuration (default: /etc/dmwatch/config.toml), its handlers' settings included.

    Exit code 0: it is sound. 1: it is not; each fault is told with its line and key.
    """
    from dmwatch.service.config import ConfigError, read_configuration  # noqa: PLC0415

    try:
        configuration = read_configuration(file, strict=True)
    except ConfigError as error:
        if not as_json:
            raise
        print_json([fault.plain() for fault in error.faults])
        return 1
    if as_json:
        print_json([])
    else:
        print_line(_sentence(configuration))
    return 0


def _sentence(configuration: Configuration) -> str:
    names = (f"{name} ({table.use})" for name, table in sorted(configuration.handlers.items()))
    handlers = f"handlers: {', '.join(names)}"
    if configuration.source is None:
        return f"there is no /etc/dmwatch/config.toml: the defaults hold; {handlers}"
    return f"{configuration.source} is sound; {handlers}"
