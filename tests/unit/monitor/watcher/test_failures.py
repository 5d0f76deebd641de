"""What fails, hangs or makes no sense loses nothing and delays nobody."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest

from dmwatch.events import State
from dmwatch.ioctl.abi import Command
from dmwatch.monitor.workers import LIMIT
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

Watching = Callable[..., AbstractAsyncContextManager[Any]]
ZERO = TargetLine(0, 2048, "zero")
LINEAR = TargetLine(0, 2048, "linear", "7:0 0")
ERA = TargetLine(0, 2048, "era", "7:0 7:1 64")
FRESH = 0.3


def told(watch: Any, event: str, number: int) -> bool:
    return bool(watch.counts(event) == number)


async def test_nothing_is_lost_when_the_list_fails_after_arming(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.fail(Command.LIST_DEVICES, errno.ENOMEM, times=2)
        kernel.raise_event("a")
        kernel.add("b", ZERO)
        await watch.until(lambda: "device.added b" in watch.told())
        await watch.quiet()
        failing = [e.state for e in watch.events if e.type == "dmwatch.control-failing"]
        assert failing in ([], [State.RAISED, State.CLEARED])
        rest = [t for t in watch.told() if t != "dmwatch.control-failing"]
        assert sorted(rest) == ["device.added b", "device.event a"]


async def test_a_uuid_is_not_lost_when_the_list_with_uuids_fails(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a")
    async with watching(kernel) as watch:
        kernel.after(Command.LIST_DEVICES, lambda: kernel.fail(Command.LIST_DEVICES, errno.ENOMEM))
        kernel.dm.set_uuid("a", "LVM-a")
        await watch.until(lambda: "device.uuid-set a" in watch.told())
        await watch.quiet()
        assert watch.told().count("device.uuid-set a") == 1


@pytest.mark.parametrize("command", [Command.DEV_ARM_POLL, Command.LIST_DEVICES])
async def test_a_command_that_fails_for_ever_does_not_make_it_spin(
    watching: Watching, kernel: FakeKernel, command: Command
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        before = len(kernel.calls)
        kernel.fail(command, errno.EIO, times=None)
        kernel.raise_event("a")
        await asyncio.sleep(1)
        # pauses of 0.05, 0.1 and then 0.2 s; each look arms, and lists if that works
        assert 2 <= len(kernel.calls) - before <= 20
        kernel.calm()
        await watch.until(lambda: "device.event a" in watch.told())


async def test_a_list_that_makes_no_sense_is_asked_for_again(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.inject(Command.LIST_DEVICES, b"\xff" * 400, times=2)
        kernel.raise_event("a")
        await watch.until(lambda: "device.event a" in watch.told())
        assert watch.told().count("device.event a") == 1


async def test_a_status_that_makes_no_sense_stands_as_unreadable_until_it_does(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    kernel.add("a", ZERO)
    kernel.add("b", ZERO)
    async with watching(kernel) as watch:
        kernel.inject(Command.TABLE_STATUS, b"\xff" * 400, times=None, device="a")
        kernel.raise_event("a")
        kernel.raise_event("b")
        await watch.until(lambda: "device.status-unreadable a" in watch.told())
        await watch.until(lambda: "device.event b" in watch.told())
        kernel.calm()
        kernel.raise_event("a")
        await watch.until(lambda: watch.told().count("device.status-unreadable a") == 2)
        states = [e.state for e in watch.events if e.type == "device.status-unreadable"]
        assert states == [State.RAISED, State.CLEARED]


async def test_a_status_that_hangs_stands_as_stuck_and_delays_nobody(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    kernel.add("b", ZERO)
    async with watching(kernel, status_timeout=0.3) as watch:
        release = kernel.hang(Command.TABLE_STATUS, device="a")
        try:
            kernel.raise_event("a")
            for number in range(1, 4):
                kernel.raise_event("b")
                await watch.until(partial(told, watch, "device.event b", number))
            await watch.until(lambda: "device.status-stuck a" in watch.told())
            pinned = kernel.count(Command.TABLE_STATUS, "a")
            kernel.raise_event("a", times=3)
            await watch.quiet()
            # one call is out on it, and no other is made
            assert kernel.count(Command.TABLE_STATUS, "a") == pinned
        finally:
            release.set()
        await watch.until(lambda: watch.told().count("device.status-stuck a") == 2)
        states = [e.state for e in watch.events if e.type == "device.status-stuck"]
        assert states == [State.RAISED, State.CLEARED]
        await watch.quiet()
        assert watch.watcher.conditions() == []


async def test_a_device_that_hangs_from_the_start_does_not_keep_the_watcher_from_starting(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    kernel.add("a", ZERO)
    kernel.add("b", ZERO)
    release = kernel.hang(Command.TABLE_STATUS, device="a")
    try:
        async with watching(kernel, status_timeout=0.3) as watch:
            await watch.until(lambda: "device.status-stuck a" in watch.told())
            assert watch.events[0].initial
            kernel.raise_event("b")
            await watch.until(lambda: "device.event b" in watch.told())
    finally:
        release.set()


async def test_many_devices_that_hang_keep_the_watcher_from_starting_no_longer_than_a_few(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    names = [f"hung-{number}" for number in range(100)]
    for name in names:
        kernel.add(name, ZERO)
    release = kernel.hang(Command.TABLE_STATUS)
    try:
        began = asyncio.get_running_loop().time()
        async with watching(kernel, status_timeout=0.5) as watch:
            assert asyncio.get_running_loop().time() - began < 4
            stuck = {f"device.status-stuck {name}" for name in names}
            await watch.until(lambda: stuck == set(watch.told()))
            asked = ["cannot be asked for" not in event.summary for event in watch.events]
            assert asked.count(True) == LIMIT
            release.set()
            await watch.until(lambda: len(watch.events) == 200)
            assert watch.watcher.conditions() == []
    finally:
        release.set()


async def test_devices_that_hang_pin_a_bounded_number_of_threads_and_the_list_goes_on(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    names = [f"hung-{number}" for number in range(LIMIT + 4)]
    for name in [*names, "good"]:
        kernel.add(name, ZERO)
    before = threading.active_count()
    async with watching(kernel, status_timeout=0.3) as watch:
        releases = [kernel.hang(Command.TABLE_STATUS, device=name) for name in names]
        try:
            for name in names:
                kernel.raise_event(name)
            stuck = [f"device.status-stuck {name}" for name in names]
            await watch.until(lambda: set(stuck) <= set(watch.told()))
            assert threading.active_count() - before <= LIMIT + 2
            kernel.dm.remove("good")
            await watch.until(lambda: "device.removed good" in watch.told(), seconds=5)
        finally:
            for release in releases:
                release.set()


async def test_a_device_that_is_removed_while_it_hangs_is_told_as_removed(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel, status_timeout=0.2) as watch:
        release = kernel.hang(Command.TABLE_STATUS, device="a")
        try:
            kernel.raise_event("a")
            await watch.until(lambda: "device.status-stuck a" in watch.told())
            kernel.dm.remove("a")
            await watch.until(lambda: "device.removed a" in watch.told())
        finally:
            release.set()
        await watch.quiet()
        assert watch.told()[-1] == "device.removed a"


async def test_era_is_not_read_while_it_is_suspended(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ERA, status=["8 12/2048 2 -"])
    async with watching(kernel, heartbeat=0.2) as watch:
        kernel.dm.suspend("a")
        reads = kernel.count(Command.TABLE_STATUS)
        kernel.raise_event("a")
        await asyncio.sleep(0.6)
        assert kernel.count(Command.TABLE_STATUS) == reads
        kernel.set_status("a", 0, "8 13/2048 3 -")
        kernel.dm.resume("a")
        await watch.until(lambda: kernel.count(Command.TABLE_STATUS) > reads)


async def test_a_device_suspended_from_the_start_is_not_read_while_its_table_is_unknown(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    kernel.add("a", ERA, status=["8 12/2048 2 -"])
    kernel.dm.suspend("a")
    async with watching(kernel) as watch:
        kernel.raise_event("a")
        await watch.quiet()
        assert kernel.count(Command.TABLE_STATUS) == 0
