"""How a handler fares: figures for people, and the conditions that stand on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from dmwatch.events import Reason
from dmwatch.monitor.device_rows import HANDLER_FAILING, HANDLER_OVERFLOW
from dmwatch.service.own import Own

TYPES = frozenset({HANDLER_FAILING.type, HANDLER_OVERFLOW.type})
"""The conditions of handlers; of those with its own name as the key a handler is told nothing."""


class LaneState(StrEnum):
    """Where a lane stands."""

    STARTING = "starting"
    OK = "ok"
    RETRYING = "retrying"
    FAILING = "failing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class HandlerHealth:
    """How a handler fares.

    Attributes:
        name: what the configuration calls it.
        use: which handler it is.
        state: see LaneState.
        queued: events that wait.
        delivered: events that it took.
        dropped: events that it will never get: given up, refused by it, or the queue was full.
        failures: attempts that failed.
        problem: what the last failure met; None since it succeeded.
        last: when it last took an event, or None.
    """

    name: str
    use: str
    state: LaneState
    queued: int
    delivered: int
    dropped: int
    failures: int
    problem: str | None
    last: datetime | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        last = self.last.isoformat() if self.last else None
        return asdict(self) | {"state": self.state.value, "last": last}


@dataclass(slots=True)
class Counts:
    """Figures of a lane; they outlive a reload."""

    delivered: int = 0
    dropped: int = 0
    failures: int = 0
    problem: str | None = None
    last: datetime | None = None
    state: LaneState = field(default=LaneState.STARTING)

    def took(self) -> None:
        """It took an event."""
        self.delivered += 1
        self.last = datetime.now(UTC)


class Standing:
    """What stands on one handler.

    Args:
        name: the handler's.
        own: makes events of it.
    """

    def __init__(self, name: str, own: Own) -> None:
        self._name = name
        self._own = own
        self._summary: str | None = None
        self._lost = 0

    def failing(self, failures: int, problem: str) -> None:
        """It does not succeed. The sentence stays the one that it was raised with."""
        if self._summary is None:
            self._summary = f"handler {self._name} fails: {problem}"
        data = {"handler": self._name, "failures": failures, "problem": problem}
        self._own.raised(HANDLER_FAILING, self._name, self._summary, data)

    @property
    def is_failing(self) -> bool:
        """It was told that it fails, and not yet that it works."""
        return self._summary is not None

    def well(self) -> None:
        """It works: also what stood in an earlier life of the daemon is over."""
        self._summary = None
        self._own.cleared(HANDLER_FAILING, self._name)

    def overflow(self) -> None:
        """An event was dropped, as its queue was full."""
        self._lost += 1
        summary = f"handler {self._name} is too slow or fails: the oldest of its events are dropped"
        data = {"handler": self._name, "dropped": self._lost}
        self._own.raised(HANDLER_OVERFLOW, self._name, summary, data)

    def caught_up(self) -> None:
        """Nothing waits any more."""
        self._lost = 0
        self._own.cleared(HANDLER_OVERFLOW, self._name)

    def gone(self) -> None:
        """It is not configured any more."""
        for row in (HANDLER_FAILING, HANDLER_OVERFLOW):
            self._own.cleared(row, self._name, Reason.PART_GONE)
