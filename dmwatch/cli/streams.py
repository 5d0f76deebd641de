"""Standard input, output and error: such that every failure of theirs is a sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from dmwatch.errors import DmwatchError


class OutputError(DmwatchError, OSError):
    """Standard output cannot be written: a full disk, a stream that is closed."""

    def __init__(self, error: OSError) -> None:
        DmwatchError.__init__(self, f"the output cannot be written: {error.strerror}")
        self.errno, self.strerror = error.errno, error.strerror


class _Output(TextIOWrapper):
    """Standard output that tells by an OutputError what it cannot write."""

    def write(self, text: str) -> int:
        with _told():
            return super().write(text)

    def flush(self) -> None:
        with _told():
            super().flush()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error) from None


def prepare() -> None:
    """Make the standard streams ready for a command.

    A terminal's encoding may lack a character of a device's name: it is escaped.
    """
    _replace_closed()
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    found = sys.stdout
    if isinstance(found, TextIOWrapper):
        encoding, at_once = found.encoding, found.line_buffering
        sys.stdout = _Output(found.detach(), encoding, "backslashreplace", line_buffering=at_once)


def _replace_closed() -> None:
    """Put something in the place of streams that are closed, so that no file gets their numbers.

    Input and output are opened the wrong way round: to use them fails, as it does where they are
    closed.
    """
    for name, mode, flags in (
        ("stdin", "r", os.O_WRONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))


def drop_output() -> None:
    """Throw away what was not written: Python flushes at its own end too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
