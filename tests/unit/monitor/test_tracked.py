from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from dmwatch import DeviceMapper, TargetLine
from dmwatch.errors import ReplyError
from dmwatch.events import Condition, Reason, Severity
from dmwatch.monitor.conditions import Step
from dmwatch.monitor.reading import Raw, Wish, read
from dmwatch.monitor.rules import Ruling
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.tracked import Failure, Happened, Inbox, Told, Tracked, ruled, steady
from dmwatch.names import DeviceName
from dmwatch.targets import Moment
from dmwatch.testing import FakeKernel

LINEAR = TargetLine(0, 8, "linear", "8:1 0")
STRIPED = TargetLine(0, 8, "striped", "2 128 254:0 0 254:1 0")
RAID = TargetLine(0, 8, "raid", "raid1 3 0 region_size 1024 2 254:0 254:1 254:2 254:3")
WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"
RESYNC = "raid1 2 aa 6528/32768 resync 0 0 -"
NONE = Ruling((), ("vol",), "")


class Device:
    """A device of a fake kernel and what is tracked of it."""

    def __init__(self, kernel: FakeKernel, chosen: dict[str, Any] | None = None) -> None:
        self.kernel = kernel
        self.dm = DeviceMapper(kernel.open())
        self.settings = Settings.model_validate(chosen or {})
        self.tracked = Tracked(kernel.device("vol").number, DeviceName("vol"), 0, self.settings)

    def read(self) -> Raw:
        return read(self.dm, self.tracked.number, Wish(table=True, types=self.tracked.types))

    def look(self, now: float = 0.0, **taken: Any) -> list[tuple[str, str | None]]:
        """What a look tells: types, and states of conditions."""
        return shown(self.tracked.digest(self.read(), Inbox(**taken), NONE, now))

    def record(self, now: float = 0.0, resumes: int = 0) -> list[tuple[str, str | None]]:
        raw = read(self.dm, self.tracked.number, Wish(status=False))
        return shown(self.tracked.digest(raw, Inbox(resumes=resumes), NONE, now))


def shown(told: Sequence[Told]) -> list[tuple[str, str | None]]:
    return [
        (item.found.type, str(item.state)) if isinstance(item, Step) else (item.moment.type, None)
        for item in told
    ]


@pytest.fixture
def device(kernel: FakeKernel) -> Any:
    kernel.add("vol", STRIPED, status=[WELL])
    made = Device(kernel)
    yield made
    made.dm.close()


def with_settings(kernel: FakeKernel, **chosen: Any) -> Device:
    return Device(kernel, chosen)


def test_the_first_look_tells_what_stands_and_no_moments(device: Device) -> None:
    device.kernel.set_status("vol", 0, BROKEN)
    assert device.look() == [("striped.leg-failed", "raised")]
    assert device.look() == []


def test_what_cleared_and_was_raised_comes_before_moments(device: Device) -> None:
    device.kernel.set_status("vol", 0, BROKEN)
    device.look()
    device.kernel.swap("vol", TargetLine(0, 16, "error"))
    assert device.look() == [
        ("striped.leg-failed", "cleared"),
        ("device.error-target", "raised"),
        ("device.table-changed", None),
        ("device.resized", None),
    ]


def test_a_record_says_nothing_about_the_table(device: Device) -> None:
    device.kernel.swap("vol", TargetLine(0, 8, "error"))
    assert device.look() == [("device.error-target", "raised")]
    assert device.record() == []
    failed = Failure.unreadable(ReplyError("nonsense"))
    assert shown(device.tracked.digest_failure(failed, NONE, 1.0)) == [
        ("device.status-unreadable", "raised")
    ]
    assert device.record() == []
    assert device.look() == [("device.status-unreadable", "cleared")]


def test_whoever_answers_is_not_stuck(device: Device) -> None:
    device.tracked.digest_failure(Failure.stuck(5.0), NONE, 0.0)
    assert device.record() == [("device.status-stuck", "cleared")]


