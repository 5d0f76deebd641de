"""One command that a change sends, or would send."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.ioctl.abi import NO_FLAGS, Command, Flags
from dmwatch.names import printable
from dmwatch.table import TargetLine
from dmwatch.targets import find


@dataclass(frozen=True, slots=True)
class Step:
    """A command, as text for people and as values for programs.

    Attributes:
        command: which.
        device: on which device, by name.
        text: the new name, the uuid, the message, `suspend` or `resume`; "" where it has none or
            could hold a key.
        lines: the table of a TABLE_LOAD.
        flags: of the command.
        sector: where the target of a message lies.
    """

    command: Command
    device: str
    text: str = ""
    lines: tuple[TargetLine, ...] = ()
    flags: Flags = NO_FLAGS
    sector: int = 0

    def __str__(self) -> str:
        words = [
            self.command.name,
            printable(self.device),
            printable(self.text),
            f"sector {self.sector}" if self.sector else "",
            (self.flags.name or "").lower().replace("|", " "),
        ]
        parts = [" ".join(word for word in words if word), *map(_shown, self.lines)]
        return "\n    ".join(parts)


def _shown(line: TargetLine) -> str:
    text = "<not shown: it can hold a key>" if find(line.type).keyed else line.text
    return printable(f"{line.start} {line.length} {line.type} {text}").rstrip()
