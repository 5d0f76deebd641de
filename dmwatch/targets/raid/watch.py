"""What stands on a raid, and what happens to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dmwatch.severity import Severity
from dmwatch.targets.base import Finding, Moment, Observation, Progress, Seen
from dmwatch.targets.catalogue import VOLATILE, CatalogueRow, ConditionType, MomentType, StallType
from dmwatch.targets.raid.redundancy import redundancy
from dmwatch.targets.raid.status import RaidJournal, RaidLeg, RaidWorking, SyncAction
from dmwatch.targets.raid.table import RaidTable
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class RaidLegData:
    """For leg-failed and leg-missing.

    Attributes:
        leg: which member, counted from 0.
        device: its data device; None where the table was not read or names none.
        health: how it stands.
        redundancy_left: how many more members may fail before data is lost.
    """

    leg: int
    device: str | None
    health: RaidLeg
    redundancy_left: int = field(metadata=VOLATILE)


@dataclass(frozen=True, slots=True)
class RaidJournalData:
    """For journal-failed: the journal's device; None where the table was not read."""

    device: str | None


@dataclass(frozen=True, slots=True)
class RaidMismatchData:
    """For mismatches: how many sectors differ, as the last check found."""

    mismatches: int = field(metadata=VOLATILE)


@dataclass(frozen=True, slots=True)
class RaidFrozenData:
    """For frozen: how far the sync had come on each member, and of how much."""

    done: Sectors = field(metadata=VOLATILE)
    total: Sectors


@dataclass(frozen=True, slots=True)
class RaidSyncData:
    """For sync-started and sync-finished: which action."""

    action: SyncAction


def observe(seen: Seen) -> Observation:
    """Say what stands on a raid as seen now."""
    status = seen.status
    if not isinstance(status, RaidWorking):
        return Observation()
    table = seen.table if isinstance(seen.table, RaidTable) else None
    found = [*_legs(status, table), _journal(status, table), _mismatches(status)]
    if seen.suspended:
        # the kernel keeps it frozen, and it stands still: that is told as suspended
        unknown = ("raid.frozen", "raid.sync-stalled")
        return Observation(tuple(finding for finding in found if finding), unknown=unknown)
    found.append(_frozen(status))
    progress = _progress(status)
    return Observation(tuple(finding for finding in found if finding), progress=progress)


def parts(seen: Seen) -> frozenset[str] | None:
    """The keys of all legs that have a device: a failed one that is taken out did not heal."""
    if not isinstance(seen.status, RaidWorking):
        return None
    legs = enumerate(seen.status.legs)
    return frozenset(str(index) for index, leg in legs if leg is not RaidLeg.MISSING)


def _legs(status: RaidWorking, table: RaidTable | None) -> Iterator[Finding]:
    if not {RaidLeg.FAILED, RaidLeg.MISSING} & set(status.legs):
        return
    left = redundancy(status, table)
    for index, health in enumerate(status.legs):
        data = RaidLegData(index, _device(table, index), health, max(left, 0))
        if health is RaidLeg.FAILED:
            yield _failed(data, left)
        elif health is RaidLeg.MISSING:
            summary = f"leg {index} is missing: {_left(left)}"
            yield Finding("raid.leg-missing", Severity.ERROR, summary, str(index), data)


def _failed(data: RaidLegData, left: int) -> Finding:
    severity = Severity.ERROR if left > 0 else Severity.CRITICAL
    place = f" ({data.device})" if data.device else ""
    summary = f"leg {data.leg}{place} has failed: {_left(left)}"
    return Finding("raid.leg-failed", severity, summary, str(data.leg), data)


def _left(left: int) -> str:
    if left > 0:
        return f"{left} more may fail"
    return "no redundancy is left" if left == 0 else "more have failed than the set can bear"


def _device(table: RaidTable | None, index: int) -> str | None:
    if table is None or index >= len(table.members):
        return None
    device = table.members[index].data
    return None if device is None else str(device)


