"""What an errno means: the class of the error, the likely reason, what to try."""

from __future__ import annotations

import errno

from dmwatch.errors import (
    CommandError,
    DeviceBusyError,
    DeviceNotFoundError,
    InterfaceTooOldError,
    InterruptedCommandError,
    NotPermittedError,
    ReplyError,
)
from dmwatch.ioctl.abi import Command
from dmwatch.ioctl.header import Header
from dmwatch.names import DeviceNumber, printable


def refused(command: Command, request: Header, buffer: bytearray, number: int) -> CommandError:
    """The error for a command that came back with an errno."""
    reply = _reply_header(buffer)
    kind, because, hint = _explain(command, request, reply, number)
    return kind(
        command.name,
        device_text(request),
        number,
        request=request,
        reply=reply,
        because=because,
        hint=hint,
    )


def _reply_header(buffer: bytearray) -> Header | None:
    try:
        return Header.unpack(buffer)
    except ReplyError:
        return None


def device_text(header: Header) -> str | None:
    """What a request calls its device, for people; None where it is about none."""
    found = header.name or header.uuid
    if found:
        return printable(found.decode("utf-8", "surrogateescape"))
    if not header.dev:
        return None
    # an error about an impossible number must not raise another one
    number = hex(header.dev) if header.dev >> 32 else DeviceNumber.from_kernel(header.dev)
    return f"device {number}"


_Explanation = tuple[type[CommandError], str, str]
_BUSY = {
    Command.DEV_CREATE: "the name or the uuid is taken",
    Command.DEV_RENAME: "the new name or uuid is taken",
    Command.DEV_REMOVE: "it is open: mounted, or another device lies on it",
}
_PERMISSION: _Explanation = (
    NotPermittedError,
    "device-mapper needs CAP_SYS_ADMIN",
    "run it as root (sudo)",
)
_EXPLAINED: dict[int, _Explanation] = {
    errno.ENXIO: (DeviceNotFoundError, "there is no such device", "look at `dmwatch ls`"),
    errno.EBUSY: (DeviceBusyError, "it is in use or suspended", "look at `dmwatch ls` and `lsblk`"),
    errno.EPERM: _PERMISSION,
    errno.EACCES: _PERMISSION,
    errno.EINTR: (
        InterruptedCommandError,
        "a signal came while it ran",
        "look whether it was carried out before it is sent again",
    ),
    errno.EINVAL: (CommandError, "the kernel refused a value", "the kernel log (dmesg) says which"),
}


def _explain(command: Command, request: Header, reply: Header | None, number: int) -> _Explanation:
    if _too_old(request, reply, number):
        running = ".".join(map(str, reply.version)) if reply else "unknown"
        needed = ".".join(map(str, request.version))
        because = f"it needs interface {needed} and this kernel has {running}"
        return InterfaceTooOldError, because, "use a newer kernel"
    if (command, number) == (Command.DEV_CREATE, errno.ENXIO):
        return DeviceBusyError, "the minor number is taken", "let the kernel choose one"
    kind, because, hint = _EXPLAINED.get(number, (CommandError, "", ""))
    if number == errno.EBUSY:
        because = _BUSY.get(command, because)
    return kind, because, hint


def _too_old(request: Header, reply: Header | None, number: int) -> bool:
    if number == errno.ENOTTY:
        return True
    # a buffer that SECURE_DATA wiped has no version
    if number != errno.EINVAL or reply is None or reply.version == (0, 0, 0):
        return False
    return reply.version < request.version
