"""The service manager: telling systemd how the daemon fares, as sd_notify(3) says.

Nothing here raises and nothing waits. What must not be lost (READY, RELOADING, STOPPING) and found
no room goes out again with the next word.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

_LONGEST_STATUS = 1000


class Notifier:
    """Speaks to the service manager; silent where there is none.

    Args:
        environment: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID stand.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._owed: dict[str, str] = {}
        self.watchdog_seconds = _interval(environment)
        """Seconds within which the manager wants a sign of life; None: it wants none."""

    @property
    def present(self) -> bool:
        """Whether there is a service manager."""
        return self._address is not None

    def ready(self, status: str = "") -> None:
        """Started, or done with reloading."""
        self._owed = {"READY": "1"}
        self._tell(status)

    def reloading(self) -> None:
        """Begun to read the configuration anew; `ready` ends it."""
        moment = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._owed = {"RELOADING": "1", "MONOTONIC_USEC": str(moment)}
        self._tell()

    def stopping(self, status: str = "") -> None:
        """Begun to end."""
        self._owed = {"STOPPING": "1"}
        self._tell(status)

    def status(self, status: str) -> None:
        """A sentence for `systemctl status`."""
        self._tell(status)

    def watchdog(self, status: str = "") -> None:
        """A sign of life."""
        self._tell(status, WATCHDOG="1")

    def main_process(self, pid: int) -> None:
        """Another process is the main one now; of systemd's own children."""
        self._tell(MAINPID=str(pid))

    def extend_timeout(self, seconds: float) -> None:
        """Ask for more time to start, reload or stop."""
        self._tell(EXTEND_TIMEOUT_USEC=str(round(seconds * 1e6)))

    def _tell(self, status: str = "", **words: str) -> None:
        said = self._owed | words
        if status:
            said["STATUS"] = " ".join(status.split())[:_LONGEST_STATUS]
        if self._address is not None and _send(self._address, said):
            self._owed = {}


def _send(address: bytes, words: Mapping[str, str]) -> bool:
    data = "\n".join(f"{key}={value}" for key, value in words.items())
    with contextlib.suppress(OSError):
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        with socket.socket(socket.AF_UNIX, kind) as ours:
            ours.sendto(data.encode("utf-8", "backslashreplace"), address)
            return True
    return False


def _address(name: str) -> bytes | None:
    if name.startswith("/"):
        return os.fsencode(name)
    if name.startswith("@"):
        return b"\0" + os.fsencode(name[1:])
    return None


def _interval(environment: Mapping[str, str]) -> float | None:
    owner = environment.get("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid()):
        return None
    try:
        interval = int(environment["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError):
        return None
    return interval if interval > 0 else None
