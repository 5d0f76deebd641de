"""The engine on the fake kernel: what is sent, adopted, refused, planned."""

from __future__ import annotations

import asyncio
import errno
import threading
from typing import Any

import pytest

from dmwatch.devices import (
    ErrorDevice,
    LinearDevice,
    Range,
    Segment,
    StripedDevice,
    TableDevice,
    ZeroDevice,
    changing,
    plan,
)
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PRIVATE, PUBLIC
from dmwatch.errors import (
    CommandError,
    DeviceBusyError,
    DeviceMismatchError,
    DeviceNotFoundError,
    DmwatchError,
    InvalidFlagsError,
    InvalidNameError,
    InvalidTableError,
    TableParseError,
)
from dmwatch.ioctl.abi import Command, Flags, UdevFlags
from dmwatch.table import TargetLine
from dmwatch.targets import TargetTable, find
from dmwatch.targets.core_messages import StatsList
from dmwatch.targets.zero import ZeroTable
from dmwatch.testing import FakeKernel
from dmwatch.units import Sectors

from .conftest import CHANGING, state

SIZE = Sectors(2048)


def sent(kernel: FakeKernel) -> list[str]:
    """The changing commands so far."""
    return [call.command.name for call in kernel.calls if call.command in CHANGING]


def zero(dm: DeviceMapper, name: str = "a", **options: Any) -> ZeroDevice:
    return ZeroDevice(dm, name, SIZE, **options)


# Made


def test_create_sends_create_load_and_resume(kernel: FakeKernel, dm: DeviceMapper) -> None:
    device = zero(dm, uuid="U-a").create()
    assert sent(kernel) == ["DEV_CREATE", "TABLE_LOAD", "DEV_SUSPEND"]
    assert device.info().uuid == "U-a"
    assert not device.info().suspended
    assert device.exists()
    assert device.kernel_lines() == (TargetLine(0, 2048, "zero"),)


def test_create_refuses_a_name_that_is_taken_and_leaves_it_alone(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    kernel.add("a", TargetLine(0, 8, "error"))
    before = state(kernel)
    with pytest.raises(DeviceBusyError, match="the name or the uuid is taken"):
        zero(dm).create()
    assert state(kernel) == before


@pytest.mark.parity(54, 71)
def test_a_table_that_cannot_be_is_refused_before_anything_is_sent(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    for device in (LinearDevice(dm, "a", []), ZeroDevice(dm, "b", Sectors(0))):
        with pytest.raises(InvalidTableError):
            device.create()
    assert sent(kernel) == []


@pytest.mark.parametrize("name", ["", "a/b", "x" * 128, "a\0b", "control"])
@pytest.mark.parity(32, 33, "B19")
def test_a_name_that_cannot_be_is_refused_at_once(dm: DeviceMapper, name: str) -> None:
    with pytest.raises(InvalidNameError):
        zero(dm, name)
    device = zero(dm).create()
    with pytest.raises(InvalidNameError):
        device.rename(name)


def test_a_read_only_device_is_loaded_so(dm: DeviceMapper) -> None:
    assert zero(dm, read_only=True).create().info().read_only


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, PRIVATE),
        ({"visibility": PUBLIC}, PUBLIC),
        ({"visibility": UdevFlags.LOW_PRIORITY}, UdevFlags.LOW_PRIORITY),
    ],
)
@pytest.mark.parity(22, "B16")
def test_udev_is_told_with_every_resume_rename_and_removal(
    kernel: FakeKernel, dm: DeviceMapper, options: Any, flags: UdevFlags
) -> None:
    device = zero(dm, **options).create()
    device.rename("b")
    device.teardown()
    told = [
        int.from_bytes(call.request[32:36], "little")
        for call in kernel.calls
        if call.command in {Command.DEV_SUSPEND, Command.DEV_RENAME, Command.DEV_REMOVE}
    ]
    assert told == [int(flags | UdevFlags.PRIMARY_SOURCE) << 16] * 3


