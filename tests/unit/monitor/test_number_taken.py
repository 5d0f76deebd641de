"""A device that got the number of a removed one between two looks, and no witness of that."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dmwatch.ioctl.abi import Command
from dmwatch.ioctl.payload import ListedDevice
from dmwatch.monitor.incarnations import mark, number_taken
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.snapshot import Changed
from dmwatch.monitor.tracked import Tracked
from dmwatch.monitor.uevents import Uevent
from dmwatch.monitor.watcher import Watcher
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

ERROR = TargetLine(0, 8, "error")
ZERO = TargetLine(0, 8, "zero")


async def told(watcher: Watcher, last: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(30):
        async for event in watcher:
            assert event.device is not None
            found.append((event.type, event.device.name))
            if event.type == last:
                return found
    return found


async def test_another_uuid_under_another_name_is_another_device() -> None:
    kernel = FakeKernel()
    kernel.add("a", ERROR, uuid="A")
    watcher = Watcher(control=kernel.open(), uevents=False, diskseq=lambda _: None)
    async with watcher:
        kernel.dm.remove("a")
        kernel.add("b", ZERO, uuid="B")
        assert len(kernel.devices) == 1
        found = await told(watcher, "device.added")
    assert found == [
        ("device.error-target", "a"),
        ("device.error-target", "a"),
        ("device.removed", "a"),
        ("device.added", "b"),
    ]


async def test_the_same_uuid_under_another_name_is_a_rename() -> None:
    kernel = FakeKernel()
    kernel.add("a", ERROR, uuid="A")
    watcher = Watcher(control=kernel.open(), uevents=False, diskseq=lambda _: None)
    async with watcher:
        kernel.dm.rename("a", "b")
        found = await told(watcher, "device.renamed")
    assert found == [("device.error-target", "a"), ("device.renamed", "b")]


async def test_a_renamed_device_that_hangs_keeps_no_other_from_being_seen() -> None:
    kernel = FakeKernel()
    kernel.add("a", ERROR, uuid="A")
    async with Watcher(control=kernel.open(), uevents=False, diskseq=lambda _: None) as watcher:
        release = kernel.hang(Command.DEV_STATUS, device="b")
        try:
            kernel.dm.rename("a", "b")
            kernel.add("c", ZERO)
            found = await told(watcher, "device.added")
        finally:
            release.set()
    assert ("device.added", "c") in found
    assert ("dmwatch.control-failing", "") not in found


async def test_of_one_uuid_the_old_device_is_told_to_be_gone_before_the_new_one_is_told() -> None:
    kernel = FakeKernel()
    kernel.add("other", ZERO)
    kernel.add("a", ERROR, uuid="A")
    async with Watcher(control=kernel.open(), uevents=False, diskseq=kernel.diskseq) as watcher:
        # the old one is being read when it goes, and that takes a while
        reading, release = threading.Event(), threading.Event()

        def hang() -> None:
            reading.set()
            release.wait()

        kernel.before(Command.TABLE_STATUS, hang, device="a")
        kernel.raise_event("a")
        await asyncio.to_thread(reading.wait)
        kernel.dm.remove("other")
        kernel.dm.remove("a")
        kernel.add("a", ERROR, uuid="A")
        await asyncio.sleep(0.3)
        release.set()
        async with asyncio.timeout(30):
            found = [await anext(watcher) for _ in range(6)]
    steps = [(e.type, e.state, str(e.device.number)) for e in found if e.device and e.device.uuid]
    assert steps == [
        ("device.error-target", "raised", "253:1"),
        ("device.error-target", "cleared", "253:1"),
        ("device.removed", None, "253:1"),
        ("device.added", None, "253:0"),
        ("device.error-target", "raised", "253:0"),
    ]


@pytest.mark.parametrize("actions", [(), ("remove",), ("remove", "add"), ("change",)])
def test_where_incarnations_have_no_number_a_removal_says_that_another_name_is_another_device(
    actions: tuple[str, ...],
) -> None:
    number = DeviceNumber(253, 0)
    device = Tracked(number, DeviceName("a"), 0, Settings())
    for action in actions:
        mark(device, Uevent(action, number, None, {}))
    before, after = (ListedDevice(number, DeviceName(name), 0) for name in ("a", "b"))
    taken = "remove" in actions
    assert number_taken(device, Changed(before, after), lambda _: None) is taken
    assert not number_taken(device, Changed(before, before), lambda _: None)
