from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dmwatch.monitor.conditions import Found, Look
from dmwatch.monitor.rules import Ruling
from dmwatch.monitor.settings import Rule, Settings
from dmwatch.severity import Severity
from dmwatch.targets.catalogue import Rung

NOW = datetime(2026, 12, 1, 6, 0, tzinfo=UTC)
NAMES = ("vg--x-pool", "vg-x/pool", "253:7")
UUID = "LVM-abc-tpool"


def ruling(*rules: dict[str, Any], uuid: str | None = UUID) -> Ruling:
    return Ruling.of([Rule.model_validate(rule) for rule in rules], NAMES, uuid, NOW)


def told(*rules: dict[str, Any], uuid: str | None = UUID) -> Severity | None:
    found = ruling(*rules, uuid=uuid)
    return found.severity("thin-pool.data-usage", "thin-pool", Severity.WARNING)


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"device": "vg--x-pool"},
        {"device": "vg-x/*"},
        {"device": "253:?"},
        {"uuid": "LVM-*"},
        {"target": "thin*"},
        {"type": "thin-pool.data-usage"},
        {"type": "*.data-usage", "device": "vg*", "uuid": "LVM-*", "target": "thin-pool"},
    ],
)
def test_a_rule_matches_by_globs_for_everything_that_it_names(about: dict[str, Any]) -> None:
    assert told(about | {"action": "ignore"}) is None
    assert told(about | {"severity": "debug"}) is Severity.DEBUG


@pytest.mark.parametrize(
    "about",
    [
        {"device": "vg-x"},
        {"device": "VG*"},
        {"uuid": "mpath-*"},
        {"target": "thin"},
        {"type": "thin-pool.metadata-usage"},
        {"type": "*.data-usage", "target": "raid"},
    ],
)
def test_a_rule_that_matches_not_in_all_does_nothing(about: dict[str, Any]) -> None:
    assert told(about | {"action": "ignore"}) is Severity.WARNING


def test_the_first_match_wins() -> None:
    keep, drop = {"device": "vg*", "severity": "error"}, {"action": "ignore"}
    assert told(keep, drop) is Severity.ERROR
    assert told(drop, keep) is None


def test_rungs_for_some_devices() -> None:
    lower = {"type": "*usage", "device": "vg*", "rungs": [{"at": 50, "severity": "error"}]}
    found = ruling(lower)
    assert found.rungs("thin-pool.data-usage", "thin-pool") == (Rung(50, Severity.ERROR),)
    assert found.rungs("cache.dirty", "cache") is None
    assert ruling(lower | {"device": "other"}).rungs("thin-pool.data-usage", "thin-pool") is None
    # what stands on them is told as they say
    assert told(lower, {"action": "ignore"}) is Severity.WARNING
    keep = {"type": "thin-pool.data-usage", "severity": "notice"}
    assert ruling(keep, lower).rungs("thin-pool.data-usage", "thin-pool") is None


def test_without_a_rule_everything_is_told_as_it_is() -> None:
    assert told() is Severity.WARNING
    look = Look((Found("a.b", None, Severity.INFO, "c"),), frozenset())
    assert ruling().look(look) is look


def test_a_device_without_a_uuid_has_an_empty_one() -> None:
    assert told({"uuid": "", "action": "ignore"}, uuid=None) is None
    assert told({"uuid": "?*", "action": "ignore"}, uuid=None) is Severity.WARNING


def test_the_target_of_what_belongs_to_the_device_is_empty() -> None:
    rules = ruling({"target": "?*", "action": "ignore"})
    assert rules.severity("device.suspended", None, Severity.WARNING) is Severity.WARNING


@pytest.mark.parametrize(
    ("until", "expected"), [(1, None), (0, Severity.WARNING), (-1, Severity.WARNING)]
)
def test_a_maintenance_window_is_open_until_its_time(until: int, expected: Severity | None) -> None:
    rule = {"action": "ignore", "until": NOW + timedelta(seconds=until)}
    assert told(rule) is expected


def test_a_window_in_another_zone_ends_at_the_same_time() -> None:
    assert told({"action": "ignore", "until": "2026-12-01T07:00:01+01:00"}) is None
    assert told({"action": "ignore", "until": "2026-12-01T07:00:00+01:00"}) is Severity.WARNING


def test_when_the_next_window_ends() -> None:
    rules = [{"action": "ignore", "until": NOW + timedelta(hours=n)} for n in (3, 2, -1)]
    chosen = Settings.model_validate({"rules": [*rules, {"action": "ignore"}]})
    assert chosen.window_ends(NOW) == 7200.0
    assert Settings().window_ends(NOW) is None


def test_of_a_look_the_rules_leave_what_is_to_be_told_and_note_the_rest() -> None:
    kept = Found("a.kept", None, Severity.ERROR, "x", target="thin-pool")
    dropped = Found("a.dropped", "1", Severity.ERROR, "y", target="thin-pool")
    rules = ruling(
        {"type": "a.dropped", "action": "ignore"}, {"type": "a.kept", "severity": "notice"}
    )
    look = rules.look(Look((kept, dropped), frozenset({None})))
    assert [(item.type, item.severity) for item in look.found] == [("a.kept", Severity.NOTICE)]
    assert look.ignored == {("a.dropped", "1")}
    assert look.covered == {None}
