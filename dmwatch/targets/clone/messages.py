"""Messages to a clone (drivers/md/dm-clone-target.c, clone_message)."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.errors import InvalidMessageError
from dmwatch.targets.base import TargetMessage
from dmwatch.targets.words import U32_MAX


@dataclass(frozen=True, slots=True)
class EnableHydration(TargetMessage):
    """Copy in the background."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "enable_hydration"


@dataclass(frozen=True, slots=True)
class DisableHydration(TargetMessage):
    """Copy only what is used."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "disable_hydration"


@dataclass(frozen=True, slots=True)
class HydrationThreshold(TargetMessage):
    """Set how many regions are copied at a time.

    Attributes:
        regions: 0 to 2**32 - 1; 0 stops the copy.
    """

    regions: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"hydration_threshold {_regions(self.regions)}"


@dataclass(frozen=True, slots=True)
class HydrationBatchSize(TargetMessage):
    """Set how many adjacent regions are copied as one.

    Attributes:
        regions: 0 to 2**32 - 1.
    """

    regions: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"hydration_batch_size {_regions(self.regions)}"


def _regions(value: int) -> int:
    if not 0 <= value <= U32_MAX:
        raise InvalidMessageError(f"clone: regions must be 0 to {U32_MAX}, not {value}")
    return value


MESSAGES = (EnableHydration, DisableHydration, HydrationThreshold, HydrationBatchSize)
