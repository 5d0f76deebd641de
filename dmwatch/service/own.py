"""What stands on the daemon itself: failing handlers, handlers too slow, a failing journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dmwatch.events import Event, Reason, State
from dmwatch.monitor.conditions import Found, Step
from dmwatch.monitor.teller import Teller
from dmwatch.targets.catalogue import ConditionType, MomentType


class Own:
    """Makes events of what the daemon finds out about itself.

    Args:
        tell: gets each event; its id and sequence are not final.
    """

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._teller = Teller()
        self._standing: dict[tuple[str, str | None], Found] = {}

    def raised(
        self, row: ConditionType, key: str | None, summary: str, data: dict[str, Any]
    ) -> None:
        """A condition stands; told once, and again as changed only where its summary changed."""
        found = Found(row.type, key, row.severities[0], summary, data=data, advice=row.advice)
        before = self._standing.get((row.type, key))
        self._standing[row.type, key] = found
        if before is None:
            self._step(Step(State.RAISED, found))
        elif before.summary != summary:
            self._step(Step(State.CHANGED, found))

    def cleared(
        self, row: ConditionType, key: str | None = None, reason: Reason = Reason.HEALTHY
    ) -> None:
        """A condition is over; nothing happens where it did not stand."""
        found = self._standing.pop((row.type, key), None)
        if found is not None:
            self._step(Step(State.CLEARED, found, reason))

    def moment(self, row: MomentType, summary: str, data: dict[str, Any]) -> None:
        """Something happened once."""
        self._tell(self._teller.moment(row.type, row.severity, None, summary, data=data))

    def _step(self, step: Step) -> None:
        self._tell(self._teller.step(step, None))
