from __future__ import annotations

import asyncio
import threading

from dmwatch.monitor.loading import load_aside
from dmwatch.targets import TYPES


async def test_every_type_is_imported_aside_and_its_cost_is_told() -> None:
    costs: list[float] = []
    load_aside(costs.append)
    async with asyncio.timeout(30):
        while len(costs) < len(TYPES):  # noqa: ASYNC110 - it calls what it is given
            await asyncio.sleep(0.01)
    assert all(cost >= 0.0 for cost in costs)


def test_a_loop_that_is_closed_meanwhile_is_no_fault() -> None:
    faults: list[object] = []
    before, threading.excepthook = threading.excepthook, faults.append

    async def begin() -> None:
        load_aside(lambda _: None)

    asyncio.run(begin())
    for thread in threading.enumerate():
        if thread.name == "dmwatch-loading":
            thread.join(30)
    threading.excepthook = before
    assert faults == []
