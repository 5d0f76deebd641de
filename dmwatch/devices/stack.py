"""Stacks: which block device lies on which, down to the disks and up to what is mounted.

    with DeviceMapper() as dm:
        stack = read_stack(dm)
        for step in plan(stack.teardown, dm, "vg-home"):
            print(step)

A stack is a value, as old as the look that found it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dmwatch.devices.change import PATIENCE, changing
from dmwatch.devices.mounts import Mount
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC
from dmwatch.errors import DeviceBusyError, DeviceNotFoundError
from dmwatch.ioctl.abi import UdevFlags
from dmwatch.names import DeviceNumber, label
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class Node:
    """A block device in a stack.

    Attributes:
        number: its number.
        name: device-mapper's, else the kernel's.
        kind: see Block; `unknown` for what another one uses and nobody shows.
        kernel_name: `dm-0`, or None where sysfs does not show it.
        uuid: device-mapper's, or None.
        targets: see Mapped; empty for others.
        size: or None where nobody says.
        below: what it lies on.
        above: what lies on it.
        mounts: what is mounted from it.
        file: that a loop device lies on, or None.
        problem: see Mapped.
    """

    number: DeviceNumber
    name: str
    kind: str = "unknown"
    kernel_name: str | None = None
    uuid: str | None = None
    targets: tuple[str, ...] | None = ()
    size: Sectors | None = None
    below: tuple[DeviceNumber, ...] = ()
    above: tuple[DeviceNumber, ...] = ()
    mounts: tuple[Mount, ...] = ()
    file: str | None = None
    problem: str | None = None

    @property
    def label(self) -> str:
        """What its owner calls it, see dmwatch.names.label."""
        return label(self.name, self.uuid)


_CALLED: tuple[Callable[[Node], str | None], ...] = (
    lambda node: node.name if node.kind == "dm" else None,
    lambda node: node.label if node.kind == "dm" else None,
    lambda node: str(node.number),
    lambda node: node.kernel_name or node.name,
)
"""What a device may be called by, a name of device-mapper's first."""


class Stack:
    """Block devices and what lies on what.

    Attributes:
        nodes: by number; those on top first, and each before all that it lies on.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        known = {node.number: node for node in nodes}
        self.nodes: Mapping[DeviceNumber, Node] = {n: known[n] for n in _top_first(known)}

    def find(self, device: str | DeviceNumber) -> Node:
        """A device by its number, or by name, label, number or kernel name as text, in this order.

        Raises:
            DeviceNotFoundError: there is none.
        """
        if isinstance(device, DeviceNumber) and device in self.nodes:
            return self.nodes[device]
        for called in _CALLED:
            for node in self.nodes.values():
                if called(node) == device:
                    return node
        raise DeviceNotFoundError("DEV_STATUS", str(device), errno.ENXIO, because="it is not there")

    def upon(self, device: Node) -> list[Node]:
        """All that lies on a device, directly or not, those on top first."""
        return self._reached([device], lambda node: node.above)

    def beneath(self, device: Node) -> list[Node]:
        """All that a device lies on, directly or not, those on top first."""
        return self._reached([device], lambda node: node.below)

    def part(self, devices: Iterable[Node]) -> Stack:
        """The stacks that some devices belong to: they, what lies on them and what they lie on."""
        chosen = list(devices)
        above = self._reached(chosen, lambda node: node.above)
        below = self._reached(chosen, lambda node: node.below)
        wanted = {node.number for node in (*chosen, *above, *below)}
        return Stack(_only(node, wanted) for n, node in self.nodes.items() if n in wanted)

    def removal(self, device: str | DeviceNumber, *, beneath: bool = False) -> list[Node]:
        """What a teardown removes, in order: all that lies on a device, then the device.

        Args:
            device: see `find`.
            beneath: also what it lies on and nothing else uses.

        Raises:
            DeviceNotFoundError: it is not there.
            DeviceBusyError: one of them is mounted or no device-mapper device.
        """
        top = self.find(device)
        order = [*self.upon(top), top]
        for node in order:
            _refuse_if_used(node)
        if beneath:
            gone = {node.number for node in order}
            for node in self.beneath(top):
                if node.kind == "dm" and not node.mounts and gone.issuperset(node.above):
                    gone.add(node.number)
                    order.append(node)
        return order

    def teardown(
        self,
        dm: DeviceMapper,
        device: str | DeviceNumber,
        *,
        beneath: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        """Remove a device and all that lies on it, top first; all or nothing.

        Args:
            dm: where they live.
            device: see `find`.
            beneath: see `removal`.
            patience: seconds for which one that is busy is tried again.

        Raises:
            DeviceNotFoundError: it is not there.
            DeviceBusyError: one is mounted or held open. Those removed before are there again.
        """
        with changing() as change:
            for node in self.removal(device, beneath=beneath):
                change.remove(_Found(dm, node.name, node.uuid), patience=patience)

    def _reached(
        self, starts: Sequence[Node], step: Callable[[Node], Iterable[DeviceNumber]]
    ) -> list[Node]:
        """What can be reached from some devices, but for these."""
        begun = {node.number for node in starts}
        reached: set[DeviceNumber] = set()
        waiting = [number for node in starts for number in step(node)]
        while waiting:
            number = waiting.pop()
            if number not in reached and number not in begun:
                reached.add(number)
                waiting.extend(step(self.nodes[number]))
        return [node for number, node in self.nodes.items() if number in reached]


@dataclass(slots=True)
class _Found:
    """A device that somebody made."""

    dm: DeviceMapper
    name: str
    uuid: str | None
    visibility: UdevFlags = PUBLIC


def _refuse_if_used(node: Node) -> None:
    if node.mounts:
        mount = node.mounts[0]
        way = f"swapoff {mount.source}" if mount.swap else f"umount {mount.point}"
        because = "it is swapped to" if mount.swap else f"it is mounted on {mount.point}"
        raise DeviceBusyError("DEV_REMOVE", node.label, errno.EBUSY, because=because, hint=way)
    if node.kind != "dm":
        because = f"it is no device-mapper device ({node.kind})"
        hint = "take it down with the tool that made it"
        raise DeviceBusyError("DEV_REMOVE", node.label, errno.EBUSY, because=because, hint=hint)


def _only(node: Node, wanted: set[DeviceNumber]) -> Node:
    below = tuple(number for number in node.below if number in wanted)
    return replace(node, below=below, above=tuple(n for n in node.above if n in wanted))


def _top_first(nodes: Mapping[DeviceNumber, Node]) -> list[DeviceNumber]:
    """Each before all that it lies on; those of a circle, which cannot be, at the end."""
    waiting_for = {number: len(node.above) for number, node in nodes.items()}
    ready = sorted((n for n, count in waiting_for.items() if not count), reverse=True)
    order: list[DeviceNumber] = []
    while ready:
        number = ready.pop()
        order.append(number)
        for below in reversed(nodes[number].below):
            waiting_for[below] -= 1
            if not waiting_for[below]:
                ready.append(below)
    return order + sorted(set(nodes) - set(order))
