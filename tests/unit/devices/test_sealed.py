"""crypt, verity, integrity: what counts in a comparison, superblocks, keys that stay hidden."""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

import pytest

from dmwatch.devices import (
    CryptDevice,
    IntegrityDevice,
    VerityDevice,
    VeritySuperblock,
    ZeroDevice,
    changing,
    plan,
)
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceMismatchError, DmwatchError, InvalidValueError
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.table import TargetLine
from dmwatch.targets.crypt import HexKey, NoKey
from dmwatch.targets.integrity import Algorithm
from dmwatch.targets.keyed import Option
from dmwatch.targets.secret import Secret
from dmwatch.targets.verity import VerityCorrupted, VerityValid
from dmwatch.testing import FakeKernel
from dmwatch.units import Bytes, DataBlocks, Sectors

DIGITS = "ab" * 64
KEY, OTHER = HexKey(Secret(DIGITS)), HexKey(Secret("cd" * 64))
ROOT = "0A" * 32


@pytest.fixture(autouse=True)
def integrity_target(kernel: FakeKernel) -> None:
    kernel.targets["integrity"] = (1, 10, 0)


# crypt


def test_a_crypt_device_is_as_long_as_what_is_left_below(
    dm: DeviceMapper, disk: ZeroDevice
) -> None:
    device = CryptDevice(dm, "crypt", disk, KEY, start=Sectors(32768)).create()
    (line,) = device.kernel_lines()
    assert line == TargetLine(
        0, (1 << 20) - 32768, "crypt", f"aes-xts-plain64 {DIGITS} 0 {disk.number} 32768"
    )


@pytest.mark.parametrize(
    "features",
    ["1 sector_size:512", "2 allow_discards sector_size:4096", "2 sector_size:4096 allow_discards"],
)
def test_the_order_of_options_makes_no_other_crypt_device(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice, features: str
) -> None:
    text = f"aes-xts-plain64 {DIGITS} 0 {disk.number} 0 {features}"
    kernel.add("crypt", TargetLine(0, 1 << 20, "crypt", text))
    words = features.split()[1:]
    options = [Option(w.partition(":")[0], w.partition(":")[2] or None) for w in words]
    wanted = [o for o in reversed(options) if o.value != "512"]
    assert CryptDevice(dm, "crypt", disk, KEY, features=wanted).setup().differs() == []


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"key": OTHER}, "secret"),
        ({"cipher": "aes-cbc-plain64"}, "cipher"),
        ({"iv_offset": Sectors(8)}, "iv_offset"),
        ({"features": [Option("allow_discards")]}, "options"),
    ],
)
def test_what_makes_another_crypt_device_is_named_without_a_key(
    dm: DeviceMapper, disk: ZeroDevice, changed: dict[str, object], field: str
) -> None:
    CryptDevice(dm, "crypt", disk, KEY).create()
    arguments = {"key": KEY, **changed}
    other = CryptDevice(dm, "crypt", disk, **arguments)  # type: ignore[arg-type]
    with pytest.raises(DeviceMismatchError) as caught:
        other.setup()
    assert field in caught.value.field
    assert "abab" not in str(caught.value)
    assert "cdcd" not in str(caught.value)


@pytest.mark.parity("B18")
def test_a_crypt_device_of_others_is_read_with_its_key_hidden(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice
) -> None:
    made = CryptDevice(dm, "crypt", disk, KEY, uuid="CRYPT-PLAIN-crypt").create()
    found = CryptDevice.found(dm, "crypt")
    assert found.lines() == made.lines()
    assert (found.uuid, found.key, found.differs()) == (made.uuid, KEY, [])
    assert DIGITS not in repr(vars(found)) + repr(found.lines()) + repr(found)
    asked = [c for c in kernel.calls if c.command is Command.TABLE_STATUS]
    assert all(c.flags & Flags.SECURE_DATA for c in asked if c.flags & Flags.STATUS_TABLE)


@pytest.mark.parametrize("line", [TargetLine(0, 8, "zero"), None])
def test_a_device_of_another_target_is_not_taken_for_one(
    dm: DeviceMapper, kernel: FakeKernel, line: TargetLine | None
) -> None:
    kernel.add("a", *([line] if line else []))
    with pytest.raises(DeviceMismatchError, match=r"wanted verity, found (zero|no table)"):
        VerityDevice.found(dm, "a")


