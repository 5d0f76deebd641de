"""Pauses between attempts: they double, and no two lanes that failed together try together."""

from __future__ import annotations

import random
from collections.abc import Callable

_SPREAD = 0.25


class Backoff:
    """Growing pauses.

    Args:
        first: seconds, of the first pause.
        longest: seconds; no pause is meant to be longer.
        chance: 0 to 1, for the jitter: each pause is up to a quarter shorter or longer.
    """

    def __init__(
        self, first: float, longest: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._first = min(first, longest)
        self._longest = longest
        self._chance = chance
        self._next = self._first

    def pause(self) -> float:
        """Give the next pause in seconds."""
        pause = self._next
        self._next = min(self._longest, pause * 2)
        return pause * (1 + _SPREAD * (2 * self._chance() - 1))

    def reset(self) -> None:
        """Begin again with the first pause: something has succeeded."""
        self._next = self._first
