"""From text to meaning: what one reading of a device shows, as conditions. No I/O and no clock."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dmwatch.dm import DeviceInfo
from dmwatch.errors import StatusParseError
from dmwatch.monitor import faults
from dmwatch.monitor.conditions import TABLE, Found, Gauges, Look, Scope, essence, row_of
from dmwatch.monitor.device_rows import ERROR_TARGET, STATUS_UNREADABLE, found, of_record
from dmwatch.monitor.reading import Raw
from dmwatch.monitor.rules import Ruling
from dmwatch.names import printable
from dmwatch.severity import Severity
from dmwatch.table import TargetLine
from dmwatch.targets import Finding, Gauge, Observation, Seen, Target, TargetTable, find, plain
from dmwatch.targets.base import Counter, Progress
from dmwatch.targets.catalogue import ConditionType, FlapType, GaugeType, StallType
from dmwatch.units import Sectors

NOTHING_SHOWN = Observation()
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
        shown: what the target says of it.
        parts: the keys of all its legs or paths; None where it has no such keys.
    """

    seen: Seen
    text: str
    unreadable: Found | None = None
    shown: Observation = NOTHING_SHOWN
    parts: frozenset[str] | None = None

    @property
    def scope(self) -> Scope:
        """Where its conditions belong."""
        return int(self.seen.start), self.seen.type


@dataclass(frozen=True, slots=True)
class Memory:
    """What a reading is held against.

    Attributes:
        gauges: what gauges, progress and counters were before.
        ruling: on which rungs a usage stands.
    """

    gauges: Gauges
    ruling: Ruling


def see(raw: Raw) -> tuple[LineSeen, ...] | None:
    """Give the lines of a reading as typed looks; None where they were not read."""
    if raw.lines is None:
        return None
    tables: tuple[TargetLine | None, ...] = raw.tables or (None,) * len(raw.lines)
    pairs = zip(raw.lines, tables, strict=True)
    return tuple(_see_line(line, table, raw.info) for line, table in pairs)


def _see_line(line: TargetLine, table: TargetLine | None, info: DeviceInfo) -> LineSeen:
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
        known = replace(seen, status=target.status(line.text))
        shown, parts = target.observe(known), target.parts(known)
    except Exception as error:  # noqa: BLE001 - whatever a kernel says, watching goes on
        return LineSeen(seen, line.text, not_understood(seen, error))
    return LineSeen(known, line.text, shown=shown, parts=parts)


def _typed(target: Target, table: TargetLine | None) -> TargetTable | None:
    if table is None:
        return None
    try:
        return target.table(table.text)
    except Exception as error:  # noqa: BLE001 - as in _see_line
        faults.log(error)
        # what needs the table is then told in its severe form or left out, as when it is unread
        return None


def not_understood(seen: Seen, error: Exception) -> Found:
    """What a line says cannot be read, or not be made sense of."""
    known = error if isinstance(error, StatusParseError) else None
    item = found(
        STATUS_UNREADABLE,
        printable(faults.sentence(error)),
        target=printable(seen.type),
        field=known and known.field,
        position=known and known.position,
    )
    start = int(seen.start)
    # always with its start: lines that come and go beside it must not change what it is called
    return replace(item, key=str(start), scope=(start, seen.type), target=printable(seen.type))


def look(info: DeviceInfo, lines: tuple[LineSeen, ...] | None, memory: Memory, now: float) -> Look:
    """What one reading shows: the conditions, and which part of the device they were sought in."""
    gauges = memory.gauges
    seen = lines or ()
    readable = [line for line in seen if not line.unreadable]
    observed = [_observed(line, prefix) for line, prefix in _prefixed(readable, seen)]
    # a look that read no status does not say that nothing is in progress
    if lines is not None and len(readable) == len(seen):
        present = (item for each in observed for item in each.observation.progress)
        unknown = frozenset(type_ for line in readable for type_ in line.shown.unknown)
        gauges.forget_progress(present, unknown)
    items = [*of_record(info), *_of_table(seen)]
    for each in observed:
        items.extend(_of_line(each, memory, now))
    scopes = [line.scope for line in readable]
    return Look(
        found=_unique(items),
        covered=frozenset([None, *scopes] if lines is None else [None, TABLE, *scopes]),
        lines=None if lines is None else frozenset(line.scope for line in lines),
        parts={each.line.scope: each.parts for each in observed if each.parts is not None},
        blind=frozenset(line.scope for line in readable if _is_blind(line)),
        unknown={line.scope: line.shown.unknown for line in readable if line.shown.unknown},
    )


