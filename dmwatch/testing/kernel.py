"""The fake kernel: what a test holds in its hands."""

from __future__ import annotations

import errno
import struct
import threading
from collections.abc import Callable, Sequence

from dmwatch.dm import DeviceMapper
from dmwatch.ioctl.abi import Command, Flags, Version
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.testing.commands import Context, run
from dmwatch.testing.control import FakeControl
from dmwatch.testing.devices import FakeDevice, FakeLine, FakeTable
from dmwatch.testing.machine import Machine
from dmwatch.testing.plans import FakeCall, Plans, Point
from dmwatch.testing.poll import OpenFile
from dmwatch.testing.refusing import refuse

_DISKSEQ_SINCE: Version = (4, 45, 0)
_FIELDS = struct.Struct("=28xI8xQ128s129s")


class FakeKernel:
    """A device-mapper in memory. Threads may share it.

    Args:
        version: of its interface: (4, 43, 0) is Linux 5.10, (4, 47, 0) is 6.1, (4, 50, 0) is 7.2.

    Attributes:
        permitted: False: every command is refused with EACCES.
        messages: those that reached a target: device name, sector, text.
        on_message: answers a message: called with the device, the sector and the text. It gives
            the reply's text or None, or raises OSError.
        dm: somebody else's DeviceMapper: what it does is neither counted nor disturbed.
    """

    def __init__(self, version: Version = (4, 47, 0)) -> None:
        self.permitted = True
        self.messages: list[tuple[str, int, str]] = []
        self.on_message: Callable[[FakeDevice, int, str], str | None] = lambda *_: None
        self._machine = Machine(version)
        self._plans = Plans()
        self.dm = DeviceMapper(self.open(observed=False))

    # Opening it

    def open(self, *, observed: bool = True) -> FakeControl:
        """Open the control node.

        Args:
            observed: what is called on it is recorded, and plans apply to it.
        """
        with self._machine.changed:
            return FakeControl(self, self._machine.events.open(), observed=observed)

    def close(self, file: OpenFile) -> None:
        """Close a control node: for FakeControl."""
        with self._machine.changed:
            file.close()

    # Devices, as somebody else would change them

    def add(
        self,
        name: str,
        *lines: TargetLine,
        uuid: str | None = None,
        minor: int | None = None,
        status: Sequence[str] = (),
    ) -> FakeDevice:
        """Make a device and, where lines are given, put them in place as its table.

        Args:
            name: any bytes that a kernel could hold; undecodable ones as surrogate escapes.
            lines: the table.
            uuid: of the device.
            minor: the one to take, else the lowest that is free.
            status: what each line reports, in order.
        """
        raw = uuid.encode("utf-8", "surrogateescape") if uuid else b""
        with self._machine.changed:
            device = self._machine.create(name.encode("utf-8", "surrogateescape"), raw, minor)
            if lines:
                self.swap(name, *lines, status=status)
            return device

    def swap(self, name: str, *lines: TargetLine, status: Sequence[str] = ()) -> None:
        """Load a table and put it in place at once."""
        texts = [*status, *[""] * (len(lines) - len(status))]
        table = FakeTable(
            [
                FakeLine(line.start, line.length, line.type, line.text, text)
                for line, text in zip(lines, texts, strict=True)
            ]
        )
        with self._machine.changed:
            device = self.device(name)
            self._machine.load(device, table)
            self._machine.resume(device)

    def device(self, name: str) -> FakeDevice:
        """The device of that name.

        Raises:
            KeyError: there is none.
        """
        found = self._machine.devices.named(name.encode("utf-8", "surrogateescape"))
        if found is None:
            raise KeyError(name)
        return found

    @property
    def devices(self) -> list[FakeDevice]:
        """All devices, in the order in which they were made."""
        return list(self._machine.devices)

    def raise_event(self, name: str, times: int = 1) -> None:
        """Let a target of the device report something, `times` times."""
        with self._machine.changed:
            device = self.device(name)
            for _ in range(times):
                self._machine.target_event(device)

    def set_status(self, name: str, index: int, text: str | None) -> None:
        """Change what a line of the live table reports. Nobody is told."""
        with self._machine.changed:
            table = self.device(name).live
            if table is None:
                raise KeyError(f"{name} has no live table")
            table.lines[index].status = text

    def open_device(self, name: str) -> None:
        """Open a device: it is busy now."""
        with self._machine.changed:
            self.device(name).open_count += 1

    def close_device(self, name: str) -> None:
        """Close a device once; this may carry out a removal that was deferred."""
        with self._machine.changed:
            self._machine.close(self.device(name))

    def tell(self) -> None:
        """Let poll(2) fire though nothing has changed."""
        with self._machine.changed:
            self._machine.events.happen()

    def diskseq(self, number: DeviceNumber) -> int | None:
        """What sysfs would say: the incarnation of a device number."""
        with self._machine.changed:
            found = self._machine.devices.find(b"", b"", number.to_kernel())
            known = found is not None and self._machine.version >= _DISKSEQ_SINCE
            return found.diskseq if found and known else None

    @property
    def targets(self) -> dict[str, Version]:
        """The target types that it has, with their versions; a test may change them."""
        return self._machine.targets

    # What is to go wrong

    def fail(
        self, command: Command, number: int, *, times: int | None = 1, device: str | None = None
    ) -> None:
        """Refuse the next calls of a command with an errno; for ever where `times` is None."""

        def answer(buffer: bytearray) -> None:
            # a kernel writes back its version also where it refuses
            struct.pack_into("=3I", buffer, 0, *self._machine.version)
            refuse(number)

        self._plans.add(Point.INSTEAD, command, answer, device=device, times=times)

    def inject(
        self, command: Command, reply: bytes, *, times: int | None = 1, device: str | None = None
    ) -> None:
        """Answer the next calls of a command with these bytes, as far as the buffer goes."""

        def answer(buffer: bytearray) -> None:
            size = min(len(buffer), len(reply))
            buffer[:size] = reply[:size]

        self._plans.add(Point.INSTEAD, command, answer, device=device, times=times)

    def hang(self, command: Command, *, device: str | None = None) -> threading.Event:
        """Let calls of a command hang until the event that this gives is set."""
        released = threading.Event()
        self._plans.add(Point.BEFORE, command, lambda _: released.wait(), device=device, times=None)
        return released

    def before(
        self,
        command: Command,
        function: Callable[[], object],
        *,
        times: int | None = 1,
        device: str | None = None,
    ) -> None:
        """Call a function just before the next calls of a command are carried out."""
        self._plans.add(Point.BEFORE, command, lambda _: function(), device=device, times=times)

    def after(
        self,
        command: Command,
        function: Callable[[], object],
        *,
        times: int | None = 1,
        device: str | None = None,
    ) -> None:
        """Call a function just after the next calls of a command succeeded."""
        self._plans.add(Point.AFTER, command, lambda _: function(), device=device, times=times)

    def hold_resumes(self) -> threading.Event:
        """Let every resume that swaps a table stop between swap and end, until the event is set."""
        self._machine.swap_gate = threading.Event()
        return self._machine.swap_gate

    def interrupt(self) -> None:
        """End every DEV_WAIT with EINTR."""
        with self._machine.changed:
            self._machine.interrupt()

    def calm(self) -> None:
        """Drop every plan that is not used up."""
        self._plans.clear()

    # What was called

    @property
    def calls(self) -> list[FakeCall]:
        """The calls so far, in order."""
        return list(self._plans.calls)

    def count(self, command: Command, device: str | None = None) -> int:
        """How often a command was called, on one device or on any."""
        return sum(c.command is command and device in {None, c.device} for c in self.calls)

    def carry_out(
        self, file: OpenFile, command: Command, buffer: bytearray, *, observed: bool
    ) -> None:
        """Carry out a call: for FakeControl.

        Raises:
            OSError: with the errno.
        """
        if not observed:
            self._run(file, command, buffer)
            return
        call = self._seen(command, buffer)
        self._plans.record(call)
        self._plans.carry_out(Point.BEFORE, call, buffer)
        if self._plans.carry_out(Point.INSTEAD, call, buffer):
            return
        self._run(file, command, buffer)
        self._plans.carry_out(Point.AFTER, call, buffer)

    def _run(self, file: OpenFile, command: Command, buffer: bytearray) -> None:
        if not self.permitted:
            refuse(errno.EACCES)
        with self._machine.changed:
            run(Context(self._machine, file, self._answer), command, buffer)

    def _answer(self, device: FakeDevice, sector: int, text: str) -> str | None:
        self.messages.append((device.name.decode("utf-8", "surrogateescape"), sector, text))
        return self.on_message(device, sector, text)

    def _seen(self, command: Command, buffer: bytearray) -> FakeCall:
        flags, dev, name, uuid = _FIELDS.unpack_from(buffer)
        name, uuid = name.partition(b"\x00")[0], uuid.partition(b"\x00")[0]
        with self._machine.changed:
            found = self._machine.devices.find(name, uuid, dev) if name or uuid or dev else None
        known = found.name if found else name
        shown = known.decode("utf-8", "surrogateescape") or None
        return FakeCall(command, shown, Flags(flags), len(buffer), bytes(buffer))
