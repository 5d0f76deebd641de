from __future__ import annotations

from typing import Any

import pytest

from dmwatch.monitor.conditions import Gauges
from dmwatch.monitor.settings import Settings
from dmwatch.severity import Severity
from dmwatch.targets.base import Counter, Gauge, Progress
from dmwatch.targets.catalogue import FlapType, GaugeType, StallType

USAGE = GaugeType("thin-pool.data-usage")
STALL = StallType("raid.sync-stalled", Severity.WARNING, after=300.0)
FLAP = FlapType("multipath.path-flapping", Severity.WARNING, count=5, window=600.0, key="path")


def gauges(type_: str = USAGE.type, **chosen: Any) -> Gauges:
    return Gauges(Settings.model_validate({"conditions": {type_: chosen}}))


def rung(memory: Gauges, percent: float, row: GaugeType = USAGE) -> float | None:
    gauge = Gauge(row.type, round(percent * 100), 10_000, "blocks")
    found = memory.gauge(gauge, row)
    return found[0].at if found else None


def rungs(*percents: float, **chosen: Any) -> list[float | None]:
    memory = gauges(**chosen)
    return [rung(memory, percent) for percent in percents]


@pytest.mark.parametrize(
    ("percent", "at", "severity"),
    [
        (80, 80, Severity.WARNING),
        (89.99, 80, Severity.WARNING),
        (90, 90, Severity.WARNING),
        (95, 95, Severity.ERROR),
        (99.99, 95, Severity.ERROR),
        (100, 100, Severity.CRITICAL),
    ],
)
def test_a_share_stands_on_the_highest_rung_that_it_reaches(
    percent: float, at: float, severity: Severity
) -> None:
    found = gauges().gauge(Gauge(USAGE.type, round(percent * 100), 10_000, "blocks"), USAGE)
    assert found is not None
    assert (found[0].at, found[0].severity, found[1]) == (at, severity, percent)


def test_below_the_lowest_rung_nothing_stands() -> None:
    assert rungs(0, 50, 79.99) == [None, None, None]


def test_inside_the_hysteresis_a_rung_stands() -> None:
    assert rungs(80, 79, 78, 77.99, 79) == [80, 80, 80, None, None]


def test_going_down_each_rung_is_left_below_its_hysteresis() -> None:
    assert rungs(100, 98, 97, 93, 92, 88, 87, 78, 77) == [100, 100, 95, 95, 90, 90, 80, 80, None]


def test_how_far_down_does_not_depend_on_the_looks_between() -> None:
    assert rungs(95, 79) == [95, 80]
    assert rungs(95, 89, 85, 79) == [95, 90, 80, 80]


def test_a_rung_that_was_not_reached_has_no_hysteresis() -> None:
    assert rungs(80, 89) == [80, 80]
    assert rungs(79, 80, 89, 90, 89) == [None, 80, 80, 90, 90]


def test_the_operators_hysteresis() -> None:
    assert rungs(80, 79.99, hysteresis=0) == [80, None]
    assert rungs(80, 71, 70, 69, hysteresis=10) == [80, 80, 80, None]


def test_the_operators_rungs_come_in_place_of_the_targets() -> None:
    own = [{"at": 70, "severity": "notice"}, {"at": 85, "severity": "error"}]
    assert rungs(69, 70, 84, 85, 100, 69, rungs=own) == [None, 70, 70, 85, 85, 70]


def test_an_empty_list_of_rungs_switches_it_off() -> None:
    assert rungs(80, 100, rungs=[]) == [None, None]


def test_a_usage_without_rungs_is_off_until_it_has_some() -> None:
    row = GaugeType("thin.usage", rungs=())
    assert rung(gauges(row.type), 100, row) is None
    chosen = gauges(row.type, rungs=[{"at": 95, "severity": "warning"}])
    assert rung(chosen, 96, row) == 95


def test_of_nothing_nothing_is_used() -> None:
    assert gauges().gauge(Gauge(USAGE.type, 0, 0, "blocks"), USAGE) is None


def test_keys_have_a_memory_each() -> None:
    memory = gauges()
    one, two = (Gauge(USAGE.type, 80, 100, "blocks", key) for key in ("0", "64"))
    assert memory.gauge(one, USAGE)
    below = Gauge(USAGE.type, 79, 100, "blocks", two.key)
    assert memory.gauge(below, USAGE) is None


