"""A deputy for the main process while a thread of it hangs in the kernel.

Theory of operation. A thread that sleeps in the kernel for ever outlives SIGKILL, and the process
whose thread it is stays a zombie until it returns. The service manager waits for its main process,
four times TimeoutStopSec= in all, before it starts another one: watching would be away for 20 s.
So as long as a thread hangs the manager is told of another main process (MAINPID=), a deputy that
does nothing but pass signals on and end when the daemon ends. That the manager sees at once.

It must be the manager's own child, or its end would not be seen: hence the second fork. It takes no
descriptor along, and it looks every half second whether the daemon is still there: the daemon's
death cannot be waited for, as it may never be complete.
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


class Deputy:
    """Puts a deputy in place while a thread hangs, and withdraws it after.

    Args:
        notifier: tells the service manager; where there is none nothing is done.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._pid: int | None = None

    def look(self) -> None:
        """See whether a thread hangs, and do what follows. Never waits, never raises."""
        if not self._notifier.present:
            return
        hung = any(state == "D" for state in thread_states())
        with suppress(OSError):
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


def thread_states() -> Iterator[str]:
    """The state of each of our threads, as /proc has it: `D` sleeps and cannot be killed."""
    for task in _TASKS.iterdir():
        with suppress(OSError):
            yield _state(task / "stat")


def _state(path: Path) -> str:
    # the name in parentheses may hold anything, also parentheses
    return path.read_text("latin-1").rpartition(")")[2].split()[0]


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
                grandchild = os.fork()
                if grandchild == 0:
                    _stand_in(daemon)
                os.write(theirs, b"%d" % grandchild)
                os._exit(0)
        os.waitpid(child, 0)
        return int(os.read(ours, 32))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        os.close(ours)
        os.close(theirs)


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
        return _state(Path(f"/proc/{process}/stat")) not in {"Z", "X"}
    except OSError:
        return False
