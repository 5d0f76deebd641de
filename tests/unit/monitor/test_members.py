"""Who is there, where a look fails half-way, a number is taken meanwhile, or a name is wanted."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.events import Reason, State
from dmwatch.ioctl.abi import Command
from dmwatch.monitor import watcher as watcher_module
from dmwatch.testing import FakeKernel

Fixture = Any
ZERO = TargetLine(0, 2048, "zero")
ERROR = TargetLine(0, 2048, "error")
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
BROKEN = "2 254:0 254:1 1 AD"
FAILING = "dmwatch.control-failing"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "PAUSE_FIRST", 0.1)


class TestALookThatFailsHalfWay:
    """The list could be had, and the one with uuids, for who is new, could not."""

    @pytest.fixture
    def failing(self, kernel: FakeKernel) -> FakeKernel:
        kernel.add("a", ZERO, minor=0)
        kernel.add("b", ZERO, minor=1)
        return kernel

    @staticmethod
    def fail_after(kernel: FakeKernel, change: Any) -> None:
        """After the list in which a change shows."""
        kernel.before(Command.LIST_DEVICES, change)
        kernel.after(Command.LIST_DEVICES, lambda: kernel.fail(Command.LIST_DEVICES, errno.ENOMEM))
        kernel.tell()

    async def test_a_device_that_came_and_went_meanwhile_is_told_as_both(
        self, failing: FakeKernel, watch: Fixture
    ) -> None:
        async with watch(failing) as watched:
            self.fail_after(failing, lambda: failing.add("new", ZERO))
            await watched.wait(FAILING, state=State.RAISED)
            failing.dm.remove("new")
            await watched.wait("device.removed", name="new")
            await watched.settle()
            assert watched.steps("new") == [
                ("device.added", None, None),
                ("device.removed", None, None),
            ]
            assert watched.watcher.count == 2

    async def test_a_device_made_anew_meanwhile_is_told_as_gone_and_added(
        self, failing: FakeKernel, watch: Fixture
    ) -> None:
        def change() -> None:
            failing.dm.remove("a")
            failing.add("new", ZERO, minor=7)

        async with watch(failing) as watched:
            self.fail_after(failing, change)
            await watched.wait(FAILING, state=State.RAISED)
            failing.add("a", ZERO, minor=0)
            await watched.wait("device.added", name="a")
            await watched.settle()
            assert watched.steps("a") == [
                ("device.removed", None, None),
                ("device.added", None, None),
            ]
            assert watched.watcher.count == 3
            failing.swap("a", ERROR)
            await watched.wait("device.error-target", name="a")

    async def test_who_was_new_then_gets_its_uuid(
        self, failing: FakeKernel, watch: Fixture
    ) -> None:
        async with watch(failing, "x/y") as watched:
            self.fail_after(failing, lambda: failing.add("x-y", ZERO, uuid="LVM-1"))
            # it is wanted by its label, which its uuid makes
            added = await watched.wait("device.added", name="x-y")
            assert added.device.uuid == "LVM-1"


class TestANumberTakenDuringARead:
    async def test_what_another_device_shows_is_not_told_of_the_one_that_is_gone(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("a", STRIPED, status=[BROKEN])
        async with watch(kernel) as watched:

            def take() -> None:
                kernel.dm.remove("a")
                kernel.add("b", ERROR, minor=0)

            kernel.before(Command.DEV_STATUS, take, device="a")
            watched.watcher.adopt(watched.watcher._settings)
            await watched.wait("device.error-target", name="b")
            await watched.settle()
            assert watched.steps("a") == [
                ("striped.leg-failed", "1", "raised"),
                ("striped.leg-failed", "1", "cleared"),
                ("device.removed", None, None),
            ]
            (over,) = watched.all("striped.leg-failed", state=State.CLEARED)
            assert over.reason is Reason.DEVICE_REMOVED

    async def test_another_uuid_under_the_same_name_is_another_device(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("a", STRIPED, status=[BROKEN], uuid="U-1")
        async with watch(kernel, diskseq=lambda _: None) as watched:

            def take() -> None:
                kernel.dm.remove("a")
                kernel.add("a", ERROR, minor=0, uuid="U-2")

            kernel.before(Command.DEV_STATUS, take, device="a")
            watched.watcher.adopt(watched.watcher._settings)
            await watched.wait("device.error-target", name="a")
            await watched.settle()
            assert [(e.type, e.reason, e.device.uuid) for e in watched.events] == [
                ("striped.leg-failed", None, "U-1"),
                ("striped.leg-failed", Reason.RECREATED, "U-1"),
                ("device.recreated", None, "U-2"),
                ("device.error-target", None, "U-2"),
            ]

    @pytest.mark.parametrize("heard", [True, False])
    async def test_a_device_made_anew_without_a_table_is_another(
        self, kernel: FakeKernel, watch: Fixture, uevents: Fixture, *, heard: bool
    ) -> None:
        kernel.add("a", STRIPED, status=[BROKEN])
        async with watch(kernel, uevents=heard) as watched:
            await watched.settle()
            uevents.send(kernel, "remove", "a")
            kernel.dm.remove("a")
            kernel.add("a")
            await watched.wait("device.recreated")
            await watched.settle()
            assert [(e.type, e.reason) for e in watched.events] == [
                ("striped.leg-failed", None),
                ("striped.leg-failed", Reason.RECREATED),
                ("device.recreated", None),
            ]


class TestARenameWhileItIsRead:
    async def test_asking_for_its_uuid_does_not_make_it_stuck(
        self, kernel: FakeKernel, watch: Fixture, eventually: Fixture
    ) -> None:
        kernel.add("a", ZERO, uuid="U")
        async with watch(kernel) as watched:
            asked = kernel.count(Command.DEV_STATUS, "b")
            release = kernel.hang(Command.DEV_STATUS, device="b")
            kernel.dm.rename("a", "b")
            await eventually(lambda: kernel.count(Command.DEV_STATUS, "b") > asked)
            watched.watcher.adopt(watched.watcher._settings)
            await eventually(lambda: kernel.count(Command.DEV_STATUS, "b") > asked + 1)
            release.set()
            await watched.wait("device.renamed")
            await watched.settle()
            assert watched.steps() == [("device.renamed", None, None)]

    async def test_a_read_under_way_does_not_hide_another_uuid(
        self, kernel: FakeKernel, watch: Fixture, eventually: Fixture
    ) -> None:
        kernel.add("a", ZERO, uuid="U-1")
        async with watch(kernel, diskseq=lambda _: None) as watched:
            asked = kernel.count(Command.TABLE_STATUS, "a")
            release = kernel.hang(Command.TABLE_STATUS, device="a")
            watched.watcher.adopt(watched.watcher._settings)
            await eventually(lambda: kernel.count(Command.TABLE_STATUS, "a") > asked)
            kernel.dm.remove("a")
            kernel.add("b", ZERO, uuid="U-2", minor=0)
            await asyncio.sleep(0.2)
            release.set()
            await watched.wait("device.added", name="b")
            await watched.settle()
            assert watched.steps("a") == [("device.removed", None, None)]
            assert watched.all("device.renamed") == []


class TestWanted:
    async def test_a_new_device_that_is_not_wanted_costs_nothing_further(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("a", ZERO)
        async with watch(kernel, "a") as watched:
            kernel.add("b", ZERO)
            await watched.settle()
            lists = kernel.count(Command.LIST_DEVICES)
            await asyncio.sleep(0.5)
            assert kernel.count(Command.LIST_DEVICES) == lists

    @pytest.mark.usefixtures("uevents")
    @pytest.mark.parametrize("lines", [(), (ERROR,)])
    async def test_a_device_is_read_once_its_name_is_wanted(
        self, kernel: FakeKernel, watch: Fixture, lines: tuple[TargetLine, ...]
    ) -> None:
        kernel.add("b", *lines)
        async with watch(kernel, "a", uevents=True) as watched:
            kernel.dm.rename("b", "a")
            await watched.wait("device.renamed", name="a")
            await watched.settle()
            assert [c.type for c in watched.watcher.conditions()] == (
                ["device.error-target"] if lines else []
            )
            assert watched.watcher.coverage()[0].unprotected != ("its status was never read",)

    @pytest.mark.usefixtures("uevents")
    async def test_a_device_is_read_once_its_label_is_wanted(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("x-y")
        async with watch(kernel, "x/y", uevents=True) as watched:
            kernel.dm.set_uuid("x-y", "LVM-1")
            await watched.wait("device.uuid-set", name="x-y")
            await watched.settle()
            assert watched.watcher.coverage()[0].unprotected != ("its status was never read",)
