from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dmwatch.events import Reason, Severity, State
from dmwatch.monitor.conditions import TABLE, Conditions, Found, Look, Scope, Step, essence
from dmwatch.monitor.settings import Settings
from dmwatch.targets.catalogue import VOLATILE

LINE: Scope = (0, "raid")
OTHER: Scope = (1024, "raid")
LEG = Found("raid.leg-failed", "1", Severity.ERROR, "leg 1 has failed", scope=LINE)


def made(**conditions: dict[str, Any]) -> Conditions:
    chosen = {name.replace("__", ".").replace("_", "-"): one for name, one in conditions.items()}
    return Conditions(Settings.model_validate({"conditions": chosen}))


def see(*found: Found, lines: frozenset[Scope] = frozenset({LINE}), **more: Any) -> Look:
    return Look(found, frozenset({None, TABLE, *lines}), lines, **more)


def raised(*found: Found) -> Conditions:
    conditions = made()
    conditions.look(see(*found), 0.0)
    return conditions


def reasons(steps: list[Step]) -> list[Reason | None]:
    assert all(step.state is State.CLEARED for step in steps)
    return [step.reason for step in steps]


def test_what_a_look_shows_is_raised_once() -> None:
    conditions = made()
    assert conditions.look(see(LEG), 1.0) == [Step(State.RAISED, LEG)]
    assert conditions.look(see(LEG), 2.0) == []
    assert list(conditions.standing) == [("raid.leg-failed", "1")]


def test_keys_stand_apart() -> None:
    other = replace(LEG, key="2")
    steps = made().look(see(LEG, other), 0.0)
    assert [step.found.key for step in steps] == ["1", "2"]


def test_another_severity_is_a_change() -> None:
    conditions = raised(LEG)
    worse = replace(LEG, severity=Severity.CRITICAL)
    assert conditions.look(see(worse), 1.0) == [Step(State.CHANGED, worse)]
    assert conditions.look(see(worse), 2.0) == []


def test_another_essence_is_a_change_and_another_wording_is_not() -> None:
    conditions = raised(LEG)
    assert conditions.look(see(replace(LEG, summary="leg 1 failed", data={"n": 1})), 1.0) == []
    assert conditions.standing[LEG.id].found.summary == "leg 1 failed"
    (step,) = conditions.look(see(replace(LEG, essence=("8:16",))), 2.0)
    assert step.state is State.CHANGED


def test_the_essence_of_data_is_what_is_not_volatile() -> None:
    @dataclass(frozen=True)
    class Data:
        total: int
        used: int = field(metadata=VOLATILE)

    assert essence(Data(8, 3)) == (8,)
    assert essence(None) == ()


def test_what_is_found_no_more_is_healthy_again() -> None:
    conditions = raised(LEG)
    assert conditions.look(see(), 1.0) == [Step(State.CLEARED, LEG, Reason.HEALTHY)]
    assert conditions.standing == {}


def test_what_cleared_comes_before_what_was_raised() -> None:
    conditions = raised(LEG)
    frozen = Found("raid.frozen", None, Severity.WARNING, "it is frozen", scope=LINE)
    steps = conditions.look(see(frozen), 1.0)
    assert [step.state for step in steps] == [State.CLEARED, State.RAISED]


def test_a_part_that_is_gone_did_not_heal() -> None:
    steps = raised(LEG).look(see(parts={LINE: frozenset({"0"})}), 1.0)
    assert reasons(steps) == [Reason.PART_GONE]
    steps = raised(LEG).look(see(parts={LINE: frozenset({"0", "1"})}), 1.0)
    assert reasons(steps) == [Reason.HEALTHY]


def test_a_condition_without_a_key_is_no_part() -> None:
    frozen = Found("raid.frozen", None, Severity.WARNING, "it is frozen", scope=LINE)
    steps = raised(frozen).look(see(parts={LINE: frozenset({"0"})}), 1.0)
    assert reasons(steps) == [Reason.HEALTHY]


def test_a_line_that_is_gone_did_not_heal() -> None:
    steps = raised(LEG).look(see(lines=frozenset({(0, "linear")})), 1.0)
    assert reasons(steps) == [Reason.PART_GONE]


def test_what_a_rule_keeps_from_being_told_did_not_heal() -> None:
    steps = raised(LEG).look(see(ignored=frozenset({LEG.id})), 1.0)
    assert reasons(steps) == [Reason.RULE]


