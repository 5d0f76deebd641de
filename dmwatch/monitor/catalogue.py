"""Every type of event, with what its data holds."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from dmwatch.monitor import device_rows
from dmwatch.monitor.data import FlappingData, UsageData
from dmwatch.targets import load_all
from dmwatch.targets.catalogue import (
    CatalogueRow,
    ConditionType,
    FlapType,
    GaugeType,
    NoData,
)


@dataclass(frozen=True, slots=True)
class EventType:
    """A row of the catalogue as events have it.

    Attributes:
        type: `target.name`, `device.name` or `dmwatch.name`.
        stands: it is a condition; else it is a moment.
        data: the dataclass of its data.
        rungs: it is a usage condition.
    """

    type: str
    stands: bool
    data: builtins.type
    rungs: bool = False


@cache
def event_types() -> dict[str, EventType]:
    """Every type of event by its name, in the order of the catalogue."""
    return {row.type: row for row in _event_types()}


def _event_types() -> Iterator[EventType]:
    own = (*device_rows.CONDITIONS, *device_rows.OWN_CONDITIONS)
    for row in (*own, *(row for target in load_all() for row in target.conditions)):
        yield EventType(row.type, stands=True, data=_data(row), rungs=isinstance(row, GaugeType))
    for moment in (
        *device_rows.MOMENTS,
        *device_rows.OWN_MOMENTS,
        *(row for target in load_all() for row in target.moment_types),
    ):
        yield EventType(moment.type, stands=False, data=moment.data)


def _data(row: CatalogueRow) -> type:
    if isinstance(row, ConditionType):
        return row.data
    if isinstance(row, GaugeType):
        return UsageData
    return FlappingData if isinstance(row, FlapType) else NoData
