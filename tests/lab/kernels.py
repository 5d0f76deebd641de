"""Which kernel the lab boots: the installed one, or one fetched from Debian into .lab/kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT = "6.1"
MATRIX = ("5.10", "6.1", "6.12", "7")


class KernelError(Exception):
    """No such kernel; the message is for people."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A bootable image; its modules lie in ../lib/modules/RELEASE, or in the system's."""

    image: Path
    release: str


def find(name: str) -> Kernel:
    """A kernel by its series (6.1) or by the path of its vmlinuz."""
    if "/" in name:
        return _from_path(Path(name).resolve())
    if name not in MATRIX:
        raise KernelError(f"no kernel {name!r}: try {', '.join(MATRIX)}, or the path of a vmlinuz")
    return _installed(name)


def _from_path(image: Path) -> Kernel:
    if not image.is_file():
        raise KernelError(f"there is no kernel {image}")
    return Kernel(image, image.name.removeprefix("vmlinuz-"))


def _installed(series: str) -> Kernel:
    images = Path("/boot").glob(f"vmlinuz-{series}.*-amd64")
    newest = max(images, key=_version, default=None)
    if newest is None:
        raise KernelError(f"no kernel {series} is installed: run make setup")
    return _from_path(newest)


def _version(image: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", image.name)]
