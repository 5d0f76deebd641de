"""Every command as bytes, both ways: what a method sends, and what it makes of an answer.

The bytes are written by hand from struct dm_ioctl and its records, apart from dmwatch's encoders.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dmwatch.dm import DeviceInfo, DeviceMapper, Geometry, MessageReply, Removal, TableStatus
from dmwatch.errors import ReplyError, ReplyTooLargeError
from dmwatch.ioctl.abi import Command, Flags, UdevFlags
from dmwatch.ioctl.payload import ListedDevice, TargetVersion
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

V = (4, 47, 0)
DEV = 0x1FE05  # 254:5, were it not for the next digit: 510:5
SIZE = 16384


def raw(
    version: tuple[int, int, int],
    data_size: int,
    data: bytes = b"",
    *,
    targets: int = 0,
    opens: int = 0,
    flags: int = 0,
    event_nr: int = 0,
    dev: int = 0,
    name: bytes = b"",
    uuid: bytes = b"",
) -> bytes:
    """Offsets 0, 12, 16, 20, 24, 28, 32, 36, 40, 48, 176, 305, 312."""
    numbers = struct.pack(
        "=3IIIIiIII", *version, data_size, 312, targets, opens, flags, event_nr, 0
    )
    words = name.ljust(128, b"\0") + uuid.ljust(129, b"\0") + bytes(7)
    return numbers + struct.pack("=Q", dev) + words + data


@dataclass(frozen=True)
class Row:
    """A method's call, the request it sends, the answer it gets, and what it gives."""

    command: Command
    call: Callable[[DeviceMapper], Any]
    request: bytes
    reply: bytes
    value: Any


def x(text: str) -> bytes:
    return bytes.fromhex(text)


def info(**fields: Any) -> DeviceInfo:
    known: dict[str, Any] = {
        "name": DeviceName("a"),
        "uuid": None,
        "number": DeviceNumber(510, 5),
        "open_count": 0,
        "event_nr": 0,
        "target_count": 0,
        "flags": Flags(0),
        "version": V,
    }
    return DeviceInfo(**{**known, **fields})


ZERO = x("0000000000000000 0008000000000000 00000000 30000000") + b"zero".ljust(16, b"\0")
LINEAR = x("0008000000000000 0800000000000000 00000000") + b"%s" + b"linear".ljust(16, b"\0")
TEXT = b"7:0 0\0\0\0"
INTO = ZERO + bytes(8) + LINEAR % x("30000000") + TEXT
# `next` from the first record on, the last string not padded: data_size ends with its NUL
OUT = ZERO + bytes(8) + LINEAR % x("60000000") + TEXT[:6]
LINES = (TargetLine(0, 2048, "zero"), TargetLine(2048, 8, "linear", "7:0 0"))
STATUS = TableStatus(info(event_nr=7, target_count=2, flags=Flags.ACTIVE_PRESENT), LINES)
REPORT = raw(V, 312 + len(OUT), OUT, targets=2, flags=1 << 5, event_nr=7, dev=DEV, name=b"a")

