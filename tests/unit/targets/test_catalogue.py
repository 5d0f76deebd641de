"""The rows of the targets are the catalogue's, no more and no fewer, and each is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass

import pytest

from dmwatch.severity import Severity
from dmwatch.targets import TYPES, find
from dmwatch.targets.catalogue import (
    DEFAULT_RUNGS,
    CatalogueRow,
    ConditionType,
    FlapType,
    GaugeType,
    MomentType,
    Rung,
    StallType,
)

# Written down from the catalogue of events, not from the code. A condition has its severities, the
# usual one first, then what its key names and after how many seconds it is told; `usage` stands on
# a gauge with the usual rungs, `gauge` on one without. A moment has its severity.
CONDITIONS = """
thin-pool.data-usage usage
thin-pool.metadata-usage usage
thin-pool.out-of-data-space critical
thin-pool.out-of-metadata-space critical
thin-pool.read-only critical,info
thin-pool.failed critical
thin-pool.needs-check error
thin-pool.low-water notice
thin-pool.unreadable error
thin.failed critical
thin.unreadable error
thin.usage gauge
snapshot.usage usage
snapshot.overflow error
snapshot.invalid critical
snapshot-merge.merge-failed critical
mirror.leg-failed error,warning key=leg
mirror.all-legs-failed critical
mirror.log-failed error
mirror.out-of-sync warning after=30
raid.leg-failed error,critical key=leg
raid.leg-missing error key=leg
raid.journal-failed error
raid.mismatches warning,error
raid.frozen warning after=30
raid.sync-stalled warning stalled=300
striped.leg-failed critical key=leg
multipath.path-failed warning key=path
multipath.no-paths critical,error
multipath.group-disabled notice key=group
multipath.path-flapping warning key=path flapping=5/600
cache.read-only error
cache.needs-check error
cache.failed critical
cache.unreadable error
cache.metadata-usage usage
cache.dirty gauge
clone.read-only error
clone.failed critical
clone.metadata-usage usage
verity.corrupted critical
integrity.mismatches error
writecache.failed critical
writecache.full warning
era.unreadable error
era.metadata-usage usage
vdo.read-only critical
vdo.recovering warning
vdo.index-failed error
vdo.index-offline warning after=30
vdo.usage usage
zoned.random-zones-usage usage
pcache.usage usage
pcache.not-initialised error
log-writes.logging-disabled error
dust.failing-reads notice
"""

# A moment for which the catalogue gives no severity has "any".
MOMENTS = """
thin-pool.no-space-timeout critical
thin-pool.resized any
thin-pool.transaction info
thin-pool.metadata-snapshot info
snapshot-merge.merge-finished notice
mirror.sync-finished info
raid.sync-started any
raid.sync-finished any
multipath.group-switched notice
cache.clean info
cache.mode-changed notice
clone.hydrated notice
verity.block-corrupted critical uevent
verity.corrected warning
integrity.recalculated notice
era.era-advanced debug
"""


def shown(row: CatalogueRow) -> str:
    match row:
        case GaugeType():
            return f"{row.type} {'usage' if row.rungs else 'gauge'}"
        case StallType():
            return f"{row.type} {row.severity} stalled={row.after:g}"
        case FlapType():
            return f"{row.type} {row.severity}{_key(row)} flapping={row.count}/{row.window:g}"
        case ConditionType():
            after = f" after={row.after:g}" if row.after else ""
            severities = sorted_severities(row.severities)
            return f"{row.type} {severities}{_key(row)}{after}"


def sorted_severities(severities: tuple[Severity, ...]) -> str:
    return ",".join([severities[0], *sorted(severities[1:])])


def _key(row: ConditionType | FlapType) -> str:
    return f" key={row.key}" if row.key else ""


def condition_rows() -> Iterator[CatalogueRow]:
    for target in TYPES:
        yield from find(target).conditions


def moment_rows() -> Iterator[MomentType]:
    for target in TYPES:
        yield from find(target).moment_types


def shown_moment(row: MomentType) -> str:
    severity = "any" if f"{row.type} any" in MOMENTS else row.severity
    return f"{row.type} {severity}{' uevent' if row.uevent else ''}"


def severities_of(row: CatalogueRow | MomentType) -> tuple[Severity, ...]:
    match row:
        case GaugeType():
            return tuple(rung.severity for rung in row.rungs)
        case ConditionType():
            return row.severities
        case _:
            return (row.severity,)


def test_conditions_are_the_catalogues() -> None:
    assert sorted(map(shown, condition_rows())) == sorted(CONDITIONS.split("\n")[1:-1])


def test_moments_are_the_catalogues() -> None:
    assert sorted(map(shown_moment, moment_rows())) == sorted(MOMENTS.split("\n")[1:-1])


def test_the_usual_rungs() -> None:
    assert (
        Rung(80, Severity.WARNING),
        Rung(90, Severity.WARNING),
        Rung(95, Severity.ERROR),
        Rung(100, Severity.CRITICAL),
    ) == DEFAULT_RUNGS
    gauges = [row for row in condition_rows() if isinstance(row, GaugeType)]
    assert {row.rungs for row in gauges} == {DEFAULT_RUNGS, ()}
    assert {row.hysteresis for row in gauges} == {2.0}


@pytest.mark.parametrize("target", TYPES)
def test_rows_bear_the_name_of_their_target(target: str) -> None:
    rows = [*find(target).conditions, *find(target).moment_types]
    assert [row.type for row in rows if row.type.partition(".")[0] != target] == []
    assert len({row.type for row in rows}) == len(rows)


@pytest.mark.parametrize("target", TYPES)
def test_what_is_bad_comes_with_an_advice(target: str) -> None:
    for row in (*find(target).conditions, *find(target).moment_types):
        bad = any(severity.at_least(Severity.ERROR) for severity in severities_of(row))
        assert not bad or row.advice, row.type
        if row.advice:
            assert row.advice[0].isupper(), row.type
            assert row.advice.endswith((".", "?")), row.type
            assert "  " not in row.advice, row.type
            assert "\n" not in row.advice, row.type


@pytest.mark.parametrize("target", TYPES)
def test_data_are_values(target: str) -> None:
    rows = [row.data for row in find(target).conditions if isinstance(row, ConditionType)]
    for data in (*rows, *(row.data for row in find(target).moment_types)):
        assert is_dataclass(data)
        assert vars(data)["__dataclass_params__"].frozen
