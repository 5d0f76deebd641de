"""The commands of the control node, from a request's memory to the reply's."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass

from dmwatch.ioctl.abi import Command, Flags
from dmwatch.testing.devices import FakeDevice, FakeLine, FakeTable
from dmwatch.testing.machine import Machine, dependencies
from dmwatch.testing.params import DATA, Params
from dmwatch.testing.poll import OpenFile
from dmwatch.testing.refusing import refuse
from dmwatch.testing.results import put_deps, put_devices, put_status, put_versions

_SPEC = struct.Struct("=QQiI16s")
_UUID_MAX, _NAME_MAX = 128, 127
OnMessage = Callable[[FakeDevice, int, str], str | None]


@dataclass(slots=True)
class Context:
    """What a command works on."""

    machine: Machine
    file: OpenFile
    on_message: OnMessage

    def find(self, params: Params) -> FakeDevice:
        """The device of a request; its name and uuid are written into the request.

        Raises:
            OSError: ENXIO.
        """
        device = self.machine.devices.find(params.name, params.uuid, params.dev)
        if device is None:
            refuse(errno.ENXIO)
        params.name, params.uuid = device.name, device.uuid
        _set(params, Flags.INACTIVE_PRESENT, device.staged is not None)
        return device


def _set(params: Params, flag: Flags, on: object) -> None:
    params.flags = params.flags | flag if on else params.flags & ~flag


def record(params: Params, device: FakeDevice) -> None:
    """Write the kernel's record of a device into the header (__dev_status)."""
    inactive = bool(params.flags & Flags.QUERY_INACTIVE_TABLE)
    table = device.staged if inactive else device.live
    _set(params, Flags.SUSPEND, device.suspended)
    _set(params, Flags.INTERNAL_SUSPEND, device.internally_suspended)
    _set(params, Flags.ACTIVE_PRESENT, device.live is not None)
    read_only = device.staged and device.staged.read_only if inactive else device.read_only
    _set(params, Flags.READONLY, table is not None and read_only)
    if device.deferred_remove:
        params.flags |= Flags.DEFERRED_REMOVE
    params.dev = device.number.to_kernel()
    params.open_count = device.open_count
    params.event_nr = device.event_nr
    params.target_count = len(table.lines) if table else 0


def _asked(params: Params, device: FakeDevice) -> FakeTable | None:
    return device.staged if params.flags & Flags.QUERY_INACTIVE_TABLE else device.live


def _remove_all(context: Context, params: Params) -> None:
    context.machine.remove_all(deferred=bool(params.flags & Flags.DEFERRED_REMOVE))
    params.data_size = 0


def _list_devices(context: Context, params: Params) -> None:
    put_devices(params, context.machine.devices, context.machine.version)


def _create(context: Context, params: Params) -> None:
    minor = params.number.minor if params.flags & Flags.PERSISTENT_DEV else None
    device = context.machine.create(params.name, params.uuid, minor)
    _set(params, Flags.INACTIVE_PRESENT, on=False)
    record(params, device)


def _remove(context: Context, params: Params) -> None:
    device = context.find(params)
    if context.machine.remove(device, deferred=bool(params.flags & Flags.DEFERRED_REMOVE)):
        _set(params, Flags.DEFERRED_REMOVE, on=False)
        _set(params, Flags.UEVENT_GENERATED, context.machine.is_disk(device))


def _rename(context: Context, params: Params) -> None:
    uuid = bool(params.flags & Flags.UUID)
    new = params.string()
    if not 1 <= len(new) <= (_UUID_MAX if uuid else _NAME_MAX):
        refuse(errno.EINVAL)
    device = context.machine.rename(params.name, new, uuid=uuid)
    _set(params, Flags.UEVENT_GENERATED, context.machine.is_disk(device))
    record(params, device)


def _suspend(context: Context, params: Params) -> None:
    device = context.find(params)
    if params.flags & Flags.SUSPEND:
        device.suspended = True
    else:
        _set(params, Flags.INACTIVE_PRESENT, on=False)
        _set(params, Flags.UEVENT_GENERATED, context.machine.resume(device))
    record(params, device)


def _status(context: Context, params: Params) -> None:
    record(params, context.find(params))


def _table_status(context: Context, params: Params) -> None:
    _report(context, params, context.find(params))


def _wait(context: Context, params: Params) -> None:
    device = context.find(params)
    context.machine.wait(device, params.event_nr)
    _report(context, params, device)


def _report(context: Context, params: Params, device: FakeDevice) -> None:
    record(params, device)
    table = _asked(params, device)
    if table is not None:
        put_status(params, table, context.machine.version)


def _load(context: Context, params: Params) -> None:
    device = context.find(params)
    lines = _read_specs(params)
    read_only = bool(params.flags & Flags.READONLY)
    context.machine.load(device, FakeTable(lines, read_only=read_only))
    params.flags |= Flags.INACTIVE_PRESENT
    record(params, device)


def _read_specs(params: Params) -> list[FakeLine]:
    lines = []
    offset = params.data_start
    for _ in range(params.target_count):
        if offset + _SPEC.size > len(params.memory):
            refuse(errno.EINVAL)
        start, length, _, step, kind = _SPEC.unpack_from(params.memory, offset)
        text = params.string(offset - params.data_start + _SPEC.size)
        type_ = kind[:15].partition(b"\x00")[0].decode("utf-8", "surrogateescape")
        lines.append(FakeLine(start, length, type_, text.decode("utf-8", "surrogateescape")))
        if step % 8 or step < _SPEC.size + len(text) + 1:
            refuse(errno.EINVAL)
        offset += step
    return lines


