"""What stands on a thin-pool, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dmwatch.severity import Severity
from dmwatch.targets.base import Finding, Gauge, Moment, Observation, Seen, TargetTable
from dmwatch.targets.catalogue import VOLATILE, CatalogueRow, ConditionType, GaugeType, MomentType
from dmwatch.targets.thin_pool.text import (
    NoSpace,
    PoolMode,
    ThinPoolError,
    ThinPoolFail,
    ThinPoolTable,
    ThinPoolWorking,
)
from dmwatch.units import DataBlocks, MetadataBlocks


@dataclass(frozen=True, slots=True)
class SpaceData:
    """For conditions about space: what a write meets now, and how full the pool is, in blocks."""

    no_space: NoSpace
    data_used: DataBlocks = field(metadata=VOLATILE)
    data_total: DataBlocks
    metadata_used: MetadataBlocks = field(metadata=VOLATILE)
    metadata_total: MetadataBlocks


@dataclass(frozen=True, slots=True)
class LowWaterData:
    """For low-water: what is free and the mark, in data blocks."""

    free: DataBlocks = field(metadata=VOLATILE)
    low_water: DataBlocks


@dataclass(frozen=True, slots=True)
class ResizedData:
    """For resized: the sizes before and after, in blocks."""

    data_before: DataBlocks
    data_after: DataBlocks
    metadata_before: MetadataBlocks
    metadata_after: MetadataBlocks


@dataclass(frozen=True, slots=True)
class ChangeData:
    """For transaction and metadata-snapshot: the number before and after."""

    before: int | None
    after: int | None


def observe(seen: Seen) -> Observation:
    """Say what stands on a pool as seen now."""
    match seen.status:
        case ThinPoolWorking() as status:
            return Observation(findings=_findings(status, seen.table), gauges=_gauges(status))
        case ThinPoolFail():
            return Observation((_FAILED,))
        case ThinPoolError():
            return Observation((_UNREADABLE,))
    return Observation()


_FAILED = Finding("thin-pool.failed", Severity.CRITICAL, "the pool has failed: all its I/O fails")
_UNREADABLE = Finding(
    "thin-pool.unreadable", Severity.ERROR, "the kernel cannot read the pool's own figures"
)


def _gauges(status: ThinPoolWorking) -> tuple[Gauge, ...]:
    data, metadata = status.data_used, status.metadata_used
    return (
        Gauge("thin-pool.data-usage", int(data), int(status.data_total), "data blocks"),
        Gauge(
            "thin-pool.metadata-usage", int(metadata), int(status.metadata_total), "metadata blocks"
        ),
    )


def _findings(status: ThinPoolWorking, table: TargetTable | None) -> tuple[Finding, ...]:
    asked = table if isinstance(table, ThinPoolTable) else None
    found = [_mode_finding(status, asked), _low_water(status, asked)]
    if status.needs_check:
        found.append(_NEEDS_CHECK)
    return tuple(finding for finding in found if finding)


_NEEDS_CHECK = Finding(
    "thin-pool.needs-check", Severity.ERROR, "the pool's metadata must be checked before it is used"
)


def _mode_finding(status: ThinPoolWorking, asked: ThinPoolTable | None) -> Finding | None:
    if status.mode is PoolMode.READ_WRITE:
        return None
    name, summary, severity = _mode_words(status, asked)
    space = SpaceData(
        no_space=status.no_space,
        data_used=status.data_used,
        data_total=status.data_total,
        metadata_used=status.metadata_used,
        metadata_total=status.metadata_total,
    )
    return Finding(f"thin-pool.{name}", severity, summary, data=space)


def _mode_words(status: ThinPoolWorking, asked: ThinPoolTable | None) -> tuple[str, str, Severity]:
    if status.mode is PoolMode.OUT_OF_DATA_SPACE:
        fate = "wait" if status.no_space is NoSpace.QUEUE else "fail"
        return "out-of-data-space", f"no data space is left: writes {fate}", Severity.CRITICAL
    if asked and "read_only" in asked.features:
        return "read-only", "the pool is read-only, as its table asks", Severity.INFO
    if status.out_of_metadata_space:
        summary = "no metadata space is left: the pool is read-only"
        return "out-of-metadata-space", summary, Severity.CRITICAL
    return "read-only", "the pool went read-only", Severity.CRITICAL


def _low_water(status: ThinPoolWorking, asked: ThinPoolTable | None) -> Finding | None:
    if asked is None or status.data_total < status.data_used:
        return None
    free = status.data_total - status.data_used
    if free > asked.low_water:
        return None
    summary = f"{int(free)} data blocks are free, the low water mark is {int(asked.low_water)}"
    data = LowWaterData(free, asked.low_water)
    return Finding("thin-pool.low-water", Severity.NOTICE, summary, data=data)


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to a pool between two looks."""
    old, new = before.status, after.status
    if not isinstance(old, ThinPoolWorking) or not isinstance(new, ThinPoolWorking):
        return ()
    found = (
        _timeout(old, new, after.table),
        _resized(old, new),
        _transaction(old, new),
        _root(old, new),
    )
    return tuple(moment for moment in found if moment)


