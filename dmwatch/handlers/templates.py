"""Templates over an event's fields: `$summary on ${device_label}`. Text only, no code."""

from __future__ import annotations

import json
from collections import defaultdict
from string import Template

from dmwatch.events import Event
from dmwatch.handlers.fields import DATA, FIELDS, fields


def check(template: str) -> str:
    """Give the template back where every name in it can be filled in.

    Raises:
        ValueError: it has a `$` that is no name, or a name that no event has.
    """
    found = Template(template)
    if not found.is_valid():
        raise ValueError("expected $name or ${name}; a $ itself is written $$")
    for name in found.get_identifiers():
        if name not in FIELDS and not name.startswith(DATA):
            raise ValueError(
                f"there is no field ${name[:64]}, expected one of {', '.join(FIELDS)} "
                f"or {DATA}... as in ${{data_percent}}"
            )
    return template


def fill(template: str, event: Event, *, as_json: bool) -> str:
    """Fill in an event's fields; what this event does not have is empty.

    Args:
        template: checked.
        event: whose fields.
        as_json: the template is JSON, and fields stand in its strings: they are escaped for that.
    """
    texts = fields(event)
    if as_json:
        texts = {name: json.dumps(text)[1:-1] for name, text in texts.items()}
    return Template(template).substitute(defaultdict(str, texts))
