"""A device-mapper without a kernel, for tests: of dmwatch itself, and of who builds on it.

    kernel = FakeKernel()
    kernel.add("pool", TargetLine(0, 2048, "thin-pool", "..."), status=["0 1/8 2/16 - rw ..."])
    with DeviceMapper(kernel.open()) as dm:
        dm.list_devices()

    async with Watcher(control=kernel.open()) as watcher:
        kernel.raise_event("pool")
        event = await anext(watcher)

It speaks the kernel's bytes, so that everything above the one ioctl(2) call is what runs in
earnest. It needs neither asyncio nor a test framework.

For handlers there are events, and something that runs a handler as the daemon would:

    told = await run_handler(MyHandler, {"room": "ops"}, make_event("raid.leg-failed"))
    assert told.events[0].done
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmwatch.testing.control import FakeControl
from dmwatch.testing.devices import FakeDevice, FakeLine, FakeTable
from dmwatch.testing.kernel import FakeKernel
from dmwatch.testing.plans import FakeCall

if TYPE_CHECKING:
    from dmwatch.testing.events import make_device, make_event
    from dmwatch.testing.handling import Came, Handled, run_handler

# loaded when used: the fake kernel needs none of it
_HOMES = {
    "Came": "handling",
    "Handled": "handling",
    "make_device": "events",
    "make_event": "events",
    "run_handler": "handling",
}

__all__ = [
    "Came",
    "FakeCall",
    "FakeControl",
    "FakeDevice",
    "FakeKernel",
    "FakeLine",
    "FakeTable",
    "Handled",
    "make_device",
    "make_event",
    "run_handler",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
