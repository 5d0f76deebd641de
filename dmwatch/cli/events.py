"""`dmwatch events`: what the daemon has told, and what it tells."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from dmwatch.cli.failure import MayNotReadError, NoJournalError
from dmwatch.cli.output import print_line
from dmwatch.cli.watch import text_line
from dmwatch.errors import DmwatchError
from dmwatch.events import Event
from dmwatch.severity import Severity

if TYPE_CHECKING:
    from dmwatch.service.settings import Configuration

_BEGINNING = "1970-01-01T00:00:00Z"


@click.command(epilog="Example: dmwatch events --since 2h --severity warning --follow")
@click.option("--follow", is_flag=True, help="go on with what happens, until interrupted")
@click.option(
    "--since",
    metavar="WHEN",
    help="a time, a span back from now (2h, 7d), or the id of the last event that you have",
)
@click.option("--device", metavar="D", help="glob: name, label, number or uuid")
@click.option("--type", "types", metavar="T", multiple=True, help="glob: type of event; repeatable")
@click.option("--severity", type=click.Choice([s.value for s in Severity]), help="this and worse")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="the daemon's configuration"
)
def command(config: Path | None, *, follow: bool, as_json: bool, **filters: Any) -> None:
    """Show what the daemon has told, oldest first.

    Without --since everything that is kept is shown; with --follow and without --since, what
    happens from now on. Where no daemon runs its journal is read.
    """
    request = _request(filters, follow=follow)
    with closing(_events(_configuration(config), request, follow=follow)) as lines:
        _until_terminated(lines, as_json=as_json)


def _request(filters: dict[str, Any], *, follow: bool) -> dict[str, Any]:
    from dmwatch.service.ledger import since  # noqa: PLC0415

    chosen = {name: value for name, value in filters.items() if value}
    try:
        since.parse(chosen.get("since", _BEGINNING))
    except since.SinceError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    if not follow:
        chosen.setdefault("since", _BEGINNING)
    return chosen


def _configuration(path: Path | None) -> Configuration:
    from dmwatch.service.config import read_configuration  # noqa: PLC0415

    return read_configuration(path, check_plugins=False)


def _events(
    configuration: Configuration, request: dict[str, Any], *, follow: bool
) -> Generator[str, None, None]:
    from dmwatch.service.stream import client  # noqa: PLC0415

    try:
        yield from client.events(
            configuration.stream.socket, request, follow=follow, on_gap=_remark
        )
    except client.NoDaemonError:
        if follow:
            raise
        yield from _recorded(configuration.journal.path, request)
    except client.SocketNotPermittedError as error:
        raise MayNotReadError(error.what, because=error.because, hint=error.hint) from None


def _recorded(path: Path, request: dict[str, Any]) -> Iterator[str]:
    from dmwatch.service.ledger.offline import recorded  # noqa: PLC0415
    from dmwatch.service.stream.requests import Subscription  # noqa: PLC0415

    asked = Subscription.model_validate(request)
    try:
        rows = recorded(path, asked.since or _BEGINNING, asked.wanted)
        first = next(rows, None)
        _remark("no daemon answers: this is what its journal has")
        if first is not None:
            yield first
            yield from rows
    except (OSError, sqlite3.Error) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DmwatchError:
    if isinstance(error, PermissionError):
        return MayNotReadError(
            f"no daemon answers, and its journal {path} may not be read",
            because="it is open to root and its group only",
            hint="sudo",
        )
    if isinstance(error, FileNotFoundError):
        return NoJournalError(
            f"no daemon answers, and there is no journal {path}",
            because="`dmwatch run` was never started here, or keeps it in another place",
            hint="systemctl start dmwatch, or --config FILE",
        )
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return DmwatchError(
            f"no daemon answers, and the journal {path} is in use",
            because="a daemon that has another socket, or is just starting, keeps it for itself",
            hint="--config FILE, as that daemon was started, or again in a moment",
        )
    return DmwatchError(f"the journal {path} cannot be read", because=str(error))


def _until_terminated(lines: Iterator[str], *, as_json: bool) -> None:
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for line in lines:
            _show(line, as_json=as_json)
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(line: str, *, as_json: bool) -> None:
    if as_json:
        print_line(line)
        return
    try:
        event = Event.model_validate_json(line)
    except ValidationError:
        print_line(line)  # of another dmwatch, told before this one was here
        return
    if event.type != "dmwatch.heartbeat":
        print_line(text_line(event, dated=True))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _remark(sentence: str) -> None:
    click.echo(f"dmwatch: {sentence}", err=True)
