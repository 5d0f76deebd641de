from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Observation, Seen, find
from dmwatch.targets.verity import (
    BlockCorruptedData,
    BlockKind,
    CorrectedData,
    VerityCorrupted,
    VerityFec,
    VerityTable,
    VerityValid,
)
from dmwatch.units import Bytes, DataBlocks, Sectors

VERITY = find("verity")
ROOT = "a5771dcd6e503269c9cdad3bce16a771851c11f368b9f76ce179950e576271b0"
SALT = "800e0cd979f000f2ece02cab3b629a2ddea2165578c59e5ea9d841d2a50fa667"
HEAD = f"1 254:0 254:1 4096 4096 2048 1 sha256 {ROOT} {SALT}"
FEC = "use_fec_from_device 254:2 fec_blocks 2065 fec_start 1 fec_roots 2"


def table(
    *options: str,
    data_block: int = 4096,
    hash_block: int = 4096,
    root: str = ROOT,
    salt: str | None = SALT,
    algorithm: str = "sha256",
    version: int = 1,
    blocks: int = 2048,
) -> VerityTable:
    return VerityTable(
        version,
        DeviceNumber(254, 0),
        DeviceNumber(254, 1),
        Bytes(data_block),
        Bytes(hash_block),
        DataBlocks(blocks),
        1,
        algorithm,
        root,
        salt,
        options,
    )


TABLES = [
    (HEAD, table()),  # Linux 6.1
    (
        f"{HEAD} 2 ignore_zero_blocks check_at_most_once",
        table("ignore_zero_blocks", "check_at_most_once"),
    ),
    (
        f"0 254:0 254:1 512 4096 2048 1 sha1 {ROOT[:40]} -",
        table(version=0, data_block=512, algorithm="sha1", root=ROOT[:40], salt=None),
    ),
    (
        (
            f"{HEAD} 13 restart_on_corruption panic_on_error try_verify_in_tasklet {FEC} "
            "root_hash_sig_key_desc image:1"
        ),
        table(
            "restart_on_corruption",
            "panic_on_error",
            "try_verify_in_tasklet",
            *FEC.split(),
            "root_hash_sig_key_desc",
            "image:1",
        ),
    ),
]


@pytest.mark.parametrize(("text", "value"), TABLES)
def test_table_reads_and_writes(text: str, value: VerityTable) -> None:
    assert VERITY.table(text) == value
    assert VERITY.table(text).raw == text
    assert value.format() == text


def test_what_options_mean() -> None:
    value = TABLES[3][1]
    fec = VerityFec(DeviceNumber(254, 2), 2, DataBlocks(2065), DataBlocks(1))
    assert (value.fec, value.signature_key) == (fec, "image:1")
    assert table(*fec.words()).fec == fec
    assert (TABLES[0][1].fec, TABLES[0][1].signature_key) == (None, None)
    assert table("use_fec_from_device", "254:2", "fec_roots").fec is None


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("", "version", 1),
        ("1 254:0 254:1 4k", "data_block_size", 4),
        (" ".join(HEAD.split()[:9]), "salt", 10),
        (f"{HEAD} 3 ignore_corruption", "#options", 11),
        (f"{HEAD} 0 ignore_corruption", "end", 12),
    ],
)
def test_parse_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        VERITY.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (table(version=2), "version must be 0 to 1"),
        (table(data_block=256), "data_block_size must be 512 to 65536"),
        (table(data_block=1536), "data_block_size must be a power of two"),
        (table(hash_block=1 << 31), "hash_block_size must be 512 to"),
        (table(blocks=1 << 61), "data_blocks must be 0 to"),
        (table(root=ROOT[:-1]), "root_digest must have two hex digits"),
        (table(root=ROOT[:-2]), "root_digest must have 32 bytes for sha256"),
        (table(root="x" * 64), "root_digest must have two hex digits"),
        (table(salt="x"), "salt must have two hex digits"),
        (table(salt=""), "salt must have two hex digits"),
        (table("fast"), "options cannot be 'fast'"),
        (table("root_hash_sig_key_desc"), "need a value: root_hash_sig_key_desc"),
        (table("ignore_corruption", "panic_on_corruption"), "only once what happens on corruption"),
        (table("restart_on_error", "panic_on_error"), "only once what happens on errors"),
        (table(*FEC.split()[:-2]), "need fec_roots"),
        (table(*FEC.split()[2:]), "need use_fec_from_device"),
        (table(*FEC.replace("roots 2", "roots 25").split()), "fec_roots must be 2 to 24"),
        (table(*FEC.replace("2065", "many").split()), "need a number: fec_blocks"),
        (table(*FEC.replace("2065", "2047").split()), "fec_blocks to cover"),
        (table(*FEC.split(), hash_block=512), "must equal data_block_size with fec"),
        (table(*["ignore_zero_blocks"] * 16), "15 words at most"),
        (table("ignore corruption"), "options must be one word"),
    ],
)
def test_check_names_field_and_rule(value: VerityTable, rule: str) -> None:
    with pytest.raises(InvalidTableError, match=rule):
        value.format()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("V", VerityValid()),
        ("C", VerityCorrupted()),
        ("V -", VerityValid()),
        ("C -", VerityCorrupted()),
        ("V 3", VerityValid(3)),
        ("C 0 later", VerityCorrupted(0, extra=("later",))),
    ],
)
def test_status(text: str, status: object) -> None:
    assert VERITY.status(text) == status