def _of_table(lines: tuple[LineSeen, ...]) -> Iterator[Found]:
    if any(line.seen.type == "error" for line in lines):
        yield found(ERROR_TARGET, "a part of it maps to `error`: its I/O fails")
    yield from (line.unreadable for line in lines if line.unreadable)


def _is_blind(line: LineSeen) -> bool:
    return line.seen.status is not None and line.seen.status.state in _BLIND


def _unique(items: list[Found]) -> tuple[Found, ...]:
    """One for each type and key: the worst."""
    best: dict[Any, Found] = {}
    for item in items:
        held = best.get(item.id)
        if held is None or item.severity.rank > held.severity.rank:
            best[item.id] = item
    return tuple(best.values())


def _prefixed(
    chosen: list[LineSeen], lines: tuple[LineSeen, ...]
) -> Iterator[tuple[LineSeen, str | None]]:
    """What tells apart the conditions of several lines of one type: where the line begins."""
    kinds = Counts(line.seen.type for line in lines)
    for line in chosen:
        yield line, str(int(line.seen.start)) if kinds[line.seen.type] > 1 else None


@dataclass(frozen=True, slots=True)
class _Observed:
    """What a target says of a line, with keys that are unique in the device."""

    line: LineSeen
    observation: Observation
    parts: frozenset[str] | None


def _observed(line: LineSeen, prefix: str | None) -> _Observed:
    observation, parts = line.shown, line.parts
    if prefix is None:
        return _Observed(line, observation, parts)
    keyed = Observation(
        _keyed(observation.findings, prefix),
        _keyed(observation.gauges, prefix),
        _keyed(observation.progress, prefix),
        _keyed(observation.counters, prefix),
    )
    if parts is not None:
        # what has no key of its own has the prefix alone
        parts = frozenset([prefix, *(f"{prefix}:{part}" for part in parts)])
    return _Observed(line, keyed, parts)


_Item = TypeVar("_Item", Finding, Gauge, Progress, Counter)


def _keyed(items: tuple[_Item, ...], prefix: str) -> tuple[_Item, ...]:
    return tuple(
        replace(item, key=prefix if item.key is None else f"{prefix}:{item.key}") for item in items
    )


def _of_line(seen: _Observed, memory: Memory, now: float) -> Iterator[Found]:
    kind = seen.line.seen.type
    for item in _all(find(kind), seen.observation, memory, now):
        yield replace(item, scope=seen.line.scope, target=kind)


def _all(target: Target, observation: Observation, memory: Memory, now: float) -> Iterator[Found]:
    yield from (_finding(target, item) for item in observation.findings)
    for gauge in observation.gauges:
        row = row_of(target.conditions, gauge.type)
        if isinstance(row, GaugeType) and (usage := _usage(gauge, row, memory, target.type)):
            yield usage
    yield from _moving(target, observation, memory.gauges, now)


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


def _usage(gauge: Gauge, row: GaugeType, memory: Memory, target: str) -> Found | None:
    reached = memory.gauges.gauge(gauge, row, memory.ruling.rungs(gauge.type, target))
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
    # rounded down: 100 % is only what is full
    summary = f"{name} is {int(percent)} % used ({gauge.used} of {gauge.total} {gauge.unit})"
    advice = row.advice if rung.severity.at_least(Severity.ERROR) else None
    return Found(gauge.type, gauge.key, rung.severity, summary, data, (rung.at,), advice=advice)


def _moving(
    target: Target, observation: Observation, gauges: Gauges, now: float
) -> Iterator[Found]:
    for progress in observation.progress:
        row = row_of(target.conditions, progress.type)
        if isinstance(row, StallType) and gauges.stalled(progress, row, now):
            summary = progress.summary
            yield Found(progress.type, progress.key, row.severity, summary, after=None)
    for counter in observation.counters:
        flap = row_of(target.conditions, counter.type)
        if isinstance(flap, FlapType) and gauges.flapping(counter, flap, now):
            yield _flapping(counter, flap)


def _flapping(counter: Counter, flap: FlapType) -> Found:
    what = f"{flap.key} {counter.key}" if flap.key and counter.key else "it"
    summary = f"{what} has failed {flap.count} times or more within {flap.window / 60:g} minutes"
    data = {"failures": counter.value}
    return Found(counter.type, counter.key, flap.severity, summary, data=data, advice=flap.advice)
