"""`dmwatch targets`: the target types of this kernel, and what dmwatch knows of each."""

from __future__ import annotations

from typing import Any

import click

from dmwatch.cli.output import print_columns, print_json
from dmwatch.dm import DeviceMapper
from dmwatch.names import printable
from dmwatch.targets import TYPES, Target, find
from dmwatch.targets.base import Notice

_HEADS = ("TARGET", "VERSION", "CHANGES SEEN BY", "WHAT IT IS")
_SEEN_BY = {
    Notice.EVENT: "event, poll",
    Notice.UEVENT: "uevent, poll",
    Notice.POLL: "poll",
    Notice.NOTHING: "-",
}


@click.command(epilog="Example: dmwatch targets --json")
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects")
def command(as_json: bool) -> None:
    """Show the target types that this kernel has loaded, with versions, and those dmwatch knows."""
    with DeviceMapper() as dm:
        versions = {v.type: ".".join(map(str, v.version)) for v in dm.versions()}
    found = [(find(name), versions.get(name)) for name in sorted({*TYPES, *versions})]
    if as_json:
        print_json([_plain(target, version) for target, version in found])
        return
    print_columns(_HEADS, [_row(target, version) for target, version in found])


def _plain(target: Target, version: str | None) -> dict[str, Any]:
    return {
        "type": printable(target.type),
        "version": version,
        "known": target.type in TYPES,
        "module": printable(target.module),
        "summary": target.summary,
        "notice": target.notice.value,
        "conditions": [row.type for row in target.conditions],
        "moments": [row.type for row in target.moment_types],
        "messages": [message.__name__ for message in target.messages],
    }


def _row(target: Target, version: str | None) -> tuple[str, ...]:
    seen_by = _SEEN_BY[target.notice]
    return target.type, version or "not loaded", seen_by, target.summary
