"""Any bytes from the kernel give a value or a typed error; what is encoded is decoded as it was."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmwatch.dm import DeviceMapper
from dmwatch.errors import DmwatchError, InvalidMessageError, ReplyError
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.ioctl.exchange import Reply, exchange
from dmwatch.ioctl.header import Header
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
from dmwatch.monitor.snapshot import Snapshot
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid, label, printable, subsystem
from dmwatch.table import TargetLine

u32, u64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
numbers = st.builds(DeviceNumber, st.integers(0, 0xFFF), st.integers(0, 0xFFFFF))


def words(most: int, forbidden: bytes = b"\0") -> st.SearchStrategy[bytes]:
    allowed = bytes(ord("x") if n in forbidden else n for n in range(256))
    return st.binary(min_size=1, max_size=most).map(lambda raw: raw.translate(allowed))


names = words(127, b"\0/").map(DeviceName.from_kernel)
uuids = words(128).map(DeviceUuid.from_kernel)
types = words(15).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
texts = words(60).map(lambda raw: raw.decode("utf-8", "surrogateescape")) | st.just("")
lines = st.builds(TargetLine, u64, u64, types, texts)
plain_types = st.text(
    st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=15
)
versions = st.builds(TargetVersion, plain_types, st.tuples(u32, u32, u32))
listed = st.builds(ListedDevice, numbers, names, u32, st.none() | uuids)
headers = st.builds(
    Header,
    version=st.tuples(u32, u32, u32),
    data_size=u32,
    data_start=u32,
    target_count=u32,
    open_count=st.integers(-(1 << 31), (1 << 31) - 1),
    flags=u32.map(Flags),
    event_nr=u32,
    dev=u64,
    name=words(127) | st.just(b""),
    uuid=words(128) | st.just(b""),
)

# bytes that are nearly right reach deeper than random ones
steps = st.sampled_from([0, 1, 8, 12, 16, 24, 32, 40, 48, 312, 0xFFFFFFFF]) | u32
nearly = st.lists(
    st.one_of(
        st.binary(max_size=24),
        steps.map(lambda n: struct.pack("=I", n)),
        u64.map(lambda n: struct.pack("=Q", n)),
        st.just(bytes(8)),
        words(12).map(lambda raw: raw + b"\0"),
    ),
    max_size=12,
).map(b"".join)
replies = st.binary(max_size=200) | nearly


def damaged(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Right bytes with one word of them replaced, and perhaps cut."""

    @st.composite
    def damage(draw: st.DrawFn) -> bytes:
        raw = bytearray(draw(good))
        if len(raw) >= 4:
            at = draw(st.integers(0, len(raw) // 4 - 1)) * 4
            raw[at : at + 4] = struct.pack("=I", draw(steps))
        return bytes(raw[: draw(st.integers(0, len(raw)))]) if draw(st.booleans()) else bytes(raw)

    return damage()


DECODERS: dict[str, Callable[[bytes], object]] = {
    "header": Header.unpack,
    "targets": lambda raw: decode_targets(raw, 3),
    "devices": lambda raw: decode_devices(raw, uuids=True),
    "devices without uuids": lambda raw: decode_devices(raw, uuids=False),
    "devices without events": lambda raw: decode_devices(raw, uuids=False, events=False),
    "dependencies": decode_deps,
    "versions": decode_versions,
    "message": decode_message,
    "snapshot": lambda raw: Snapshot.of(raw).devices(),
}
GOOD: dict[str, st.SearchStrategy[bytes]] = {
    "header": headers.map(Header.pack),
    "targets": st.lists(lines, min_size=3, max_size=3).map(encode_targets),
    "devices": st.lists(listed, max_size=4).map(lambda d: encode_devices(d, uuids=True)),
    "dependencies": st.lists(numbers, max_size=4).map(encode_deps),
    "versions": st.lists(versions, max_size=4).map(encode_versions),
    "message": texts.map(lambda text: text.encode("utf-8", "surrogateescape") + b"\0"),
}
GOOD["snapshot"] = GOOD["devices without uuids"] = GOOD["devices without events"] = GOOD["devices"]


@pytest.mark.parity("B9")
@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
def test_any_bytes_are_a_value_or_a_reply_error(name: str, data: st.DataObject) -> None:
    raw = data.draw(replies | damaged(GOOD[name]))
    try:
        found = DECODERS[name](raw)
    except ReplyError:
        return
    assert found is not None


@given(replies, u32)
def test_any_bytes_with_any_count_of_targets(raw: bytes, count: int) -> None:
    try:
        found = decode_targets(raw, count)
    except ReplyError:
        return
    assert len(found) == count


@dataclass
class Babbling:
    """A control that answers with these bytes, or with an errno."""

    answers: list[bytes | int]

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        return

    def call(self, _command: Command, buffer: bytearray) -> None:
        answer = self.answers.pop(0) if self.answers else 5
        if isinstance(answer, int):
            raise OSError(answer, "refused")
        size = min(len(buffer), len(answer))
        buffer[:size] = answer[:size]


# a header that holds together leads on to the data
sane = st.builds(
    lambda size, start, count, flags: Header(
        (4, 47, 0), size, start, count, flags=Flags(flags), dev=0xFE05, name=b"a"
    ).pack(),
    st.integers(305, 600),
    st.sampled_from([312, 316, 400]),
    st.integers(0, 5),
    st.sampled_from([0, 1 << 8, 1 << 16]) | u32,
)
answers = st.one_of(
    st.integers(1, 140),
    damaged(headers.map(Header.pack)),
    st.tuples(sane, replies).map(b"".join),
    *(st.tuples(sane, damaged(GOOD[name])).map(b"".join) for name in GOOD if name != "header"),
)


@given(st.sampled_from(Command), st.lists(answers, max_size=3), st.integers(312, 700))
def test_an_exchange_with_any_answers_gives_a_reply_or_a_typed_error(
    command: Command, given_answers: list[bytes | int], capacity: int
) -> None:
    try:
        found = exchange(Babbling(given_answers), command, Header(name=b"a"), capacity=capacity)
    except DmwatchError:
        return
    assert isinstance(found, Reply)
    assert len(found.data) <= found.capacity


METHODS: dict[str, Callable[[DeviceMapper], Any]] = {
    "version": lambda dm: dm.version(),
    "remove_all": lambda dm: dm.remove_all(really=True),
    "list_devices": lambda dm: dm.list_devices(uuids=True),
    "create": lambda dm: dm.create("a"),
    "remove": lambda dm: dm.remove("a"),
    "rename": lambda dm: dm.rename("a", "b"),
    "suspend": lambda dm: dm.suspend("a"),
    "info": lambda dm: dm.info("a"),
    "wait": lambda dm: dm.wait("a", 0),
    "load": lambda dm: dm.load("a", [TargetLine(0, 8, "zero")]),
    "clear": lambda dm: dm.clear("a"),
    "deps": lambda dm: dm.deps("a"),
    "table_status": lambda dm: dm.table_status("a"),
    "versions": lambda dm: dm.versions(),
    "target_version": lambda dm: dm.target_version("zero"),
    "message": lambda dm: dm.message("a", "do"),
    "arm_poll": lambda dm: dm.arm_poll(),
}


@pytest.mark.parametrize("name", METHODS)
@given(st.lists(answers, max_size=3))
def test_a_method_with_any_answers_gives_a_value_or_a_typed_error(
    name: str, given_answers: list[bytes | int]
) -> None:
    try:
        found = METHODS[name](DeviceMapper(Babbling(given_answers)))
    except DmwatchError:
        return
    assert repr(found)


# Round trips


@given(headers)
def test_a_header_survives(header: Header) -> None:
    assert Header.unpack(header.pack()) == header


def chained(table: list[TargetLine]) -> bytes:
    """Specs as the kernel gives them: each `next` counts from the first one."""
    raw, offset = bytearray(encode_targets(table)), 0
    for _ in table:
        (step,) = struct.unpack_from("=I", raw, offset + 20)
        offset += step
        struct.pack_into("=I", raw, offset - step + 20, offset)
    return bytes(raw)


@given(st.lists(lines, max_size=6), st.binary(max_size=20))
def test_targets_survive_the_way_in_and_out(table: list[TargetLine], slack: bytes) -> None:
    assert decode_targets(chained(table) + slack, len(table)) == table


@given(st.lists(listed, max_size=6), st.booleans())
def test_a_list_of_devices_survives(devices: list[ListedDevice], uuids_: bool) -> None:
    found = decode_devices(encode_devices(devices, uuids=uuids_), uuids=uuids_)
    assert [(d.number, d.name, d.event_nr) for d in found] == [
        (d.number, d.name, d.event_nr) for d in devices
    ]
    assert [d.uuid for d in found] == [d.uuid if uuids_ else None for d in devices]


@given(st.lists(numbers, max_size=20))
def test_dependencies_survive(found: list[DeviceNumber]) -> None:
    assert decode_deps(encode_deps(found)) == found


@given(st.lists(versions, max_size=6))
def test_versions_survive(found: list[TargetVersion]) -> None:
    assert decode_versions(encode_versions(found)) == found


@given(u64, texts)
def test_a_message_is_refused_or_ends_with_its_nul(sector: int, text: str) -> None:
    try:
        raw = encode_message(sector, text)
    except InvalidMessageError:
        assert not text.strip()
        return
    assert struct.unpack_from("=Q", raw) == (sector,)
    assert decode_message(raw[8:]) == text


@given(numbers)
def test_a_number_survives(number: DeviceNumber) -> None:
    assert DeviceNumber.from_kernel(number.to_kernel()) == number
    assert DeviceNumber.parse(str(number)) == number


@given(u32)
def test_every_number_of_the_kernel_survives(value: int) -> None:
    assert DeviceNumber.from_kernel(value).to_kernel() == value


@given(words(127, b"\0/"))
def test_every_name_of_the_kernel_survives_and_can_be_shown(raw: bytes) -> None:
    name = DeviceName.from_kernel(raw)
    assert name.to_kernel() == raw
    shown = name.printable
    assert shown.encode("utf-8")
    assert shown.isprintable() or any(not c.isprintable() for c in name if ord(c) > 0x9F)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in shown)


@given(st.text(), st.none() | st.text())
def test_labels_and_owners_are_printable(name: str, uuid: str | None) -> None:
    assert label(name, uuid).encode("utf-8") is not None
    assert printable(printable(name)) == printable(name)
    owner = subsystem(uuid)
    assert owner is None or owner.encode("utf-8")


group = st.lists(
    st.text("ab-", min_size=1, max_size=6).filter(lambda t: t[0] != "-" != t[-1]),
    min_size=2,
    max_size=2,
)


@given(group)
def test_the_label_undoes_what_lvm_does_to_names(parts: list[str]) -> None:
    mangled = "-".join(part.replace("-", "--") for part in parts)
    assert label(mangled, "LVM-1") == "/".join(parts)
