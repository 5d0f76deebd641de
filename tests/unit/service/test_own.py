"""What stands on the daemon itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dmwatch.events import Condition, DeviceRef, Event, Reason, Severity, State
from dmwatch.monitor.device_rows import (
    CONTROL_FAILING,
    HANDLER_FAILING,
    HANDLER_OVERFLOW,
    JOURNAL_FAILING,
    STARTED,
)
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.service.own import Own

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
DATA = {"handler": "pager", "failures": 3, "problem": "refused"}


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def own(told: list[Event]) -> Own:
    return Own(told.append)


def stood(type_: str, key: str | None, device: DeviceRef | None = None) -> Condition:
    return Condition(
        type=type_,
        key=key,
        severity=Severity.ERROR,
        device=device,
        since=SINCE,
        summary="it was so",
    )


def steps(told: list[Event]) -> list[tuple[str, str | None, State | None, Reason | None]]:
    return [(event.type, event.key, event.state, event.reason) for event in told]


def test_a_condition_is_raised_once_changed_with_its_sentence_and_cleared_once(
    own: Own, told: list[Event]
) -> None:
    for summary in ("pager fails", "pager fails", "pager fails still"):
        own.raised(HANDLER_FAILING, "pager", summary, DATA)
    own.cleared(HANDLER_FAILING, "pager")
    own.cleared(HANDLER_FAILING, "pager")
    assert steps(told) == [
        ("dmwatch.handler-failing", "pager", State.RAISED, None),
        ("dmwatch.handler-failing", "pager", State.CHANGED, None),
        ("dmwatch.handler-failing", "pager", State.CLEARED, Reason.HEALTHY),
    ]
    assert told[0].device is None
    assert told[0].data == DATA
    assert told[0].severity is Severity.ERROR
    assert told[0].advice


def test_handlers_are_told_apart(own: Own, told: list[Event]) -> None:
    own.raised(HANDLER_FAILING, "pager", "pager fails", DATA)
    own.raised(HANDLER_FAILING, "mail", "mail fails", DATA)
    own.cleared(HANDLER_FAILING, "pager")
    (left,) = own.conditions()
    assert (left.type, left.key, left.device) == ("dmwatch.handler-failing", "mail", None)
    assert left.since == told[1].time


def test_a_moment_happens_once(own: Own, told: list[Event]) -> None:
    own.moment(STARTED, "dmwatch is watching", {"devices": 3})
    assert (told[0].type, told[0].state, told[0].data) == ("dmwatch.started", None, {"devices": 3})
    assert own.conditions() == []


def test_after_a_start_only_what_a_configured_handler_has_still_to_show_stands(
    own: Own, told: list[Event]
) -> None:
    standing = [
        stood(HANDLER_FAILING.type, "pager"),
        stood(HANDLER_OVERFLOW.type, "gone"),
        stood(JOURNAL_FAILING.type, None),
        stood(CONTROL_FAILING.type, None),
    ]
    own.restore(standing, {"pager"})
    assert steps(told) == [
        ("dmwatch.handler-overflow", "gone", State.CLEARED, Reason.PART_GONE),
        ("dmwatch.journal-failing", None, State.CLEARED, Reason.HEALTHY),
        ("dmwatch.control-failing", None, State.CLEARED, Reason.HEALTHY),
    ]
    assert all(event.initial for event in told)
    assert [(c.key, c.since) for c in own.conditions()] == [("pager", SINCE)]
    told.clear()
    own.raised(HANDLER_FAILING, "pager", "it was so", DATA)
    assert told == []
    own.cleared(HANDLER_FAILING, "pager")
    assert steps(told) == [("dmwatch.handler-failing", "pager", State.CLEARED, Reason.HEALTHY)]


def test_what_this_life_has_found_already_is_not_overruled_by_the_last_one(
    own: Own, told: list[Event]
) -> None:
    own.raised(JOURNAL_FAILING, None, "the disk is full", {})
    own.restore([stood(JOURNAL_FAILING.type, None)], set())
    assert [c.summary for c in own.conditions()] == ["the disk is full"]
    assert len(told) == 1


def test_what_stood_on_devices_and_unknown_types_is_left_alone(own: Own, told: list[Event]) -> None:
    device = DeviceRef.of(DeviceName("a"), None, DeviceNumber(253, 0), None)
    own.restore([stood("raid.leg-failed", "1", device), stood("dmwatch.of-tomorrow", None)], set())
    assert (told, own.conditions()) == ([], [])
