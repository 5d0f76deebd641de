"""Linux device-mapper in Python: a typed library over the ioctls, and a watcher.

The names below are loaded when they are first used, so that a program pays for what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmwatch.dm import DeviceInfo, DeviceMapper, Geometry, MessageReply, Removal, TableStatus
    from dmwatch.errors import DmwatchError
    from dmwatch.events import DeviceRef, Event, Severity, State
    from dmwatch.ioctl.abi import Flags, UdevFlags
    from dmwatch.ioctl.payload import ListedDevice, TargetVersion
    from dmwatch.monitor import Watcher
    from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid
    from dmwatch.table import TargetLine
    from dmwatch.units import Bytes, DataBlocks, MetadataBlocks, Sectors

_HOMES = {
    "Bytes": "units",
    "DataBlocks": "units",
    "DeviceInfo": "dm",
    "DeviceMapper": "dm",
    "DeviceName": "names",
    "DeviceNumber": "names",
    "DeviceRef": "events",
    "DeviceUuid": "names",
    "DmwatchError": "errors",
    "Event": "events",
    "Flags": "ioctl.abi",
    "Geometry": "dm",
    "ListedDevice": "ioctl.payload",
    "MessageReply": "dm",
    "MetadataBlocks": "units",
    "Removal": "dm",
    "Sectors": "units",
    "Severity": "events",
    "State": "events",
    "TableStatus": "dm",
    "TargetLine": "table",
    "TargetVersion": "ioctl.payload",
    "UdevFlags": "ioctl.abi",
    "Watcher": "monitor",
}

__all__ = [
    "Bytes",
    "DataBlocks",
    "DeviceInfo",
    "DeviceMapper",
    "DeviceName",
    "DeviceNumber",
    "DeviceRef",
    "DeviceUuid",
    "DmwatchError",
    "Event",
    "Flags",
    "Geometry",
    "ListedDevice",
    "MessageReply",
    "MetadataBlocks",
    "Removal",
    "Sectors",
    "Severity",
    "State",
    "TableStatus",
    "TargetLine",
    "TargetVersion",
    "UdevFlags",
    "Watcher",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
