"""What takes the steps of a change back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Undo:
    """What takes a step back, and of which device; "" of none."""

    name: str
    carry_out: Callable[[], object]


class Ledger:
    """What is to be undone if something fails, in order, then what has to wait until all else is.

    Args:
        outer: of the change that this one's is a part of, or None.

    Attributes:
        steps: in the order in which they were done.
        last: what is put back after them, with what was told where that failed.
        outer: as above.
    """

    def __init__(self, outer: Ledger | None = None) -> None:
        self.steps: list[Undo] = []
        self.last: dict[Undo, str] = {}
        self.outer = outer

    def add(self, name: str, undo: Callable[[], object]) -> None:
        """Note what takes a step back."""
        self.steps.append(Undo(name, undo))

    def add_last(self, name: str, undo: Callable[[], object]) -> None:
        """Note what is put back once all else is undone."""
        self.last[Undo(name, undo)] = ""

    def take_over(self, inner: Ledger) -> None:
        """What an inner change did is to be undone with this one."""
        self.steps += inner.steps
        self.last |= inner.last

    def settle(self, names: set[str]) -> None:
        """What was done to these devices stays, here and in what this is a part of."""
        # each keeps its place: marks count them
        self.steps = [Undo("", nothing) if u.name in names else u for u in self.steps]
        if self.outer:
            self.outer.settle(names)

    def undo_to(self, mark: int, error: BaseException | None) -> None:
        """Undo everything since a mark, the last step first; all of it, whatever fails."""
        while len(self.steps) > mark:
            tell(error, _carried_out(self.steps.pop()))
        # what cannot be put back yet is tried again when more is undone
        for step, told in list(self.last.items()):
            self.last[step] = _carried_out(step)
            tell(error, self.last[step], instead_of=told)
        self.last = {step: told for step, told in self.last.items() if told}


def _carried_out(step: Undo) -> str:
    """Take a step back; what is to be told where that fails, else ""."""
    try:
        step.carry_out()
    except Exception as failed:  # noqa: BLE001 - the first error is the one that counts
        return not_undone(failed)
    return ""


def not_undone(failed: Exception) -> str:
    """The note for what could not be undone."""
    return f"this could not be undone: {failed}"


def tell(error: BaseException | None, note: str, *, instead_of: str = "") -> None:
    """Put a note on the first error, in the place of one that no longer holds."""
    if error is None or note == instead_of:
        return
    if instead_of in getattr(error, "__notes__", ()):
        error.__notes__.remove(instead_of)
    if note:
        error.add_note(note)


def nothing() -> None:
    """What undoes a step that cannot be undone, or need not be."""
