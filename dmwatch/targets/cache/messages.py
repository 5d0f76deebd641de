"""Messages to a cache (drivers/md/dm-cache-target.c, cache_message)."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.errors import InvalidMessageError
from dmwatch.targets.base import TargetMessage
from dmwatch.targets.words import U32_MAX, U64_MAX, quoted
from dmwatch.units import DataBlocks, Sectors

_INVALIDATE = "invalidate_cblocks"


@dataclass(frozen=True, slots=True)
class MigrationThreshold(TargetMessage):
    """Limit how much is copied between cache and origin at one time.

    Attributes:
        sectors: 0 to 2**64 - 1.
    """

    sectors: Sectors

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"migration_threshold {_number('sectors', int(self.sectors))}"


@dataclass(frozen=True, slots=True)
class PolicySetting(TargetMessage):
    """Change a setting of the policy. Those of the kernel have none that does anything.

    Attributes:
        name: the setting.
        value: 0 to 2**64 - 1.
    """

    name: str
    value: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        if not self.name or self.name.lower() == _INVALIDATE or self.name.startswith("@"):
            raise InvalidMessageError(f"cache: a setting cannot be called {self.name!r}")
        return f"{quoted(self.name)} {_number('value', self.value)}"


@dataclass(frozen=True, slots=True)
class InvalidateCblocks(TargetMessage):
    """Drop blocks from the cache, which must be in passthrough mode.

    Attributes:
        ranges: each a first block and the one after the last, below 2**32.
    """

    ranges: tuple[tuple[DataBlocks, DataBlocks], ...]

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return " ".join([_INVALIDATE, *(_range(int(a), int(b)) for a, b in self.ranges)])


def _range(begin: int, end: int) -> str:
    if not begin < end <= U32_MAX:
        raise InvalidMessageError(
            f"cache: a range must end after it begins, and by {U32_MAX}, not {begin}-{end}"
        )
    return f"{begin}-{end}"


def _number(field: str, value: int) -> int:
    if not 0 <= value <= U64_MAX:
        raise InvalidMessageError(f"cache: {field} must be 0 to {U64_MAX}, not {value}")
    return value


MESSAGES = (MigrationThreshold, PolicySetting, InvalidateCblocks)
