"""What the path selectors take (drivers/md/dm-ps-*.c)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from dmwatch.targets.words import U32_MAX, check_range, require

TYPE = "multipath"
THROUGHPUT_MAX = 100
WEIGHT_MAX = 1023
_MASK = re.compile(r"[0-9a-fA-F]{1,8}(,[0-9a-fA-F]{1,8})*")

Check = Callable[[str, str], None]


def _number(maximum: int = U32_MAX) -> Check:
    def check(field: str, word: str) -> None:
        # a longer word would not fit 32 bits anyway, and int() refuses very long ones
        decimal = word.isascii() and word.isdecimal() and len(word) <= len(str(U32_MAX))
        require(decimal, TYPE, field, f"must be a number of at most {maximum}")
        check_range(TYPE, field, int(word), 0, maximum)

    return check


def _mask(field: str, word: str) -> None:
    require(bool(_MASK.fullmatch(word)), TYPE, field, "must be a mask of CPUs in hex")


@dataclass(frozen=True, slots=True)
class Selector:
    """A path selector: a name and a rule for each word that it takes.

    Attributes:
        group: for the words of a group.
        path: for the words of a path.
        required: how many of the words of a path must be there.
    """

    group: tuple[tuple[str, Check], ...] = ()
    path: tuple[tuple[str, Check], ...] = ()
    required: int = 0


_REPEAT = ("repeat_count", _number())
SELECTORS = {
    "round-robin": Selector(path=(_REPEAT,)),
    "queue-length": Selector(path=(_REPEAT,)),
    "service-time": Selector(path=(_REPEAT, ("relative_throughput", _number(THROUGHPUT_MAX)))),
    "historical-service-time": Selector(
        group=(("base_weight", _number(WEIGHT_MAX)), ("threshold_multiplier", _number())),
        path=(_REPEAT,),
    ),
    "io-affinity": Selector(path=(("cpumask", _mask),), required=1),
}


def check_selector(name: str, group: tuple[str, ...], path: tuple[str, ...]) -> None:
    """Hold a selector's rules against its words. One that is not known may take any.

    Raises:
        InvalidTableError: where a word is wrong, or they are too many or too few.
    """
    selector = SELECTORS.get(name)
    if selector is None:
        return
    # round-robin, queue-length and others ignore the words of a group
    if selector.group:
        _check_words(f"{name} arguments", selector.group, group)
    enough = len(path) >= selector.required
    require(enough, TYPE, f"{name} path arguments", f"must be {selector.required} words")
    _check_words(f"{name} path arguments", selector.path, path)


def _check_words(field: str, specs: tuple[tuple[str, Check], ...], words: tuple[str, ...]) -> None:
    require(len(words) <= len(specs), TYPE, field, f"can be {len(specs)} words at most")
    for (name, check), word in zip(specs, words, strict=False):
        check(name, word)
