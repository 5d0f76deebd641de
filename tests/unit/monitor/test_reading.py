from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest

from dmwatch import DeviceMapper, TargetLine
from dmwatch.errors import CommandError, DeviceNotFoundError
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.monitor.reading import Raw, Wish, read
from dmwatch.names import DeviceNumber
from dmwatch.testing import FakeKernel

LINEAR = TargetLine(0, 2048, "linear", "8:1 0")
CRYPT = TargetLine(0, 2048, "crypt", "aes-xts-plain64 00112233445566778899aabbccddeeff 0 8:1 0")
ERA = TargetLine(0, 2048, "era", "254:0 254:1 128")
POOL = TargetLine(0, 2048, "thin-pool", "254:0 254:1 128 0 0 ")
ALL = Wish(table=True)


@pytest.fixture
def dm(kernel: FakeKernel) -> Iterator[DeviceMapper]:
    with DeviceMapper(kernel.open()) as opened:
        yield opened


def asked(kernel: FakeKernel) -> list[tuple[Command, bool]]:
    """The calls that were made, and whether each asked for the table's text."""
    return [(call.command, bool(call.flags & Flags.STATUS_TABLE)) for call in kernel.calls]


def look(kernel: FakeKernel, dm: DeviceMapper, wish: Wish = ALL, **device: Any) -> Raw:
    return read(dm, kernel.device(device.get("name", "vol")).number, wish)


def test_a_record_is_one_call(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("vol", LINEAR)
    raw = look(kernel, dm, Wish(status=False))
    assert asked(kernel) == [(Command.DEV_STATUS, False)]
    assert (raw.lines, raw.tables, raw.deps) == (None, None, None)


def test_a_status_never_flushes(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("vol", POOL, status=["Fail"])
    raw = look(kernel, dm)
    assert raw.lines is not None
    assert raw.lines[0].text == "Fail"
    statuses = [call for call in kernel.calls if call.command is Command.TABLE_STATUS]
    assert len(statuses) == 2
    assert all(call.flags & Flags.NOFLUSH for call in statuses)


def test_the_table_is_read_where_it_is_wished_or_the_target_needs_it(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    kernel.add("vol", LINEAR)
    kernel.add("pool", POOL, status=["Fail"])
    assert look(kernel, dm, Wish()).tables is None
    assert look(kernel, dm, ALL).tables == (LINEAR,)
    assert look(kernel, dm, Wish(), name="pool").tables == (POOL,)


@pytest.mark.parametrize("kind", ["crypt", "integrity", "inlinecrypt", "of-tomorrow"])
def test_a_table_that_may_hold_a_key_is_never_asked_for(
    kernel: FakeKernel, dm: DeviceMapper, kind: str
) -> None:
    kernel.targets[kind] = (1, 0, 0)
    kernel.add("vol", TargetLine(0, 8, "linear", "8:1 0"), TargetLine(8, 8, kind, "secret"))
    assert look(kernel, dm).tables is None
    assert not any(table for _, table in asked(kernel))


def test_a_keyed_table_that_takes_the_place_of_another_is_not_asked_for(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    kernel.add("vol", LINEAR)
    kernel.swap("vol", CRYPT)
    look(kernel, dm, Wish(table=True, types=frozenset({"linear"})))
    assert not any(table for _, table in asked(kernel))


@pytest.mark.parametrize("types", [frozenset({"era"}), frozenset({"linear", "era"}), frozenset()])
def test_what_may_block_while_suspended_is_not_read_then(
    kernel: FakeKernel, dm: DeviceMapper, types: frozenset[str]
) -> None:
    kernel.add("vol", ERA, status=["8 12/2048 2 24"])
    kernel.dm.suspend("vol")
    raw = look(kernel, dm, Wish(table=True, types=types))
    assert raw.info.suspended
    assert raw.lines is None
    assert asked(kernel) == [(Command.DEV_STATUS, False)]


def test_what_cannot_block_is_read_while_suspended(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("vol", LINEAR)
    kernel.dm.suspend("vol")
    assert look(kernel, dm, Wish(types=frozenset({"linear"}))).lines is not None


def test_the_event_number_is_that_of_the_status(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("vol", POOL, status=["Fail"])
    kernel.before(Command.TABLE_STATUS, lambda: kernel.raise_event("vol", 3))
    kernel.after(Command.TABLE_STATUS, lambda: kernel.raise_event("vol", 5), times=1)
    assert look(kernel, dm, Wish()).info.event_nr == 3


def test_status_and_table_belong_together_though_it_is_swapped_between(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    other = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
    kernel.add("vol", LINEAR)
    kernel.after(Command.TABLE_STATUS, lambda: kernel.swap("vol", other, status=["x"]))
    raw = look(kernel, dm)
    assert raw.tables == (other,)
    assert raw.lines is not None
    assert raw.lines[0].type == "striped"


def test_a_table_that_is_swapped_all_the_time_is_left_out(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    lengths = iter(range(8, 8000, 8))
    kernel.add("vol", LINEAR)
    kernel.after(
        Command.TABLE_STATUS,
        lambda: kernel.swap("vol", TargetLine(0, next(lengths), "linear", "8:1 0")),
        times=None,
    )
    raw = look(kernel, dm)
    assert raw.tables is None
    assert raw.lines is not None


def test_a_volume_of_a_pool_tells_what_lies_below_it(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("vol", TargetLine(0, 8, "thin", "253:9 1 253:4"), status=["0 -"])
    kernel.add("other", LINEAR)
    assert look(kernel, dm).deps == frozenset([DeviceNumber(253, 9), DeviceNumber(253, 4)])
    assert look(kernel, dm, Wish()).deps is None
    assert look(kernel, dm, name="other").deps is None


def test_a_device_without_a_table_has_no_lines(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("vol")
    assert look(kernel, dm).lines == ()


def test_a_device_that_is_gone_is_not_found(dm: DeviceMapper) -> None:
    with pytest.raises(DeviceNotFoundError):
        read(dm, DeviceNumber(253, 99), ALL)


def test_another_error_is_passed_on(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("vol", LINEAR)
    kernel.fail(Command.TABLE_STATUS, errno.EIO)
    with pytest.raises(CommandError):
        look(kernel, dm)
