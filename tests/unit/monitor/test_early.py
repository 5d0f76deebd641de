"""Uevents of a device that no look has found yet."""

from __future__ import annotations

from typing import Any

from dmwatch import TargetLine
from dmwatch.events import Reason, State
from dmwatch.testing import FakeKernel

Fixture = Any
IMAGE = TargetLine(0, 2048, "verity", "x")
CORRUPTED = "verity.block-corrupted"


async def test_a_block_that_was_corrupted_before_the_device_was_listed_is_told(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    async with watch(kernel, uevents=True) as watched:
        kernel.add("img", IMAGE, status=["C"])
        uevents.send(kernel, "change", "img", DM_VERITY_ERR_BLOCK_NR="0,7")
        uevents.send(kernel, "change", "img", DM_VERITY_ERR_BLOCK_NR="1,8")
        await watched.wait(CORRUPTED, count=2)
        await watched.settle()
        assert watched.steps() == [
            ("device.added", None, None),
            ("verity.corrupted", None, "raised"),
            (CORRUPTED, None, None),
            (CORRUPTED, None, None),
        ]
        assert [e.data["block"] for e in watched.all(CORRUPTED)] == [7, 8]


async def test_a_block_that_was_corrupted_before_the_table_was_told_is_told(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    async with watch(kernel, uevents=True) as watched:
        device = kernel.add("img")
        await watched.settle()
        assert watched.events == []
        kernel.swap("img", IMAGE, status=["C"])
        assert device.diskseq
        uevents.send(kernel, "change", "img")
        uevents.send(kernel, "change", "img", DM_VERITY_ERR_BLOCK_NR="0,7")
        assert (await watched.wait(CORRUPTED)).data["block"] == 7
        assert watched.steps()[0] == ("device.added", None, None)


async def test_a_corrupted_block_of_a_device_made_anew_is_told(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    kernel.add("img", IMAGE, status=["C"])
    async with watch(kernel, uevents=True) as watched:
        kernel.dm.remove("img")
        kernel.add("img", IMAGE, status=["C"])
        uevents.send(kernel, "change", "img", DM_VERITY_ERR_BLOCK_NR="0,7")
        await watched.wait(CORRUPTED)
        await watched.settle()
        (over,) = watched.all("verity.corrupted", state=State.CLEARED)
        assert over.reason is Reason.RECREATED
        told = [event.type for event in watched.events]
        assert told.index("device.recreated") < told.index(CORRUPTED)
        assert told.count(CORRUPTED) == 1


async def test_what_an_earlier_device_of_that_number_said_is_not_told_of_a_later_one(
    kernel: FakeKernel, watch: Fixture, uevents: Fixture
) -> None:
    async with watch(kernel, uevents=True) as watched:
        kernel.add("img", IMAGE, status=["C"])
        uevents.send(kernel, "change", "img", DM_VERITY_ERR_BLOCK_NR="0,7")
        kernel.dm.remove("img")
        kernel.add("other", IMAGE, status=["V"])
        await watched.wait("device.added", name="other")
        await watched.settle()
        assert watched.all(CORRUPTED) == []
