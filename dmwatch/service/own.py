"""What stands on the daemon itself: failing handlers, handlers too slow, a failing journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from dmwatch.events import Condition, Event, Reason, State
from dmwatch.monitor import device_rows
from dmwatch.monitor.conditions import Found, Step
from dmwatch.monitor.teller import Teller
from dmwatch.targets.catalogue import ConditionType, MomentType

Id = tuple[str, str | None]
_ROWS = {row.type: row for row in device_rows.OWN_CONDITIONS}
_OF_HANDLERS = {device_rows.HANDLER_FAILING.type, device_rows.HANDLER_OVERFLOW.type}


class Own:
    """Makes events of what the daemon finds out about itself.

    Args:
        tell: gets each event; its id and sequence are not final.
    """

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._teller = Teller()
        self._standing: dict[Id, tuple[Found, datetime]] = {}

    def raised(
        self, row: ConditionType, key: str | None, summary: str, data: dict[str, Any]
    ) -> None:
        """A condition stands: told once, and again as changed only where its summary changed."""
        found = Found(row.type, key, row.severities[0], summary, data=data, advice=row.advice)
        before = self._standing.get(found.id)
        if before is None:
            event = self._step(Step(State.RAISED, found))
            self._standing[found.id] = found, event.time
            return
        self._standing[found.id] = found, before[1]
        if before[0].summary != summary:
            self._step(Step(State.CHANGED, found))

    def cleared(
        self, row: ConditionType, key: str | None = None, reason: Reason = Reason.HEALTHY
    ) -> None:
        """A condition is over; nothing happens where it did not stand."""
        self._clear((row.type, key), reason)

    def moment(self, row: MomentType, summary: str, data: dict[str, Any]) -> None:
        """Something happened once."""
        self._tell(self._teller.moment(row.type, row.severity, None, summary, data=data))

    def conditions(self) -> list[Condition]:
        """What stands."""
        return [_condition(found, since) for found, since in self._standing.values()]

    def restore(self, standing: Iterable[Condition], handlers: set[str]) -> None:
        """Take over what stood when the last daemon ended, once this one watches.

        Of a handler that is still configured it stands until that shows that it works; everything
        else is over, as this daemon has started.

        Args:
            standing: as the ledger kept it; what is about devices is the watcher's.
            handlers: the names of those that are configured.
        """
        for condition in standing:
            row = _ROWS.get(condition.type)
            if condition.device is not None or row is None:
                continue
            found = _found(condition)
            if found.id in self._standing:
                continue
            self._standing[found.id] = found, condition.since
            if row.type not in _OF_HANDLERS:
                self._clear(found.id, Reason.HEALTHY, initial=True)
            elif condition.key not in handlers:
                self._clear(found.id, Reason.PART_GONE, initial=True)

    def _clear(self, id_: Id, reason: Reason, *, initial: bool = False) -> None:
        if id_ in self._standing:
            found, _ = self._standing.pop(id_)
            self._step(Step(State.CLEARED, found, reason, initial=initial))

    def _step(self, step: Step) -> Event:
        event = self._teller.step(step, None)
        self._tell(event)
        return event


def _condition(found: Found, since: datetime) -> Condition:
    return Condition(
        type=found.type,
        key=found.key,
        severity=found.severity,
        device=None,
        since=since,
        summary=found.summary,
        advice=found.advice,
        data=dict(found.data),
    )


def _found(condition: Condition) -> Found:
    return Found(
        condition.type,
        condition.key,
        condition.severity,
        condition.summary,
        data=condition.data,
        advice=condition.advice,
    )
