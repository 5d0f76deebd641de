from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from dmwatch.monitor.settings import Settings
from dmwatch.severity import Severity
from dmwatch.targets.catalogue import Rung

RULE: dict[str, Any] = {"device": "scratch-*", "action": "ignore"}


def fault(**fields: Any) -> str:
    """Why these settings are refused."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(fields)
    (only,) = caught.value.errors()
    return f"{'.'.join(map(str, only['loc']))}: {only['msg']}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10.0),
        ("5m", 300.0),
        ("6h", 21600.0),
        ("90d", 7776000.0),
        ("1.5 h", 5400.0),
        (" 2s ", 2.0),
        (7, 7.0),
        (0.25, 0.25),
    ],
)
def test_a_span_is_a_number_with_its_unit(text: Any, seconds: float) -> None:
    chosen = Settings.model_validate({"monitor": {"poll_interval": text}})
    assert chosen.monitor.poll_interval == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "1w", "10 sec", "-1s", "1e3s", "1s2m", "٣s", "∞"])
def test_a_text_that_is_no_span_is_told_what_one_looks_like(text: str) -> None:
    assert "a span of time is a number and ms, s, m, h or d" in fault(
        monitor={"poll_interval": text}
    )


@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ({"poll_interval": "50ms"}, "monitor.poll_interval: .* greater than or equal to 0.1"),
        ({"heartbeat": "0s"}, "monitor.heartbeat: .* greater than or equal to 0.1"),
        ({"status_timeout": -1}, "monitor.status_timeout: .* greater than or equal to 0.1"),
        ({"heartbeat": float("inf")}, "monitor.heartbeat: .*finite"),
        ({"heartbeat": float("nan")}, "monitor.heartbeat: .* greater than or equal to 0.1"),
        ({"heartbeat": []}, "monitor.heartbeat: .*number"),
        ({"cpu_share": 0}, "monitor.cpu_share: .* greater than 0"),
        ({"cpu_share": 1.1}, "monitor.cpu_share: .* less than or equal to 1"),
        ({"lock_memory": "maybe"}, "monitor.lock_memory: .*boolean"),
        ({"pol_interval": "10s"}, "monitor.pol_interval: Extra inputs are not permitted"),
    ],
)
def test_a_fault_in_monitor_names_its_key(monitor: dict[str, Any], said: str) -> None:
    assert re.match(said, fault(monitor=monitor))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"rungs": [{"at": 101, "severity": "error"}]}, "rungs.0.at: .*less than or equal to 100"),
        ({"rungs": [{"at": -1, "severity": "error"}]}, "rungs.0.at: .*greater than or equal to 0"),
        ({"rungs": [{"at": 80, "severity": "bad"}]}, "rungs.0.severity: .*'debug', 'info'"),
        ({"rungs": [{"at": 80}]}, "rungs.0.severity: Field required"),
        ({"rungs": [{"at": 80, "severity": "error", "x": 1}]}, "rungs.0.x: Extra inputs"),
        ({"hysteresis": 51}, "hysteresis: .*less than or equal to 50"),
        ({"hysteresis": -1}, "hysteresis: .*greater than or equal to 0"),
        ({"after": "soon"}, "after: .*a span of time"),
        ({"remind_every": "0s"}, "remind_every: .*greater than or equal to 0.1"),
        ({"remind": "6h"}, "remind: Extra inputs"),
    ],
)
def test_a_fault_in_a_condition_names_its_type_and_key(
    condition: dict[str, Any], said: str
) -> None:
    text = fault(conditions={"thin-pool.data-usage": condition})
    assert re.match(f"conditions.thin-pool.data-usage.{said}", text), text


@pytest.mark.parametrize("steps", [(90, 80), (80, 80)])
def test_rungs_must_rise(steps: tuple[int, int]) -> None:
    rungs = [{"at": at, "severity": "error"} for at in steps]
    assert "rungs must rise" in fault(conditions={"vdo.usage": {"rungs": rungs}})


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"action": "ignore", "severity": "notice"},
        {"severity": "notice", "rungs": []},
        {"action": "ignore", "rungs": []},
    ],
)
def test_a_rule_does_exactly_one_thing(rule: dict[str, Any]) -> None:
    text = fault(rules=[{"type": "thin-pool.data-usage"} | rule])
    assert 'either action = "ignore" or a severity or rungs' in text


def test_what_dmwatch_says_of_itself_is_no_matter_of_rules() -> None:
    text = fault(rules=[{"type": "dmwatch.heartbeat", "action": "ignore"}])
    assert "rules are about devices" in text


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        ("*", "rungs are for usage conditions: '*' names device.suspended too"),
        ("thin-pool.*", "rungs are for usage conditions: 'thin-pool.*' names thin-pool.out-of"),
        ("thin-pool.data-usge", "there is no condition 'thin-pool.data-usge'"),
    ],
)
def test_a_rule_with_rungs_names_usage_conditions_only(type_: str, said: str) -> None:
    assert said in fault(rules=[{"type": type_, "rungs": []}])


def test_rungs_of_a_rule_must_rise() -> None:
    rungs = [{"at": 90, "severity": "error"}, {"at": 80, "severity": "error"}]
    assert "rungs must rise" in fault(rules=[{"type": "*.data-usage", "rungs": rungs}])


@pytest.mark.parametrize("type_", ["thin-pool.data-usage", "*usage", "cache.dirty", "*.dirty"])
def test_a_rule_can_have_rungs(type_: str) -> None:
    rungs = [{"at": 50, "severity": "error"}]
    chosen = Settings.model_validate({"rules": [{"type": type_, "rungs": rungs}]})
    assert chosen.rules[0].rung_tuple() == (Rung(50, Severity.ERROR),)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"until": "2026-12-01T06:00:00"}, "rules.0.until: .*timezone"),
        ({"until": "tomorrow"}, "rules.0.until: .*datetime"),
        ({"action": "drop"}, "rules.0.action: .*'ignore'"),
        ({"name": "x"}, "rules.0.name: Extra inputs are not permitted"),
        ({"device": 7}, "rules.0.device: .*string"),
    ],
)
def test_a_fault_in_a_rule_names_its_place_and_key(rule: dict[str, Any], said: str) -> None:
    text = fault(rules=[RULE | rule])
    assert re.match(said, text), text


def test_unknown_tables_are_refused() -> None:
    assert fault(condition={}) == "condition: Extra inputs are not permitted"


def test_the_defaults() -> None:
    chosen = Settings()
    assert (chosen.monitor.poll_interval, chosen.monitor.heartbeat) == (10.0, 60.0)
    assert chosen.monitor.status_timeout == 5.0
    assert not chosen.monitor.lock_memory
    assert chosen.condition("thin-pool.data-usage").rung_tuple() is None
    assert chosen.condition("thin-pool.data-usage").remind_every is None


def test_the_example_of_the_interfaces() -> None:
    chosen = Settings.model_validate(
        {
            "monitor": {
                "poll_interval": "10s",
                "heartbeat": "60s",
                "status_timeout": "5s",
                "lock_memory": False,
            },
            "conditions": {
                "thin-pool.data-usage": {
                    "rungs": [
                        {"at": 70, "severity": "notice"},
                        {"at": 85, "severity": "error"},
                    ],
                    "hysteresis": 2,
                    "after": "0s",
                    "remind_every": "6h",
                }
            },
            "rules": [RULE | {"until": "2026-12-01T06:00:00Z"}],
        }
    )
    usage = chosen.condition("thin-pool.data-usage")
    assert usage.rung_tuple() == (Rung(70, Severity.NOTICE), Rung(85, Severity.ERROR))
    assert (usage.after, usage.remind_every) == (0.0, 21600.0)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().monitor.heartbeat = 1.0


@pytest.mark.parametrize("type_", ["thin-pool.data-usge", "device.added", "raid.leg", ""])
def test_settings_for_a_condition_that_there_is_none_of_are_refused(type_: str) -> None:
    assert f"there is no condition {type_!r}" in fault(conditions={type_: {"after": "1s"}})


@pytest.mark.parametrize("chosen", [{"rungs": []}, {"hysteresis": 3}])
def test_rungs_belong_to_usage_conditions(chosen: dict[str, Any]) -> None:
    assert "raid.leg-failed is no usage condition" in fault(conditions={"raid.leg-failed": chosen})


@pytest.mark.parametrize(
    "type_", ["device.suspended", "dmwatch.control-failing", "raid.sync-stalled", "thin.usage"]
)
def test_every_condition_can_have_settings(type_: str) -> None:
    chosen = Settings.model_validate({"conditions": {type_: {"remind_every": "1h"}}})
    assert chosen.condition(type_).remind_every == 3600.0
