"""One event through one handler, here and now: what `dmwatch test-handler` does."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from dmwatch.events import Event
from dmwatch.handlers import Handler
from dmwatch.service import logs
from dmwatch.service.delivery.attempt import Outcome, attempt
from dmwatch.service.delivery.limits import Limits
from dmwatch.service.delivery.owner import Owner, contain
from dmwatch.service.delivery.plugins import Loaded

_LIMITS = Limits()


async def trial(loaded: Loaded, event: Event) -> Outcome:
    """Make a handler, open it, bring it the event once, close it."""
    owner = Owner(loaded.name)
    undo = contain(asyncio.get_running_loop())
    made: list[Handler[Any]] = []

    async def opening() -> None:
        made.append(loaded.make(logs.get("dmwatch.handler", handler=loaded.name)))
        await made[0].open()

    limit = loaded.table.delivery.timeout
    outcome = await attempt(owner, opening, limit, _LIMITS.grace)
    if outcome.done:
        handle = partial(made[0].handle, event)
        outcome = await attempt(owner, handle, limit, _LIMITS.grace)
    if made:
        await attempt(owner, made[0].close, _LIMITS.grace, _LIMITS.grace)
    owner.close()
    undo()
    # what was cancelled ends before the loop does
    await asyncio.sleep(0)
    return outcome
