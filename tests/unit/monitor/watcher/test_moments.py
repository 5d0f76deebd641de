"""Each moment is told once, and with what belongs to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from dmwatch.ioctl.abi import Command
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

Watching = Callable[..., AbstractAsyncContextManager[Any]]
ZERO = TargetLine(0, 2048, "zero")
LINEAR = TargetLine(0, 2048, "linear", "7:0 0")
ERA = TargetLine(0, 2048, "era", "7:0 7:1 64")
FRESH = 0.3


async def test_what_was_there_before_is_not_told_as_added(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    kernel.add("b")
    async with watching(kernel) as watch:
        assert watch.watcher.count == 2
        await watch.quiet()
        assert watch.events == []


async def test_a_new_device_is_told_with_its_table(kernel: FakeKernel, watching: Watching) -> None:
    async with watching(kernel) as watch:
        kernel.add("a", ZERO, uuid="LVM-a")
        await watch.tells("device.added a")
        (event,) = watch.events
        assert event.data["targets"] == [{"start": 0, "length": 2048, "type": "zero"}]
        assert event.device is not None
        assert (event.device.uuid, event.device.diskseq) == ("LVM-a", 1)
        assert watch.watcher.count == 1


async def test_a_new_device_whose_table_comes_a_little_later_is_told_once(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    async with watching(kernel) as watch:
        kernel.dm.create("a")
        await asyncio.sleep(FRESH / 3)
        kernel.dm.load("a", [ZERO])
        kernel.dm.resume("a")
        await watch.tells("device.added a")
        assert watch.events[0].data["targets"]


async def test_a_new_device_without_a_table_is_told_when_its_time_is_over(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    async with watching(kernel) as watch:
        kernel.add("a")
        await asyncio.sleep(FRESH / 2)
        assert watch.events == []
        await watch.tells("device.added a")
        assert "without a table" in watch.events[0].summary


async def test_a_device_that_comes_and_goes_at_once_is_told_both_ways_or_not_at_all(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    async with watching(kernel) as watch:
        kernel.add("a")
        await asyncio.sleep(0.05)
        kernel.dm.remove("a")
        await watch.quiet()
        assert watch.told() in ([], ["device.added a", "device.removed a"])


async def test_a_removed_device_is_told(kernel: FakeKernel, watching: Watching) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.dm.remove("a")
        await watch.tells("device.removed a")
        assert watch.watcher.count == 0


@pytest.mark.parametrize("lines", [(), (ZERO,)])
async def test_a_renamed_device_is_told_and_its_event_number_explained(
    watching: Watching, kernel: FakeKernel, lines: tuple[TargetLine, ...]
) -> None:
    kernel.add("a", *lines)
    async with watching(kernel) as watch:
        kernel.dm.rename("a", "b")
        await watch.tells("device.renamed b")
        assert watch.events[0].data == {"old_name": "a"}


@pytest.mark.parametrize("version", [(4, 43, 0), (4, 47, 0)])
@pytest.mark.parametrize("lines", [(), (ZERO,)])
async def test_a_uuid_that_is_set_is_told(
    watching: Watching, lines: tuple[TargetLine, ...], version: tuple[int, int, int]
) -> None:
    kernel = FakeKernel(version)
    kernel.add("a", *lines)
    async with watching(kernel) as watch:
        kernel.dm.set_uuid("a", "LVM-a")
        await watch.tells("device.uuid-set a")
        device = watch.events[0].device
        assert device is not None
        assert device.uuid == "LVM-a"


async def test_an_event_is_told_with_what_was_and_what_is(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", LINEAR, status=["before"])
    async with watching(kernel) as watch:
        kernel.set_status("a", 0, "after")
        kernel.raise_event("a")
        await watch.tells("device.event a")
        (event,) = watch.events
        assert (event.event_nr, event.coalesced) == (1, 0)
        assert event.data["before"][0]["status"] == "before"
        assert event.data["after"][0]["status"] == "after"


async def test_events_between_two_looks_are_folded_and_counted(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.raise_event("a", times=5)
        await watch.until(lambda: watch.events)
        await watch.quiet()
        assert set(watch.told()) == {"device.event a"}
        assert sum(1 + event.coalesced for event in watch.events) == 5
        assert watch.events[-1].event_nr == 5


async def test_an_event_number_that_wraps_is_told_as_one_event(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO).event_nr = 0xFFFFFFFF
    async with watching(kernel) as watch:
        kernel.raise_event("a")
        await watch.tells("device.event a")
        assert (watch.events[0].event_nr, watch.events[0].coalesced) == (0, 0)


async def test_a_swapped_table_is_told(kernel: FakeKernel, watching: Watching) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.swap("a", TargetLine(0, 4096, "linear", "7:0 0"))
        await watch.tells("device.table-changed a", "device.resized a")


async def test_the_wake_inside_a_resume_does_not_hide_the_new_table(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        gate = kernel.hold_resumes()
        kernel.dm.load("a", [LINEAR])
        thread = threading.Thread(target=kernel.dm.resume, args=("a",))
        thread.start()
        await asyncio.sleep(0.2)
        gate.set()
        await asyncio.to_thread(thread.join)
        await watch.tells("device.table-changed a")


async def test_a_wake_with_nothing_new_tells_nothing(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.tell()
        await watch.quiet()
        assert watch.events == []


async def test_a_number_taken_by_another_device_is_two_devices(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)

    def swap() -> None:
        kernel.dm.remove("a")
        kernel.add("b", ZERO, uuid="LVM-b")

    async with watching(kernel) as watch:
        kernel.before(Command.LIST_DEVICES, swap)
        kernel.tell()
        await watch.tells("device.removed a", "device.added b")
        device = watch.events[1].device
        assert device is not None
        assert (device.uuid, device.diskseq) == ("LVM-b", 2)


@pytest.mark.parametrize("events", [0, 3])
async def test_a_device_made_anew_between_two_lists_is_recreated(
    watching: Watching, kernel: FakeKernel, events: int
) -> None:
    kernel.add("a", ZERO)
    kernel.raise_event("a", times=3)

    def anew() -> None:
        kernel.dm.remove("a")
        kernel.add("a", LINEAR)
        kernel.raise_event("a", times=events)

    async with watching(kernel) as watch:
        kernel.before(Command.LIST_DEVICES, anew)
        kernel.tell()
        await watch.until(lambda: "device.recreated a" in watch.told())
        await watch.quiet()
        assert watch.told().count("device.recreated a") == 1
        assert "device.table-changed a" not in watch.told()
        assert watch.events[-1].device is not None
        assert watch.events[-1].device.diskseq == 2


async def test_a_name_that_is_not_unicode_is_watched_like_any_other(
    kernel: FakeKernel, watching: Watching
) -> None:
    async with watching(kernel) as watch:
        kernel.add("a\udcff\n", ZERO)
        await watch.until(lambda: watch.events)
        kernel.raise_event("a\udcff\n")
        kernel.dm.remove(kernel.device("a\udcff\n").number)
        await watch.until(lambda: "device.removed a\\xff\\x0a" in watch.told())
        assert all("\n" not in event.json_line() for event in watch.events)
