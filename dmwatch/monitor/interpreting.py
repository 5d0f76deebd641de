"""From text to meaning: what one reading of a device shows, as conditions. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dmwatch.dm import DeviceInfo
from dmwatch.errors import DmwatchError, StatusParseError
from dmwatch.monitor.conditions import TABLE, Found, Gauges, Look, Scope, essence, row_of
from dmwatch.monitor.device_rows import ERROR_TARGET, STATUS_UNREADABLE, found, of_record
from dmwatch.monitor.reading import Raw
from dmwatch.names import printable
from dmwatch.severity import Severity
from dmwatch.table import TargetLine
from dmwatch.targets import (
    Counter,
    Finding,
    Gauge,
    Observation,
    Progress,
    Seen,
    Target,
    TargetTable,
    find,
    plain,
)
from dmwatch.targets.catalogue import ConditionType, FlapType, GaugeType, StallType
from dmwatch.units import Sectors

_BLIND = frozenset(
    {"fail", "error", "unbound", "blank", "invalid", "overflow", "merge-failed", "unknown"}
)
"""States of a status that say no more than that: what stood besides may or may not stand."""


@dataclass(frozen=True, slots=True)
class LineSeen:
    """One line of a device's table as it was seen.

    Attributes:
        seen: what the target's functions take; its status is None where it was unreadable.
        text: what was reported.
        unreadable: why it could not be understood, or None.
    """

    seen: Seen
    text: str
    unreadable: Found | None = None

    @property
    def scope(self) -> Scope:
        """Where its conditions belong."""
        return int(self.seen.start), self.seen.type


def see(raw: Raw) -> tuple[LineSeen, ...] | None:
    """Give the lines of a reading as typed looks; None where they were not read."""
    if raw.lines is None:
        return None
    tables: tuple[TargetLine | None, ...] = raw.tables or (None,) * len(raw.lines)
    several = len(raw.lines) > 1
    return tuple(
        _see_line(line, table, raw.info, str(line.start) if several else None)
        for line, table in zip(raw.lines, tables, strict=True)
    )


def _see_line(
    line: TargetLine, table: TargetLine | None, info: DeviceInfo, key: str | None
) -> LineSeen:
    target = find(line.type)
    seen = Seen(
        line.type,
        Sectors(line.start),
        Sectors(line.length),
        table=_typed(target, table),
        suspended=info.suspended,
        read_only=info.read_only,
    )
    try:
        seen = replace(seen, status=target.status(line.text))
    except DmwatchError as error:
        return LineSeen(seen, line.text, _unreadable(line, error, key))
    return LineSeen(seen, line.text)


def _typed(target: Target, table: TargetLine | None) -> TargetTable | None:
    if table is None:
        return None
    try:
        return target.table(table.text)
    except DmwatchError:
        # what needs the table is then told in its severe form or left out, as when it is unread
        return None


def _unreadable(line: TargetLine, error: DmwatchError, key: str | None) -> Found:
    where: dict[str, Any] = {"target": printable(line.type)}
    if isinstance(error, StatusParseError):
        where |= {"field": error.field, "position": error.position}
    item = found(STATUS_UNREADABLE, printable(str(error)), **where)
    return replace(item, key=key, scope=(line.start, line.type), target=printable(line.type))


def look(info: DeviceInfo, lines: tuple[LineSeen, ...] | None, gauges: Gauges, now: float) -> Look:
    """What one reading shows: the conditions, and which part of the device they were sought in."""
    items = list(of_record(info))
    covered: set[Scope] = {None}
    blind: set[Scope] = set()
    parts: dict[Scope, frozenset[str]] = {}
    for line in lines or ():
        if line.seen.type == "error":
            items.append(found(ERROR_TARGET, "a part of it maps to `error`: its I/O fails"))
        if line.unreadable:
            items.append(line.unreadable)
            continue
        covered.add(line.scope)
        items.extend(_of_line(line, gauges, now, prefix=_prefix(line, lines or ())))
        if line.seen.status is not None and line.seen.status.state in _BLIND:
            blind.add(line.scope)
        existing = find(line.seen.type).parts(line.seen)
        if existing is not None:
            parts[line.scope] = existing
    return Look(
        found=_unique(items),
        covered=frozenset(covered),
        lines=None if lines is None else frozenset(line.scope for line in lines),
        parts=parts,
        blind=frozenset(blind),
    )


def _unique(items: list[Found]) -> tuple[Found, ...]:
    """One for each type and key: the worst."""
    best: dict[Any, Found] = {}
    for item in items:
        held = best.get(item.id)
        if held is None or item.severity.rank > held.severity.rank:
            best[item.id] = item
    return tuple(best.values())


def _prefix(line: LineSeen, lines: tuple[LineSeen, ...]) -> str | None:
    """What tells apart the conditions of several lines of one type: where the line begins."""
    same = [other for other in lines if other.seen.type == line.seen.type]
    return str(int(line.seen.start)) if len(same) > 1 else None


def _of_line(line: LineSeen, gauges: Gauges, now: float, prefix: str | None) -> Iterator[Found]:
    target = find(line.seen.type)
    observation = target.observe(line.seen)
    for item in _all(target, observation, gauges, now):
        key = item.key if prefix is None else ":".join(filter(None, (prefix, item.key)))
        yield replace(item, key=key, scope=line.scope, target=line.seen.type)


def _all(target: Target, observation: Observation, gauges: Gauges, now: float) -> Iterator[Found]:
    yield from (_finding(target, item) for item in observation.findings)
    for gauge in observation.gauges:
        row = row_of(target.conditions, gauge.type)
        if isinstance(row, GaugeType) and (usage := _usage(gauge, row, gauges)):
            yield usage
    yield from _moving(target, observation, gauges, now)


def _finding(target: Target, item: Finding) -> Found:
    row = row_of(target.conditions, item.type)
    extra = row if isinstance(row, ConditionType) else None
    return Found(
        item.type,
        item.key,
        item.severity,
        item.summary,
        data=plain(item.data),
        essence=essence(item.data),
        advice=row.advice if row else None,
        after=extra.after if extra else 0.0,
        group=extra.group if extra else None,
    )


def _usage(gauge: Gauge, row: GaugeType, gauges: Gauges) -> Found | None:
    reached = gauges.gauge(gauge, row)
    if reached is None:
        return None
    rung, percent = reached
    data = {
        "used": gauge.used,
        "total": gauge.total,
        "percent": round(percent, 2),
        "rung": rung.at,
    }
    name = gauge.type.partition(".")[2].replace("-usage", "").replace("usage", "space")
    summary = f"{name} is {percent:.0f} % used ({gauge.used} of {gauge.total} {gauge.unit})"
    advice = row.advice if rung.severity.at_least(Severity.ERROR) else None
    return Found(gauge.type, gauge.key, rung.severity, summary, data, (rung.at,), advice=advice)


def _moving(
    target: Target, observation: Observation, gauges: Gauges, now: float
) -> Iterator[Found]:
    gauges.forget_progress(observation.progress)
    for progress in observation.progress:
        row = row_of(target.conditions, progress.type)
        if isinstance(row, StallType) and gauges.stalled(progress, row, now):
            yield Found(progress.type, progress.key, row.severity, progress.summary)
    for counter in observation.counters:
        flap = row_of(target.conditions, counter.type)
        if isinstance(flap, FlapType) and gauges.flapping(counter, flap, now):
            summary = f"it failed {flap.count} times or more within {flap.window / 60:g} min"
            key = f"{counter.key} " if counter.key else ""
            yield Found(
                counter.type,
                counter.key,
                flap.severity,
                key + summary,
                {"failures": counter.value},
                advice=flap.advice,
            )