ROWS = {
    "version": Row(
        Command.VERSION,
        lambda dm: dm.version(),
        raw((4, 0, 0), SIZE),
        # nothing but the version is written back
        raw((4, 50, 0), SIZE),
        (4, 50, 0),
    ),
    "remove_all": Row(
        Command.REMOVE_ALL,
        lambda dm: dm.remove_all(really=True, flags=Flags.DEFERRED_REMOVE),
        raw((4, 0, 0), SIZE, flags=1 << 17),
        raw(V, SIZE, flags=1 << 17),
        None,
    ),
    "list_devices": Row(
        Command.LIST_DEVICES,
        lambda dm: dm.list_devices(uuids=True),
        raw((4, 0, 0), SIZE, flags=1 << 14),
        raw(
            V,
            312 + 32,
            x("05fe0000 00000000 00000000 30000000 00000000 01000000 552d3000 00000000"),
            flags=1 << 14,
        ),
        [ListedDevice(DeviceNumber(254, 5), DeviceName("0"), 0, DeviceUuid("U-0"))],
    ),
    "list_devices, none": Row(
        Command.LIST_DEVICES,
        lambda dm: dm.list_devices(),
        raw((4, 0, 0), SIZE),
        raw(V, 312),
        [],
    ),
    "list_devices, by prefix": Row(
        Command.LIST_DEVICES,
        lambda dm: dm.list_devices(name_prefix="vg-", uuid_prefix="LVM-"),
        raw((4, 0, 0), SIZE, name=b"vg-", uuid=b"LVM-"),
        raw(V, 312, name=b"vg-", uuid=b"LVM-"),
        [],
    ),
    "create": Row(
        Command.DEV_CREATE,
        lambda dm: dm.create("a", "LVM-a", minor=0x12345),
        raw((4, 0, 0), SIZE, flags=1 << 3, dev=0x12300045, name=b"a", uuid=b"LVM-a"),
        raw(V, 305, flags=1 << 3, dev=0x1231FE45, name=b"a", uuid=b"LVM-a"),
        info(
            uuid=DeviceUuid("LVM-a"),
            number=DeviceNumber(510, 0x12345),
            flags=Flags.PERSISTENT_DEV,
        ),
    ),
    "remove": Row(
        Command.DEV_REMOVE,
        lambda dm: dm.remove("a", udev=UdevFlags.DISABLE_OTHER_RULES, cookie=0xABCD),
        raw((4, 0, 0), SIZE, event_nr=0x0008ABCD, name=b"a"),
        raw(V, 305, flags=1 << 13, event_nr=0x0008ABCD, name=b"a", uuid=b"LVM-a"),
        Removal(Flags.UEVENT_GENERATED),
    ),
    "rename": Row(
        Command.DEV_RENAME,
        lambda dm: dm.rename("a", "b", udev=UdevFlags.LOW_PRIORITY, cookie=1),
        raw((4, 0, 0), SIZE, b"b\0", event_nr=0x00100001, name=b"a"),
        raw(V, 305, event_nr=3, dev=DEV, name=b"a"),
        info(event_nr=3),
    ),
    "set_uuid": Row(
        Command.DEV_RENAME,
        lambda dm: dm.set_uuid("a", "LVM-a"),
        raw((4, 0, 0), SIZE, b"LVM-a\0", flags=1 << 14, name=b"a"),
        raw(V, 305, flags=1 << 14, dev=DEV, name=b"a"),
        info(flags=Flags.UUID),
    ),
    "suspend": Row(
        Command.DEV_SUSPEND,
        lambda dm: dm.suspend(DeviceUuid("LVM-a"), flags=Flags.NOFLUSH | Flags.SKIP_LOCKFS),
        raw((4, 0, 0), SIZE, flags=1 << 1 | 1 << 10 | 1 << 11, uuid=b"LVM-a"),
        raw(V, 305, flags=1 << 1 | 1 << 5, dev=DEV, name=b"a", uuid=b"LVM-a", targets=1),
        info(uuid=DeviceUuid("LVM-a"), target_count=1, flags=Flags.SUSPEND | Flags.ACTIVE_PRESENT),
    ),
    "resume": Row(
        Command.DEV_SUSPEND,
        lambda dm: dm.resume(DeviceNumber(510, 5), cookie=2),
        raw((4, 0, 0), SIZE, event_nr=2, dev=DEV),
        raw(V, 305, flags=1 << 5 | 1 << 13, event_nr=9, opens=2, dev=DEV, name=b"a", targets=1),
        info(
            open_count=2,
            event_nr=9,
            target_count=1,
            flags=Flags.ACTIVE_PRESENT | Flags.UEVENT_GENERATED,
        ),
    ),
    "info": Row(
        Command.DEV_STATUS,
        lambda dm: dm.info("a", flags=Flags.QUERY_INACTIVE_TABLE),
        raw((4, 0, 0), SIZE, flags=1 << 12, name=b"a"),
        raw(V, 305, flags=1 << 0 | 1 << 12 | 1 << 17 | 1 << 18 | 1 << 30, dev=DEV, name=b"a"),
        info(flags=Flags(1 << 0 | 1 << 12 | 1 << 17 | 1 << 18 | 1 << 30)),
    ),
    "wait": Row(
        Command.DEV_WAIT,
        lambda dm: dm.wait("a", 0xFFFFFFFF, flags=Flags.NOFLUSH),
        raw((4, 0, 0), SIZE, flags=1 << 11, event_nr=0xFFFFFFFF, name=b"a"),
        REPORT,
        STATUS,
    ),
    "load": Row(
        Command.TABLE_LOAD,
        lambda dm: dm.load("a", LINES, flags=Flags.READONLY),
        raw((4, 0, 0), SIZE, INTO, targets=2, flags=1 << 0, name=b"a"),
        raw(V, 305, flags=1 << 6, dev=DEV, name=b"a"),
        info(flags=Flags.INACTIVE_PRESENT),
    ),
    "clear": Row(
        Command.TABLE_CLEAR,
        lambda dm: dm.clear("a"),
        raw((4, 0, 0), SIZE, name=b"a"),
        raw(V, 305, dev=DEV, name=b"a"),
        info(),
    ),
    "deps": Row(
        Command.TABLE_DEPS,
        lambda dm: dm.deps("a"),
        raw((4, 0, 0), SIZE, name=b"a"),
        raw(
            V,
            312 + 24,
            # the padding after the count is not written
            x("02000000 aaaaaaaa 0007000000000000 1008000000000000"),
            dev=DEV,
            name=b"a",
        ),
        [DeviceNumber(7, 0), DeviceNumber(8, 16)],
    ),
    "deps, without a table": Row(
        Command.TABLE_DEPS,
        lambda dm: dm.deps("a", flags=Flags.QUERY_INACTIVE_TABLE),
        raw((4, 0, 0), SIZE, flags=1 << 12, name=b"a"),
        raw(V, 305, flags=1 << 12, dev=DEV, name=b"a"),
        [],
    ),
    "table_status": Row(
        Command.TABLE_STATUS,
        lambda dm: dm.table_status("a", flags=Flags.NOFLUSH),
        raw((4, 0, 0), SIZE, flags=1 << 11, name=b"a"),
        REPORT,
        STATUS,
    ),
    "table_status, without a table": Row(
        Command.TABLE_STATUS,
        lambda dm: dm.table_status("a"),
        raw((4, 0, 0), SIZE, name=b"a"),
        raw(V, 305, dev=DEV, name=b"a"),
        TableStatus(info(), ()),
    ),
    "table": Row(
        Command.TABLE_STATUS,
        lambda dm: dm.table("a", flags=Flags.SECURE_DATA),
        raw((4, 0, 0), SIZE, flags=1 << 4 | 1 << 15, name=b"a"),
        REPORT,
        LINES,
    ),
    "versions": Row(
        Command.LIST_VERSIONS,
        lambda dm: dm.versions(),
        raw((4, 1, 0), SIZE),
        raw(
            V,
            312 + 30 + 28,
            x("18000000 01000000 04000000 00000000") + b"linear\0\0"
            + x("00000000 01000000 18000000 00000000") + b"crypt\0" + bytes(16),
        ),
        [TargetVersion("linear", (1, 4, 0)), TargetVersion("crypt", (1, 24, 0))],
    ),
    "message": Row(
        Command.TARGET_MSG,
        lambda dm: dm.message("a", "@stats_list", sector=0x1122),
        raw((4, 2, 0), 312 + SIZE + 2, x("2211000000000000") + b"@stats_list\0", name=b"a"),
        raw(V, 312 + 9, b"0: 0+8 8\0", flags=1 << 5 | 1 << 16, dev=DEV, name=b"a"),
        MessageReply(info(flags=Flags.ACTIVE_PRESENT | Flags.DATA_OUT), "0: 0+8 8"),
    ),
    "message, without a reply": Row(
        Command.TARGET_MSG,
        lambda dm: dm.message("a", "create_thin 7", reply_size=1000),
        raw((4, 2, 0), 312 + 1000 + 2, bytes(8) + b"create_thin 7\0", name=b"a"),
        raw(V, 305, flags=1 << 5, dev=DEV, name=b"a"),
        MessageReply(info(flags=Flags.ACTIVE_PRESENT), None),
    ),
    "set_geometry": Row(
        Command.DEV_SET_GEOMETRY,
        lambda dm: dm.set_geometry("a", Geometry(1024, 255, 63, 2048)),
        raw((4, 6, 0), SIZE, b"1024 255 63 2048\0", name=b"a"),
        raw(V, SIZE, b"1024 255 63 2048\0", name=b"a"),
        None,
    ),
    "arm_poll": Row(
        Command.DEV_ARM_POLL,
        lambda dm: dm.arm_poll(),
        raw((4, 37, 0), SIZE),
        raw(V, 305),
        None,
    ),
    "target_version": Row(
        Command.GET_TARGET_VERSION,
        lambda dm: dm.target_version("thin-pool"),
        raw((4, 41, 0), SIZE, name=b"thin-pool"),
        raw(
            V,
            312 + 33,
            x("00000000 01000000 16000000 00000000") + b"thin-pool\0" + bytes(7),
            name=b"thin-pool",
        ),
        TargetVersion("thin-pool", (1, 22, 0)),
    ),
}  # fmt: skip
WITH_DATA = [name for name, row in ROWS.items() if len(row.reply) > 312 and row.command.value.grows]


