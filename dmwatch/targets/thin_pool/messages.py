"""Messages to a thin-pool (drivers/md/dm-thin.c, pool_message)."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.errors import InvalidMessageError
from dmwatch.targets.base import TargetMessage

THIN_ID_MAX = (1 << 24) - 1


def _thin_id(field: str, value: int) -> str:
    if not 0 <= value <= THIN_ID_MAX:
        raise InvalidMessageError(f"thin-pool: {field} must be 0 to {THIN_ID_MAX}, not {value}")
    return str(value)


@dataclass(frozen=True, slots=True)
class CreateThin(TargetMessage):
    """Make an empty thin volume.

    Attributes:
        thin_id: 0 to 16,777,215, not in use (else EEXIST).
    """

    thin_id: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"create_thin {_thin_id('thin_id', self.thin_id)}"


@dataclass(frozen=True, slots=True)
class CreateSnap(TargetMessage):
    """Make a snapshot of a thin volume, which must be suspended where it is active.

    Attributes:
        thin_id: the new one, not in use.
        origin_id: of which.
    """

    thin_id: int
    origin_id: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        thin_id, origin_id = (
            _thin_id("thin_id", self.thin_id),
            _thin_id("origin_id", self.origin_id),
        )
        return f"create_snap {thin_id} {origin_id}"


@dataclass(frozen=True, slots=True)
class DeleteThin(TargetMessage):
    """Delete a thin volume for ever. It must not be active.

    Attributes:
        thin_id: which.
    """

    thin_id: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"delete {_thin_id('thin_id', self.thin_id)}"


@dataclass(frozen=True, slots=True)
class SetTransactionId(TargetMessage):
    """Count on the owner's transaction id.

    Attributes:
        current: what it must be now.
        new: what it shall be.
    """

    current: int
    new: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        for value in (self.current, self.new):
            if not 0 <= value < 1 << 64:
                raise InvalidMessageError(f"thin-pool: a transaction id has 64 bits, not {value}")
        return f"set_transaction_id {self.current} {self.new}"


@dataclass(frozen=True, slots=True)
class ReserveMetadataSnap(TargetMessage):
    """Hold a copy of the metadata's root for programs in user space to read."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "reserve_metadata_snap"


@dataclass(frozen=True, slots=True)
class ReleaseMetadataSnap(TargetMessage):
    """Drop the copy of the metadata's root."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "release_metadata_snap"


MESSAGES = (
    CreateThin,
    CreateSnap,
    DeleteThin,
    SetTransactionId,
    ReserveMetadataSnap,
    ReleaseMetadataSnap,
)
