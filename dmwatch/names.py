"""What a device is called: name, uuid, number. The rules are the kernel's (drivers/md/dm-ioctl.c).

Names and uuids are bytes to the kernel. Here they are `str`, with bytes that are not UTF-8 carried
as surrogate escapes, so that every name the kernel can hold survives the way in and out;
`printable` gives the form for logs and JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from dmwatch.errors import InvalidNameError, shorten

NAME_MAX = 127
UUID_MAX = 128
TYPE_MAX = 15
_ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class _Word(str):
    """A str that the kernel accepts in a fixed field: not empty, no NUL, not too long."""

    __slots__ = ()
    what = "word"
    limit = 0
    forbidden = "\x00"

    def __new__(cls, text: str) -> Self:
        cls._check(text)
        return super().__new__(cls, text)

    @classmethod
    def _check(cls, text: str) -> None:
        if not text:
            raise InvalidNameError(f"a {cls.what} cannot be empty")
        for character in cls.forbidden:
            if character in text:
                raise InvalidNameError(f"a {cls.what} cannot contain {character!r}: {_cite(text)}")
        size = len(_encode(text, cls.what))
        if size > cls.limit:
            raise InvalidNameError(
                f"a {cls.what} has at most {cls.limit} bytes, this one has {size}: {_cite(text)}"
            )

    @classmethod
    def from_kernel(cls, raw: bytes) -> Self:
        """Take what the kernel sent as it is: nothing that it can name is refused."""
        return str.__new__(cls, raw.decode("utf-8", "surrogateescape"))

    def to_kernel(self) -> bytes:
        """The bytes that the kernel knows it by, without the closing NUL."""
        return self.encode("utf-8", "surrogateescape")

    @property
    def printable(self) -> str:
        """The form for people and JSON, see `printable`."""
        return printable(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> dict[str, Any]:
        """Let pydantic read it from text and write its printable form."""
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": cls._from_any},
            "serialization": {
                "type": "function-plain",
                "function": printable,
                "when_used": "json",
            },
            "metadata": {"pydantic_js_functions": [lambda _schema, _next: {"type": "string"}]},
        }

    @classmethod
    def _from_any(cls, value: Any) -> Self:
        return value if isinstance(value, cls) else cls(str(value))


class DeviceName(_Word):
    """A device's name: 1 to 127 bytes, no `/`, no NUL, and none of `control`, `.`, `..`.

    The last three are refused by the kernel since DM 4.48; before that they break /dev/mapper.

    Raises:
        InvalidNameError: for a text outside these rules.
    """

    __slots__ = ()
    what = "device name"
    limit = NAME_MAX
    forbidden = "\x00/"

    @classmethod
    def _check(cls, text: str) -> None:
        super()._check(text)
        if text in {"control", ".", ".."}:
            raise InvalidNameError(f"{text!r} cannot be a device name: /dev/mapper has it already")


class DeviceUuid(_Word):
    """A device's uuid: 1 to 128 bytes of free text, often with the owner's prefix (`LVM-`).

    Raises:
        InvalidNameError: for a text outside these rules.
    """

    __slots__ = ()
    what = "device uuid"
    limit = UUID_MAX


class TargetType(_Word):
    """A target's type: 1 to 15 bytes.

    Raises:
        InvalidNameError: for a text outside these rules.
    """

    __slots__ = ()
    what = "target type"
    limit = TYPE_MAX


@dataclass(frozen=True, slots=True, order=True)
class DeviceNumber:
    """A block device's number.

    Attributes:
        major: 0 to 4095.
        minor: 0 to 1048575.

    Raises:
        InvalidNameError: for numbers that the kernel's 32 bits cannot hold.
    """

    major: int
    minor: int

    def __post_init__(self) -> None:
        if not (0 <= self.major <= 0xFFF and 0 <= self.minor <= 0xFFFFF):
            raise InvalidNameError(f"no device can have the number {self.major}:{self.minor}")

    def __str__(self) -> str:
        return f"{self.major}:{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `major:minor`.

        Raises:
            InvalidNameError: for anything else.
        """
        match = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,7})", text, re.ASCII)
        if not match:
            raise InvalidNameError(f"a device number is major:minor, not {_cite(text)}")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def from_kernel(cls, value: int) -> Self:
        """Decode the kernel's 32 bits, `mmmM MMmm` (include/linux/kdev_t.h, new_decode_dev).

        Raises:
            InvalidNameError: where the value needs more than 32 bits.
        """
        if value >> 32:
            raise InvalidNameError(f"no device can have the number {value:#x}")
        return cls((value >> 8) & 0xFFF, (value & 0xFF) | ((value >> 12) & 0xFFF00))

    def to_kernel(self) -> int:
        """Encode as the kernel's 32 bits."""
        return (self.minor & 0xFF) | (self.major << 8) | ((self.minor & 0xFFF00) << 12)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> dict[str, Any]:
        """Let pydantic read and write it as text."""
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": cls._from_any},
            "serialization": {"type": "to-string"},
            "metadata": {"pydantic_js_functions": [lambda _schema, _next: {"type": "string"}]},
        }

    @classmethod
    def _from_any(cls, value: Any) -> Self:
        return value if isinstance(value, cls) else cls.parse(str(value))


DeviceId = DeviceName | DeviceUuid | DeviceNumber
"""What a command finds its device by; a plain str means a name."""


def device_id(device: str | DeviceId) -> DeviceId:
    """Give a DeviceId; a plain str is taken as a name.

    Raises:
        InvalidNameError: for a str that cannot be a name.
    """
    if isinstance(device, DeviceName | DeviceUuid | DeviceNumber):
        return device
    return DeviceName(device)


def printable(text: str) -> str:
    r"""Give a form without control characters or undecodable bytes: each as `\xNN` or `\uNNNN`."""
    return _ESCAPED.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def matches(pattern: str, *names: str) -> bool:
    """Say whether a shell glob means one of these names, or is one: a name may have brackets."""
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def subsystem(uuid: str | None) -> str | None:
    """Who owns the device, by the prefix of its uuid: `LVM`, `CRYPT`, `mpath`, ... or None.

    A partition on a device (`part1-mpath-...`) belongs to what lies below.
    """
    if not uuid:
        return None
    prefix, dash, _ = re.sub(r"^part[0-9]+-", "", uuid).partition("-")
    return printable(prefix) if prefix and dash else None


def label(name: str, uuid: str | None = None) -> str:
    """What its owner calls the device: `vg-x/pool` for LVM's `vg--x-pool`, else the name.

    LVM doubles a hyphen inside a name and joins group, volume and layer with single ones.
    """
    if subsystem(uuid) != "LVM":
        return printable(name)
    shown = [part.replace("--", "-") for part in _split_single_hyphens(name)]
    if len(shown) < 2:
        return printable(name)
    return printable("/".join(shown[:2]) + "".join(f"-{layer}" for layer in shown[2:]))


def _split_single_hyphens(name: str) -> list[str]:
    return re.sub(r"(?<!-)((?:--)*)-(?!-)", "\\1\x00", name).split("\x00")


def to_bytes(text: str) -> bytes | None:
    """The bytes that a text is to the kernel, or None where it is no text.

    No error is raised or chained here: that of Python carries the whole text, and a key in it.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def _encode(text: str, what: str) -> bytes:
    raw = to_bytes(text)
    if raw is None:
        raise InvalidNameError(f"a {what} must be text: {_cite(text)}")
    return raw


def _cite(text: str) -> str:
    return repr(shorten(text))