def _timeout(
    old: ThinPoolWorking, new: ThinPoolWorking, asked: TargetTable | None
) -> Moment | None:
    # the policy changed: do_no_space_timeout did it, unless the table asks for it
    flipped = old.no_space is NoSpace.QUEUE and new.no_space is NoSpace.ERROR
    wanted = isinstance(asked, ThinPoolTable) and "error_if_no_space" in asked.features
    if not flipped or wanted or new.mode is not PoolMode.OUT_OF_DATA_SPACE:
        return None
    summary = "the time limit for space has passed: writes that waited have failed"
    return Moment("thin-pool.no-space-timeout", Severity.CRITICAL, summary)


def _resized(old: ThinPoolWorking, new: ThinPoolWorking) -> Moment | None:
    if (old.data_total, old.metadata_total) == (new.data_total, new.metadata_total):
        return None
    data = ResizedData(old.data_total, new.data_total, old.metadata_total, new.metadata_total)
    summary = (
        f"the pool was resized: data {int(old.data_total)} to {int(new.data_total)} blocks, "
        f"metadata {int(old.metadata_total)} to {int(new.metadata_total)} blocks"
    )
    return Moment("thin-pool.resized", Severity.INFO, summary, data)


def _transaction(old: ThinPoolWorking, new: ThinPoolWorking) -> Moment | None:
    if old.transaction_id == new.transaction_id:
        return None
    summary = f"the transaction id went from {old.transaction_id} to {new.transaction_id}"
    data = ChangeData(old.transaction_id, new.transaction_id)
    return Moment("thin-pool.transaction", Severity.INFO, summary, data)


def _root(old: ThinPoolWorking, new: ThinPoolWorking) -> Moment | None:
    if old.held_root == new.held_root:
        return None
    summary = "a metadata snapshot was " + ("dropped" if new.held_root is None else "taken")
    return Moment(
        "thin-pool.metadata-snapshot",
        Severity.INFO,
        summary,
        ChangeData(old.held_root, new.held_root),
    )


CONDITIONS: tuple[CatalogueRow, ...] = (
    GaugeType(
        "thin-pool.data-usage",
        advice="Extend the pool's data device, or delete or trim volumes, before it is full.",
    ),
    GaugeType(
        "thin-pool.metadata-usage",
        advice="Extend the pool's metadata device before it is full.",
    ),
    ConditionType(
        "thin-pool.out-of-data-space",
        (Severity.CRITICAL,),
        SpaceData,
        advice="Extend the pool's data device now: writes that wait are completed then.",
        group="mode",
    ),
    ConditionType(
        "thin-pool.out-of-metadata-space",
        (Severity.CRITICAL,),
        SpaceData,
        advice="Extend the pool's metadata device; the pool can be written again after that.",
        group="mode",
    ),
    ConditionType(
        "thin-pool.read-only",
        (Severity.CRITICAL, Severity.INFO),
        SpaceData,
        advice="Look in the kernel log for the failed metadata commit, repair the metadata "
        "(lvconvert --repair or thin_repair), then activate the pool again.",
        group="mode",
    ),
    ConditionType(
        "thin-pool.failed",
        (Severity.CRITICAL,),
        advice="Take the pool down, repair or restore its metadata (thin_check, thin_repair).",
        group="mode",
    ),
    ConditionType(
        "thin-pool.needs-check",
        (Severity.ERROR,),
        advice="Take the pool down and run thin_check (lvconvert --repair) on its metadata.",
    ),
    ConditionType("thin-pool.low-water", (Severity.NOTICE,), LowWaterData),
    ConditionType(
        "thin-pool.unreadable",
        (Severity.ERROR,),
        advice="Look in the kernel log for errors of the metadata device.",
    ),
)

MOMENTS = (
    MomentType(
        "thin-pool.no-space-timeout",
        Severity.CRITICAL,
        advice="Extend the pool's data device and check the file systems on its volumes.",
    ),
    MomentType("thin-pool.resized", Severity.INFO, ResizedData),
    MomentType("thin-pool.transaction", Severity.INFO, ChangeData),
    MomentType("thin-pool.metadata-snapshot", Severity.INFO, ChangeData),
)
