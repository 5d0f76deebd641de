"""What a test wants to go wrong, and what it sees of what was called."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from dmwatch.ioctl.abi import Command, Flags


@dataclass(frozen=True, slots=True)
class FakeCall:
    """A call that was made.

    Attributes:
        command: which.
        device: the name of the device that it was about, or None.
        flags: of the request.
        size: of the buffer.
        request: the buffer as it was sent.
    """

    command: Command
    device: str | None
    flags: Flags
    size: int
    request: bytes


class Point(Enum):
    """Where in a call a plan steps in."""

    BEFORE = auto()
    INSTEAD = auto()
    AFTER = auto()


Action = Callable[[bytearray], object]


@dataclass(slots=True)
class _Plan:
    point: Point
    command: Command
    device: str | None
    times: int | None
    action: Action

    def fits(self, point: Point, call: FakeCall) -> bool:
        return (
            self.point is point
            and self.command is call.command
            and self.device in {None, call.device}
            and self.times != 0
        )


class Plans:
    """What was planned, in order, and the calls that were made."""

    def __init__(self) -> None:
        self.calls: list[FakeCall] = []
        self._plans: list[_Plan] = []
        self._lock = threading.Lock()

    def add(
        self,
        point: Point,
        command: Command,
        action: Action,
        *,
        device: str | None,
        times: int | None,
    ) -> None:
        """Plan something for the next `times` calls of a command, for ever where that is None."""
        self._plans.append(_Plan(point, command, device, times, action))

    def clear(self) -> None:
        """Drop what is still planned."""
        with self._lock:
            self._plans.clear()

    def record(self, call: FakeCall) -> None:
        """Note a call."""
        with self._lock:
            self.calls.append(call)

    def carry_out(self, point: Point, call: FakeCall, buffer: bytearray) -> bool:
        """Do what is planned for this point of a call; say whether anything was.

        Only the first plan can take the place of a call; before and after it all of them count.
        """
        actions = self._take(point, call)
        for action in actions:
            action(buffer)
        return bool(actions)

    def _take(self, point: Point, call: FakeCall) -> list[Action]:
        with self._lock:
            fitting = [plan for plan in self._plans if plan.fits(point, call)]
            if point is Point.INSTEAD:
                del fitting[1:]
            for plan in fitting:
                plan.times = None if plan.times is None else plan.times - 1
            return [plan.action for plan in fitting]
