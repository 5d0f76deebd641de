"""What stands on a cache, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dmwatch.severity import Severity
from dmwatch.targets.base import Finding, Gauge, Moment, Observation, Seen
from dmwatch.targets.cache.text import (
    CacheError,
    CacheFail,
    CacheMetadataMode,
    CacheMode,
    CacheWorking,
)
from dmwatch.targets.catalogue import VOLATILE, CatalogueRow, ConditionType, GaugeType, MomentType
from dmwatch.units import DataBlocks


@dataclass(frozen=True, slots=True)
class DirtyData:
    """For read-only and needs-check: what the origin has not got, in cache blocks."""

    mode: CacheMode | None
    dirty: DataBlocks = field(metadata=VOLATILE)


@dataclass(frozen=True, slots=True)
class ModeData:
    """For mode-changed: what became of writes before, and what becomes of them now."""

    before: CacheMode
    after: CacheMode


def observe(seen: Seen) -> Observation:
    """Say what stands on a cache as seen now."""
    match seen.status:
        case CacheWorking() as status:
            return Observation(findings=_findings(status), gauges=_gauges(status))
        case CacheFail():
            return Observation((_FAILED,))
        case CacheError():
            return Observation((_UNREADABLE,))
    return Observation()


_FAILED = Finding("cache.failed", Severity.CRITICAL, "the cache has failed: all its I/O fails")
_UNREADABLE = Finding(
    "cache.unreadable", Severity.ERROR, "the kernel cannot read the cache's own figures"
)


def _gauges(status: CacheWorking) -> tuple[Gauge, ...]:
    used, total = int(status.metadata_used), int(status.metadata_total)
    return (
        Gauge("cache.metadata-usage", used, total, "metadata blocks"),
        Gauge("cache.dirty", int(status.dirty), int(status.cache_total), "cache blocks"),
    )


def _findings(status: CacheWorking) -> tuple[Finding, ...]:
    data = DirtyData(status.mode, status.dirty)
    found = []
    if status.metadata_mode is CacheMetadataMode.READ_ONLY:
        summary = f"the cache's metadata went read-only, {int(status.dirty)} blocks are dirty"
        found.append(Finding("cache.read-only", Severity.ERROR, summary, data=data))
    if status.needs_check:
        summary = "the cache's metadata must be checked before it is used again"
        found.append(Finding("cache.needs-check", Severity.ERROR, summary, data=data))
    return tuple(found)


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to a cache between two looks."""
    old, new = before.status, after.status
    if not isinstance(old, CacheWorking) or not isinstance(new, CacheWorking):
        return ()
    found = (_clean(old, new), _mode_changed(old, new))
    return tuple(moment for moment in found if moment)


def _clean(old: CacheWorking, new: CacheWorking) -> Moment | None:
    if new.dirty or not old.dirty:
        return None
    return Moment("cache.clean", Severity.INFO, "all blocks are written back: the cache is clean")


def _mode_changed(old: CacheWorking, new: CacheWorking) -> Moment | None:
    if old.mode is None or new.mode is None or old.mode is new.mode:
        return None
    summary = f"the cache went from {old.mode} to {new.mode}"
    return Moment("cache.mode-changed", Severity.NOTICE, summary, ModeData(old.mode, new.mode))


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "cache.read-only",
        (Severity.ERROR,),
        DirtyData,
        advice="Look in the kernel log for the failed metadata commit, take the cache down and "
        "repair its metadata (lvconvert --repair or cache_repair). Keep the cache device while "
        "blocks are dirty: the origin alone is out of date.",
    ),
    ConditionType(
        "cache.needs-check",
        (Severity.ERROR,),
        DirtyData,
        advice="Take the cache down and run cache_check (or cache_repair) on its metadata.",
    ),
    ConditionType(
        "cache.failed",
        (Severity.CRITICAL,),
        advice="Take the cache down and repair its metadata (cache_check, cache_repair); keep the "
        "cache device: the origin alone may be out of date.",
    ),
    ConditionType(
        "cache.unreadable",
        (Severity.ERROR,),
        advice="Look in the kernel log for errors of the metadata device.",
    ),
    GaugeType(
        "cache.metadata-usage",
        advice="Move the cache to a larger metadata device before it is full.",
    ),
    GaugeType(
        "cache.dirty",
        rungs=(),
        advice="Look whether the origin is too slow or failing: blocks are written back too late.",
    ),
)

MOMENTS = (
    MomentType("cache.clean", Severity.INFO),
    MomentType("cache.mode-changed", Severity.NOTICE, ModeData),
)
