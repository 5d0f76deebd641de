"""Device-mapper in typed calls."""

from dmwatch.dm.device_mapper import DeviceMapper
from dmwatch.dm.replies import DeviceInfo, Geometry, MessageReply, TableStatus

__all__ = ["DeviceInfo", "DeviceMapper", "Geometry", "MessageReply", "TableStatus"]
