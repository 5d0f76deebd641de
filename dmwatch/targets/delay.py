"""delay: reads, writes and flushes are held back for a while (drivers/md/dm-delay.c).

Table   one, two or three times `<device> <start> <delay>`: for all; for reads, and for writes and
        flushes; for reads, writes and flushes
Status  `<reads> <writes> <flushes>`: how many are held back at this moment; it raises no events
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.targets.base import Notice, Target, TargetStatus, TargetTable
from dmwatch.targets.words import U32_MAX, Device, Words, check_range, check_word, require
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class DelayPath:
    """Where one kind of I/O goes, and when.

    Attributes:
        device: the device below.
        start: the first sector there.
        delay: how long it is held back, in milliseconds; 0 for not at all.
    """

    device: Device
    start: Sectors
    delay: int


@dataclass(frozen=True, slots=True)
class DelayTable(TargetTable):
    """The paths of reads, writes and flushes.

    Attributes:
        reads: the path of reads, and of everything that has none of its own.
        writes: the path of writes, or None: as reads.
        flushes: the path of flushes, or None: as writes. Only where writes have one.
    """

    type: ClassVar[str] = "delay"
    reads: DelayPath
    writes: DelayPath | None = None
    flushes: DelayPath | None = None

    @classmethod
    def parse(cls, text: str) -> DelayTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            reads=_path(words, "reads"),
            writes=_path(words, "writes") if words.left else None,
            flushes=_path(words, "flushes") if words.left else None,
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold delay_ctr's rules against the values. Raises InvalidTableError."""
        ordered = self.flushes is None or self.writes is not None
        require(ordered, self.type, "flushes", "can have a path only where writes have one")
        for name in ("reads", "writes", "flushes"):
            path: DelayPath | None = getattr(self, name)
            if path:
                check_word(self.type, f"{name}.device", path.device)
                check_range(self.type, f"{name}.start", path.start)
                check_range(self.type, f"{name}.delay", path.delay, 0, U32_MAX)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        paths = (self.reads, self.writes, self.flushes)
        return " ".join(f"{p.device} {int(p.start)} {p.delay}" for p in paths if p)


def _path(words: Words, name: str) -> DelayPath:
    return DelayPath(
        device=words.device(f"{name}.device"),
        start=Sectors(words.number(f"{name}.start")),
        delay=words.number(f"{name}.delay"),
    )


@dataclass(frozen=True, slots=True)
class DelayStatus(TargetStatus):
    """What is held back at this moment: a level, not a count of all.

    Attributes:
        reads: reads held back.
        writes: writes held back.
        flushes: flushes held back.
    """

    reads: int
    writes: int
    flushes: int


def parse_status(text: str) -> DelayStatus:
    """Read a delay's status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("delay", text, StatusParseError)
    return DelayStatus(
        reads=words.number("reads"),
        writes=words.number("writes"),
        flushes=words.number("flushes"),
        extra=words.rest(),
    )


TARGET = Target(
    type="delay",
    module="dm-delay",
    since="5.10",
    summary="reads, writes and flushes are held back for a while",
    table=DelayTable.parse,
    status=parse_status,
    tables=(DelayTable,),
    statuses=(DelayStatus,),
    notice=Notice.POLL,
    poll=None,
)
