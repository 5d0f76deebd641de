"""Writes docs/targets.md from the registry: python tests/document_targets.py > docs/targets.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import import_module

from dmwatch.targets import TYPES, Target, TargetMessage, find
from dmwatch.targets.base import Notice
from dmwatch.targets.catalogue import (
    DEFAULT_RUNGS,
    CatalogueRow,
    ConditionType,
    FlapType,
    GaugeType,
    MomentType,
    StallType,
)
from dmwatch.targets.core_messages import MESSAGES

HEAD = """\
# Targets

Every device-mapper target that dmwatch knows, written by `tests/document_targets.py` from the code.

- *Since*: the oldest of the kernels 5.10, 6.1, 6.12 and 7.2 that has the target.
- *Table* and *status*: the text that the kernel takes and prints. Lengths are in sectors of 512
  bytes unless said otherwise.
- *Messages*: the classes of `dmwatch.targets`; each says what it sends.
- *Known by*: what makes a change known. What raises no event is read again, as often as stands
  here; a changed table is seen by the uevent of the resume, whatever the target.
- *Conditions* stand, *moments* happen. With each: its severities, the usual one first; what its key
  names, where there can be several; and how long it stands before it is told. *usage* stands for
  {rungs}, and can be configured.

| Target | Since | Table | Status | Messages | Known by | Conditions | Moments |
|---|---|---|---|---|---|---|---|
"""

TAIL = """
Devices of every target take the core's messages: {messages}.
"""


def document() -> str:
    rungs = ", ".join(f"{rung.at:g} % {rung.severity}" for rung in DEFAULT_RUNGS)
    rows = "".join(f"{row(find(target))}\n" for target in TYPES)
    return HEAD.format(rungs=rungs) + rows + TAIL.format(messages=message_names(MESSAGES))


def row(target: Target) -> str:
    conditions = [name_of(target, c.type, condition(c)) for c in target.conditions]
    moments = [name_of(target, m.type, moment(m)) for m in target.moment_types]
    cells = (
        f"**{target.type}**: {target.summary}",
        target.since,
        grammar(target, "Table"),
        grammar(target, "Status"),
        message_names(target.messages),
        known_by(target),
        ", ".join(conditions),
        ", ".join(moments),
    )
    return f"| {' | '.join(map(escaped, cells))} |"


def escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def grammar(target: Target, label: str) -> str:
    """What a target's module says at its top."""
    written = import_module(f"dmwatch.targets.{target.type.replace('-', '_')}").__doc__ or ""
    found = re.search(rf"^{label} +(.*(?:\n  .*)*)", written, re.MULTILINE)
    assert found, f"the module of {target.type} has no line that begins with {label}"
    return " ".join(found[1].split())


def message_names(messages: Iterable[type[TargetMessage]]) -> str:
    return ", ".join(f"`{message.__name__}`" for message in messages)


def known_by(target: Target) -> str:
    parts = {
        Notice.EVENT: ["events"],
        Notice.UEVENT: ["uevents"],
        Notice.POLL: [],
        Notice.NOTHING: ["its table alone"],
    }[target.notice]
    if target.poll is not None:
        parts.append(f"read every {target.poll:g} s")
    if target.pooled:
        parts.append("read when the device below it changes")
    if target.blocks_suspended:
        parts.append("never read while suspended")
    return ", ".join(parts) or "read on demand"


def name_of(target: Target, name: str, details: str) -> str:
    return f"`{name.removeprefix(f'{target.type}.')}` ({details})"


def condition(row: CatalogueRow) -> str:
    match row:
        case GaugeType():
            return "usage" if row.rungs else "off unless configured"
        case StallType():
            return f"{row.severity}, after {row.after:g} s without progress"
        case FlapType():
            return f"{row.severity}, per {row.key}: {row.count} in {row.window:g} s"
        case ConditionType():
            key = f", per {row.key}" if row.key else ""
            after = f", after {row.after:g} s" if row.after else ""
            return f"{' or '.join(row.severities)}{key}{after}"


def moment(row: MomentType) -> str:
    return f"{row.severity}, from a uevent" if row.uevent else str(row.severity)


if __name__ == "__main__":
    sys.stdout.write(document())
