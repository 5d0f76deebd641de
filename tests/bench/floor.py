"""The least that Python can do for an event: poll, arm, list, compare, read one status, print.

It knows nothing: no types, no failures, no devices that come or go. What dmwatch costs beyond this
is what it knows. Prints a line for each device whose event number has moved; runs until killed.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys

from dmwatch.ioctl.abi import CONTROL_NODE, HEADER_SIZE, Command, Flags

HEADER = struct.Struct("=3IIIIIIIIQ")  # version, sizes, counts, flags, event_nr, padding, dev
ROOM = 1 << 20


class Floor:
    def __init__(self) -> None:
        self.descriptor = os.open(CONTROL_NODE, os.O_RDWR)

    def call(
        self, command: Command, size: int = 4096, flags: int = 0, device: int = 0
    ) -> bytearray:
        buffer = bytearray(size)
        version = (4, 37, 0)
        HEADER.pack_into(buffer, 0, *version, size, HEADER_SIZE, 0, 0, flags, 0, 0, device)
        fcntl.ioctl(self.descriptor, command.request, buffer)
        return buffer

    def look(self) -> dict[int, tuple[str, int]]:
        self.call(Command.DEV_ARM_POLL)
        reply = self.call(Command.LIST_DEVICES, ROOM)
        return dict(_devices(reply))

    def run(self) -> None:
        poller = select.poll()
        poller.register(self.descriptor, select.POLLIN)
        before = self.look()
        print("watching", len(before), "devices", file=sys.stderr, flush=True)
        while True:
            poller.poll()
            after = self.look()
            for device, (name, event_nr) in after.items():
                if before.get(device) != (name, event_nr):
                    self.call(Command.TABLE_STATUS, 16384, Flags.NOFLUSH, device)
                    sys.stdout.write(f"{name} {event_nr}\n")
            sys.stdout.flush()
            before = after


def _devices(reply: bytearray) -> list[tuple[int, tuple[str, int]]]:
    found = []
    at: int = HEADER.unpack_from(reply)[4]
    while True:
        device, step = struct.unpack_from("=QI", reply, at)
        end = reply.index(0, at + 12)
        name = reply[at + 12 : end].decode()
        (event_nr,) = struct.unpack_from("=I", reply, (end + 8) & ~7)
        found.append((device, (name, event_nr)))
        if not step:
            return found
        at += step


if __name__ == "__main__":
    Floor().run()