def _journal(status: RaidWorking, table: RaidTable | None) -> Finding | None:
    if status.journal is not RaidJournal.FAILED:
        return None
    device = table.journal if table else None
    named = None if device is None else str(device)
    summary = f"the journal{f' ({named})' if named else ''} has failed"
    return Finding("raid.journal-failed", Severity.ERROR, summary, data=RaidJournalData(named))


def _mismatches(status: RaidWorking) -> Finding | None:
    if not status.mismatches:
        return None
    parity = status.raid_type.parity > 0
    what = "data and parity differ" if parity else "the copies differ"
    return Finding(
        "raid.mismatches",
        Severity.ERROR if parity else Severity.WARNING,
        f"{what} in {status.mismatches} sectors, as a check found",
        data=RaidMismatchData(status.mismatches),
    )


def _frozen(status: RaidWorking) -> Finding | None:
    if status.action is not SyncAction.FROZEN:
        return None
    data = RaidFrozenData(status.done, status.total)
    summary = "it is frozen: no member is synced or rebuilt"
    return Finding("raid.frozen", Severity.WARNING, summary, data=data)


def _progress(status: RaidWorking) -> tuple[Progress, ...]:
    action, done, total = status.action, int(status.done), int(status.total)
    if action is None or not action.runs:
        return ()
    summary = f"its {action} does not get on: {done} of {total} sectors are done"
    return (Progress("raid.sync-stalled", (action.value, done), summary),)


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to a raid between two looks."""
    old, new = before.status, after.status
    if not isinstance(old, RaidWorking) or not isinstance(new, RaidWorking):
        return ()
    was, now = _running(old), _running(new)
    if was is now:
        # a resync that was due came and went between the two looks
        missed = now is None and new.synced and not old.synced
        return (_finished(SyncAction.RESYNC),) if missed else ()
    found = []
    if was and (now or (new.synced and new.action is not SyncAction.FROZEN)):
        found.append(_finished(was))
    if now:
        found.append(_started(now))
    return tuple(found)


def _running(status: RaidWorking) -> SyncAction | None:
    return status.action if status.action and status.action.runs else None


def _started(action: SyncAction) -> Moment:
    summary = f"a {action} has started"
    return Moment("raid.sync-started", Severity.INFO, summary, RaidSyncData(action))


def _finished(action: SyncAction) -> Moment:
    summary = f"the {action} has finished"
    return Moment("raid.sync-finished", Severity.INFO, summary, RaidSyncData(action))


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "raid.leg-failed",
        (Severity.ERROR, Severity.CRITICAL),
        RaidLegData,
        key="leg",
        advice="Look in the kernel log for errors of that device and replace it "
        "(lvconvert --repair) before another one fails.",
    ),
    ConditionType(
        "raid.leg-missing",
        (Severity.ERROR,),
        RaidLegData,
        key="leg",
        advice="Bring the device back and refresh the volume (lvchange --refresh), or replace it "
        "(lvconvert --repair).",
    ),
    ConditionType(
        "raid.journal-failed",
        (Severity.ERROR,),
        RaidJournalData,
        advice="Replace the journal's device and load the table anew: until then the set takes no "
        "writes.",
    ),
    ConditionType(
        "raid.mismatches",
        (Severity.WARNING, Severity.ERROR),
        RaidMismatchData,
        advice="Check the members and the memory for faults, compare the data with a backup, then "
        "repair the set (lvchange --syncaction repair).",
    ),
    ConditionType("raid.frozen", (Severity.WARNING,), RaidFrozenData, after=30.0),
    StallType("raid.sync-stalled", Severity.WARNING, after=300.0),
)

MOMENTS = (
    MomentType("raid.sync-started", Severity.INFO, RaidSyncData),
    MomentType("raid.sync-finished", Severity.INFO, RaidSyncData),
)
