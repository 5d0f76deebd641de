"""What a status shows, for people and as JSON: its fields, and the conditions that stand by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dmwatch.cli.output import COLOURS, coloured
from dmwatch.names import printable
from dmwatch.severity import Severity
from dmwatch.targets import Finding, Gauge, Seen, Target, find, plain
from dmwatch.targets.catalogue import DEFAULT_RUNGS, GaugeType, rung_at


def conditions(seen: Seen) -> list[Finding]:
    """The conditions that one look shows, worst first: default rungs, and no time passes."""
    target = find(seen.type)
    observation = target.observe(seen)
    found = [*observation.findings, *_on_rungs(target, observation.gauges)]
    if seen.type == "error":
        found.append(Finding("device.error-target", Severity.WARNING, "it maps to `error`"))
    return sorted(found, key=lambda finding: -finding.severity.rank)


def _on_rungs(target: Target, gauges: tuple[Gauge, ...]) -> Iterator[Finding]:
    rows = {row.type: row for row in target.conditions if isinstance(row, GaugeType)}
    for gauge in gauges:
        row = rows.get(gauge.type)
        rung = rung_at(gauge.percent, row.rungs if row else DEFAULT_RUNGS)
        if rung:
            # rounded down: 100 % is only what is full
            summary = f"{int(gauge.percent)} % used ({gauge.used} of {gauge.total} {gauge.unit})"
            yield Finding(gauge.type, rung.severity, summary, gauge.key)


def plain_conditions(found: list[Finding]) -> list[dict[str, Any]]:
    """Conditions as `explain --json` shows them."""
    return [{"type": f.type, "key": f.key, "severity": f.severity.value} for f in found]


def field_lines(value: Any) -> Iterator[str]:
    """The fields of a status or a table, a line each: `mode: rw`. Empty ones are left out."""
    shown = plain(value)
    state = shown.pop("state", None)
    if state not in {None, "working", "empty"}:
        yield f"state: {state}"
    for name, item in shown.items():
        if item not in ([], "", None):
            yield f"{name}: {_cell(item)}"


def _cell(item: Any) -> str:
    if isinstance(item, dict):
        return " ".join(f"{name}={_cell(part)}" for name, part in item.items() if part is not None)
    if isinstance(item, list):
        nested = any(isinstance(part, dict) for part in item)
        return (" | " if nested else " ").join(map(_cell, item))
    if isinstance(item, bool):
        return "yes" if item else "no"
    return printable(str(item))


def condition_lines(found: list[Finding]) -> Iterator[str]:
    """Conditions for people, a line each."""
    for finding in found:
        key = f" [{finding.key}]" if finding.key else ""
        severity = coloured(finding.severity.value, COLOURS[finding.severity], bold=True)
        yield f"! {severity} {finding.type}{key}: {finding.summary}"
