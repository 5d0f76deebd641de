"""The open control node, and the only ioctl(2) call of the package.

The call is made through libc by ctypes, as that lets go of the interpreter lock whatever the size
of the buffer; fcntl.ioctl keeps it for more than 1,024 bytes up to CPython 3.13, so that one
command that blocks in the kernel would freeze every thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Protocol

from dmwatch.errors import ControlError, ControlNotPermittedError, NoDeviceMapperError
from dmwatch.ioctl.abi import CONTROL_NODE, Command

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
_libc.ioctl.restype = ctypes.c_int


class ControlLike(Protocol):
    """What stands between typed commands and a kernel: the real one, or a fake one in tests."""

    def fileno(self) -> int:
        """A descriptor that poll(2) reports readable while there are unarmed events."""

    def call(self, command: Command, buffer: bytearray) -> None:
        """Carry out a command; the reply overwrites the request in `buffer`.

        Raises:
            OSError: with the kernel's errno.
        """

    def close(self) -> None:
        """Give up the descriptor. Closing twice does no harm."""


class Control:
    """The control node of this machine's device-mapper.

    Args:
        path: of the node.

    Raises:
        NoDeviceMapperError: there is no node, or nothing behind it.
        ControlNotPermittedError: it may not be opened.
        ControlError: it cannot be opened for another reason.
    """

    def __init__(self, path: str = CONTROL_NODE) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _explained(path, error) from error

    def fileno(self) -> int:
        """The descriptor: readable while there are events since it was last armed."""
        return self._fd

    def call(self, command: Command, buffer: bytearray) -> None:
        """Carry out a command; the reply overwrites the request in `buffer`.

        Other threads run meanwhile. The buffer must not change its size until it returns.

        Raises:
            OSError: with the kernel's errno.
        """
        # the exported view pins the bytearray: it cannot be resized under the kernel
        view = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        returned = _libc.ioctl(self._fd, command.request, ctypes.byref(view))
        if returned != 0:
            # Linux 6.12 returns 2 once it has done nothing: to a device without a table it gives no
            # message (dm-ioctl.c:target_message). Other kernels refuse it.
            number = ctypes.get_errno() if returned < 0 else errno.EINVAL
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """Close the node. Closing twice does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _explained(path: str, error: OSError) -> ControlError:
    number = error.errno or errno.EIO
    what = f"{path} cannot be opened: {os.strerror(number)}"
    if number in {errno.EPERM, errno.EACCES}:
        return ControlNotPermittedError(
            what,
            number,
            because="device-mapper needs root",
            hint="run it as root (sudo)",
        )
    if number in {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR}:
        return NoDeviceMapperError(
            what,
            number,
            because="this kernel has no device-mapper, its module is not loaded, "
            "or this is a container without the node",
            hint="modprobe dm-mod",
        )
    return ControlError(what, number)
