"""What stands on one device: raised, changed, cleared, reminded.

Targets say what one look shows. What needs memory lives here: rungs with hysteresis over gauges,
`after` (told once it has stood so long), stalled progress, flapping counters, reminders. Nothing
here reads a clock or does I/O: the time comes in with each look, so that a test can compress years.

A look covers scopes: the device's own flags, and each line of its table whose status was read. What
stands in a scope that a look does not cover stays as it is: what was not read is not healthy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dmwatch.events import Reason, State
from dmwatch.monitor.settings import Settings
from dmwatch.severity import Severity
from dmwatch.targets.base import Counter, Gauge, Progress
from dmwatch.targets.catalogue import (
    CatalogueRow,
    FlapType,
    GaugeType,
    Rung,
    StallType,
    rung_at,
)

Id = tuple[str, str | None]
"""What a condition is known by on its device: type and key."""
Scope = tuple[int, str] | None
"""Where a condition belongs: start and type of a line of the table, or None for the device."""
TABLE: Scope = (-1, "")
"""Where a condition of the table as a whole belongs: a look that read no status says nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """A condition that a look shows.

    Attributes:
        type: `target.name`.
        key: tells apart several of this type.
        severity: as seen now.
        summary: a clause without the device's name.
        data: plain data for the event.
        essence: what of it matters: a change in it is told.
        scope: see Scope.
        target: the target type, or None.
        advice: from the catalogue.
        after: seconds that it stands before it is told; None where its own time is over already.
        group: of conditions that exclude each other, or None.
    """

    type: str
    key: str | None
    severity: Severity
    summary: str
    data: Mapping[str, Any] = field(default_factory=dict)
    essence: tuple[Any, ...] = ()
    scope: Scope = None
    target: str | None = None
    advice: str | None = None
    after: float | None = 0.0
    group: str | None = None

    @property
    def id(self) -> Id:
        """Type and key."""
        return self.type, self.key


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a device shows.

    Attributes:
        found: the conditions.
        covered: the scopes that were looked at.
        lines: every line of the table, looked at or not; None where they are not known.
        ignored: what a rule keeps from being told.
        parts: the keys that exist in a scope, of those scopes that tell.
        blind: scopes whose status says no more than that it failed: what is not found there is
            not healthy but replaced by something worse, or unknown.
        unknown: the types of which a scope does not tell now: what stands of them stays as it is.
    """

    found: tuple[Found, ...]
    covered: frozenset[Scope]
    lines: frozenset[Scope] | None = None
    ignored: frozenset[Id] = frozenset()
    parts: Mapping[Scope, frozenset[str]] = field(default_factory=dict)
    blind: frozenset[Scope] = frozenset()
    unknown: Mapping[Scope, tuple[str, ...]] = field(default_factory=dict)

    def says(self, scope: Scope) -> bool:
        """Whether this look says anything about a scope: it was looked at, or is there no more."""
        return scope in self.covered or self.misses(scope)

    def misses(self, scope: Scope) -> bool:
        """Whether the scope is a line that the table does not have any more."""
        if scope is None or scope == TABLE or self.lines is None:
            return False
        return scope not in self.lines


@dataclass(frozen=True, slots=True)
class Waiting:
    """A condition that must stand a while before it is told.

    Attributes:
        found: as it was first seen.
        since: when that was, on the caller's clock.
        initial: it was so when watching began.
    """

    found: Found
    since: float
    initial: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A condition that was told and stands.

    Attributes:
        found: as it was told last.
        told: when that was, on the caller's clock.
        initial: it stood when watching began.
    """

    found: Found
    told: float
    initial: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Something to tell about a condition."""

    state: State
    found: Found
    reason: Reason | None = None
    initial: bool = False


class Conditions:
    """The conditions of one device.

    Args:
        settings: rungs, hysteresis, delays and reminders.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seeded: set[Id] = set()
        self._standing: dict[Id, Standing] = {}
        self._waiting: dict[Id, Waiting] = {}

    def adopt(self, settings: Settings) -> None:
        """Go by other settings from the next look on."""
        self._settings = settings

    def seed(self, item: Found) -> None:
        """Take what stood when an earlier watcher ended.

        It is not raised again where it still stands, and cleared where it does not.
        """
        self._seeded.add(item.id)
        self._standing[item.id] = Standing(item, 0.0, initial=True)

    def place(self, lines: frozenset[Scope]) -> None:
        """Give what was seeded the line that it belongs to, once the lines are known."""
        for key in self._seeded:
            held = self._standing[key]
            if held.found.scope is not None and (scope := _line_of(held.found, lines)):
                self._standing[key] = replace(held, found=replace(held.found, scope=scope))

    @property
    def standing(self) -> dict[Id, Standing]:
        """What stands, by type and key."""
        return self._standing

    def look(self, look: Look, now: float, *, initial: bool = False) -> list[Step]:
        """Compare a look with what stood before: what cleared, then what was raised or changed."""
        found = {item.id: item for item in look.found}
        cleared = self._clear(look, found, initial=initial)
        known = (item for item in look.found if not self._stays(item, look))
        raised = [s for item in known if (s := self._meet(item, now, initial=initial))]
        self._waiting = {
            key: waiting
            for key, waiting in self._waiting.items()
            if key in found or not look.says(waiting.found.scope)
        }
        return cleared + raised

    def interrupted(self, type_: str) -> None:
        """What has waited to be told was over meanwhile: it has not stood so long."""
        self._waiting = {key: held for key, held in self._waiting.items() if key[0] != type_}

    def clear_all(self, reason: Reason) -> list[Step]:
        """Clear everything: the device is gone, or not the same."""
        steps = [Step(State.CLEARED, held.found, reason) for held in self._standing.values()]
        self._standing.clear()
        self._seeded.clear()
        self._waiting.clear()
        return steps

    def remind(self, now: float) -> list[Step]:
        """Tell again what stands for so long that a reminder is due."""
        steps = []
        for key, held in self._standing.items():
            every = self._remind_every(key)
            if every is not None and now - held.told >= every:
                self._standing[key] = replace(held, told=now)
                steps.append(Step(State.REMINDER, held.found))
        return steps

    def due(self, after: float) -> float | None:
        """When, after that time, something becomes due: a delay or a reminder is over."""
        times = [
            held.told + every
            for key, held in self._standing.items()
            if (every := self._remind_every(key)) is not None
        ]
        times += [held.since + self._after(held.found) for held in self._waiting.values()]
        return min((time for time in times if time > after), default=None)

    def _remind_every(self, key: Id) -> float | None:
        """None too for what was seeded and not met yet: that was told at an unknown time."""
        if key in self._seeded:
            return None
        return self._settings.condition(key[0]).remind_every

    def _clear(self, look: Look, found: Mapping[Id, Found], *, initial: bool) -> list[Step]:
        steps = []
        for key, held in list(self._standing.items()):
            if key in found or not look.says(held.found.scope):
                continue
            reason = _reason(held.found, look)
            if reason is not None:
                del self._standing[key]
                self._seeded.discard(key)
                steps.append(Step(State.CLEARED, held.found, reason, initial=initial))
        return steps

    def _stays(self, item: Found, look: Look) -> bool:
        """Say whether what stands is known better than this look can tell."""
        return item.id in self._standing and item.type in look.unknown.get(item.scope, ())

    def _meet(self, item: Found, now: float, *, initial: bool) -> Step | None:
        held = self._standing.get(item.id)
        if held is None:
            return self._raise(item, now, initial=initial)
        same = held.found.severity == item.severity and held.found.essence == item.essence
        if item.id in self._seeded:
            self._seeded.discard(item.id)
            # of most things a seed carries no essence to compare with
            same = same or (held.found.severity == item.severity and not held.found.essence)
            held = replace(held, told=now)
        if same:
            self._standing[item.id] = replace(held, found=item)
            return None
        self._standing[item.id] = Standing(item, now)
        return Step(State.CHANGED, item, initial=initial)

    def _raise(self, item: Found, now: float, *, initial: bool) -> Step | None:
        after = self._after(item)
        if after > 0:
            waiting = self._waiting.setdefault(item.id, Waiting(item, now, initial))
            if now < waiting.since + after:
                return None
            initial = waiting.initial
        self._waiting.pop(item.id, None)
        self._standing[item.id] = Standing(item, now, initial=initial)
        return Step(State.RAISED, item, initial=initial)

    def _after(self, item: Found) -> float:
        if item.after is None:
            return 0.0
        chosen = self._settings.condition(item.type).after
        return item.after if chosen is None else chosen


