"""Records, written out by hand from the kernel's structures: read, written, and refused."""

from __future__ import annotations

import struct

import pytest

from dmwatch.errors import InvalidMessageError, ReplyError
from dmwatch.ioctl.payload import (
    ListedDevice,
    TargetVersion,
    decode_deps,
    decode_devices,
    decode_message,
    decode_targets,
    decode_versions,
    encode_deps,
    encode_devices,
    encode_message,
    encode_targets,
    encode_versions,
)
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid
from dmwatch.table import TargetLine


def x(text: str) -> bytes:
    return bytes.fromhex(text)


def kind(name: bytes) -> bytes:
    return name.ljust(16, b"\0")


# Targets

LINES = [
    TargetLine(0, 8, "linear", "7:0 0"),
    TargetLine(8, 16, "zero", ""),
    TargetLine(24, 1 << 40, "striped", "2 8 7:0 0 7:1 0"),
]
# start, length, status, next, type, text. Into the kernel `next` counts from the record itself
INTO = (
    x("0000000000000000 0800000000000000 00000000 30000000") + kind(b"linear") + b"7:0 0\0\0\0"
    + x("0800000000000000 1000000000000000 00000000 30000000") + kind(b"zero") + bytes(8)
    + x("1800000000000000 0000000000010000 00000000 38000000") + kind(b"striped")
    + b"2 8 7:0 0 7:1 0\0"
)  # fmt: skip
# out of it from the first one; and the last string is not padded
OUT = (
    x("0000000000000000 0800000000000000 00000000 30000000") + kind(b"linear") + b"7:0 0\0\0\0"
    + x("0800000000000000 1000000000000000 00000000 60000000") + kind(b"zero") + bytes(8)
    + x("1800000000000000 0000000000010000 00000000 98000000") + kind(b"striped")
    + b"2 8 7:0 0 7:1 0\0"
)  # fmt: skip


def test_targets_are_written_with_distances_between_records() -> None:
    assert encode_targets(LINES) == INTO


def test_targets_are_read_with_distances_from_the_first_record() -> None:
    assert decode_targets(OUT, 3) == LINES


def test_only_as_many_targets_are_read_as_the_header_counts() -> None:
    assert decode_targets(OUT, 1) == LINES[:1]
    assert decode_targets(OUT, 0) == []
    assert decode_targets(b"", 0) == []


def test_slack_after_the_last_target_is_ignored() -> None:
    assert decode_targets(OUT + b"\xaa" * 50, 3) == LINES


@pytest.mark.parametrize("size", range(len(OUT)))
def test_truncated_targets_are_refused(size: int) -> None:
    with pytest.raises(ReplyError):
        decode_targets(OUT[:size], 3)


def test_more_targets_than_the_reply_can_hold_are_refused_at_once() -> None:
    with pytest.raises(ReplyError, match="announces 4294967295 targets"):
        decode_targets(OUT, 0xFFFFFFFF)


@pytest.mark.parametrize("step", [0, 0xFFFFFFFF, 0x60000000])
def test_a_target_that_points_back_or_outside_is_refused(step: int) -> None:
    raw = bytearray(OUT)
    struct.pack_into("=I", raw, 20, step)
    with pytest.raises(ReplyError):
        decode_targets(bytes(raw), 3)


def test_a_later_target_that_points_at_an_earlier_one_is_refused() -> None:
    raw = bytearray(OUT)
    struct.pack_into("=I", raw, 48 + 20, 48)
    with pytest.raises(ReplyError, match="target 1 of a reply points back to byte 48"):
        decode_targets(bytes(raw), 3)


def test_a_target_without_a_type_is_refused() -> None:
    with pytest.raises(ReplyError, match="no usable type"):
        decode_targets(bytes(48), 1)


def test_a_type_that_fills_its_field_is_refused() -> None:
    with pytest.raises(ReplyError, match="at most 15 bytes"):
        decode_targets(bytes(24) + b"t" * 16 + bytes(8), 1)


def test_text_that_is_not_unicode_survives_both_ways() -> None:
    line = TargetLine(0, 8, "linear", "/dev/\udcff 0")
    raw = encode_targets([line])
    assert b"/dev/\xff 0\0" in raw
    assert decode_targets(raw, 1) == [line]


# The list of devices

# the record that kernel.md shows of a real one: 254:5, "0", event 0, uuid "U-0"
REAL = x("05fe0000 00000000 20000000 30000000 00000000 01000000 552d3000 00000000")
SECOND = x("06fe0000 00000000 00000000") + b"vg-x\0\0\0\0\0\0\0\0" + x("05000000 02000000")
DEVICES = [
    ListedDevice(DeviceNumber(254, 5), DeviceName("0"), 0, DeviceUuid("U-0")),
    ListedDevice(DeviceNumber(254, 6), DeviceName("vg-x"), 5),
]
# without uuids asked for: flags 0
PLAIN = (
    x("05fe0000 00000000 18000000 30000000 00000000 00000000")
    + x("06fe0000 00000000 00000000") + b"vg-x\0\0\0\0\0\0\0\0" + x("05000000 00000000")
)  # fmt: skip


def test_the_list_with_uuids() -> None:
    assert decode_devices(REAL + SECOND, uuids=True) == DEVICES
    assert encode_devices(DEVICES, uuids=True) == REAL + SECOND


def test_the_list_without_uuids() -> None:
    nameless = [ListedDevice(d.number, d.name, d.event_nr) for d in DEVICES]
    assert decode_devices(PLAIN, uuids=False) == nameless
    assert encode_devices(DEVICES, uuids=False) == PLAIN


def test_no_devices_are_no_bytes() -> None:
    assert decode_devices(b"", uuids=True) == []
    assert encode_devices([], uuids=True) == b""


