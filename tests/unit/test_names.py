from __future__ import annotations

import os
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from dmwatch.errors import InvalidNameError
from dmwatch.names import (
    DeviceName,
    DeviceNumber,
    DeviceUuid,
    TargetType,
    device_id,
    label,
    matches,
    printable,
    subsystem,
)

WORDS = [(DeviceName, 127), (DeviceUuid, 128), (TargetType, 15)]


@pytest.mark.parity(1)
def test_the_number_of_a_file_system_node_and_of_the_kernel_agree() -> None:
    for major, minor in ((253, 0), (8, 16), (0xFFF, 0xFFFFF), (254, 0x12345)):
        number = DeviceNumber(major, minor)
        assert os.makedev(major, minor) == number.to_kernel()
        assert (os.major(number.to_kernel()), os.minor(number.to_kernel())) == (major, minor)


@pytest.mark.parity(2)
def test_the_kernels_number_has_its_bits_mixed() -> None:
    number = DeviceNumber(0x456, 0x12378)
    assert DeviceNumber.from_kernel(0x12345678) == number
    assert number.to_kernel() == 0x12345678
    with pytest.raises(InvalidNameError):
        DeviceNumber.from_kernel(0xABCDEF1234567890)


@pytest.mark.parametrize(("major", "minor"), [(-1, 0), (0, -1), (0x1000, 0), (0, 0x100000)])
def test_a_number_that_the_kernel_cannot_hold_is_refused(major: int, minor: int) -> None:
    with pytest.raises(InvalidNameError, match="no device can have the number"):
        DeviceNumber(major, minor)


def test_a_number_is_read_from_text() -> None:
    assert DeviceNumber.parse("253:7") == DeviceNumber(253, 7)
    assert str(DeviceNumber(253, 7)) == "253:7"
    assert DeviceNumber(7, 9) < DeviceNumber(8, 1) < DeviceNumber(8, 2)