def _reason(gone: Found, look: Look) -> Reason | None:
    """Why a condition is not found any more; None where it is not known, and so it stays."""
    if gone.id in look.ignored:
        return Reason.RULE
    if look.misses(gone.scope):
        return Reason.PART_GONE
    if gone.type in look.unknown.get(gone.scope, ()):
        return None
    same = [item for item in look.found if item.scope == gone.scope]
    if gone.group and any(item.group == gone.group for item in same):
        return Reason.SUPERSEDED
    if gone.scope in look.blind:
        worse = any(item.severity.at_least(Severity.ERROR) for item in same)
        return Reason.SUPERSEDED if worse else None
    return _well_or_without_part(gone, look)


def _well_or_without_part(gone: Found, look: Look) -> Reason:
    parts = look.parts.get(gone.scope)
    # the key of what is the device's own, an unreadable line, names no leg and no path
    if gone.type.startswith("device.") or gone.key is None or parts is None:
        return Reason.HEALTHY
    return Reason.HEALTHY if gone.key in parts else Reason.PART_GONE


def _line_of(item: Found, lines: frozenset[Scope]) -> Scope:
    """The line that a seed belongs to; where there are several of its target, its key says."""
    places = [scope for scope in lines if scope is not None and scope[1] == item.target]
    start = (item.key or "").partition(":")[0]
    named = [scope for scope in places if str(scope[0]) == start]
    return next(iter(named if len(places) > 1 and named else places), None)


