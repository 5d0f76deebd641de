"""A watcher that is given other settings while it watches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dmwatch.events import Reason, Severity, State
from dmwatch.monitor.schedule import NEVER
from dmwatch.testing import FakeKernel

USAGE = "thin-pool.data-usage"


@pytest.fixture
def pool(kernel: FakeKernel, line: Any) -> FakeKernel:
    status = "0 10/1024 416/512 - rw discard_passdown queue_if_no_space - 1024"
    kernel.add("pool", line("thin-pool", "254:0 254:1 128 0 0"), status=[status])
    return kernel


async def test_a_lower_rung_is_told_without_an_event_of_the_kernel(
    pool: FakeKernel, watch: Any, choose: Any
) -> None:
    quiet = choose({USAGE: {"rungs": []}})
    async with watch(pool, chosen=quiet) as watched:
        assert watched.standing() == []
        watched.watcher.adopt(choose({USAGE: {"rungs": [{"at": 50, "severity": "error"}]}}))
        event = await watched.wait(USAGE, state=State.RAISED)
        assert (event.severity, event.data["rung"]) == (Severity.ERROR, 50)
        await watched.settle()
        assert len(watched.all(USAGE)) == 1


async def test_a_rule_that_ignores_clears_what_stood_and_its_end_raises_it_again(
    pool: FakeKernel, watch: Any, choose: Any
) -> None:
    async with watch(pool, chosen=choose()) as watched:
        await watched.wait(USAGE, state=State.RAISED)
        watched.watcher.adopt(choose(rules=[{"device": "pool", "action": "ignore"}]))
        event = await watched.wait(USAGE, state=State.CLEARED)
        assert event.reason is Reason.RULE
        watched.watcher.adopt(choose())
        await watched.wait(USAGE, count=2, state=State.RAISED)


async def test_a_rule_has_rungs_for_some_devices(
    pool: FakeKernel, watch: Any, choose: Any, line: Any
) -> None:
    status = "0 10/1024 416/512 - rw discard_passdown queue_if_no_space - 1024"
    pool.add("scratch", line("thin-pool", "254:2 254:3 128 0 0"), status=[status])
    rungs = [{"at": 50, "severity": "error"}]
    async with watch(pool, chosen=choose()) as watched:
        await watched.wait(USAGE, count=2)
        watched.watcher.adopt(choose(rules=[{"device": "scr*", "type": USAGE, "rungs": rungs}]))
        event = await watched.wait(USAGE, state=State.CHANGED)
        assert (event.device.name, event.severity) == ("scratch", Severity.ERROR)
        assert event.data["rung"] == 50
        watched.watcher.adopt(choose(rules=[{"device": "scr*", "type": USAGE, "rungs": []}]))
        event = await watched.wait(USAGE, state=State.CLEARED)
        await watched.settle()
        assert [c.device.name for c in watched.watcher.conditions()] == ["pool"]


async def test_a_shorter_heartbeat_holds_at_once(pool: FakeKernel, watch: Any, choose: Any) -> None:
    async with watch(pool, chosen=choose()) as watched:
        watched.watcher.adopt(choose(heartbeat=0.1))
        await watched.wait("dmwatch.heartbeat", count=2)


async def test_the_same_settings_tell_nothing(pool: FakeKernel, watch: Any, choose: Any) -> None:
    async with watch(pool, chosen=choose()) as watched:
        await watched.wait(USAGE)
        before = len(watched.events)
        watched.watcher.adopt(choose())
        await watched.settle()
        assert len(watched.events) == before


async def test_a_watcher_that_waits_is_not_busy_and_one_that_ended_is_for_ever(
    pool: FakeKernel, watch: Any, eventually: Any
) -> None:
    async with watch(pool) as watched:
        await eventually(lambda: watched.watcher.busy_for == 0.0)
    assert watched.watcher.busy_for == NEVER


async def test_a_watcher_whose_look_does_not_end_is_busy(
    pool: FakeKernel, watch: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    async with watch(pool) as watched:
        hung = asyncio.Event()
        # white-box: no call of the kernel outlives its deadline, so the look itself must hang
        monkeypatch.setattr(watched.watcher, "_look", hung.wait)
        pool.tell()
        await eventually(lambda: watched.watcher.busy_for > 0.1)


async def test_the_heartbeat_counts_the_devices_that_are_wanted(
    pool: FakeKernel, watch: Any, choose: Any, line: Any
) -> None:
    pool.add("other", line("zero"))
    async with watch(pool, "pool", chosen=choose(heartbeat=0.1)) as watched:
        assert (await watched.wait("dmwatch.heartbeat")).data == {"devices": 1}
