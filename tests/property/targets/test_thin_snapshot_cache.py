"""Valid tables of thin-pool, thin, the snapshots, cache, clone, era and writecache: what is written
reads back equal, word by word.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmwatch.names import DeviceNumber
from dmwatch.targets import TargetTable, find
from dmwatch.targets.cache import CacheTable
from dmwatch.targets.clone import CloneTable
from dmwatch.targets.era import EraTable
from dmwatch.targets.snapshot import SnapshotStore, SnapshotTable
from dmwatch.targets.snapshot_merge import SnapshotMergeTable
from dmwatch.targets.snapshot_origin import SnapshotOriginTable
from dmwatch.targets.thin import ThinTable
from dmwatch.targets.thin_pool import ThinPoolTable
from dmwatch.targets.words import U32_MAX, U64_MAX, check_word
from dmwatch.targets.writecache import WritecacheMedium, WritecacheOption, WritecacheTable
from dmwatch.units import Bytes, DataBlocks, Sectors

Tables = st.SearchStrategy[TargetTable]


def is_word(text: str) -> bool:
    try:
        check_word("any", "word", text)
    except ValueError:
        return False
    return True


WORDS = st.text(min_size=1, max_size=20).filter(is_word)
NUMBERS = st.builds(DeviceNumber, st.integers(0, 4095), st.integers(0, (1 << 20) - 1))
DEVICES = NUMBERS | WORDS.map("/dev/".__add__)
TWO = st.tuples(DEVICES, DEVICES).filter(lambda two: str(two[0]) != str(two[1]))


def steps(step: int, maximum: int) -> st.SearchStrategy[Sectors]:
    return st.integers(1, maximum // step).map(lambda number: Sectors(number * step))


def powers(minimum: int, maximum: int) -> st.SearchStrategy[int]:
    return st.integers(minimum.bit_length() - 1, maximum.bit_length() - 1).map(lambda n: 1 << n)


def chosen(*words: str, at_most: int | None = None) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(words), unique=True, max_size=at_most).map(tuple)


@st.composite
def pools(draw: st.DrawFn) -> ThinPoolTable:
    features = chosen(
        "skip_block_zeroing",
        "ignore_discard",
        "no_discard_passdown",
        "read_only",
        "error_if_no_space",
        at_most=4,
    )
    metadata, data = draw(TWO)
    size, low_water = draw(steps(128, 2097152)), DataBlocks(draw(st.integers(0, U64_MAX)))
    return ThinPoolTable(metadata, data, size, low_water, draw(features))


@st.composite
def thins(draw: st.DrawFn) -> ThinTable:
    pool, origin = draw(TWO)
    thin_id = draw(st.integers(0, (1 << 24) - 1))
    return ThinTable(pool, thin_id, draw(st.sampled_from([None, origin])))


@st.composite
def snapshots(draw: st.DrawFn, table: type[SnapshotTable], *stores: SnapshotStore) -> SnapshotTable:
    both = ("discard_zeroes_cow", "discard_passdown_origin")
    features = draw(st.sampled_from([(), both[:1], both, both[::-1]]))
    store, chunk = draw(st.sampled_from(stores)), Sectors(draw(powers(1, 2097152)))
    origin, cow = draw(TWO)
    return table(origin, cow, store, chunk, features)


@st.composite
def caches(draw: st.DrawFn) -> CacheTable:
    mode = draw(chosen("writeback", "writethrough", "passthrough", at_most=1))
    features = draw(st.permutations([*mode, *draw(chosen("metadata2", "no_discard_passdown"))]))
    policy = draw(st.sampled_from(["default", "smq", "mq", "cleaner"]))
    names = ["migration_threshold", *(["sequential_threshold"] if policy == "mq" else [])]
    setting = st.tuples(st.sampled_from(names), st.integers(0, U64_MAX).map(str))
    return CacheTable(
        metadata=draw(DEVICES),
        cache=draw(DEVICES),
        origin=draw(DEVICES),
        block_size=draw(steps(64, 2097152)),
        features=tuple(features),
        policy=policy,
        settings=tuple(draw(st.lists(setting, max_size=3))),
        ignored=tuple(draw(st.lists(WORDS, max_size=2))),
    )


@st.composite
def clones(draw: st.DrawFn) -> CloneTable:
    names = st.sampled_from(["hydration_threshold", "hydration_batch_size"])
    setting = st.tuples(names, st.integers(0, U32_MAX))
    return CloneTable(
        metadata=draw(DEVICES),
        destination=draw(DEVICES),
        source=draw(DEVICES),
        region=Sectors(draw(powers(8, 2097152))),
        features=draw(chosen("no_hydration", "no_discard_passdown")),
        settings=tuple(draw(st.lists(setting, max_size=2))),
        ignored=tuple(draw(st.lists(WORDS, max_size=2))),
    )


@st.composite
def eras(draw: st.DrawFn) -> EraTable:
    return EraTable(draw(DEVICES), draw(DEVICES), draw(steps(8, U32_MAX)))


@st.composite
def writecaches(draw: st.DrawFn) -> WritecacheTable:
    medium = draw(st.sampled_from(WritecacheMedium))
    own = {WritecacheMedium.PMEM: ["fua", "nofua"], WritecacheMedium.SSD: ["pause_writeback"]}
    valued: dict[str, Any] = {
        "start_sector": st.integers(0, U64_MAX),
        "high_watermark": st.integers(50, 100),
        "low_watermark": st.integers(0, 50),
        "writeback_jobs": st.integers(0, U32_MAX),
        "max_age": st.integers(0, 86_400_000),
        "pause_writeback": st.integers(0, 60_000),
    }
    names = [*(name for name in valued if name != "pause_writeback"), "cleaner", *own[medium]]
    picked = draw(st.lists(st.sampled_from(names), max_size=9))
    options = [WritecacheOption(n, draw(valued[n]) if n in valued else None) for n in picked]
    return WritecacheTable(
        medium, draw(DEVICES), draw(DEVICES), Bytes(draw(powers(512, 65536))), tuple(options)
    )


P, PO, N = SnapshotStore.PERSISTENT, SnapshotStore.PERSISTENT_OVERFLOW, SnapshotStore.TRANSIENT
TABLES: dict[str, Tables] = {
    "thin-pool": pools(),
    "thin": thins(),
    "snapshot": snapshots(SnapshotTable, P, PO, N),
    "snapshot-merge": snapshots(SnapshotMergeTable, P, PO),
    "snapshot-origin": DEVICES.map(SnapshotOriginTable),
    "cache": caches(),
    "clone": clones(),
    "era": eras(),
    "writecache": writecaches(),
}


@pytest.mark.parametrize("target", TABLES)
@given(data=st.data())
def test_a_table_reads_back_as_it_was_written(target: str, data: st.DataObject) -> None:
    table = data.draw(TABLES[target])
    text = table.format()
    again = find(target).table(text)
    assert type(again) is type(table)
    assert again == table
    assert again.format() == again.raw == text
