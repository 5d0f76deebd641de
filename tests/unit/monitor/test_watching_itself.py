"""What dmwatch tells about itself, rules, seeds, load and the end of a watcher."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.events import Condition, DeviceRef, Severity
from dmwatch.ioctl.abi import Command
from dmwatch.names import DeviceNumber
from dmwatch.testing import FakeKernel

Fixture = Any
LINEAR = TargetLine(0, 2048, "linear", "8:1 0")
MOVED = TargetLine(0, 2048, "linear", "8:2 0")
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"
POOL = TargetLine(0, 65536, "thin-pool", "254:0 254:1 128 0 0 ")
FAILED = "striped.leg-failed"


def used(blocks: int) -> str:
    return f"0 116/1024 {blocks}/512 - rw discard_passdown queue_if_no_space - 256 "


def stood(
    type_: str,
    device: str = "vol",
    *,
    uuid: str | None = None,
    key: str | None = None,
    severity: Severity = Severity.CRITICAL,
    data: dict[str, Any] | None = None,
) -> Condition:
    """What an earlier watcher left behind."""
    number = DeviceNumber(253, 77)
    ref = DeviceRef(
        name=device, uuid=uuid, number=number, diskseq=None, subsystem=None, label=device
    )
    return Condition(
        type=type_,
        key=key,
        severity=severity,
        device=ref,
        target=None if type_.startswith("device.") else type_.partition(".")[0],
        since=datetime(2026, 1, 2, tzinfo=UTC),
        summary=f"{device}: it was so",
        data=data or ({"leg": 1, "device": "254:1"} if type_ == FAILED else {}),
    )


class TestControl:
    async def test_a_list_that_fails_is_told_once_and_its_recovery_once(
        self, kernel: FakeKernel, watch: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dmwatch.monitor.watcher.PAUSE_FIRST", 0.02)
        monkeypatch.setattr("dmwatch.monitor.watcher.PAUSE_LONGEST", 0.05)
        kernel.add("vol", LINEAR)
        async with watch(kernel) as watched:
            kernel.fail(Command.LIST_DEVICES, errno.ENOMEM, times=4)
            kernel.tell()
            told = await watched.wait("dmwatch.control-failing", state="raised")
            assert watched.standing() == [("dmwatch.control-failing", None, "critical")]
            assert (told.severity, told.device, bool(told.advice)) == ("critical", None, True)
            cleared = await watched.wait("dmwatch.control-failing", state="cleared")
            assert cleared.reason == "healthy"
            await watched.settle()
            assert watched.standing() == []
            assert len(watched.all("dmwatch.control-failing")) == 2

    @pytest.mark.parametrize("command", [Command.DEV_ARM_POLL, Command.LIST_DEVICES])
    async def test_nothing_is_lost_where_arming_or_listing_fails(
        self,
        kernel: FakeKernel,
        watch: Fixture,
        monkeypatch: pytest.MonkeyPatch,
        command: Command,
    ) -> None:
        monkeypatch.setattr("dmwatch.monitor.watcher.PAUSE_FIRST", 0.02)
        kernel.add("vol", STRIPED, status=[WELL])
        kernel.add("other", LINEAR)
        async with watch(kernel) as watched:
            kernel.fail(command, errno.ENOMEM, times=2)
            kernel.set_status("vol", 0, BROKEN)
            kernel.raise_event("vol")
            kernel.dm.remove("other")
            await watched.wait(FAILED)
            await watched.wait("device.removed", name="other")

    async def test_a_swap_behind_a_failing_list_is_found_without_uevents(
        self, kernel: FakeKernel, watch: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dmwatch.monitor.watcher.PAUSE_FIRST", 0.02)
        kernel.add("vol", LINEAR)
        async with watch(kernel) as watched:
            kernel.fail(Command.LIST_DEVICES, errno.ENOMEM, times=2)
            kernel.swap("vol", MOVED)
            await watched.wait("device.table-changed")

    async def test_polls_and_uevents_go_on_while_the_list_fails(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture, uevents: Fixture
    ) -> None:
        kernel.add("polled", STRIPED, status=[WELL])
        kernel.add("heard", LINEAR)
        chosen = choose(poll_interval=0.1)
        async with watch(kernel, chosen=chosen, uevents=True) as watched:
            kernel.fail(Command.LIST_DEVICES, errno.ENOMEM, times=None)
            kernel.tell()
            await watched.wait("dmwatch.control-failing")
            kernel.set_status("polled", 0, BROKEN)
            await watched.wait(FAILED, name="polled")
            kernel.swap("heard", MOVED)
            uevents.send(kernel, "change", "heard")
            await watched.wait("device.table-changed", name="heard")
            kernel.calm()


async def test_dropped_uevents_have_everything_looked_at_again(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    async with watch(kernel, uevents=True) as watched:
        kernel.swap("vol", MOVED)
        await watched.settle()
        assert watched.events == []
        uevents.drop()
        told = await watched.wait("dmwatch.resynced")
        assert told.data == {"reason": "the kernel dropped uevents"}
        await watched.wait("device.table-changed")


async def test_uevents_that_come_during_a_look_are_taken(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    kernel.add("vol", LINEAR)
    async with watch(kernel, uevents=True) as watched:
        kernel.after(Command.LIST_DEVICES, lambda: uevents.send(kernel, "change", "vol"))
        kernel.swap("vol", MOVED)
        await watched.wait("device.table-changed")


async def test_the_heartbeat_is_told(kernel: FakeKernel, watch: Fixture, choose: Fixture) -> None:
    kernel.add("vol", LINEAR)
    async with watch(kernel, chosen=choose(heartbeat=0.1)) as watched:
        told = await watched.wait("dmwatch.heartbeat", count=3)
        assert (told.severity, told.device, told.data) == ("debug", None, {"devices": 1})


async def test_polling_goes_on(kernel: FakeKernel, watch: Fixture, choose: Fixture) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    async with watch(kernel, chosen=choose(poll_interval=0.1)) as watched:
        lists = kernel.count(Command.LIST_DEVICES)
        await watched.called(Command.TABLE_STATUS, "vol", 8)
        assert kernel.count(Command.LIST_DEVICES) == lists


async def test_a_poll_longer_than_the_heartbeat_comes_all_the_same(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    async with watch(kernel, chosen=choose(poll_interval=0.5, heartbeat=0.1)) as watched:
        kernel.set_status("vol", 0, BROKEN)
        await watched.wait(FAILED)


async def test_what_stands_is_told_again_when_its_time_comes(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[BROKEN])
    chosen = choose({FAILED: {"remind_every": "200ms"}})
    async with watch(kernel, chosen=chosen) as watched:
        told = await watched.wait(FAILED, count=2, state="reminder")
        assert told.summary.startswith("vol: still: ")
        assert told.severity == "critical"


class TestRules:
    async def test_what_is_ignored_is_not_told(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        for name in ("scratch-1", "real"):
            kernel.add(name, STRIPED, status=[BROKEN])
        chosen = choose(rules=[{"device": "scratch-*", "action": "ignore"}])
        async with watch(kernel, chosen=chosen) as watched:
            kernel.dm.remove("scratch-1")
            kernel.dm.remove("real")
            await watched.wait("device.removed", name="real")
            await watched.settle()
            assert watched.steps("scratch-1") == []

    async def test_a_severity_is_what_a_rule_says(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[BROKEN])
        rules = [
            {"type": "striped.*", "severity": "notice"},
            {"type": "device.renamed", "severity": "error"},
        ]
        async with watch(kernel, chosen=choose(rules=rules)) as watched:
            assert (await watched.wait(FAILED)).severity == "notice"
            kernel.dm.rename("vol", "new")
            assert (await watched.wait("device.renamed")).severity == "error"
            assert [c.severity for c in watched.watcher.conditions()] == ["notice"]

    @pytest.mark.usefixtures("uevents")
    async def test_when_a_window_ends_what_stands_is_told(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[BROKEN])
        kernel.add("hole", TargetLine(0, 8, "error"))
        until = datetime.now(UTC) + timedelta(seconds=0.6)
        chosen = choose(rules=[{"action": "ignore", "until": until}])
        async with watch(kernel, chosen=chosen, uevents=True) as watched:
            told = await watched.wait(FAILED)
            assert told.time >= until
            await watched.wait("device.error-target")

    async def test_a_renamed_device_falls_under_other_rules(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[BROKEN])
        chosen = choose(rules=[{"device": "scratch-*", "action": "ignore"}])
        async with watch(kernel, chosen=chosen) as watched:
            kernel.dm.rename("vol", "scratch-vol")
            cleared = await watched.wait(FAILED, state="cleared")
            assert cleared.reason == "rule"


class TestStanding:
    async def test_what_still_stands_is_not_told_again(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[BROKEN], uuid="LVM-x")
        before = stood(FAILED, "old-name", uuid="LVM-x", key="1")
        async with watch(kernel, standing=[before]) as watched:
            await watched.settle()
            assert watched.events == []
            (standing,) = watched.watcher.conditions()
            assert (standing.since, standing.device.name) == (before.since, "vol")

    async def test_what_is_well_again_is_cleared_as_initial(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        async with watch(kernel, standing=[stood(FAILED, key="1")]) as watched:
            cleared = await watched.wait(FAILED)
            assert (cleared.state, cleared.reason, cleared.initial) == ("cleared", "healthy", True)
            assert watched.watcher.conditions() == []

    async def test_what_stood_on_a_device_that_is_gone_went_with_it(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL], uuid="LVM-other")
        before = stood(FAILED, "vol", uuid="LVM-x", key="1")
        async with watch(kernel, standing=[before]) as watched:
            cleared = await watched.wait(FAILED)
            assert (cleared.state, cleared.reason) == ("cleared", "device-removed")
            assert cleared.initial
            assert cleared.device == before.device

    async def test_a_rung_keeps_its_hysteresis(self, kernel: FakeKernel, watch: Fixture) -> None:
        kernel.add("vol", POOL, status=[used(408)])
        data = {"used": 410, "total": 512, "percent": 80.08, "rung": 80.0}
        before = stood("thin-pool.data-usage", severity=Severity.WARNING, data=data)
        async with watch(kernel, standing=[before]) as watched:
            await watched.settle()
            assert watched.events == []
            assert watched.standing() == [("thin-pool.data-usage", None, "warning")]

    async def test_what_cannot_be_read_now_stays(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        released = kernel.hang(Command.TABLE_STATUS)
        chosen = choose(status_timeout=0.2)
        async with watch(kernel, chosen=chosen, standing=[stood(FAILED, key="1")]) as watched:
            await watched.wait("device.status-stuck")
            assert len(watched.watcher.conditions()) == 2
            released.set()
            await watched.wait(FAILED, state="cleared", reason="healthy")

    async def test_a_stuck_status_that_answers_again_is_cleared(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        async with watch(kernel, standing=[stood("device.status-stuck")]) as watched:
            assert (await watched.wait("device.status-stuck")).reason == "healthy"

    async def test_a_watcher_takes_over_from_another(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[BROKEN])
        kernel.add("pool", POOL, status=[used(480)])
        kernel.add("hole", TargetLine(0, 8, "error"))
        async with watch(kernel) as watched:
            await watched.settle()
            standing = watched.watcher.conditions()
        async with watch(kernel, standing=standing) as again:
            await again.settle()
            assert again.events == []
            assert again.watcher.conditions() == standing
