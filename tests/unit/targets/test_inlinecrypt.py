from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.targets import EmptyStatus, Secret, find
from dmwatch.targets.inlinecrypt import InlinecryptTable, InlineKeyType
from dmwatch.targets.keyed import HexKey, Key, KeyringKey, KeyType, NoKey, Option
from dmwatch.units import Bytes, Sectors

INLINE = find("inlinecrypt")
DIGITS = "0123456789abcdef" * 8
RAW = HexKey(Secret(DIGITS))
DEVICE = DeviceNumber(254, 0)
LARGE = (Option("sector_size", "4096"), Option("iv_large_sectors"))


def inline(
    *options: Option,
    key: Key = RAW,
    key_type: InlineKeyType = InlineKeyType.RAW,
    iv_offset: int = 0,
    cipher: str = "aes-xts-plain64",
) -> InlinecryptTable:
    return InlinecryptTable(cipher, key, Sectors(iv_offset), DEVICE, Sectors(16), options, key_type)


WRAPPED = HexKey(Secret(DIGITS[:80]))
FORMS = [
    # what is loaded, what the kernel prints then (constructed from inlinecrypt_status), the value
    (
        f"aes-xts-plain64 {DIGITS} 0 254:0 16",
        f"aes-xts-plain64 {DIGITS} 1 0 254:0 16",
        inline(),
    ),
    (
        f"aes-xts-plain64 {DIGITS} 8 254:0 16 3 allow_discards sector_size:4096 iv_large_sectors",
        f"aes-xts-plain64 {DIGITS} 1 8 254:0 16 3 allow_discards sector_size:4096 iv_large_sectors",
        inline(Option("allow_discards"), *LARGE, iv_offset=8),
    ),
    (
        f"aes-xts-plain64 {DIGITS[:80]} 0 254:0 16 2 keytype:hw-wrapped allow_discards",
        f"aes-xts-plain64 {DIGITS[:80]} 2 0 254:0 16 1 allow_discards",
        inline(Option("allow_discards"), key=WRAPPED, key_type=InlineKeyType.HW_WRAPPED),
    ),
]


@pytest.mark.parametrize(("loaded", "printed", "table"), FORMS)
def test_both_forms_read_and_the_first_is_written(
    loaded: str, printed: str, table: InlinecryptTable
) -> None:
    assert INLINE.table(loaded) == table
    assert INLINE.table(printed) == table
    assert table.format() == loaded


def test_more_that_users_write() -> None:
    text = "aes-xts-plain64 :64:logon:disk 0 /dev/sda 16 1 keytype:raw"
    table = INLINE.table(text)
    assert table == InlinecryptTable(
        "aes-xts-plain64",
        KeyringKey(64, KeyType.LOGON, "disk"),
        Sectors(0),
        "/dev/sda",
        Sectors(16),
    )
    assert table.format() == "aes-xts-plain64 :64:logon:disk 0 /dev/sda 16"
    assert INLINE.table(f"aes-xts-plain64 {DIGITS} 2 254:0 16").iv_offset == Sectors(2)  # type: ignore[attr-defined]


def test_sector_size() -> None:
    assert (inline().sector_size, inline(*LARGE).sector_size) == (Bytes(512), Bytes(4096))


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("aes-xts-plain64", "key", 2),
        ("aes-xts-plain64 - 0 254:0 16", "key", 2),
        (f"aes-xts-plain64 {DIGITS} 0 254:0", "start", 5),
        (f"aes-xts-plain64 {DIGITS} 3 0 254:0 16", "start", 5),
        (f"aes-xts-plain64 {DIGITS} 0 254:0 16 1 keytype:new", "keytype", 7),
        (f"aes-xts-plain64 {DIGITS} 1 0 254:0 16 0 more", "end", 8),
    ],
)
def test_parse_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        INLINE.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (inline(cipher="aes-cbc"), "cipher must be aes-xts-plain64"),
        (inline(key=WRAPPED), "key must have 64 bytes"),
        (inline(key=HexKey(Secret("ab")), key_type=InlineKeyType.HW_WRAPPED), "32 to 128"),
        (inline(key=KeyringKey(64, KeyType.USER, "a")), "of type logon"),
        (inline(Option("sector_size", "4096")), "must have iv_large_sectors"),
        (inline(Option("sector_size", "100")), "must be 512 to 4096"),
        (inline(Option("sector_size", "600")), "power of two"),
        (inline(*LARGE, iv_offset=4), "iv_offset must be a multiple"),
        (inline(Option("same_cpu_crypt")), "is not one that inlinecrypt knows"),
        (inline(Option("keytype", "raw")), "stands in the field key_type"),
        (inline(*[Option("allow_discards")] * 5), "can be 4 at most"),
    ],
)
def test_check_names_field_and_rule(table: InlinecryptTable, rule: str) -> None:
    with pytest.raises(InvalidTableError, match=rule):
        table.format()


def test_a_key_is_needed() -> None:
    with pytest.raises(InvalidTableError, match="HexKey or a KeyringKey"):
        inline(key=NoKey())


def test_status() -> None:
    assert INLINE.status("") == EmptyStatus()
