"""One device as the watcher knows it: what was seen last, what stands, and what a new look tells.

`digest` takes a reading and gives what is to be told, in order: what cleared, what was raised or
changed, then moments. It does no I/O and reads no clock.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from dmwatch.events import Condition, DeviceRef
from dmwatch.monitor import faults
from dmwatch.monitor.conditions import Conditions, Found, Gauges, Id, Look, Step
from dmwatch.monitor.device_rows import (
    STATUS_STUCK,
    STATUS_UNREADABLE,
    SUSPENDED,
    found,
    scope_of,
)
from dmwatch.monitor.interpreting import LineSeen, Memory, look, not_understood, see
from dmwatch.monitor.reading import Raw, Wish
from dmwatch.monitor.rules import Ruling
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.tables import changes
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid, label, printable
from dmwatch.severity import Severity
from dmwatch.targets import Moment, Seen, find
from dmwatch.targets.catalogue import StallType

POLL_USUAL = 10.0
"""The poll of most targets; one with a longer one is read that much more seldom than they."""
MARKS = 1000
"""How many uevents with something of their own to say are kept for a device that is not read."""
RESUMED_AFTER = 1.0
"""A device seen suspended for less is in the middle of a table swap."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A moment to tell.

    Attributes:
        moment: what.
        target: the target type, or None for the device itself.
        data: plain data, or None for the moment's own.
    """

    moment: Moment
    target: str | None = None
    data: Mapping[str, Any] | None = None

    @property
    def advice(self) -> str | None:
        """From the catalogue."""
        rows = find(self.target).moment_types if self.target else ()
        return next((row.advice for row in rows if row.type == self.moment.type), None)


Told = Step | Happened
Obscure = dict[Id, Found]
"""Lines whose moments cannot be told: each stands as unreadable at that look."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no reading.

    Attributes:
        found: the condition that says so.
    """

    found: Found

    @classmethod
    def stuck(cls, deadline: float) -> Failure:
        """It did not come back in time."""
        return cls(found(STATUS_STUCK, f"its status has not come back within {deadline:g} s"))

    @classmethod
    def not_asked(cls) -> Failure:
        """So many others hang that nobody is left to ask."""
        return cls(found(STATUS_STUCK, "its status cannot be asked for: too many others hang"))

    @classmethod
    def unreadable(cls, error: Exception) -> Failure:
        """The kernel's answer was an error, or made no sense."""
        nowhere: dict[str, Any] = {"target": None, "field": None, "position": None}
        summary = f"its status cannot be read: {printable(faults.sentence(error))}"
        return cls(found(STATUS_UNREADABLE, summary, **nowhere))


@dataclass(slots=True)
class Inbox:
    """What became known of a device since it was last attended to.

    Attributes:
        event_nr: the list's, where it moved.
        explained: another event has told why it moved.
        read: its status is to be read.
        record: its record is to be read.
        table: its table may have been swapped.
        anew: another incarnation has its number.
        uevents: properties of uevents that may tell a moment.
        resumes: how often a uevent said that it was resumed.
    """

    event_nr: int | None = None
    explained: bool = False
    read: bool = False
    record: bool = False
    table: bool = False
    anew: bool = False
    uevents: deque[Mapping[str, str]] = field(default_factory=lambda: deque(maxlen=MARKS))
    resumes: int = 0

    def __bool__(self) -> bool:
        return self.record or self.wants_status

    @property
    def wants_status(self) -> bool:
        """More than the device's record is to be read."""
        flags = self.read or self.table or self.anew
        return flags or self.event_nr is not None or bool(self.uevents)