def test_one_of_a_group_is_superseded_by_the_next() -> None:
    full = Found("p.full", None, Severity.CRITICAL, "full", scope=LINE, group="mode")
    failed = Found("p.failed", None, Severity.CRITICAL, "failed", scope=LINE, group="mode")
    steps = raised(full).look(see(failed), 1.0)
    assert [(step.state, step.reason) for step in steps] == [
        (State.CLEARED, Reason.SUPERSEDED),
        (State.RAISED, None),
    ]
    elsewhere = replace(failed, scope=OTHER)
    steps = raised(full).look(see(elsewhere, lines=frozenset({LINE, OTHER})), 1.0)
    assert steps[0].reason is Reason.HEALTHY


def test_of_a_status_that_only_says_that_it_failed_the_rest_is_superseded() -> None:
    failed = Found("raid.failed", None, Severity.CRITICAL, "failed", scope=LINE)
    steps = raised(LEG).look(see(failed, blind=frozenset({LINE})), 1.0)
    assert steps[0].reason is Reason.SUPERSEDED


def test_of_a_status_that_says_nothing_the_rest_stays() -> None:
    conditions = raised(LEG)
    assert conditions.look(see(blind=frozenset({LINE})), 1.0) == []
    assert LEG.id in conditions.standing


@pytest.mark.parametrize("scope", [LINE, TABLE])
def test_what_was_not_looked_at_is_not_healthy(scope: Scope) -> None:
    item = replace(LEG, scope=scope)
    conditions = raised(item)
    assert conditions.look(Look((), frozenset({None})), 1.0) == []
    assert conditions.look(Look((), frozenset()), 2.0) == []
    assert item.id in conditions.standing


def test_an_unread_line_beside_a_read_one_stays() -> None:
    conditions = raised(LEG)
    look = Look((), frozenset({None, OTHER}), frozenset({LINE, OTHER}))
    assert conditions.look(look, 1.0) == []


def test_what_belongs_to_the_table_heals_with_another_table() -> None:
    hole = Found("device.error-target", None, Severity.WARNING, "a hole", scope=TABLE)
    steps = raised(hole).look(see(lines=frozenset({(0, "linear")})), 1.0)
    assert reasons(steps) == [Reason.HEALTHY]


@pytest.mark.parametrize("reason", [Reason.DEVICE_REMOVED, Reason.RECREATED])
def test_everything_is_cleared_with_the_device(reason: Reason) -> None:
    conditions = raised(LEG, replace(LEG, key="2"))
    assert reasons(conditions.clear_all(reason)) == [reason, reason]
    assert conditions.standing == {}
    assert conditions.look(see(LEG), 1.0) == [Step(State.RAISED, LEG)]


class TestAfter:
    LATE = replace(LEG, after=30.0)

    def test_it_is_told_once_it_has_stood_so_long(self) -> None:
        conditions = made()
        assert conditions.look(see(self.LATE), 100.0) == []
        assert conditions.due(100.0) == 130.0
        assert conditions.look(see(self.LATE), 129.0) == []
        assert [s.state for s in conditions.look(see(self.LATE), 130.0)] == [State.RAISED]
        assert conditions.due(130.0) is None

    def test_what_went_away_in_time_is_never_told(self) -> None:
        conditions = made()
        conditions.look(see(self.LATE), 0.0)
        assert conditions.look(see(), 29.0) == []
        assert conditions.look(see(self.LATE), 31.0) == []
        assert conditions.due(31.0) == 61.0

    def test_what_was_not_looked_at_goes_on_waiting(self) -> None:
        conditions = made()
        conditions.look(see(self.LATE), 0.0)
        assert conditions.look(Look((), frozenset({None})), 20.0) == []
        assert len(conditions.look(see(self.LATE), 30.0)) == 1

    def test_what_time_could_not_bring_about_is_not_due_again_at_once(self) -> None:
        conditions = made()
        conditions.look(see(self.LATE), 0.0)
        conditions.look(Look((), frozenset({None})), 40.0)
        assert conditions.due(40.0) is None

    def test_it_is_initial_when_it_was_so_when_watching_began(self) -> None:
        conditions = made()
        conditions.look(see(self.LATE), 0.0, initial=True)
        (step,) = conditions.look(see(self.LATE), 30.0)
        assert step.initial
        assert conditions.standing[LEG.id].initial

    def test_the_operators_delay_comes_first(self) -> None:
        conditions = made(raid__leg_failed={"after": "5s"})
        conditions.look(see(self.LATE), 0.0)
        assert len(conditions.look(see(self.LATE), 5.0)) == 1
        conditions = made(raid__leg_failed={"after": "0s"})
        assert len(conditions.look(see(self.LATE), 0.0)) == 1
        conditions = made(raid__leg_failed={"after": "1m"})
        assert conditions.look(see(LEG), 0.0) == []

    def test_what_has_had_its_own_delay_has_no_second_one(self) -> None:
        conditions = made(raid__sync_stalled={"after": "10m"})
        stalled = Found("raid.sync-stalled", None, Severity.WARNING, "stalled", after=None)
        assert len(conditions.look(see(stalled), 0.0)) == 1


