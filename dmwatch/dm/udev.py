"""In step with udev: cookies.

A command that sends a uevent can carry a cookie, a number that names a System V semaphore. udev's
rules count the semaphore down when they are through with the uevent (95-dm-notify.rules runs
`dmsetup udevcomplete`). Who waits for it to reach zero finds the links under /dev as they shall be,
and no rule has the device open any more.

    value   0 -> 1 ours -> +1 for each command -> udev: -1 for each uevent -> ours: -1 -> 0, removed

A command that sends no uevent is counted down at once, as nobody else will. One cookie serves many
commands. All that this process counts up is undone by the kernel when the process dies (SEM_UNDO),
so that an abandoned semaphore stands at zero and can be told from one that is in use: `sweep`
removes it.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from dmwatch.errors import UdevError, UdevTimeoutError
from dmwatch.ioctl.abi import NO_UDEV_FLAGS, UdevFlags

try:
    _ipc: Any = import_module("sysv_ipc")
except ImportError:  # the extra `udev` is not installed
    _ipc = None

MAGIC = 0x0D4D
"""Upper half of the semaphore's key (libdm: DM_COOKIE_MAGIC)."""
PUBLIC = NO_UDEV_FLAGS
"""udev treats the device as it treats disks: it is probed, and linked under /dev/disk."""
PRIVATE = (
    UdevFlags.DISABLE_SUBSYSTEM_RULES | UdevFlags.DISABLE_DISK_RULES | UdevFlags.DISABLE_OTHER_RULES
)
"""Nobody looks into the device: a building block. It is linked under /dev/mapper all the same."""

_TRIES = 64
_MOST = 16384
"""Commands for one semaphore: it counts to 32,767, and so does what is undone at our death."""
_POLL_FIRST, _POLL_LONGEST = 0.0005, 0.02
_SEMAPHORES = "/proc/sysvipc/sem"
_LIMITS = "/proc/sys/kernel/sem"


class Answer(Protocol):
    """What a command answers: it says whether the kernel sent a uevent."""

    @property
    def uevent_generated(self) -> bool:
        """A uevent was sent."""


A = TypeVar("A", bound=Answer)


class Udev:
    """How to keep in step with udev.

    It is waited for where udevd runs, semaphores can be had (the extra `udev` is installed) and
    DM_DISABLE_UDEV is not set in the environment. Where not, commands carry their flags and nobody
    waits: that is no error.

    Args:
        timeout: seconds to wait for udev after the commands of one cookie.
        control: the file that is there while udevd runs; None: wait for nobody.
    """

    def __init__(self, *, timeout: float = 60.0, control: str | None = "/run/udev/control") -> None:
        self.timeout = timeout
        self._control = None if control is None else Path(control)

    @property
    def active(self) -> bool:
        """Somebody is there to wait for, and a way to do it."""
        return (
            "DM_DISABLE_UDEV" not in os.environ
            and self._control is not None
            and self._control.exists()
            and _ipc is not None
            and _semaphores_are_allowed()
        )

    def cookie(self) -> Cookie:
        """A cookie for the commands of one change."""
        return Cookie(self.timeout if self.active else None)


