from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmwatch.events import DeviceRef, Reason, State
from dmwatch.monitor import teller as module
from dmwatch.monitor.conditions import Found, Step
from dmwatch.monitor.teller import Teller
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.severity import Severity

DEVICE = DeviceRef.of(DeviceName("vg--x-pool"), "LVM-1", DeviceNumber(253, 3), 9)
FULL = Found("thin-pool.failed", None, Severity.CRITICAL, "the pool failed", advice="repair it")


def test_events_are_numbered_from_one_within_an_epoch_of_their_own() -> None:
    teller, other = Teller(), Teller()
    events = [teller.moment("device.event", Severity.DEBUG, DEVICE, "x") for _ in range(3)]
    assert [event.sequence for event in events] == [1, 2, 3]
    epoch = events[0].id.partition("-")[0]
    assert [event.id for event in events] == [f"{epoch}-{n}" for n in (1, 2, 3)]
    assert not other.moment("a", Severity.DEBUG, None, "x").id.startswith(epoch)


def test_the_envelope_says_when_where_and_what() -> None:
    before = datetime.now(UTC)
    event = Teller().moment("device.added", Severity.INFO, DEVICE, "the device was added")
    assert before <= event.time <= datetime.now(UTC)
    assert event.host == os.uname().nodename
    assert event.summary == "vg-x/pool: the device was added"
    assert (event.state, event.reason, event.initial) == (None, None, False)


def test_an_event_without_a_device_is_told_without_a_label() -> None:
    assert Teller().moment("dmwatch.heartbeat", Severity.DEBUG, None, "fine").summary == "fine"


def test_control_characters_never_reach_the_sentence() -> None:
    event = Teller().moment("device.event", Severity.DEBUG, None, "a\nb\x1b[31m\udcff")
    assert event.summary == "a\\x0ab\\x1b[31m\\xff"


def test_the_json_is_one_line_with_a_utc_time() -> None:
    line = Teller().moment("device.event", Severity.DEBUG, DEVICE, "x").json_line()
    found = json.loads(line)
    assert "\n" not in line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["time"])
    assert found["device"]["number"] == "253:3"


@pytest.mark.parametrize(
    ("state", "reason", "sentence", "advice"),
    [
        (State.RAISED, None, "the pool failed", "repair it"),
        (State.CHANGED, None, "the pool failed", "repair it"),
        (State.REMINDER, None, "still: the pool failed", "repair it"),
        (State.CLEARED, Reason.HEALTHY, "over: the pool failed", None),
        (State.CLEARED, Reason.DEVICE_REMOVED, "gone with the device: the pool failed", None),
    ],
)
def test_a_step_of_a_condition_is_told_as_what_it_is(
    state: State, reason: Reason | None, sentence: str, advice: str | None
) -> None:
    event = Teller().step(Step(state, FULL, reason), DEVICE, event_nr=4)
    assert event.summary == f"vg-x/pool: {sentence}"
    assert (event.type, event.severity, event.state) == (FULL.type, FULL.severity, state)
    assert (event.reason, event.advice, event.event_nr) == (reason, advice, 4)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_clause(reason: Reason) -> None:
    event = Teller().step(Step(State.CLEARED, FULL, reason), DEVICE)
    assert event.summary.endswith(": the pool failed")


def test_without_a_boot_id_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "boot_id")
    assert Teller().moment("a", Severity.DEBUG, None, "x").boot_id == ""
