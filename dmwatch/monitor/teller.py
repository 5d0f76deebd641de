"""Puts what was found into the envelope of an event: id, sequence, time, host."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmwatch.events import DeviceRef, Event, Severity

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
        **more: Any,
    ) -> Event:
        """An event of a moment; the summary begins with the device's label."""
        self._sequence += 1
        return Event(
            id=f"{self._epoch}-{self._sequence}",
            sequence=self._sequence,
            time=datetime.now(UTC),
            host=self._host,
            boot_id=self._boot_id,
            type=type_,
            severity=severity,
            device=device,
            summary=f"{device.label}: {summary}" if device else summary,
            **more,
        )


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""
