"""Device-mapper in typed calls."""

from dmwatch.dm.device_mapper import DeviceMapper
from dmwatch.dm.replies import DeviceInfo, Geometry, MessageReply, Removal, TableStatus

__all__ = ["DeviceInfo", "DeviceMapper", "Geometry", "MessageReply", "Removal", "TableStatus"]
