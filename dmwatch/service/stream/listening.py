"""The socket's file: mode, group, and the one of a daemon that is no more."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
import struct
from pathlib import Path

from dmwatch.errors import AlreadyRunningError, DmwatchError

MODE = 0o660
BACKLOG = 256
_CREDENTIALS = struct.Struct("3i")


def listen(path: Path, group: str | None) -> socket.socket:
    """Make the socket; one that a dead daemon left behind is replaced.

    Args:
        path: of the socket; its folder is made where it is missing.
        group: gets the socket; None: the daemon's own.

    Raises:
        AlreadyRunningError: a daemon listens there.
        DmwatchError: it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_stale(path)
        return _bind(path, group)
    except (OSError, LookupError) as error:
        because = getattr(error, "strerror", None) or str(error)
        raise DmwatchError(
            f"the socket {path} cannot be made",
            because=because,
            hint="another [stream] socket or group in the configuration",
        ) from None


def peer(connection: socket.socket) -> dict[str, int]:
    """Who is at the other end, as the kernel knows: pid, uid, gid."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return dict(zip(("pid", "uid", "gid"), _CREDENTIALS.unpack(raw), strict=True))


def remove(path: Path, listening: int) -> None:
    """Remove the socket's file, unless another one has taken its place.

    Args:
        path: of the socket.
        listening: the inode of the file that `listen` made.
    """
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == listening:
            path.unlink()


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file of that name that is no socket")
    if _is_served(path):
        raise AlreadyRunningError(
            f"another daemon listens on {path}",
            because="`dmwatch run` is running already",
            hint="stop it first, or give this one another [stream] socket",
        )
    path.unlink(missing_ok=True)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # its queue is full: somebody is slow
        return _lives(peer(probe)["pid"])


def _lives(pid: int) -> bool:
    """Whether a process is more than a thread that hangs in the kernel with our old socket."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] not in "ZX"


def _bind(path: Path, group: str | None) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # the file is made with the mode of the socket: it is at no time open to everybody
        os.fchmod(made.fileno(), MODE)
        made.bind(os.fspath(path))
        if group is not None:
            shutil.chown(path, group=group)
        path.chmod(MODE)
        made.listen(BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made
