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
"""

from dmwatch.testing.control import FakeControl
from dmwatch.testing.devices import FakeDevice, FakeLine, FakeTable
from dmwatch.testing.kernel import FakeKernel
from dmwatch.testing.plans import FakeCall

__all__ = ["FakeCall", "FakeControl", "FakeDevice", "FakeKernel", "FakeLine", "FakeTable"]
