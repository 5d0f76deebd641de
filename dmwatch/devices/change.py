"""A change: steps that are carried out in order, and undone together when one fails.

    with changing() as change:      # or any method of a device, which opens one of its own
        data.create()
        pool.create()               # fails: data is removed again, the pool's error is raised

Changes nest: the inner one undoes its own steps where it fails, the outer one all. The outermost
waits for udev once, at its end. What cannot be undone is added to the error as a note; the first
error is the one that is raised. Objects are part of it: `keep` puts one's attributes back.

A dry change (`plan`) reads the kernel and sends nothing that changes it: it remembers what it would
have done, so that later steps build on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import ParamSpec, Protocol

from dmwatch.devices.known import Known, look
from dmwatch.devices.step import Step
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import Answer, Udev
from dmwatch.errors import DeviceBusyError, UdevError
from dmwatch.ioctl.abi import NO_FLAGS, Command, Flags, UdevFlags
from dmwatch.table import KEYED_TYPES, TargetLine
from dmwatch.targets import TargetMessage

P = ParamSpec("P")
PATIENCE = 2.0
"""Seconds for which a removal is tried again while the device is busy: udev may look into it."""
AT_ONCE = Flags.NOFLUSH | Flags.SKIP_LOCKFS
_PAUSE = 0.05
_current: ContextVar[Change | None] = ContextVar("dmwatch_change", default=None)


class Named(Protocol):
    """What a change needs to know of a device."""

    dm: DeviceMapper
    name: str
    uuid: str | None
    visibility: UdevFlags


class Change:
    """The steps so far. Made by `changing`; its methods are the steps.

    Attributes:
        steps: what was sent, or would have been.
        dry: nothing is sent.
    """

    def __init__(self, udev: Udev, *, dry: bool = False) -> None:
        self.steps: list[Step] = []
        self.dry = dry
        self.cookie = udev.cookie()
        self._undo: list[Callable[[], object]] = []
        self._planned: dict[str, Known | None] = {}

    # Reading

    def look(self, device: Named) -> Known | None:
        """What the kernel has of a device, or a plan; None where it is not there."""
        if device.name in self._planned:
            return self._planned[device.name]
        return look(device.dm, device.name)

    # Objects

    def keep(self, thing: object) -> None:
        """Put a thing's attributes back as they are now if this fails."""
        before = dict(vars(thing))

        def put_back() -> None:
            vars(thing).clear()
            vars(thing).update(before)

        self._undo.append(put_back)

    def otherwise(self, undo: Callable[[], object]) -> None:
        """Call this if a later step fails."""
        self._undo.append(undo)

    # Steps

    def create(self, device: Named) -> None:
        """DEV_CREATE. Undone by a removal."""
        dm, name, uuid = device.dm, device.name, device.uuid
        if not self._plan(device, Step(Command.DEV_CREATE, name, uuid or "")):
            dm.create(name, uuid)
            self._undo.append(lambda: self._remove(dm, name, device.visibility))
            return
        if self.look(device) is not None:
            raise DeviceBusyError("DEV_CREATE", name, 16, because="the name is taken")
        self._planned[name] = Known(name, uuid)

    def load(self, device: Named, lines: Sequence[TargetLine], flags: Flags = NO_FLAGS) -> None:
        """TABLE_LOAD. Undone by what was loaded before, or TABLE_CLEAR."""
        dm, name, table = device.dm, device.name, tuple(lines)
        before = self.look(device)
        if self._plan(device, Step(Command.TABLE_LOAD, name, lines=table)):
            self._planned[name] = replace(before or Known(name), staged=table)
            return
        self._undo.append(lambda: _unload(dm, before))
        dm.load(name, table, flags=flags | _secrecy(table))

    def clear(self, device: Named) -> None:
        """TABLE_CLEAR. Undone by loading what was loaded."""
        dm, name = device.dm, device.name
        before = self.look(device)
        if self._plan(device, Step(Command.TABLE_CLEAR, name)):
            self._planned[name] = replace(before or Known(name), staged=None)
            return
        dm.clear(name)
        if before and before.staged:
            staged = before.staged
            self._undo.append(lambda: dm.load(name, staged, flags=_secrecy(staged)))

    def resume(self, device: Named, flags: Flags = NO_FLAGS) -> None:
        """DEV_SUSPEND without SUSPEND. Undone by the table that was live, suspended if it was."""
        dm, name, udev = device.dm, device.name, device.visibility
        before = self.look(device)
        if self._plan(device, Step(Command.DEV_SUSPEND, name, "resume", flags=flags)):
            known = before or Known(name)
            live = known.staged or known.live
            self._planned[name] = replace(known, live=live, staged=None, suspended=False)
            return
        self._resume(dm, name, udev, flags)
        if before:
            self._undo.append(lambda: self._unresume(dm, before, udev))

    def suspend(self, device: Named, flags: Flags = NO_FLAGS) -> None:
        """DEV_SUSPEND with SUSPEND. Undone by a resume where it was not suspended."""
        dm, name, udev = device.dm, device.name, device.visibility
        before = self.look(device)
        if self._plan(device, Step(Command.DEV_SUSPEND, name, "suspend", flags=flags)):
            self._planned[name] = replace(before or Known(name), suspended=True)
            return
        if before and not before.suspended:
            # registered first: a suspend that was interrupted may stand all the same
            self._undo.append(lambda: self._resume(dm, name, udev, NO_FLAGS))
        dm.suspend(name, flags=flags)

    @contextmanager
    def paused(self, device: Named, flags: Flags = NO_FLAGS) -> Iterator[None]:
        """Suspend a device for the time of a block; it is resumed at once, whatever happens there.

        One that is not there, or is suspended already, is left alone.
        """
        known = self.look(device)
        if known is None or known.suspended:
            yield
            return
        mark = self.mark()
        try:
            self.suspend(device, flags)
            yield
            self.resume(device)
        except BaseException as error:
            self.undo_to(mark, error)
            raise
        if not self.dry:
            # suspend and resume cancel out; what was done between can still be undone
            self._undo.pop()
            del self._undo[mark]

    def rename(self, device: Named, new: str) -> None:
        """DEV_RENAME. Undone by the way back."""
        dm, name, udev = device.dm, device.name, device.visibility
        known = self.look(device)
        if self._plan(device, Step(Command.DEV_RENAME, name, new)):
            self._planned[new] = replace(known, name=new) if known else None
            self._planned[name] = None
            return
        self._rename(dm, name, new, udev)
        self._undo.append(lambda: self._rename(dm, new, name, udev))

    def remove(self, device: Named, *, patience: float = PATIENCE) -> None:
        """DEV_REMOVE. Undone by making it anew, with its number and table."""
        dm, name, udev = device.dm, device.name, device.visibility
        before = self.look(device)
        if self._plan(device, Step(Command.DEV_REMOVE, name)):
            self._planned[name] = None
            return
        self._remove(dm, name, udev, patience)
        if before:
            self._undo.append(lambda: self._remake(dm, before, udev))

    def message(
        self,
        device: Named,
        message: TargetMessage,
        *,
        undo: TargetMessage | None = None,
        sector: int = 0,
    ) -> str | None:
        """TARGET_MSG; its reply, None in a dry change.

        Args:
            device: whose target.
            message: what to say.
            undo: what to say if a later step fails.
            sector: where the target lies.
        """
        dm, name = device.dm, device.name
        text = message.format()
        if self._plan(device, Step(Command.TARGET_MSG, name, "" if message.keyed else text)):
            return None
        flags = Flags.SECURE_DATA if message.keyed else NO_FLAGS
        answer = dm.message(name, text, sector=sector, flags=flags)
        if undo is not None:
            back = undo.format()
            self._undo.append(lambda: dm.message(name, back, sector=sector))
        return answer.text

    # How it is done

    def _plan(self, _device: Named, step: Step) -> bool:
        """Note a step; say whether that is all."""
        self.steps.append(step)
        return self.dry

    def _carry(self, command: Callable[[int], Answer]) -> None:
        self.cookie.carry(command)

    def _resume(self, dm: DeviceMapper, name: str, udev: UdevFlags, flags: Flags) -> None:
        udev |= UdevFlags.PRIMARY_SOURCE
        self._carry(lambda number: dm.resume(name, flags=flags, udev=udev, cookie=number))

    def _rename(self, dm: DeviceMapper, name: str, new: str, udev: UdevFlags) -> None:
        udev |= UdevFlags.PRIMARY_SOURCE
        self._carry(lambda number: dm.rename(name, new, udev=udev, cookie=number))

    def _remove(
        self, dm: DeviceMapper, name: str, udev: UdevFlags, patience: float = PATIENCE
    ) -> None:
        """Remove it; while it is busy let udev finish, and try again."""
        udev |= UdevFlags.PRIMARY_SOURCE
        deadline = time.monotonic() + patience
        while True:
            try:
                self._carry(lambda number: dm.remove(name, udev=udev, cookie=number))
            except DeviceBusyError:
                if time.monotonic() >= deadline:
                    raise
                with suppress(UdevError):
                    self.cookie.wait()
                time.sleep(_PAUSE)
            else:
                return

    def _unresume(self, dm: DeviceMapper, before: Known, udev: UdevFlags) -> None:
        if before.live and before.staged:
            dm.load(before.name, before.live, flags=before.flags | _secrecy(before.live))
            self._resume(dm, before.name, udev, AT_ONCE)
        if before.suspended and before.live:
            dm.suspend(before.name, flags=AT_ONCE)
        if before.staged and before.live:
            dm.load(before.name, before.staged, flags=_secrecy(before.staged))

    def _remake(self, dm: DeviceMapper, before: Known, udev: UdevFlags) -> None:
        dm.create(before.name, before.uuid, minor=before.number.minor if before.number else None)
        if before.live:
            dm.load(before.name, before.live, flags=before.flags | _secrecy(before.live))
            self._resume(dm, before.name, udev, NO_FLAGS)
            if before.suspended:
                dm.suspend(before.name, flags=AT_ONCE)

    def mark(self) -> int:
        """Where we are, for `undo_to`."""
        return len(self._undo)

    def undo_to(self, mark: int, error: BaseException | None = None) -> None:
        """Undo everything since a mark, the last step first; all of it, whatever fails."""
        while len(self._undo) > mark:
            try:
                self._undo.pop()()
            except Exception as failed:  # noqa: BLE001 - the first error is the one that counts
                if error is not None:
                    error.add_note(f"this could not be undone: {failed}")


