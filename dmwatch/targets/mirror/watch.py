"""What stands on a mirror, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dmwatch.severity import Severity
from dmwatch.targets.base import Finding, Moment, Observation, Seen
from dmwatch.targets.catalogue import VOLATILE, CatalogueRow, ConditionType, MomentType
from dmwatch.targets.mirror.text import (
    MirrorHealth,
    MirrorLegStatus,
    MirrorLogHealth,
    MirrorLogStatus,
    MirrorStatus,
)


@dataclass(frozen=True, slots=True)
class MirrorLegData:
    """For leg-failed: which leg, counted from 0, its device, and its worst error."""

    leg: int
    device: str
    health: MirrorHealth


@dataclass(frozen=True, slots=True)
class MirrorLegsData:
    """For all-legs-failed: how many legs there are."""

    legs: int


@dataclass(frozen=True, slots=True)
class MirrorLogData:
    """For log-failed: the log's type, its device where it has one, and how it stands."""

    type: str
    device: str | None
    health: MirrorLogHealth | None


@dataclass(frozen=True, slots=True)
class MirrorSyncData:
    """For out-of-sync and sync-finished: regions that are the same on all legs, and all."""

    in_sync: int = field(metadata=VOLATILE)
    regions: int


_LEGS = {
    MirrorHealth.FLUSH_FAILED: (Severity.ERROR, "did not take a flush"),
    MirrorHealth.WRITE_FAILED: (Severity.ERROR, "cannot be written"),
    MirrorHealth.SYNC_FAILED: (Severity.WARNING, "cannot be brought in sync"),
    MirrorHealth.READ_FAILED: (Severity.WARNING, "has failed a read"),
    MirrorHealth.UNKNOWN_ERROR: (Severity.WARNING, "has had an error"),
}

_LOGS = {
    MirrorLogHealth.FLUSH_FAILED: "did not take a flush",
    MirrorLogHealth.FAILED: "cannot be used",
    MirrorLogHealth.UNREACHABLE: "is out of reach: its daemon does not answer",
}


def observe(seen: Seen) -> Observation:
    """Say what stands on a mirror as seen now."""
    status = seen.status
    if not isinstance(status, MirrorStatus):
        return Observation()
    legs = [_leg(index, leg) for index, leg in enumerate(status.legs)]
    found = [*legs, _all_legs(status), _log(status.log), _out_of_sync(status)]
    return Observation(tuple(finding for finding in found if finding))


def parts(seen: Seen) -> frozenset[str] | None:
    """The keys of all legs."""
    if not isinstance(seen.status, MirrorStatus):
        return None
    return frozenset(map(str, range(len(seen.status.legs))))


def _leg(index: int, leg: MirrorLegStatus) -> Finding | None:
    if leg.health is MirrorHealth.ALIVE:
        return None
    severity, what = _LEGS[leg.health]
    data = MirrorLegData(index, str(leg.device), leg.health)
    summary = f"leg {index} ({leg.device}) {what}"
    return Finding("mirror.leg-failed", severity, summary, str(index), data)


def _all_legs(status: MirrorStatus) -> Finding | None:
    if not status.legs or any(leg.health is MirrorHealth.ALIVE for leg in status.legs):
        return None
    summary = f"all {len(status.legs)} legs have failed"
    data = MirrorLegsData(len(status.legs))
    return Finding("mirror.all-legs-failed", Severity.CRITICAL, summary, data=data)


def _log(log: MirrorLogStatus | None) -> Finding | None:
    if log is None or log.health not in _LOGS:
        return None
    device = None if log.device is None else str(log.device)
    summary = f"the {log.type} log{f' ({device})' if device else ''} {_LOGS[log.health]}"
    data = MirrorLogData(log.type, device, log.health)
    return Finding("mirror.log-failed", Severity.ERROR, summary, data=data)


def _out_of_sync(status: MirrorStatus) -> Finding | None:
    if status.in_sync >= status.regions:
        return None
    missing = status.regions - status.in_sync
    summary = f"{missing} of {status.regions} regions are not in sync on all legs"
    data = MirrorSyncData(status.in_sync, status.regions)
    return Finding("mirror.out-of-sync", Severity.WARNING, summary, data=data)


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to a mirror between two looks."""
    old, new = before.status, after.status
    if not isinstance(old, MirrorStatus) or not isinstance(new, MirrorStatus):
        return ()
    if old.in_sync >= old.regions or new.in_sync < new.regions:
        return ()
    data = MirrorSyncData(new.in_sync, new.regions)
    summary = f"all {new.regions} regions are in sync"
    return (Moment("mirror.sync-finished", Severity.INFO, summary, data),)


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "mirror.leg-failed",
        (Severity.ERROR, Severity.WARNING),
        MirrorLegData,
        key="leg",
        advice="Look in the kernel log for errors of that device and replace it "
        "(lvconvert --repair): where the table asks to handle errors, writes wait for that.",
    ),
    ConditionType(
        "mirror.all-legs-failed",
        (Severity.CRITICAL,),
        MirrorLegsData,
        advice="Bring back at least one leg, or restore the data from a backup: I/O fails.",
    ),
    ConditionType(
        "mirror.log-failed",
        (Severity.ERROR,),
        MirrorLogData,
        advice="Replace the log's device (lvconvert --repair), or start the log's daemon again: "
        "until then writes wait or fail.",
    ),
    ConditionType("mirror.out-of-sync", (Severity.WARNING,), MirrorSyncData, after=30.0),
)

MOMENTS = (MomentType("mirror.sync-finished", Severity.INFO, MirrorSyncData),)
