"""Tables are equal when they mean the same to their target."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmwatch.devices import CacheDevice, ThinPool, ZeroDevice, below, differences
from dmwatch.devices.below import Below, block_size_of, node_of, number_of, size_of, word_of
from dmwatch.devices.meaning import Difference
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DmwatchError
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.units import Bytes, DataBlocks, Sectors


def line(kind: str, text: str, length: int = 1024) -> list[TargetLine]:
    return [TargetLine(0, length, kind, text)]


def fields(kind: str, wanted: str, found: str) -> list[str]:
    return [d.field for d in differences(line(kind, wanted), line(kind, found))]


@pytest.mark.parametrize(
    ("kind", "wanted", "found"),
    [
        ("linear", "8:0 0", "8:0  0 "),
        ("thin-pool", "8:0 8:1 128 0", "8:0 8:1 128 0 0 "),
        ("raid", "raid1 3 0 rebuild 1 2 - 8:0 - 8:1", "raid1 1 0 2 - 8:0 - 8:1"),
        (
            "multipath",
            "1 queue_if_no_path 0 1 1 round-robin 0 1 1 8:0 1",
            "0 0 1 1 round-robin 0 1 1 8:0 1 ",
        ),
    ],
)
@pytest.mark.parity("B22")
def test_tables_that_differ_in_text_only(kind: str, wanted: str, found: str) -> None:
    assert fields(kind, wanted, found) == []


@pytest.mark.parametrize(
    ("kind", "wanted", "found", "field"),
    [
        ("linear", "8:0 0", "8:1 0", "device"),
        ("linear", "8:0 0", "8:0 8", "start"),
        ("striped", "2 8 8:0 0 8:1 0", "2 8 8:0 0 8:2 0", "legs[1].device"),
        ("striped", "2 8 8:0 0 8:1 0", "1 8 8:0 0", "legs"),
        ("thin", "8:0 1", "8:0 2", "thin_id"),
        ("thin", "8:0 1", "8:0 1 8:1", "origin"),
        ("thin", "8:0 1", "Fail", "table"),
    ],
)
def test_the_field_that_differs_is_named(kind: str, wanted: str, found: str, field: str) -> None:
    assert fields(kind, wanted, found) == [field]


def test_what_was_wanted_and_found_is_told() -> None:
    (difference,) = differences(line("linear", "8:0 0"), line("linear", "8:1 0"))
    assert difference == Difference("device", "8:0", "8:1")


def test_in_a_table_of_several_lines_the_line_is_told() -> None:
    wanted = [TargetLine(0, 8, "zero"), TargetLine(8, 8, "linear", "8:0 0")]
    found = [TargetLine(0, 8, "zero"), TargetLine(8, 8, "linear", "8:0 7")]
    assert [d.field for d in differences(wanted, found)] == ["line 2: start"]


def test_of_a_target_with_keys_only_the_field_is_told() -> None:
    wanted = "aes-xts-plain64 " + "ab" * 32 + " 0 8:0 0"
    found = "aes-xts-plain64 " + "cd" * 32 + " 0 8:0 0"
    (difference,) = differences(line("crypt", wanted), line("crypt", found))
    assert difference == Difference("secret", "", "")


def test_of_an_unknown_target_only_the_field_is_told() -> None:
    (difference,) = differences(line("mystery", "a b"), line("mystery", "a c"))
    assert difference == Difference("text", "", "")


# Pools and caches have rules of their own


@pytest.mark.parity("B21", "B22")
def test_features_of_a_pool_count_as_a_set(pool: ThinPool, dm: DeviceMapper) -> None:
    pool.change_features(add=["error_if_no_space", "skip_block_zeroing"])
    pool.features = ("skip_block_zeroing", "error_if_no_space", "skip_block_zeroing")
    assert pool.differs() == []
    pool.features = ()
    pool.low_water = DataBlocks(3)
    assert pool.differs() == ["low_water", "features"]


@pytest.fixture
def cache(dm: DeviceMapper, disk: ZeroDevice) -> CacheDevice:
    parts = [ZeroDevice(dm, name, Sectors(8192)).create() for name in ("m", "c", "o")]
    return CacheDevice(
        dm,
        "cache",
        metadata=parts[0],
        cache=parts[1],
        origin=parts[2],
        block_size=Sectors(64),
        features=["metadata2", "no_discard_passdown"],
    ).create()


@pytest.mark.parametrize("policy", ["default", "mq", "smq"])
def test_a_policy_counts_by_what_it_is(cache: CacheDevice, policy: str) -> None:
    cache.policy = policy
    cache.features = ("no_discard_passdown", "metadata2")
    assert cache.differs() == []


@pytest.mark.parity("B20")
def test_each_device_of_a_cache_counts(cache: CacheDevice, disk: ZeroDevice) -> None:
    for part in ("metadata", "cache"):
        before = getattr(cache, part)
        setattr(cache, part, disk)
        assert cache.differs() == [part]
        setattr(cache, part, before)
    cache.origin = disk
    assert cache.differs() == ["length", "origin"]
    cache.origin, cache.policy = DeviceNumber(253, 3), "cleaner"


# What lies below


def test_a_lower_device_is_called_by_its_number(tmp_path: Path, disk: ZeroDevice) -> None:
    number = DeviceNumber(8, 16)
    for given in (number, "8:16"):
        assert word_of(given) == number
    assert word_of(disk) == disk.number
    assert word_of("/dev/nonexistent-dmwatch") == "/dev/nonexistent-dmwatch"
    assert number_of(str(tmp_path)) is None
    assert number_of("a\0b") is None
    assert node_of(number) == "/dev/block/8:16"


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(below, "SYSFS", tmp_path)
    return tmp_path


def test_sizes_are_read_from_sysfs(sysfs: Path) -> None:
    disk = sysfs / "sda"
    (disk / "queue").mkdir(parents=True)
    (disk / "size").write_text("4096\n")
    (disk / "queue" / "logical_block_size").write_text("4096\n")
    (disk / "sda1").mkdir()
    (disk / "sda1" / "partition").write_text("1\n")
    (disk / "sda1" / "size").write_text("2048\n")
    (sysfs / "8:0").symlink_to(disk)
    (sysfs / "8:1").symlink_to(disk / "sda1")
    whole: Below = "8:0"
    assert (size_of(whole), block_size_of(whole)) == (Sectors(4096), Bytes(4096))
    assert (size_of("8:1"), block_size_of("8:1")) == (Sectors(2048), Bytes(4096))


@pytest.mark.parametrize("text", ["", "nonsense", "-5"])
def test_a_size_that_cannot_be_told_is_a_sentence(sysfs: Path, text: str) -> None:
    (sysfs / "8:0").mkdir()
    (sysfs / "8:0" / "size").write_text(text)
    for given in ("8:0", DeviceNumber(8, 1)):
        with pytest.raises(DmwatchError):
            size_of(given)
