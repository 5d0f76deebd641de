"""What stood when an earlier watcher ended, given to the devices that it stood on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dmwatch.events import Condition
from dmwatch.monitor.tracked import Tracked


def seed(
    standing: Iterable[Condition],
    devices: Iterable[Tracked],
    gone: Callable[[Condition], None],
) -> list[Tracked]:
    """Give each condition to its device, known by uuid, else by name.

    Args:
        standing: what is about dmwatch itself is passed over: it is not the watcher's.
        devices: those that are there.
        gone: called with what stood on a device that is not.

    Returns:
        The devices that were given what does not stand on them yet.
    """
    given: list[Tracked] = []
    by_identity = {_identity(d.uuid, d.name.printable): d for d in devices}
    for condition in standing:
        ref = condition.device
        if ref is None:
            continue
        device = by_identity.get(_identity(ref.uuid, ref.name))
        if device is None:
            gone(condition)
        elif (condition.type, condition.key) not in device.conditions.standing:
            device.seed([condition])
            given.append(device)
    return given


def _identity(uuid: str | None, name: str) -> tuple[str, str]:
    return ("uuid", uuid) if uuid else ("name", name)
