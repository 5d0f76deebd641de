"""What a client may say: one line of JSON. Anything else gives a sentence."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dmwatch.errors import DmwatchError, shorten
from dmwatch.service.ledger import GoneError, Wanted
from dmwatch.service.ledger.disk import JournalError
from dmwatch.severity import Severity

LONGEST = 64 * 1024
"""A line with more bytes is no request."""
Glob = Annotated[str, Field(max_length=512)]


class Question(BaseModel):
    """A question, which gets one answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: str = Field(max_length=100)


class Subscription(BaseModel):
    """Which events are wanted, from where on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: str | None = Field(default=None, max_length=100)
    types: tuple[Glob, ...] = Field(default=(), max_length=100)
    severity: Severity = Severity.DEBUG
    device: Glob | None = None
    follow: bool = True

    @property
    def wanted(self) -> Wanted:
        """What fits it."""
        return Wanted(self.types, self.severity, self.device)


class RequestError(DmwatchError):
    """A line that is no request."""


def read(line: bytes) -> Question | Subscription:
    """Read a client's line; a blank one asks for live events.

    Raises:
        RequestError: it is no request.
    """
    try:
        said = json.loads(line) if line.strip() else {}
    except (ValueError, RecursionError):
        raise RequestError(
            "the line is no JSON", hint='{"since": "2h"}, or {"ask": "conditions"}'
        ) from None
    if not isinstance(said, dict):
        raise RequestError("the line is no JSON object", hint='{"since": "2h"}')
    try:
        return (Question if "ask" in said else Subscription).model_validate(said)
    except ValidationError as error:
        raise RequestError(_faults(error)) from None


def problem(error: Exception, resume_from: str | None = None) -> dict[str, Any]:
    """What a client is told of an error.

    Args:
        error: a DmwatchError, or a fault of our own, of which no more is said.
        resume_from: the last event that it was told, or else where it wanted to begin.
    """
    sentence = str(error) if isinstance(error, DmwatchError) else "the daemon failed: see its log"
    said: dict[str, Any] = {"error": sentence}
    if isinstance(error, GoneError):
        said["oldest"] = error.oldest
    if isinstance(error, JournalError) and resume_from:
        said["resume_from"] = resume_from
    return said


def line_of(value: dict[str, Any]) -> bytes:
    """A JSON object as a line."""
    return json.dumps(value).encode() + b"\n"


def _faults(error: ValidationError) -> str:
    found = (
        f"{'.'.join(map(str, fault['loc'])) or 'the request'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return shorten("; ".join(found), 500)