EVERY_HOUR: dict[str, Any] = {"raid__leg_failed": {"remind_every": "1h"}}


class TestReminders:
    def test_what_stands_is_told_again(self) -> None:
        conditions = made(**EVERY_HOUR)
        conditions.look(see(LEG), 100.0)
        assert conditions.due(100.0) == 3700.0
        assert conditions.remind(3699.0) == []
        assert conditions.remind(3700.0) == [Step(State.REMINDER, LEG)]
        assert conditions.remind(3701.0) == []
        assert conditions.due(3701.0) == 7300.0

    def test_a_change_counts_as_told(self) -> None:
        conditions = made(**EVERY_HOUR)
        conditions.look(see(LEG), 0.0)
        conditions.look(see(replace(LEG, severity=Severity.CRITICAL)), 3000.0)
        assert conditions.remind(3600.0) == []
        assert len(conditions.remind(6600.0)) == 1

    def test_nothing_is_told_again_unless_it_was_asked_for(self) -> None:
        conditions = raised(LEG)
        assert conditions.remind(1e9) == []
        assert conditions.due(0.0) is None

    def test_what_was_cleared_is_not_told_again(self) -> None:
        conditions = made(**EVERY_HOUR)
        conditions.look(see(LEG), 0.0)
        conditions.look(see(), 1.0)
        assert conditions.remind(1e6) == []

    def test_a_restart_does_not_remind(self) -> None:
        conditions = made(**EVERY_HOUR)
        conditions.seed(LEG)
        assert conditions.remind(1e6) == []
        conditions.look(see(LEG), 1e6)
        assert conditions.remind(1e6) == []
        assert len(conditions.remind(1e6 + 3600)) == 1


class TestSeeds:
    def test_what_still_stands_is_not_raised_again(self) -> None:
        conditions = made()
        conditions.seed(replace(LEG, scope=(-1, "raid"), target="raid"))
        conditions.place(frozenset({LINE}))
        now = replace(LEG, essence=("8:16",), target="raid")
        assert conditions.look(see(now), 5.0, initial=True) == []
        assert conditions.look(see(now), 6.0) == []
        assert conditions.standing[LEG.id].initial

    def test_what_stands_no_more_is_cleared_as_initial(self) -> None:
        conditions = made()
        conditions.seed(replace(LEG, scope=(-1, "raid"), target="raid"))
        conditions.place(frozenset({LINE}))
        (step,) = conditions.look(see(), 5.0, initial=True)
        assert (step.reason, step.initial) == (Reason.HEALTHY, True)

    def test_what_got_worse_is_a_change(self) -> None:
        conditions = made()
        conditions.seed(LEG)
        (step,) = conditions.look(see(replace(LEG, severity=Severity.CRITICAL)), 5.0, initial=True)
        assert (step.state, step.initial) == (State.CHANGED, True)

    def test_where_the_line_is_gone_so_is_the_part(self) -> None:
        conditions = made()
        conditions.seed(replace(LEG, scope=(-1, "raid"), target="raid"))
        conditions.place(frozenset({(0, "linear")}))
        steps = conditions.look(see(lines=frozenset({(0, "linear")})), 5.0, initial=True)
        assert reasons(steps) == [Reason.PART_GONE]

    def test_what_was_not_read_yet_stays(self) -> None:
        conditions = made()
        conditions.seed(replace(LEG, scope=(-1, "raid"), target="raid"))
        assert conditions.look(Look((), frozenset({None})), 5.0, initial=True) == []
        assert LEG.id in conditions.standing

    def test_a_rung_that_rose_meanwhile_is_a_change(self) -> None:
        usage = Found("t.usage", None, Severity.WARNING, "80 %", essence=(80.0,), scope=LINE)
        conditions = made()
        conditions.seed(usage)
        assert conditions.look(see(usage), 5.0, initial=True) == []
        conditions = made()
        conditions.seed(usage)
        (step,) = conditions.look(see(replace(usage, essence=(90.0,))), 5.0, initial=True)
        assert step.state is State.CHANGED