def test_every_command_has_a_row() -> None:
    assert {row.command for row in ROWS.values()} == set(Command)


@pytest.fixture(params=ROWS, ids=list(ROWS))
def row(request: pytest.FixtureRequest) -> Row:
    return ROWS[request.param]


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def dm(kernel: FakeKernel) -> DeviceMapper:
    return DeviceMapper(kernel.open())


def test_a_method_sends_these_bytes(kernel: FakeKernel, dm: DeviceMapper, row: Row) -> None:
    kernel.inject(row.command, row.reply)
    row.call(dm)
    (call,) = kernel.calls
    assert call.command is row.command
    (size,) = struct.unpack_from("=I", row.request, 12)
    assert call.request == row.request.ljust(size, b"\0")


def test_a_method_makes_this_of_an_answer(kernel: FakeKernel, dm: DeviceMapper, row: Row) -> None:
    kernel.inject(row.command, row.reply)
    assert row.call(dm) == row.value


@pytest.mark.parametrize("name", WITH_DATA)
def test_an_answer_that_fills_its_buffer_is_read_whole(
    kernel: FakeKernel, dm: DeviceMapper, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ROWS[name]
    monkeypatch.setattr("dmwatch.dm.channel.CAPACITY", len(row.reply))
    kernel.inject(row.command, row.reply)
    assert row.call(dm) == row.value
    assert kernel.calls[0].size == len(row.reply)


@pytest.mark.parametrize("name", WITH_DATA)
def test_an_answer_that_is_cut_anywhere_is_refused(
    kernel: FakeKernel, dm: DeviceMapper, name: str
) -> None:
    row = ROWS[name]
    # what follows the last string's NUL may be missing
    slack = {
        Command.LIST_DEVICES: 5,
        Command.LIST_VERSIONS: 17,
        Command.GET_TARGET_VERSION: 8,
    }.get(row.command, 1)
    for size in range(313, len(row.reply) - slack + 1):
        cut = row.reply[:12] + struct.pack("=I", size) + row.reply[16:]
        kernel.inject(row.command, cut)
        with pytest.raises(ReplyError):
            row.call(dm)


@pytest.mark.parametrize("name", WITH_DATA)
def test_an_answer_without_room_is_asked_for_again_from_a_fresh_request(
    kernel: FakeKernel, dm: DeviceMapper, name: str
) -> None:
    row = ROWS[name]
    # by then the kernel has filled in both name and uuid, and counted the targets
    full = raw(V, 305, flags=1 << 8, targets=2, dev=DEV, name=b"a", uuid=b"LVM-a")
    kernel.inject(row.command, full)
    kernel.inject(row.command, row.reply)
    assert row.call(dm) == row.value
    first, second = kernel.calls
    assert (first.size, second.size) == (SIZE, 2 * SIZE)
    sized = first.request[:12] + struct.pack("=I", 2 * SIZE) + first.request[16:]
    assert second.request == sized.ljust(2 * SIZE, b"\0")


def test_a_message_is_sent_once_even_if_its_answer_has_no_room(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    full = raw(V, 305, flags=1 << 8 | 1 << 16, dev=DEV, name=b"a")
    kernel.inject(Command.TARGET_MSG, full, times=None)
    with pytest.raises(ReplyTooLargeError, match="the message itself was carried out"):
        dm.message("a", "@stats_print_clear 0")
    assert kernel.count(Command.TARGET_MSG) == 1