def test_locking_forgets_the_key_and_unlocking_brings_it_back(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice
) -> None:
    device = CryptDevice(dm, "crypt", disk, KEY).create()
    device.lock()
    assert device.info().suspended
    assert device.key == NoKey()
    assert DIGITS not in repr(vars(device))
    device.unlock(KEY)
    assert not device.info().suspended
    assert [text for _, _, text in kernel.messages] == ["key wipe", f"key set {DIGITS}"]
    assert plan(device.lock)[1].text == "key wipe"
    sent = [c for c in kernel.calls if c.command is Command.TARGET_MSG]
    assert sent[-1].flags & Flags.SECURE_DATA


def test_what_is_locked_already_is_left_locked_where_a_later_step_fails(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice
) -> None:
    device = CryptDevice(dm, "crypt", disk, KEY).create()
    device.lock()
    kernel.messages.clear()

    def again() -> None:
        with changing():
            device.lock()
            raise ValueError("later")

    with pytest.raises(ValueError, match="later") as raised:
        again()
    assert [text for _, _, text in kernel.messages] == ["key wipe"]
    assert not hasattr(raised.value, "__notes__")
    assert device.info().suspended


def test_a_key_that_is_refused_leaves_it_locked(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice
) -> None:
    device = CryptDevice(dm, "crypt", disk, KEY).create()
    device.lock()
    kernel.fail(Command.TARGET_MSG, 22)
    with pytest.raises(CommandError):
        device.unlock(OTHER)
    assert device.info().suspended
    assert device.key == NoKey()


# verity


def superblock(**changed: object) -> bytes:
    fields = {
        "signature": b"verity\0\0",
        "version": 1,
        "kind": 1,
        "uuid": UUID(int=7).bytes,
        "algorithm": b"sha256",
        "data": 4096,
        "hash": 4096,
        "blocks": 256,
        "salt_size": 2,
        "salt": b"\xab\xcd",
        **changed,
    }
    return struct.pack("<8sII16s32sIIQH6x256s168x", *fields.values())


def test_a_superblock_of_veritysetup_is_read() -> None:
    assert VeritySuperblock.parse(superblock(), "x") == VeritySuperblock(
        hash_type=1,
        uuid=UUID(int=7),
        algorithm="sha256",
        data_block_size=Bytes(4096),
        hash_block_size=Bytes(4096),
        data_blocks=DataBlocks(256),
        salt="abcd",
        hash_start=1,
    )
    assert VeritySuperblock.parse(superblock(salt_size=0), "x").salt is None
    assert VeritySuperblock.parse(superblock(hash=512), "x").hash_start == 1
    later = VeritySuperblock.parse(superblock(), "x", Bytes(1 << 20))
    assert later.hash_start == 257


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "signature"),
        (superblock()[:511], "signature"),
        (superblock(signature=b"LUKS\xba\xbe"), "signature"),
        (superblock(version=2), "version is 2"),
        (superblock(salt_size=257), "sizes"),
        (superblock(hash=0), "sizes"),
        (superblock(data=0), "sizes"),
    ],
)
def test_what_is_no_superblock_of_verity_says_why(raw: bytes, why: str) -> None:
    with pytest.raises(DmwatchError, match=why):
        VeritySuperblock.parse(raw, "x")


def test_a_verity_device_is_made_of_its_superblock(
    dm: DeviceMapper, disk: ZeroDevice, tmp_path: Path
) -> None:
    hashes = tmp_path / "hashes"
    hashes.write_bytes(superblock())
    device = VerityDevice.formatted(dm, "v", data=disk, hashes=str(hashes), root_digest=ROOT)
    (line,) = device.lines()
    assert (line.start, line.length) == (0, 2048)
    words = f"1 {disk.number} {hashes} 4096 4096 256 1 sha256 {ROOT} abcd"
    assert line.text == words
    assert device.read_only
    assert device.uuid == f"CRYPT-VERITY-{UUID(int=7).hex}-v"


def test_a_hash_device_that_cannot_be_read_is_told(dm: DeviceMapper, tmp_path: Path) -> None:
    with pytest.raises(DmwatchError, match="cannot be read: No such file"):
        VeritySuperblock.read(str(tmp_path / "gone"))


