"""How watching begins and ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from dmwatch.errors import InterfaceTooOldError, NotPermittedError
from dmwatch.events import State
from dmwatch.ioctl.abi import Command
from dmwatch.monitor.watcher import Watcher
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

Watching = Callable[..., AbstractAsyncContextManager[Any]]
ZERO = TargetLine(0, 2048, "zero")
LINEAR = TargetLine(0, 2048, "linear", "7:0 0")
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
ERA = TargetLine(0, 2048, "era", "7:0 7:1 64")
FRESH = 0.3


@pytest.mark.parametrize("version", [(4, 27, 0), (4, 36, 0)])
async def test_a_kernel_that_cannot_be_watched_is_too_old(version: tuple[int, int, int]) -> None:
    kernel = FakeKernel(version)
    control = kernel.open()
    with pytest.raises(InterfaceTooOldError, match=r"needs device-mapper 4\.37"):
        async with Watcher(control=control, uevents=False):
            pass
    assert control.fileno() == -1


async def test_without_privilege_it_does_not_begin(kernel: FakeKernel, watching: Watching) -> None:
    kernel.permitted = False
    control = kernel.open()
    with pytest.raises(NotPermittedError):
        async with Watcher(control=control, uevents=False):
            pass
    assert control.fileno() == -1


async def test_leaving_closes_the_node_and_ends_every_task(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    mine = asyncio.all_tasks()
    control = kernel.open()
    async with Watcher(control=control, uevents=False):
        assert control.fileno() >= 0
        kernel.raise_event("a")
    assert control.fileno() == -1
    assert asyncio.all_tasks() == mine


async def test_cancelling_who_watches_leaves_no_task_and_no_thread(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    mine, threads = asyncio.all_tasks(), set(threading.enumerate())
    began = asyncio.Event()

    async def watch() -> None:
        async with Watcher(control=kernel.open(), uevents=False) as watcher:
            began.set()
            async for _ in watcher:
                pass

    task = asyncio.create_task(watch())
    await began.wait()
    kernel.raise_event("a")
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == mine
    for thread in set(threading.enumerate()) - threads:
        thread.join(5)
        assert not thread.is_alive(), thread


async def test_cancelling_the_beginning_closes_the_node(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    control = kernel.open()
    release = kernel.hang(Command.TABLE_STATUS)
    task = asyncio.create_task(Watcher(control=control, uevents=False).__aenter__())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert control.fileno() == -1
    release.set()


async def test_leaving_does_not_wait_for_a_call_that_hangs(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    loop = asyncio.get_running_loop()
    async with watching(kernel, status_timeout=0.2) as watch:
        release = kernel.hang(Command.TABLE_STATUS, device="a")
        kernel.raise_event("a")
        await watch.until(lambda: "device.status-stuck a" in watch.told())
        start = loop.time()
    assert loop.time() - start < 1
    release.set()


async def test_a_call_that_comes_back_after_leaving_starts_nothing(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", ZERO)
    mine = asyncio.all_tasks()
    async with watching(kernel, status_timeout=0.2) as watch:
        release = kernel.hang(Command.TABLE_STATUS, device="a")
        kernel.raise_event("a")
        await watch.until(lambda: "device.status-stuck a" in watch.told())
    release.set()
    for _ in range(10):
        await asyncio.sleep(0.02)
        assert {task.get_name() for task in asyncio.all_tasks() - mine} == set()


async def test_what_stands_already_comes_first_and_is_initial(
    kernel: FakeKernel, watching: Watching
) -> None:
    kernel.add("a", TargetLine(0, 2048, "error"))
    async with watching(kernel) as watch:
        await watch.tells("device.error-target a")
        assert watch.events[0].initial
        assert [c.type for c in watch.watcher.conditions()] == ["device.error-target"]
        kernel.dm.remove("a")
        await watch.tells("device.error-target a", "device.error-target a", "device.removed a")
        assert watch.events[1].state is State.CLEARED


async def test_what_stood_before_can_be_learned_late(kernel: FakeKernel) -> None:
    broken = ["2 254:0 254:1 1 AD"]
    for name in ("stands", "mended", "gone", "new"):
        kernel.add(name, STRIPED, status=broken, uuid=f"LVM-{name}")
    control = kernel.open()
    async with Watcher(control=control, uevents=False, diskseq=kernel.diskseq) as watcher:
        stood = [c for c in watcher.conditions() if c.device and c.device.name != "new"]
    kernel.dm.remove("gone")
    kernel.set_status("mended", 0, "2 254:0 254:1 1 AA")
    control = kernel.open()
    async with Watcher(control=control, uevents=False, diskseq=kernel.diskseq) as watcher:
        told = [await anext(watcher) for _ in range(2)]
        assert {(e.device.name, e.state) for e in told if e.device} == {
            ("stands", "raised"),
            ("new", "raised"),
        }
        learning = asyncio.create_task(watcher.learn(stood))
        told = [await anext(watcher) for _ in range(2)]
        assert {(e.device.name, e.state, e.reason) for e in told if e.device} == {
            ("mended", "cleared", "healthy"),
            ("gone", "cleared", "device-removed"),
        }
        await learning
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(watcher)
        names = [c.device.name for c in watcher.conditions() if c.device]
        assert sorted(names) == ["new", "stands"]
