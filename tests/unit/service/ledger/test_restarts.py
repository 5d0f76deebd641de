"""The truth over restarts and reboots: watcher and ledger together, on the fake kernel."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from dmwatch.monitor import Watcher
from dmwatch.monitor.settings import MonitorSettings, Settings
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

POOL = TargetLine(0, 65536, "thin-pool", "254:0 254:1 128 0 0")
ERROR = TargetLine(0, 8, "error")
ZERO = TargetLine(0, 8, "zero")
SLOW = Settings(monitor=MonitorSettings(poll_interval=3600, heartbeat=3600))


def pool(used: int) -> str:
    return f"0 1/1024 {used}/512 - rw discard_passdown queue_if_no_space - 1024"


async def watched(live: Any, kernel: FakeKernel, *actions: Any) -> list[tuple[Any, ...]]:
    """A daemon's life: what stands when it begins, then each action; gives what it told."""
    async with live() as life:
        async with Watcher(
            settings=SLOW,
            standing=life.ledger.standing(),
            control=kernel.open(),
            uevents=False,
            diskseq=kernel.diskseq,
        ) as watcher:
            telling = asyncio.create_task(tell(life, watcher))
            await asyncio.sleep(0.1)
            for action in actions:
                before = len(life.told)
                action()
                with suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        while len(life.told) == before:  # noqa: ASYNC110 - it is on another task
                            await asyncio.sleep(0.01)
            telling.cancel()
            await asyncio.wait([telling])
        await life.ledger.flush()
        return [
            (e.event.device.name, e.event.type, e.event.state, e.event.reason, e.event.initial)
            for e in life.told
        ]


async def tell(life: Any, watcher: Watcher) -> None:
    async for event in watcher:
        await life.ledger.tell(event)


async def test_79_percent_inside_the_hysteresis_of_a_standing_80_still_stands(live: Any) -> None:
    kernel = FakeKernel()
    kernel.add("pool", POOL, uuid="LVM-1", status=[pool(415)])
    usage = "thin-pool.data-usage"
    assert await watched(live, kernel) == [("pool", usage, "raised", None, True)]
    kernel.set_status("pool", 0, pool(405))
    assert await watched(live, kernel) == []
    kernel.set_status("pool", 0, pool(394))
    assert await watched(live, kernel) == [("pool", usage, "cleared", "healthy", True)]
    kernel.set_status("pool", 0, pool(405))
    assert await watched(live, kernel) == []


async def test_a_higher_rung_that_was_reached_meanwhile_is_a_change(live: Any) -> None:
    kernel = FakeKernel()
    kernel.add("pool", POOL, uuid="LVM-1", status=[pool(415)])
    await watched(live, kernel)
    kernel.set_status("pool", 0, pool(470))
    assert await watched(live, kernel) == [("pool", "thin-pool.data-usage", "changed", None, True)]
    assert await watched(live, kernel) == []


async def test_a_reboot_in_which_every_number_is_another_tells_nothing_twice(live: Any) -> None:
    kernel = FakeKernel()
    for name, uuid in (("a", "LVM-1"), ("b", None), ("c", "LVM-3")):
        kernel.add(name, ERROR, uuid=uuid)
    assert len(await watched(live, kernel)) == 3
    rebooted = FakeKernel()
    rebooted.add("first", ZERO)
    # by uuid, whatever its name is now; by name where it has none; one is gone, one is new
    rebooted.add("renamed", ERROR, uuid="LVM-1")
    rebooted.add("b", ERROR)
    rebooted.add("new", ERROR, uuid="LVM-4")
    told = await watched(live, rebooted)
    assert sorted(told) == [
        ("c", "device.error-target", "cleared", "device-removed", True),
        ("new", "device.error-target", "raised", None, True),
    ]
    assert await watched(live, rebooted) == []


async def test_what_stands_on_a_device_without_a_uuid_goes_with_its_name(live: Any) -> None:
    kernel = FakeKernel()
    kernel.add("a", ERROR)
    told = await watched(live, kernel, lambda: kernel.dm.rename("a", "b"))
    assert [step[:3] for step in told] == [
        ("a", "device.error-target", "raised"),
        ("b", "device.renamed", None),
    ]
    assert await watched(live, kernel) == []
