"""Walks every class that can hold a key: nothing but `format` and `word` may give the key away."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from dmwatch.errors import DmwatchError, InvalidMessageError, InvalidTableError, TableParseError
from dmwatch.targets import TYPES, Secret, TargetTable, find, plain
from dmwatch.targets.crypt import CryptTable, KeySet
from dmwatch.targets.inlinecrypt import InlinecryptTable
from dmwatch.targets.integrity import Algorithm, IntegrityMode, IntegrityTable
from dmwatch.targets.keyed import HexKey, KeyringKey, KeyType, NoKey, Option, read_option
from dmwatch.units import Bytes, Sectors

KEY = "c0ffee5eed" * 6 + "abcd"
LONG = KEY * 2

TABLES: list[TargetTable] = [
    find("crypt").table(f"aes-xts-plain64 {KEY} 0 254:0 0 1 allow_discards"),
    find("crypt").table(f"aes-xts-plain64 {KEY.upper()} 0 254:0 0 1 new_thing:{KEY}"),
    find("crypt").table(f"aes-xts-plain64 - 0 254:0 0 1 {KEY}"),
    CryptTable("aes-xts-plain64", HexKey(Secret(KEY)), Sectors(0), "/dev/sda", Sectors(0)),
    find("inlinecrypt").table(f"aes-xts-plain64 {LONG} 0 254:0 0"),
    find("inlinecrypt").table(f"aes-xts-plain64 {LONG} 2 0 254:0 0 1 allow_discards"),
    InlinecryptTable("aes-xts-plain64", HexKey(Secret(LONG)), Sectors(0), "/dev/a", Sectors(0)),
    find("integrity").table(f"254:0 0 32 J 1 internal_hash:hmac(sha256):{KEY}"),
    find("integrity").table(
        f"254:0 0 32 J 3 internal_hash:crc32c journal_crypt:ctr(aes):{KEY} "
        f"journal_mac:hmac(sha1):{KEY}"
    ),
    find("integrity").table(f"254:0 0 32 J 1 newer_hash:sha9:{KEY}"),
    find("integrity").table(f"254:0 0 32 J 1 {KEY}:3"),
    find("default-key").table(f"aes-xts-plain64 {KEY} 0 254:0 0"),
]
VALUES: list[Any] = [
    *TABLES,
    HexKey(Secret(KEY)),
    HexKey(KEY),  # type: ignore[arg-type]
    KeySet(HexKey(Secret(KEY))),
    Algorithm("journal_mac", "hmac(sha1)", HexKey(Secret(KEY))),
    Option("x", Secret(KEY)),
    Secret(KEY),
]


def shown(text: str) -> bool:
    return any(part in text.lower() for part in (KEY, KEY[:16], KEY[-16:], KEY[8:24]))


def attempt(what: Callable[[], Any]) -> tuple[Exception | None, Any]:
    """The error, or what came of it."""
    try:
        return None, what()
    except (DmwatchError, TypeError, AttributeError) as error:
        return error, None


def told(error: BaseException | None) -> str:
    """All that a log could show of an error, its chain and attributes included."""
    if error is None:
        return ""
    parts = traceback.format_exception(error)
    parts += [repr(error), str(error), repr(error.args), repr(vars(error))]
    return "".join(parts) + told(error.__context__)


@pytest.mark.parity("B18")
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_no_way_of_showing_a_value_shows_the_key(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("test").warning("%s %r", value, value)
    ways = [repr(value), str(value), f"{value}", f"{value!r}", f"{value!s:>1}", ascii(value)]
    ways += [repr(plain(value)), json.dumps(plain(value)), repr([value]), caplog.text]
    assert not [way for way in ways if shown(way)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("copies", [pickle.dumps, copy.deepcopy, asdict])
def test_what_copies_a_value_refuses_without_the_key(
    value: Any, copies: Callable[[Any], Any]
) -> None:
    error, result = attempt(lambda: copies(value))
    assert not shown(told(error))
    assert not shown(repr(result))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(table).__name__)
def test_json_of_pydantic_shows_no_key(table: TargetTable) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(type(table))
    assert not shown(adapter.dump_json(table).decode())
    assert not shown(repr(adapter.dump_python(table, mode="json")))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(table).__name__)
def test_tables_keep_no_raw_text(table: TargetTable) -> None:
    assert table.raw == ""
    assert shown(" ".join(word_of(table)))


def word_of(value: Any) -> list[str]:
    """Everything in a value that `word` and `reveal` give: the key must still be there."""
    if isinstance(value, Secret):
        return [value.reveal()]
    if isinstance(value, tuple):
        return [word for item in value for word in word_of(item)]
    if is_dataclass(value):
        return [word for spec in fields(value) for word in word_of(getattr(value, spec.name))]
    return []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(table).__name__)
@pytest.mark.parametrize("field", ["key", "cipher", "device", "mode", "options", "nothing"])
def test_errors_of_replace_show_no_key(table: TargetTable, field: str) -> None:
    change: dict[str, Any] = {field: KEY if field in {"key", "nothing"} else ""}
    error, changed = attempt(lambda: replace(table, **change))
    assert not shown(told(error))
    assert not shown(repr(changed))
    if changed is not None:
        assert not shown(told(attempt(changed.format)[0]))


GARBLED = [
    f"aes {KEY}",
    f"{KEY} aes",
    f"{KEY} {KEY} {KEY} {KEY} {KEY} {KEY}",
    f"aes {KEY}x 0 254:0 0",
    f"aes :32:{KEY}:{KEY} 0 254:0 0",
    f"aes :{KEY} 0 254:0 0",
    f"aes {KEY} {KEY} 254:0 0",
    f"aes {KEY} 0 {KEY} 0",
    f"aes {KEY} 0 254:0 {KEY}",
    f"aes {KEY} 0 254:0 0 {KEY}",
    f"aes {KEY} 0 254:0 0 9 {KEY}",
    f"aes {KEY} 0 254:0 0 0 {KEY}",
    f"aes-xts-plain64 {LONG} 1 {KEY} 254:0 0",
    f"aes-xts-plain64 {LONG} 0 254:0 0 1 keytype:{KEY}",
    f"{KEY} 0 32 J 0",
    f"254:0 {KEY} 32 J 0",
    f"254:0 0 {KEY} J 0",
    f"254:0 0 32 {KEY} 0",
    f"254:0 0 32 J {KEY}",
    f"254:0 0 32 J 0 {KEY}",
    f"254:0 0 32 J 2 internal_hash:hmac(sha256):{KEY}",
    f"254:0 0 32 J 1 internal_hash:{KEY}",
    f"254:0 0 32 J 1 internal_hash::{KEY}",
    f"254:0 0 32 J 1 internal_hash:hmac(sha256):{KEY}x",
    f"254:0 0 32 J 1 journal_mac:hmac(sha1):{KEY}a",
    f"254:0 0 32 J 1 journal_sectors::{KEY}x",
]


@pytest.mark.parity("B18")
@pytest.mark.parametrize("text", GARBLED)
@pytest.mark.parametrize("target", ["crypt", "inlinecrypt", "integrity"])
def test_errors_of_parse_and_check_show_positions_only(target: str, text: str) -> None:
    error, table = attempt(lambda: find(target).table(text))
    assert not shown(told(error))
    assert not shown(repr(table))
    if table is None:
        assert isinstance(error, TableParseError)
        assert (error.text, error.position > 0) == (None, True)
    else:
        assert not shown(told(attempt(table.format)[0]))


@pytest.mark.parametrize("target", ["crypt", "inlinecrypt", "integrity", "default-key"])
@pytest.mark.parametrize("text", [*GARBLED, f"0 8 - {KEY}", f"0 8 - internal_hash:x:{KEY}"])
def test_a_table_taken_for_a_status_shows_no_key(target: str, text: str) -> None:
    error, status = attempt(lambda: find(target).status(text))
    assert not shown(told(error))
    assert not shown(repr(status))
    assert not shown(repr(plain(status)))


@pytest.mark.parametrize("key", [KEY, Secret(KEY), None, KEY.encode()])
def test_only_a_key_is_taken_for_a_key(key: Any) -> None:
    makers: list[Callable[[], object]] = [
        lambda: CryptTable("aes", key, Sectors(0), "/dev/a", Sectors(0)),
        lambda: InlinecryptTable("aes-xts-plain64", key, Sectors(0), "/dev/a", Sectors(0)),
        lambda: KeySet(key),
    ]
    for make in makers:
        with pytest.raises((InvalidTableError, InvalidMessageError)) as caught:
            make()
        assert not shown(told(caught.value))


@pytest.mark.parametrize("digits", [KEY[:-1], KEY + "zz", KEY + " ", KEY + "\\"])
def test_a_broken_key_is_refused_unseen(digits: str) -> None:
    key = HexKey(Secret(digits))
    algorithm = Algorithm("internal_hash", "hmac(sha256)", key)
    broken: list[Any] = [
        CryptTable("aes", key, Sectors(0), "/dev/a", Sectors(0)),
        InlinecryptTable("aes-xts-plain64", key, Sectors(0), "/dev/a", Sectors(0)),
        IntegrityTable("/dev/a", Sectors(0), Bytes(32), IntegrityMode.JOURNAL, (algorithm,)),
        KeySet(key),
    ]
    for value in broken:
        with pytest.raises((InvalidTableError, InvalidMessageError)) as caught:
            value.format()
        assert not shown(told(caught.value))
        assert caught.value.__cause__ is None


def test_only_a_hex_key_is_taken_for_the_key_of_an_algorithm() -> None:
    with pytest.raises(InvalidTableError) as caught:
        Algorithm("internal_hash", "hmac(sha256)", KEY)  # type: ignore[arg-type]
    assert not shown(told(caught.value))


def test_format_alone_reveals_for_the_kernel() -> None:
    assert KEY in TABLES[0].format()
    assert KEY in KeySet(HexKey(Secret(KEY))).format()
    assert KEY in TABLES[7].format()
    line = TABLES[0].line(0, 8)
    assert KEY in line.text
    assert not shown(repr(line))


def test_equality_sees_the_key() -> None:
    assert HexKey(Secret(KEY)) == HexKey(Secret(KEY.upper()))
    assert HexKey(Secret(KEY)) != HexKey(Secret(KEY[:-2]))
    assert len({HexKey(Secret(KEY)), HexKey(Secret(KEY))}) == 1


def test_a_keyring_key_is_named_not_hidden() -> None:
    key = KeyringKey(32, KeyType.LOGON, "cryptsetup:uuid-d0")
    assert repr(key) == (
        "KeyringKey(size=32, key_type=<KeyType.LOGON: 'logon'>, description='cryptsetup:uuid-d0')"
    )
    assert plain(key) == {"size": 32, "key_type": "logon", "description": "cryptsetup:uuid-d0"}
    assert (key.word(), NoKey().word()) == (":32:logon:cryptsetup:uuid-d0", "-")


@pytest.mark.parametrize(
    ("word", "option"),
    [
        ("known:1", Option("known", "1")),
        ("known", Option("known")),
        ("new_flag", Option("new_flag")),
        ("new_value:1", Option("new_value", Secret("1"))),
        ("c0ffee", Option("", Secret("c0ffee"))),
        ("C0FFEE:x", Option("", Secret("C0FFEE:x"))),
        (":x", Option("", Secret(":x"))),
    ],
)
def test_unknown_options_hide_what_could_be_a_key(word: str, option: Option) -> None:
    assert read_option(word, {"known"}) == option
    assert option.word() == word


def test_a_type_with_keys_that_is_not_known_is_carried_hidden() -> None:
    text = f"aes-xts-plain64 {KEY}  0 254:0 0 "
    table = find("default-key").table(text)
    assert table.format() == text
    assert plain(table) == {"text": "**********"}


def test_every_target_with_keys_is_marked() -> None:
    assert {t for t in TYPES if find(t).keyed} == {"crypt", "inlinecrypt", "integrity"}
    assert {m for t in TYPES for m in find(t).messages if m.keyed} == {KeySet}
