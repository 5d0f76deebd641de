"""How bad a thing is: six words in order."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """The severities of events, in the order in which they get worse."""

    DEBUG = "debug"
    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for debug to 5 for critical: what to compare and sort by."""
        return _RANKS[self]

    @property
    def priority(self) -> int:
        """The priority of syslog and the journal: 7 for debug to 2 for critical."""
        return _PRIORITIES[self]

    def at_least(self, other: Severity) -> bool:
        """Say whether this is as bad as `other` or worse."""
        return self.rank >= other.rank


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}
_PRIORITIES = {severity: 7 - rank for severity, rank in _RANKS.items()}
