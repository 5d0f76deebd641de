"""Which devices live in which: what lives in a pool raises no events of its own."""

from __future__ import annotations

from dmwatch.monitor.tracked import Tracked
from dmwatch.names import DeviceNumber


class Pooling:
    """Devices by the device below them that tells of them.

    A device is asked for with each change of any other: looking through all would cost more with
    every device that there is.
    """

    def __init__(self) -> None:
        self._above: dict[DeviceNumber, dict[DeviceNumber, Tracked]] = {}

    def learn(self, device: Tracked) -> None:
        """Take in where a device lives, as its table was read last."""
        for pool in device.pools:
            self._above.setdefault(pool, {})[device.number] = device

    def forget(self, device: Tracked) -> None:
        """A device is gone, and nothing is known of what lived in it."""
        self._above.pop(device.number, None)
        for pool in device.pools:
            above = self._above.get(pool, {})
            if above.get(device.number) is device:
                del above[device.number]

    def living_in(self, pool: Tracked) -> list[Tracked]:
        """The devices that live in this one."""
        above = self._above.get(pool.number)
        if not above:
            return []
        # another table may have taken a device elsewhere
        left = {n: d for n, d in above.items() if pool.number in d.pools and not d.gone}
        self._above[pool.number] = left
        return list(left.values())
