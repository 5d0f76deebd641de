"""What every target reads and checks its words with: numbers as the kernel knows them."""

from __future__ import annotations

from typing import Any

import pytest

from dmwatch.errors import DmwatchError, InvalidMessageError, InvalidTableError
from dmwatch.targets import find
from dmwatch.targets.crypt import CryptTable
from dmwatch.targets.thin import ThinTable
from dmwatch.targets.verity import VerityTable
from dmwatch.targets.words import check_range, check_word, decimal, quoted
from dmwatch.units import Bytes, Sectors

LONG = "9" * 5000  # more digits than int() takes
ARABIC = "\u0661"  # int() reads it as 1
KEY = "00" * 32
VERITY = f"1 254:0 254:1 4096 4096 8 1 sha256 {KEY} - 8 use_fec_from_device 1:1 fec_start 0 "

# what the kernel answers with EINVAL, in words whose value dmwatch does not parse
TABLES = [
    ("crypt", "aes:{}-xts-plain64 " + KEY + " 0 254:0 0"),
    ("crypt", "aes-xts-plain64 " + KEY + " 0 254:0 0 1 sector_size:{}"),
    ("crypt", "aes-xts-plain64 " + KEY + " 0 254:0 0 1 integrity:{}:none"),
    ("inlinecrypt", "aes-xts-plain64 " + KEY * 2 + " 0 254:0 0 2 iv_large_sectors sector_size:{}"),
    ("verity", VERITY + "fec_roots 2 fec_blocks {}"),
    ("verity", VERITY + "fec_blocks 9 fec_roots {}"),
    ("vdo", "V4 254:0 1572864 4096 32768 16380 ack {}"),
    ("vdo", "V4 254:0 1572864 4096 32768 16380 newKey {}"),
    ("multipath", "2 pg_init_retries {} 0 0 0"),
    ("multipath", "0 0 1 1 queue-length 0 1 1 254:0 {}"),
    ("cache", "254:0 254:1 254:2 128 0 smq 2 migration_threshold {}"),
    ("integrity", "254:0 0 4 J 1 block_size:{}"),
]


@pytest.mark.parametrize("word", [LONG, ARABIC, "1_0", "+1", "-1", " 1"])
def test_a_number_is_one_to_the_kernel_too(word: str) -> None:
    assert decimal(word) is None
    assert decimal("") is None
    assert decimal(str((1 << 64) - 1)) == (1 << 64) - 1


@pytest.mark.parametrize(("kind", "text"), TABLES)
@pytest.mark.parametrize("word", [LONG, ARABIC, "1_0", "+1", "-1"])
def test_a_number_that_the_kernel_would_not_read_is_refused(
    kind: str, text: str, word: str
) -> None:
    with pytest.raises(DmwatchError):
        find(kind).table(text.format(word)).format()


@pytest.mark.parametrize("word", [LONG, ARABIC])
def test_what_a_table_makes_of_its_words_takes_any(word: str) -> None:
    crypt = f"aes-xts-plain64 {KEY} 0 254:0 0 2 sector_size:{word} integrity:{word}:none"
    table = find("crypt").table(crypt)
    assert isinstance(table, CryptTable)
    assert (table.sector_size, table.integrity) == (Bytes(512), None)
    verity = find("verity").table(f"{VERITY}fec_roots 2 fec_blocks {word}")
    assert isinstance(verity, VerityTable)
    assert verity.fec is None


@pytest.mark.parametrize("value", ["7", ARABIC, 1.5, True, None, b"1"])
def test_only_a_whole_number_lies_in_a_range(value: Any) -> None:
    with pytest.raises(InvalidTableError, match="thin: thin_id must be a whole number"):
        ThinTable("254:0", value).format()


def test_the_ends_of_a_range_lie_in_it() -> None:
    assert [check_range("t", "f", value, 1, 3) for value in (1, Sectors(2), 3)] == [1, 2, 3]
    for value in (0, 4):
        with pytest.raises(InvalidTableError, match=f"t: f must be 1 to 3, not {value}"):
            check_range("t", "f", value, 1, 3)


@pytest.mark.parametrize("text", ["\ud800", "/dev/\ud840", "a\udfff"])
def test_half_a_character_is_no_text(text: str) -> None:
    with pytest.raises(InvalidTableError, match="must be text") as table:
        check_word("crypt", "device", text)
    with pytest.raises(InvalidMessageError, match="must be text") as message:
        quoted(text)
    # Python's own error would carry the text
    assert table.value.__context__ is message.value.__context__ is None


def test_bytes_that_are_not_utf_8_are_text_to_the_kernel() -> None:
    assert check_word("linear", "device", "/dev/\udcff") == "/dev/\udcff"
    assert quoted("\udcff") == "\udcff"
    mirror = find("mirror").table("userspace 4 \udcff clustered-core 1024 0 2 254:0 0 254:1 0")
    assert find("mirror").table(mirror.format()) == mirror