def test_a_failure_clears_nothing(device: Device) -> None:
    device.kernel.set_status("vol", 0, BROKEN)
    device.look()
    told = device.tracked.digest_failure(Failure.stuck(5.0), NONE, 1.0)
    assert shown(told) == [("device.status-stuck", "raised")]
    assert len(device.tracked.conditions.standing) == 2


def test_a_device_made_anew_takes_nothing_along(device: Device) -> None:
    device.kernel.set_status("vol", 0, BROKEN)
    device.look()
    device.tracked.diskseq = 4
    device.tracked.conditions.clear_all(Reason.RECREATED)
    (anew,) = device.tracked.anew()
    assert isinstance(anew, Happened)
    assert anew.moment.type == "device.recreated"
    assert [device.tracked.diskseq, device.tracked.lines] == [None, None]
    assert device.look() == [("striped.leg-failed", "raised")]


def test_a_resume_is_told_after_a_suspension_that_was_seen(device: Device) -> None:
    device.look(0.0)
    device.kernel.dm.suspend("vol")
    assert device.record(1.0) == []
    device.kernel.dm.resume("vol")
    assert device.record(2.5) == [("device.resumed", None)]
    assert device.record(3.0) == []


def test_the_suspension_of_a_swap_is_not_told(device: Device) -> None:
    device.look(0.0)
    device.kernel.dm.suspend("vol")
    device.record(1.0)
    device.kernel.dm.resume("vol")
    assert device.record(1.5) == []


def test_short_suspensions_one_after_another_are_not_told_as_a_long_one(device: Device) -> None:
    device.look(0.0)
    device.kernel.dm.suspend("vol")
    device.record(1.0)
    assert device.record(3.0, resumes=7) == []
    device.kernel.dm.resume("vol")
    assert device.record(3.5, resumes=1) == []
    device.kernel.dm.suspend("vol")
    device.record(4.0)
    device.kernel.dm.resume("vol")
    assert device.record(6.0, resumes=4) == []


def test_a_long_suspension_is_told_though_short_ones_follow_at_once(device: Device) -> None:
    device.look(0.0)
    device.kernel.dm.suspend("vol")
    device.record(1.0)
    device.record(3.0)
    device.kernel.dm.resume("vol")
    assert device.record(3.1, resumes=4) == [("device.resumed", None)]


def test_resumes_that_a_look_did_not_come_to_count_at_the_next(device: Device) -> None:
    device.tracked.owe(Inbox(resumes=2))
    device.tracked.inbox.resumes = 1
    assert device.tracked.take().resumes == 3


def test_a_suspension_that_was_interrupted_has_not_lasted_so_long(device: Device) -> None:
    device.look(0.0)
    device.kernel.dm.suspend("vol")
    device.record(1.0)
    assert device.record(20.0, resumes=3) == []
    assert device.record(32.0) == []
    assert device.record(50.0) == [("device.suspended", "raised")]


def test_a_look_without_a_status_does_not_make_a_stalled_sync_move(kernel: FakeKernel) -> None:
    kernel.add("vol", RAID, status=[RESYNC])
    device = Device(kernel)
    device.look(0.0)
    for now in (60.0, 120.0, 180.0, 240.0):
        assert device.record(now) == []
    assert device.look(300.0) == [("raid.sync-stalled", "raised")]
    device.dm.close()


