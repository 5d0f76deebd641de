"""The rows of the catalogue: which conditions and moments a target has, and how they are told.

Every row that can be error or critical carries an advice: a sentence on what to do.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from dmwatch.severity import Severity


@dataclass(frozen=True, slots=True)
class NoData:
    """For conditions and moments that have nothing to add."""


NO_DATA = NoData()
VOLATILE = {"volatile": True}
"""Metadata of a field of a finding's data that moves all the time: its change alone is not told."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of a usage condition: from `at` percent on it has this severity."""

    at: float
    severity: Severity


DEFAULT_RUNGS = (
    Rung(80, Severity.WARNING),
    Rung(90, Severity.WARNING),
    Rung(95, Severity.ERROR),
    Rung(100, Severity.CRITICAL),
)


def rung_at(percent: float, rungs: tuple[Rung, ...]) -> Rung | None:
    """The highest rung that a share reaches, or None below the lowest. It knows no hysteresis."""
    return max((rung for rung in rungs if percent >= rung.at), key=lambda r: r.at, default=None)


@dataclass(frozen=True, slots=True)
class ConditionType:
    """A row of the catalogue: a condition that `observe` finds.

    Attributes:
        type: `target.name`.
        severities: the usual one first, then the others it can have.
        data: the dataclass of `Finding.data`.
        key: what its key names ("leg", "path"), or None where there is one at most.
        after: seconds that it stands before it is told.
        advice: a sentence on what to do; required where it can be error or critical.
        group: conditions of one group exclude each other: the one that follows supersedes.
    """

    type: str
    severities: tuple[Severity, ...]
    data: builtins.type = NoData
    key: str | None = None
    after: float = 0.0
    advice: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class GaugeType:
    """A row of the catalogue: a usage condition on a gauge. No rungs: off unless configured."""

    type: str
    rungs: tuple[Rung, ...] = DEFAULT_RUNGS
    hysteresis: float = 2.0
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class StallType:
    """A row of the catalogue: a condition on something that does not move for `after` seconds."""

    type: str
    severity: Severity
    after: float
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class FlapType:
    """A row of the catalogue: a condition on a counter that grows by `count` in `window` seconds.

    It clears when the counter has grown by less than that for a whole window.
    """

    type: str
    severity: Severity
    count: int
    window: float
    key: str | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class MomentType:
    """A row of the catalogue: a moment that `moments` finds (`uevent`: that a uevent tells)."""

    type: str
    severity: Severity
    data: builtins.type = NoData
    advice: str | None = None
    uevent: bool = False


CatalogueRow = ConditionType | GaugeType | StallType | FlapType


def worst(row: CatalogueRow) -> Severity | None:
    """The worst severity that a condition can have by default; None for a gauge without rungs."""
    if isinstance(row, GaugeType):
        found = [rung.severity for rung in row.rungs]
    else:
        found = list(row.severities) if isinstance(row, ConditionType) else [row.severity]
    return max(found, key=lambda severity: severity.rank, default=None)
