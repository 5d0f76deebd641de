"""Devices that cannot be read, or not now, through the whole watcher."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.ioctl.abi import Command
from dmwatch.testing import FakeKernel

Fixture = Any
LINEAR = TargetLine(0, 2048, "linear", "8:1 0")
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"
ERA = TargetLine(0, 32768, "era", "254:0 254:1 128")
ERA_STATUS = "8 12/2048 2 24"


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture(params=["uevents", "alone"])
def swap(
    request: pytest.FixtureRequest, kernel: FakeKernel, uevents: Fixture
) -> Callable[..., dict[str, bool]]:
    """Swap a table with the uevent that comes of it; or a watcher that hears none."""
    heard = request.param == "uevents"

    def swapped(name: str | None = None, *lines: TargetLine, **properties: str) -> dict[str, bool]:
        if name is not None:
            kernel.swap(name, *lines)
            if heard:
                uevents.send(kernel, "change", name, **properties)
        return {"uevents": heard}

    return swapped


class TestStuck:
    async def test_it_stands_until_the_call_comes_back_while_others_go_on(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("hung", STRIPED, status=[WELL])
        kernel.add("well", STRIPED, status=[WELL])
        async with watch(kernel, chosen=choose(status_timeout=0.3)) as watched:
            released = kernel.hang(Command.TABLE_STATUS, device="hung")
            kernel.set_status("hung", 0, BROKEN)
            kernel.raise_event("hung")
            stuck = await watched.wait("device.status-stuck", state="raised")
            assert (stuck.severity, bool(stuck.advice)) == ("error", True)
            for n in range(1, 4):
                kernel.raise_event("well")
                await watched.wait("device.event", count=n, name="well")
            released.set()
            cleared = await watched.wait("device.status-stuck", state="cleared")
            assert cleared.reason == "healthy"
            await watched.wait("striped.leg-failed", name="hung")
            assert len(watched.all("device.status-stuck")) == 2

    async def test_what_stands_besides_stays(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("hung", STRIPED, status=[BROKEN])
        async with watch(kernel, chosen=choose(status_timeout=0.2)) as watched:
            released = kernel.hang(Command.TABLE_STATUS)
            kernel.raise_event("hung")
            await watched.wait("device.status-stuck", state="raised")
            assert [c.type for c in watched.watcher.conditions()] == [
                "striped.leg-failed",
                "device.status-stuck",
            ]
            released.set()

    async def test_it_is_initial_where_it_hangs_from_the_start(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("hung", STRIPED, status=[WELL])
        kernel.add("well", STRIPED, status=[BROKEN])
        released = kernel.hang(Command.TABLE_STATUS, device="hung")
        async with watch(kernel, chosen=choose(status_timeout=0.2)) as watched:
            assert (await watched.wait("device.status-stuck")).initial
            assert (await watched.wait("striped.leg-failed")).initial
            released.set()
            assert not (await watched.wait("device.status-stuck", state="cleared")).initial

    async def test_a_new_device_that_hangs_is_told_as_added(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        released = kernel.hang(Command.TABLE_STATUS, device="hung")
        async with watch(kernel, chosen=choose(status_timeout=0.2)) as watched:
            kernel.add("hung", STRIPED, status=[WELL])
            await watched.wait("device.status-stuck", state="raised")
            assert [type_ for type_, *_ in watched.steps()] == [
                "device.added",
                "device.status-stuck",
            ]
            lists = kernel.count(Command.LIST_DEVICES)
            await asyncio.sleep(0.4)
            # a list for every tenth of a second would be 4
            assert kernel.count(Command.LIST_DEVICES) <= lists + 1
            released.set()
            await watched.wait("device.status-stuck", state="cleared")

    async def test_closing_works_while_calls_hang(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        for n in range(20):
            kernel.add(f"hung{n}", STRIPED, status=[WELL])
        fds = descriptors()
        async with watch(kernel, chosen=choose(status_timeout=0.2)) as watched:
            released = kernel.hang(Command.TABLE_STATUS)
            for n in range(20):
                kernel.raise_event(f"hung{n}")
            await watched.wait("device.status-stuck", count=20)
        assert [task for task in asyncio.all_tasks() if "dmwatch" in task.get_name()] == []
        assert descriptors() <= fds
        released.set()


class TestUnreadable:
    async def test_an_answer_that_makes_no_sense_stands_with_field_and_position(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[WELL])
        async with watch(kernel) as watched:
            kernel.set_status("vol", 0, "2 254:0 254:1 1 A?")
            kernel.raise_event("vol")
            told = await watched.wait("device.status-unreadable", state="raised")
            assert told.severity == "error"
            assert told.target == "striped"
            assert set(told.data) == {"target", "field", "position"}
            kernel.set_status("vol", 0, WELL)
            kernel.raise_event("vol")
            cleared = await watched.wait("device.status-unreadable", state="cleared")
            assert cleared.reason == "healthy"

    async def test_what_stood_before_stays_until_it_can_be_read(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", STRIPED, status=[BROKEN])
        async with watch(kernel) as watched:
            kernel.set_status("vol", 0, "gibberish")
            kernel.raise_event("vol")
            await watched.wait("device.status-unreadable", state="raised")
            assert [c.type for c in watched.watcher.conditions()] == [
                "striped.leg-failed",
                "device.status-unreadable",
            ]

    async def test_an_error_of_the_kernel_stands_and_the_record_does_not_clear_it(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("vol", LINEAR)
        chosen = choose(heartbeat=0.1, poll_interval=0.2)
        async with watch(kernel, chosen=chosen) as watched:
            kernel.fail(Command.TABLE_STATUS, errno.EIO, times=None)
            kernel.raise_event("vol")
            await watched.wait("device.status-unreadable", state="raised")
            await watched.called(Command.DEV_STATUS, "vol", 5)
            assert len(watched.all("device.status-unreadable")) == 1
            kernel.calm()
            await watched.wait("device.status-unreadable", state="cleared", reason="healthy")

    async def test_a_new_device_that_cannot_be_read_is_told_as_added(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        async with watch(kernel) as watched:
            kernel.fail(Command.TABLE_STATUS, errno.EIO, times=None)
            kernel.add("vol", LINEAR)
            await watched.wait("device.status-unreadable", state="raised")
            assert watched.steps("vol")[0] == ("device.added", None, None)


class TestEra:
    async def test_its_status_is_not_read_while_it_is_suspended(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("era", ERA, status=[ERA_STATUS])
        async with watch(kernel, chosen=choose(heartbeat=0.2, poll_interval=0.1)) as watched:
            kernel.dm.suspend("era")
            await watched.settle()
            before = kernel.count(Command.TABLE_STATUS, "era")
            await watched.called(Command.DEV_STATUS, "era", 4)
            assert kernel.count(Command.TABLE_STATUS, "era") == before
            kernel.set_status("era", 0, "Error")
            kernel.dm.resume("era")
            await watched.wait("era.unreadable", state="raised")

    async def test_what_is_suspended_from_the_start_is_not_read_as_it_could_be_one(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("era", ERA, status=["Error"])
        kernel.dm.suspend("era")
        async with watch(kernel, chosen=choose(poll_interval=0.1)) as watched:
            await watched.settle()
            assert kernel.count(Command.TABLE_STATUS) == 0
            kernel.dm.resume("era")
            assert await watched.wait("era.unreadable", state="raised")


async def test_an_event_that_a_look_at_the_record_came_across_is_still_read(
    kernel: FakeKernel, watch: Fixture, choose: Fixture
) -> None:
    kernel.add("vol", STRIPED, status=[WELL])
    async with watch(kernel, chosen=choose(heartbeat=0.1)) as watched:

        def fail() -> None:
            kernel.set_status("vol", 0, BROKEN)
            kernel.raise_event("vol")

        kernel.before(Command.DEV_STATUS, fail, device="vol")
        await watched.wait("striped.leg-failed", event_nr=1)
        assert watched.all("device.event") == []
