"""The fake kernel of dmwatch.testing gives the bytes that this kernel gives.

The same requests go to both, byte by byte; what comes back is compared, but for the device number,
whose major differs, and the interface version. Bytes between two parts of a result are not defined:
kernels leave them as they are, 7.3 makes them zero.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dmwatch.ioctl.abi import HEADER_SIZE, Command, Flags
from dmwatch.ioctl.control import Control, ControlLike
from dmwatch.ioctl.header import Header
from dmwatch.ioctl.payload import device_records, encode_targets
from dmwatch.table import TargetLine
from dmwatch.testing import FakeDevice, FakeKernel

NAME = b"fake-a-dmwatch-test"
OTHER = b"fake-b-dmwatch-test"
UUID = b"DMWATCH-fake-1"
FILLER = b"\xaa"
RECORDS_IN_ORDER = (4, 45, 0)
ZERO = encode_targets([TargetLine(0, 2048, "zero", "")])
LINES = [TargetLine(0, 8, "linear", "1:0 0"), TargetLine(8, 8, "error"), TargetLine(16, 8, "zero")]
PREFIX: dict[str, Any] = {"name": b"fake-"}


@dataclass(frozen=True)
class Request:
    command: Command
    header: Header
    payload: bytes = b""
    size: int = 4096

    def buffer(self) -> bytearray:
        raw = replace(self.header, data_size=self.size).pack() + self.payload
        size = max(self.size, HEADER_SIZE)
        return bytearray(raw.ljust(size, FILLER)[:size])


def ask(command: Command, payload: bytes = b"", size: int = 4096, **fields: Any) -> Request:
    fields.setdefault("version", command.value.version)
    return Request(command, Header(**fields), payload, size)


def message(text: bytes, sector: int = 0, size: int = 4096) -> Request:
    return ask(Command.TARGET_MSG, struct.pack("=Q", sector) + text, size, name=NAME)


C = Command
STORY = [
    ask(C.VERSION),
    ask(C.VERSION, version=(4, 999, 0)),
    ask(C.VERSION, version=(5, 0, 0)),
    ask(C.LIST_DEVICES, **PREFIX),
    ask(C.LIST_DEVICES, size=312, **PREFIX),
    ask(C.LIST_DEVICES, size=304, **PREFIX),
    ask(C.DEV_CREATE),
    ask(C.DEV_CREATE, name=b"fake/a"),
    ask(C.DEV_CREATE, name=NAME),
    ask(C.DEV_CREATE, name=NAME),
    ask(C.DEV_STATUS, name=NAME),
    ask(C.DEV_STATUS, name=OTHER),
    ask(C.DEV_STATUS),
    ask(C.DEV_STATUS, name=NAME, uuid=UUID),
    ask(C.DEV_STATUS, name=NAME, dev=0xFE00),
    ask(C.TABLE_STATUS, name=NAME, flags=Flags.NOFLUSH),
    ask(C.TABLE_DEPS, name=NAME),
    ask(C.DEV_SUSPEND, name=NAME),
    message(b"hello\0"),
    message(b"\0"),
    message(b"@nonsense\0"),
    message(b"hello"),
    ask(C.DEV_RENAME, UUID + b"\0", name=NAME, flags=Flags.UUID),
    ask(C.DEV_RENAME, UUID + b"\0", name=NAME, flags=Flags.UUID),
    ask(C.DEV_RENAME, b"DMWATCH-fake-2\0", name=NAME, flags=Flags.UUID),
    ask(C.DEV_RENAME, NAME + b"\0", name=NAME),
    ask(C.DEV_RENAME, NAME + b"\0", name=OTHER),
    ask(C.DEV_RENAME, OTHER + b"2\0", name=OTHER),
    ask(C.DEV_RENAME, b"\0", name=NAME),
    ask(C.DEV_RENAME, b"a/b\0", name=NAME),
    ask(C.DEV_RENAME, b"n" * 128 + b"\0", name=NAME),
    ask(C.DEV_STATUS, uuid=UUID),
    ask(C.LIST_DEVICES, **PREFIX),
    ask(C.LIST_DEVICES, flags=Flags.UUID, **PREFIX),
    ask(C.TABLE_LOAD, name=NAME),
    ask(C.TABLE_LOAD, ZERO, name=NAME, target_count=1, flags=Flags.SECURE_DATA),
    ask(C.TABLE_LOAD, encode_targets([TargetLine(8, 8, "zero")]), name=NAME, target_count=1),
    ask(C.TABLE_LOAD, encode_targets([TargetLine(0, 0, "zero")]), name=NAME, target_count=1),
    ask(C.TABLE_LOAD, encode_targets([TargetLine(0, 8, "nonsense")]), name=NAME, target_count=1),
    ask(C.TABLE_LOAD, ZERO, name=OTHER, target_count=1),
    ask(C.DEV_STATUS, name=NAME),
    ask(C.DEV_STATUS, name=NAME, flags=Flags.QUERY_INACTIVE_TABLE),
    ask(C.TABLE_STATUS, name=NAME, flags=Flags.QUERY_INACTIVE_TABLE),
    ask(C.TABLE_CLEAR, name=NAME),
    ask(C.TABLE_LOAD, ZERO, name=NAME, target_count=1, flags=Flags.READONLY),
    ask(C.DEV_STATUS, name=NAME, flags=Flags.QUERY_INACTIVE_TABLE),
    ask(C.DEV_SUSPEND, name=NAME),
    ask(C.DEV_SUSPEND, name=NAME),
    ask(C.DEV_STATUS, name=NAME),
    ask(C.TABLE_STATUS, uuid=UUID, flags=Flags.STATUS_TABLE),
    ask(C.TABLE_STATUS, name=NAME, flags=Flags.SECURE_DATA),
    ask(C.TABLE_STATUS, name=NAME, size=312),
    ask(C.TABLE_STATUS, name=NAME, size=312 + 40),
    ask(C.TABLE_STATUS, name=NAME, size=312 + 41),
    ask(C.TABLE_STATUS, name=NAME, size=312 + 42),
    ask(C.TABLE_DEPS, name=NAME),
    ask(C.TABLE_DEPS, name=NAME, size=312),
    message(b"hello\0"),
    message(b"hello\0", sector=1 << 40),
    message(b"@cancel_deferred_remove\0"),
    message(b"@stats_list\0"),
    message(b"@stats_list\0", size=312 + 8 + 12),
    ask(C.DEV_SET_GEOMETRY, b"10 10 10 0\0", name=NAME),
    ask(C.DEV_SET_GEOMETRY, b"10 10 10\0", name=NAME),
    ask(C.DEV_SET_GEOMETRY, b"10 10 10 1001\0", name=NAME),
    ask(C.DEV_SET_GEOMETRY, b"10 300 10 0\0", name=NAME),
    ask(C.DEV_SET_GEOMETRY, b"10 10 10 0\0", name=OTHER),
    ask(C.DEV_SUSPEND, name=NAME, flags=Flags.SUSPEND),
    ask(C.DEV_SUSPEND, name=NAME, flags=Flags.SUSPEND | Flags.NOFLUSH),
    ask(C.DEV_STATUS, name=NAME),
    ask(C.DEV_SUSPEND, name=NAME, event_nr=0x00200000),
    ask(C.DEV_RENAME, OTHER + b"\0", name=NAME),
    ask(C.DEV_STATUS, name=NAME),
    ask(C.DEV_STATUS, name=OTHER),
    ask(C.DEV_WAIT, name=OTHER, event_nr=0),
    ask(C.DEV_CREATE, name=NAME, uuid=b"DMWATCH-fake-3"),
    ask(C.DEV_CREATE, name=NAME + b"3", uuid=b"DMWATCH-fake-3"),
    ask(C.DEV_SUSPEND, name=NAME, flags=Flags.SUSPEND),
    ask(C.DEV_SUSPEND, name=NAME),
    ask(C.DEV_STATUS, name=NAME),
    ask(C.LIST_DEVICES, flags=Flags.UUID, **PREFIX),
    ask(C.LIST_DEVICES, flags=Flags.UUID, size=400, **PREFIX),
    ask(C.LIST_DEVICES, flags=Flags.UUID, uuid=b"DMWATCH-fake-3"),
    ask(C.LIST_DEVICES, name=b"no such thing"),
    ask(C.GET_TARGET_VERSION, name=b"zero"),
    ask(C.GET_TARGET_VERSION, name=b"zero", size=320),
    ask(C.GET_TARGET_VERSION, name=b"nonsense"),
    ask(C.DEV_ARM_POLL),
    ask(C.DEV_REMOVE, name=NAME, flags=Flags.DEFERRED_REMOVE, event_nr=0x00200000),
    ask(C.DEV_REMOVE, name=OTHER, event_nr=0x00200000),
    ask(C.DEV_REMOVE, name=OTHER),
]


@dataclass(frozen=True)
class Outcome:
    number: int | None
    header: Header
    rest: bytes

    @property
    def data(self) -> bytes:
        """What follows the header."""
        return self.rest[7 : self.header.data_size - 305]


def outcome(control: ControlLike, request: Request) -> Outcome:
    buffer = request.buffer()
    number = None
    try:
        control.call(request.command, buffer)
    except OSError as error:
        number = error.errno
    header = replace(Header.unpack(buffer), version=(0, 0, 0), dev=0)
    return Outcome(number, header, _masked(request.command, buffer[305:]))


def in_order(request: Request, found: Outcome) -> Outcome:
    """The records of a list by name, as kernels before 5.13 give them in the order of a hash."""
    if request.command is not Command.LIST_DEVICES or not found.header.data_size > HEADER_SIZE:
        return found
    records = [found.rest[7 + start : 7 + end] for start, end in device_records(found.data)]
    ordered = b"".join(sorted(record[12:] for record in records))
    return replace(found, rest=ordered)


def _masked(command: Command, rest: bytearray) -> bytes:
    """Without device numbers: the major is the kernel's choice."""
    if command is Command.LIST_DEVICES:
        offset = 7
        while offset + 12 <= len(rest) and rest[offset : offset + 1] != FILLER:
            (step,) = struct.unpack_from("=I", rest, offset + 8)
            rest[offset : offset + 8] = bytes(8)
            if not step:
                break
            offset += step
    return bytes(rest)


