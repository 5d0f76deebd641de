"""What lies on what, found: by device-mapper, sysfs and /proc.

Device-mapper says what the live tables use, sysfs knows the other block devices, /proc what is
mounted in this mount namespace. What else holds a device open shows nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dmwatch.devices.blocks import ROOT, Block, file_system_members, read_blocks
from dmwatch.devices.mounts import Mount, read_mounts
from dmwatch.devices.stack import Node, Stack
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DeviceNotFoundError
from dmwatch.ioctl.abi import Flags
from dmwatch.names import DeviceNumber
from dmwatch.units import Sectors

_TABLE = Flags.NOFLUSH | Flags.STATUS_TABLE | Flags.SECURE_DATA


@dataclass(frozen=True, slots=True)
class Mapped:
    """A device-mapper device, as its control node shows it.

    Attributes:
        number: its number.
        name: its name.
        uuid: or None.
        targets: the types of its live table, each once; None where they could not be read.
        below: what its live table uses; None where that could not be read.
        size: of its live table; None where it could not be read.
        problem: why something could not be read, or None.
    """

    number: DeviceNumber
    name: str
    uuid: str | None = None
    targets: tuple[str, ...] | None = None
    below: tuple[DeviceNumber, ...] | None = None
    size: Sectors | None = None
    problem: str | None = None


def read_stack(dm: DeviceMapper | None = None, root: Path = ROOT) -> Stack:
    """The stacks of this machine. A target that hangs hangs this call: see `dmwatch tree`.

    Args:
        dm: the device-mapper to ask; None: what sysfs shows.
        root: the directory that holds `sys`, `proc` and `dev`, for tests.
    """
    mapped = [] if dm is None else [_mapped(dm, d.number) for d in dm.list_devices()]
    return build((device for device in mapped if device), root)


def _mapped(dm: DeviceMapper, number: DeviceNumber) -> Mapped | None:
    try:
        below = tuple(dm.deps(number))
        answer = dm.table_status(number, flags=_TABLE)
    except DeviceNotFoundError:
        return None  # removed since it was listed
    return Mapped(
        number=number,
        name=answer.info.name or "",
        uuid=answer.info.uuid,
        targets=tuple(dict.fromkeys(line.type for line in answer.lines)),
        below=below,
        size=Sectors(sum(line.length for line in answer.lines)),
    )


def build(mapped: Iterable[Mapped], root: Path = ROOT) -> Stack:
    """Put together what the three witnesses say.

    Args:
        mapped: device-mapper's devices.
        root: see `read_stack`.
    """
    blocks = read_blocks(root)
    nodes = _nodes(blocks)
    for device in mapped:
        nodes[device.number] = _with(nodes.get(device.number), device)
    _add_unknown(nodes)
    _mount(nodes, read_mounts(root), file_system_members(root), root)
    return Stack(_upwards(nodes))


def _nodes(blocks: Iterable[Block]) -> dict[DeviceNumber, Node]:
    numbers = {block.kernel_name: block.number for block in blocks}
    return {
        block.number: Node(
            number=block.number,
            name=block.name or block.kernel_name,
            kind=block.kind,
            kernel_name=block.kernel_name,
            uuid=block.uuid,
            targets=None if block.kind == "dm" else (),
            size=block.size,
            below=tuple(numbers[name] for name in block.below if name in numbers),
            file=block.file,
        )
        for block in blocks
    }


def _with(node: Node | None, device: Mapped) -> Node:
    node = node or Node(device.number, device.name)
    return replace(
        node,
        name=device.name,
        kind="dm",
        uuid=device.uuid,
        targets=device.targets,
        size=node.size if device.size is None else device.size,
        below=node.below if device.below is None else device.below,
        problem=device.problem,
    )


def _add_unknown(nodes: dict[DeviceNumber, Node]) -> None:
    for number in {below for node in nodes.values() for below in node.below}:
        nodes.setdefault(number, Node(number, str(number)))


def _mount(
    nodes: dict[DeviceNumber, Node],
    mounts: Iterable[Mount],
    members: Iterable[frozenset[str]],
    root: Path,
) -> None:
    groups = list(members)
    names = {node.name: node.number for node in nodes.values() if node.kind == "dm"}
    names |= {node.kernel_name: node.number for node in nodes.values() if node.kernel_name}
    for mount in mounts:
        number = mount.number or names.get(_node_name(mount.source, root))
        for at in _all_of(number, groups, names) & nodes.keys():
            nodes[at] = replace(nodes[at], mounts=(*nodes[at].mounts, mount))


def _all_of(
    number: DeviceNumber | None,
    groups: Iterable[frozenset[str]],
    names: Mapping[str, DeviceNumber],
) -> set[DeviceNumber]:
    """The devices of the file system that a device is part of."""
    if number is None:
        return set()
    alike = ({names[name] for name in group if name in names} for group in groups)
    return next((group for group in alike if number in group), {number})


def _node_name(source: str, root: Path) -> str:
    """The last name of a device's path, behind its links; "" for what is none."""
    try:
        node = (root / source.lstrip("/")).resolve()
        inside = source.startswith("/dev/") and node.is_relative_to(root.resolve() / "dev")
    except (OSError, ValueError, RuntimeError):
        return ""
    return node.name if inside else ""


def _upwards(nodes: dict[DeviceNumber, Node]) -> list[Node]:
    above: dict[DeviceNumber, set[DeviceNumber]] = {number: set() for number in nodes}
    for node in nodes.values():
        for number in node.below:
            above[number].add(node.number)
    return [
        replace(node, below=tuple(sorted(set(node.below))), above=tuple(sorted(above[number])))
        for number, node in nodes.items()
    ]
