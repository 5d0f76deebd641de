"""On which line a key stands."""

from __future__ import annotations

import pytest

from dmwatch.service.config.faults import Path
from dmwatch.service.config.places import Places

TEXT = '''\
# a comment
top = 1
[monitor]
poll = "10s"   # [not] a table

"a key" = 1
[conditions."thin-pool.data-usage"]
rungs = [
  { at = 70 },  # ] a trap
  # nothing
  { at = 80,    severity = "x" },
]
[[rules]]
device = "x"
[[rules]]
device = "y"
[rules.deep]
z = 1
[[rules.more]]
[[rules.more]]
here = 1
[handlers.a.match]
types = ["x",
  "y", "z",
  "[[w]]"]
[handlers.a]
text = """
[no.table]
key = 1
"""
dotted.key.deep = 1
inline = { one = 1, two = { three = 3 } }
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("monitor",), 3),
        (("monitor", "poll"), 4),
        (("monitor", "a key"), 6),
        (("monitor", "missing"), 3),
        (("conditions",), 7),
        (("conditions", "thin-pool.data-usage"), 7),
        (("conditions", "thin-pool.data-usage", "rungs"), 8),
        (("conditions", "thin-pool.data-usage", "rungs", 0, "at"), 9),
        (("conditions", "thin-pool.data-usage", "rungs", 1, "severity"), 11),
        (("rules",), 13),
        (("rules", 0, "device"), 14),
        (("rules", 1), 15),
        (("rules", 1, "device"), 16),
        (("rules", 1, "action"), 15),
        (("rules", 1, "deep", "z"), 18),
        (("rules", 1, "more", 0), 19),
        (("rules", 1, "more", 1, "here"), 21),
        (("handlers",), 22),
        (("handlers", "a"), 26),
        (("handlers", "a", "match", "types", 0), 23),
        (("handlers", "a", "match", "types", 2), 24),
        (("handlers", "a", "match", "types", 3), 25),
        (("handlers", "a", "text"), 27),
        (("handlers", "a", "dotted", "key", "deep"), 31),
        (("handlers", "a", "inline", "two", "three"), 32),
        (("nowhere",), None),
        ((), None),
    ],
)
def test_a_key_is_found(path: Path, line: int | None) -> None:
    assert Places(TEXT).line(path) == line


@pytest.mark.parametrize(("element", "line"), [("1", 200_003), ('"]"', None)])
def test_an_array_of_many_lines_does_not_take_long(element: str, line: int | None) -> None:
    text = "a = [\n" + f"{element},\n" * 200_000 + "]\nb = 1\n"
    assert Places(text).line(("b",)) == line
