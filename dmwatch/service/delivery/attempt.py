"""One call into a handler, with a time limit, and what came of it.

Nothing that the handler does gets out of here as an exception. At its time limit a call is
cancelled; one that goes on in spite of that is left behind, and never waited for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dmwatch.errors import DmwatchError, shorten
from dmwatch.handlers import Drop, Retry
from dmwatch.names import printable
from dmwatch.service.delivery.owner import Owner


class Came(Enum):
    """What came of a call."""

    DONE = "done"
    RETRY = "asked to be tried again"
    DROP = "dropped"
    FAULT = "failed"
    LATE = "took too long"
    STUCK = "cannot be stopped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call.

    Attributes:
        came: in a word.
        problem: a sentence for people; empty where it is done.
        after: seconds until the next attempt, as the handler asked; None where it did not.
        error: a fault of the handler's code, with its traceback.
        value: what the call gave.
    """

    came: Came
    problem: str = ""
    after: float | None = None
    error: BaseException | None = None
    value: Any = None

    @property
    def done(self) -> bool:
        """It went well."""
        return self.came is Came.DONE


async def attempt(
    owner: Owner, call: Callable[[], Awaitable[Any]], limit: float, grace: float
) -> Outcome:
    """Call a handler.

    Args:
        owner: the handler's tasks.
        call: the method, with its arguments bound.
        limit: seconds; then it is cancelled.
        grace: seconds; so long after that it may take to clean up.
    """
    task = owner.call(_awaited(call))
    try:
        await asyncio.wait({task}, timeout=limit)
        if task.done():
            return _outcome(task)
        task.cancel()
        await asyncio.wait({task}, timeout=grace)
    except asyncio.CancelledError:
        task.cancel()
        raise
    late = f"it took longer than {limit:g} s"
    if not task.done():
        return Outcome(Came.STUCK, f"{late} and cannot be stopped")
    return _late(task, late)


async def _awaited(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


def _outcome(task: asyncio.Task[Any]) -> Outcome:
    if task.cancelled():
        return Outcome(Came.FAULT, "it was cancelled by its own code")
    error = task.exception()
    if error is None:
        return Outcome(Came.DONE, value=task.result())
    if isinstance(error, Retry):
        return Outcome(Came.RETRY, _text(error), after=error.after)
    if isinstance(error, Drop):
        return Outcome(Came.DROP, _text(error))
    if isinstance(error, DmwatchError):
        # a sentence for people: its traceback says nothing more
        return Outcome(Came.FAULT, _text(error))
    name = type(error).__name__
    return Outcome(Came.FAULT, f"{name}: {_text(error)}".removesuffix(": "), error=error)


def _late(task: asyncio.Task[Any], problem: str) -> Outcome:
    # fetched, so that nobody is told that it never was
    error = None if task.cancelled() else task.exception()
    said = f": {_text(error)}" if isinstance(error, Retry | Drop | DmwatchError) else ""
    return Outcome(Came.LATE, problem + said)


def _text(error: BaseException) -> str:
    try:
        return printable(shorten(str(error), 500))
    except Exception:  # noqa: BLE001 - an exception's own __str__ may be at fault
        return "it cannot say why"
