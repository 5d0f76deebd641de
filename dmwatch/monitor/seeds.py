"""What stood when an earlier watcher ended, given to the devices that it stood on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dmwatch.events import Condition
from dmwatch.monitor.tracked import Tracked


def seed(
    standing: Iterable[Condition],
    devices: Iterable[Tracked],
    gone: Callable[[Condition], None],
) -> None:
    """Give each condition to its device, known by uuid, else by name.

    Args:
        standing: what is about dmwatch itself is passed over: it is not the watcher's.
        devices: those that are there.
        gone: called with what stood on a device that is not.
    """
    by_identity = {_identity(d.uuid, d.name.printable): d for d in devices}
    for condition in standing:
        ref = condition.device
        if ref is None:
            continue
        device = by_identity.get(_identity(ref.uuid, ref.name))
        if device:
            device.seed([condition])
        else:
            gone(condition)


def _identity(uuid: str | None, name: str) -> tuple[str, str]:
    return ("uuid", uuid) if uuid else ("name", name)
