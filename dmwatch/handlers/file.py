"""`file`: each event as a line of JSON, appended to a file that is rotated by its size."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from pydantic import ByteSize, Field

from dmwatch.events import Event
from dmwatch.handlers.base import Handler, HandlerSettings, Retry
from dmwatch.handlers.paths import AbsolutePath
from dmwatch.handlers.threads import Thread

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MODE = 0o640


class FileSettings(HandlerSettings):
    """What can be chosen about `file`."""

    path: AbsolutePath = Field(description="the file; made where missing, with mode 0640")
    max_size: ByteSize = Field(
        default=ByteSize(10 * 1024**2), ge=4096, description="it is rotated before it gets larger"
    )
    keep: int = Field(
        default=5, ge=1, le=1000, strict=True, description="so many old ones: path.1 is the last"
    )
    sync: bool = Field(
        default=False,
        strict=True,
        description="each line is on the disk before the event is done with",
    )


class FileHandler(Handler[FileSettings]):
    """Appends events to a file. A thread of its own writes: a hung disk holds up nothing else."""

    Settings = FileSettings
    _thread: Thread | None = None
    _file: LogFile | None = None

    async def open(self) -> None:
        """Open the file.

        Raises:
            Retry: it cannot be opened or written now.
        """
        self._thread = Thread(f"dmwatch-file-{self.name}")
        self._file = LogFile(self.settings)
        await self._do(self._file.reopen)

    async def handle(self, event: Event) -> None:
        """Append one line, all of it or nothing.

        Raises:
            Retry: it cannot be written now.
        """
        line = event.json_line().encode() + b"\n"
        if self._file is not None:
            await self._do(partial(self._file.append, line))

    async def close(self) -> None:
        """Close the file, once what is being written is written."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            if self._file is not None:
                with suppress(Retry):
                    await thread.call(self._file.close)
        finally:
            thread.close()

    async def _do(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            raise Retry(reason="it is closed")
        try:
            await self._thread.call(work)
        except OSError as error:
            raise Retry(reason=f"{self.settings.path}: {error.strerror or error}") from error


class LogFile:
    """A file that lines are appended to. Its methods block.

    Args:
        settings: path, size, how many to keep.
    """

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings
        self._path = settings.path
        self._fd = -1
        self._regular = True

    def append(self, line: bytes) -> None:
        """Append a line; a part of it is taken back where not all of it fits.

        Raises:
            OSError: it cannot be written.
        """
        if self._moved():
            self.reopen()
        if self._regular and 0 < self._size() > self._settings.max_size - len(line):
            self._rotate()
        self._write(line)
        if self._settings.sync and self._regular:
            os.fdatasync(self._fd)

    def reopen(self) -> None:
        """Open the file anew.

        Raises:
            OSError: it cannot be opened.
        """
        self.close()
        # O_NONBLOCK: a fifo that nobody reads is refused instead of waited for
        self._fd = os.open(self._path, _FLAGS, _MODE)
        self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        if self._regular:
            self._end_broken_line()

    def _end_broken_line(self) -> None:
        """A daemon killed while it wrote left a part of a line, which the next would continue."""
        # an empty file has no last byte: that is an OSError, too
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                os.write(self._fd, b"\n")

    def close(self) -> None:
        """Close the file; nothing happens where it is closed."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _write(self, line: bytes) -> None:
        before = self._size()
        rest = line
        try:
            # what does not take all of it says at the next piece why: no space, or a limit
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._take_back(before)
            raise

    def _take_back(self, size: int) -> None:
        if self._regular:
            with suppress(OSError):
                os.ftruncate(self._fd, size)

    def _size(self) -> int:
        return os.fstat(self._fd).st_size

    def _moved(self) -> bool:
        """Whether somebody else rotated or removed it, or it is not open."""
        if self._fd < 0:
            return True
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def _rotate(self) -> None:
        for number in range(self._settings.keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._old(number).replace(self._old(number + 1))
        self._path.replace(self._old(1))
        self.reopen()

    def _old(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
