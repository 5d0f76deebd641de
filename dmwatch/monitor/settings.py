"""The models of `[monitor]`, `[conditions]` and `[[rules]]`: what can be chosen about watching."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from dmwatch.severity import Severity
from dmwatch.spans import LongSpan, Span
from dmwatch.targets.catalogue import Rung

if TYPE_CHECKING:
    from dmwatch.monitor.catalogue import EventType


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MonitorSettings(_Model):
    """`[monitor]`: how the kernel is watched."""

    poll_interval: LongSpan = Field(
        default=10.0, description="how often what raises no event is read; a target may want longer"
    )
    heartbeat: LongSpan = Field(
        default=60.0, description="how often the list, and every device's record, is read anyway"
    )
    status_timeout: LongSpan = Field(
        default=5.0, description="after this long a status call counts as stuck"
    )
    cpu_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        strict=True,
        description="how much of one processor a storm of events may cost",
    )
    lock_memory: bool = Field(
        default=False,
        strict=True,
        description="keep the daemon's memory from being paged out (mlockall)",
    )


class RungSettings(_Model):
    """A step of a usage condition."""

    at: float = Field(ge=0, le=100, strict=True, description="percent")
    severity: Severity = Field(description="from here on")


class ConditionSettings(_Model):
    """`[conditions."type"]`: how one type of condition is told."""

    rungs: tuple[RungSettings, ...] | None = Field(
        default=None, description="of a usage condition; an empty list switches it off"
    )
    hysteresis: float | None = Field(
        default=None,
        ge=0,
        le=50,
        strict=True,
        description="it clears this many points below its rung",
    )
    after: Span | None = Field(default=None, description="it is told once it has stood this long")
    remind_every: LongSpan | None = Field(
        default=None, description="it is told again this often while it stands"
    )

    @model_validator(mode="after")
    def _rungs_rise(self) -> ConditionSettings:
        _check_rise(self.rungs)
        return self

    def rung_tuple(self) -> tuple[Rung, ...] | None:
        """The rungs as targets have them, or None where the target's own hold."""
        return _as_targets_have(self.rungs)


class Action(StrEnum):
    """What a rule does besides changing a severity."""

    IGNORE = "ignore"


class Rule(_Model):
    """`[[rules]]`: what shall not be told, or told otherwise. The first match wins."""

    device: str = Field(default="*", description="glob: name, label or number")
    uuid: str = Field(default="*", description="glob: uuid; a device without one has an empty one")
    target: str = Field(default="*", description="glob: target type")
    type: str = Field(default="*", description="glob: type of event")
    action: Action | None = Field(default=None, description='"ignore"')
    severity: Severity | None = Field(default=None, description="told with this severity")
    rungs: tuple[RungSettings, ...] | None = Field(
        default=None,
        description="in place of all others, where the type names usage conditions; empty: off",
    )
    until: AwareDatetime | None = Field(
        default=None, description="the rule holds until then: a maintenance window"
    )

    @field_validator("until", mode="before")
    @classmethod
    def _no_number(cls, until: Any) -> Any:
        # which would be taken for seconds since 1970: a window that was over long ago
        if isinstance(until, int | float):
            raise ValueError("expected a time with its zone, as in 2026-12-01T06:00:00Z")  # noqa: TRY004
        return until

    @model_validator(mode="after")
    def _does_one_thing(self) -> Rule:
        if sum(each is not None for each in (self.action, self.severity, self.rungs)) != 1:
            raise ValueError('a rule has either action = "ignore" or a severity or rungs')
        if self.type.startswith("dmwatch."):
            # without this such a rule would be taken and do nothing
            raise ValueError("rules are about devices; of dmwatch itself handlers choose by match")
        _check_rise(self.rungs)
        return self

    def rung_tuple(self) -> tuple[Rung, ...] | None:
        """The rungs as targets have them, or None where it is about something else."""
        return _as_targets_have(self.rungs)

    def holds(self, now: datetime) -> bool:
        """Say whether its window is still open."""
        return self.until is None or now < self.until

    def matches(self, names: tuple[str, ...], uuid: str, target: str, type_: str) -> bool:
        """Say whether it is about this."""
        return (
            fnmatchcase(type_, self.type)
            and fnmatchcase(target, self.target)
            and fnmatchcase(uuid, self.uuid)
            and any(fnmatchcase(name, self.device) for name in names)
        )


class Settings(_Model):
    """Everything that an operator can choose about watching."""

    monitor: MonitorSettings = MonitorSettings()
    conditions: dict[str, ConditionSettings] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _types_exist(self) -> Settings:
        with_rungs = [rule for rule in self.rules if rule.rungs is not None]
        if self.conditions or with_rungs:
            # the catalogue needs the conditions, which need these settings
            from dmwatch.monitor.catalogue import event_types  # noqa: PLC0415

            _check_types(self.conditions, event_types())
            for rule in with_rungs:
                _check_usage(rule, event_types())
        return self

    def window_ends(self, now: datetime) -> float | None:
        """In how many seconds the next maintenance window is over; None where none is open."""
        open_ = (rule.until for rule in self.rules if rule.until is not None and rule.until > now)
        return min(((until - now).total_seconds() for until in open_), default=None)

    def condition(self, type_: str) -> ConditionSettings:
        """The settings of a type, or the defaults."""
        return self.conditions.get(type_, _DEFAULT)


def _check_types(
    conditions: Mapping[str, ConditionSettings], known: Mapping[str, EventType]
) -> None:
    for name, chosen in conditions.items():
        row = known.get(name)
        if row is None or not row.stands:
            raise ValueError(f"there is no condition {name!r}")
        if not row.rungs and (chosen.rungs is not None or chosen.hysteresis is not None):
            raise ValueError(f"{name} is no usage condition: it has neither rungs nor hysteresis")


def _check_usage(rule: Rule, known: Mapping[str, EventType]) -> None:
    # else it would be the first match of what has no rungs, and keep later rules from it
    named = [row for row in known.values() if fnmatchcase(row.type, rule.type)]
    if not named:
        raise ValueError(f"there is no condition {rule.type!r}")
    for row in named:
        if not row.rungs:
            raise ValueError(f"rungs are for usage conditions: {rule.type!r} names {row.type} too")


def _check_rise(rungs: tuple[RungSettings, ...] | None) -> None:
    steps = [rung.at for rung in rungs or ()]
    if steps != sorted(set(steps)):
        raise ValueError("rungs must rise")


def _as_targets_have(rungs: tuple[RungSettings, ...] | None) -> tuple[Rung, ...] | None:
    return None if rungs is None else tuple(Rung(rung.at, rung.severity) for rung in rungs)


_DEFAULT = ConditionSettings()


def utc_now() -> datetime:
    """The time, aware of its zone."""
    return datetime.now(UTC)