class Gauges:
    """The memory that gauges, progress and counters of one line need."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rungs: dict[Id, float] = {}
        self._moved: dict[Id, tuple[tuple[int | str, ...], float]] = {}
        self._stalled: set[Id] = set()
        self._counts: dict[Id, deque[tuple[float, int]]] = {}

    def adopt(self, settings: Settings) -> None:
        """Go by other settings from the next look on."""
        self._settings = settings

    def seed(self, type_: str, key: str | None, at: float) -> None:
        """Remember the rung that stood when an earlier watcher ended."""
        self._rungs[(type_, key)] = at

    def gauge(
        self, gauge: Gauge, row: GaugeType, ruled: tuple[Rung, ...] | None = None
    ) -> tuple[Rung, float] | None:
        """The rung that a gauge stands on, and its share in percent; None below all rungs.

        `ruled`: the rungs that a rule has for this device.
        """
        settings = self._settings.condition(gauge.type)
        chosen = settings.rung_tuple() if ruled is None else ruled
        rungs = row.rungs if chosen is None else chosen
        margin = row.hysteresis if settings.hysteresis is None else settings.hysteresis
        key = (gauge.type, gauge.key)
        held = self._rungs.pop(key, None)
        # a rung that stands, and each below it, is left `margin` points lower than it is reached
        kept = [r for r in rungs if held is not None and r.at <= held]
        reached = [rung_at(gauge.percent, rungs), rung_at(gauge.percent + margin, tuple(kept))]
        rung = max((r for r in reached if r is not None), key=lambda r: r.at, default=None)
        if rung is None:
            return None
        self._rungs[key] = rung.at
        return rung, gauge.percent

    def stalled(self, progress: Progress, row: StallType, now: float) -> bool:
        """Say whether something has not moved for as long as its row allows."""
        key = (progress.type, progress.key)
        seen = self._moved.get(key)
        if seen is None or seen[0] != progress.value:
            self._moved[key] = (progress.value, now)
            self._stalled.discard(key)
            return False
        after = self._settings.condition(progress.type).after
        if now - seen[1] < (row.after if after is None else after):
            return False
        self._stalled.add(key)
        return True

    def stall_due(self, row: StallType, after: float) -> float | None:
        """When, after that time, something would have stood still for too long."""
        chosen = self._settings.condition(row.type).after
        limit = row.after if chosen is None else chosen
        times = [since + limit for (kind, _), (_, since) in self._moved.items() if kind == row.type]
        return min((time for time in times if time > after), default=None)

    def forget_progress(
        self, present: Iterable[Progress], unknown: frozenset[str] = frozenset()
    ) -> None:
        """Forget what is not in progress any more; of an unknown type only what had not stalled."""
        keep = {(item.type, item.key) for item in present}
        keep |= {key for key in self._stalled if key[0] in unknown}
        self._moved = {key: seen for key, seen in self._moved.items() if key in keep}
        self._stalled &= keep

    def flapping(self, counter: Counter, row: FlapType, now: float) -> bool:
        """Say whether a counter has grown by its row's count within its row's window."""
        samples = self._counts.setdefault((counter.type, counter.key), deque())
        if samples and counter.value < samples[-1][1]:
            samples.clear()
        if not samples or samples[-1][1] != counter.value:
            samples.append((now, counter.value))
        # the newest sample older than the window is the level that the window began with; one
        # that is short of the count already answers for all before it, so that few are kept
        while len(samples) > 1 and (
            samples[1][0] <= now - row.window or counter.value - samples[1][1] >= row.count
        ):
            samples.popleft()
        return counter.value - samples[0][1] >= row.count


def essence(data: Any) -> tuple[Any, ...]:
    """What of a finding's data matters: all but the fields marked volatile."""
    specs = getattr(data, "__dataclass_fields__", {})
    return tuple(
        getattr(data, name) for name, spec in specs.items() if not spec.metadata.get("volatile")
    )


def row_of(rows: Iterable[CatalogueRow], type_: str) -> CatalogueRow | None:
    """The catalogue row of a type."""
    return next((row for row in rows if row.type == type_), None)