@pytest.mark.parametrize(
    ("text", "field", "position"), [("", "state", 1), ("X", "state", 1), ("V x", "corrected", 2)]
)
def test_status_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        VERITY.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


def look(text: str | None) -> Seen:
    status = None if text is None else VERITY.status(text)
    return Seen("verity", Sectors(0), Sectors(8), status)


@pytest.mark.parametrize(
    ("text", "stands"),
    [("V", False), ("C", True), ("V 2", False), ("C -", True), (None, False)],
)
def test_what_stands(text: str | None, stands: bool) -> None:
    found = [(f.type, f.severity, f.key) for f in VERITY.observe(look(text)).findings]
    assert found == ([("verity.corrupted", Severity.CRITICAL, None)] if stands else [])


@pytest.mark.parametrize(
    ("before", "after", "data"),
    [
        ("V 0", "V 1", CorrectedData(1, 1)),
        ("V 2", "C 5", CorrectedData(3, 5)),
        ("V 5", "V 2", CorrectedData(2, 2)),
        ("V 5", "V 0", None),
        ("V 5", "V 5", None),
        ("V -", "V 5", None),
        ("V", "C", None),
        (None, "V 5", None),
        ("V 5", None, None),
    ],
)
def test_corrected(before: str | None, after: str | None, data: CorrectedData | None) -> None:
    moments = VERITY.moments(look(before), look(after))
    assert [(m.type, m.severity, m.data) for m in moments] == (
        [("verity.corrected", Severity.WARNING, data)] if data else []
    )


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("0,17", BlockCorruptedData(BlockKind.DATA, 17)),
        ("1,2", BlockCorruptedData(BlockKind.HASH, 2)),
        ("2,2", None),
        ("0,-1", None),
        ("", None),
    ],
)
def test_block_corrupted_comes_from_the_uevent(value: str, data: BlockCorruptedData | None) -> None:
    moments = VERITY.uevent({"ACTION": "change", "DM_VERITY_ERR_BLOCK_NR": value})
    assert [(m.type, m.severity, m.data) for m in moments] == (
        [("verity.block-corrupted", Severity.CRITICAL, data)] if data else []
    )
    assert VERITY.uevent({"ACTION": "change"}) == ()


def test_looks_at_another_variant_are_nothing() -> None:
    other = Seen("verity", Sectors(0), Sectors(8), EmptyStatus())
    assert VERITY.observe(other) == Observation()
    assert VERITY.moments(other, look("V 1")) == ()
