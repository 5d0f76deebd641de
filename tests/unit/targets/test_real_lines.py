"""Every line that two real kernels printed, read to what it means.

The lines stand in tests/data/status-lines, and beside them those that were built from the kernel's
format strings. meaning.jsonl has what each distinct text means, one a line: compared exactly,
changed by running this file and reading the diff.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmwatch.targets import TYPES, TargetStatus, TargetTable, find, plain

DATA = Path(__file__).parents[2] / "data" / "status-lines"
Text = tuple[str, str, str]
"""Target type, "status" or "table", and the text."""


def texts(name: str) -> Iterator[Text]:
    with (DATA / name).open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row["type"], "status", row["status"]
            if row["table"] != "?":
                yield row["type"], "table", row["table"]


def meanings() -> Iterator[tuple[Text, str]]:
    for line in (DATA / "meaning.jsonl").read_text().splitlines():
        meaning = json.loads(line)
        yield (meaning["target"], meaning["kind"], meaning["text"]), line


def read(text: Text) -> TargetStatus | TargetTable:
    target = find(text[0])
    return target.status(text[2]) if text[1] == "status" else target.table(text[2])


def meaning_of(text: Text) -> str:
    value = read(text)
    target, kind, written = text
    names = {"target": target, "kind": kind, "text": written, "is": type(value).__name__}
    return json.dumps(names | {"means": plain(value)})


REAL = sorted(set(texts("lines.tsv")))
TEXTS = sorted({*REAL, *texts("constructed.tsv")})
MEANINGS = dict(meanings()) if (DATA / "meaning.jsonl").exists() else {}


@pytest.mark.parametrize("text", TEXTS, ids=" ".join)
def test_means(text: Text) -> None:
    assert meaning_of(text) == MEANINGS[text]


def test_nothing_else_is_said_to_mean_something() -> None:
    assert [text for text in MEANINGS if text not in TEXTS] == []


def test_the_lines_name_targets_that_we_know() -> None:
    assert {target for target, _, _ in TEXTS} <= set(TYPES)


# a failed thin prints this in the place of its table
WRITABLE = [t for t in REAL if t[1] == "table" and t != ("thin", "table", "Fail")]


@pytest.mark.parametrize("text", WRITABLE, ids=" ".join)
def test_a_table_that_a_kernel_printed_can_be_written_again(text: Text) -> None:
    table = read(text)
    assert isinstance(table, TargetTable)
    assert find(text[0]).table(table.format()) == table


if __name__ == "__main__":
    (DATA / "meaning.jsonl").write_text("".join(f"{meaning_of(text)}\n" for text in TEXTS))
