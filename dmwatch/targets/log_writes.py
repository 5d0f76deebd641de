"""log-writes: every write is also written to a log (drivers/md/dm-log-writes.c).

Table   `<device> <log device>`
Status  `<logged entries> <last sector of the log>[ logging_disabled]`; it raises no events

A write error of the log, a full log and a failed allocation end the logging for good, until the
table is loaded anew; the writes themselves go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from dmwatch.errors import InvalidMessageError, StatusParseError, TableParseError
from dmwatch.names import to_bytes
from dmwatch.severity import Severity
from dmwatch.targets.base import (
    Finding,
    Observation,
    Seen,
    Target,
    TargetMessage,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import ConditionType
from dmwatch.targets.words import Device, Words, check_word, quoted
from dmwatch.units import Sectors

MARK_MAX: Final = 479  # a block of 512 bytes less the entry's 32 and the closing NUL


@dataclass(frozen=True, slots=True)
class LogWritesTable(TargetTable):
    """What is logged where.

    Attributes:
        device: the device below.
        log: the device of the log.
    """

    type: ClassVar[str] = "log-writes"
    device: Device
    log: Device

    @classmethod
    def parse(cls, text: str) -> LogWritesTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(words.device("device"), words.device("log"), raw=text)
        words.end()
        return table

    def check(self) -> None:
        """Hold log_writes_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "device", self.device)
        check_word(self.type, "log", self.log)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        return f"{self.device} {self.log}"


@dataclass(frozen=True, slots=True)
class LogWritesStatus(TargetStatus):
    """How far the log is.

    Attributes:
        logged_entries: entries in the log.
        last_sector: the last sector of the log in use; 0 where it is empty.
        logging_disabled: nothing more is logged.
    """

    logged_entries: int
    last_sector: Sectors
    logging_disabled: bool


def parse_status(text: str) -> LogWritesStatus:
    """Read a log-writes' status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("log-writes", text, StatusParseError)
    return LogWritesStatus(
        logged_entries=words.number("logged_entries"),
        last_sector=Sectors(words.number("last_sector")),
        logging_disabled=words.accept("logging_disabled") is not None,
        extra=words.rest(),
    )


@dataclass(frozen=True, slots=True)
class Mark(TargetMessage):
    """Write a mark into the log, to find the place again on replay.

    Attributes:
        text: 1 to 479 bytes; more would be cut off on a device with blocks of 512 bytes.
    """

    text: str

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        word, size = quoted(self.text), len(to_bytes(self.text) or b"")
        if not 1 <= size <= MARK_MAX or "\x00" in self.text:
            rule = f"must be 1 to {MARK_MAX} bytes without NUL, not {size}"
            raise InvalidMessageError(f"log-writes: text {rule}")
        return f"mark {word}"


@dataclass(frozen=True, slots=True)
class LoggedData:
    """For logging-disabled: what the log holds."""

    logged_entries: int
    last_sector: Sectors


def observe(seen: Seen) -> Observation:
    """Say what stands on a log-writes as seen now."""
    status = seen.status
    if not isinstance(status, LogWritesStatus) or not status.logging_disabled:
        return Observation()
    summary = f"writes are no longer logged: the log ends after {status.logged_entries} entries"
    data = LoggedData(status.logged_entries, status.last_sector)
    return Observation((Finding(_DISABLED.type, Severity.ERROR, summary, data=data),))


_DISABLED = ConditionType(
    "log-writes.logging-disabled",
    (Severity.ERROR,),
    LoggedData,
    advice="Look in the kernel log for errors of the log device, give it more room where it is "
    "full, then load the table anew.",
)

TARGET = Target(
    type="log-writes",
    module="dm-log-writes",
    since="5.10",
    summary="every write is also written to a log",
    table=LogWritesTable.parse,
    status=parse_status,
    tables=(LogWritesTable,),
    statuses=(LogWritesStatus,),
    messages=(Mark,),
    observe=observe,
    conditions=(_DISABLED,),
)