@pytest.mark.parametrize(
    "text",
    ["", "253", "253:", ":7", "253:7 ", "+1:2", "1:-2", "1:2:3", "¹:2", "99999:1", "1:9999999"],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        DeviceNumber.parse(text)


@pytest.mark.parity(32)
@pytest.mark.parametrize(("kind", "limit"), WORDS)
def test_an_empty_word_is_refused(kind: type[DeviceName], limit: int) -> None:
    with pytest.raises(InvalidNameError, match="cannot be empty"):
        kind("")


@pytest.mark.parity(33)
@pytest.mark.parametrize(("kind", "limit"), WORDS)
def test_a_word_is_limited_in_bytes(kind: type[DeviceName], limit: int) -> None:
    assert len(kind("n" * limit)) == limit
    assert len(kind("ü" * (limit // 2)).to_kernel()) == limit // 2 * 2
    for long in ("n" * (limit + 1), "ü" * (limit // 2 + 1)):
        with pytest.raises(InvalidNameError, match=f"at most {limit} bytes"):
            kind(long)


@pytest.mark.parity(34)
@pytest.mark.parametrize(("kind", "limit"), WORDS)
def test_a_word_is_a_str_with_bytes(kind: type[DeviceName], limit: int) -> None:
    word = kind("a-b")
    assert word == "a-b"
    assert f"{word}" == str(word) == "a-b"
    assert (word.to_kernel(), kind.from_kernel(b"a-b")) == (b"a-b", word)
    assert hash(word) == hash("a-b")


@pytest.mark.parametrize("name", ["a/b", "/", "a\0", "control", ".", ".."])
def test_a_name_that_the_kernel_refuses_or_cuts(name: str) -> None:
    with pytest.raises(InvalidNameError):
        DeviceName(name)


@pytest.mark.parametrize("name", ["...", "controls", "a b", "ü", "a\n", "-", "a\udcff"])
def test_a_name_that_the_kernel_takes(name: str) -> None:
    assert DeviceName(name) == name


def test_a_uuid_may_have_a_slash_and_no_nul() -> None:
    assert DeviceUuid("LVM-a/b") == "LVM-a/b"
    with pytest.raises(InvalidNameError, match="cannot contain"):
        DeviceUuid("a\0b")


def test_half_a_character_is_no_text() -> None:
    with pytest.raises(InvalidNameError, match="must be text"):
        DeviceName("\ud800")


def test_bytes_that_are_not_unicode_survive() -> None:
    raw = bytes(set(range(1, 256)) - {ord("/")})[:127]
    name = DeviceName.from_kernel(raw)
    assert name.to_kernel() == raw
    assert DeviceName(str(name)) == name


def test_what_the_kernel_says_is_taken_as_it_is() -> None:
    for raw in (b"control", b"a/b", b"n" * 300, b""):
        assert DeviceName.from_kernel(raw).to_kernel() == raw


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain-ü", "plain-ü"),
        ("a\nb", "a\\x0ab"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x7f\x85\u2028", "\\x7f\\x85\\u2028"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\ud800", "\\ud800"),
    ],
)
def test_the_printable_form_has_no_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("uuid", "owner"),
    [
        ("LVM-abc", "LVM"),
        ("CRYPT-LUKS2-abc-home", "CRYPT"),
        ("mpath-3600", "mpath"),
        ("part1-mpath-3600", "mpath"),
        ("part12-CRYPT-x", "CRYPT"),
        ("nodash", None),
        ("-x", None),
        ("", None),
        (None, None),
    ],
)
def test_the_owner_stands_before_the_first_hyphen(uuid: str | None, owner: str | None) -> None:
    assert subsystem(uuid) == owner


@pytest.mark.parametrize(
    ("name", "uuid", "shown"),
    [
        ("vg--x-pool", "LVM-1", "vg-x/pool"),
        ("vg-pool_tmeta", "LVM-1", "vg/pool_tmeta"),
        ("vg-pool-tpool", "LVM-1-tpool", "vg/pool-tpool"),
        ("a--b--c-d--e", "LVM-1", "a-b-c/d-e"),
        ("vg--x-pool", "CRYPT-1", "vg--x-pool"),
        ("vg--x-pool", None, "vg--x-pool"),
        ("single", "LVM-1", "single"),
        ("a\udcff", None, "a\\xff"),
    ],
)
def test_the_label_is_what_the_owner_calls_it(name: str, uuid: str | None, shown: str) -> None:
    assert label(name, uuid) == shown


def test_a_plain_str_means_a_name() -> None:
    assert type(device_id("a")) is DeviceName
    uuid, number = DeviceUuid("a"), DeviceNumber(1, 2)
    assert device_id(uuid) is uuid
    assert device_id(number) is number
    with pytest.raises(InvalidNameError):
        device_id("a/b")


class Model(BaseModel):
    number: DeviceNumber


def test_pydantic_reads_and_writes_a_number_as_text() -> None:
    assert Model.model_validate_json('{"number": "253:7"}').number == DeviceNumber(253, 7)
    assert Model(number=DeviceNumber(253, 7)).model_dump_json() == '{"number":"253:7"}'
    wrong: list[Any] = ["x", 7, None]
    for value in wrong:
        with pytest.raises(ValidationError):
            Model(number=value)


def test_an_error_about_a_long_name_is_short() -> None:
    with pytest.raises(InvalidNameError) as caught:
        DeviceName("n" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("kind", "_"), WORDS)
def test_pydantic_reads_a_word_and_writes_its_printable_form(kind: Any, _: int) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind | None)
    assert type(adapter.validate_python("a")) is kind
    assert adapter.dump_json(kind("a\udcff\n")) == b'"a\\\\xff\\\\x0a"'
    assert adapter.dump_python(kind("a\n")) == "a\n"
    assert adapter.json_schema() == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    with pytest.raises(ValidationError):
        adapter.validate_python("x" * 129)


def test_a_name_with_wildcards_in_it_means_itself_too() -> None:
    assert matches("a[1]", "b", "a[1]")
    assert matches("a[1]", "a1")
    assert not matches("a[1]", "a")
    assert not matches("a[1]")
