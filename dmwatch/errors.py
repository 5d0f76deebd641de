"""Every exception of dmwatch. Each reads as a sentence: what failed, most likely why, what to try.

DmwatchError
+-- InvalidValueError (ValueError)    a value that the kernel would refuse or misread
|   +-- InvalidNameError              a device name, uuid or target type
|   +-- InvalidFlagsError             a flag that the command does not take
|   +-- InvalidTableError             a field of a target's table
|   +-- InvalidMessageError           a message to a target
+-- ParseError (ValueError)           text of a target that cannot be read
|   +-- StatusParseError
|   +-- TableParseError
+-- ReplyError                        bytes from the kernel that do not hold together
|   +-- ReplyTooLargeError            the reply outgrew every buffer allowed for it
+-- UdevError                         udev cannot be waited for; nothing was changed
|   +-- UdevTimeoutError (TimeoutError)  udev did not finish in time; the change itself was made
+-- DeviceMismatchError               a device of that name is there, and another one
+-- AlreadyRunningError               another daemon has the journal or the socket
+-- ControlError (OSError)            the control node cannot be opened
|   +-- NoDeviceMapperError           there is none: no device-mapper here
|   +-- ControlNotPermittedError      not allowed
+-- CommandError (OSError)            a command that the kernel refused: command, device, errno
    +-- DeviceNotFoundError           ENXIO
    +-- DeviceBusyError               EBUSY; of DEV_CREATE also ENXIO: the minor is taken
    +-- NotPermittedError             EPERM, EACCES
    +-- InterruptedCommandError       EINTR, where a repeat could do harm
    +-- InterfaceTooOldError          this kernel's device-mapper has no such command
"""

from __future__ import annotations

import errno as _errno
import os


class DmwatchError(Exception):
    """Root of all errors of this package.

    Attributes:
        what: what failed.
        because: the most likely reason, or "".
        hint: what to try, or "".
    """

    def __init__(self, what: str, *, because: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.because = because
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.what]
        if self.because:
            parts.append(f"most likely because {self.because}")
        if self.hint:
            parts.append(f"try this: {self.hint}")
        return "; ".join(parts)


class InvalidValueError(DmwatchError, ValueError):
    """A value that the kernel would refuse with a bare EINVAL, or misread."""


class InvalidNameError(InvalidValueError):
    """A device name, uuid or target type outside the kernel's rules."""


class InvalidFlagsError(InvalidValueError):
    """A flag that this command does not take; it is refused, not dropped."""


class InvalidTableError(InvalidValueError):
    """A field of a target's table breaks a rule of the target.

    Attributes:
        target: the target type.
        field: the field's name.
    """

    def __init__(self, target: str, field: str, rule: str) -> None:
        super().__init__(f"{target}: {field} {rule}")
        self.target = target
        self.field = field


class InvalidMessageError(InvalidValueError):
    """A message that its target would refuse or misread."""


class ParseError(DmwatchError, ValueError):
    """Text of a target that cannot be read.

    Attributes:
        target: the target type.
        field: the field that was being read.
        position: its word, counted from 1.
        text: the whole text, or None where it may hold a key.
    """

    kind = "text"

    def __init__(
        self, target: str, field: str, position: int, problem: str, text: str | None
    ) -> None:
        what = f"{target} {self.kind}: {field} (word {position}) {problem}"
        super().__init__(what if text is None else f"{what}: {shorten(text)!r}")
        self.target = target
        self.field = field
        self.position = position
        self.text = text


class StatusParseError(ParseError):
    """A status line that does not follow the target's grammar."""

    kind = "status"


class TableParseError(ParseError):
    """A table line that does not follow the target's grammar."""

    kind = "table"


class ReplyError(DmwatchError):
    """Bytes from the kernel that contradict themselves: truncated, overlapping, without end."""


class ReplyTooLargeError(ReplyError):
    """The reply outgrew the largest buffer allowed, or the one given to a message."""


class UdevError(DmwatchError):
    """udev cannot be waited for. Nothing was changed."""


class UdevTimeoutError(UdevError, TimeoutError):
    """udev did not finish in time. The change itself was made; links in /dev may be missing."""


class DeviceMismatchError(DmwatchError):
    """A device of that name is there already, and is another one than was asked for.

    Attributes:
        device: its name.
        field: what differs first: `uuid`, or a line of its table and a field in it.
        wanted: what was asked for, as text; "" where it could be a key.
        found: what is there, as text; "" where it could be a key.
    """

    def __init__(self, device: str, field: str, wanted: str, found: str) -> None:
        shown = f": wanted {shorten(wanted)}, found {shorten(found)}" if wanted or found else ""
        super().__init__(
            f"device {device} is there already and differs in {field}{shown}",
            because="somebody else made it, or it was made for another purpose",
            hint="choose another name, or take the other device down",
        )
        self.device = device
        self.field = field
        self.wanted = wanted
        self.found = found


class AlreadyRunningError(DmwatchError):
    """Another daemon has the journal or the socket that this one wants."""


class ControlError(DmwatchError, OSError):
    """The control node cannot be opened. `errno` says why."""

    def __init__(self, what: str, number: int, *, because: str = "", hint: str = "") -> None:
        DmwatchError.__init__(self, what, because=because, hint=hint)
        self.errno = number
        self.strerror = os.strerror(number)


class NoDeviceMapperError(ControlError):
    """No control node, or none behind it: this system has no device-mapper."""


class ControlNotPermittedError(ControlError):
    """The control node may not be opened by this user or in this sandbox."""


class CommandError(DmwatchError, OSError):
    """A command that the kernel refused.

    Attributes:
        command: its name, as in linux/dm-ioctl.h without the prefix.
        device: the device it was about, as text, or None.
        errno: the kernel's answer.
        request: the header that was sent, or None.
        reply: the header that came back, or None where it could not be read. On an error
            the kernel writes back its version and nothing else.
    """

    def __init__(
        self,
        command: str,
        device: str | None,
        number: int,
        *,
        request: object = None,
        reply: object = None,
        because: str = "",
        hint: str = "",
    ) -> None:
        about = f" of {device}" if device else ""
        name = _errno.errorcode.get(number, str(number))
        what = f"{command}{about} failed: {os.strerror(number)} ({name})"
        DmwatchError.__init__(self, what, because=because, hint=hint)
        self.command = command
        self.device = device
        self.errno = number
        self.strerror = os.strerror(number)
        self.request = request
        self.reply = reply


class DeviceNotFoundError(CommandError):
    """ENXIO: there is no such device."""


class DeviceBusyError(CommandError):
    """EBUSY: the device is open or suspended, or the name or uuid is taken.

    DEV_CREATE answers ENXIO where the minor number is taken: that is this error, too.
    """


class NotPermittedError(CommandError):
    """EPERM or EACCES: every command needs CAP_SYS_ADMIN."""


class InterruptedCommandError(CommandError):
    """EINTR on a command that is not repeated, as a repeat could do its work twice."""


class InterfaceTooOldError(CommandError):
    """This kernel's device-mapper interface is older than the command."""


def shorten(text: str, limit: int = 200) -> str:
    """Give text in at most `limit` characters, so that a hostile line does not fill a log."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
