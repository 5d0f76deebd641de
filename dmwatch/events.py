"""The words that dmwatch speaks: what a handler, a log or a stream is told. No I/O.

A condition stands on a device for as long as it is true; a moment happens once. Both reach people
and programs as an `Event`, whose JSON is a contract: one object a line wherever events are told.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from dmwatch.names import DeviceName, DeviceNumber, label, printable, subsystem
from dmwatch.severity import Severity

__all__ = ["Condition", "DeviceRef", "Event", "Reason", "Severity", "State"]


class State(StrEnum):
    """What became of a condition."""

    RAISED = "raised"
    CHANGED = "changed"
    CLEARED = "cleared"
    REMINDER = "reminder"


class Reason(StrEnum):
    """Why a condition was cleared. Absence is not recovery."""

    HEALTHY = "healthy"
    PART_GONE = "part-gone"
    DEVICE_REMOVED = "device-removed"
    RECREATED = "recreated"
    RULE = "rule"
    SUPERSEDED = "superseded"


class DeviceRef(BaseModel):
    """The device that an event is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="its name; undecodable bytes as \\xNN")
    uuid: str | None = Field(description="its uuid, or null")
    number: DeviceNumber = Field(description='its device number, "254:3"')
    diskseq: int | None = Field(description="the incarnation of its number, or null")
    subsystem: str | None = Field(description="the owner, from the uuid's prefix, or null")
    label: str = Field(description="what its owner calls it")

    @classmethod
    def of(
        cls, name: DeviceName, uuid: str | None, number: DeviceNumber, diskseq: int | None
    ) -> DeviceRef:
        """Describe a device as the kernel knows it."""
        return cls(
            name=printable(name),
            uuid=printable(uuid) if uuid else None,
            number=number,
            diskseq=diskseq,
            subsystem=subsystem(uuid),
            label=label(name, uuid),
        )


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


Time = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]


class Event(BaseModel):
    """One thing told: a condition's step or a moment."""

    # in JSON every field is there, also those with a default
    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True
    )

    id: str = Field(description="epoch-sequence, unique for ever")
    sequence: int = Field(ge=1, description="from 1, one more with every event told")
    time: Time = Field(description="when dmwatch saw it; UTC, microseconds")
    host: str = Field(description="the machine's name")
    boot_id: str = Field(description="the boot's id")
    type: str = Field(description='"thin-pool.data-usage", "device.added", ...')
    state: State | None = Field(default=None, description="of a condition; null for a moment")
    reason: Reason | None = Field(default=None, description="why it was cleared")
    initial: bool = Field(default=False, description="it was so when watching began")
    severity: Severity = Field(description="how bad it is")
    device: DeviceRef | None = Field(default=None, description="null for dmwatch.*")
    target: str | None = Field(default=None, description="the target type, or null")
    key: str | None = Field(default=None, description="which leg or path, or null")
    event_nr: int | None = Field(default=None, description="the kernel's counter at the look")
    coalesced: int = Field(default=0, ge=0, description="kernel events folded in, less one")
    summary: str = Field(description="one sentence for a person")
    advice: str | None = Field(default=None, description="what to do about it, or null")
    data: dict[str, Any] = Field(default_factory=dict, description="typed, for each type")

    def json_line(self) -> str:
        """The event as JSON on one line, without a newline at the end."""
        return self.model_dump_json()


class Condition(BaseModel):
    """A condition that stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(description="as in Event")
    key: str | None = Field(default=None, description="as in Event")
    severity: Severity = Field(description="how bad it is now")
    device: DeviceRef | None = Field(description="on which device; null for dmwatch.*")
    target: str | None = Field(default=None, description="the target type, or null")
    since: Time = Field(description="when it was raised")
    summary: str = Field(description="one sentence for a person")
    advice: str | None = Field(default=None, description="what to do about it, or null")
    data: dict[str, Any] = Field(default_factory=dict, description="as in Event")

    @property
    def label(self) -> str:
        """What the device's owner calls it; "" for dmwatch.*."""
        return self.device.label if self.device else ""

    @property
    def worst_first(self) -> tuple[int, str, str, str]:
        """Sorts conditions for people."""
        return (-self.severity.rank, self.label, self.type, self.key or "")
