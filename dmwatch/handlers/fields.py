"""An event as flat names and texts: for programs' environments and for templates."""

from __future__ import annotations

import json
import re
from typing import Any

from dmwatch.events import Event

FIELDS = (
    "id",
    "sequence",
    "time",
    "host",
    "boot_id",
    "type",
    "state",
    "reason",
    "initial",
    "severity",
    "target",
    "key",
    "event_nr",
    "coalesced",
    "summary",
    "advice",
    "device",
    "device_uuid",
    "device_number",
    "device_diskseq",
    "device_subsystem",
    "device_label",
)
"""What every event has; `device` is the device's name. What is null is an empty text."""
DATA = "data_"
"""Prefix of what stands in `data` and is no table or array; which there are depends on the type."""
_OTHER = re.compile(r"[^a-z0-9_]+")


def fields(event: Event) -> dict[str, str]:
    """Give an event's fields as texts, those of FIELDS and `data_...`."""
    plain = event.model_dump(mode="json")
    device = plain.pop("device") or {}
    data = plain.pop("data")
    flat = plain | {"device": device.get("name")}
    flat |= {f"device_{key}": value for key, value in device.items() if key != "name"}
    texts = {name: _text(flat.get(name)) for name in FIELDS}
    return texts | {DATA + _name(key): _text(value) for key, value in data.items()}


def _name(key: str) -> str:
    return _OTHER.sub("_", key.lower())


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    # true, 3, 97.5, ["linear"]: as JSON has them
    return json.dumps(value)