def test_after_a_staged_table_was_taken_away_a_rename_comes_after_a_swap(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    """Else kernels with dm-ima free the text of the live table twice."""
    device = zero(dm).create()
    lines = dm.table(device.name)
    with changing() as change:
        change.load(device, lines)
        change.clear(device)
    before = len(sent(kernel))
    device.rename("b")
    device.rename("c")
    assert sent(kernel)[before:] == ["TABLE_LOAD", "DEV_SUSPEND", "DEV_RENAME", "DEV_RENAME"]
    assert dm.table("c") == lines


# Made so


@pytest.mark.parity(60)
def test_setup_creates_what_is_not_there_and_adopts_what_is(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    zero(dm).setup()
    before = sent(kernel)
    zero(dm).setup()
    assert sent(kernel) == before


@pytest.mark.parity("B13")
def test_setup_finishes_a_device_without_a_table(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("a", uuid="U-a")
    assert zero(dm, uuid="U-a").setup().differs() == []


@pytest.mark.parity("B13")
def test_setup_finishes_a_device_whose_table_is_not_in_place(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    kernel.add("a")
    kernel.dm.load("a", [TargetLine(0, 2048, "zero")])
    assert zero(dm).setup().differs() == []
    assert sent(kernel) == ["DEV_SUSPEND"]


@pytest.mark.parity("B13")
def test_setup_resumes_a_suspended_device(kernel: FakeKernel, dm: DeviceMapper) -> None:
    zero(dm).create().suspend()
    assert not zero(dm).setup().info().suspended


def test_setup_drops_a_table_that_was_loaded_and_never_put_in_place(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    device = zero(dm).create()
    device.suspend()
    kernel.dm.load("a", [TargetLine(0, 8, "error")])
    zero(dm).setup()
    assert not device.info().has_staged_table
    assert device.differs() == []


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([TargetLine(0, 8, "zero")], "length"),
        ([TargetLine(0, 2048, "error")], "type"),
        ([TargetLine(0, 1024, "zero"), TargetLine(1024, 1024, "zero")], "number of lines"),
    ],
)
def test_setup_refuses_another_table_and_says_which_field(
    kernel: FakeKernel, dm: DeviceMapper, lines: list[TargetLine], field: str
) -> None:
    kernel.add("a", *lines)
    before = state(kernel)
    with pytest.raises(DeviceMismatchError) as raised:
        zero(dm).setup()
    assert raised.value.field == field
    assert raised.value.device == "a"
    assert state(kernel) == before


def test_setup_refuses_another_staged_table_on_a_device_without_one(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    kernel.add("a")
    kernel.dm.load("a", [TargetLine(0, 8, "error")])
    with pytest.raises(DeviceMismatchError):
        zero(dm).setup()
    assert kernel.device("a").staged is not None


@pytest.mark.parametrize("theirs", ["U-other", None])
def test_setup_refuses_another_uuid(
    kernel: FakeKernel, dm: DeviceMapper, theirs: str | None
) -> None:
    kernel.add("a", TargetLine(0, 2048, "zero"), uuid=theirs)
    with pytest.raises(DeviceMismatchError, match="differs in uuid: wanted U-a, found"):
        zero(dm, uuid="U-a").setup()
    zero(dm).setup()  # where none is asked for, any will do


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("staged", [False, True])
def test_setup_refuses_what_can_be_written_for_what_cannot_and_the_other_way(
    kernel: FakeKernel, dm: DeviceMapper, *, ours: bool, staged: bool
) -> None:
    kernel.add("a")
    flags = Flags(0) if ours else Flags.READONLY
    kernel.dm.load("a", [TargetLine(0, 2048, "zero")], flags=flags)
    if not staged:
        kernel.dm.resume("a")
    before = state(kernel)
    with pytest.raises(DeviceMismatchError) as raised:
        zero(dm, read_only=ours).setup()
    assert raised.value.field == "read_only"
    assert state(kernel) == before
    assert zero(dm, read_only=not ours).setup().info().read_only is not ours


@pytest.mark.parity("B8")
def test_names_that_cannot_be_decoded_disturb_nobody(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.add("\udcff\udcfe")
    assert not zero(dm).exists()
    assert zero(dm).setup().exists()


# Changed


def test_a_new_table_is_loaded_without_a_suspend_before(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    device = zero(dm).create()
    before = len(sent(kernel))
    device.extend(SIZE)
    assert sent(kernel)[before:] == ["TABLE_LOAD", "DEV_SUSPEND"]
    assert not any(
        call.command is Command.DEV_SUSPEND and call.flags & Flags.SUSPEND for call in kernel.calls
    )


@pytest.mark.parity(62, 67, 83)
def test_suspend_and_resume_twice(dm: DeviceMapper) -> None:
    device = zero(dm).create()
    for _ in range(2):
        device.suspend(Flags.NOFLUSH)
        assert device.info().suspended
    for _ in range(2):
        device.resume()
        assert not device.info().suspended


def test_suspend_takes_its_own_flags_only(dm: DeviceMapper) -> None:
    with pytest.raises(InvalidFlagsError):
        zero(dm).create().suspend(Flags.READONLY)


def test_a_device_is_resumed_after_a_block_that_suspends_it(dm: DeviceMapper) -> None:
    device = zero(dm).create()
    with device.suspended():
        assert device.info().suspended
    assert not device.info().suspended
    with pytest.raises(ValueError, match="inside"):
        _fail_inside(device)
    assert not device.info().suspended


def _fail_inside(device: ZeroDevice) -> None:
    with device.suspended():
        raise ValueError("inside")


def test_a_device_that_was_suspended_before_stays_so(dm: DeviceMapper) -> None:
    device = zero(dm).create()
    device.suspend()
    with device.suspended():
        assert device.info().suspended
    assert device.info().suspended


@pytest.mark.parity(56, 57)
def test_renaming(kernel: FakeKernel, dm: DeviceMapper) -> None:
    device = zero(dm).create()
    device.rename("a")
    assert "DEV_RENAME" not in sent(kernel)
    device.rename("b")
    assert device.name == "b"
    assert device.info().name == "b"
    other = zero(dm, "c").create()
    with pytest.raises(DeviceBusyError):
        other.rename("b")
    assert other.name == "c"


def test_a_removal_is_tried_again_while_the_device_is_busy(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    device = zero(dm).create()
    kernel.fail(Command.DEV_REMOVE, errno.EBUSY, times=2)
    device.teardown(patience=30)
    assert kernel.count(Command.DEV_REMOVE) == 3
    assert not device.exists()


def test_a_removal_without_patience_is_tried_once(kernel: FakeKernel, dm: DeviceMapper) -> None:
    device = zero(dm).create()
    kernel.open_device("a")
    with pytest.raises(DeviceBusyError, match="it is open"):
        device.teardown(patience=0)
    assert kernel.count(Command.DEV_REMOVE) == 1


def test_a_message_is_sent_to_the_target(kernel: FakeKernel, dm: DeviceMapper) -> None:
    zero(dm).create().send(StatsList(), sector=5)
    assert kernel.messages == [("a", 5, "@stats_list")]


def test_statuses_are_typed_and_flush_nothing(kernel: FakeKernel, dm: DeviceMapper) -> None:
    disk = zero(dm, "disk").create()
    device = StripedDevice(dm, "s", [disk, disk], chunk=Sectors(8)).create()
    kernel.set_status("s", 0, "2 253:0 253:0 1 AD")
    assert [leg.health.name for leg in device.status().legs] == ["ALIVE", "DEAD"]
    flags = [call.flags for call in kernel.calls if call.command is Command.TABLE_STATUS]
    assert all(flag & Flags.NOFLUSH for flag in flags)


def test_a_status_that_would_never_come_is_not_asked_for(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    lines = [TargetLine(0, 8, "era", "253:0 253:1 8")]
    device = TableDevice.of_lines(dm, "era", lines).create()
    device.suspend()
    with pytest.raises(DmwatchError, match="suspended"):
        device.statuses()


# Over others


@pytest.mark.parity(61)
def test_a_linear_device_finds_number_and_size_of_what_lies_below(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    disk = zero(dm, "disk").create()
    whole = LinearDevice(dm, "whole", disk).create()
    rest = LinearDevice(dm, "rest", [Range(disk, start=Sectors(48))]).create()
    assert [line.text for line in whole.kernel_lines()] == [f"{disk.number} 0"]
    assert rest.kernel_lines() == (TargetLine(0, 2000, "linear", f"{disk.number} 48"),)


def test_a_size_is_asked_for_once_however_deep_it_lies(dm: DeviceMapper) -> None:
    asked: list[str] = []

    class Counted(ZeroDevice):
        @property
        def size(self) -> Sectors:
            asked.append(self.name)
            return SIZE

    top: ZeroDevice | LinearDevice = Counted(dm, "disk", SIZE).create()
    for depth in range(8):
        top = LinearDevice(dm, f"d{depth}", top).create()
    asked.clear()
    assert top.size == SIZE
    assert asked == ["disk"]


def test_what_lies_above_sees_a_lower_device_grow_when_it_is_reloaded(dm: DeviceMapper) -> None:
    disk = zero(dm, "disk").create()
    above = LinearDevice(dm, "above", disk).create()
    disk.extend(SIZE)
    assert above.differs() == ["length"]
    above.reload()
    assert above.kernel_lines()[0].length == 4096


@pytest.mark.parity(58, 59)
def test_pieces_come_one_after_the_other(dm: DeviceMapper) -> None:
    disk = zero(dm, "disk").create()
    device = LinearDevice(dm, "a", [Range(disk, Sectors(n)) for n in (1, 1, 5)]).create()
    assert [(line.start, line.length) for line in device.kernel_lines()] == [(0, 1), (1, 1), (2, 5)]
    assert device.size == Sectors(7)


def test_stripes_take_whole_chunks_of_the_shortest_leg(dm: DeviceMapper) -> None:
    legs = [zero(dm, "a").create(), ZeroDevice(dm, "b", Sectors(1000)).create()]
    device = StripedDevice(dm, "s", legs, chunk=Sectors(64)).create()
    assert device.size == Sectors(2 * 960)
    device = StripedDevice(dm, "t", legs, chunk=Sectors(64), leg_length=Sectors(64)).create()
    device.extend(Sectors(64))
    assert device.size == Sectors(256)
    with pytest.raises(InvalidTableError):
        StripedDevice(dm, "u", [], chunk=Sectors(64)).create()


# Of any table


def test_a_device_of_any_table_is_typed_where_the_target_is_known(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    kernel.targets["mystery"] = (1, 0, 0)
    lines = [TargetLine(0, 8, "zero"), TargetLine(8, 8, "mystery", "some thing")]
    device = TableDevice.of_lines(dm, "a", lines).create()
    assert device.kernel_lines() == tuple(lines)
    assert device.setup().differs() == []
    assert "thing" not in repr(device.pieces)
    with pytest.raises(TableParseError):
        TableDevice.of_lines(dm, "b", [TargetLine(0, 8, "linear", "x")])


def test_pieces_can_be_added_and_replaced(dm: DeviceMapper) -> None:
    pieces: list[Segment[TargetTable]] = [Segment(SIZE, ZeroTable())]
    device = TableDevice(dm, "a", pieces).create()
    device.extend(Segment(SIZE, find("error").table("")))
    assert [line.type for line in device.kernel_lines()] == ["zero", "error"]
    device.replace(pieces)
    assert device.size == SIZE


def test_an_error_device(dm: DeviceMapper) -> None:
    device = ErrorDevice(dm, "a", SIZE).create()
    device.extend(SIZE)
    assert device.setup().kernel_lines() == (TargetLine(0, 4096, "error"),)


# With a block


def test_a_block_takes_the_device_down_at_its_end(dm: DeviceMapper) -> None:
    with zero(dm).create() as device:
        assert device.exists()
    assert not device.exists()


def test_a_block_keeps_the_first_error(kernel: FakeKernel, dm: DeviceMapper) -> None:
    kernel.fail(Command.DEV_REMOVE, errno.EIO, times=None)
    with pytest.raises(ValueError, match="first") as raised:
        _fail_in_a_block(dm)
    assert any("could not be taken down" in note for note in raised.value.__notes__)


def _fail_in_a_block(dm: DeviceMapper) -> None:
    with zero(dm).create():
        raise ValueError("first")


# Planned


def test_a_plan_sends_nothing_and_changes_no_object(kernel: FakeKernel, dm: DeviceMapper) -> None:
    device = zero(dm).create()
    before, calls = state(kernel), sent(kernel)
    steps = plan(device.extend, SIZE)
    assert [str(step) for step in steps] == [
        "TABLE_LOAD a\n    0 4096 zero",
        "DEV_SUSPEND a resume",
    ]
    assert (state(kernel), sent(kernel), device.size) == (before, calls, SIZE)


def test_a_plan_builds_on_what_it_has_planned(dm: DeviceMapper) -> None:
    lower, upper = zero(dm, "lower"), LinearDevice(dm, "upper", [])

    def build() -> None:
        lower.create()
        upper.ranges = (Range(lower),)
        upper.create()
        with upper.suspended():
            lower.extend(SIZE)
        upper.rename("other")
        upper.teardown()
        lower.setup()

    shown = [str(step).splitlines()[0] for step in plan(build)]
    assert shown == [
        "DEV_CREATE lower",
        "TABLE_LOAD lower",
        "DEV_SUSPEND lower resume",
        "DEV_CREATE upper",
        "TABLE_LOAD upper",
        "DEV_SUSPEND upper resume",
        "DEV_SUSPEND upper suspend",
        "TABLE_LOAD lower",
        "DEV_SUSPEND lower resume",
        "DEV_SUSPEND upper resume",
        "DEV_RENAME upper other",
        "DEV_REMOVE other",
    ]


def test_a_plan_finds_what_would_be_refused(dm: DeviceMapper) -> None:
    device = zero(dm).create()
    with pytest.raises(DeviceBusyError):
        plan(device.create)
    with pytest.raises(DeviceMismatchError):
        plan(ErrorDevice(dm, "a", SIZE).setup)


def test_a_plan_of_a_setup_says_what_is_missing(kernel: FakeKernel, dm: DeviceMapper) -> None:
    device = zero(dm)
    assert len(plan(device.setup)) == 3
    device.create()
    assert plan(device.setup) == []
    device.suspend()
    kernel.dm.load("a", [TargetLine(0, 8, "error")])
    assert [step.command for step in plan(device.setup)] == [
        Command.TABLE_CLEAR,
        Command.DEV_SUSPEND,
    ]


def test_a_plan_says_with_which_flags_and_to_which_sector(dm: DeviceMapper) -> None:
    device = zero(dm, read_only=True)

    def make_and_ask() -> None:
        device.create()
        device.send(StatsList(), sector=8)

    assert [str(step) for step in plan(make_and_ask)] == [
        "DEV_CREATE a",
        "TABLE_LOAD a readonly\n    0 2048 zero",
        "DEV_SUSPEND a resume",
        "TARGET_MSG a @stats_list sector 8",
    ]
    device.create()
    assert plan(zero(dm, read_only=True).setup) == []
    text = "aes-xts-plain64 " + "ab" * 32 + " 0 253:0 0"
    keyed = TableDevice.of_lines(dm, "c", [TargetLine(0, 8, "crypt", text)])
    assert plan(keyed.create)[1].flags is Flags.SECURE_DATA


def test_a_plan_says_that_a_rename_comes_after_a_swap(kernel: FakeKernel, dm: DeviceMapper) -> None:
    device = zero(dm).create()
    kernel.dm.load("a", [TargetLine(0, 8, "error")])

    def tidy() -> None:
        device.setup()
        device.rename("b")

    planned = [step.command.name for step in plan(tidy)]
    before = len(sent(kernel))
    with changing() as change:
        tidy()
    assert sent(kernel)[before:] == planned == [step.command.name for step in change.steps]
    assert planned == ["TABLE_CLEAR", "TABLE_LOAD", "DEV_SUSPEND", "DEV_RENAME"]


def test_a_name_with_control_characters_is_shown_without_them(dm: DeviceMapper) -> None:
    device = zero(dm, "a\x1b[2J\nb")
    shown = [str(step).splitlines() for step in plan(device.create)]
    assert [len(lines) for lines in shown] == [1, 2, 1]
    device.create()
    for refused in (
        lambda: plan(device.create),
        device.create,
        ErrorDevice(dm, device.name, SIZE).setup,
        zero(dm, device.name, uuid="U\x1b").setup,
    ):
        with pytest.raises(DmwatchError) as raised:
            refused()
        assert str(raised.value).isprintable()
        assert "a\\x1b[2J\\x0ab" in str(raised.value)
    assert "\x1b" not in "".join(line for lines in shown for line in lines)


def test_steps_show_no_keys(dm: DeviceMapper) -> None:
    text = "aes-xts-plain64 " + "ab" * 32 + " 0 253:0 0"
    device = TableDevice.of_lines(dm, "c", [TargetLine(0, 8, "crypt", text)])
    shown = "".join(map(str, plan(device.create)))
    assert "abab" not in shown
    assert "not shown" in shown


# Several as one


def test_a_change_within_a_change_undoes_its_own_steps_and_the_outer_one_goes_on(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    with changing():
        zero(dm, "a").create()
        kernel.fail(Command.DEV_SUSPEND, errno.EIO)
        with pytest.raises(CommandError):
            zero(dm, "b").create()
        zero(dm, "c").create()
    assert [device.name for device in kernel.devices] == [b"a", b"c"]


def test_what_cannot_be_undone_is_told_with_the_first_error(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    kernel.fail(Command.DEV_SUSPEND, errno.ENOMEM)
    kernel.fail(Command.DEV_REMOVE, errno.EIO)
    with pytest.raises(CommandError) as raised:
        zero(dm).create()
    assert raised.value.errno == errno.ENOMEM
    (note,) = raised.value.__notes__
    assert "DEV_REMOVE of a failed" in note


def test_threads_make_changes_of_their_own(kernel: FakeKernel, dm: DeviceMapper) -> None:
    made = threading.Event()

    def other() -> None:
        zero(dm, "theirs").create()
        made.set()

    def ours() -> None:
        with changing():
            zero(dm, "ours").create()
            threading.Thread(target=other).start()
            assert made.wait(20)
            raise ValueError("ours alone")

    with pytest.raises(ValueError, match="ours alone"):
        ours()
    assert [device.name for device in kernel.devices] == [b"theirs"]


def test_one_thread_of_a_change_does_not_undo_what_another_did(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(20)

    kernel.before(Command.DEV_SUSPEND, hold, device="a")
    kernel.fail(Command.DEV_SUSPEND, errno.EIO, device="a")

    async def both() -> None:
        refused = asyncio.create_task(asyncio.to_thread(zero(dm, "a").create))
        await asyncio.to_thread(begun.wait)
        await asyncio.to_thread(zero(dm, "b").create)
        go_on.set()
        with pytest.raises(CommandError):
            await refused

    def all_of_it(*, fails: bool) -> None:
        with changing():
            asyncio.run(both())
            if fails:
                raise ValueError("later")

    all_of_it(fails=False)
    assert [device.name for device in kernel.devices] == [b"b"]
    zero(dm, "b").teardown()
    begun.clear()
    go_on.clear()
    kernel.before(Command.DEV_SUSPEND, hold, device="a")
    kernel.fail(Command.DEV_SUSPEND, errno.EIO, device="a")
    with pytest.raises(ValueError, match="later"):
        all_of_it(fails=True)
    assert kernel.devices == []


def test_a_device_that_is_not_there_says_so(dm: DeviceMapper) -> None:
    device = zero(dm)
    for ask in (device.info, device.kernel_lines, device.statuses, device.differs, device.teardown):
        with pytest.raises(DeviceNotFoundError, match="of a failed"):
            ask()
