"""The table of multipath (drivers/md/dm-mpath.c, multipath_ctr)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import TableParseError
from dmwatch.targets.base import TargetTable
from dmwatch.targets.multipath.selectors import check_selector
from dmwatch.targets.words import Device, Words, check_range, check_word, decimal, require

COUNT_MAX = 1024
FEATURE_WORDS_MAX = 8
QUEUE = "queue_if_no_path"
_FLAGS = frozenset({QUEUE, "retain_attached_hw_handler"})
_NUMBERS = {"pg_init_retries": (1, 50), "pg_init_delay_msecs": (0, 60_000)}
_MODES = ("bio", "rq", "mq")


@dataclass(frozen=True, slots=True)
class MultipathPath:
    """A path.

    Attributes:
        device: which.
        arguments: what the group's selector takes for a path. round-robin and queue-length: a
            repeat count; service-time: that, and a relative throughput of 0 to 100;
            historical-service-time: a repeat count; io-affinity: a mask of CPUs in hex.
    """

    device: Device
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MultipathGroup:
    """A group of paths that are alike.

    Attributes:
        selector: what picks the path for an I/O: round-robin, queue-length, service-time,
            historical-service-time, io-affinity, or another module's.
        paths: 1 to 1024, in order, all with the same number of arguments.
        arguments: what the selector takes for the group; historical-service-time: a base weight
            of 0 to 1023, a threshold multiplier.
    """

    selector: str
    paths: tuple[MultipathPath, ...]
    arguments: tuple[str, ...] = ()

    def words(self) -> Iterator[str]:
        """Its words in the table."""
        each = len(self.paths[0].arguments) if self.paths else 0
        yield from (self.selector, str(len(self.arguments)), *self.arguments)
        yield from (str(len(self.paths)), str(each))
        for path in self.paths:
            yield from (str(path.device), *path.arguments)


@dataclass(frozen=True, slots=True)
class MultipathTable(TargetTable):
    """What it covers.

    Attributes:
        groups: in order, up to 1024; none where all paths are gone.
        first_group: the group to use first, counted from 1; 0 where there is none. The kernel
            prints the current or next group here.
        features: words as requested, in order, 8 at most: queue_if_no_path, pg_init_retries 1 to
            50, pg_init_delay_msecs 0 to 60000, retain_attached_hw_handler, queue_mode bio, rq or
            mq. Linux 7 prints retain_attached_hw_handler no more.
        handler: the hardware handler and its words; the kernel prints its name alone.
    """

    type: ClassVar[str] = "multipath"
    groups: tuple[MultipathGroup, ...]
    first_group: int = 1
    features: tuple[str, ...] = ()
    handler: tuple[str, ...] = ()

    @property
    def queues(self) -> bool:
        """It asks that I/O waits where no path is left. Not printed while suspended."""
        return any(name.lower() == QUEUE for name, _ in _features(self.features))

    @classmethod
    def parse(cls, text: str) -> MultipathTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        features = words.take("features", words.count("#features"))
        handler = words.take("handler", words.count("#handler"))
        number = words.count("#groups")
        first = words.number("first_group")
        groups = tuple(_group(words) for _ in range(number))
        words.end()
        return cls(groups, first, features, handler, raw=text)

    def check(self) -> None:
        """Hold multipath_ctr's rules against the values. Raises InvalidTableError."""
        check_range(self.type, "#groups", len(self.groups), 0, COUNT_MAX)
        check_range(self.type, "first_group", self.first_group, 0, COUNT_MAX)
        said = bool(self.groups) == bool(self.first_group)
        require(said, self.type, "first_group", "must be 0 without groups and 1 or more with some")
        _check_features(self.features)
        check_range(self.type, "#handler", len(self.handler), 0, COUNT_MAX)
        for word in self.handler:
            check_word(self.type, "handler", word)
        for group in self.groups:
            _check_group(group)

    def lasting(self) -> object:
        """The groups: a message, or a suspend, changes the features."""
        return self.groups

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        words = [str(len(self.features)), *self.features, str(len(self.handler)), *self.handler]
        words += [str(len(self.groups)), str(self.first_group)]
        return " ".join([*words, *(word for group in self.groups for word in group.words())])


def _group(words: Words) -> MultipathGroup:
    selector = words.word("selector")
    arguments = words.take("selector arguments", words.count("#selector"))
    number = words.number("#paths")
    each = words.number("#path arguments")
    if number * (1 + each) > words.left:
        words.fail("#paths", f"announces {number} paths where {words.left} words are left")
    paths = tuple(
        MultipathPath(words.device("path"), words.take("path arguments", each))
        for _ in range(number)
    )
    return MultipathGroup(selector, paths, arguments)


def _features(words: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """The features, each with its value where it takes one ("" where that is missing)."""
    rest = iter(words)
    for name in rest:
        valued = name.lower() in _NUMBERS or name.lower() == "queue_mode"
        yield name, next(rest, "") if valued else None


def _check_features(words: tuple[str, ...]) -> None:
    few = len(words) <= FEATURE_WORDS_MAX
    require(few, "multipath", "features", f"can have {FEATURE_WORDS_MAX} words at most")
    for name, value in _features(words):
        key = name.lower()
        known = key in _FLAGS if value is None else True
        require(known, "multipath", "features", f"cannot be {name!r}")
        if key == "queue_mode":
            mode = str(value).lower() in _MODES
            require(mode, "multipath", key, f"must be one of: {', '.join(_MODES)}")
        elif key in _NUMBERS:
            number = decimal(str(value))
            require(number is not None, "multipath", key, "must be a number")
            check_range("multipath", key, number, *_NUMBERS[key])


def _check_group(group: MultipathGroup) -> None:
    check_word("multipath", "selector", group.selector)
    check_range("multipath", "#selector", len(group.arguments), 0, COUNT_MAX)
    check_range("multipath", "#paths", len(group.paths), 1, COUNT_MAX)
    each = len(group.paths[0].arguments)
    check_range("multipath", "#path arguments", each, 0, COUNT_MAX)
    for path in group.paths:
        alike = len(path.arguments) == each
        require(alike, "multipath", "path arguments", "must be as many for every path of a group")
        for word in (path.device, *path.arguments, *group.arguments):
            check_word("multipath", "path", word)
        check_selector(group.selector, group.arguments, path.arguments)
