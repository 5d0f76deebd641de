"""crypt on a real kernel: keys in hex and in the keyring, options, key messages."""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dmwatch.names import DeviceNumber
from dmwatch.targets import EmptyStatus, Secret, Seen, find
from dmwatch.targets.crypt import (
    CryptTable,
    HexKey,
    KeyringKey,
    KeySet,
    KeyType,
    KeyWipe,
    NoKey,
    Option,
)
from dmwatch.units import Sectors

pytestmark = pytest.mark.timeout(120)

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]

CRYPT = find("crypt")
LENGTH = 1024
ADD_KEY, KEYCTL = 248, 250
SESSION, JOIN_SESSION = -3, 1


def number(path: str) -> DeviceNumber:
    node = Path(path).stat().st_rdev
    return DeviceNumber(os.major(node), os.minor(node))


def text_of(dmsetup: Dmsetup, what: str, name: str) -> str:
    options = ["--showkeys"] if what == "table" else ["--noflush"]
    words = dmsetup(what, *options, name).strip().split(maxsplit=3)
    return words[3] if len(words) > 3 else ""


def hex_key(size: int = 64) -> HexKey:
    return HexKey(Secret(secrets.token_hex(size)))


@pytest.fixture
def device(loop: Loop, need_target: Callable[[str], None]) -> DeviceNumber:
    need_target("crypt")
    return number(loop(1))


@pytest.fixture
def live(dmsetup: Dmsetup, device_name: Name) -> Iterator[Callable[[CryptTable], str]]:
    """live(table) -> the name of a device with it."""
    names = []

    def make(table: CryptTable) -> str:
        name = device_name("crypt")
        line = f"0 {LENGTH} crypt {table.format()}\n"
        dmsetup("create", name, standard_input=line)
        names.append(name)
        return name

    yield make
    for name in names:
        dmsetup("remove", name)


def options() -> list[tuple[Option, ...]]:
    large = (Option("sector_size", "4096"), Option("iv_large_sectors"))
    queues = (Option("no_read_workqueue"), Option("no_write_workqueue"))
    return [
        (),
        (Option("allow_discards"),),
        (Option("allow_discards"), *large),
        (Option("same_cpu_crypt"), Option("submit_from_crypt_cpus"), *queues),
        (Option("sector_size", "1024"),),
    ]


@pytest.mark.parametrize("chosen", options())
def test_the_kernel_prints_the_table_that_we_wrote(
    dmsetup: Dmsetup,
    live: Callable[[CryptTable], str],
    device: DeviceNumber,
    chosen: tuple[Option, ...],
) -> None:
    table = CryptTable("aes-xts-plain64", hex_key(), Sectors(8), device, Sectors(16), chosen)
    name = live(table)
    printed = CRYPT.table(text_of(dmsetup, "table", name))
    assert printed == table
    status = CRYPT.status(text_of(dmsetup, "status", name))
    assert status == EmptyStatus()
    seen = Seen("crypt", Sectors(0), Sectors(LENGTH), status)
    assert CRYPT.observe(seen).findings == ()


@pytest.mark.parametrize(
    "cipher", ["aes-cbc-essiv:sha256", "aes-plain", "aes-ecb", "capi:xts(aes)-plain64"]
)
def test_ciphers_that_check_takes_the_kernel_takes(
    dmsetup: Dmsetup, live: Callable[[CryptTable], str], device: DeviceNumber, cipher: str
) -> None:
    table = CryptTable(cipher, hex_key(32), Sectors(0), device, Sectors(0))
    assert CRYPT.table(text_of(dmsetup, "table", live(table))) == table


def test_no_key(dmsetup: Dmsetup, live: Callable[[CryptTable], str], device: DeviceNumber) -> None:
    table = CryptTable("cipher_null-ecb", NoKey(), Sectors(0), device, Sectors(0))
    assert CRYPT.table(text_of(dmsetup, "table", live(table))) == table


