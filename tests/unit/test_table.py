from __future__ import annotations

import dataclasses
import json

import pytest
from pydantic import TypeAdapter

from dmwatch.errors import InvalidNameError, InvalidTableError
from dmwatch.table import KEYED_TYPES, U64_MAX, TargetLine


def test_a_line_holds_what_it_was_given() -> None:
    line = TargetLine(0, 8, "linear", "7:0 0")
    assert (line.start, line.length, line.type, line.text) == (0, 8, "linear", "7:0 0")
    assert TargetLine(0, 8, "zero").text == ""
    assert TargetLine(U64_MAX, U64_MAX, "zero").start == U64_MAX
    with pytest.raises(dataclasses.FrozenInstanceError):
        line.start = 1  # type: ignore[misc]


@pytest.mark.parametrize("field", ["start", "length"])
@pytest.mark.parametrize("value", [-1, U64_MAX + 1])
def test_a_number_outside_64_bits_is_refused(field: str, value: int) -> None:
    numbers = {"start": 0, "length": 8, field: value}
    with pytest.raises(InvalidTableError, match=f"zero: {field} must fit in 64 bits") as caught:
        TargetLine(numbers["start"], numbers["length"], "zero")
    assert (caught.value.target, caught.value.field) == ("zero", field)


@pytest.mark.parity("B19")
def test_a_nul_in_the_text_is_refused_without_showing_it() -> None:
    with pytest.raises(InvalidTableError, match="cannot contain NUL") as caught:
        TargetLine(0, 8, "crypt", "aes secret\0")
    assert "secret" not in str(caught.value)


def test_half_a_character_is_refused_without_showing_the_text() -> None:
    with pytest.raises(InvalidTableError, match="crypt: text must be text") as caught:
        TargetLine(0, 8, "crypt", "aes secret 0 /dev/\ud840 0")
    # Python's own error would carry the whole text
    assert caught.value.__context__ is None
    assert "secret" not in repr(caught.value)


@pytest.mark.parametrize("kind", ["", "t" * 16, "a\0b"])
def test_an_impossible_type_is_refused(kind: str) -> None:
    with pytest.raises(InvalidNameError):
        TargetLine(0, 8, kind)


@pytest.mark.parametrize("kind", sorted(KEYED_TYPES))
def test_the_text_of_a_type_that_may_hold_a_key_is_never_shown(kind: str) -> None:
    line = TargetLine(0, 8, kind, "aes-xts-plain64 00ff00ff 0 7:0 0")
    assert repr(line) == f"TargetLine(0, 8, {kind!r}, <5 words, not shown>)"
    assert "00ff" not in f"{line}{[line]}{(line,)}"
    assert repr(TargetLine(0, 8, kind)) == f"TargetLine(0, 8, {kind!r}, '')"


@pytest.mark.parametrize("kind", sorted(KEYED_TYPES))
def test_json_hides_what_repr_hides(kind: str) -> None:
    lines = [TargetLine(0, 8, kind, "aes 00ff00ff 0"), TargetLine(8, 8, "linear", "a\udcff 0")]
    adapter = TypeAdapter(list[TargetLine])
    assert json.loads(adapter.dump_json(lines)) == [
        {"start": 0, "length": 8, "type": kind, "text": "<3 words, not shown>"},
        {"start": 8, "length": 8, "type": "linear", "text": "a\\xff 0"},
    ]
    assert adapter.validate_python(adapter.dump_python(lines)) == lines


def test_other_text_is_shown() -> None:
    assert repr(TargetLine(0, 8, "linear", "7:0 0")) == "TargetLine(0, 8, 'linear', '7:0 0')"


def test_the_types_that_may_hold_a_key() -> None:
    assert {"crypt", "inlinecrypt", "integrity", "default-key"} <= KEYED_TYPES