@pytest.mark.parametrize(
    ("line", "well"),
    [
        (TargetLine(0, 8, "multipath", "x"), "2 0 0 0 1 1 A 0 1 0 8:16 A 0 "),
        (TargetLine(8, 8, "striped", "x"), WELL),
    ],
)
def test_a_line_that_can_be_read_again_did_not_lose_a_part(
    kernel: FakeKernel, line: TargetLine, well: str
) -> None:
    before = [TargetLine(0, line.start, "zero")] if line.start else []
    kernel.add("vol", *before, line, status=[*("" for _ in before), "nonsense"])
    device = Device(kernel)
    assert device.look() == [("device.status-unreadable", "raised")]
    kernel.set_status("vol", len(before), well)
    (step,) = device.tracked.digest(device.read(), Inbox(), NONE, 1.0)
    assert isinstance(step, Step)
    assert (step.found.type, step.reason) == ("device.status-unreadable", Reason.HEALTHY)
    device.dm.close()


def test_a_seed_belongs_to_the_line_that_its_key_names(kernel: FakeKernel) -> None:
    second = TargetLine(8, 8, "striped", "2 128 254:0 0 254:1 0")
    kernel.add("vol", STRIPED, second, status=[WELL, WELL])
    device = Device(kernel)
    about: dict[str, Any] = {"type": "striped.leg-failed", "severity": Severity.CRITICAL}
    about |= {"device": device.tracked.ref, "target": "striped", "summary": "vol: x"}
    keys = ["0:1", "8:0", "8:7", "24:1"]
    since = datetime(2026, 1, 2, tzinfo=UTC)
    device.tracked.seed(Condition(**about, key=key, since=since) for key in keys)
    steps = device.tracked.digest(device.read(), Inbox(), NONE, 0.0)
    assert [(s.found.key, s.reason) for s in steps if isinstance(s, Step)] == [
        ("0:1", Reason.HEALTHY),
        ("8:0", Reason.HEALTHY),
        ("8:7", Reason.PART_GONE),
        ("24:1", Reason.PART_GONE),
    ]
    device.dm.close()


def test_reminders_come_with_a_look(kernel: FakeKernel) -> None:
    kernel.add("vol", STRIPED, status=[BROKEN])
    device = with_settings(kernel, conditions={"striped.leg-failed": {"remind_every": "1h"}})
    assert device.look(0.0) == [("striped.leg-failed", "raised")]
    assert device.tracked.due() == 3600.0
    assert device.look(3600.0) == [("striped.leg-failed", "reminder")]
    assert device.tracked.due() == 7200.0
    device.dm.close()


def test_what_a_uevent_tells_is_a_moment(kernel: FakeKernel) -> None:
    kernel.add("vol", TargetLine(0, 8, "verity", "x"), status=["V"])
    device = Device(kernel)
    device.look()
    inbox = Inbox()
    inbox.uevents.append({"DM_VERITY_ERR_BLOCK_NR": "0,7"})
    told = device.tracked.digest(device.read(), inbox, NONE, 0.0)
    assert shown(told) == [("verity.block-corrupted", None)]
    assert isinstance(told[0], Happened)
    assert told[0].advice
    device.dm.close()


FROZEN = "raid1 2 AA 16384/32768 frozen 0 0 -"


@pytest.mark.parametrize(
    ("status", "type_", "at"), [(FROZEN, "raid.frozen", 30.0), (RESYNC, "raid.sync-stalled", 300.0)]
)
def test_a_suspended_raid_does_not_seem_well(
    kernel: FakeKernel, status: str, type_: str, at: float
) -> None:
    kernel.add("vol", RAID, status=[status])
    device = Device(kernel)
    device.look(0.0)
    assert device.look(at) == [(type_, "raised")]
    kernel.dm.suspend("vol")
    assert device.look(at + 1) == []
    kernel.dm.resume("vol")
    assert device.look(at + 1.5) == []
    kernel.set_status("vol", 0, "raid1 2 AA 32768/32768 idle 0 0 -")
    assert (type_, "cleared") in device.look(at + 3)
    device.dm.close()


QUEUES, FAILS = (
    TargetLine(0, 8, "multipath", f"{words} 0 1 1 round-robin 0 1 1 254:0 1 ")
    for words in ("3 queue_if_no_path queue_mode bio", "2 queue_mode bio")
)
NO_PATH = "2 0 0 0 1 1 A 0 1 0 254:0 F 1 "


