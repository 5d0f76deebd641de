from __future__ import annotations

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.targets import EmptyStatus, Observation, Secret, Seen, find
from dmwatch.targets.base import Notice
from dmwatch.targets.crypt import (
    CryptIntegrity,
    CryptTable,
    HexKey,
    KeyringKey,
    KeySet,
    KeyType,
    KeyWipe,
    NoKey,
    Option,
)
from dmwatch.targets.keyed import Key
from dmwatch.targets.secret import MASK
from dmwatch.units import Bytes, Sectors

CRYPT = find("crypt")
ZEROS = HexKey(Secret("00" * 64))
DEVICE = DeviceNumber(254, 0)

TABLES = [
    (
        # Linux 7.3
        f"aes-xts-plain64 {'0' * 128} 0 254:0 0 3 allow_discards sector_size:4096 iv_large_sectors",
        CryptTable(
            "aes-xts-plain64",
            ZEROS,
            Sectors(0),
            DEVICE,
            Sectors(0),
            (Option("allow_discards"), Option("sector_size", "4096"), Option("iv_large_sectors")),
        ),
    ),
    (
        "aes-xts-plain64 :64:logon:cryptsetup:1f0e-d0 0 254:0 32768",
        CryptTable(
            "aes-xts-plain64",
            KeyringKey(64, KeyType.LOGON, "cryptsetup:1f0e-d0"),
            Sectors(0),
            DEVICE,
            Sectors(32768),
        ),
    ),
    (
        "cipher_null-ecb - 0 /dev/sdb 0",
        CryptTable("cipher_null-ecb", NoKey(), Sectors(0), "/dev/sdb", Sectors(0)),
    ),
    (
        (
            f"capi:authenc(hmac(sha256),xts(aes))-random {'ab' * 96} 0 254:0 0 "
            "2 integrity:48:aead integrity_key_size:32"
        ),
        CryptTable(
            "capi:authenc(hmac(sha256),xts(aes))-random",
            HexKey(Secret("ab" * 96)),
            Sectors(0),
            DEVICE,
            Sectors(0),
            (Option("integrity", "48:aead"), Option("integrity_key_size", "32")),
        ),
    ),
    (
        (
            f"aes:64-cbc-lmk {'0' * 128} 8 254:0 0 6 same_cpu_crypt high_priority "
            "submit_from_crypt_cpus no_read_workqueue no_write_workqueue sector_size:1024"
        ),
        CryptTable(
            "aes:64-cbc-lmk",
            ZEROS,
            Sectors(8),
            DEVICE,
            Sectors(0),
            (
                Option("same_cpu_crypt"),
                Option("high_priority"),
                Option("submit_from_crypt_cpus"),
                Option("no_read_workqueue"),
                Option("no_write_workqueue"),
                Option("sector_size", "1024"),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: CryptTable) -> None:
    assert CRYPT.table(text) == table
    assert table.format() == text


def test_capitals_and_a_count_of_none_read_as_the_kernel_prints() -> None:
    table = CRYPT.table(f"aes-cbc-essiv:sha256 {'AB' * 32} 0 254:0 0 0")
    assert table.format() == f"aes-cbc-essiv:sha256 {'ab' * 32} 0 254:0 0"


def test_what_options_mean() -> None:
    table = TABLES[3][1]
    assert table.integrity == CryptIntegrity(Bytes(48), "aead")
    assert table.sector_size == Bytes(512)
    assert TABLES[0][1].sector_size == Bytes(4096)
    assert TABLES[0][1].integrity is None


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("", "cipher", 1),
        ("aes", "key", 2),
        ("aes xyz 0 254:0 0", "key", 2),
        ("aes :0x20:logon:a 0 254:0 0", "key", 2),
        ("aes :32:session:a 0 254:0 0", "key", 2),
        ("aes :32:logon: 0 254:0 0", "key", 2),
        ("aes :9999999999:logon:a 0 254:0 0", "key", 2),
        ("aes - x 254:0 0", "iv_offset", 3),
        ("aes - 0 254:0", "start", 5),
        ("aes - 0 254:0 0 2 allow_discards", "#options", 6),
        ("aes - 0 254:0 0 0 allow_discards", "end", 7),
    ],
)
def test_parse_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        CRYPT.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)
    assert caught.value.text is None


