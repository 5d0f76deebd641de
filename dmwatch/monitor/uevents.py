"""The kernel's uevents, the second witness: they name what a control event leaves open.

A uevent is a netlink datagram of NUL-separated text, `change@/devices/virtual/block/dm-3`, then
`KEY=value` lines. Only the kernel's own are taken (sender 0): any process with the right capability
may send others to the same group. What asked for by hand through sysfs (SYNTH_UUID) is left out.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dmwatch.errors import InvalidNameError
from dmwatch.names import DeviceNumber

_GROUP_KERNEL = 1
_KOBJECT_UEVENT = 15  # linux/netlink.h; the socket module does not name it
_BUFFER = 64 * 1024
_RECEIVE_BUFFER = 1024 * 1024
_SO_RCVBUFFORCE = 33


class OverrunError(Exception):
    """The kernel dropped uevents: what they would have said must be looked up."""


@dataclass(frozen=True, slots=True)
class Uevent:
    """One uevent of a device-mapper device.

    Attributes:
        action: `add`, `change`, `remove`, ...
        number: the device's number.
        diskseq: the incarnation of that number, or None before Linux 5.15.
        properties: all `KEY=value` pairs.
    """

    action: str
    number: DeviceNumber
    diskseq: int | None
    properties: Mapping[str, str]

    @property
    def resized(self) -> bool:
        """The device's size changed (Linux 5.13 and later say so)."""
        return self.properties.get("RESIZE") == "1"

    @property
    def words(self) -> Mapping[str, str]:
        """What device-mapper says itself in a `change`; nothing in one that is a resume."""
        said = {k: v for k, v in self.properties.items() if k.startswith("DM_")}
        own = "DM_ACTION" in said or any(key.startswith("DM_VERITY_") for key in said)
        return said if own and self.action == "change" else {}


def parse(datagram: bytes) -> Uevent | None:
    """Read a uevent; None for what is not about a device-mapper device, or no uevent at all."""
    head, *lines = datagram.decode("utf-8", "surrogateescape").split("\x00")
    action, at, path = head.partition("@")
    properties = dict(line.split("=", 1) for line in lines if "=" in line)
    if not at or properties.get("SUBSYSTEM") != "block" or "SYNTH_UUID" in properties:
        return None
    if not path.rpartition("/")[2].startswith("dm-"):
        return None
    number = _number(properties)
    if number is None:
        return None
    return Uevent(action, number, _integer(properties.get("DISKSEQ")), properties)


def _number(properties: Mapping[str, str]) -> DeviceNumber | None:
    try:
        return DeviceNumber.parse(f"{properties.get('MAJOR')}:{properties.get('MINOR')}")
    except InvalidNameError:
        return None


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 21 else None


class Uevents:
    """A socket that hears the kernel's uevents.

    Raises:
        OSError: uevents cannot be heard here: no permission, or no such socket.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            _KOBJECT_UEVENT,
        )
        try:
            self._grow()
            self._socket.bind((0, _GROUP_KERNEL))
        except OSError:
            self._socket.close()
            raise

    def _grow(self) -> None:
        # a storm must fit in here while the loop is busy; without the right to it, less must do
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except OSError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def read(self) -> Iterator[Uevent]:
        """Every uevent of a device-mapper device that has arrived, in order.

        Raises:
            OverrunError: the kernel dropped some, after those that were given.
        """
        while True:
            try:
                datagram, sender = self._socket.recvfrom(_BUFFER)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise OverrunError from None
                raise
            if sender[0] == 0 and (uevent := parse(datagram)):
                yield uevent

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
