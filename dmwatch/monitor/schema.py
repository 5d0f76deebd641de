"""The JSON schema of an event, as `schema/events.json` of the package has it.

`python -m dmwatch.monitor.schema` prints it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import TypeAdapter

from dmwatch.events import Event
from dmwatch.monitor.catalogue import EventType, event_types

_EVENT = "event"


def event_schema() -> dict[str, Any]:
    """The schema of Event; each type that is known says what its data and its state are."""
    types = event_types()
    adapters: list[Any] = [(_EVENT, "serialization", TypeAdapter(Event))]
    adapters += [(row.type, "serialization", TypeAdapter(row.data)) for row in types.values()]
    found, definitions = TypeAdapter.json_schemas(adapters)
    schemas = {key: schema for (key, _), schema in found.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of dmwatch",
        **schemas[_EVENT],
        "allOf": [_of_type(row, schemas[row.type]) for row in types.values()],
        **definitions,
    }


def _of_type(row: EventType, data: dict[str, Any]) -> dict[str, Any]:
    state = {"type": "string"} if row.stands else {"type": "null"}
    return {
        "if": {"properties": {"type": {"const": row.type}}},
        "then": {"properties": {"state": state, "data": data}},
    }


def text() -> str:
    """The schema as the file has it."""
    return json.dumps(event_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
