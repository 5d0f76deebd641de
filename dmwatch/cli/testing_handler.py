"""`dmwatch test-handler`: one made-up event through a configured handler.

The module is not called as the command is: pytest would take it for tests.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from dmwatch.cli.failure import FAILED, OK, NoSuchHandlerError
from dmwatch.cli.output import print_json, print_line
from dmwatch.events import Event
from dmwatch.service import logs
from dmwatch.service.config import read_configuration
from dmwatch.service.delivery import Loaded, load
from dmwatch.service.delivery.attempt import Came, Outcome
from dmwatch.service.delivery.trial import trial
from dmwatch.service.run import leave
from dmwatch.service.settings import Configuration
from dmwatch.testing import make_event

_TYPE = "thin-pool.data-usage"


@click.command(epilog="Example: dmwatch test-handler pager --type raid.leg-failed")
@click.argument("name")
@click.option("--type", "type_", default=_TYPE, metavar="T", help=f"of event (default: {_TYPE})")
@click.option("--config", "path", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="print a JSON object")
def command(name: str, type_: str, path: Path | None, as_json: bool) -> int:
    """Send a made-up event through a configured handler, once, and show what came of it.

    It runs here and now, not in the daemon and its sandbox, and whatever the handler's match says.
    """
    event = make_event(type_, severity="error")
    configuration = read_configuration(path, check_plugins=False)
    loaded = _configured(configuration, name)
    # standard output is the outcome's
    logs.configure(configuration.log, descriptor=2)
    outcome = _tried(loaded, event)
    heard = loaded.table.match.fits(event)
    if as_json:
        print_json(_plain(loaded, event, outcome, heard=heard))
    else:
        _show(loaded, event, outcome, heard=heard)
    if outcome.came in {Came.STUCK, Came.LATE}:
        # it, or a thread of it, would keep Python from ending
        leave(FAILED)
    return OK if outcome.done else FAILED


def _tried(loaded: Loaded, event: Event) -> Outcome:
    loop = asyncio.new_event_loop()
    outcome = loop.run_until_complete(trial(loaded, event))
    if outcome.came is not Came.STUCK:
        loop.close()
    return outcome


def _configured(configuration: Configuration, name: str) -> Loaded:
    table = configuration.handlers.get(name)
    if table is None:
        known = ", ".join(sorted(configuration.handlers)) or "none"
        raise NoSuchHandlerError(f"no handler {name!r} is configured", hint=f"there are: {known}")
    return load(name, table)


def _show(loaded: Loaded, event: Event, outcome: Outcome, *, heard: bool) -> None:
    came = "it took the event" if outcome.done else f"it {_WORDS[outcome.came]}"
    problem = f": {outcome.problem}" if outcome.problem else ""
    print_line(f"{loaded.name} ({loaded.table.use}), {event.type}: {came}{problem}")
    if not heard:
        click.echo(
            f"the daemon would not bring it {event.type}: its match says otherwise", err=True
        )


def _plain(loaded: Loaded, event: Event, outcome: Outcome, *, heard: bool) -> dict[str, Any]:
    return {
        "handler": loaded.name,
        "use": loaded.table.use,
        "came": outcome.came.name.lower(),
        "problem": outcome.problem or None,
        "matches": heard,
        "event": event.model_dump(mode="json"),
    }


_WORDS = {
    Came.RETRY: "asked to be tried again",
    Came.DROP: "refused the event",
    Came.FAULT: "failed",
    Came.LATE: "failed",
    Came.STUCK: "failed",
}
