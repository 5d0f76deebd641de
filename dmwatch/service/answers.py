"""What the daemon answers to questions: what stands, who is told, what is watched, how it fares."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dmwatch.errors import DmwatchError
from dmwatch.monitor import Watcher, device_rows
from dmwatch.monitor.coverage import Coverage
from dmwatch.service.settings import HandlerTable, Match
from dmwatch.severity import Severity
from dmwatch.targets import find
from dmwatch.targets.catalogue import worst

if TYPE_CHECKING:
    from dmwatch.service.daemon import Daemon


class Answers:
    """Answers questions about one life of the daemon.

    Args:
        daemon: which is asked.
        watcher: its watcher.
    """

    def __init__(self, daemon: Daemon, watcher: Watcher) -> None:
        self._daemon = daemon
        self._watcher = watcher
        self._began = time.monotonic()

    async def ask(self, question: str) -> dict[str, Any]:
        """Answer with one JSON object.

        Raises:
            DmwatchError: there is no such question.
        """
        answers = {
            "conditions": self._conditions,
            "handlers": self._handlers,
            "coverage": self._coverage,
            "health": self.health,
        }
        if question not in answers:
            known = ", ".join(answers)
            raise DmwatchError(f"there is no question {question!r}", hint=f"ask one of {known}")
        return answers[question]()

    def status(self) -> str:
        """A line of figures for the service manager."""
        standing = self._watcher.conditions()
        worst_now = standing[0].severity if standing else "none"
        refused = f"{self._daemon.refused}; " if self._daemon.refused else ""
        return (
            f"{refused}watching {self._watcher.count} devices, {len(standing)} conditions stand "
            f"(worst: {worst_now}), {self._daemon.ledger.sequence} events told"
        )

    def health(self) -> dict[str, Any]:
        """Figures about the daemon itself."""
        return {
            "version": version("dmwatch"),
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - self._began, 3),
            "devices": self._watcher.count,
            "conditions": len(self._watcher.conditions()),
            "busy_for": round(self._watcher.busy_for, 3),
            "epoch": self._daemon.ledger.epoch,
            "sequence": self._daemon.ledger.sequence,
            "handlers": {row["name"]: row["state"] for row in self._handlers()["handlers"]},
        }

    def _conditions(self) -> dict[str, Any]:
        standing = [*self._watcher.conditions(), *self._daemon.own.conditions()]
        standing.sort(key=lambda condition: condition.worst_first)
        return {"conditions": [condition.model_dump(mode="json") for condition in standing]}

    def _handlers(self) -> dict[str, Any]:
        return {"handlers": [health.plain() for health in self._daemon.dispatcher.health()]}

    def _coverage(self) -> dict[str, Any]:
        tables = self._daemon.configuration.handlers
        found = sorted(self._watcher.coverage(), key=lambda coverage: coverage.device)
        return {"coverage": [c.plain() | {"handlers": hearing(c, tables)} for c in found]}


def hearing(coverage: Coverage, tables: Mapping[str, HandlerTable]) -> list[str]:
    """The handlers that would be told of at least one condition of a device."""
    return [name for name, table in tables.items() if _hears(table.match, coverage)]


def _hears(match: Match, coverage: Coverage) -> bool:
    names = (coverage.device, coverage.label, coverage.number)
    return match.fits_device(names, coverage.uuid) and any(
        match.fits_kind(type_, severity, target) for type_, severity, target in _kinds(coverage)
    )


def _kinds(coverage: Coverage) -> Iterator[tuple[str, Severity, str | None]]:
    """Each type of condition that the device can have, with the worst that it can be."""
    for row in device_rows.CONDITIONS:
        yield row.type, row.severities[0], None
    for target in coverage.targets:
        for found in find(target).conditions:
            severity = worst(found)
            if severity is not None:
                yield found.type, severity, target