REFUSED = [
    "aes-xts-plain64 {key} 0 {device} 0 1 sector_size:1000",
    "aes-xts-plain64 {key} 0 {device} 0 1 sector_size:8192",
    "aes-xts-plain64 {key} 4 {device} 0 1 sector_size:4096",
    "aes-xts-plain64 {key} 0 {device} 0 1 integrity:0:none",
    "aes-xts-plain64 {key} 0 {device} 0 1 integrity:32:poly",
    "aes-xts-plain64 {key} 0 {device} 0 1 integrity:32:aead",
    "aes-xts-plain64 {key} 0 {device} 0 1 faster",
    "aes:3-cbc-plain {key} 0 {device} 0",
    "aes-xts {key} 0 {device} 0",
    "aes-cbc-essiv {key} 0 {device} 0",
    "xts(aes)-plain64 {key} 0 {device} 0",
]


def test_what_check_refuses_the_kernel_refuses(
    dmsetup: Dmsetup, device_name: Name, device: DeviceNumber
) -> None:
    for text in REFUSED:
        written = text.format(key=secrets.token_hex(64), device=device)
        with pytest.raises(ValueError, match=r"crypt: (cipher|options|iv_offset) "):
            CRYPT.table(written).format()
        line = f"0 {LENGTH} crypt {written}\n"
        with pytest.raises(AssertionError):
            dmsetup("create", device_name("refused"), standard_input=line)


def test_key_messages(
    dmsetup: Dmsetup, live: Callable[[CryptTable], str], device: DeviceNumber
) -> None:
    table = CryptTable("aes-xts-plain64", hex_key(), Sectors(0), device, Sectors(0))
    name = live(table)
    with pytest.raises(AssertionError):
        dmsetup("message", name, "0", KeyWipe().format())
    dmsetup("suspend", name)
    dmsetup("message", name, "0", KeyWipe().format())
    with pytest.raises(AssertionError):
        dmsetup("resume", name)
    with pytest.raises(AssertionError):
        dmsetup("message", name, "0", KeySet(hex_key(32)).format())
    other = hex_key()
    dmsetup("message", name, "0", KeySet(other).format())
    dmsetup("resume", name)
    assert CRYPT.table(text_of(dmsetup, "table", name)) == replace(table, key=other)


@pytest.fixture
def keyring() -> Callable[[KeyType, str, bytes], None]:
    """keyring(type, description, payload): a key in a session keyring that dmsetup inherits."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    assert syscall(KEYCTL, JOIN_SESSION, None) > 0, os.strerror(ctypes.get_errno())

    def add(kind: KeyType, description: str, payload: bytes) -> None:
        words = kind.value.encode(), description.encode(), payload
        added = syscall(ADD_KEY, *words, ctypes.c_size_t(len(payload)), SESSION)
        assert added > 0, os.strerror(ctypes.get_errno())

    return add


@pytest.mark.parametrize("kind", [KeyType.LOGON, KeyType.USER])
def test_a_key_of_the_keyring_is_printed_by_its_name(
    dmsetup: Dmsetup,
    live: Callable[[CryptTable], str],
    device: DeviceNumber,
    keyring: Callable[[KeyType, str, bytes], None],
    kind: KeyType,
) -> None:
    payload = secrets.token_bytes(64)
    keyring(kind, "dmwatch:test:1", payload)
    key = KeyringKey(64, kind, "dmwatch:test:1")
    table = CryptTable("aes-xts-plain64", key, Sectors(0), device, Sectors(0))
    name = live(table)
    text = text_of(dmsetup, "table", name)
    assert CRYPT.table(text) == table
    assert payload.hex() not in text


def test_a_table_read_back_loads_again(
    dmsetup: Dmsetup, live: Callable[[CryptTable], str], device: DeviceNumber
) -> None:
    name = live(CryptTable("aes-xts-plain64", hex_key(), Sectors(0), device, Sectors(0)))
    printed = CRYPT.table(text_of(dmsetup, "table", name))
    dmsetup("reload", name, standard_input=f"0 {LENGTH} crypt {printed.format()}\n")
    dmsetup("suspend", name)
    dmsetup("resume", name)
    assert CRYPT.table(text_of(dmsetup, "table", name)) == printed
