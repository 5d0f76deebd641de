"""Keeping the daemon's memory from being paged out: it may watch the disk that it runs from.

Everything is locked page by page as it is used (MCL_ONFAULT): locked as a whole, the stack of each
thread would at once take all of its 8 MiB. But what is mapped from files, the interpreter and the
libraries, is read in as a whole: it could not be read later.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from dmwatch.errors import DmwatchError

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14


def lock() -> None:
    """Lock what is mapped now and what will be. To be called again after imports.

    Raises:
        DmwatchError: it is not allowed, or there is too little memory.
    """
    if not _unlimited():
        raise DmwatchError(
            "the memory cannot be locked",
            because="RLIMIT_MEMLOCK is limited and CAP_IPC_LOCK is missing",
            hint="LimitMEMLOCK=infinity in the unit, or lock_memory = false",
        )
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
    for start, end in _mapped_files():
        _check(libc.mlock(ctypes.c_void_p(start), ctypes.c_size_t(end - start)))


def _mapped_files() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text("utf-8", "replace").splitlines():
        place, access, _, _, inode = line.split()[:5]
        if inode != "0" and access[0] == "r":
            start, _, end = place.partition("-")
            yield int(start, 16), int(end, 16)


def _unlimited() -> bool:
    # with a limit, a lock of the future would make some later allocation fail
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return soft == resource.RLIM_INFINITY or bool(_capabilities() >> _CAP_IPC_LOCK & 1)


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _check(result: int) -> None:
    if result:
        problem = os.strerror(ctypes.get_errno())
        raise DmwatchError(
            f"the memory cannot be locked: {problem}",
            hint="LimitMEMLOCK=infinity in the unit, or lock_memory = false",
        )
