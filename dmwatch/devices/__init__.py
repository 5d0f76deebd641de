"""Devices that own a table and the order of commands: made, changed and taken down as a whole.

    with DeviceMapper() as dm:
        data = LinearDevice(dm, "data", "/dev/sdb").create()
        data.extend(Range("/dev/sdc"))
        for step in plan(data.teardown):
            print(step)

Every change is all or nothing (`changing` makes one of many), is in step with udev, and can be
planned without being made (`plan`). All calls are synchronous and let other threads run; from
asyncio use `asyncio.to_thread`.
"""

from dmwatch.devices.below import Below, block_size_of, number_of, size_of, word_of
from dmwatch.devices.cache import CacheDevice
from dmwatch.devices.change import Change, changing, plan
from dmwatch.devices.device import Device, Options
from dmwatch.devices.linear import LinearDevice, Range
from dmwatch.devices.lower import blank
from dmwatch.devices.meaning import Difference, differences
from dmwatch.devices.plain import ErrorDevice, RawTable, TableDevice, ZeroDevice
from dmwatch.devices.segment import Segment
from dmwatch.devices.step import Step
from dmwatch.devices.striped import StripedDevice
from dmwatch.devices.thin import ThinDevice
from dmwatch.devices.thin_pool import ThinPool

__all__ = [
    "Below",
    "CacheDevice",
    "Change",
    "Device",
    "Difference",
    "ErrorDevice",
    "LinearDevice",
    "Options",
    "Range",
    "RawTable",
    "Segment",
    "Step",
    "StripedDevice",
    "TableDevice",
    "ThinDevice",
    "ThinPool",
    "ZeroDevice",
    "blank",
    "block_size_of",
    "changing",
    "differences",
    "number_of",
    "plan",
    "size_of",
    "word_of",
]