def test_a_suspended_multipath_does_not_seem_worse_or_better(kernel: FakeKernel) -> None:
    kernel.add("vol", QUEUES, status=[NO_PATH])
    device = Device(kernel)
    assert ("multipath.no-paths", "raised") in device.look(0.0)
    held = device.tracked.conditions.standing["multipath.no-paths", None]
    assert held.found.severity is Severity.ERROR
    # a suspend takes the word out of the table, a resume puts it back
    kernel.swap("vol", FAILS, status=[NO_PATH])
    kernel.dm.suspend("vol")
    assert device.look(1.0) == []
    assert device.tracked.conditions.standing["multipath.no-paths", None] == held
    kernel.set_status("vol", 0, NO_PATH.replace("F 1", "A 1"))
    assert ("multipath.no-paths", "cleared") in device.look(2.0)
    kernel.set_status("vol", 0, NO_PATH)
    assert ("multipath.no-paths", "raised") in device.look(3.0)
    kernel.dm.resume("vol")
    kernel.swap("vol", QUEUES, status=[NO_PATH])
    assert ("multipath.no-paths", "changed") in device.look(4.0)
    device.dm.close()


VDO = "/dev/ram0 {} 1048998 1572864"
CLONE = "8 6/2048 8 40/4096 0 0 4 hydration_threshold 1 hydration_batch_size 1 {}"


@pytest.mark.parametrize(
    ("kind", "bad", "worse"),
    [
        ("vdo", VDO.format("recovering recovering online online"), "read-only - online online"),
        ("vdo", VDO.format("normal - offline online"), "normal - error online"),
        ("clone", CLONE.format("ro"), "Fail"),
    ],
)
def test_what_got_worse_is_not_over_as_healthy(
    kernel: FakeKernel, kind: str, bad: str, worse: str
) -> None:
    kernel.add("vol", TargetLine(0, 8, kind, "x"), status=[bad])
    device = Device(kernel)
    device.look(0.0)
    device.look(30.0)
    assert len(device.tracked.conditions.standing) == 1
    kernel.set_status("vol", 0, (VDO if kind == "vdo" else CLONE).format(worse))
    over = device.tracked.digest(device.read(), Inbox(), NONE, 31.0)
    assert isinstance(over[0], Step)
    assert over[0].reason is Reason.SUPERSEDED
    device.dm.close()


@pytest.mark.parametrize(("after", "due"), [("1h", 3601.0), ("10s", 11.0)])
def test_a_delay_that_was_chosen_meanwhile_counts_from_when_it_began(
    device: Device, after: str, due: float
) -> None:
    device.look(0.0)
    device.kernel.dm.suspend("vol")
    device.record(1.0)
    chosen = {"conditions": {"device.suspended": {"after": after}}}
    device.tracked.adopt(Settings.model_validate(chosen))
    assert device.tracked.due() == due
    assert device.record(due - 0.1) == []
    assert device.record(due) == [("device.suspended", "raised")]


