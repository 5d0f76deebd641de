"""What an operator does not want to be told, or wants told otherwise, of these and those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dmwatch.monitor.conditions import Look
from dmwatch.monitor.settings import Action, Rule
from dmwatch.severity import Severity
from dmwatch.targets.catalogue import Rung


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rules as they hold for one device at one time.

    Attributes:
        rules: those whose window is open.
        names: what the device is called.
        uuid: its uuid, or "".
    """

    rules: tuple[Rule, ...]
    names: tuple[str, ...]
    uuid: str

    @classmethod
    def of(
        cls, rules: Sequence[Rule], names: tuple[str, ...], uuid: str | None, now: datetime
    ) -> Ruling:
        """The rules that hold now."""
        return cls(tuple(rule for rule in rules if rule.holds(now)), names, uuid or "")

    def severity(self, type_: str, target: str | None, severity: Severity) -> Severity | None:
        """With which severity something is told; None where it is not."""
        rule = self._first(type_, target)
        if rule is None:
            return severity
        return None if rule.action is Action.IGNORE else rule.severity or severity

    def rungs(self, type_: str, target: str) -> tuple[Rung, ...] | None:
        """On which rungs a usage stands here; None where it stands on the usual ones."""
        rule = self._first(type_, target)
        return None if rule is None else rule.rung_tuple()

    def _first(self, type_: str, target: str | None) -> Rule | None:
        matching = (r for r in self.rules if r.matches(self.names, self.uuid, target or "", type_))
        return next(matching, None)

    def look(self, look: Look) -> Look:
        """A look as the rules leave it."""
        if not self.rules:
            return look
        kept, ignored = [], []
        for item in look.found:
            severity = self.severity(item.type, item.target, item.severity)
            if severity is None:
                ignored.append(item.id)
            else:
                kept.append(replace(item, severity=severity))
        return replace(look, found=tuple(kept), ignored=frozenset(ignored))