class Tracked:
    """A device.

    Attributes:
        number: its device number.
        name: its name.
        uuid: its uuid, or None where it has none or was not asked yet.
        diskseq: the incarnation of its number, or None where it cannot be told.
        event_nr: the one that its last status came with, or the list's.
        lines: the lines as last seen; None where they never were.
        pools: the devices below it, where it lives in a pool.
        fresh_until: until when its first table is waited for; None once it was told.
        gone: it was removed.
        told_gone: that was told, or is being told.
        removing: a uevent said that its number was freed.
        usurped: a device of another name was seen to have its number.
        renewed: another incarnation took its number, and its uuid was not read yet.
        conditions: what stands on it.
        since: when what stands was raised.
        failed: its last reading failed.
        looked_at: when it was last read, or that was tried.
        read_at: when its status was last read, or that was tried.
        next_read: when its status is polled.
        next_record: when its record is read anyway.
        next_due: when a delay or a reminder is over, or something has stalled.
        scheduled: for when it is in the watcher's heap.
        inbox: what is to be attended to.
    """

    def __init__(
        self, number: DeviceNumber, name: DeviceName, event_nr: int, settings: Settings
    ) -> None:
        self.number = number
        self.name = name
        self.uuid: DeviceUuid | None = None
        self.diskseq: int | None = None
        self.event_nr = event_nr
        self.lines: tuple[LineSeen, ...] | None = None
        self.pools: frozenset[DeviceNumber] = frozenset()
        self.fresh_until: float | None = None
        self.gone = False
        self.told_gone = False
        self.failed = False
        self.looked_at = self.read_at = 0.0
        self.next_read = self.next_record = self.next_due = self.scheduled = float("inf")
        self.removing = self.renewed = self.usurped = False
        self.inbox = Inbox()
        self._owed: Inbox | None = None
        self.conditions = Conditions(settings)
        self.gauges = Gauges(settings)
        self.since: dict[Id, datetime] = {}
        self._settings = settings
        self._suspended_since: float | None = None

    @property
    def ref(self) -> DeviceRef:
        """How events name it."""
        return DeviceRef.of(self.name, self.uuid, self.number, self.diskseq)

    @property
    def names(self) -> tuple[str, ...]:
        """What an operator may call it: name, label, number."""
        return self.name, label(self.name, self.uuid), str(self.number)

    @property
    def types(self) -> frozenset[str]:
        """The target types of its table as last seen."""
        return frozenset(line.seen.type for line in self.lines or ())

    @property
    def next_time(self) -> float:
        """When it is to be looked at though nothing happened."""
        return min(self.next_read, self.next_record, self.next_due)

    @property
    def settles(self) -> bool:
        """Its targets finish a change after they announced it."""
        return any(find(kind).settles for kind in self.types)

    def adopt(self, settings: Settings) -> None:
        """Go by other settings, and be read again: what stands may be another set by them."""
        self._settings = settings
        self.conditions.adopt(settings)
        self.gauges.adopt(settings)
        self.inbox.read = True

    def seed(self, standing: Iterable[Condition]) -> None:
        """Take what stood when an earlier watcher ended; the next look shows whether it does."""
        for condition in standing:
            item = _seeded(condition)
            self.conditions.seed(item)
            self.since[item.id] = condition.since
            if "rung" in condition.data:
                rung = float(condition.data["rung"])
                self.gauges.seed(condition.type, condition.key, rung)

    def wish(self, taken: Inbox) -> Wish:
        """What to read of it."""
        table = taken.table or self.lines is None
        types = frozenset[str]() if taken.anew else self.types
        return Wish(status=taken.wants_status, table=table, types=types)

    def take(self) -> Inbox:
        """What is to be attended to; the inbox is empty after that."""
        taken, self.inbox = self.inbox, Inbox()
        owed, self._owed = self._owed, None
        if owed is None:
            return taken
        taken.table |= owed.table
        taken.anew |= owed.anew
        taken.uevents.extendleft(reversed(owed.uevents))
        taken.resumes += owed.resumes
        taken.explained |= owed.explained
        return taken

    def owe(self, taken: Inbox, *, anew: bool = False) -> None:
        """Keep for the next look what this one did not come to: it read no status."""
        self._owed = Inbox(
            table=taken.table,
            anew=anew,
            explained=taken.explained,
            uevents=taken.uevents,
            resumes=taken.resumes,
        )

    def poll_after(self) -> float | None:
        """After how many seconds its status wants to be read again; None where it need not be."""
        interval = self._settings.monitor.poll_interval
        if self.lines is None or self.failed:
            return interval
        wishes = [find(kind).poll for kind in self.types]
        return min((interval * w / POLL_USUAL for w in wishes if w is not None), default=None)

    def due(self) -> float | None:
        """When, after the last look, time alone makes something of it due."""
        after = self.looked_at
        rows = [row for kind in self.types for row in find(kind).conditions]
        stalls = [self.gauges.stall_due(row, after) for row in rows if isinstance(row, StallType)]
        times = [self.conditions.due(after), *stalls]
        return min((time for time in times if time is not None), default=None)

    def anew(self) -> list[Told]:
        """Another incarnation took its number and name: nothing of the old one holds."""
        self.lines, self._suspended_since, self.diskseq = None, None, None
        self.renewed = True
        self.gauges = Gauges(self._settings)
        summary = "the device was removed and made anew"
        return [Happened(Moment("device.recreated", Severity.NOTICE, summary))]

    @property
    def may_get_uuid(self) -> bool:
        """It has none, and is still the one that has none."""
        changes = self.renewed or self.inbox.anew or self.fresh_until is not None
        return self.uuid is None and not changes

    def digest_failure(
        self, failure: Failure, ruling: Ruling, now: float, *, initial: bool = False
    ) -> list[Told]:
        """There is no reading, for this reason. What else stands is neither raised nor cleared."""
        self.failed = True
        failed = Look(found=(failure.found,), covered=frozenset())
        return self._steps(failed, ruling, now, initial=initial)

    def digest(
        self, raw: Raw, taken: Inbox, ruling: Ruling, now: float, *, initial: bool = False
    ) -> list[Told]:
        """Take a reading: give what it tells that was not told before."""
        seen = see(raw)
        shown = look(raw.info, seen, Memory(self.gauges, ruling), now)
        moments: list[Happened] = []
        if seen is not None:
            self.failed = False
            self.conditions.place(shown.lines or frozenset())
            moments, obscure = self._between(seen, taken)
            shown = replace(shown, found=(*shown.found, *obscure))
            self.lines = seen
            # of the record alone it would hide that the status has moved on
            self.event_nr = raw.info.event_nr
        resumed = self._resumed(raw, taken.resumes, now)
        # a swapped table says that it was resumed
        if not any(item.moment.type == "device.table-changed" for item in moments):
            moments = [*resumed, *moments]
        self.pools = self.pools if raw.deps is None else raw.deps
        return [*self._steps(shown, ruling, now, initial=initial), *moments]

    def _steps(self, shown: Look, ruling: Ruling, now: float, *, initial: bool) -> list[Told]:
        self.looked_at = now
        steps = self.conditions.look(ruling.look(shown), now, initial=initial)
        return [*steps, *self.conditions.remind(now)]

    def _resumed(self, raw: Raw, resumes: int, now: float) -> list[Happened]:
        since, self._suspended_since = self._suspended_since, None
        if raw.info.suspended:
            # what was resumed since the last look is suspended anew
            self._suspended_since = now if since is None or resumes else since
            if resumes:
                self.conditions.interrupted(SUSPENDED.type)
            return []
        # after the first of several resumes it was suspended for another time
        until = now if resumes <= 1 else self.looked_at
        if since is None or until - since < RESUMED_AFTER:
            return []
        return [Happened(Moment("device.resumed", Severity.INFO, "the device was resumed"))]

    def _between(
        self, after: tuple[LineSeen, ...], taken: Inbox
    ) -> tuple[list[Happened], list[Found]]:
        """What happened since the last look; and the lines of which that cannot be told."""
        obscure: Obscure = {}
        told = list(_of_uevents(after, taken, obscure))
        if self.lines is not None and self.fresh_until is None:
            swaps = [Happened(moment, data=data) for moment, data in changes(self.lines, after)]
            told = [*swaps, *_of_lines(self.lines, after, obscure), *told]
        return told, list(obscure.values())