@contextmanager
def changing(udev: Udev | None = None) -> Iterator[Change]:
    """One change from many: all of it is done, or none.

    Args:
        udev: how to wait for udev at the end; within another change that one's counts.

    Raises:
        UdevTimeoutError: at the end; everything was done.
    """
    outer = _current.get()
    if outer is not None:
        with _undone_if_it_fails(outer):
            yield outer
        return
    change = Change(udev or Udev())
    token = _current.set(change)
    try:
        with change.cookie, _undone_if_it_fails(change):
            yield change
    finally:
        _current.reset(token)


@contextmanager
def _undone_if_it_fails(change: Change) -> Iterator[None]:
    mark = change.mark()
    try:
        yield
    except BaseException as error:
        change.undo_to(mark, error)
        raise


def plan(change: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> list[Step]:
    """What a change would send to the kernel, in order. Nothing is sent, no object changed.

    plan(pool.set_low_water, DataBlocks(64))
    plan(lambda: (data.create(), pool.create()))
    """
    dry = Change(Udev(control=None), dry=True)
    token = _current.set(dry)
    try:
        change(*args, **kwargs)
    finally:
        _current.reset(token)
        dry.undo_to(0)
    return dry.steps


def planning() -> Change | None:
    """The change that is being made, or None."""
    return _current.get()


def _unload(dm: DeviceMapper, before: Known | None) -> None:
    """Take back a load, and the suspend that a resume leaves when it cannot swap."""
    if before is None:
        return
    if before.staged:
        dm.load(before.name, before.staged, flags=_secrecy(before.staged))
    else:
        dm.clear(before.name)
    now = dm.info(before.name)
    if now.suspended and now.has_table and not before.suspended and not before.staged:
        dm.resume(before.name)


def _secrecy(lines: Sequence[TargetLine]) -> Flags:
    return Flags.SECURE_DATA if any(line.type in KEYED_TYPES for line in lines) else NO_FLAGS