class Cookie:
    """One cookie for any number of commands: a context manager, which waits for udev at its end.

    The semaphore is made with the first command. It is removed on every way out: after the
    wait, when time is up, and at once when the block is left by a KeyboardInterrupt or the like.

    Args:
        timeout: seconds to wait at the end; None: nobody is waited for, there is no semaphore.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._semaphore: Any = None
        self._key = MAGIC << 16
        self._carried = 0
        self._opening = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            self.drop()
        elif error is None:
            self.wait()
        else:
            # the first error counts
            with suppress(UdevTimeoutError):
                self.wait()

    @property
    def number(self) -> int:
        """What the commands carry: the lower 16 bits of the key; 0 where nobody waits."""
        return self._key & 0xFFFF

    def carry(self, command: Callable[[int], A]) -> A:
        """Carry out a command with the cookie's number.

        Args:
            command: called with the number.

        Raises:
            UdevError: no semaphore can be had. The command was not carried out.
        """
        number = self._counted_up()
        try:
            answer = command(number)
        except BaseException:
            self._count(up=False)
            raise
        if not answer.uevent_generated:
            self._count(up=False)
        return answer

    def wait(self) -> None:
        """Wait until udev is through with everything so far, and give up the semaphore.

        A semaphore that somebody else has removed counts as reached (`dmsetup udevcomplete_all`).

        Raises:
            UdevTimeoutError: time is up. The commands were carried out.
        """
        if self._semaphore is None or self._timeout is None:
            return
        try:
            self._count(up=False)
            if not self._falls_to(0, time.monotonic() + self._timeout):
                raise UdevTimeoutError(
                    f"udev did not finish within {self._timeout:g} s; the change itself was made, "
                    "but links under /dev may be missing or old",
                    because="udevd hangs, was stopped or killed, or runs in another container",
                    hint="systemctl status systemd-udevd, then udevadm trigger",
                )
        finally:
            self.drop()

    def caught_up(self, deadline: float) -> bool:
        """Wait until udev is through with everything so far; what it is not stays owed to `wait`.

        Args:
            deadline: on the monotonic clock, until which it may take.
        """
        return self._semaphore is None or self._falls_to(1, deadline)

    def drop(self) -> None:
        """Give up the semaphore without a wait. Doing it twice does no harm."""
        semaphore, self._semaphore = self._semaphore, None
        self._key, self._carried = MAGIC << 16, 0
        if semaphore is not None:
            with suppress(_ipc.Error):
                semaphore.remove()

    def _counted_up(self) -> int:
        """The number for a command, for which the semaphore counts one more."""
        with self._opening:
            if self._carried == _MOST:
                self._renew()
            self._open()
            self._carried += 1
            self._count(up=True)
            return self.number

    def _renew(self) -> None:
        try:
            self.wait()
        except UdevTimeoutError as error:
            raise UdevError(
                f"udev did not finish within {self._timeout:g} s with the {_MOST} commands so far",
                because=error.because,
                hint=error.hint,
            ) from error

    def _open(self) -> None:
        if self._timeout is None or self._semaphore is not None:
            return
        try:
            self._key, self._semaphore = _new_semaphore()
        except UdevError:
            # what has to be undone now is carried out without a wait
            self._timeout = None
            raise
        self._count(up=True)

    def _count(self, *, up: bool) -> None:
        """Count our own semaphore up or down; one that is gone counts no more."""
        if self._semaphore is None:
            return
        with suppress(_ipc.ExistentialError, _ipc.BusyError):
            if up:
                self._semaphore.release()
            else:
                self._semaphore.acquire()

    def _falls_to(self, value: int, deadline: float) -> bool:
        # asked again and again: a time limit within semop(2) is not everywhere to be had
        pause = _POLL_FIRST
        try:
            while self._semaphore.value > value:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(pause)
                pause = min(pause * 1.5, _POLL_LONGEST)
        except _ipc.ExistentialError:
            pass
        return True


def sweep(*, older_than: float = 60.0, abandoned: bool = True) -> list[int]:
    """Remove cookies that were left behind, and give their numbers.

    Args:
        older_than: seconds since their last use; younger ones stay.
        abandoned: remove those only that nobody waits for any more, as far as that can be told: who
            made them is dead or has finished. False: remove all, so that whoever waits in vain
            goes on.
    """
    if _ipc is None:
        return []
    swept = []
    for key, semid in _cookies(older_than):
        try:
            semaphore = _ipc.Semaphore(key)
            if abandoned and (semaphore.value or semaphore.waiting_for_zero):
                continue
            _ipc.remove_semaphore(semid)
        except (_ipc.Error, OSError):
            continue
        swept.append(key & 0xFFFF)
    return swept


def _cookies(older_than: float) -> list[tuple[int, int]]:
    """Key and identifier of each cookie's semaphore that was not used lately."""
    try:
        lines = Path(_SEMAPHORES).read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    found = []
    for key, semid, *_, used, changed in (map(int, line.split()) for line in lines):
        age = time.time() - max(used, changed)
        if key >> 16 == MAGIC and age >= older_than:
            found.append((key, semid))
    return found


def _new_semaphore() -> tuple[int, Any]:
    """Make a semaphore at zero whose counts are undone when this process dies.

    Raises:
        UdevError: none can be had.
    """
    sweep()
    reason: Exception | None = None
    for _ in range(_TRIES):
        key = MAGIC << 16 | (secrets.randbelow(0xFFFF) + 1)
        try:
            semaphore = _ipc.Semaphore(key, _ipc.IPC_CREX, mode=0o600, initial_value=0)
        except _ipc.ExistentialError as error:  # the number is taken
            reason = error
            continue
        except (_ipc.Error, OSError, MemoryError) as error:
            reason = error
            break
        semaphore.undo, semaphore.block = True, False
        return key, semaphore
    raise UdevError(
        f"no semaphore can be had to wait for udev: {reason}; nothing was changed",
        because="others have used up the system's semaphores",
        hint="look at `ipcs -s`; `dmsetup udevcomplete_all` removes old cookies",
    ) from reason


def _semaphores_are_allowed() -> bool:
    """Whether the limits semmsl, semmns and semmni leave room for any; they can be set to 0."""
    try:
        words = Path(_LIMITS).read_text(encoding="ascii").split()
        return all(int(words[i]) for i in (0, 1, 3))
    except (OSError, ValueError, IndexError):
        return False
