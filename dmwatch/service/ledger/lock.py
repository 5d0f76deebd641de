"""One daemon for one journal: a lock that the kernel lets go of when its owner is killed.

Theory of operation. A lock on a file lives as long as the open file, and that as long as some
thread of the process has the table of descriptors it stands in. A thread that sleeps in the kernel
for ever (a status call on a device that does not answer) outlives SIGKILL, and with it the table
that it shares: a lock taken in the ordinary way would keep a successor out until the device comes
back. So the lock is taken by a thread with a table of its own that holds nothing else. It waits,
interruptible, until it is asked to let go; when the process is killed it ends at once, and its
table and the lock with it.

That thread waits within one C call: Python code that it ran could come to close a descriptor of
some garbage, and would close it in the wrong table.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import threading
from pathlib import Path

from dmwatch.errors import AlreadyRunningError, DmwatchError

_CLONE_FILES = 0x400
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT})


class Lock:
    """The lock on a journal.

    Args:
        path: of the lock's file; it is made where it is missing, and stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._until = threading.Lock()
        self._thread: threading.Thread | None = None
        self._answered = threading.Event()
        self._error: OSError | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours."""
        return self._thread is not None and self._answered.is_set() and self._error is None

    def take(self) -> None:
        """Take it, or find that it is taken. May hang as long as the file system does.

        Raises:
            AlreadyRunningError: another process has it.
            OSError: the file cannot be had.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        self._answered.clear()
        self._error = None
        self._until = threading.Lock()
        self._until.acquire()  # released when it is to be let go
        self._thread = threading.Thread(
            target=self._hold, args=(libc,), name="dmwatch-lock", daemon=True
        )
        self._thread.start()
        self._answered.wait()
        self._check()

    def release(self) -> None:
        """Let it go; nothing happens where it is not held."""
        if self.held and self._thread is not None:
            self._until.release()
            self._thread.join()
            self._thread = None

    def _check(self) -> None:
        if self._error is None:
            return
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error.errno == errno.EWOULDBLOCK:
            raise _taken(self._path)
        raise self._error

    def _hold(self, libc: ctypes.CDLL) -> None:
        # a signal handled here would wake nobody: its pipe is not in this thread's table
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        if libc.unshare(_CLONE_FILES) == 0:
            os.closerange(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        file = self._try()
        until = self._until
        self._answered.set()
        if file >= 0:
            until.acquire()
            os.close(file)

    def _try(self) -> int:
        file = -1
        try:
            file = _open(self._path)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sign(file)
        except OSError as error:
            self._error = error
            if file >= 0:
                os.close(file)
            return -1
        return file


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        # where nothing can be written it can be locked all the same
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _sign(file: int) -> None:
    """Leave our process number for the one who finds it taken; a lock without it is as good."""
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        return


def _taken(path: Path) -> DmwatchError:
    try:
        process = f"process {int(path.read_text('ascii'))}"
    except (OSError, ValueError):
        process = "another process"
    return AlreadyRunningError(
        f"another daemon keeps the journal {path.with_suffix('')}",
        because=f"{process} is a `dmwatch run` already",
        hint="stop it first, or give this one another [journal] path in a configuration of its own",
    )
