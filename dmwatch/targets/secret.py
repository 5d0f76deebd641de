"""Text that must not be seen: keys in the tables of crypt, inlinecrypt and integrity."""

from __future__ import annotations

import hmac
from typing import Any, Final, Self

MASK: Final = "**********"


class Secret:
    """A text that `repr`, `str`, JSON, logs and errors show only as a mask.

    Only `reveal` gives it away; `format` of a table calls that for the kernel.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled: it would lie about in clear")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> dict[str, Any]:
        """Let pydantic read it from a str and write it as a mask."""
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": cls._from_any},
            "serialization": {"type": "to-string"},
            "metadata": {"pydantic_js_functions": [lambda _schema, _next: {"type": "string"}]},
        }

    @classmethod
    def _from_any(cls, value: Any) -> Self:
        return value if isinstance(value, cls) else cls(str(value))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