def _clear(context: Context, params: Params) -> None:
    device = context.find(params)
    device.staged = None
    _set(params, Flags.INACTIVE_PRESENT, on=False)
    record(params, device)


def _deps(context: Context, params: Params) -> None:
    device = context.find(params)
    record(params, device)
    table = _asked(params, device)
    if table is not None:
        put_deps(params, dependencies(table))


def _list_versions(context: Context, params: Params) -> None:
    put_versions(params, list(context.machine.targets.items()))


def _target_version(context: Context, params: Params) -> None:
    name = params.name.decode("utf-8", "surrogateescape")
    if name not in context.machine.targets:
        refuse(errno.EINVAL)
    put_versions(params, [(name, context.machine.targets[name])])


def _message(context: Context, params: Params) -> None:
    device = context.find(params)
    (sector,) = struct.unpack_from("=Q", params.memory.ljust(DATA + 8), params.data_start)
    text = params.string(8).decode("utf-8", "surrogateescape")
    if not text.split():
        refuse(errno.EINVAL)
    answer = _deliver(context, device, sector, text)
    record(params, device)
    if answer is None:
        return
    params.flags |= Flags.DATA_OUT
    raw = answer.encode("utf-8", "surrogateescape") + b"\x00"
    # the target writes what fits; a full buffer counts as too small
    if params.result(len(raw) + 1):
        params.put(0, raw)
        params.data_size = DATA + len(raw)


def _deliver(context: Context, device: FakeDevice, sector: int, text: str) -> str | None:
    if text.split() == ["@cancel_deferred_remove"]:
        device.deferred_remove = False
        return None
    lines = device.live.lines if device.live else []
    inside = any(line.start <= sector < line.start + line.length for line in lines)
    if not text.startswith("@") and not inside:
        refuse(errno.EINVAL)
    return context.on_message(device, sector, text)


def _set_geometry(context: Context, params: Params) -> None:
    device = context.find(params)
    words = params.string().split()
    limits = (65535, 255, 255, (1 << 64) - 1)
    if len(words) < len(limits) or not all(word.isdigit() for word in words[:4]):
        refuse(errno.EINVAL)
    cylinders, heads, sectors, start = numbers = [int(word) for word in words[:4]]
    if any(n > limit for n, limit in zip(numbers, limits, strict=True)):
        refuse(errno.EINVAL)
    if start > cylinders * heads * sectors:
        refuse(errno.EINVAL)
    device.geometry = (cylinders, heads, sectors, start)
    params.data_size = 0


def _arm_poll(context: Context, _params: Params) -> None:
    context.file.arm()


Function = Callable[[Context, Params], None]
FUNCTIONS: dict[Command, Function] = {
    Command.REMOVE_ALL: _remove_all,
    Command.LIST_DEVICES: _list_devices,
    Command.DEV_CREATE: _create,
    Command.DEV_REMOVE: _remove,
    Command.DEV_RENAME: _rename,
    Command.DEV_SUSPEND: _suspend,
    Command.DEV_STATUS: _status,
    Command.DEV_WAIT: _wait,
    Command.TABLE_LOAD: _load,
    Command.TABLE_CLEAR: _clear,
    Command.TABLE_DEPS: _deps,
    Command.TABLE_STATUS: _table_status,
    Command.LIST_VERSIONS: _list_versions,
    Command.TARGET_MSG: _message,
    Command.DEV_SET_GEOMETRY: _set_geometry,
    Command.DEV_ARM_POLL: _arm_poll,
    Command.GET_TARGET_VERSION: _target_version,
}
HEADER_ONLY = frozenset(
    {
        Command.REMOVE_ALL,
        Command.DEV_CREATE,
        Command.DEV_REMOVE,
        Command.DEV_SUSPEND,
        Command.DEV_STATUS,
        Command.TABLE_CLEAR,
        Command.DEV_ARM_POLL,
    }
)
"""They ignore everything after the header."""
_ABOUT_NO_DEVICE = frozenset({Command.REMOVE_ALL, Command.LIST_DEVICES, Command.LIST_VERSIONS})


def run(context: Context, command: Command, buffer: bytearray) -> None:
    """Carry out a command: checks, work, reply, in the kernel's order (ctl_ioctl).

    Raises:
        OSError: with the errno. The version is written back all the same.
    """
    version = context.machine.version
    wanted = struct.unpack_from("=3I", buffer)
    struct.pack_into("=3I", buffer, 0, *version)
    if wanted[0] != version[0] or wanted[1] > version[1]:
        refuse(errno.EINVAL)
    if command is Command.VERSION:
        return
    if command.value.version > version:
        refuse(errno.ENOTTY)
    params = Params.copied(buffer, header_only=command in HEADER_ONLY)
    params.version = version
    _validate(command, params)
    params.data_size = 305
    FUNCTIONS[command](context, params)
    params.copy_back(buffer)


def _validate(command: Command, params: Params) -> None:
    if command in _ABOUT_NO_DEVICE:
        return
    if command is Command.DEV_CREATE:
        if not params.name:
            refuse(errno.EINVAL)
    elif params.name and params.uuid:
        refuse(errno.EINVAL)
