from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from dmwatch.events import Condition, Reason, State
from dmwatch.monitor import outbox as module
from dmwatch.monitor.conditions import Found, Step
from dmwatch.monitor.outbox import Outbox
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.tracked import Happened, Tracked
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid
from dmwatch.severity import Severity
from dmwatch.targets import Moment

LEG = Found("raid.leg-failed", "1", Severity.ERROR, "leg 1 has failed", target="raid", advice="!")
RAISED = Step(State.RAISED, LEG)
CLEARED = Step(State.CLEARED, LEG, Reason.HEALTHY)
RENAMED = Happened(Moment("device.renamed", Severity.INFO, "it was renamed"), data={"a": 1})


def tracked(name: str = "vg-vol", minor: int = 3) -> Tracked:
    device = Tracked(DeviceNumber(253, minor), DeviceName(name), 7, Settings())
    device.uuid = DeviceUuid("LVM-x")
    return device


async def test_conditions_and_moments_become_events() -> None:
    outbox = Outbox((), Settings())
    outbox.started()
    await outbox.tell(tracked(), [RAISED, RENAMED], coalesced=4)
    first, second = await outbox.get(), await outbox.get()
    assert (first.type, first.key, first.state, first.target) == (
        "raid.leg-failed",
        "1",
        "raised",
        "raid",
    )
    assert (first.summary, first.advice) == ("vg/vol: leg 1 has failed", "!")
    assert (first.event_nr, first.coalesced) == (7, 4)
    assert (second.type, second.state, second.data) == ("device.renamed", None, {"a": 1})
    assert (first.sequence, second.sequence, second.coalesced) == (1, 2, 0)


async def test_what_was_told_while_starting_comes_first_and_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "QUEUE_LENGTH", 1)
    outbox = Outbox((), Settings())
    for _ in range(5):
        await outbox.tell(tracked(), [RENAMED])
    outbox.started()
    await outbox.tell(tracked(), [RAISED])
    events = [await outbox.get() for _ in range(6)]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1].type == "raid.leg-failed"


async def test_who_tells_waits_while_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_LENGTH", 2)
    outbox = Outbox((), Settings())
    outbox.started()
    telling = asyncio.create_task(outbox.tell(tracked(), [RENAMED] * 3))
    await asyncio.sleep(0.02)
    assert not telling.done()
    await outbox.get()
    await asyncio.wait_for(telling, 10)


async def test_events_are_read_in_the_order_of_their_numbers_whoever_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "QUEUE_LENGTH", 2)
    outbox = Outbox((), Settings())
    outbox.started()
    devices = [tracked(f"vol{n}", n) for n in range(5)]
    telling = [asyncio.create_task(outbox.tell(device, [RENAMED] * 4)) for device in devices]
    read = [await outbox.get() for _ in range(20)]
    assert [event.sequence for event in read] == list(range(1, 21))
    await asyncio.gather(*telling)


async def test_what_stands_is_what_was_told() -> None:
    outbox, device = Outbox((), Settings()), tracked()
    device.conditions.seed(LEG)
    assert list(outbox.standing(device)) == []
    await outbox.tell(device, [RAISED])
    (standing,) = outbox.standing(device)
    assert (standing.type, standing.key, standing.severity) == ("raid.leg-failed", "1", "error")
    assert standing.since == (await outbox.get()).time
    await outbox.tell(device, [CLEARED])
    assert device.since == {}


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        ((), True),
        (("vg-vol",), True),
        (("vg/vol",), True),
        (("253:3",), True),
        (("other", "vg*"), True),
        (("vol",), False),
        (("254:*",), False),
    ],
)
async def test_a_device_is_wanted_by_name_label_or_number(
    patterns: tuple[str, ...], wanted: bool
) -> None:
    outbox = Outbox(patterns, Settings())
    assert outbox.wants(tracked()) is wanted
    await outbox.tell(tracked(), [RENAMED])
    assert len(outbox._first) == wanted


async def test_a_rename_away_is_told_to_whom_the_old_name_was_wanted() -> None:
    outbox = Outbox(("old-*",), Settings())
    await outbox.tell(tracked("new"), [RENAMED], old_name="old-vol")
    await outbox.tell(tracked("new"), [RENAMED])
    assert len(outbox._first) == 1


async def test_what_stood_on_a_device_that_is_gone() -> None:
    outbox = Outbox((), Settings())
    device = tracked()
    before = Condition(
        type="raid.leg-failed",
        key="1",
        severity=Severity.ERROR,
        device=device.ref,
        target="raid",
        since=datetime(2026, 1, 1, tzinfo=UTC),
        summary="vg/vol: leg 1 has failed",
    )
    outbox.gone_before(before)
    event = await outbox.get()
    assert (event.state, event.reason, event.initial) == ("cleared", "device-removed", True)
    assert (event.device, event.key, event.target) == (device.ref, "1", "raid")


async def test_a_failing_control_node_is_told_once() -> None:
    outbox = Outbox((), Settings())
    await outbox.control_works()
    for _ in range(3):
        await outbox.control_failing(OSError("no"))
    for _ in range(2):
        await outbox.control_works()
    assert [(e.type, e.state, e.device) for e in outbox._first] == [
        ("dmwatch.control-failing", "raised", None),
        ("dmwatch.control-failing", "cleared", None),
    ]


async def test_that_the_control_node_fails_goes_by_its_settings_too() -> None:
    def chosen(**how: str) -> Settings:
        return Settings.model_validate({"conditions": {"dmwatch.control-failing": how}})

    outbox = Outbox((), chosen(after="1h"))
    await outbox.control_failing(OSError("no"))
    assert list(outbox.standing_itself()) == []
    outbox.adopt(chosen(remind_every="100ms"))
    await outbox.control_failing(OSError("no"))
    assert [c.type for c in outbox.standing_itself()] == ["dmwatch.control-failing"]
    await outbox.control_failing(OSError("no"))
    await asyncio.sleep(0.11)
    await outbox.control_failing(OSError("no"))
    assert [e.state for e in outbox._first] == ["raised", "reminder"]


async def test_what_ends_the_watch_is_raised_where_events_are_read() -> None:
    outbox = Outbox((), Settings())
    outbox.started()
    await outbox.tell(tracked(), [RENAMED])
    await outbox.fail(RuntimeError("over"))
    await outbox.get()
    with pytest.raises(RuntimeError, match="over"):
        await outbox.get()
