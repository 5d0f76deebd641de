from __future__ import annotations

import errno
import pickle
import re

import pytest

from dmwatch import errors
from dmwatch.errors import (
    CommandError,
    ControlError,
    ControlNotPermittedError,
    DmwatchError,
    InvalidTableError,
    StatusParseError,
    TableParseError,
    shorten,
)

TREE = re.compile(r"^([| +-]*)(\w+Error)(?: \((\w+)\))?", re.MULTILINE)


def defined() -> dict[str, type[DmwatchError]]:
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, DmwatchError)
    }


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for indent, name, beside in TREE.findall(errors.__doc__ or ""):
        depth = len(indent) // 4
        path[depth:] = [name]
        drawn[name] = (path[depth - 1] if depth else None, beside or None)
    assert set(drawn) == set(defined())
    for name, (parent, beside) in drawn.items():
        bases = [base.__name__ for base in defined()[name].__bases__]
        assert bases[0] == (parent or "Exception")
        assert bases[1:] == ([beside] if beside else [])


def test_an_error_reads_as_a_sentence() -> None:
    error = DmwatchError("it failed", because="it was raining", hint="an umbrella")
    assert str(error) == "it failed; most likely because it was raining; try this: an umbrella"
    assert str(DmwatchError("it failed")) == "it failed"
    assert (error.what, error.because, error.hint) == ("it failed", "it was raining", "an umbrella")


def test_a_refused_command_carries_its_evidence() -> None:
    error = CommandError("DEV_REMOVE", "a", errno.EBUSY, request=1, reply=2, because="it is open")
    assert isinstance(error, OSError)
    assert (error.command, error.device, error.errno) == ("DEV_REMOVE", "a", errno.EBUSY)
    assert (error.request, error.reply, error.strerror) == (1, 2, "Device or resource busy")
    assert str(error) == (
        "DEV_REMOVE of a failed: Device or resource busy (EBUSY); most likely because it is open"
    )


def test_a_command_about_no_device_names_none() -> None:
    assert str(CommandError("VERSION", None, errno.EPERM)).startswith("VERSION failed: ")


def test_an_error_of_the_control_node_is_an_os_error() -> None:
    error = ControlNotPermittedError("no", errno.EACCES)
    assert isinstance(error, ControlError)
    assert (error.errno, error.strerror) == (errno.EACCES, "Permission denied")


def test_a_rule_of_a_table_names_target_and_field() -> None:
    error = InvalidTableError("linear", "start", "must be a number")
    assert isinstance(error, ValueError)
    assert (error.target, error.field, str(error)) == (
        "linear",
        "start",
        "linear: start must be a number",
    )


@pytest.mark.parametrize(
    ("kind", "word"), [(StatusParseError, "status"), (TableParseError, "table")]
)
def test_unreadable_text_names_target_field_and_position(
    kind: type[StatusParseError | TableParseError], word: str
) -> None:
    error = kind("thin", "mapped", 1, "is no number", "x 8")
    assert (error.target, error.field, error.position, error.text) == ("thin", "mapped", 1, "x 8")
    assert str(error) == f"thin {word}: mapped (word 1) is no number: 'x 8'"


def test_text_that_may_hold_a_key_is_not_shown() -> None:
    error = TableParseError("crypt", "key", 2, "is too short", None)
    assert str(error) == "crypt table: key (word 2) is too short"
    assert error.text is None


def test_long_text_is_cut() -> None:
    assert shorten("x" * 200) == "x" * 200
    assert shorten("x" * 201) == "x" * 200 + "... (201 characters)"
    assert len(str(TableParseError("a", "b", 1, "is wrong", "y" * 10_000))) < 300


def test_a_plain_error_can_be_pickled() -> None:
    assert str(pickle.loads(pickle.dumps(DmwatchError("it failed")))) == "it failed"
