"""Keeping the daemon's memory from being paged out: it may watch the disk that it runs from.

First everything that is mapped now is read in and locked. What is mapped later is locked page by
page as it is used (MCL_ONFAULT): otherwise each thread would at once take its whole stack of 8 MiB.
"""

from __future__ import annotations

import ctypes
import os
import resource
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
    _mlockall(MCL_CURRENT)
    _mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)


def _unlimited() -> bool:
    # with a limit, a lock of the future would make some later allocation fail
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return soft == resource.RLIM_INFINITY or bool(_capabilities() >> _CAP_IPC_LOCK & 1)


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _mlockall(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(flags):
        problem = os.strerror(ctypes.get_errno())
        raise DmwatchError(
            f"the memory cannot be locked: {problem}",
            hint="LimitMEMLOCK=infinity in the unit, or lock_memory = false",
        )
