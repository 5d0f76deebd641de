"""Amounts that know what they count: adding two different ones is an error.

    Sectors         512 bytes, the unit of every length and offset in device-mapper
    Bytes           one byte
    DataBlocks      blocks of a pool, cache or clone: their size stands in the device's table
    MetadataBlocks  4 KiB, the block of dm-persistent-data (drivers/md/persistent-data)

All are whole numbers of any size from 0 up. Like can be added to and subtracted from like, compared
with like, and divided by like (which gives a plain int); each can be multiplied and divided
by an int. A difference below 0 is an error, as no amount is negative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeGuard, overload

from dmwatch.errors import InvalidValueError

SECTOR_SIZE = 512
METADATA_BLOCK_SECTORS = 8
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


class Quantity:
    """A whole number of something, 0 or more. Use its subclasses.

    Raises:
        InvalidValueError: for a negative number, a bool, or what is not an int.
    """

    __slots__ = ("_value",)
    _value: int
    unit = "units"

    def __init__(self, value: int = 0) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidValueError(f"{type(self).__name__} takes an int, not {value!r}")
        if value < 0:
            raise InvalidValueError(f"{type(self).__name__} cannot be negative: {value}")
        object.__setattr__(self, "_value", value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self._value,)

    def __int__(self) -> int:
        return self._value

    def __index__(self) -> int:
        return self._value

    def __bool__(self) -> bool:
        return self._value != 0

    def __hash__(self) -> int:
        return hash((type(self), self._value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._value})"

    def __str__(self) -> str:
        return f"{self._value} {self.unit}"

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if self._is_like(other) else NotImplemented

    def __lt__(self, other: Self) -> bool:
        return self._value < other._value if self._is_like(other) else NotImplemented

    def __le__(self, other: Self) -> bool:
        return self._value <= other._value if self._is_like(other) else NotImplemented

    def __gt__(self, other: Self) -> bool:
        return self._value > other._value if self._is_like(other) else NotImplemented

    def __ge__(self, other: Self) -> bool:
        return self._value >= other._value if self._is_like(other) else NotImplemented

    def __add__(self, other: Self) -> Self:
        return type(self)(self._value + other._value) if self._is_like(other) else NotImplemented

    def __radd__(self, other: int) -> Self:
        # sum() starts from the int 0; any other int has no unit
        return self if type(other) is int and other == 0 else NotImplemented

    def __sub__(self, other: Self) -> Self:
        return type(self)(self._value - other._value) if self._is_like(other) else NotImplemented

    def __mul__(self, factor: int) -> Self:
        return type(self)(self._value * factor) if type(factor) is int else NotImplemented

    __rmul__ = __mul__

    @overload
    def __floordiv__(self, other: int) -> Self: ...
    @overload
    def __floordiv__(self, other: Self) -> int: ...
    def __floordiv__(self, other: int | Self) -> Self | int:
        if isinstance(other, int):
            return type(self)(self._value // other)
        return self._value // other._value if self._is_like(other) else NotImplemented

    def __mod__(self, other: int | Self) -> Self:
        if isinstance(other, int):
            return type(self)(self._value % other)
        return type(self)(self._value % other._value) if self._is_like(other) else NotImplemented

    def __truediv__(self, other: Self) -> float:
        return self._value / other._value if self._is_like(other) else NotImplemented

    def _is_like(self, other: object) -> TypeGuard[Self]:
        return type(other) is type(self)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: object, handler: Callable[[type], dict[str, Any]]
    ) -> dict[str, Any]:
        """Let pydantic read it from an int and write it as one, without importing pydantic here."""
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": cls._from_any},
            "serialization": {
                "type": "function-plain",
                "function": int,
                "return_schema": handler(int),
            },
            "metadata": {
                "pydantic_js_functions": [lambda _schema, _next: {"type": "integer", "minimum": 0}]
            },
        }

    @classmethod
    def _from_any(cls, value: Any) -> Self:
        return value if isinstance(value, cls) else cls(value)


class Bytes(Quantity):
    """An amount in bytes."""

    __slots__ = ()
    unit = "bytes"

    def sectors(self) -> Sectors:
        """Whole sectors in it, rounded down."""
        return Sectors(int(self) // SECTOR_SIZE)


class Sectors(Quantity):
    """An amount in sectors of 512 bytes."""

    __slots__ = ()
    unit = "sectors"

    def bytes(self) -> Bytes:
        """The same amount in bytes, however large."""
        return Bytes(int(self) * SECTOR_SIZE)

    def metadata_blocks(self) -> MetadataBlocks:
        """Whole metadata blocks in it, rounded down."""
        return MetadataBlocks(int(self) // METADATA_BLOCK_SECTORS)


class MetadataBlocks(Quantity):
    """An amount in metadata blocks of 4 KiB."""

    __slots__ = ()
    unit = "metadata blocks"

    def sectors(self) -> Sectors:
        """The same amount in sectors."""
        return Sectors(int(self) * METADATA_BLOCK_SECTORS)


class DataBlocks(Quantity):
    """An amount in data blocks; how large one is stands in the device's table."""

    __slots__ = ()
    unit = "data blocks"

    def sectors(self, block_size: Sectors) -> Sectors:
        """The same amount in sectors, for blocks of `block_size` sectors."""
        return Sectors(int(self) * int(block_size))
