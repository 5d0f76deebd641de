"""A deputy for the main process while a thread of it hangs in the kernel.

Theory of operation. A thread that sleeps in the kernel for ever outlives SIGKILL, and the process
whose thread it is stays a zombie until it returns. The service manager waits for its main process,
four times TimeoutStopSec= in all, before it starts another one: watching would be away for 20 s.
So as long as a thread hangs the manager is told of another main process (MAINPID=), a deputy that
does nothing but pass signals on and end when the daemon ends. That the manager sees at once.

A disk that is only slow puts threads to sleep, too, for a moment. So a thread counts as hung when
it is seen twice in the same sleep.

The deputy must be the manager's own child, or its end would not be seen: hence the second fork. It
takes no descriptor along, and it looks every half second whether the daemon is still there: the
daemon's death cannot be waited for, as it may never be complete.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from dmwatch.service import logs
from dmwatch.service.notify import Notifier

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOOK_SECONDS = 0.5
_TASKS = Path("/proc/self/task")

Sleep = tuple[str, str]
"""A thread's id, and how often it has gone to sleep."""


class Deputy:
    """Puts a deputy in place while a thread hangs, and withdraws it after.

    Args:
        notifier: tells the service manager; where there is none nothing is done.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._pid: int | None = None
        self._asleep: set[Sleep] = set()

    @property
    def undecided(self) -> bool:
        """Whether a thread may hang: look again soon."""
        return bool(self._asleep) and self._pid is None

    def look(self) -> None:
        """See whether a thread hangs, and do what follows. Never waits, never raises."""
        if not self._notifier.present:
            return
        with suppress(OSError):  # no descriptor or no process more: again at the next look
            before, self._asleep = self._asleep, set(sleeps())
            hung = before & self._asleep
            if hung and self._pid is None:
                self._appoint()
            elif not hung and self._pid is not None:
                self._withdraw()

    def _appoint(self) -> None:
        self._pid = _fork()
        self._notifier.main_process(self._pid)
        logs.get("dmwatch.daemon").warning("a thread hangs in the kernel", deputy=self._pid)

    def _withdraw(self) -> None:
        deputy, self._pid = self._pid, None
        self._notifier.main_process(os.getpid())
        if deputy is not None:
            os.kill(deputy, signal.SIGKILL)
        logs.get("dmwatch.daemon").info("no thread hangs any more")


def sleeps() -> Iterator[Sleep]:
    """Our threads that sleep where no signal reaches them (state `D`)."""
    for task in _TASKS.iterdir():
        with suppress(OSError, KeyError):
            fields = _fields(task / "status")
            if fields["State"].startswith("D"):
                yield task.name, fields["voluntary_ctxt_switches"]


def _fields(path: Path) -> dict[str, str]:
    lines = path.read_text("latin-1").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _fork() -> int:
    """Fork twice; give the grandchild's process id."""
    daemon = os.getpid()
    ours, theirs = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    try:
        with warnings.catch_warnings():
            # the child calls nothing that another thread could hold a lock of
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
            if child == 0:
                _fork_again(daemon, theirs)
        os.waitpid(child, 0)
        os.set_blocking(ours, False)
        # BlockingIOError where the child could not fork: an OSError, too
        return int(os.read(ours, 32))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        os.close(ours)
        os.close(theirs)


def _fork_again(daemon: int, theirs: int) -> NoReturn:
    """Be the child: whatever happens here, nothing of the daemon's own code runs a second time."""
    try:
        grandchild = os.fork()
        if grandchild == 0:
            _stand_in(daemon)
        os.write(theirs, b"%d" % grandchild)
    finally:
        os._exit(0)


def _stand_in(daemon: int) -> NoReturn:
    """Be the deputy; the signals are blocked here, so that they can be waited for."""
    try:
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        while _lives(daemon):
            received = signal.sigtimedwait(PASSED_ON, LOOK_SECONDS)
            if received is not None:
                os.kill(daemon, received.si_signo)
    finally:
        os._exit(0)


def _lives(process: int) -> bool:
    try:
        return _fields(Path(f"/proc/{process}/status"))["State"][0] not in "ZX"
    except (OSError, KeyError):
        return False
