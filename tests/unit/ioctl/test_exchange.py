"""One command from request to reply, against a control that answers with bytes written by hand."""

from __future__ import annotations

import errno
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from dmwatch.errors import (
    CommandError,
    InterruptedCommandError,
    InvalidFlagsError,
    ReplyError,
    ReplyTooLargeError,
)
from dmwatch.ioctl.abi import BUFFER_MAX, NO_FLAGS, Command, Flags
from dmwatch.ioctl.exchange import CAPACITY, exchange, refuse_flags
from dmwatch.ioctl.header import Header

Answer = Callable[[bytearray], None] | int
FULL = 1 << 8


class Scripted:
    """A control that gives one answer after another: bytes to write, or an errno."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []
        self.buffers: list[bytearray] = []

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        return

    def call(self, _command: Command, buffer: bytearray) -> None:
        self.sent.append(bytes(buffer))
        self.buffers.append(buffer)
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise OSError(answer, "refused")
        answer(buffer)


def reply(
    data: bytes = b"",
    *,
    data_size: int | None = None,
    data_start: int = 312,
    flags: int = 0,
    name: bytes = b"",
    uuid: bytes = b"",
) -> Callable[[bytearray], None]:
    def write(buffer: bytearray) -> None:
        struct.pack_into("=3I", buffer, 0, 4, 47, 0)
        size = 312 + len(data) if data_size is None else data_size
        struct.pack_into("=II", buffer, 12, size, data_start)
        struct.pack_into("=I", buffer, 28, flags)
        buffer[48 : 48 + len(name)] = name
        buffer[176 : 176 + len(uuid)] = uuid
        buffer[312 : 312 + len(data)] = data

    return write


def sized(sent: bytes) -> int:
    size: int = struct.unpack_from("=I", sent, 12)[0]
    assert size == len(sent)
    return size


# Buffers


def test_the_request_is_header_payload_and_zeros() -> None:
    control = Scripted(reply())
    exchange(control, Command.DEV_RENAME, Header(name=b"a"), b"new\0", capacity=400)
    expected = bytearray(400)
    struct.pack_into("=5I", expected, 0, 4, 0, 0, 400, 312)
    expected[48:49] = b"a"
    expected[312:316] = b"new\0"
    assert control.sent == [bytes(expected)]


@pytest.mark.parametrize("command", list(Command))
def test_a_request_carries_the_lowest_version_that_has_the_command(command: Command) -> None:
    control = Scripted(reply())
    exchange(control, command, Header(version=(4, 999, 9)))
    assert struct.unpack_from("=3I", control.sent[0]) == command.value.version


def test_the_buffer_holds_the_payload_whatever_the_capacity() -> None:
    control = Scripted(reply())
    exchange(control, Command.TABLE_LOAD, Header(name=b"a"), bytes(50_000), capacity=1)
    assert sized(control.sent[0]) == 312 + 50_000


@pytest.mark.parametrize("capacity", [312 + 8, 400, 5000])
def test_the_data_are_what_the_reply_counts_in_an_exact_and_in_an_oversized_buffer(
    capacity: int,
) -> None:
    control = Scripted(reply(b"12345678"))
    answer = exchange(control, Command.TABLE_DEPS, Header(name=b"a"), capacity=capacity)
    assert (answer.data, answer.capacity) == (b"12345678", capacity)


def test_a_reply_without_data_says_that_it_ends_before_its_data_begin() -> None:
    answer = exchange(Scripted(reply(data_size=305)), Command.DEV_STATUS, Header(name=b"a"))
    assert answer.data == b""


def test_data_that_begin_later_are_found() -> None:
    answer = exchange(
        Scripted(reply(b"12345678", data_start=316)), Command.TABLE_DEPS, Header(name=b"a")
    )
    assert answer.data == b"5678"


@pytest.mark.parametrize(
    "broken",
    [
        reply(data_size=401),
        reply(data_size=0xFFFFFFFF),
        reply(data_start=311),
        reply(data_start=0),
        reply(data_start=401),
        reply(data_start=0xFFFFFFFF),
        reply(name=b"n" * 128),
        reply(uuid=b"u" * 129),
    ],
)
def test_a_reply_that_contradicts_itself_is_refused(broken: Callable[[bytearray], None]) -> None:
    with pytest.raises(ReplyError):
        exchange(Scripted(broken), Command.TABLE_DEPS, Header(name=b"a"), capacity=400)


# BUFFER_FULL

GROWING = [
    Command.LIST_DEVICES,
    Command.DEV_WAIT,
    Command.TABLE_DEPS,
    Command.TABLE_STATUS,
    Command.LIST_VERSIONS,
    Command.GET_TARGET_VERSION,
]
# the kernel has written the name and the uuid by then, and refuses a request with both
full = reply(data_size=305, flags=FULL, name=b"a", uuid=b"LVM-a")


@pytest.mark.parametrize("command", GROWING)
def test_a_full_buffer_is_doubled_and_asked_again_with_a_fresh_request(command: Command) -> None:
    control = Scripted(full, full, reply(b"data"))
    answer = exchange(control, command, Header(name=b"a"), capacity=512)
    assert [sized(sent) for sent in control.sent] == [512, 1024, 2048]
    for sent in control.sent:
        assert Header.unpack(sent).uuid == b""
        assert sent[312:] == bytes(len(sent) - 312)
    assert (answer.data, answer.capacity) == (b"data", 2048)


@pytest.mark.parity("B23")
@pytest.mark.parametrize("command", [c for c in Command if c not in GROWING])
def test_a_command_whose_reply_cannot_grow_is_not_sent_twice(command: Command) -> None:
    control = Scripted(full)
    with pytest.raises(ReplyTooLargeError):
        exchange(control, command, Header(name=b"a"))
    assert len(control.sent) == 1


def test_a_message_whose_reply_is_lost_is_said_to_have_been_carried_out() -> None:
    with pytest.raises(ReplyTooLargeError, match="the message itself was carried out"):
        exchange(Scripted(full), Command.TARGET_MSG, Header(name=b"a"), capacity=512)


def test_a_list_that_outgrows_the_largest_buffer_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dmwatch.ioctl.exchange.BUFFER_MAX", 3000)
    control = Scripted(full, full, full, full)
    with pytest.raises(ReplyTooLargeError, match="no room in 3000 bytes"):
        exchange(control, Command.LIST_DEVICES, Header(), capacity=1024)
    assert [len(sent) for sent in control.sent] == [1024, 2048, 3000]


def test_the_largest_buffer_is_the_largest_that_the_kernel_takes() -> None:
    assert BUFFER_MAX == 1 << 30
    assert CAPACITY <= BUFFER_MAX


# Signals


@pytest.mark.parametrize("command", [c for c in Command if c is not Command.TARGET_MSG])
def test_an_interrupted_command_is_sent_again(command: Command) -> None:
    control = Scripted(errno.EINTR, errno.EINTR, reply(b"data"))
    assert exchange(control, command, Header(name=b"a")).data == b"data"
    assert control.sent[0] == control.sent[1] == control.sent[2]


@pytest.mark.parity("B23")
def test_an_interrupted_message_is_not_sent_again() -> None:
    control = Scripted(errno.EINTR)
    with pytest.raises(InterruptedCommandError, match="TARGET_MSG of a failed") as caught:
        exchange(control, Command.TARGET_MSG, Header(name=b"a"), b"\0" * 8 + b"go\0")
    assert len(control.sent) == 1
    assert caught.value.errno == errno.EINTR


# Flags


@pytest.mark.parity("B2")
@pytest.mark.parity("B18")
@pytest.mark.parametrize("command", list(Command))
@pytest.mark.parametrize("flag", list(Flags))
def test_a_flag_is_sent_if_the_command_takes_it_and_else_nothing_is_sent(
    command: Command, flag: Flags
) -> None:
    control = Scripted(reply())
    if flag & command.value.flags:
        exchange(control, command, Header(flags=flag))
        assert struct.unpack_from("=I", control.sent[0], 28) == (flag,)
        return
    with pytest.raises(InvalidFlagsError, match=f"{command.name} does not take {flag.name}"):
        exchange(control, command, Header(flags=flag))
    assert control.sent == []


def test_the_refusal_of_a_flag_names_those_that_are_taken() -> None:
    with pytest.raises(InvalidFlagsError) as caught:
        refuse_flags(Command.DEV_SUSPEND, Flags.READONLY | Flags.NOFLUSH)
    assert "does not take READONLY; the flags it takes: SUSPEND, SKIP_LOCKFS, NOFLUSH" in str(
        caught.value
    )
    with pytest.raises(InvalidFlagsError, match="the flags it takes: none"):
        refuse_flags(Command.TABLE_CLEAR, Flags.READONLY)


def test_a_flag_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidFlagsError, match=r"does not take 0x8000000|134217728"):
        refuse_flags(Command.TABLE_STATUS, Flags(1 << 27))
    refuse_flags(Command.TABLE_STATUS, NO_FLAGS)


# Errors and secrets


def test_an_error_carries_command_device_errno_and_both_headers() -> None:
    control = Scripted(errno.EIO)
    with pytest.raises(CommandError) as caught:
        exchange(control, Command.TABLE_LOAD, Header(name=b"a", target_count=2), b"12")
    error = caught.value
    assert (error.command, error.device, error.errno) == ("TABLE_LOAD", "a", errno.EIO)
    assert error.request == Header(data_size=CAPACITY, target_count=2, name=b"a")
    assert error.reply == error.request
    assert isinstance(error.__cause__, OSError)


@pytest.mark.parity("B18")
def test_secure_data_leaves_nothing_in_the_buffer() -> None:
    control = Scripted(reply(b"table with a key"))
    answer = exchange(
        control, Command.TABLE_STATUS, Header(name=b"a", flags=Flags.SECURE_DATA), capacity=400
    )
    assert answer.data == b"table with a key"
    assert control.buffers == [bytearray(400)]


@pytest.mark.parity("B18")
def test_secure_data_leaves_nothing_in_the_buffer_of_a_refused_command() -> None:
    control = Scripted(errno.EINVAL)
    with pytest.raises(CommandError):
        exchange(control, Command.TABLE_LOAD, Header(flags=Flags.SECURE_DATA), b"key")
    assert not any(control.buffers[0])


def test_importing_the_bytes_layer_imports_nothing_outside_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import dmwatch.ioctl.exchange\n"
        "first = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(first - sys.stdlib_module_names - {'dmwatch'}))\n"
        "print(sorted(first & {'asyncio', 'fcntl'}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, '.')\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
