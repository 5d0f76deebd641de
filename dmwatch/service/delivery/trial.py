"""One event through one handler, here and now: what `dmwatch test-handler` does."""

from __future__ import annotations

import asyncio
from functools import partial

from dmwatch.events import Event
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
    handler = loaded.make(logs.get("dmwatch.handler", handler=loaded.name))
    limit = loaded.table.delivery.timeout
    try:
        outcome = await attempt(owner, handler.open, limit, _LIMITS.grace)
        if outcome.done:
            handle = partial(handler.handle, event)
            outcome = await attempt(owner, handle, limit, _LIMITS.grace)
        await attempt(owner, handler.close, _LIMITS.grace, _LIMITS.grace)
    finally:
        owner.cancel()
        undo()
    return outcome