class TestDue:
    def test_of_a_stall_only_what_is_to_come(self, kernel: FakeKernel) -> None:
        kernel.add("vol", RAID, status=[RESYNC])
        device = Device(kernel)
        device.look(100.0)
        assert device.tracked.due() == 400.0
        assert device.look(400.0) == [("raid.sync-stalled", "raised")]
        assert device.tracked.due() is None
        device.dm.close()

    def test_a_delay(self, device: Device) -> None:
        device.look(0.0)
        device.kernel.dm.suspend("vol")
        device.record(5.0)
        assert device.tracked.due() == 35.0
        device.record(40.0)
        assert device.tracked.due() is None

    @pytest.mark.parametrize(
        ("line", "after"), [(STRIPED, 20.0), (LINEAR, None), (TargetLine(0, 8, "era", "x"), 20.0)]
    )
    def test_a_poll_follows_the_interval_that_was_chosen(
        self, kernel: FakeKernel, line: TargetLine, after: float | None
    ) -> None:
        kernel.add("vol", line, status=["x"])
        device = with_settings(kernel, monitor={"poll_interval": 20})
        device.look()
        assert device.tracked.poll_after() == after
        device.dm.close()

    def test_what_was_never_read_or_could_not_be_is_polled(self, kernel: FakeKernel) -> None:
        kernel.add("vol", LINEAR)
        device = Device(kernel)
        assert device.tracked.poll_after() == 10.0
        device.look()
        assert device.tracked.poll_after() is None
        device.tracked.digest_failure(Failure.stuck(5.0), NONE, 1.0)
        assert device.tracked.poll_after() == 10.0
        device.look()
        assert device.tracked.poll_after() is None
        device.dm.close()


class TestInbox:
    @pytest.mark.parametrize("wants", ["read", "table", "anew"])
    def test_what_wants_the_status(self, wants: str) -> None:
        inbox = Inbox()
        setattr(inbox, wants, True)
        assert inbox
        assert inbox.wants_status

    def test_a_record_wants_no_status(self) -> None:
        assert Inbox(record=True)
        assert not Inbox(record=True).wants_status

    def test_an_explanation_alone_wants_nothing(self) -> None:
        assert not Inbox(explained=True)
        assert Inbox(event_nr=0).wants_status

    def test_it_is_empty_once_it_was_taken(self, device: Device) -> None:
        device.tracked.inbox.read = True
        assert device.tracked.take().read
        assert not device.tracked.inbox

    def test_uevents_of_a_device_that_is_not_read_are_bounded(self) -> None:
        inbox = Inbox()
        for n in range(5000):
            inbox.uevents.append({"n": str(n)})
        assert len(inbox.uevents) == 1000
        assert inbox.wants_status


def test_a_seed_keeps_its_time_and_its_rung(device: Device) -> None:
    since = datetime(2026, 1, 2, tzinfo=UTC)
    device.tracked.seed(
        [
            Condition(
                type="thin-pool.data-usage",
                severity=Severity.NOTICE,
                device=device.tracked.ref,
                target="thin-pool",
                since=since,
                summary="vol: data is 80 % used",
                data={"used": 80, "total": 100, "percent": 80.0, "rung": 80.0},
            )
        ]
    )
    ((key, held),) = device.tracked.conditions.standing.items()
    assert key == ("thin-pool.data-usage", None)
    assert held.found.summary == "data is 80 % used"
    assert device.tracked.since[key] == since


def test_rules_hold_for_moments_too() -> None:
    moment = Happened(Moment("device.renamed", Severity.INFO, "x"))
    rules = {
        "rules": [
            {"type": "device.renamed", "severity": "error"},
            {"type": "device.resized", "action": "ignore"},
        ]
    }
    chosen = Settings.model_validate(rules)
    ruling = Ruling(chosen.rules, ("vol",), "")
    other = Happened(Moment("device.resized", Severity.INFO, "x"))
    (kept,) = ruled([moment, other], ruling)
    assert isinstance(kept, Happened)
    assert kept.moment.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("later", "same"),
    [
        ("raid1 2 aa 9999/32768 resync 0 0 -", True),
        ("raid1 2 aA 6528/32768 resync 0 0 -", False),
        ("raid1 2 aa 6528/32768 idle 0 0 -", False),
    ],
)
def test_a_target_has_settled_when_all_but_its_figures_stands_still(
    kernel: FakeKernel, later: str, same: bool
) -> None:
    kernel.add("vol", RAID, status=[RESYNC])
    device = Device(kernel)
    before = steady(device.read())
    kernel.set_status("vol", 0, later)
    assert (steady(device.read()) == before) is same
    kernel.raise_event("vol")
    assert steady(device.read()) != before
    device.dm.close()
