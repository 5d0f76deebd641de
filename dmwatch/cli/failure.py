"""Failures as a user meets them: a sentence on stderr and an exit code."""

from __future__ import annotations

from dmwatch.errors import (
    AlreadyRunningError,
    ControlNotPermittedError,
    DeviceBusyError,
    DeviceNotFoundError,
    DmwatchError,
    InterfaceTooOldError,
    InvalidNameError,
    NoDeviceMapperError,
    NotPermittedError,
)

OK, FAILED, USAGE, NOT_FOUND, BUSY, NOT_PERMITTED, TOO_OLD = range(7)

_CODES: tuple[tuple[type[DmwatchError], int], ...] = (
    (DeviceNotFoundError, NOT_FOUND),
    (DeviceBusyError, BUSY),
    (AlreadyRunningError, BUSY),
    (NotPermittedError, NOT_PERMITTED),
    (ControlNotPermittedError, NOT_PERMITTED),
    (InterfaceTooOldError, TOO_OLD),
    (NoDeviceMapperError, TOO_OLD),
    (InvalidNameError, USAGE),
)


class NoSuchDeviceError(DmwatchError):
    """A device was named that is not there."""


class NoSuchHandlerError(DmwatchError):
    """A handler was named that is not configured."""


class NoJournalError(DmwatchError):
    """There is no journal to read."""


class MayNotReadError(DmwatchError):
    """The daemon's socket or its journal may not be read by this user."""


def exit_code(error: DmwatchError) -> int:
    """The exit code for an error: 3 not found, 4 busy, 5 not permitted, 6 too old or none, ..."""
    if isinstance(error, NoSuchDeviceError | NoSuchHandlerError | NoJournalError):
        return NOT_FOUND
    if isinstance(error, MayNotReadError):
        return NOT_PERMITTED
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def sentence(error: DmwatchError) -> str:
    """An error for a person: what failed / most likely because / try this, a line each."""
    lines = [error.what]
    if error.because:
        lines.append(f"  most likely because {error.because}")
    if error.hint:
        lines.append(f"  try this: {error.hint}")
    return "\n".join(lines)
