"""What follows the header: records into the kernel and out of it, as pure functions.

Into the kernel the `next` of a target spec counts from its own start, out of it from the start of
the first one; in name lists and versions it counts from the record's own start. Every reader takes
hostile bytes: an answer is a value or a ReplyError, and each step moves forward.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dmwatch.errors import InvalidMessageError, InvalidNameError, ReplyError
from dmwatch.ioctl.abi import (
    DEPS,
    NAME_LIST,
    NAME_LIST_TAIL,
    TARGET_MSG,
    TARGET_SPEC,
    TARGET_VERSIONS,
    Version,
    aligned,
)
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid, to_bytes
from dmwatch.table import U64_MAX, TargetLine

HAS_UUID, HAS_NO_UUID = 1, 2


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device in the list.

    Attributes:
        number: its device number.
        name: its name.
        event_nr: its event number when the list was taken; 0 before DM 4.37.
        uuid: its uuid; None where it has none or was not asked for, or before DM 4.45.
    """

    number: DeviceNumber
    name: DeviceName
    event_nr: int
    uuid: DeviceUuid | None = None


@dataclass(frozen=True, slots=True)
class TargetVersion:
    """A target type of this kernel.

    Attributes:
        type: its name in a table.
        version: its own version.
    """

    type: str
    version: Version


def encode_targets(lines: Iterable[TargetLine]) -> bytes:
    """The chain of target specs for TABLE_LOAD."""
    return b"".join(map(_encode_target, lines))


def _encode_target(line: TargetLine) -> bytes:
    text = line.text.encode("utf-8", "surrogateescape") + b"\x00"
    size = TARGET_SPEC.size + aligned(len(text))
    kind = line.type.encode("utf-8", "surrogateescape")
    head = TARGET_SPEC.pack(line.start, line.length, 0, size, kind)
    return (head + text).ljust(size, b"\x00")


def decode_targets(data: bytes, count: int) -> list[TargetLine]:
    """Read `count` target specs as TABLE_STATUS and DEV_WAIT give them.

    Raises:
        ReplyError: where they do not hold together.
    """
    if count * TARGET_SPEC.size > len(data):
        raise ReplyError(f"a reply announces {count} targets in {len(data)} bytes")
    lines: list[TargetLine] = []
    offset = 0
    for _ in range(count):
        line, next_offset = _decode_target(data, offset)
        if next_offset <= offset:
            raise ReplyError(f"target {len(lines)} of a reply points back to byte {next_offset}")
        lines.append(line)
        offset = next_offset
    return lines


def _decode_target(data: bytes, offset: int) -> tuple[TargetLine, int]:
    start, length, _, next_offset, kind = _unpack(TARGET_SPEC, data, offset, "a target")
    text = _string(data, offset + TARGET_SPEC.size, "a target's text")
    name = kind.partition(b"\x00")[0]
    try:
        line = TargetLine(start, length, _text(name), _text(text))
    except InvalidNameError as error:
        raise ReplyError(f"a target of a reply has no usable type: {error}") from None
    return line, next_offset


def encode_devices(devices: Iterable[ListedDevice], *, uuids: bool) -> bytes:
    """A name list as the kernel writes it: for the fake kernel and for tests of the reader."""
    records = [_encode_device(device, uuids=uuids) for device in devices]
    if records:
        # the last record's next is 0
        records[-1] = records[-1][:8] + bytes(4) + records[-1][12:]
    return b"".join(records)


def _encode_device(device: ListedDevice, *, uuids: bool) -> bytes:
    name = device.name.to_kernel() + b"\x00"
    head = aligned(NAME_LIST.size + len(name))
    flags = 0
    tail = b""
    if uuids:
        flags = HAS_UUID if device.uuid else HAS_NO_UUID
        tail = device.uuid.to_kernel() + b"\x00" if device.uuid else b""
    size = head + NAME_LIST_TAIL.size + aligned(len(tail))
    record = (NAME_LIST.pack(device.number.to_kernel(), size) + name).ljust(head, b"\x00")
    return (record + NAME_LIST_TAIL.pack(device.event_nr, flags) + tail).ljust(size, b"\x00")


