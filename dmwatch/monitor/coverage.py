"""What is watched of each device, how, and what cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dmwatch.monitor.tracked import Tracked
from dmwatch.names import printable
from dmwatch.targets import TYPES, find
from dmwatch.targets.base import Notice


@dataclass(frozen=True, slots=True)
class Coverage:
    """How one device is watched.

    Attributes:
        device: its name.
        label: what its owner calls it.
        number: its device number.
        uuid: its uuid, or None.
        targets: its target types.
        how: by what changes are seen: event, uevent, poll.
        poll: seconds between two polls of its status, or None where it is not polled.
        conditions: the types that are watched for.
        unprotected: what is not seen, as sentences.
    """

    device: str
    label: str
    number: str
    uuid: str | None
    targets: tuple[str, ...]
    how: tuple[str, ...]
    poll: float | None
    conditions: tuple[str, ...]
    unprotected: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def coverage_of(device: Tracked, *, uevents: bool) -> Coverage:
    """Say how a device is watched; `uevents`: the kernel's uevents are heard."""
    kinds = sorted(device.types)
    notices = {find(kind).notice for kind in kinds}
    poll = device.poll_after()
    how = [
        *(["event"] if Notice.EVENT in notices else []),
        *(["uevent"] if uevents else []),
        *(["poll"] if poll is not None else []),
    ]
    return Coverage(
        device=device.name.printable,
        label=device.ref.label,
        number=str(device.number),
        uuid=device.ref.uuid,
        targets=tuple(map(printable, kinds)),
        how=tuple(how),
        poll=poll,
        conditions=tuple(row.type for kind in kinds for row in find(kind).conditions),
        unprotected=tuple(_unprotected(device, kinds, uevents=uevents)),
    )


def _unprotected(device: Tracked, kinds: list[str], *, uevents: bool) -> list[str]:
    found = []
    if device.lines is None:
        found.append("its status was never read")
    unread = [line.seen.type for line in device.lines or () if line.unreadable]
    found += [f"the status of {printable(kind)} is not understood" for kind in unread]
    for kind in kinds:
        if kind not in TYPES:
            found.append(f"target {printable(kind)} is not known: only its table is watched")
        elif find(kind).notice is Notice.NOTHING:
            found.append(f"{kind} reports no failures: what lies below it must be watched")
        elif find(kind).keyed and not find(kind).conditions:
            found.append(f"{kind} reports no failures, and its table is never read")
    if not uevents:
        found.append("no uevents are heard: a swapped table is found by polling")
    return found
