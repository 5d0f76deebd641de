"""The global event counter, and who polls it.

Each open file keeps the value that it was last armed with, and is readable while the counter is
ahead of that. An eventfd plays the file: its own counter is not 0 for as long.
"""

from __future__ import annotations

import os


class OpenFile:
    """An open control node, as poll(2) sees it."""

    fd = -1

    def __init__(self, events: GlobalEvents) -> None:
        self._events = events
        self._armed = events.count
        self._readable = False
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def arm(self) -> None:
        """From now on only what happens from now on makes it readable."""
        self._armed = self._events.count
        self.update()

    def update(self) -> None:
        """Keep the descriptor in step with the counter."""
        readable = self._events.count > self._armed
        if self.fd < 0 or readable == self._readable:
            return
        self._readable = readable
        if readable:
            os.eventfd_write(self.fd, 1)
        else:
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Give up the descriptor. Closing twice does no harm."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._events.forget(self)
            os.close(fd)

    def __del__(self) -> None:
        # a test that drops its kernel as it is leaves no descriptor behind
        self.close()


class GlobalEvents:
    """The counter that moves with everything that poll(2) tells.

    Attributes:
        count: events since the fake kernel began.
    """

    def __init__(self) -> None:
        self.count = 0
        self._files: list[OpenFile] = []

    def open(self) -> OpenFile:
        """Open the control node: nothing from before is told."""
        opened = OpenFile(self)
        self._files.append(opened)
        return opened

    def forget(self, opened: OpenFile) -> None:
        """Stop telling a file that was closed."""
        self._files.remove(opened)

    def happen(self) -> None:
        """Tell every open file."""
        self.count += 1
        for opened in self._files:
            opened.update()
