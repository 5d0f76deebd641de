"""Ending a program with everything that it has started.

The whole process group gets SIGKILL; the kernel lets no member of it fork past that. A process that
left for a session of its own is found as a descendant (while its parents live) or by a mark in the
environment that it was started with. What gives itself a new environment after its parents have
ended, or runs as a user whose processes we may not look into, is not found: the service manager
ends that with the unit.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROUNDS = 40
"""So often at most we look for what is left: about two seconds."""
_PAUSE = 0.05
_PROC = Path("/proc")


def kill_group(group: int, number: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal to a process group; False where it has no members."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # there are some, but of another user: setuid programs
        return True
    return True


def hunt(leader: int, mark: bytes) -> int:
    """Kill a program's group, its descendants and what bears its mark.

    Args:
        leader: the program's process id, which is that of its group; not waited for yet.
        mark: `NAME=value` in the environment that it was started with.

    Returns:
        How many processes outside the group were killed.
    """
    killed = 0
    for _ in range(ROUNDS):
        kill_group(leader)
        strays = set(_strays(leader, mark))
        if not strays:
            break
        killed += sum(map(_kill, strays))
        time.sleep(_PAUSE)
    return killed


def _kill(pid: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _strays(leader: int, mark: bytes) -> Iterator[int]:
    """Processes outside the leader's group that descend from it or bear the mark."""
    found = dict(_processes())
    family = {leader}
    for pid, (parent, group, state) in sorted(found.items()):
        if state in {"Z", "X"} or pid == os.getpid():
            continue
        if parent in family or group == leader or _bears(pid, mark):
            family.add(pid)
            if group != leader:
                yield pid


def _processes() -> Iterator[tuple[int, tuple[int, int, str]]]:
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                yield int(entry.name), _stat(Path(entry.path, "stat").read_text("latin-1"))


def _stat(text: str) -> tuple[int, int, str]:
    # the name in parentheses may hold anything, also parentheses
    state, parent, group = text.rpartition(")")[2].split()[:3]
    return int(parent), int(group), state


def _bears(pid: int, mark: bytes) -> bool:
    try:
        with Path(_PROC, str(pid), "environ").open("rb") as file:
            return mark in file.read(1 << 17).split(b"\0")
    except OSError:
        return False