def test_a_restart_keeps_the_hysteresis() -> None:
    memory = gauges()
    memory.seed(USAGE.type, None, 90.0)
    assert rung(memory, 89) == 90


def test_a_restart_takes_the_severity_of_today() -> None:
    memory = gauges(rungs=[{"at": 80, "severity": "critical"}])
    memory.seed(USAGE.type, None, 80.0)
    found = memory.gauge(Gauge(USAGE.type, 79, 100, "blocks"), USAGE)
    assert found is not None
    assert found[0].severity is Severity.CRITICAL


class TestStall:
    @staticmethod
    def at(done: int) -> Progress:
        return Progress(STALL.type, ("resync", done), "its resync does not get on")

    def test_what_moves_never_stalls(self) -> None:
        memory = gauges()
        looks = [memory.stalled(self.at(now), STALL, now) for now in range(0, 3000, 100)]
        assert not any(looks)

    def test_what_stands_still_for_long_enough_has_stalled(self) -> None:
        memory = gauges()
        assert not memory.stalled(self.at(5), STALL, 100.0)
        assert not memory.stalled(self.at(5), STALL, 399.0)
        assert memory.stall_due(STALL, 399.0) == 400.0
        assert memory.stalled(self.at(5), STALL, 400.0)
        assert not memory.stalled(self.at(6), STALL, 401.0)

    def test_what_has_stalled_is_not_due_again_at_once(self) -> None:
        memory = gauges()
        memory.stalled(self.at(5), STALL, 0.0)
        assert memory.stalled(self.at(5), STALL, 300.0)
        assert memory.stall_due(STALL, 300.0) is None

    def test_the_operators_time(self) -> None:
        memory = gauges(STALL.type, after="10s")
        memory.stalled(self.at(5), STALL, 0.0)
        assert memory.stall_due(STALL, 0.0) == 10.0
        assert memory.stalled(self.at(5), STALL, 10.0)

    def test_what_is_over_is_forgotten(self) -> None:
        memory = gauges()
        memory.stalled(self.at(5), STALL, 0.0)
        memory.forget_progress([])
        assert not memory.stalled(self.at(5), STALL, 1000.0)

    def test_what_goes_on_is_not_forgotten(self) -> None:
        memory = gauges()
        memory.stalled(self.at(5), STALL, 0.0)
        memory.forget_progress([self.at(5)])
        assert memory.stalled(self.at(5), STALL, 300.0)


class TestFlap:
    @staticmethod
    def flaps(memory: Gauges, *samples: tuple[float, int], key: str = "8:16") -> list[bool]:
        return [memory.flapping(Counter(FLAP.type, n, key), FLAP, now) for now, n in samples]

    def test_failures_from_before_do_not_count(self) -> None:
        assert self.flaps(gauges(), (0, 50), (10, 54)) == [False, False]

    def test_as_many_as_it_takes_within_the_window(self) -> None:
        assert self.flaps(gauges(), (0, 0), (100, 4), (200, 5)) == [False, False, True]

    def test_many_over_a_long_time_are_no_flapping(self) -> None:
        slow = [(now, now // 200) for now in range(0, 6000, 200)]
        assert not any(self.flaps(gauges(), *slow))

    def test_it_is_over_after_a_quiet_window(self) -> None:
        looks = [(0, 0), (1, 5), (600, 5), (602, 5)]
        assert self.flaps(gauges(), *looks) == [False, True, True, False]

    def test_a_count_that_began_anew_counts_from_there(self) -> None:
        assert self.flaps(gauges(), (0, 100), (1, 3), (2, 8)) == [False, False, True]

    def test_paths_are_counted_apart(self) -> None:
        memory = gauges()
        self.flaps(memory, (0, 0))
        assert self.flaps(memory, (0, 7), (1, 8), key="8:32") == [False, False]

    def test_what_is_kept_of_a_path_that_never_stops_flapping_is_bounded(self) -> None:
        memory = gauges()
        assert all(self.flaps(memory, *((n / 10, n) for n in range(5000)))[5:])
        # white-box: no more samples than failures that it takes
        assert [len(samples) for samples in memory._counts.values()] == [6]
        assert self.flaps(memory, (499.9 + 600, 4999)) == [False]
