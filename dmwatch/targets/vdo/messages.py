"""Messages to a vdo (drivers/md/dm-vdo/dm-vdo-target.c, vdo_message)."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.errors import InvalidMessageError
from dmwatch.targets.base import TargetMessage

DUMPS = frozenset({"viopool", "pools", "vdo", "queues", "threads", "default", "all"})


@dataclass(frozen=True, slots=True)
class Stats(TargetMessage):
    """Ask for the statistics: the answer is text, `{ version : 36, dataBlocksUsed : 64, ... }`."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "stats"


@dataclass(frozen=True, slots=True)
class Config(TargetMessage):
    """Ask for the configuration: the answer is text, `{ physicalSize : ..., ... }`."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "config"


@dataclass(frozen=True, slots=True)
class Compression(TargetMessage):
    """Begin or cease to compress what is written from now on.

    Attributes:
        on: whether to compress.
    """

    on: bool

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return f"compression {'on' if self.on else 'off'}"


@dataclass(frozen=True, slots=True)
class Dump(TargetMessage):
    """Write internal structures to the kernel log. Not always safe: for a vdo that hangs.

    Attributes:
        what: of viopool, pools, vdo, queues, threads, default, all; empty for the default.
    """

    what: tuple[str, ...] = ()

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        for name in self.what:
            if name not in DUMPS:
                raise InvalidMessageError(f"vdo: a dump has no part {name!r}")
        return " ".join(("dump", *self.what))


@dataclass(frozen=True, slots=True)
class DumpOnShutdown(TargetMessage):
    """Write the default dump to the kernel log when the vdo shuts down."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "dump-on-shutdown"


@dataclass(frozen=True, slots=True)
class IndexClose(TargetMessage):
    """Close the deduplication index: what is written after that is not deduplicated."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "index-close"


@dataclass(frozen=True, slots=True)
class IndexCreate(TargetMessage):
    """Make a new, empty deduplication index and open it."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "index-create"


@dataclass(frozen=True, slots=True)
class IndexDisable(TargetMessage):
    """Cease to deduplicate; the index stays open."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "index-disable"


@dataclass(frozen=True, slots=True)
class IndexEnable(TargetMessage):
    """Open the deduplication index and deduplicate."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "index-enable"


MESSAGES = (
    Stats,
    Config,
    Compression,
    Dump,
    DumpOnShutdown,
    IndexClose,
    IndexCreate,
    IndexDisable,
    IndexEnable,
)
