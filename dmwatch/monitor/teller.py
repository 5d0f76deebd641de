"""Puts what was found into the envelope of an event: id, sequence, time, host, a sentence."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmwatch.events import DeviceRef, Event, Reason, Severity, State
from dmwatch.monitor.conditions import Step
from dmwatch.names import printable

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OVER = {
    Reason.HEALTHY: "over",
    Reason.PART_GONE: "gone with its part",
    Reason.DEVICE_REMOVED: "gone with the device",
    Reason.RECREATED: "gone, the device was made anew",
    Reason.RULE: "silenced by a rule",
    Reason.SUPERSEDED: "superseded",
}


class Teller:
    """Numbers events. One epoch is one life of a watcher without a journal."""

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(6)
        self._sequence = 0
        self._host = os.uname().nodename
        self._boot_id = _boot_id()

    def moment(
        self,
        type_: str,
        severity: Severity,
        device: DeviceRef | None,
        summary: str,
        *,
        time: datetime | None = None,
        **more: Any,
    ) -> Event:
        """An event; its summary begins with the device's label. `time`: when it was seen, if past.

        It gets its number now: events are numbered in the order in which they are read.
        """
        self._sequence += 1
        sentence = f"{device.label}: {summary}" if device else summary
        return Event(
            id=f"{self._epoch}-{self._sequence}",
            sequence=self._sequence,
            time=time or datetime.now(UTC),
            host=self._host,
            boot_id=self._boot_id,
            type=type_,
            severity=severity,
            device=device,
            summary=printable(sentence),
            **more,
        )

    def step(self, step: Step, device: DeviceRef | None, **more: Any) -> Event:
        """An event of a condition."""
        item = step.found
        over = step.state is State.CLEARED
        return self.moment(
            item.type,
            item.severity,
            device,
            _clause(step),
            state=step.state,
            reason=step.reason,
            initial=step.initial,
            target=item.target,
            key=item.key,
            advice=None if over else item.advice,
            data=dict(item.data),
            **more,
        )


def _clause(step: Step) -> str:
    if step.state is State.REMINDER:
        return f"still: {step.found.summary}"
    if step.reason is not None:
        return f"{_OVER[step.reason]}: {step.found.summary}"
    return step.found.summary


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""
