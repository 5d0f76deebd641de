"""Nothing falls between arming, listing and reading; nothing is told twice."""

from __future__ import annotations

import asyncio
import itertools
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


async def test_every_look_arms_before_it_lists(kernel: FakeKernel, watching: Watching) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        for _ in range(3):
            kernel.raise_event("a")
            await asyncio.sleep(0.1)
        await watch.quiet()
    order = [c.command for c in kernel.calls if c.command.name in {"DEV_ARM_POLL", "LIST_DEVICES"}]
    plain = [c for c in kernel.calls if c.command is Command.LIST_DEVICES and not c.flags]
    assert order.count(Command.DEV_ARM_POLL) == len(plain) >= 4
    for before, after in itertools.pairwise(order):
        if before is Command.DEV_ARM_POLL:
            assert after is Command.LIST_DEVICES


async def test_what_happens_between_arming_and_listing_is_told_once(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.before(Command.LIST_DEVICES, lambda: kernel.raise_event("a"))
        kernel.tell()
        await watch.tells("device.event a")


async def test_what_happens_just_after_listing_is_told_once(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.after(Command.LIST_DEVICES, lambda: kernel.raise_event("a"))
        kernel.tell()
        await watch.tells("device.event a")


async def test_what_happens_just_before_arming_is_told_once(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.before(Command.DEV_ARM_POLL, lambda: kernel.raise_event("a"))
        kernel.tell()
        await watch.tells("device.event a")


async def test_what_happens_between_status_and_the_next_list_is_told_once(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.before(Command.TABLE_STATUS, lambda: kernel.raise_event("a"))
        kernel.raise_event("a")
        await watch.until(lambda: watch.events)
        await watch.quiet()
        assert sum(1 + event.coalesced for event in watch.events) == 2


async def test_a_device_removed_between_list_and_read_is_told_as_removed_only(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        kernel.after(Command.LIST_DEVICES, lambda: kernel.dm.remove("a"))
        kernel.raise_event("a")
        await watch.tells("device.removed a")


async def test_a_device_removed_during_the_first_look_does_no_harm(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    kernel.add("b", ZERO)
    kernel.after(Command.LIST_DEVICES, lambda: kernel.dm.remove("a"))
    async with watching(kernel) as watch:
        await watch.tells("device.removed a")


async def test_two_watchers_in_one_process_do_not_disturb_each_other(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as first, watching(kernel, "b*") as second:
        kernel.raise_event("a")
        kernel.add("b", ZERO)
        await first.until(lambda: len(first.events) == 2)
        await second.tells("device.added b")
        await first.tells("device.event a", "device.added b")


async def test_only_the_devices_that_were_asked_for_are_told_and_read(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("vg-x", ZERO)
    kernel.add("other", ZERO)
    async with watching(kernel, "vg-*") as watch:
        assert watch.watcher.count == 1
        kernel.raise_event("other")
        kernel.dm.remove("other")
        kernel.raise_event("vg-x")
        await watch.tells("device.event vg-x")
    assert kernel.count(Command.TABLE_STATUS, "other") == 0


async def test_a_device_that_leaves_what_was_asked_for_is_told_once_more(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    kernel.add("vg-x", ZERO)
    async with watching(kernel, "vg-*") as watch:
        kernel.dm.rename("vg-x", "x")
        await watch.until(lambda: watch.events)
        kernel.dm.rename("x", "y")
        kernel.raise_event("y")
        await watch.tells("device.renamed x")


async def test_a_reader_that_is_slow_gets_the_last_state_and_memory_stays_bounded(
    watching: Watching, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmwatch.monitor.outbox.QUEUE_LENGTH", 5)
    for name in ("a", "b"):
        kernel.add(name, LINEAR, status=["0"])
    async with watching(kernel, read=False) as watch:
        for number in range(1, 51):
            for name in ("a", "b"):
                kernel.set_status(name, 0, str(number))
                kernel.raise_event(name)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        watch.start()
        await watch.until(lambda: len(watch.events) > 5)
        await watch.quiet()
    assert len(watch.events) < 30
    for name in ("a", "b"):
        mine = [e for e in watch.events if e.device and e.device.name == name]
        assert mine[-1].data["after"][0]["status"] == "50"
        assert sum(1 + event.coalesced for event in mine) == 50
    assert [e.sequence for e in watch.events] == list(range(1, len(watch.events) + 1))


async def test_a_storm_of_renames_creations_and_removals_leaves_the_final_state(
    watching: Watching,
    kernel: FakeKernel,
) -> None:
    kernel.add("first-0", ZERO)

    def storm() -> None:
        for number in range(300):
            kernel.dm.rename(f"first-{number}", f"first-{number + 1}")
        for number in range(100):
            kernel.add(f"new-{number}", ZERO)
        for number in range(0, 100, 2):
            kernel.dm.remove(f"new-{number}")

    async with watching(kernel) as watch:
        await asyncio.to_thread(storm)
        await watch.until(lambda: watch.watcher.count == 51)
        await watch.quiet(1)
        alive: dict[str, str] = {"first-0": "first-0"}
        for event in watch.events:
            assert event.device is not None
            if event.type == "device.renamed":
                del alive[event.data["old_name"]]
            if event.type == "device.removed":
                del alive[event.device.name]
            elif event.type in {"device.added", "device.renamed"}:
                alive[event.device.name] = event.device.name
        assert set(alive) == {"first-300", *(f"new-{number}" for number in range(1, 100, 2))}


async def test_sequences_have_no_gaps_and_ids_are_unique(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    async with watching(kernel) as watch:
        for _ in range(5):
            kernel.raise_event("a")
            await asyncio.sleep(0.05)
        await watch.until(lambda: sum(1 + e.coalesced for e in watch.events) == 5)
    assert [e.sequence for e in watch.events] == list(range(1, len(watch.events) + 1))
    assert len({e.id for e in watch.events}) == len(watch.events)
