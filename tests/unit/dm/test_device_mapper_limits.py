"""DeviceMapper on the fake kernel: messages, flags, old kernels, refusals, secrets."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest

from dmwatch.dm import DeviceInfo, DeviceMapper, Geometry
from dmwatch.errors import (
    CommandError,
    InterfaceTooOldError,
    InterruptedCommandError,
    InvalidFlagsError,
    InvalidMessageError,
    InvalidValueError,
    NotPermittedError,
    ReplyError,
    ReplyTooLargeError,
)
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

ZERO = TargetLine(0, 2048, "zero")
LINEAR = TargetLine(2048, 8, "linear", "7:0 0")


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def dm(kernel: FakeKernel) -> Iterator[DeviceMapper]:
    with DeviceMapper(kernel.open()) as opened:
        yield opened


def on(version: tuple[int, int, int]) -> tuple[FakeKernel, DeviceMapper]:
    kernel = FakeKernel(version)
    return kernel, DeviceMapper(kernel.open())


# Messages, geometry, flags, cookies


def test_a_message_reaches_its_target_and_brings_an_answer(
    dm: DeviceMapper, kernel: FakeKernel
) -> None:
    kernel.add("a", ZERO)
    kernel.on_message = lambda _device, _sector, text: text.upper() if text == "say" else None
    assert dm.message("a", "say", sector=8).text == "SAY"
    reply = dm.message("a", "do")
    assert (reply.text, reply.info.name) == (None, "a")
    assert kernel.messages == [("a", 8, "say"), ("a", 0, "do")]


def test_a_reply_of_just_the_size_that_was_said_fits(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a", ZERO)
    kernel.on_message = lambda *_: "x" * 1000
    assert dm.message("a", "say", reply_size=1000).text == "x" * 1000
    with pytest.raises(ReplyTooLargeError, match="the message itself was carried out"):
        dm.message("a", "say", reply_size=999)
    assert len(kernel.messages) == 2


def test_an_interrupted_message_is_not_repeated(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a", ZERO)
    kernel.fail(Command.TARGET_MSG, errno.EINTR, times=None)
    with pytest.raises(InterruptedCommandError):
        dm.message("a", "do")
    assert kernel.count(Command.TARGET_MSG) == 1


@pytest.mark.parametrize("text", ["", " ", "a\0b"])
def test_an_impossible_message_is_refused_before_the_kernel(
    dm: DeviceMapper, kernel: FakeKernel, text: str
) -> None:
    with pytest.raises(InvalidMessageError):
        dm.message("a", text)
    assert kernel.calls == []


def test_geometry(dm: DeviceMapper, kernel: FakeKernel) -> None:
    device = kernel.add("a", ZERO)
    dm.set_geometry("a", Geometry(1024, 255, 63, 5))
    assert device.geometry == (1024, 255, 63, 5)
    for wrong in (
        Geometry(65536, 1, 1),
        Geometry(1, 256, 1),
        Geometry(1, 1, 256),
        Geometry(-1, 1, 1),
    ):
        with pytest.raises(InvalidValueError, match="must be 0 to"):
            dm.set_geometry("a", wrong)


@pytest.mark.parametrize("cookie", [-1, 0x10000])
def test_a_cookie_has_sixteen_bits(dm: DeviceMapper, kernel: FakeKernel, cookie: int) -> None:
    with pytest.raises(InvalidValueError, match="16 bits"):
        dm.resume("a", cookie=cookie)
    assert kernel.calls == []


@pytest.mark.parametrize(
    "call",
    [
        lambda dm, flag: dm.remove("a", flags=flag),
        lambda dm, flag: dm.suspend("a", flags=flag),
        lambda dm, flag: dm.resume("a", flags=flag),
        lambda dm, flag: dm.info("a", flags=flag),
        lambda dm, flag: dm.load("a", [ZERO], flags=flag),
        lambda dm, flag: dm.deps("a", flags=flag),
        lambda dm, flag: dm.table_status("a", flags=flag),
        lambda dm, flag: dm.wait("a", 0, flags=flag),
        lambda dm, flag: dm.message("a", "do", flags=flag),
        lambda dm, flag: dm.remove_all(really=True, flags=flag),
    ],
)
@pytest.mark.parametrize("flag", [Flags.BUFFER_FULL, Flags.UUID, Flags(1 << 30)])
def test_an_unfit_flag_is_refused_and_nothing_is_sent(
    dm: DeviceMapper,
    kernel: FakeKernel,
    call: Callable[[DeviceMapper, Flags], object],
    flag: Flags,
) -> None:
    kernel.add("a", ZERO)
    with pytest.raises(InvalidFlagsError):
        call(dm, flag)
    assert kernel.calls == []


# Old kernels


def test_linux_5_10_lists_without_uuids(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, dm = on((4, 43, 0))
    kernel.add("b", uuid="LVM-b")
    kernel.add("a", ZERO)
    kernel.raise_event("a")
    found = {d.name: (d.event_nr, d.uuid) for d in dm.list_devices(uuids=True)}
    assert found == {"a": (1, None), "b": (0, None)}
    assert dm.info("b").uuid == "LVM-b"


def test_linux_5_10_cannot_filter_nor_measure() -> None:
    kernel, dm = on((4, 43, 0))
    kernel.add("a", ZERO)
    with pytest.raises(InterfaceTooOldError, match=r"prefixes need interface 4\.45\.0"):
        dm.list_devices(name_prefix="a")
    with pytest.raises(InterfaceTooOldError, match="IMA_MEASUREMENT"):
        dm.table_status("a", flags=Flags.IMA_MEASUREMENT)


def test_before_4_37_event_numbers_are_told_as_0_and_arming_is_refused() -> None:
    kernel, dm = on((4, 36, 0))
    kernel.add("a", ZERO)
    kernel.raise_event("a")
    kernel.raise_event("a")
    assert [d.event_nr for d in dm.list_devices()] == [0]
    with pytest.raises(InterfaceTooOldError, match=r"needs interface 4\.37\.0 .* has 4\.36\.0"):
        dm.arm_poll()


@pytest.mark.parametrize("version", [(4, 35, 0), (4, 36, 0)])
def test_lists_of_very_old_kernels_are_read(version: tuple[int, int, int]) -> None:
    kernel, dm = on(version)
    for name in ("a", "bcdefgh", "bcd"):
        kernel.add(name)
    assert {d.name for d in dm.list_devices()} == {"a", "bcdefgh", "bcd"}


def test_a_kernel_without_the_command_is_too_old() -> None:
    _, dm = on((4, 40, 0))
    with pytest.raises(InterfaceTooOldError, match=r"needs interface 4\.41\.0"):
        dm.target_version("linear")


def test_an_unknown_target_has_no_version(dm: DeviceMapper) -> None:
    assert dm.target_version("linear").version == (1, 4, 0)
    with pytest.raises(CommandError):
        dm.target_version("nonsense")


# Refusals, secrets


def test_without_privilege_every_command_is_refused(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.permitted = False
    with pytest.raises(NotPermittedError, match="CAP_SYS_ADMIN"):
        dm.version()


def test_secure_data_gives_the_same_answer(dm: DeviceMapper, kernel: FakeKernel) -> None:
    line = TargetLine(0, 8, "crypt", "aes-xts-plain64 00ff 0 7:0 0")
    dm.create("a")
    dm.load("a", [line], flags=Flags.SECURE_DATA)
    dm.resume("a")
    assert dm.table("a", flags=Flags.SECURE_DATA) == (line,)


def test_a_refused_secure_load_shows_nothing_of_the_table(dm: DeviceMapper) -> None:
    dm.create("a")
    line = TargetLine(8, 8, "crypt", "aes-xts-plain64 00ff00ff 0 7:0 0")
    with pytest.raises(CommandError) as caught:
        dm.load("a", [line], flags=Flags.SECURE_DATA)
    assert "00ff00ff" not in f"{caught.value} {caught.value.request} {caught.value.reply}"
    # the kernel has wiped the buffer, version included
    assert type(caught.value) is CommandError


def test_an_answer_without_a_version_is_an_error(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.inject(Command.GET_TARGET_VERSION, b"\x04\0\0\0".ljust(12, b"\0") + b"\x31\x01\0\0")
    with pytest.raises(ReplyError, match="no version of linear"):
        dm.target_version("linear")


def test_a_reply_with_an_impossible_number_is_refused(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a")
    bad = bytearray(312)
    bad[12:20] = b"\x31\x01\0\0\x38\x01\0\0"
    bad[40:48] = b"\xff" * 8
    kernel.inject(Command.DEV_STATUS, bytes(bad))
    with pytest.raises(ReplyError, match="impossible device"):
        dm.info("a")


def test_the_flags_of_a_record_have_names() -> None:
    flags = (
        Flags.SUSPEND,
        Flags.INTERNAL_SUSPEND,
        Flags.READONLY,
        Flags.ACTIVE_PRESENT,
        Flags.INACTIVE_PRESENT,
        Flags.DEFERRED_REMOVE,
        Flags.UEVENT_GENERATED,
    )
    for flag in flags:
        info = DeviceInfo(None, None, DeviceNumber(253, 0), 0, 0, 0, flag, (4, 47, 0))
        named = (
            info.suspended,
            info.internally_suspended,
            info.read_only,
            info.has_table,
            info.has_staged_table,
            info.deferred_remove,
            info.uevent_generated,
        )
        assert named == tuple(flag is other for other in flags)


def test_leaving_the_block_closes_the_node(kernel: FakeKernel) -> None:
    with DeviceMapper(kernel.open()) as dm:
        assert dm.fileno() >= 0
    assert dm.fileno() == -1
    with pytest.raises(CommandError):
        dm.version()