def _of_uevents(lines: tuple[LineSeen, ...], taken: Inbox, obscure: Obscure) -> Iterator[Happened]:
    first = {line.seen.type: line.seen for line in reversed(lines)}
    for properties in taken.uevents:
        for _, seen in sorted(first.items()):
            yield from _told_by(seen, partial(find(seen.type).uevent, properties), obscure)


def _of_lines(
    before: tuple[LineSeen, ...], after: tuple[LineSeen, ...], obscure: Obscure
) -> Iterator[Happened]:
    now = {line.seen.start: line.seen for line in after}
    for line in before:
        if seen := now.get(line.seen.start):
            old = line.seen
            # what took its place may tell too: a merge can be over before it was seen at work
            for each in (old,) if old.type == seen.type else (old, seen):
                yield from _told_by(each, partial(find(each.type).moments, old, seen), obscure)


def _told_by(
    seen: Seen, moments: Callable[[], tuple[Moment, ...]], obscure: Obscure
) -> list[Happened]:
    try:
        return [Happened(moment, target=seen.type) for moment in moments()]
    except Exception as error:  # noqa: BLE001 - whatever a kernel says, watching goes on
        item = not_understood(seen, error)
        obscure[item.id] = item
        return []


def ruled(told: Iterable[Told], ruling: Ruling) -> list[Told]:
    """What the rules leave of moments; conditions passed them before they were compared."""
    kept: list[Told] = []
    for item in told:
        if isinstance(item, Step):
            kept.append(item)
            continue
        severity = ruling.severity(item.moment.type, item.target, item.moment.severity)
        if severity is not None:
            kept.append(replace(item, moment=replace(item.moment, severity=severity)))
    return kept


def _seeded(condition: Condition) -> Found:
    own = condition.target is None
    scope = scope_of(condition.type) if own else (-1, str(condition.target))
    # the clause without the label: the label is put in front again when it is told
    summary = condition.summary.removeprefix(f"{condition.label}: ")
    return Found(
        condition.type,
        condition.key,
        condition.severity,
        summary,
        data=condition.data,
        essence=(float(condition.data["rung"]),) if "rung" in condition.data else (),
        scope=scope,
        target=condition.target,
        advice=condition.advice,
    )


_DIGITS = re.compile(r"[0-9]+")


def steady(raw: Raw) -> object:
    """What of a reading must be the same twice before a target has settled: all but numbers."""
    return [_DIGITS.sub("", line.text) for line in raw.lines or ()], raw.info.event_nr
