"""What stands, folded from the events: the truth that a restart begins with."""

from __future__ import annotations

from collections.abc import Iterable

from dmwatch.events import Condition, DeviceRef, Event, State

Key = tuple[str, str, str]
"""Identity of the device (its uuid, else its name; "" for dmwatch.*), type, key."""
Changes = dict[Key, Condition | None]
"""What stands now under a key; None: nothing any more."""

_MOVES = frozenset({"device.renamed", "device.uuid-set"})


def identity(device: DeviceRef | None) -> str:
    """What a device is known by across restarts and reboots."""
    if device is None:
        return ""
    # marked, so that no name can be taken for a uuid
    return f"uuid {device.uuid}" if device.uuid else f"name {device.name}"


class StandingConditions:
    """Every condition that stands after the events so far."""

    def __init__(self, conditions: Iterable[Condition] = ()) -> None:
        self._held = {_key(c.device, c.type, c.key): c for c in conditions}

    @property
    def conditions(self) -> list[Condition]:
        """All of them, worst first."""
        return sorted(self._held.values(), key=lambda condition: condition.worst_first)

    @property
    def all(self) -> Changes:
        """All of them, by key."""
        return dict(self._held)

    def add(self, conditions: Iterable[Condition]) -> list[Condition]:
        """Take what is found to have stood before; give those of which nothing was known."""
        late = [c for c in conditions if _key(c.device, c.type, c.key) not in self._held]
        self._held |= {_key(c.device, c.type, c.key): c for c in late}
        return late

    def take(self, event: Event) -> Changes:
        """Go on by one event; give what changed by it."""
        changes = self._taken(event)
        for key, condition in changes.items():
            if condition is None:
                self._held.pop(key, None)
            else:
                self._held[key] = condition
        return changes

    def _taken(self, event: Event) -> Changes:
        if event.type in _MOVES and event.device is not None:
            return self._moved(event, event.device)
        if event.state is None:
            return {}
        key = _key(event.device, event.type, event.key)
        before = self._held.get(key)
        if event.state is State.CLEARED:
            return {key: None}
        if event.state is State.REMINDER and before is not None:
            return {}
        return {key: _condition(event, before)}

    def _moved(self, event: Event, device: DeviceRef) -> Changes:
        """A device goes by another name or uuid: what stands on it goes with it."""
        if event.type == "device.uuid-set":
            old = f"name {device.name}"
        else:
            old = f"uuid {device.uuid}" if device.uuid else f"name {event.data.get('old_name')}"
        moved = {k: c for k, c in self._held.items() if k[0] == old}
        gone: Changes = dict.fromkeys(moved)
        return gone | {_key(device, c.type, c.key): _renamed(c, device) for c in moved.values()}


def _key(device: DeviceRef | None, type_: str, key: str | None) -> Key:
    return identity(device), type_, key or ""


def _renamed(condition: Condition, device: DeviceRef) -> Condition:
    clause = condition.summary.removeprefix(f"{condition.label}: ")
    return condition.model_copy(update={"device": device, "summary": f"{device.label}: {clause}"})


def _condition(event: Event, before: Condition | None) -> Condition:
    return Condition(
        type=event.type,
        key=event.key,
        severity=event.severity,
        device=event.device,
        target=event.target,
        since=before.since if before else event.time,
        summary=event.summary,
        advice=event.advice,
        data=event.data,
    )
