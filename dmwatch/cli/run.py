"""`dmwatch run`: the daemon."""

from __future__ import annotations

from pathlib import Path

import click

from dmwatch.cli.failure import exit_code, sentence
from dmwatch.errors import DmwatchError


@click.command(epilog="Example: dmwatch run --config /etc/dmwatch/config.toml")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="the configuration (default: /etc/dmwatch/config.toml)",
)
def command(path: Path | None) -> None:
    """Watch, keep a journal, and tell handlers and local clients. For a service manager.

    SIGHUP reads the configuration anew, SIGTERM ends it.
    """
    from dmwatch.service import signals  # noqa: PLC0415 - nothing else needs the daemon

    signals.hold()
    from dmwatch.service import logs  # noqa: PLC0415
    from dmwatch.service.config import read_configuration  # noqa: PLC0415
    from dmwatch.service.run import leave, run  # noqa: PLC0415

    code = 0
    try:
        configuration = read_configuration(path)
        logs.configure(configuration.log)
        run(configuration, lambda: read_configuration(path))
    except DmwatchError as error:
        click.echo(f"dmwatch: {sentence(error)}", err=True)
        code = exit_code(error)
    except Exception:  # noqa: BLE001 - it is logged, with its traceback
        logs.get("dmwatch.daemon").exception("the daemon has failed")
        code = 1
    leave(code)
