"""The models of the configuration, but for those that belong to a handler or to the monitor."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from dmwatch.events import Event, State
from dmwatch.handlers.paths import AbsolutePath
from dmwatch.monitor.settings import Settings
from dmwatch.service.logs import LogSettings
from dmwatch.severity import Severity
from dmwatch.spans import LongSpan, Span

_RESERVED = ("use", "match", "delivery")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Match(_Model):
    """`[handlers.NAME.match]`: which events a handler gets; all that is given must fit."""

    severity: Severity = Field(default=Severity.NOTICE, description="this and worse")
    types: tuple[str, ...] = Field(default=("*",), description="globs: types of event")
    states: tuple[State, ...] | None = Field(
        default=None, description="of conditions; moments are told whatever stands here"
    )
    device: str = Field(default="*", description="glob: name, label or number")
    uuid: str = Field(default="*", description="glob: uuid; a device without one has an empty one")
    target: str = Field(default="*", description="glob: target type")

    def fits(self, event: Event) -> bool:
        """Say whether a handler with this match gets the event."""
        device = event.device
        return (
            self.fits_kind(event.type, event.severity, event.target)
            and (self.states is None or event.state is None or event.state in self.states)
            and (
                self.fits_device((device.name, device.label, str(device.number)), device.uuid)
                if device
                else self.device == self.uuid == "*"
            )
        )

    def fits_kind(self, type_: str, severity: Severity, target: str | None) -> bool:
        """Say whether an event of this kind fits, on whatever device."""
        return (
            severity.at_least(self.severity)
            and any(fnmatchcase(type_, pattern) for pattern in self.types)
            and fnmatchcase(target or "", self.target)
        )

    def fits_device(self, names: Iterable[str], uuid: str | None) -> bool:
        """Say whether events about this device fit."""
        return fnmatchcase(uuid or "", self.uuid) and any(
            fnmatchcase(name, self.device) for name in names
        )


class Delivery(_Model):
    """`[handlers.NAME.delivery]`: how events are brought to a handler."""

    timeout: LongSpan = Field(default=30.0, description="one attempt is cancelled after this long")
    max_attempts: int = Field(
        default=30, ge=1, le=1000, strict=True, description="after so many an event is given up"
    )
    retry_first: LongSpan = Field(
        default=1.0, description="the pause after a first failure; it doubles with each"
    )
    retry_longest: LongSpan = Field(default=300.0, description="no pause is longer")
    queue: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        strict=True,
        description="so many events may wait; then the oldest go",
    )
    every: Span = Field(
        default=0.0, description="a throttle: two events are at least this long apart"
    )


class HandlerTable(_Model):
    """`[handlers.NAME]`: a handler and its own settings.

    Attributes:
        own: every key but use, match and delivery: the handler's own, validated by its model.
    """

    use: str = Field(min_length=1, description="the entry point's name: log, exec, webhook, ...")
    match: Match = Match()
    delivery: Delivery = Delivery()
    own: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        own = {key: held for key, held in value.items() if key not in _RESERVED}
        return {key: value[key] for key in _RESERVED if key in value} | {"own": own}


_LONGEST_SOCKET = 107


class JournalSettings(_Model):
    """`[journal]`: where events are kept."""

    path: AbsolutePath = Field(
        default=Path("/var/lib/dmwatch/events.db"), description="an SQLite file; made where missing"
    )
    keep: LongSpan = Field(default=90 * 86400.0, description="older events are deleted")
    max_size: ByteSize = Field(
        default=ByteSize(256 * 1024**2), ge=1024**2, description="above it the oldest are deleted"
    )


class StreamSettings(_Model):
    """`[stream]`: the socket for local clients."""

    socket: AbsolutePath = Field(
        default=Path("/run/dmwatch/events.sock"), description="a Unix socket, mode 0660"
    )
    group: str | None = Field(
        default=None, description="the socket's group; none: the daemon's own"
    )
    max_clients: int = Field(
        default=256, ge=1, le=10_000, strict=True, description="more are turned away"
    )

    @field_validator("group")
    @classmethod
    def _can_be_looked_up(cls, group: str | None) -> str | None:
        if group is not None and (not group or "\0" in group):
            raise ValueError("expected the name of a group")
        return group

    @field_validator("socket")
    @classmethod
    def _fits(cls, path: Path) -> Path:
        if len(os.fsencode(path)) > _LONGEST_SOCKET:
            raise ValueError(f"expected at most {_LONGEST_SOCKET} bytes: a socket's path is short")
        return path


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _handler_name(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise ValueError(
            "a handler's name has letters, digits, dot, dash and underscore, 64 at most"
        )
    return name


HandlerName = Annotated[str, BeforeValidator(_handler_name)]


def _some_handlers() -> dict[str, HandlerTable]:
    return {"log": HandlerTable(use="log")}


class Configuration(Settings):
    """The whole file. Without any handler `log` is used."""

    handlers: dict[HandlerName, HandlerTable] = Field(default_factory=_some_handlers)
    journal: JournalSettings = JournalSettings()
    stream: StreamSettings = StreamSettings()
    log: LogSettings = LogSettings()
    _source: Path | None = PrivateAttr(default=None)

    @field_validator("handlers")
    @classmethod
    def _not_none(cls, handlers: dict[str, HandlerTable]) -> dict[str, HandlerTable]:
        return handlers or _some_handlers()

    @property
    def source(self) -> Path | None:
        """The file that it was read from; None where the defaults hold, as there is none."""
        return self._source

    def came_from(self, source: Path) -> None:
        """Note which file it was read from."""
        self._source = source
