"""An open control node of the fake kernel."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from dmwatch.ioctl.abi import HEADER_SIZE, Command
from dmwatch.testing.poll import OpenFile
from dmwatch.testing.refusing import refuse

if TYPE_CHECKING:
    from dmwatch.testing.kernel import FakeKernel


class FakeControl:
    """What stands in for dmwatch.ioctl.control.Control. Made by `FakeKernel.open`."""

    def __init__(self, kernel: FakeKernel, file: OpenFile, *, observed: bool) -> None:
        self._kernel = kernel
        self._file = file
        self._observed = observed

    def fileno(self) -> int:
        """A descriptor that is readable while there are unarmed events; -1 once closed."""
        return self._file.fd

    def call(self, command: Command, buffer: bytearray) -> None:
        """Carry out a command; the reply overwrites the request.

        Raises:
            OSError: with the kernel's errno; EBADF once it is closed, EFAULT for a short buffer.
        """
        if self._file.fd < 0:
            refuse(errno.EBADF)
        if len(buffer) < HEADER_SIZE:
            refuse(errno.EFAULT)
        self._kernel.carry_out(self._file, command, buffer, observed=self._observed)

    def close(self) -> None:
        """Close it. Closing twice does no harm."""
        self._kernel.close(self._file)
