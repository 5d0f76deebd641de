"""The logs of mirror: which regions are in sync (drivers/md/dm-log.c, dm-log-userspace-base.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from dmwatch.names import UUID_MAX, to_bytes
from dmwatch.targets.words import (
    U32_MAX,
    Device,
    Words,
    check_range,
    check_word,
    power_of_two,
    require,
)
from dmwatch.units import Sectors

TYPE = "mirror"
REGION_MIN = 2


class MirrorSync(StrEnum):
    """What a log takes the legs for when it is made."""

    SYNC = "sync"
    """Not in sync: copy everything, whatever the log on disk says."""
    NOSYNC = "nosync"
    """In sync: copy nothing."""


@dataclass(frozen=True, slots=True)
class CoreLog:
    """A log in memory: everything is copied again after each activation.

    Attributes:
        region_size: 2 to 4,294,967,295 sectors, a power of two.
        sync: what is said about the legs, or None for what the log itself says.
    """

    region_size: Sectors
    sync: MirrorSync | None = None

    def check(self) -> None:
        """Hold create_log_context's rules against the values. Raises InvalidTableError."""
        _check_region(self.region_size)

    def words(self) -> list[str]:
        """Its part of the table."""
        return _counted("core", [*_region_words(self)])


@dataclass(frozen=True, slots=True)
class DiskLog:
    """A log on a device of its own.

    Attributes:
        device: which; it holds a header of 1 KiB and one bit for each region.
        region_size: 2 to 4,294,967,295 sectors, a power of two.
        sync: what is said about the legs, or None for what the log itself says.
    """

    device: Device
    region_size: Sectors
    sync: MirrorSync | None = None

    def check(self) -> None:
        """Hold disk_ctr's rules against the values. Raises InvalidTableError."""
        check_word(TYPE, "log device", self.device)
        _check_region(self.region_size)

    def words(self) -> list[str]:
        """Its part of the table."""
        return _counted("disk", [str(self.device), *_region_words(self)])


@dataclass(frozen=True, slots=True)
class UserspaceLog:
    """A log that a daemon keeps (cmirrord).

    Attributes:
        uuid: 1 to 128 bytes.
        arguments: two words or more: `integrated_flush` where it is asked for, then the daemon's.
    """

    uuid: str
    arguments: tuple[str, ...]

    @property
    def integrated_flush(self) -> bool:
        """Marks and flushes go to the daemon in one request."""
        return bool(self.arguments) and self.arguments[0].lower() == "integrated_flush"

    def check(self) -> None:
        """Hold userspace_ctr's rules against the values. Raises InvalidTableError."""
        uuid = check_word(TYPE, "log uuid", self.uuid)
        require(
            len(to_bytes(uuid) or b"") <= UUID_MAX,
            TYPE,
            "log uuid",
            f"has {UUID_MAX} bytes at most",
        )
        require(len(self.arguments) > 1, TYPE, "log arguments", "must be two words or more")
        for word in self.arguments:
            check_word(TYPE, "log arguments", word)

    def words(self) -> list[str]:
        """Its part of the table."""
        return _counted("userspace", [self.uuid, *self.arguments])


@dataclass(frozen=True, slots=True)
class OtherLog:
    """A log of a kernel module that dmwatch does not know.

    Attributes:
        type: its name; the kernel asks for the module `dm-log-<type>`.
        arguments: its words.
    """

    type: str
    arguments: tuple[str, ...] = ()

    def check(self) -> None:
        """Hold dm_dirty_log_create's rules against the values. Raises InvalidTableError."""
        known = check_word(TYPE, "log", self.type) in _READERS
        require(not known, TYPE, "log", f"{self.type!r} has a class of its own")
        for word in self.arguments:
            check_word(TYPE, "log arguments", word)

    def words(self) -> list[str]:
        """Its part of the table."""
        return _counted(self.type, list(self.arguments))


MirrorLog = CoreLog | DiskLog | UserspaceLog | OtherLog


def parse_log(words: Words) -> MirrorLog:
    """Read the log at the beginning of a table."""
    kind = words.word("log")
    number = words.count("#log")
    end = words.left - number
    found = _READERS[kind](words, number) if kind in _READERS else _other(words, kind, number)
    if words.left != end:
        words.fail("#log", f"announces {number} words where the {kind} log has others")
    return found


def _core(words: Words, number: int) -> CoreLog:
    return CoreLog(*_region(words, number))


def _disk(words: Words, number: int) -> DiskLog:
    return DiskLog(words.device("log device"), *_region(words, number - 1))


def _userspace(words: Words, number: int) -> UserspaceLog:
    return UserspaceLog(words.word("log uuid"), words.take("log arguments", max(number - 1, 0)))


def _other(words: Words, kind: str, number: int) -> OtherLog:
    return OtherLog(kind, words.take("log arguments", number))


_READERS: dict[str, Callable[[Words, int], MirrorLog]] = {
    "core": _core,
    "disk": _disk,
    "userspace": _userspace,
}


def _region(words: Words, number: int) -> tuple[Sectors, MirrorSync | None]:
    size = Sectors(words.number("region_size"))
    return size, words.choice("sync", MirrorSync) if number > 1 else None


def _check_region(size: Sectors) -> None:
    number = check_range(TYPE, "region_size", size, REGION_MIN, U32_MAX)
    require(power_of_two(number), TYPE, "region_size", "must be a power of two")


def _region_words(log: CoreLog | DiskLog) -> Iterator[str]:
    yield str(int(log.region_size))
    if log.sync:
        yield log.sync.value


def _counted(kind: str, words: list[str]) -> list[str]:
    return [kind, str(len(words)), *words]