def test_a_verity_device_is_loaded_read_only_and_compared_by_meaning(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice
) -> None:
    made = VerityDevice(dm, "v", data=disk, hashes=disk, root_digest=ROOT).create()
    assert made.info().read_only
    assert made.size == disk.size
    (line,) = made.kernel_lines()
    kernel.swap("v", TargetLine(0, line.length, "verity", line.text.replace(ROOT, ROOT.lower())))
    assert made.setup().differs() == []
    kernel.set_status("v", 0, "V")
    assert made.status() == VerityValid()
    kernel.set_status("v", 0, "C 3")
    assert made.status() == VerityCorrupted(corrected=3)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            ["ignore_zero_blocks", "check_at_most_once"],
            ["check_at_most_once", "ignore_zero_blocks"],
        ),
        (
            ["use_fec_from_device", "/dev/f", "fec_roots", "2", "fec_blocks", "256"],
            [
                "use_fec_from_device",
                "/dev/f",
                "fec_blocks",
                "256",
                "fec_start",
                "0",
                "fec_roots",
                "2",
            ],
        ),
    ],
)
def test_the_order_of_options_makes_no_other_verity_device(
    dm: DeviceMapper, disk: ZeroDevice, ours: list[str], theirs: list[str]
) -> None:
    def device(features: list[str]) -> VerityDevice:
        return VerityDevice(
            dm,
            "v",
            data=disk,
            hashes=disk,
            root_digest=ROOT,
            data_blocks=DataBlocks(256),
            features=features,
        )

    device(theirs).create()
    assert device(ours).setup().differs() == []
    assert device(["restart_on_corruption"]).differs() == ["options"]


# integrity

FORMATTED = b"integrt\0" + struct.pack("<BBHIQ", 5, 15, 4, 7, 4096) + bytes(4096 - 24)


@pytest.fixture
def below(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(FORMATTED)
    return path


def test_an_integrity_device_is_as_long_as_its_superblock_says(
    dm: DeviceMapper, below: Path
) -> None:
    (line,) = IntegrityDevice(dm, "i", str(below)).lines()
    assert line == TargetLine(0, 4096, "integrity", f"{below} 0 - J 1 internal_hash:crc32c")


def test_the_superblock_lies_where_the_metadata_do(dm: DeviceMapper, below: Path) -> None:
    features = (Algorithm("internal_hash", "crc32c"), Option("meta_device", str(below)))
    assert IntegrityDevice(dm, "i", "/dev/null", features=features).size == Sectors(4096)


@pytest.mark.parametrize("content", [b"", bytes(4096), b"integrt\0"])
def test_a_device_that_was_never_formatted_says_so(
    dm: DeviceMapper, below: Path, content: bytes
) -> None:
    below.write_bytes(content)
    with pytest.raises(DmwatchError, match=r"never formatted.*call format\(\)"):
        IntegrityDevice(dm, "i", str(below)).create()
    below.unlink()
    with pytest.raises(DmwatchError, match="cannot be read"):
        IntegrityDevice(dm, "i", str(below)).create()


def test_formatting_is_a_moment_of_the_kernel_and_asks_before_it_overwrites(
    dm: DeviceMapper, kernel: FakeKernel, below: Path
) -> None:
    device = IntegrityDevice(dm, "i", str(below), start=Sectors(0))
    with pytest.raises(InvalidValueError, match="overwrite=True"):
        device.format()
    assert below.read_bytes() == FORMATTED
    kernel.after(Command.DEV_REMOVE, lambda: below.write_bytes(FORMATTED))
    steps = [str(step.command.name) for step in plan(lambda: device.format(overwrite=True))]
    assert below.read_bytes() == FORMATTED
    seen: list[bytes] = []
    kernel.before(Command.DEV_CREATE, lambda: seen.append(below.read_bytes()))
    device.format(overwrite=True)
    assert seen == [bytes(4096)]
    assert steps == ["DEV_CREATE", "TABLE_LOAD", "DEV_SUSPEND", "DEV_REMOVE"]
    assert not device.exists()
    assert device.size == Sectors(4096)


def test_what_only_says_how_fast_it_goes_makes_no_other_integrity_device(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice
) -> None:
    printed = (
        f"{disk.number} 0 4 J 7 recalculate journal_sectors:88 interleave_sectors:32768 "
        "buffer_sectors:128 journal_watermark:50 commit_time:10000 internal_hash:crc32c"
    )
    kernel.add("i", TargetLine(0, 4096, "integrity", printed), status=["3 4096 100"])
    device = IntegrityDevice(dm, "i", disk, length=Sectors(4096))
    assert device.setup().differs() == []
    assert (device.status().mismatches, device.status().recalculating) == (3, True)
    for hashed in ("sha256", "crc32"):
        features = [Algorithm("internal_hash", hashed)]
        other = IntegrityDevice(dm, "i", disk, length=Sectors(4096), features=features)
        assert other.differs() == ["options[0].algorithm"]
