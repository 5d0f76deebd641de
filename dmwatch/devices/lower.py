"""What devices of several parts share: the parts grow with them, and go with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dmwatch.devices.below import Below, node_of
from dmwatch.devices.device import Device
from dmwatch.devices.linear import LinearDevice, Range
from dmwatch.errors import InvalidValueError
from dmwatch.targets import TargetTable

FIRST_BLOCK = 4096


def extend(what: str, below: Below, ranges: Iterable[Range]) -> None:
    """Extend a part; without ranges nothing is done.

    Raises:
        InvalidValueError: it is no linear device of ours.
    """
    added = tuple(ranges)
    if not added:
        return
    if not isinstance(below, LinearDevice):
        raise InvalidValueError(
            f"the {what} device is not a LinearDevice, so it cannot be extended here",
            hint="extend it yourself, then call reload()",
        )
    below.extend(*added)


def names(parts: Iterable[Below]) -> list[str]:
    """The names of the parts that are devices of ours."""
    return [part.name for part in parts if isinstance(part, Device)]


def teardown(parts: Iterable[Below]) -> None:
    """Take down the parts that are devices of ours, in this order; each once."""
    ours: list[Device[TargetTable]] = [part for part in parts if isinstance(part, Device)]
    for part in dict.fromkeys(ours):
        part.teardown()


def blank(below: Below) -> None:
    """Overwrite the first 4 KiB of a metadata device with zeros: what lies on top formats it anew.

    All that it described is lost: a pool's volumes, a cache's dirty blocks.

    Raises:
        OSError: it cannot be opened or written.
    """
    with Path(node_of(below)).open("r+b", buffering=0) as node:
        node.write(bytes(FIRST_BLOCK))
