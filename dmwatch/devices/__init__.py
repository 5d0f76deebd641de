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
from dmwatch.devices.crypt import CryptDevice
from dmwatch.devices.device import Device, Options
from dmwatch.devices.integrity import IntegrityDevice
from dmwatch.devices.linear import LinearDevice, Range
from dmwatch.devices.lower import blank
from dmwatch.devices.meaning import Difference, differences
from dmwatch.devices.mirror import MirrorDevice
from dmwatch.devices.multipath import MultipathDevice, PathGroup
from dmwatch.devices.plain import ErrorDevice, RawTable, TableDevice, ZeroDevice
from dmwatch.devices.raid import Leg, RaidDevice
from dmwatch.devices.segment import Segment
from dmwatch.devices.snapshot import OriginDevice, SnapshotDevice
from dmwatch.devices.stack import Node, Stack
from dmwatch.devices.step import Step
from dmwatch.devices.striped import StripedDevice
from dmwatch.devices.survey import read_stack
from dmwatch.devices.thin import ThinDevice
from dmwatch.devices.thin_pool import ThinPool
from dmwatch.devices.trying import DelayDevice, FlakeyDevice
from dmwatch.devices.verity import VerityDevice
from dmwatch.devices.verity_superblock import VeritySuperblock
from dmwatch.devices.writecache import WritecacheDevice

__all__ = [
    "Below",
    "CacheDevice",
    "Change",
    "CryptDevice",
    "DelayDevice",
    "Device",
    "Difference",
    "ErrorDevice",
    "FlakeyDevice",
    "IntegrityDevice",
    "Leg",
    "LinearDevice",
    "MirrorDevice",
    "MultipathDevice",
    "Node",
    "Options",
    "OriginDevice",
    "PathGroup",
    "RaidDevice",
    "Range",
    "RawTable",
    "Segment",
    "SnapshotDevice",
    "Stack",
    "Step",
    "StripedDevice",
    "TableDevice",
    "ThinDevice",
    "ThinPool",
    "VerityDevice",
    "VeritySuperblock",
    "WritecacheDevice",
    "ZeroDevice",
    "blank",
    "block_size_of",
    "changing",
    "differences",
    "number_of",
    "plan",
    "read_stack",
    "size_of",
    "word_of",
]
