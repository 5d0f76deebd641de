"""Writes docs/parity.md from parity.toml and the marks of the tests.

python tests/document_parity.py > docs/parity.md
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
Shown = dict[str, list[str]]

HEAD = """\
# Parity with devicemapper-rs

What the tests of devicemapper-rs 0.34.8 show, in its order, and what was found wrong in it by
reading; beside each the tests here that show ours right. Written by `tests/document_parity.py`:
a test carries the number as a mark, `@pytest.mark.parity(7)`. Tests under `kernel/` run on a
real kernel.
"""
TABLE = """
## {title}

| {first} | {second} | {third} |
|---|---|---|
"""


def facts() -> dict[str, Any]:
    return tomllib.loads((TESTS / "parity.toml").read_text())


def document() -> str:
    known, shown = facts(), marked()
    rows = {
        "Behaviours": rows_of(known["behaviours"], known["reasons"], shown),
        "Defects": rows_of(known["defects"], known["reasons"], shown),
    }
    tables = "".join(
        TABLE.format(title=title, first="#", second="what ours does", third="shown by") + found
        for title, found in rows.items()
    )
    return HEAD + tables + interface(known["interface"])


def rows_of(numbered: Mapping[str, str], reasons: Mapping[str, str], shown: Shown) -> str:
    return "".join(
        f"| {number} | {what} | {proof(number, reasons, shown)} |\n"
        for number, what in numbered.items()
    )


def proof(number: str, reasons: Mapping[str, str], shown: Shown) -> str:
    tests = ", ".join(f"`{test}`" for test in shown.get(number, []))
    return "; ".join(part for part in (tests, reasons.get(number)) if part) or "**nothing yet**"


def interface(rows: list[dict[str, Any]]) -> str:
    head = TABLE.format(
        title="Public interface", first="devicemapper-rs", second="dmwatch", third="remark"
    )
    return head + "".join(
        f"| {row['theirs']} | {', '.join(f'`{name}`' for name in row['ours'])} "
        f"| {row.get('remark', '')} |\n"
        for row in rows
    )


# The marks, read without importing anything


def marked() -> Shown:
    """number -> the tests that carry it, as `folder/file::test`.

    Raises:
        ValueError: a mark stands on what is no test.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, number in marks_of(ast.parse(path.read_text(), str(path))):
            if not name.startswith("test_"):
                raise ValueError(f"{path}: {name} carries parity({number}) and is no test")
            found[number].append(f"{path.relative_to(TESTS).as_posix()}::{name}")
    return dict(found)


def marks_of(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Give (test, number) for each mark on a function, also inside its parametrize."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            numbers = {number for mark in node.decorator_list for number in numbers_in(mark)}
            yield from ((node.name, number) for number in sorted(numbers))


def numbers_in(decorator: ast.expr) -> Iterator[str]:
    for node in ast.walk(decorator):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.parity":
            yield from (str(ast.literal_eval(argument)) for argument in node.args)


if __name__ == "__main__":
    sys.stdout.write(document())
