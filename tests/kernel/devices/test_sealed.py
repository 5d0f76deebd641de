"""crypt, verity and integrity: ours are taken by cryptsetup's tools, and theirs by us."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from dmwatch.devices import (
    CryptDevice,
    IntegrityDevice,
    VerityDevice,
    VeritySuperblock,
    plan,
    size_of,
)
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceMismatchError, DmwatchError, InvalidValueError
from dmwatch.ioctl.abi import Flags
from dmwatch.targets.crypt import HexKey, KeyringKey, NoKey
from dmwatch.targets.integrity import Algorithm
from dmwatch.targets.keyed import Option
from dmwatch.targets.verity import VerityCorrupted, VerityValid
from dmwatch.units import Bytes, Sectors

from .conftest import MIB, Files, tool

Names = Callable[[str], str]
Loop = Callable[[float], str]
NeedTarget = Callable[[str], None]
SIZE = 64 * 1024
BLOCKS = 256


def overwrite(device: str, at: int, data: bytes) -> None:
    with Path(device).open("r+b", buffering=0) as node:
        node.seek(at)
        node.write(data)
        os.fsync(node.fileno())


def read(device: str, size: int = SIZE, at: int = 0) -> bytes:
    file = os.open(device, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, size, at)
    finally:
        os.close(file)


def key_file(where: Path, key: bytes) -> str:
    path = where / "key"
    path.write_bytes(key)
    return str(path)


def hex_key(raw: bytes) -> HexKey:
    return HexKey(raw.hex())  # type: ignore[arg-type]


# crypt


def open_plain(name: str, disk: str, file: str) -> None:
    words = ("--type", "plain", "--cipher", "aes-xts-plain64", "--key-size", "512")
    tool("cryptsetup", "open", "-q", *words, "--key-file", file, disk, name)


def test_a_plain_device_of_cryptsetup_is_ours_and_ours_is_its(
    dm: DeviceMapper, device_name: Names, loop: Loop, tmp_path: Path, need_target: NeedTarget
) -> None:
    need_target("crypt")
    disk, name, key = loop(4), device_name("plain"), secrets.token_bytes(64)
    open_plain(name, disk, key_file(tmp_path, key))
    overwrite(f"/dev/dm-{dm.info(name).number.minor}", 0, b"theirs" * 1000)

    found = CryptDevice.found(dm, name)
    assert (found.cipher, found.size) == ("aes-xts-plain64", size_of(disk))
    assert found.key == hex_key(key)
    assert found.uuid == f"CRYPT-PLAIN-{name}"
    ours = CryptDevice(dm, name, disk, hex_key(key), uuid=found.uuid).setup()
    assert ours.differs() == []
    assert key.hex() not in repr(vars(found)) + repr(ours.lines())
    ours.teardown()

    ours.create()
    assert read(ours.node, 6000) == b"theirs" * 1000
    overwrite(ours.node, 0, b"ours" * 1000)
    told = tool("cryptsetup", "status", name)
    assert re.search(r"is active", told)
    assert re.search(r"type: +PLAIN", told)
    assert re.search(r"cipher: +aes-xts-plain64", told)
    assert re.search(r"keysize: +512 bits", told)
    tool("cryptsetup", "close", name)
    assert not ours.exists()

    open_plain(name, disk, key_file(tmp_path, key))
    assert read(f"/dev/dm-{dm.info(name).number.minor}", 4000) == b"ours" * 1000
    tool("cryptsetup", "close", name)


def test_another_key_is_another_device_and_is_not_shown(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("crypt")
    disk, name = loop(1), device_name("crypt")
    one, other = secrets.token_bytes(32), secrets.token_bytes(32)
    with CryptDevice(dm, name, disk, hex_key(one)).create():
        with pytest.raises(DeviceMismatchError, match="differs in") as caught:
            CryptDevice(dm, name, disk, hex_key(other)).setup()
        assert one.hex() not in str(caught.value)
        assert other.hex() not in str(caught.value)


def test_luks_is_opened_with_what_luksdump_says_and_read_by_us(  # noqa: PLR0917
    dm: DeviceMapper,
    device_name: Names,
    loop: Loop,
    tmp_path: Path,
    files: Callable[[str], Files],
    need_target: NeedTarget,
) -> None:
    need_target("crypt")
    disk, name = loop(32), device_name("luks")
    file = key_file(tmp_path, b"secret")
    quick = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
    tool("cryptsetup", "luksFormat", "-q", "--type", "luks2", *quick, disk, file)
    tool("cryptsetup", "open", "-q", "--key-file", file, disk, name)
    found = CryptDevice.found(dm, name)
    assert isinstance(found.key, HexKey | KeyringKey)
    assert found.setup().differs() == []
    stored = files(found.node)
    stored.make()
    stored.write("theirs", SIZE)
    stored.umount()
    found.teardown()

    dumped = tool("cryptsetup", "luksDump", "-q", "--dump-master-key", "--key-file", file, disk)
    key = bytes.fromhex("".join(re.findall(r"\b[0-9a-f]{2}\b", dumped.partition("MK dump:")[2])))
    offset = re.search(r"Payload offset:\s*(\d+)", dumped)
    assert offset
    sector = [option for option in found.features if option.name == "sector_size"]
    ours = CryptDevice(
        dm,
        name,
        disk,
        hex_key(key),
        start=Sectors(int(offset[1])),
        features=sector,
        uuid=found.uuid,
    )
    with ours.create():
        assert ours.size == found.size
        stored.device = ours.node
        stored.mount()
        stored.check()
        stored.umount()
        told = tool("cryptsetup", "status", name)
        assert re.search(r"type: +LUKS2", told)
        assert re.search(r"is active", told)


def test_a_locked_device_has_no_key_and_goes_on_once_it_has_it_again(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("crypt")
    key = secrets.token_bytes(64)
    device = CryptDevice(dm, device_name("crypt"), loop(1), hex_key(key)).create()
    overwrite(device.node, 0, b"kept" * 1024)
    device.lock()
    assert device.info().suspended
    assert isinstance(device.key, NoKey)
    assert key.hex() not in tool("dmsetup", "table", "--showkeys", device.name)
    with pytest.raises(CommandError):
        device.resume()
    with pytest.raises(CommandError):
        device.unlock(hex_key(key[:32]))
    assert isinstance(device.key, NoKey)
    device.unlock(hex_key(key))
    assert not device.info().suspended
    assert read(device.node, 4096) == b"kept" * 1024
    device.teardown()


# verity


class Tree:
    """Data with a tree of hashes that veritysetup made."""

    def __init__(self, loop: Loop, *words: str) -> None:
        self.data, self.hashes = loop(1), loop(1)
        overwrite(self.data, 0, os.urandom(BLOCKS * 4096))
        told = tool("veritysetup", "format", *words, self.data, self.hashes)
        root = re.search(r"Root hash:\s*([0-9a-f]+)", told)
        assert root
        self.root = root[1]

    def device(self, dm: DeviceMapper, name: str, root: str | None = None) -> VerityDevice:
        return VerityDevice.formatted(
            dm, name, data=self.data, hashes=self.hashes, root_digest=root or self.root
        )


@pytest.fixture
def tree(loop: Loop, need_target: NeedTarget) -> Tree:
    need_target("verity")
    return Tree(loop)


def test_a_tree_of_veritysetup_is_opened_by_us(
    dm: DeviceMapper, device_name: Names, tree: Tree
) -> None:
    name = device_name("verity")
    device = tree.device(dm, name)
    with device.create():
        assert device.info().read_only
        assert read(device.node) == read(tree.data)
        assert device.status() == VerityValid(corrected=None)
        told = tool("veritysetup", "status", name)
        assert re.search(r"is active", told)
        assert re.search(r"status: +verified", told)
        assert re.search(r"type: +VERITY", told)
        assert tree.root in told
        assert [str(step.device) for step in plan(device.teardown)] == [name]


@pytest.mark.parametrize(
    "words",
    [("--no-superblock", "--salt", "ab" * 16), ("--hash", "sha1", "--data-block-size=1024")],
    ids=["no superblock", "sha1"],
)
def test_a_device_of_veritysetup_is_read_and_adopted(
    dm: DeviceMapper,
    device_name: Names,
    loop: Loop,
    need_target: NeedTarget,
    words: tuple[str, ...],
) -> None:
    need_target("verity")
    tree, name = Tree(loop, *words), device_name("verity")
    kept = [word for word in words if "superblock" in word]
    more = words if kept else ()
    tool("veritysetup", "open", *more, tree.data, name, tree.hashes, tree.root)
    found = VerityDevice.found(dm, name)
    assert found.root_digest == tree.root
    assert found.setup().differs() == []
    if not kept:
        known = VeritySuperblock.read(tree.hashes)
        assert (known.algorithm, known.data_block_size) == ("sha1", Bytes(1024))
        assert tree.device(dm, name).setup().differs() == []
    found.teardown()
    with found.create():
        assert read(found.node) == read(tree.data)
        assert "is active" in tool("veritysetup", "status", name)


def test_another_root_is_another_device_and_corruption_is_seen(
    dm: DeviceMapper, device_name: Names, tree: Tree
) -> None:
    name = device_name("verity")
    with tree.device(dm, name).create() as device:
        other = tree.device(dm, name, root="00" * 32)
        with pytest.raises(DeviceMismatchError, match="root_digest"):
            other.setup()
        overwrite(tree.data, 40 * 4096, b"changed")
        with pytest.raises(OSError, match="Input/output error"):
            read(device.node, 4096, 40 * 4096)
        assert isinstance(device.status(), VerityCorrupted)


def test_a_device_without_a_superblock_says_so(tree: Tree) -> None:
    with pytest.raises(DmwatchError, match="no superblock of verity"):
        VeritySuperblock.read(tree.data)


# integrity


def test_what_we_format_integritysetup_reads(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("integrity")
    disk, name = loop(16), device_name("integrity")
    device = IntegrityDevice(dm, name, disk)
    with pytest.raises(DmwatchError, match=r"never formatted.*format\(\)"):
        device.create()
    device.format()
    with pytest.raises(InvalidValueError, match="overwrite=True"):
        device.format()
    assert not device.exists()
    with device.create():
        assert device.status().provided == device.size
        assert 14 * MIB < int(device.size) < 16 * MIB
        overwrite(device.node, 0, b"kept" * 4096)
        assert f"provided_data_sectors {device.size}".split()[1] in tool(
            "integritysetup", "dump", disk
        )
        assert "is active" in tool("integritysetup", "status", name)
        assert IntegrityDevice.found(dm, name).setup().differs() == []
    tool("integritysetup", "open", disk, name)
    assert device.setup().differs() == []
    assert read(device.node, 16384) == b"kept" * 4096
    tool("integritysetup", "close", name)


def test_what_integritysetup_formats_we_open_and_see_mismatches(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("integrity")
    disk, name = loop(8), device_name("integrity")
    tool("integritysetup", "format", "-q", "--integrity", "sha256", "--tag-size", "32", disk)
    checksum = Algorithm("internal_hash", "sha256")
    device = IntegrityDevice(dm, name, disk, features=[checksum])
    with device.create():
        overwrite(device.node, 0, b"kept" * 4096)
        with pytest.raises(DeviceMismatchError, match="differs in options"):
            IntegrityDevice(dm, name, disk).setup()
        assert device.status().mismatches == 0
    raw = read(disk, 8 * MIB * 512)
    overwrite(disk, raw.index(b"kept" * 128), b"lost")
    with device.create():
        with pytest.raises(OSError, match=r"error|EILSEQ|checksum"):
            read(device.node, 4096)
        assert device.status().mismatches > 0


def test_checksums_can_be_calculated_anew(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("integrity")
    checksums = (Algorithm("internal_hash", "crc32c"), Option("recalculate"))
    device = IntegrityDevice(dm, device_name("integrity"), loop(4), features=checksums).format()
    with device.create():
        assert device.setup().differs() == []
        assert len(read(device.node)) == SIZE
        device.suspend(Flags.NOFLUSH)
        device.resume()
