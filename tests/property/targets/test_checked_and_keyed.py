"""crypt, inlinecrypt, verity, integrity, vdo, zoned, pcache: round trips of valid tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dmwatch.names import DeviceNumber
from dmwatch.targets import Secret, TargetTable, find
from dmwatch.targets.crypt import CryptTable
from dmwatch.targets.inlinecrypt import InlinecryptTable, InlineKeyType
from dmwatch.targets.integrity import (
    Algorithm,
    IntegrityMode,
    IntegrityOption,
    IntegrityTable,
)
from dmwatch.targets.keyed import HexKey, Key, KeyringKey, KeyType, NoKey, Option
from dmwatch.targets.pcache import PcacheTable
from dmwatch.targets.vdo import VdoTable
from dmwatch.targets.verity import VerityFec, VerityTable
from dmwatch.targets.words import U32_MAX, U64_MAX
from dmwatch.targets.zoned import ZonedTable
from dmwatch.units import Bytes, DataBlocks, Sectors

u32 = st.integers(0, U32_MAX)
sectors = st.integers(0, U64_MAX).map(Sectors)
paths = st.from_regex(r"/dev/[a-zA-Z0-9_.:+-]{1,20}", fullmatch=True)
numbers = st.builds(DeviceNumber, st.integers(0, 4095), st.integers(0, (1 << 20) - 1))
devices = st.one_of(numbers, paths)


def hex_bytes(low: int, high: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=low, max_size=high).map(bytes.hex)


def hex_keys(low: int, high: int) -> st.SearchStrategy[HexKey]:
    capitals = st.builds(str.upper, hex_bytes(low, high))
    return st.one_of(hex_bytes(low, high), capitals).map(lambda digits: HexKey(Secret(digits)))


descriptions = st.from_regex(r"[a-zA-Z0-9_.:-]{1,20}", fullmatch=True)
keyring = st.builds(
    KeyringKey, st.integers(1, (1 << 31) - 1), st.sampled_from(KeyType), descriptions
)
keys: st.SearchStrategy[Key] = st.one_of(st.just(NoKey()), keyring, hex_keys(1, 128))

sizes = st.sampled_from([512, 1024, 2048, 4096])
crypt_options = st.one_of(
    st.sampled_from(["allow_discards", "high_priority", "iv_large_sectors"]).map(Option),
    st.integers(1, 480).map(lambda size: Option("integrity", f"{size}:none")),
    sizes.map(lambda size: Option("sector_size", str(size))),
    st.integers(1, U32_MAX).map(lambda size: Option("integrity_key_size", str(size))),
)
aligned = st.integers(0, 1 << 40).map(lambda number: Sectors(number * 8))
crypts = st.builds(
    CryptTable,
    st.sampled_from(["aes", "aes-xts-plain64", "aes:64-cbc-lmk", "capi:xts(aes)-plain64"]),
    keys,
    aligned,
    devices,
    sectors,
    st.lists(crypt_options, max_size=9).map(tuple),
)


@st.composite
def inlinecrypts(draw: st.DrawFn) -> InlinecryptTable:
    kind = draw(st.sampled_from(InlineKeyType))
    low, high = (64, 64) if kind is InlineKeyType.RAW else (32, 128)
    size = draw(st.integers(low, high))
    named = st.builds(KeyringKey, st.just(size), st.just(KeyType.LOGON), descriptions)
    key = draw(st.one_of(hex_keys(size, size), named))
    large = (Option("sector_size", str(draw(sizes))), Option("iv_large_sectors"))
    options = draw(st.sampled_from([(), (Option("allow_discards"),), large, large[::-1]]))
    return InlinecryptTable(
        "aes-xts-plain64", key, draw(aligned), draw(devices), draw(sectors), options, kind
    )


algorithms = st.builds(
    Algorithm,
    st.sampled_from(["journal_crypt", "journal_mac", "internal_hash"]),
    st.sampled_from(["crc32c", "hmac(sha256)", "ctr(aes)"]),
    st.none() | hex_keys(1, 64),
)
integrity_options: st.SearchStrategy[IntegrityOption] = st.one_of(
    st.sampled_from(["recalculate", "fix_padding", "legacy_recalculate", "allow_discards"]).map(
        Option
    ),
    st.builds(lambda number: Option("journal_sectors", str(number)), u32),
    st.builds(lambda number: Option("sectors_per_bit", str(number)), st.integers(0, U64_MAX)),
    st.builds(lambda number: Option("journal_watermark", str(number)), st.integers(0, 100)),
    st.builds(lambda size: Option("block_size", str(size)), sizes),
    st.builds(lambda device: Option("meta_device", str(device)), devices),
    algorithms,
)


@st.composite
def integrities(draw: st.DrawFn) -> IntegrityTable:
    hashed = Algorithm("internal_hash", "crc32c")
    options = [*draw(st.lists(integrity_options, max_size=10)), hashed]
    mode = draw(st.sampled_from("JBDR").map(IntegrityMode))
    size = draw(st.none() | st.integers(1, 255).map(Bytes))
    return IntegrityTable(draw(devices), draw(sectors), size, mode, tuple(options))


@st.composite
def verities(draw: st.DrawFn) -> VerityTable:
    block = Bytes(1 << draw(st.integers(9, 16)))
    blocks = draw(st.integers(0, 1 << 40))
    fec = VerityFec(
        draw(devices), draw(st.integers(2, 24)), DataBlocks(blocks + draw(st.integers(1, 99)))
    )
    words = draw(
        st.permutations(
            [("ignore_corruption",), ("ignore_zero_blocks",), ("root_hash_sig_key_desc", "a:b")]
        )
    )
    groups = [*words[: draw(st.integers(0, 3))], *([fec.words()] if draw(st.booleans()) else [])]
    return VerityTable(
        draw(st.integers(0, 1)),
        draw(devices),
        draw(devices),
        block,
        block,
        DataBlocks(blocks),
        draw(st.integers(0, 1 << 40)),
        "sha256",
        draw(hex_bytes(32, 32)),
        draw(st.none() | hex_bytes(1, 256)),
        tuple(word for group in groups for word in group),
    )


vdo_options = st.one_of(
    st.tuples(st.sampled_from(["ack", "cpu", "bio"]), st.integers(1, 100).map(str)),
    st.tuples(
        st.sampled_from(["deduplication", "compression", "indexSparse"]),
        st.sampled_from(["on", "off"]),
    ),
    st.tuples(st.just("maxDiscard"), st.integers(1, 1_048_575).map(str)),
    st.tuples(st.just("indexMemory"), st.sampled_from(["0.25", "0.5", "0.75", "1", "1024"])),
    st.tuples(st.just("slabSize"), st.integers(13, 23).map(lambda n: str(1 << n))),
    st.tuples(st.just("futureKey"), u32.map(str)),
)
vdos = st.builds(
    VdoTable,
    devices,
    st.integers(1, U64_MAX).map(DataBlocks),
    st.sampled_from([Bytes(512), Bytes(4096)]),
    u32.map(DataBlocks),
    st.integers(1, 16_380),
    st.lists(vdo_options, max_size=6).map(tuple),
)
zoneds = st.builds(ZonedTable, st.lists(devices, min_size=1, max_size=5).map(tuple))
pcaches = st.builds(PcacheTable, devices, devices, data_crc=st.booleans())

tables: st.SearchStrategy[TargetTable] = st.one_of(
    crypts, inlinecrypts(), integrities(), verities(), vdos, zoneds, pcaches
)


@given(tables)
def test_a_valid_table_survives_the_way_out_and_in(table: TargetTable) -> None:
    assert find(table.type).table(table.format()) == table


@given(inlinecrypts())
def test_what_inlinecrypt_prints_reads_as_what_was_loaded(table: InlinecryptTable) -> None:
    if not isinstance(table.key, HexKey):
        return
    words = [word for word in table.format().split() if not word.startswith("keytype:")]
    words.insert(2, "2" if table.key_type is InlineKeyType.HW_WRAPPED else "1")
    if table.options or table.key_type is InlineKeyType.HW_WRAPPED:
        words[6] = str(len(table.options))
    assert find("inlinecrypt").table(" ".join(words)) == table
