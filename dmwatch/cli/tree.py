"""`dmwatch tree`: what lies on what, down to the disks and up to what is mounted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import click

from dmwatch.cli.failure import NoSuchDeviceError
from dmwatch.cli.looking import Look, look_at, read_status
from dmwatch.cli.output import print_columns, print_json, size_text
from dmwatch.devices.stack import Node, Stack
from dmwatch.devices.survey import Mapped, build
from dmwatch.dm import DeviceInfo, DeviceMapper
from dmwatch.errors import ControlError, NotPermittedError
from dmwatch.names import DeviceNumber, matches, printable
from dmwatch.table import TargetLine
from dmwatch.units import Sectors

_HEADS = ("NAME", "NUMBER", "TYPE", "SIZE", "MOUNTED")
_LINES = {True: ("├─", "└─", "│ ", "  "), False: ("|-", "`-", "| ", "  ")}
_AGAIN = " ..."

Next = Callable[[Node], Sequence[DeviceNumber]]


@click.command(epilog="Example: dmwatch tree vg/home")
@click.argument("devices", metavar="[DEVICE...]", nargs=-1)
@click.option("--up", is_flag=True, help="begin with the disks, not with what lies on top")
@click.option("--json", "as_json", is_flag=True, help="print a JSON array of objects, top first")
def command(devices: tuple[str, ...], up: bool, as_json: bool) -> None:
    """Show who lies on whom: down to the disks, up to mount points.

    Each device stands above what it lies on. What lies below it is shown once; `...` stands where
    it would be repeated.
    """
    stack = _chosen(build(_mapped()), devices)
    if as_json:
        print_json([plain(node) for node in stack.nodes.values()])
        return
    print_columns(_HEADS, [_row(drawn, node) for drawn, node in draw(stack, up=up)])
    for node in stack.nodes.values():
        if node.problem:
            click.echo(f"{printable(node.label)}: {node.problem}", err=True)


def _mapped() -> list[Mapped]:
    """Device-mapper's devices; without it sysfs is left, which says less."""
    below: dict[DeviceNumber, tuple[DeviceNumber, ...]] = {}

    def read(dm: DeviceMapper, number: DeviceNumber) -> tuple[DeviceInfo, tuple[TargetLine, ...]]:
        below[number] = tuple(dm.deps(number))
        return read_status(dm, number)

    try:
        looks = look_at((), read)
    except (ControlError, NotPermittedError) as error:
        click.echo(f"dmwatch: shown without target types: {error}", err=True)
        return []
    return [_seen(look, below.get(look.device.number)) for look in looks]


def _seen(look: Look, below: tuple[DeviceNumber, ...] | None) -> Mapped:
    device, lines = look.device, look.lines
    seen = Mapped(device.number, device.name, device.uuid, below=below, problem=look.problem)
    if lines is None:
        return seen
    types = tuple(dict.fromkeys(line.type for line in lines))
    return replace(seen, targets=types, size=Sectors(sum(line.length for line in lines)))


def _chosen(stack: Stack, wanted: Sequence[str]) -> Stack:
    """The stacks of the devices that are meant; all that hold something where none is given.

    Raises:
        NoSuchDeviceError: one of them, without wildcards, means none.
    """
    nodes = list(stack.nodes.values())
    for word in wanted:
        if not any(c in word for c in "*?[") and not any(_means(word, node) for node in nodes):
            raise NoSuchDeviceError(
                f"there is no block device {word!r}", hint="`dmwatch tree` shows them all"
            )
    if wanted:
        return stack.part(n for n in nodes if any(_means(word, n) for word in wanted))
    return stack.part(n for n in nodes if n.size or n.kind == "dm" or n.above or n.mounts)


def _means(word: str, node: Node) -> bool:
    called = (node.name, node.label, str(node.number), node.kernel_name or node.name)
    return matches(word, *called)


def plain(node: Node) -> dict[str, Any]:
    """A device as `tree --json` shows it; what could not be read is null."""
    return {
        "name": printable(node.name),
        "label": node.label,
        "number": str(node.number),
        "kernel_name": None if node.kernel_name is None else printable(node.kernel_name),
        "uuid": None if node.uuid is None else printable(node.uuid),
        "kind": node.kind,
        "targets": None if node.targets is None else list(node.targets),
        "size": None if node.size is None else int(node.size),
        "below": [str(number) for number in node.below],
        "above": [str(number) for number in node.above],
        "mounts": [
            {"point": printable(mount.point), "file_system": printable(mount.file_system)}
            for mount in node.mounts
        ],
        "file": None if node.file is None else printable(node.file),
        "problem": node.problem,
    }


def draw(stack: Stack, *, up: bool = False) -> Iterator[tuple[str, Node]]:
    """Each device with the lines before its name, depth first.

    Args:
        stack: what to draw.
        up: begin below.
    """
    follow: Next = (lambda node: node.above) if up else (lambda node: node.below)
    tops = [n for n in stack.nodes.values() if not (n.below if up else n.above)]
    waiting = [("", "", node) for node in sorted(tops, key=_order, reverse=True)]
    tee, corner, bar, blank = _LINES[_can_draw()]
    done: set[DeviceNumber] = set()
    while waiting:
        before, drawn, node = waiting.pop()
        after = [stack.nodes[number] for number in follow(node)]
        repeated = bool(after) and node.number in done
        yield before + drawn + node.label + (_AGAIN if repeated else ""), node
        if repeated:
            continue
        done.add(node.number)
        inner = before + {tee: bar + " ", corner: blank + " "}.get(drawn[:2], "")
        last = len(after) - 1
        waiting += [
            (inner, (corner if i == last else tee) + " ", lower)
            for i, lower in reversed(list(enumerate(sorted(after, key=_order))))
        ]


def _order(node: Node) -> tuple[str, DeviceNumber]:
    return node.label, node.number


def _can_draw() -> bool:
    try:
        "├─└│".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _row(drawn: str, node: Node) -> tuple[str, ...]:
    mounts = (f"{mount.point} ({mount.file_system})" for mount in node.mounts if not mount.swap)
    swaps = (mount.point for mount in node.mounts if mount.swap)
    return (
        drawn,
        str(node.number),
        _type(node),
        "-" if node.size is None else size_text(int(node.size)),
        ", ".join((*mounts, *swaps)) or "-",
    )


def _type(node: Node) -> str:
    if node.kind == "dm":
        return "dm" if node.targets is None else ",".join(node.targets) or "empty"
    return f"{node.kind} ({node.file})" if node.file else node.kind