def defined(real: Outcome, pretended: Outcome) -> Outcome:
    """What the kernel gave, without the zeros where the fake one wrote nothing."""
    pairs = zip(real.rest, pretended.rest, strict=True)
    rest = bytes(FILLER[0] if (a, b) == (0, FILLER[0]) else a for a, b in pairs)
    return replace(real, rest=rest)


def answer(_device: FakeDevice, _sector: int, text: str) -> str | None:
    """As the zero target, and the core where there are no statistics."""
    if text == "@stats_list":
        return ""
    raise OSError(errno.EINVAL, "no such message")


@pytest.fixture
def control() -> Iterator[Control]:
    opened = Control()
    yield opened
    opened.close()


def test_the_fake_kernel_gives_the_bytes_of_this_one(control: Control) -> None:
    buffer = ask(Command.VERSION).buffer()
    control.call(Command.VERSION, buffer)
    fake_version = Header.unpack(buffer).version
    fake = FakeKernel(fake_version)
    versions = ask(C.GET_TARGET_VERSION, name=b"zero").buffer()
    control.call(Command.GET_TARGET_VERSION, versions)
    fake.targets["zero"] = struct.unpack_from("=3I", versions, 312 + 4)
    fake.on_message = answer
    opened = fake.open()
    problems = []
    for number, request in enumerate(STORY):
        real, pretended = outcome(control, request), outcome(opened, request)
        if fake_version < RECORDS_IN_ORDER:
            real, pretended = in_order(request, real), in_order(request, pretended)
        if defined(real, pretended) != pretended:
            problems.append(f"step {number} {request}\n  kernel {real}\n  fake   {pretended}")
    assert not problems, "\n".join(problems)
