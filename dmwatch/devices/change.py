"""A change: steps that are carried out in order, and undone together when one fails.

    with changing() as change:      # or any method of a device, which opens one of its own
        data.create()
        pool.create()               # fails: data is removed again, the pool's error is raised

Changes nest: the inner one undoes its own steps where it fails, the outer one all; several threads
may make inner ones at once, as `asyncio.to_thread` hands the outer one on. The outermost waits for
udev once, at its end. What cannot be undone is added to the error as a note; the first error is the
one that is raised. Objects are part of it: `keep` puts one's attributes back.

A resume that is refused can leave its device suspended, with the old table or the new one. It is
put back last, once what lies below is as it was: its old table may not fit until then.

A dry change (`plan`) reads the kernel and sends nothing that changes it: it remembers what it would
have done, so that later steps build on it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import replace
from functools import partial
from typing import ParamSpec, Protocol

from dmwatch.devices.carrying import (
    AT_ONCE,
    PATIENCE,
    Carrier,
    clear,
    cut_short,
    restage,
    secrecy,
    sound,
    was_cleared,
)
from dmwatch.devices.known import Known, look
from dmwatch.devices.step import Step
from dmwatch.devices.undoing import Ledger, not_undone, nothing, tell
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import Udev
from dmwatch.errors import CommandError, DeviceBusyError, DmwatchError, UdevError
from dmwatch.ioctl.abi import NO_FLAGS, Command, Flags, UdevFlags
from dmwatch.names import printable
from dmwatch.table import TargetLine
from dmwatch.targets import TargetMessage

__all__ = ["PATIENCE", "Change", "Named", "changing", "plan", "planning"]
P = ParamSpec("P")
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
        ledger: what is to be undone if it fails.
    """

    def __init__(self, udev: Udev, *, dry: bool = False) -> None:
        self.steps: list[Step] = []
        self.dry = dry
        self.cookie = udev.cookie()
        self._kernel = Carrier(self.cookie)
        self._made: set[str] = set()
        self.ledger = Ledger()
        self._cleared: set[str] = set()
        self._planned: dict[str, Known | None] = {}

    def inner(self) -> Change:
        """A change within this one: it shares all but what it has to undo itself."""
        made = copy(self)
        made.ledger = Ledger(self.ledger)
        return made

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
            for name in vars(thing).keys() - before.keys():
                delattr(thing, name)
            for name, value in before.items():
                setattr(thing, name, value)

        self.ledger.add(getattr(thing, "name", ""), put_back)

    def otherwise(self, undo: Callable[[], object]) -> None:
        """Call this if a later step fails."""
        self.ledger.add("", undo)

    def settle(self, *names: str) -> None:
        """What was done to these devices stays, whatever fails later: they cannot go back.

        For what a target does not take back: a pool that has grown refuses to be smaller. What this
        very change has made is still removed.
        """
        if self.dry:
            return
        self.ledger.settle(set(names) - self._made)

    # Steps

    def create(self, device: Named) -> None:
        """DEV_CREATE. Undone by a removal."""
        dm, name, uuid = device.dm, device.name, device.uuid
        if not self._plan(device, Step(Command.DEV_CREATE, name, uuid or "")):
            new = look(dm, name) is None
            undo = partial(self._kernel.unmake, dm, name, device.visibility)
            self._do(name, lambda: dm.create(name, uuid), undo if new else nothing)
            self._made.add(name)
            return
        if self.look(device) is not None:
            raise DeviceBusyError(
                "DEV_CREATE", printable(name), errno.EBUSY, because="the name is taken"
            )
        self._planned[name] = Known(name, uuid)

    def load(self, device: Named, lines: Sequence[TargetLine], flags: Flags = NO_FLAGS) -> None:
        """TABLE_LOAD. Undone by what was loaded before, or TABLE_CLEAR."""
        dm, name, table = device.dm, device.name, tuple(lines)
        before = self.look(device)
        flags |= secrecy(table)
        if self._plan(device, Step(Command.TABLE_LOAD, name, lines=table, flags=flags)):
            read_only = bool(flags & Flags.READONLY)
            known = before or Known(name)
            self._planned[name] = replace(known, staged=table, staged_read_only=read_only)
            return
        undo = partial(self._kernel.unload, dm, before)
        self._do(name, lambda: dm.load(name, table, flags=flags), undo)

    def clear(self, device: Named) -> None:
        """TABLE_CLEAR. Undone by loading what was loaded."""
        dm, name = device.dm, device.name
        before = self.look(device)
        if self._plan(device, Step(Command.TABLE_CLEAR, name)):
            self._planned[name] = replace(before or Known(name), staged=None)
            self._cleared.add(name)
            return
        undo = partial(restage, dm, before) if before else nothing
        self._do(name, lambda: clear(dm, name), undo)

    def resume(self, device: Named, flags: Flags = NO_FLAGS) -> None:
        """DEV_SUSPEND without SUSPEND. Undone by the table that was live, suspended if it was."""
        dm, name, udev = device.dm, device.name, device.visibility
        before = self.look(device)
        if self._plan(device, Step(Command.DEV_SUSPEND, name, "resume", flags=flags)):
            self._planned[name] = (before or Known(name)).resumed()
            return
        if before is None or name in self._made:
            self._do(name, lambda: self._kernel.resume(dm, name, udev, flags), nothing)
            return
        undo = partial(self._kernel.unresume, dm, before, udev)
        try:
            self._do(name, lambda: self._kernel.resume(dm, name, udev, flags), undo)
        except CommandError as error:
            self._after_refusal(dm, before, udev, error)
            raise

    def _after_refusal(
        self, dm: DeviceMapper, before: Known, udev: UdevFlags, error: CommandError
    ) -> None:
        """A table that could not be put in place is gone, and the device may be suspended."""
        try:
            if cut_short(dm, before):
                put_back = partial(self._kernel.put_back, dm, before, udev)
                self.ledger.add_last(before.name, put_back)
                restage(dm, before)
        except DmwatchError as failed:
            tell(error, not_undone(failed))

    def suspend(self, device: Named, flags: Flags = NO_FLAGS) -> None:
        """DEV_SUSPEND with SUSPEND. Undone by a resume where it was not suspended."""
        dm, name, udev = device.dm, device.name, device.visibility
        before = self.look(device)
        if self._plan(device, Step(Command.DEV_SUSPEND, name, "suspend", flags=flags)):
            self._planned[name] = replace(before or Known(name), suspended=True)
            return
        undo = partial(self._kernel.resume, dm, name, udev)
        running = before is not None and not before.suspended
        self._do(name, lambda: dm.suspend(name, flags=flags), undo if running else nothing)

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
            del self.ledger.steps[-1], self.ledger.steps[mark]

    def rename(self, device: Named, new: str) -> None:
        """DEV_RENAME. Undone by the way back."""
        dm, name, udev = device.dm, device.name, device.visibility
        known = self.look(device)
        if known and known.live and not known.staged and self._was_cleared(dm, name):
            self._swap_with_itself(device, known)
        if self._plan(device, Step(Command.DEV_RENAME, name, new)):
            self._planned[new] = replace(known, name=new) if known else None
            self._planned[name] = None
            return
        undo = partial(self._kernel.unrename, dm, name, new, udev)
        self._do(name, lambda: self._kernel.rename(dm, name, new, udev), undo)
        if name in self._made:
            self._made.add(new)

    def _was_cleared(self, dm: DeviceMapper, name: str) -> bool:
        return name in self._cleared or was_cleared(dm, name)

    def _swap_with_itself(self, device: Named, known: Known) -> None:
        """Put a live table in place of itself: see `was_cleared`."""
        self.load(device, known.live or (), known.flags)
        self.resume(device, AT_ONCE)
        self._cleared.discard(device.name)
        if not self.dry:
            sound(device.dm, device.name)
        if known.suspended:
            self.suspend(device, AT_ONCE)

    def remove(self, device: Named, *, patience: float = PATIENCE) -> None:
        """DEV_REMOVE. Undone by making it anew, with its number and table."""
        dm, name, udev = device.dm, device.name, device.visibility
        before = self.look(device)
        if self._plan(device, Step(Command.DEV_REMOVE, name)):
            self._planned[name] = None
            return
        undo = partial(self._kernel.remake, dm, before, udev) if before else nothing
        self._do(name, lambda: self._kernel.remove(dm, name, udev, patience), undo)

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
        text, flags = message.format(), _hidden(message)
        shown = "" if message.keyed else text
        if self._plan(device, Step(Command.TARGET_MSG, name, shown, (), flags, sector)):
            return None
        back = "" if undo is None else undo.format()
        hidden = _hidden(undo)
        answer = dm.message(name, text, sector=sector, flags=flags)
        # only now: to take back what somebody else has said would be worse than a leak
        if back:
            # by no name: it can be taken back also where the device has settled
            self.otherwise(lambda: dm.message(name, back, sector=sector, flags=hidden))
        return answer.text

    # How it is done

    def _plan(self, _device: Named, step: Step) -> bool:
        """Note a step; say whether that is all."""
        self.steps.append(step)
        return self.dry

    def _do(self, name: str, command: Callable[[], object], undo: Callable[[], object]) -> None:
        """Carry out a command; it is to be undone also where an interrupt came as it returned."""
        self.ledger.add(name, undo)
        try:
            command()
        except (CommandError, UdevError):
            self.ledger.steps.pop()  # refused: there is nothing to undo
            raise

    def mark(self) -> int:
        """Where we are, for `undo_to`."""
        return len(self.ledger.steps)

    def undo_to(self, mark: int, error: BaseException | None = None) -> None:
        """Undo everything since a mark, the last step first; all of it, whatever fails."""
        self.ledger.undo_to(mark, error)


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
        inner = outer.inner()
        try:
            with _undone_if_it_fails(inner):
                yield inner
        finally:
            outer.ledger.take_over(inner.ledger)
        return
    change = Change(udev or Udev())
    with change.cookie, _undone_if_it_fails(change):
        yield change


@contextmanager
def _undone_if_it_fails(change: Change) -> Iterator[None]:
    token = _current.set(change)
    try:
        yield
    except BaseException as error:
        change.undo_to(0, error)
        raise
    finally:
        _current.reset(token)


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


def _hidden(message: TargetMessage | None) -> Flags:
    return Flags.SECURE_DATA if message is not None and message.keyed else NO_FLAGS
