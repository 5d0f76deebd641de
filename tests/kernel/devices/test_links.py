"""udev's links by the uuid of a file system, on a thin volume and on its snapshot."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.devices import LinearDevice, Range, ThinDevice, ThinPool
from dmwatch.dm import DeviceMapper
from dmwatch.units import Sectors

from .conftest import MIB, cookies, tool

Names = Callable[[str], str]
Loop = Callable[[float], str]
LINKS = Path("/dev/disk/by-uuid")
BLOCK = Sectors(128)


@pytest.fixture
def pool(
    dm: DeviceMapper,
    device_name: Names,
    loop: Loop,
    udevd: Any,
    need_target: Callable[[str], None],
) -> ThinPool:
    need_target("thin-pool")
    disk = loop(36)
    metadata = LinearDevice(dm, device_name("meta"), [Range(disk, Sectors(4 * MIB))])
    data = LinearDevice(dm, device_name("data"), [Range(disk, None, Sectors(4 * MIB))])
    pool = ThinPool(
        dm, device_name("pool"), metadata=metadata.create(), data=data.create(), block_size=BLOCK
    )
    return pool.create()


def leads_to(link: uuid.UUID) -> Path | None:
    path = LINKS / str(link)
    return path.resolve() if path.is_symlink() else None


@pytest.mark.parity(74)
@pytest.mark.timeout(600)
def test_links_by_uuid_are_right_on_a_volume_and_on_its_snapshot(
    pool: ThinPool,
    device_name: Names,
    udevd: Any,
) -> None:
    thin = ThinDevice(pool.dm, device_name("thin"), pool=pool, size=Sectors(16 * MIB)).create()
    first, second = uuid.uuid4(), uuid.uuid4()
    tool("mkfs.ext4", "-q", "-U", str(first), thin.node)
    udevd.settle()  # whoever closes a device that was written makes udev look again
    assert leads_to(first) == Path(thin.node)

    thin.teardown()
    assert leads_to(first) is None
    thin.setup()
    assert leads_to(first) == Path(thin.node)

    snapshot = thin.snapshot(device_name("snapshot"))
    tool("e2fsck", "-fy", snapshot.node)
    tool("tune2fs", "-U", str(second), snapshot.node)
    udevd.settle()
    thin.teardown()
    thin.setup()
    assert leads_to(first) == Path(thin.node)
    assert leads_to(second) == Path(snapshot.node)
    for device in (snapshot, thin):
        device.delete()
    assert leads_to(first) is leads_to(second) is None
    pool.teardown(below=True)
    assert cookies() == []
