"""The results of commands as the kernel writes them into a request's memory.

A kernel does not write what lies between two parts of a result; nor does this.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from dmwatch.ioctl.abi import Flags, Version, aligned
from dmwatch.names import DeviceNumber
from dmwatch.testing.devices import FakeDevice, FakeTable
from dmwatch.testing.params import DATA, Params

UUIDS_SINCE: Version = (4, 45, 0)
IMA_SINCE: Version = (4, 45, 0)
EVENTS_SINCE: Version = (4, 36, 0)
ALIGNED_SINCE: Version = (4, 37, 0)
# Linux 7.3; 7.2 has the same number and does as those before it
EXACT_SINCE: Version = (4, 50, 0)
_NAME_LIST = struct.Struct("=QI")
_SPEC = struct.Struct("=QQi")
_NEXT = struct.Struct("=I")
_SPEC_SIZE = 40
_HAS_UUID, _HAS_NO_UUID = 1, 2


def put_devices(params: Params, devices: Iterable[FakeDevice], version: Version) -> None:
    """LIST_DEVICES: ordered by name and filtered by prefix since 4.45."""
    found = list(devices)
    if version >= UUIDS_SINCE:
        found = [
            d
            for d in sorted(found, key=lambda d: d.name)
            if d.name.startswith(params.name) and d.uuid.startswith(params.uuid)
        ]
    parts = [_device_parts(d, version, uuids=bool(params.flags & Flags.UUID)) for d in found]
    sizes = [aligned(max(offset + len(raw) for offset, raw in record)) for record in parts]
    # before 7.3 even an empty list needs room for one device number
    needed = 0 if version >= EXACT_SINCE else 8
    if params.room < needed or not params.result(sum(sizes)):
        params.data_start = DATA
        params.flags |= Flags.BUFFER_FULL
        return
    offset = 0
    for i, (device, record, size) in enumerate(zip(found, parts, sizes, strict=True)):
        step = size if i + 1 < len(found) else 0
        params.put(offset, _NAME_LIST.pack(device.number.to_kernel(), step))
        for where, raw in record:
            params.put(offset + where, raw)
        offset += size


def _device_parts(device: FakeDevice, version: Version, *, uuids: bool) -> list[tuple[int, bytes]]:
    """What is written of a device, each with its offset in the record."""
    name = device.name + b"\x00"
    parts = [(_NAME_LIST.size, name)]
    tail = aligned(_NAME_LIST.size + len(name))
    if version >= UUIDS_SINCE:
        flags = (_HAS_UUID if device.uuid else _HAS_NO_UUID) if uuids else 0
        parts.append((tail, struct.pack("=II", device.event_nr, flags)))
        if flags == _HAS_UUID:
            parts.append((tail + 8, device.uuid + b"\x00"))
    elif version >= ALIGNED_SINCE:
        # the record has 8 bytes there, of which 4 are not written
        parts += [(tail, struct.pack("=I", device.event_nr)), (tail + 8, b"")]
    elif version >= EVENTS_SINCE:
        parts.append((16 + len(name), struct.pack("=I", device.event_nr)))
    return parts


def put_status(params: Params, table: FakeTable, version: Version) -> None:
    """TABLE_STATUS and DEV_WAIT: complete lines only where there is no room for all."""
    params.data_start = DATA
    params.target_count = len(table.lines)
    offset = 0
    for line in table.lines:
        if params.room - offset <= _SPEC_SIZE:
            params.flags |= Flags.BUFFER_FULL
            return
        text = _answer(params.flags, line.table, line.status, version)
        begin = offset + _SPEC_SIZE
        room = params.room - begin
        if text is None:
            found = params.memory.find(b"\x00", DATA + begin)
            raw = bytes(params.memory[DATA + begin : found if found >= 0 else None])
        else:
            raw = text.encode("utf-8", "surrogateescape")
        # a string that fills the space exactly counts as cut
        if len(raw) + 1 >= room:
            params.flags |= Flags.BUFFER_FULL
            return
        following = params.put(begin, raw + b"\x00")
        # its type has 16 bytes, of which the last is not written
        kind = line.type.encode().ljust(15, b"\x00")
        params.put(offset, _SPEC.pack(line.start, line.length, 0))
        params.put(offset + _NEXT.size + _SPEC.size, kind)
        params.data_size = DATA + begin + len(raw) + 1
        if following > params.room:
            params.flags |= Flags.BUFFER_FULL
            return
        params.put(offset + _SPEC.size, _NEXT.pack(following))
        offset = following


def _answer(flags: Flags, table: str, status: str | None, version: Version) -> str | None:
    if flags & Flags.STATUS_TABLE:
        return table
    if flags & Flags.IMA_MEASUREMENT and version >= IMA_SINCE:
        return ""
    return status


def put_deps(params: Params, numbers: list[DeviceNumber]) -> None:
    """TABLE_DEPS."""
    if params.result(8 + 8 * len(numbers)):
        values = [number.to_kernel() for number in numbers]
        # 4 bytes of padding follow the count and are not written
        params.put(0, struct.pack("=I", len(values)))
        params.put(8, struct.pack(f"={len(values)}Q", *values))


def put_versions(params: Params, versions: list[tuple[str, Version]]) -> None:
    """LIST_VERSIONS and GET_TARGET_VERSION. Before 7.3 it asks for more room than it fills."""
    sizes = [16 + len(name) + 1 for name, _ in versions]
    exact = params.version >= EXACT_SINCE
    if not params.result(sum(aligned(size) if exact else size + 7 for size in sizes)):
        return
    offset = 0
    for i, (name, version) in enumerate(versions):
        raw = name.encode() + b"\x00"
        step = aligned(16 + len(raw)) if i + 1 < len(versions) else 0
        params.put(offset, struct.pack("=4I", step, *version) + raw)
        offset += step
