"""From a typed method to an exchange: finds the device, remembers how much room replies need."""

from __future__ import annotations

import errno

from dmwatch.errors import InterfaceTooOldError
from dmwatch.ioctl.abi import Command, Version
from dmwatch.ioctl.control import ControlLike
from dmwatch.ioctl.exchange import CAPACITY, Reply, exchange
from dmwatch.ioctl.header import Header, addressed
from dmwatch.names import DeviceId, device_id


class Channel:
    """A control node and what is remembered about it.

    Attributes:
        control: the node.
    """

    def __init__(self, control: ControlLike) -> None:
        self.control = control
        # a list of 10,000 devices should not be grown to from 16 KiB each time it is taken
        self._capacity: dict[Command, int] = {}

    def send(
        self,
        command: Command,
        header: Header | None = None,
        payload: bytes | bytearray = b"",
        *,
        capacity: int | None = None,
    ) -> Reply:
        """Carry out a command that finds its device, if any, by what the header says already."""
        room = capacity or self._capacity.get(command, CAPACITY)
        reply = exchange(self.control, command, header or Header(), payload, capacity=room)
        if command.value.grows:
            self._capacity[command] = reply.capacity
        return reply

    def about(
        self,
        command: Command,
        device: str | DeviceId,
        header: Header,
        payload: bytes | bytearray = b"",
        *,
        capacity: int | None = None,
    ) -> Reply:
        """Carry out a command on a device.

        Raises:
            InvalidNameError: for a str that cannot be a device's name.
        """
        found = addressed(header, device_id(device))
        return self.send(command, found, payload, capacity=capacity)


def need_version(command: Command, reply: Reply, needed: Version, what: str) -> None:
    """Refuse an answer of a kernel that ignored a part of the question.

    Raises:
        InterfaceTooOldError: where the kernel's interface is older than `needed`.
    """
    if reply.header.version >= needed:
        return
    running = ".".join(map(str, reply.header.version))
    raise InterfaceTooOldError(
        command.name,
        None,
        errno.EINVAL,
        reply=reply.header,
        because=f"{what} interface {'.'.join(map(str, needed))} and this kernel has {running}",
    )
