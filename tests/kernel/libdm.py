"""dmsetup's everyday commands by libdevmapper, in a program that stays.

It is the library that dmsetup is made of, and shares no code with us. Under emulation to start a
program costs a hundred times what the program does: where `run` knows the arguments it does what
dmsetup does and gives what dmsetup prints; else it gives None, and dmsetup itself is needed.

As a program: each line of its input is a command, [[argument...], input of the command], each line
of its output an answer, [what dmsetup prints or null, its error or null]. See witness.py.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_uint32, c_uint64, c_void_p

CREATE, RELOAD, REMOVE, SUSPEND, RESUME = 0, 1, 2, 4, 5
STATUS, TABLE, LIST, MESSAGE = 10, 11, 13, 17
NO_MANGLING = 0
SECRET = frozenset({"crypt", "inlinecrypt", "integrity"})  # the program hides their keys
ARGUMENTS: dict[str, list[type[c_void_p | c_uint64 | c_char_p]]] = {
    "dm_task_add_target": [c_void_p, c_uint64, c_uint64, c_char_p, c_char_p],
    "dm_task_set_name": [c_void_p, c_char_p],
    "dm_task_set_sector": [c_void_p, c_uint64],
    "dm_task_set_message": [c_void_p, c_char_p],
}


class RefusedError(Exception):
    """What dmsetup would write to its standard error."""


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libdevmapper.so.1.02.1")
    library.dm_task_create.restype = c_void_p
    library.dm_task_get_names.restype = c_void_p
    library.dm_task_get_message_response.restype = c_char_p
    library.dm_get_next_target.restype = c_void_p
    for name, types in ARGUMENTS.items():
        getattr(library, name).argtypes = types  # by [name] it would be another one each time
    library.dm_set_name_mangling_mode(NO_MANGLING)
    return library


class Task:
    """One task of the library, from its making to its end."""

    def __init__(self, kind: int, name: str | None = None) -> None:
        self._library = _library()
        self.pointer = c_void_p(self._library.dm_task_create(kind))
        if self.pointer.value is None:
            raise RefusedError("device-mapper: the library cannot speak with the kernel")
        self._name = name
        if name is not None:
            self("set_name", _raw(name))

    def __call__(self, what: str, *arguments: object) -> None:
        if not getattr(self._library, f"dm_task_{what}")(self.pointer, *arguments):
            number = self._library.dm_task_get_errno(self.pointer)
            reason = os.strerror(number) if number else "Command failed."
            raise RefusedError(f"device-mapper: {what} on {self._name} failed: {reason}")

    def lines(self) -> Iterator[tuple[int, int, str | None, str]]:
        """Start, length, type and text of each line; the type is None where there is none."""
        start, length = c_uint64(), c_uint64()
        kind, text = c_char_p(), c_char_p()
        following = None
        while True:
            found = byref(start), byref(length), byref(kind), byref(text)
            following = self._library.dm_get_next_target(self.pointer, c_void_p(following), *found)
            words = kind.value and kind.value.decode()
            yield start.value, length.value, words or None, _text(text.value)
            if not following:
                return

    def names(self) -> Iterator[str]:
        """Of a LIST: dev, the distance to the next one, the name."""
        at: int | None = self._library.dm_task_get_names(self.pointer)
        while at and c_uint64.from_address(at).value:
            yield _text(ctypes.string_at(at + 12))
            step = c_uint32.from_address(at + 8).value
            at = at + step if step else None

    def response(self) -> str:
        return _text(self._library.dm_task_get_message_response(self.pointer))

    def end(self) -> None:
        self._library.dm_task_destroy(self.pointer)
        self._library.dm_lib_release()  # as when the program ends: nodes made, control node closed


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "surrogateescape")


@contextmanager
def _task(kind: int, name: str | None = None) -> Iterator[Task]:
    task = Task(kind, name)
    try:
        yield task
    finally:
        task.end()


# The commands: what they print, or None


Run = Callable[[list[str], str], str | None]


def _on_a_device(kind: int, options: dict[str, str], *, prints: bool = False) -> Run:
    """[OPTION...] NAME; each option has a setting of the library."""

    def command(arguments: list[str], _given: str) -> str | None:
        *chosen, name = arguments
        if not set(chosen) <= options.keys() or name.startswith("-"):
            return None
        with _task(kind, name) as task:
            for option in chosen:
                task(options[option])
            task("run")
            return _printed(list(task.lines())) if prints else ""

    return command


def _printed(lines: Iterable[tuple[int, int, str | None, str]]) -> str | None:
    kinds = {kind for _, _, kind, _ in lines}
    if None in kinds or kinds & SECRET:
        return None
    return "".join(f"{start} {length} {kind} {text}\n" for start, length, kind, text in lines)


def _loading(kind: int) -> Run:
    """create and load: NAME [--readonly] [--table TABLE], else the table comes as input."""

    def command(arguments: list[str], given: str) -> str | None:
        name, *rest = arguments
        read_only = "--readonly" in rest
        rest = [word for word in rest if word != "--readonly"]
        if rest and (rest[0] != "--table" or len(rest) != 2):
            return None
        lines = (rest[1] if rest else given).splitlines()
        return _load(kind, name, lines, read_only=read_only)

    return command


def _load(kind: int, name: str, lines: list[str], *, read_only: bool) -> str | None:
    tables = [line.split(" ", 3) for line in lines]
    if not tables or not all(t[0].isdigit() and t[1].isdigit() for t in tables if len(t) > 2):
        return None
    # keys of a keyring are found by whoever has its session: the program, not this process
    if any(len(table) < 3 or table[2] in SECRET for table in tables):
        return None
    with _task(kind, name) as task:
        for start, length, target, *text in tables:
            task("add_target", int(start), int(length), _raw(target), _raw("".join(text)))
        if read_only:
            task("set_ro")
        task("run")
    return ""


def _message(arguments: list[str], _given: str) -> str | None:
    name, sector, *words = arguments
    if not sector.isdigit():
        return None
    with _task(MESSAGE, name) as task:
        task("set_sector", int(sector))
        task("set_message", _raw(" ".join(words)))
        task("run")
        answer = task.response()
    return answer if not answer or answer.endswith("\n") else f"{answer}\n"


def _info(arguments: list[str], _given: str) -> str | None:
    if arguments != ["-c", "--noheadings", "-o", "name"]:
        return None
    with _task(LIST) as task:
        task("run")
        return "".join(f"{name}\n" for name in task.names())


FLUSHES = {"--noflush": "no_flush"}
COMMANDS: dict[str, Run] = {
    "create": _loading(CREATE),
    "info": _info,
    "load": _loading(RELOAD),
    "message": _message,
    "reload": _loading(RELOAD),
    "remove": _on_a_device(REMOVE, {"--retry": "retry_remove"}),
    "resume": _on_a_device(RESUME, {}),
    "status": _on_a_device(STATUS, FLUSHES, prints=True),
    "suspend": _on_a_device(SUSPEND, FLUSHES | {"--nolockfs": "skip_lockfs"}),
    "table": _on_a_device(TABLE, {}, prints=True),
}


def run(arguments: Sequence[str], given: str = "") -> str | None:
    """What dmsetup prints with these arguments and this input, or None: it is to be started.

    Raises:
        RefusedError: the command failed.
    """
    command = COMMANDS.get(arguments[0])
    if command is None or len(arguments) == 1:
        return None
    return command(list(arguments[1:]), given)


def answer(arguments: Sequence[str], given: str) -> tuple[str | None, str | None]:
    try:
        return run(arguments, given), None
    except RefusedError as refused:
        return None, str(refused)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), flush=True)