def test_a_uuid_that_was_not_asked_for_is_not_read() -> None:
    assert [d.uuid for d in decode_devices(REAL + SECOND, uuids=False)] == [None, None]


def test_unwritten_flags_of_an_old_kernel_are_not_read() -> None:
    raw = bytearray(PLAIN)
    raw[20:24] = b"\xff\xff\xff\xff"
    (first, _) = decode_devices(bytes(raw), uuids=False)
    assert (first.event_nr, first.uuid) == (0, None)


@pytest.mark.parity("B8")
def test_a_name_that_is_not_unicode_does_not_break_the_list() -> None:
    raw = PLAIN.replace(b"vg-x", b"vg-\xff")
    (_, second) = decode_devices(raw, uuids=False)
    assert second.name.to_kernel() == b"vg-\xff"
    assert second.name.printable == "vg-\\xff"


@pytest.mark.parametrize("size", range(1, len(REAL + SECOND)))
def test_a_truncated_list_is_refused(size: int) -> None:
    with pytest.raises(ReplyError):
        decode_devices((REAL + SECOND)[:size], uuids=True)


@pytest.mark.parametrize("step", [1, 11, 12, 24, 64, 65, 0xFFFFFFFF])
def test_a_record_that_ends_inside_itself_or_outside_the_list_is_refused(step: int) -> None:
    raw = bytearray(REAL + SECOND)
    struct.pack_into("=I", raw, 8, step)
    with pytest.raises(ReplyError):
        decode_devices(bytes(raw), uuids=True)


def test_a_name_without_an_end_is_refused() -> None:
    raw = x("05fe0000 00000000 00000000") + b"n" * 20
    with pytest.raises(ReplyError, match="a device name at byte 12 of a reply has no end"):
        decode_devices(raw, uuids=False)


def test_an_impossible_number_is_refused() -> None:
    with pytest.raises(ReplyError, match="impossible device"):
        decode_devices(b"\xff" * 8 + PLAIN[32:], uuids=False)


# Dependencies

DEPS = x("02000000 00000000 00fe000000000000 45fe301200000000")
NUMBERS = [DeviceNumber(254, 0), DeviceNumber(0xFE, 0x12345)]


def test_dependencies() -> None:
    assert encode_deps(NUMBERS) == DEPS
    assert decode_deps(DEPS) == NUMBERS


def test_no_data_are_no_dependencies() -> None:
    assert decode_deps(b"") == []
    assert decode_deps(bytes(8)) == []


@pytest.mark.parametrize("size", range(1, len(DEPS)))
def test_truncated_dependencies_are_refused(size: int) -> None:
    with pytest.raises(ReplyError):
        decode_deps(DEPS[:size])


def test_a_huge_count_of_dependencies_is_refused_at_once() -> None:
    with pytest.raises(ReplyError, match="announces 4294967295 dependencies"):
        decode_deps(x("ffffffff 00000000") + bytes(80))


# Versions

VERSIONS = (
    x("18000000 01000000 18000000 00000000") + b"crypt\0\0\0"
    + x("00000000 01000000 04000000 02000000") + b"linear\0\0"
)  # fmt: skip
KNOWN = [TargetVersion("crypt", (1, 24, 0)), TargetVersion("linear", (1, 4, 2))]


def test_versions() -> None:
    assert decode_versions(VERSIONS) == KNOWN
    assert encode_versions(KNOWN) == VERSIONS
    assert (decode_versions(b""), encode_versions([])) == ([], b"")


def test_the_slack_that_the_kernel_leaves_after_the_versions_is_ignored() -> None:
    # it asks for 7 bytes more than each record needs
    assert decode_versions(VERSIONS + b"\xaa" * 14) == KNOWN


@pytest.mark.parametrize("size", range(1, len(VERSIONS) - 1))
def test_truncated_versions_are_refused(size: int) -> None:
    with pytest.raises(ReplyError):
        decode_versions(VERSIONS[:size])


@pytest.mark.parametrize("step", [1, 15, 100])
def test_a_version_that_points_into_itself_or_outside_is_refused(step: int) -> None:
    raw = bytearray(VERSIONS)
    struct.pack_into("=I", raw, 0, step)
    with pytest.raises(ReplyError):
        decode_versions(bytes(raw))


# Messages


def test_a_message() -> None:
    assert encode_message(0x1122, "create_thin 7") == x("2211000000000000") + b"create_thin 7\0"


@pytest.mark.parity("B19")
@pytest.mark.parametrize(
    ("sector", "text"),
    [(0, ""), (0, " \t"), (0, "a\0b"), (-1, "a"), (1 << 64, "a")],
)
def test_a_message_that_the_kernel_would_misread_is_refused(sector: int, text: str) -> None:
    with pytest.raises(InvalidMessageError):
        encode_message(sector, text)


def test_half_a_character_in_a_message_is_refused_without_showing_it() -> None:
    with pytest.raises(InvalidMessageError, match="must be text") as caught:
        encode_message(0, "key set 00ff \ud840")
    # Python's own error would carry the whole text
    assert caught.value.__context__ is None
    assert "00ff" not in repr(caught.value)


def test_the_reply_to_a_message_ends_at_its_nul() -> None:
    assert decode_message(b"1 2 3\n\0rest") == "1 2 3\n"
    assert decode_message(b"\0") == ""
    assert decode_message(b"\xff\0") == "\udcff"


@pytest.mark.parametrize("raw", [b"", b"no end"])
def test_a_reply_to_a_message_without_an_end_is_refused(raw: bytes) -> None:
    with pytest.raises(ReplyError):
        decode_message(raw)