def device_records(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each record of a name list begins and ends.

    Raises:
        ReplyError: where a record leaves the data.
    """
    offset = 0
    while offset < len(data):
        _, step = _unpack(NAME_LIST, data, offset, "a device")
        end = offset + step if step else len(data)
        # the last record says 0; one that announces another at the very end was cut
        if step and (step < NAME_LIST.size or end >= len(data)):
            raise ReplyError(f"a record of the device list at byte {offset} has a length of {step}")
        yield offset, end
        offset = end


def decode_device(
    data: bytes, offset: int, end: int, *, uuids: bool, events: bool = True
) -> ListedDevice:
    """Read one record of a name list.

    Args:
        data: the whole list.
        offset: where the record begins.
        end: where it ends.
        uuids: they were asked for from a kernel that has them. An older one leaves the bytes
            of their flags unwritten.
        events: the kernel gives event numbers, at the offset that they have since 4.37.

    Raises:
        ReplyError: where it does not hold together.
    """
    dev, _ = _unpack(NAME_LIST, data, offset, "a device")
    name = _string(data, offset + NAME_LIST.size, "a device name", end)
    if not events:
        return ListedDevice(_number(dev), DeviceName.from_kernel(name), 0)
    tail = offset + aligned(NAME_LIST.size + len(name) + 1)
    event_nr, flags = _unpack(NAME_LIST_TAIL, data, tail, "a device's event number", end)
    uuid = b""
    if uuids and flags & HAS_UUID:
        uuid = _string(data, tail + NAME_LIST_TAIL.size, "a device uuid", end)
    return ListedDevice(
        number=_number(dev),
        name=DeviceName.from_kernel(name),
        event_nr=event_nr,
        uuid=DeviceUuid.from_kernel(uuid) if uuid else None,
    )


def decode_devices(data: bytes, *, uuids: bool, events: bool = True) -> list[ListedDevice]:
    """Read a whole name list, in the kernel's order; `uuids` and `events` as in `decode_device`.

    Raises:
        ReplyError: where it does not hold together.
    """
    spans = device_records(data)
    return [decode_device(data, offset, end, uuids=uuids, events=events) for offset, end in spans]


def encode_deps(numbers: Iterable[DeviceNumber]) -> bytes:
    """A dependency list as the kernel writes it."""
    values = [number.to_kernel() for number in numbers]
    return DEPS.pack(len(values), 0) + struct.pack(f"={len(values)}Q", *values)


def decode_deps(data: bytes) -> list[DeviceNumber]:
    """Read TABLE_DEPS' answer. No data means no table.

    Raises:
        ReplyError: where it does not hold together.
    """
    if not data:
        return []
    count, _ = _unpack(DEPS, data, 0, "the dependencies")
    if DEPS.size + 8 * count > len(data):
        raise ReplyError(f"a reply announces {count} dependencies in {len(data)} bytes")
    return [_number(dev) for dev in struct.unpack_from(f"={count}Q", data, DEPS.size)]


def encode_versions(versions: Iterable[TargetVersion]) -> bytes:
    """A list of target versions as the kernel writes it."""
    records = [_encode_version(version) for version in versions]
    if records:
        records[-1] = bytes(4) + records[-1][4:]
    return b"".join(records)


def _encode_version(version: TargetVersion) -> bytes:
    name = version.type.encode() + b"\x00"
    size = aligned(TARGET_VERSIONS.size + len(name))
    return (TARGET_VERSIONS.pack(size, *version.version) + name).ljust(size, b"\x00")


def decode_versions(data: bytes) -> list[TargetVersion]:
    """Read the answer to LIST_VERSIONS or GET_TARGET_VERSION.

    Raises:
        ReplyError: where it does not hold together.
    """
    found: list[TargetVersion] = []
    offset = 0
    while offset < len(data):
        step, *version = _unpack(TARGET_VERSIONS, data, offset, "a target version")
        name = _string(data, offset + TARGET_VERSIONS.size, "a target's name")
        found.append(TargetVersion(_text(name), (version[0], version[1], version[2])))
        if step == 0:
            break
        if step < TARGET_VERSIONS.size or offset + step >= len(data):
            raise ReplyError(f"a target version at byte {offset} has a length of {step}")
        offset += step
    return found


def encode_message(sector: int, text: str) -> bytes:
    """The data of TARGET_MSG.

    Raises:
        InvalidMessageError: for an empty text, a NUL in it, what is no text, or a sector outside
            64 bits.
    """
    if not text.strip():
        raise InvalidMessageError("a message cannot be empty")
    if "\x00" in text:
        raise InvalidMessageError("a message cannot contain NUL: the kernel would stop there")
    raw = to_bytes(text)
    if raw is None:
        raise InvalidMessageError("a message must be text: this one has half a character")
    if not 0 <= sector <= U64_MAX:
        raise InvalidMessageError(f"a message's sector must fit in 64 bits, not {sector}")
    return TARGET_MSG.pack(sector) + raw + b"\x00"


def decode_message(data: bytes) -> str:
    """Read the reply to a message: text up to its NUL.

    Raises:
        ReplyError: where it has none.
    """
    return _text(_string(data, 0, "a message's reply"))


def _unpack(
    layout: struct.Struct, data: bytes, offset: int, what: str, end: int | None = None
) -> tuple[Any, ...]:
    if offset + layout.size > (len(data) if end is None else end):
        raise ReplyError(f"a reply ends within {what} at byte {offset}")
    return layout.unpack_from(data, offset)


def _string(data: bytes, offset: int, what: str, end: int | None = None) -> bytes:
    found = data.find(b"\x00", offset, len(data) if end is None else end)
    if found < 0:
        raise ReplyError(f"{what} at byte {offset} of a reply has no end")
    return data[offset:found]


def _number(dev: int) -> DeviceNumber:
    try:
        return DeviceNumber.from_kernel(dev)
    except InvalidNameError as error:
        raise ReplyError(f"a reply names an impossible device: {error}") from None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
