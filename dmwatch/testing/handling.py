"""A handler and some events, without a daemon: for tests of handlers.

It goes through the same code as in the daemon: the settings are validated, each call has its time
limit, and what the handler raises is judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dmwatch.events import Event
from dmwatch.handlers import Handler
from dmwatch.service.delivery.attempt import Came, Outcome, attempt
from dmwatch.service.delivery.owner import Owner, contain

__all__ = ["Came", "Handled", "Outcome", "run_handler"]


@dataclass(slots=True)
class Handled:
    """What a handler did.

    Attributes:
        opened: what came of `open`; where that failed nothing else was tried.
        events: what came of each event, in order.
        closed: what came of `close`.
        log: the lines that it logged: level, sentence and keys.
    """

    opened: Outcome
    events: list[Outcome]
    closed: Outcome
    log: list[dict[str, Any]] = field(default_factory=list)


async def run_handler(
    kind: type[Handler[Any]],
    settings: Mapping[str, Any] | None = None,
    *events: Event,
    limit: float = 10.0,
) -> Handled:
    """Make a handler, open it, bring it each event once, close it.

    Args:
        kind: its class.
        settings: its own keys, as the configuration would have them.
        events: what it is told; `make_event` makes some.
        limit: seconds for each call; `open` and `close`, too.

    Raises:
        pydantic.ValidationError: the settings have faults.
    """
    log = _Log()
    handler = kind("test", kind.Settings.model_validate(dict(settings or {})), log)
    owner = Owner("test")
    undo = contain(asyncio.get_running_loop())
    grace = min(limit, 1.0)
    try:
        opened = await attempt(owner, handler.open, limit, grace)
        outcomes = [
            await attempt(owner, partial(handler.handle, event), limit, grace)
            for event in (events if opened.done else ())
        ]
        closed = await attempt(owner, handler.close, limit, grace)
    finally:
        owner.close()
        undo()
    return Handled(opened, outcomes, closed, log.lines)


class _Log:
    """Stands where the daemon's log is, and keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def __getattr__(self, level: str) -> Any:
        if level.startswith("_"):
            raise AttributeError(level)
        return partial(self._keep, level)

    def _keep(self, level: str, sentence: str, **keys: Any) -> None:
        self.lines.append({"level": level, "event": sentence} | keys)
