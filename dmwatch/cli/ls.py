"""`dmwatch ls`: the devices, a line each."""

from __future__ import annotations

from typing import Any

import click

from dmwatch.cli.asking import answer
from dmwatch.cli.looking import Look, look_at, read_status
from dmwatch.cli.meaning import plain_conditions
from dmwatch.cli.output import print_columns, print_json, size_text
from dmwatch.cli.status import shown_conditions
from dmwatch.targets import Finding

Told = dict[str, dict[str, Any]]
_HEADS = ("NAME", "NUMBER", "TARGETS", "SIZE", "OPEN", "EVENT", "STATE", "WORST")


@click.command(epilog="Example: dmwatch ls 'vg-*'")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects")
def command(devices: tuple[str, ...], as_json: bool) -> None:
    """List the devices: number, targets, size, open count, event number, state, worst condition.

    The worst condition is the daemon's, where one runs; else what the status shows by itself.
    """
    looks = look_at(devices, read_status)
    told = _told()
    shown = [plain(look) if told is None else plain(look, told) for look in looks]
    if as_json:
        print_json(shown)
        return
    print_columns(_HEADS, [_row(device) for device in shown])


def _told() -> Told | None:
    """The worst condition of each device by the daemon; None where there is none."""
    said = answer("conditions")
    if said is None:
        return None
    # they come worst first
    worst_last = reversed([found for found in said["conditions"] if found["device"]])
    return {found["device"]["number"]: found for found in worst_last}


def plain(look: Look, told: Told | None = None) -> dict[str, Any]:
    """A device as `ls --json` shows it; what could not be read is null.

    Args:
        look: what was seen.
        told: the worst condition of each device, by number; None: what its status shows.
    """
    info = look.info
    return {
        "name": look.device.name.printable,
        "uuid": look.device.uuid.printable if look.device.uuid else None,
        "number": str(look.device.number),
        "targets": None if look.lines is None else types(look),
        "size": None if look.lines is None else sum(line.length for line in look.lines),
        "open_count": info.open_count if info else None,
        "event_nr": info.event_nr if info else look.device.event_nr,
        "state": states(look),
        "condition": _condition(look, told),
        "problem": look.problem,
    }


def _condition(look: Look, told: Told | None) -> dict[str, Any] | None:
    if told is not None:
        found = told.get(str(look.device.number))
        return {name: found[name] for name in ("type", "key", "severity")} if found else None
    worst = worst_condition(look)
    return plain_conditions([worst])[0] if worst else None


def worst_condition(look: Look) -> Finding | None:
    """The worst of the conditions that its status shows by itself: default rungs, no time."""
    found = [finding for line in look.lines or () for finding in shown_conditions(line, look)]
    return max(found, key=lambda finding: finding.severity.rank, default=None)


def types(look: Look) -> list[str]:
    """The target types of the live table, each once, in order."""
    return list(dict.fromkeys(line.type for line in look.lines or ()))


def states(look: Look) -> list[str]:
    """Its states in words; the first one is `active`, `suspended`, `empty` or `stuck`."""
    info = look.info
    if info is None:
        return ["stuck"]
    main = "suspended" if info.suspended else "active" if info.has_table else "empty"
    more = {
        "internally-suspended": info.internally_suspended,
        "read-only": info.read_only,
        "staged": info.has_staged_table,
        "removal-deferred": info.deferred_remove,
    }
    return [main, *(word for word, true in more.items() if true)]


def _row(shown: dict[str, Any]) -> tuple[str, ...]:
    return (
        shown["name"],
        shown["number"],
        ",".join(shown["targets"] or ["-"]),
        "-" if shown["size"] is None else size_text(shown["size"]),
        "-" if shown["open_count"] is None else str(shown["open_count"]),
        str(shown["event_nr"]),
        ",".join(shown["state"]),
        f"{worst['severity']} {worst['type']}" if (worst := shown["condition"]) else "-",
    )
