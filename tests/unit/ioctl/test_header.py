from __future__ import annotations

import struct

import pytest

from dmwatch.errors import InvalidValueError, ReplyError
from dmwatch.ioctl.abi import Flags
from dmwatch.ioctl.header import Header, addressed
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid

# offsets of struct dm_ioctl, each field with a value that no other has
FIELDS = [
    (0, "=3I", (4, 47, 9)),
    (12, "=I", (1001,)),
    (16, "=I", (312,)),
    (20, "=I", (3,)),
    (24, "=i", (-2,)),
    (28, "=I", (1 << 11 | 1 << 31,)),
    (32, "=I", (0xFFFFFFFF,)),
    (40, "=Q", (0x12345678,)),
    (48, "=128s", (b"a-name",)),
    (176, "=129s", (b"LVM-uuid",)),
]
HEADER = Header(
    version=(4, 47, 9),
    data_size=1001,
    data_start=312,
    target_count=3,
    open_count=-2,
    flags=Flags(1 << 11 | 1 << 31),
    event_nr=0xFFFFFFFF,
    dev=0x12345678,
    name=b"a-name",
    uuid=b"LVM-uuid",
)


def golden() -> bytearray:
    raw = bytearray(312)
    for offset, layout, values in FIELDS:
        struct.pack_into(layout, raw, offset, *values)
    return raw


def test_every_field_is_written_at_the_kernels_offset() -> None:
    assert HEADER.pack() == bytes(golden())


def test_every_field_is_read_from_the_kernels_offset() -> None:
    assert Header.unpack(golden()) == HEADER


def test_what_follows_a_header_does_not_disturb_it() -> None:
    assert Header.unpack(bytes(golden()) + b"\xff" * 100) == HEADER


def test_a_truncated_header_is_refused() -> None:
    with pytest.raises(ReplyError, match="312 bytes, not 311"):
        Header.unpack(golden()[:311])


@pytest.mark.parametrize(
    ("offset", "size", "what"), [(48, 128, "device name"), (176, 129, "device uuid")]
)
def test_a_string_without_an_end_is_refused(offset: int, size: int, what: str) -> None:
    raw = golden()
    raw[offset : offset + size] = b"x" * size
    with pytest.raises(ReplyError, match=f"the {what} in a reply has no end"):
        Header.unpack(raw)


def test_the_longest_name_and_uuid_fit_with_their_nul() -> None:
    longest = Header(name=b"n" * 127, uuid=b"u" * 128)
    assert Header.unpack(longest.pack()) == longest


@pytest.mark.parametrize(
    "header",
    [
        Header(name=b"n" * 128),
        Header(uuid=b"u" * 129),
        Header(event_nr=1 << 32),
        Header(event_nr=-1),
        Header(dev=1 << 64),
        Header(target_count=1 << 32),
    ],
)
def test_a_field_that_does_not_fit_is_refused(header: Header) -> None:
    with pytest.raises(InvalidValueError):
        header.pack()


@pytest.mark.parametrize(
    ("device", "header"),
    [
        (DeviceName("a"), Header(name=b"a")),
        (DeviceName("a\udcff"), Header(name=b"a\xff")),
        (DeviceUuid("LVM-1"), Header(uuid=b"LVM-1")),
        (DeviceNumber(254, 5), Header(dev=0xFE05)),
        (DeviceNumber(254, 0x12345), Header(dev=0x1230FE45)),
    ],
)
def test_a_device_is_named_by_exactly_one_field(
    device: DeviceName | DeviceUuid | DeviceNumber, header: Header
) -> None:
    assert addressed(Header(), device) == header
