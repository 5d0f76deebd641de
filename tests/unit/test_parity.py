"""docs/parity.md: each behaviour and each defect has a test or a reason; each name is there."""

from __future__ import annotations

import ast
import importlib
import runpy
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(TESTS / "document_parity.py"))
FACTS: dict[str, Any] = SCRIPT["facts"]()
MARKED: dict[str, list[str]] = SCRIPT["marked"]()
NUMBERS = [str(n) for n in range(1, 84)] + [f"B{n}" for n in range(1, 27)]


def test_the_page_on_parity_is_what_the_marks_say() -> None:
    """If not: python tests/document_parity.py > docs/parity.md."""
    assert (TESTS.parent / "docs" / "parity.md").read_text() == SCRIPT["document"]()


def test_every_behaviour_and_every_defect_is_listed_in_order() -> None:
    assert [*FACTS["behaviours"], *FACTS["defects"]] == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_has_a_test_or_a_reason(number: str) -> None:
    assert MARKED.get(number) or FACTS["reasons"].get(number)


def test_no_mark_and_no_reason_has_a_number_that_is_not_listed() -> None:
    assert set(MARKED) | set(FACTS["reasons"]) <= set(NUMBERS)


def test_what_has_a_test_needs_no_reason() -> None:
    assert not set(MARKED) & set(FACTS["reasons"])


@pytest.mark.parametrize("name", [name for row in FACTS["interface"] for name in row["ours"]])
def test_what_stands_beside_its_interface_can_be_imported(name: str) -> None:
    found: Any = importlib.import_module("dmwatch")
    for part in name.split(".")[1:]:
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(f"{found.__name__}.{part}")


def test_marks_are_found_wherever_they_stand_and_on_tests_only() -> None:
    marks = SCRIPT["marks_of"](
        ast.parse(
            "@pytest.mark.parity(7)\n@pytest.mark.parity('B1', 8)\n"
            "@pytest.mark.parametrize('a', [pytest.param(1, marks=pytest.mark.parity(9))])\n"
            "async def test_a(a): ...\n"
            "def test_b(): ...\n"
        )
    )
    assert sorted(marks) == [("test_a", number) for number in ("7", "8", "9", "B1")]