def crypt(
    *options: Option, cipher: str = "aes-xts-plain64", key: Key = ZEROS, iv_offset: int = 0
) -> CryptTable:
    return CryptTable(cipher, key, Sectors(iv_offset), DEVICE, Sectors(0), options)


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (crypt(Option("sector_size", "1000")), r"options \(number 1\) must be a power of two"),
        (crypt(Option("sector_size", "8192")), "must be 512 to 4096"),
        (crypt(Option("sector_size")), "needs a number"),
        (crypt(Option("sector_size", Secret("512"))), "needs a number"),
        (crypt(Option("allow_discards"), Option("allow_discards", "1")), r"\(number 2\) takes no"),
        (crypt(Option("integrity", "32")), "must be integrity:<bytes>:aead or ...:none"),
        (crypt(Option("integrity", "32:poly")), "must be integrity:<bytes>:aead or ...:none"),
        (crypt(Option("integrity", "481:none")), "must be 1 to 480"),
        (crypt(Option("integrity_key_size", "0")), "must be 1 to"),
        (crypt(Option("fast")), r"options \(number 1\) is not one that crypt knows"),
        (crypt(*[Option("allow_discards")] * 10), "can be 9 at most"),
        (crypt(Option("sector_size", "5 12")), "must be one word"),
        (crypt(Option("sector_size", "4096"), iv_offset=4), "iv_offset must be a multiple"),
        (crypt(cipher="xts(aes)-plain64"), "cipher must begin with capi:"),
        (crypt(Option("integrity", "32:aead")), "cipher must begin with capi:"),
        (crypt(cipher="aes:3-cbc-plain"), "key count that is not a power of two"),
        (crypt(cipher="aes-xts"), "needs an IV"),
        (crypt(cipher="aes-cbc-essiv"), "needs a hash after essiv:"),
        (crypt(cipher="aes cbc"), "cipher must be one word"),
        (crypt(key=HexKey(Secret("abc"))), "key must have two hex digits"),
        (crypt(key=HexKey(Secret("zz"))), "key must be hex digits"),
        (crypt(key=KeyringKey(0, KeyType.USER, "a")), "key must be 1 to"),
        (crypt(key=KeyringKey(8, KeyType.USER, "a b")), "key must be one word"),
    ],
)
def test_check_names_field_and_rule(table: CryptTable, rule: str) -> None:
    with pytest.raises(InvalidTableError, match=rule):
        table.format()


@pytest.mark.parametrize(
    "cipher", ["aes", "aes-plain", "aes-ecb", "aes-cbc-essiv:sha256", "capi:ecb(cipher_null)"]
)
def test_ciphers_that_the_kernel_takes(cipher: str) -> None:
    crypt(cipher=cipher).check()


def test_status_is_empty_and_nothing_stands() -> None:
    assert CRYPT.status("") == EmptyStatus()
    assert CRYPT.status("later 1") == EmptyStatus(extra=(MASK, MASK))
    seen = Seen("crypt", Sectors(0), Sectors(8), EmptyStatus())
    assert CRYPT.observe(seen) == Observation()
    assert CRYPT.moments(seen, seen) == ()
    assert (CRYPT.notice, CRYPT.poll, CRYPT.keyed) == (Notice.NOTHING, None, True)


def test_messages() -> None:
    assert KeySet(HexKey(Secret("AB01"))).format() == "key set ab01"
    assert KeySet(KeyringKey(32, KeyType.USER, "x:y")).format() == "key set :32:user:x:y"
    assert KeySet(NoKey()).format() == "key set -"
    assert KeyWipe().format() == "key wipe"
    with pytest.raises(InvalidMessageError, match="two hex digits"):
        KeySet(HexKey(Secret("abc"))).format()
