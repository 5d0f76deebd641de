"""One command from request to reply.

A reply that does not fit is asked for again with twice the buffer, from a fresh request: the header
of the reply names the device twice, which the kernel refuses in a request. A message is never
sent twice, as it may have done its work. A call that a signal interrupted is sent again unless the
command is a message: the signal's handler has run by then, and may have raised.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace

from dmwatch.errors import InvalidFlagsError, ReplyError, ReplyTooLargeError
from dmwatch.ioctl.abi import BUFFER_MAX, HEADER_SIZE, Command, Flags
from dmwatch.ioctl.control import ControlLike
from dmwatch.ioctl.header import Header
from dmwatch.ioctl.refusal import device_text, refused

CAPACITY = 16 * 1024
"""What a buffer starts with: one page or two would do for most replies, and costs no more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        header: the kernel's.
        data: what follows it, without the slack of the buffer.
        capacity: of the buffer that was large enough: where to start next time.
    """

    header: Header
    data: bytes
    capacity: int


def exchange(
    control: ControlLike,
    command: Command,
    header: Header,
    payload: bytes | bytearray = b"",
    *,
    capacity: int = CAPACITY,
) -> Reply:
    """Carry out a command.

    Args:
        control: where to.
        command: which.
        header: of the request; its version and data_size are filled in here.
        payload: what follows the header.
        capacity: of the first buffer, in bytes.

    Raises:
        InvalidFlagsError: for a flag that the command does not take. Nothing was sent.
        CommandError: or one of its subclasses; the kernel refused.
        ReplyTooLargeError: the reply outgrew the largest buffer, or a message's reply the one
            it had. That message was carried out.
        ReplyError: the reply contradicts itself.
    """
    refuse_flags(command, header.flags)
    capacity = max(capacity, HEADER_SIZE + len(payload))
    while True:
        reply = _attempt(control, command, header, payload, min(capacity, BUFFER_MAX))
        if reply is None:
            continue
        if not reply.header.flags & Flags.BUFFER_FULL:
            return reply
        if not command.value.grows or capacity >= BUFFER_MAX:
            raise _too_large(command, header, reply.capacity)
        capacity *= 2


def refuse_flags(command: Command, flags: Flags) -> None:
    """Refuse what the command does not take: the kernel would ignore it without a word.

    Raises:
        InvalidFlagsError: naming the flags.
    """
    # as plain numbers: the complement of a flag has no bits that the enumeration does not know
    unfit = Flags(int(flags) & ~int(command.value.flags))
    if unfit:
        taken = _flag_names(command.value.flags) or "none"
        raise InvalidFlagsError(
            f"{command.name} does not take {_flag_names(unfit)}; the flags it takes: {taken}"
        )


def _flag_names(flags: Flags) -> str:
    return (flags.name or hex(flags)).replace("|", ", ") if flags else ""


def _attempt(
    control: ControlLike, command: Command, header: Header, payload: bytes | bytearray, size: int
) -> Reply | None:
    """Send once; None where it is to be sent again."""
    request = replace(header, version=command.value.version, data_size=size)
    buffer = bytearray(size)
    buffer[:HEADER_SIZE] = request.pack()
    buffer[HEADER_SIZE : HEADER_SIZE + len(payload)] = payload
    try:
        control.call(command, buffer)
    except OSError as error:
        if error.errno == errno.EINTR and command.value.repeatable:
            return None
        raise refused(command, request, buffer, error.errno or errno.EIO) from error
    else:
        return _read(buffer)
    finally:
        if header.flags & Flags.SECURE_DATA:
            buffer[:] = bytes(len(buffer))


def _read(buffer: bytearray) -> Reply:
    header = Header.unpack(buffer)
    if header.data_size > len(buffer):
        raise ReplyError(f"a reply claims {header.data_size} bytes in a buffer of {len(buffer)}")
    if not HEADER_SIZE <= header.data_start <= len(buffer):
        raise ReplyError(f"a reply's data begins at byte {header.data_start}")
    # a reply without data has a data_size below its data_start
    data = bytes(memoryview(buffer)[header.data_start : max(header.data_size, header.data_start)])
    return Reply(header, data, len(buffer))


def _too_large(command: Command, header: Header, capacity: int) -> ReplyTooLargeError:
    if command is Command.TARGET_MSG:
        return ReplyTooLargeError(
            f"the reply to a message outgrew its buffer of {capacity} bytes and is lost; "
            "the message itself was carried out",
            hint="send the next one with a larger reply_size",
        )
    about = device_text(header) or "this system"
    return ReplyTooLargeError(f"{command.name} of {about} has no room in {capacity} bytes")
