"""Device-mapper in typed calls: one method for one command of the kernel.

Methods are literal: no retries but those that nobody can notice, no idempotence, no wait for udev.
All are synchronous and let other threads run; from asyncio use `asyncio.to_thread`. What they rest
on in the kernel is drivers/md/dm-ioctl.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from dmwatch.dm.channel import Channel, need_version
from dmwatch.dm.replies import DeviceInfo, Geometry, MessageReply, Removal, TableStatus
from dmwatch.errors import InvalidFlagsError, InvalidValueError, ReplyError
from dmwatch.ioctl.abi import (
    HEADER_SIZE,
    IMA_VERSION,
    LIST_EVENTS_VERSION,
    LIST_UUID_VERSION,
    NO_FLAGS,
    NO_UDEV_FLAGS,
    Command,
    Flags,
    UdevFlags,
    Version,
)
from dmwatch.ioctl.control import Control, ControlLike
from dmwatch.ioctl.exchange import CAPACITY, Reply
from dmwatch.ioctl.header import Header
from dmwatch.ioctl.payload import (
    ListedDevice,
    TargetVersion,
    decode_deps,
    decode_devices,
    decode_message,
    decode_targets,
    decode_versions,
    encode_message,
    encode_targets,
)
from dmwatch.names import DeviceId, DeviceName, DeviceNumber, DeviceUuid, TargetType
from dmwatch.table import Table, TargetLine

COOKIE_MAX = 0xFFFF


class DeviceMapper:
    """The device-mapper of this machine, or of the fake kernel given as `control`.

    One object is one open control node. Threads may share it; each call has a buffer of its own.
    A `device` is a name (a plain str, too), a DeviceUuid or a DeviceNumber.

    Every method raises CommandError or one of its subclasses where the kernel refuses
    (DeviceNotFoundError, DeviceBusyError, NotPermittedError, ...), InvalidFlagsError for a
    flag that the command does not take, and ReplyError for a reply that contradicts itself.

    Raises:
        ControlError: or one of its subclasses: the control node cannot be opened.
    """

    def __init__(self, control: ControlLike | None = None) -> None:
        self._channel = Channel(Control() if control is None else control)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the control node."""
        self._channel.control.close()

    def fileno(self) -> int:
        """The control node's descriptor: poll(2) says readable while there are unarmed events."""
        return self._channel.control.fileno()

    def version(self) -> Version:
        """VERSION: the kernel's interface version."""
        return self._channel.send(Command.VERSION).header.version

    def remove_all(self, *, really: bool = False, flags: Flags = NO_FLAGS) -> None:
        """REMOVE_ALL: remove every device of this machine that is not open.

        Args:
            really: must be True; this takes down other people's devices.
            flags: DEFERRED_REMOVE, to remove those that are open once they are not.

        Raises:
            InvalidValueError: without `really=True`. Nothing was sent.
        """
        if really is not True:
            raise InvalidValueError(
                "remove_all removes every device of this machine",
                hint="say remove_all(really=True) if that is meant",
            )
        self._channel.send(Command.REMOVE_ALL, Header(flags=flags))

    def list_devices(
        self, *, uuids: bool = False, name_prefix: str = "", uuid_prefix: str = ""
    ) -> list[ListedDevice]:
        """LIST_DEVICES: every device, with number, name, event number and perhaps uuid.

        The order is the kernel's: by name since Linux 5.13, arbitrary before.

        Args:
            uuids: ask for uuids, which kernels have since DM 4.45 (Linux 5.13).
            name_prefix: only names that begin so; the kernel filters since DM 4.45.
            uuid_prefix: only uuids that begin so; as above.

        Raises:
            InterfaceTooOldError: for a prefix on a kernel that would ignore it.
        """
        reply = self.list_raw(uuids=uuids, name_prefix=name_prefix, uuid_prefix=uuid_prefix)
        known = reply.header.version >= LIST_UUID_VERSION
        if name_prefix or uuid_prefix:
            need_version(Command.LIST_DEVICES, reply, LIST_UUID_VERSION, "prefixes need")
        events = reply.header.version >= LIST_EVENTS_VERSION
        return decode_devices(reply.data, uuids=uuids and known, events=events)

    def list_raw(
        self, *, uuids: bool = False, name_prefix: str = "", uuid_prefix: str = ""
    ) -> Reply:
        """LIST_DEVICES without decoding: for who compares two lists byte by byte."""
        name = DeviceName(name_prefix).to_kernel() if name_prefix else b""
        uuid = DeviceUuid(uuid_prefix).to_kernel() if uuid_prefix else b""
        flags = Flags.UUID if uuids else NO_FLAGS
        return self._channel.send(Command.LIST_DEVICES, Header(flags=flags, name=name, uuid=uuid))

    def create(self, name: str, uuid: str | None = None, *, minor: int | None = None) -> DeviceInfo:
        """DEV_CREATE: make a device without a table.

        It is read-only, or not, by its table: see `load`.

        Args:
            name: see DeviceName.
            uuid: see DeviceUuid; it can be set later, once.
            minor: the minor number it shall have, 0 to 1,048,575; else the kernel chooses.

        Raises:
            InvalidNameError: for a name, uuid or minor that cannot be.
            DeviceBusyError: the name, the uuid or the minor is taken.
        """
        header = Header(
            flags=NO_FLAGS if minor is None else Flags.PERSISTENT_DEV,
            dev=0 if minor is None else DeviceNumber(0, minor).to_kernel(),
            name=DeviceName(name).to_kernel(),
            uuid=DeviceUuid(uuid).to_kernel() if uuid is not None else b"",
        )
        return _info(self._channel.send(Command.DEV_CREATE, header))

    def remove(
        self,
        device: str | DeviceId,
        *,
        flags: Flags = NO_FLAGS,
        udev: UdevFlags = NO_UDEV_FLAGS,
        cookie: int = 0,
    ) -> Removal:
        """DEV_REMOVE: remove a device.

        Args:
            device: which.
            flags: DEFERRED_REMOVE: if it is open, remove it when it is closed. The answer's
                `deferred_remove` says whether that is so.
            udev: see UdevFlags.
            cookie: that udev's rules complete; 0 for none.

        Raises:
            DeviceBusyError: it is open.
        """
        header = Header(flags=flags, event_nr=_cookie(udev, cookie))
        return Removal(self._channel.about(Command.DEV_REMOVE, device, header).header.flags)

    def rename(
        self, device: str, new_name: str, *, udev: UdevFlags = NO_UDEV_FLAGS, cookie: int = 0
    ) -> DeviceInfo:
        """DEV_RENAME: give a device another name. The kernel finds it by name only.

        The answer's name is the old one: it is the kernel's answer, unchanged.

        Not after a TABLE_CLEAR without a table put in place since: kernels from 5.15 with
        CONFIG_IMA then free memory twice (drivers/md/dm-ima.c; seen on 6.1).

        Raises:
            DeviceBusyError: the new name is taken, also by the device itself.
        """
        return self._rename(DeviceName(device), DeviceName(new_name), NO_FLAGS, udev, cookie)

    def set_uuid(
        self, device: str, uuid: str, *, udev: UdevFlags = NO_UDEV_FLAGS, cookie: int = 0
    ) -> DeviceInfo:
        """DEV_RENAME with UUID: give a uuid to a device that has none, found by name.

        The answer's uuid is the old one (none).

        Raises:
            CommandError: EINVAL: it has another uuid already.
            DeviceBusyError: the uuid is taken, also by the device itself.
        """
        return self._rename(DeviceName(device), DeviceUuid(uuid), Flags.UUID, udev, cookie)

    def suspend(self, device: str | DeviceId, *, flags: Flags = NO_FLAGS) -> DeviceInfo:
        """DEV_SUSPEND: hold the device's I/O back. It can block until I/O in flight is done.

        Args:
            device: which.
            flags: NOFLUSH (do not wait for I/O in the target's queue), SKIP_LOCKFS (do not
                freeze the file system).
        """
        header = Header(flags=flags | Flags.SUSPEND)
        return _info(self._channel.about(Command.DEV_SUSPEND, device, header))

    def resume(
        self,
        device: str | DeviceId,
        *,
        flags: Flags = NO_FLAGS,
        udev: UdevFlags = NO_UDEV_FLAGS,
        cookie: int = 0,
    ) -> DeviceInfo:
        """DEV_SUSPEND without SUSPEND: put a loaded table in place and let I/O run.

        Args:
            device: which.
            flags: NOFLUSH, SKIP_LOCKFS, for the short suspend that changes the table.
            udev: see UdevFlags.
            cookie: that udev's rules complete; 0 for none.

        Raises:
            InvalidFlagsError: for SUSPEND: that is `suspend`.
        """
        if flags & Flags.SUSPEND:
            raise InvalidFlagsError("resume does not take SUSPEND; that is `suspend`")
        header = Header(flags=flags, event_nr=_cookie(udev, cookie))
        return _info(self._channel.about(Command.DEV_SUSPEND, device, header))

    def info(self, device: str | DeviceId, *, flags: Flags = NO_FLAGS) -> DeviceInfo:
        """DEV_STATUS: the kernel's record of a device. It asks no target and never blocks.

        Args:
            device: which.
            flags: QUERY_INACTIVE_TABLE: `target_count` and `read_only` are those of the loaded
                table.
        """
        return _info(self._channel.about(Command.DEV_STATUS, device, Header(flags=flags)))

    def wait(
        self, device: str | DeviceId, event_nr: int, *, flags: Flags = NO_FLAGS
    ) -> TableStatus:
        """DEV_WAIT: block until the device's event number differs from `event_nr`.

        A signal whose handler raises ends it. A device without a live table is not woken by
        its removal, which then hangs: do not wait on one.

        Args:
            device: which.
            event_nr: the number last seen.
            flags: as in `table_status`.
        """
        return self._status(Command.DEV_WAIT, device, flags, event_nr)

    def load(
        self, device: str | DeviceId, lines: Iterable[TargetLine], *, flags: Flags = NO_FLAGS
    ) -> DeviceInfo:
        """TABLE_LOAD: load a table; `resume` puts it in place.

        Args:
            device: which.
            lines: the table: from 0, without gaps.
            flags: READONLY (the device will be), SECURE_DATA (the kernel wipes its copy).

        Raises:
            CommandError: EINVAL and others: the target refuses; the kernel log says why.
        """
        table = list(lines)
        data = bytearray(encode_targets(table))
        try:
            header = Header(flags=flags, target_count=len(table))
            return _info(self._channel.about(Command.TABLE_LOAD, device, header, data))
        finally:
            if flags & Flags.SECURE_DATA:
                data[:] = bytes(len(data))

    def clear(self, device: str | DeviceId) -> DeviceInfo:
        """TABLE_CLEAR: drop the table that was loaded and not put in place."""
        return _info(self._channel.about(Command.TABLE_CLEAR, device, Header()))

    def deps(self, device: str | DeviceId, *, flags: Flags = NO_FLAGS) -> list[DeviceNumber]:
        """TABLE_DEPS: the devices that its table uses; none without a table.

        Args:
            device: which.
            flags: QUERY_INACTIVE_TABLE: of the loaded table.
        """
        reply = self._channel.about(Command.TABLE_DEPS, device, Header(flags=flags))
        return decode_deps(reply.data)

    def table_status(self, device: str | DeviceId, *, flags: Flags = NO_FLAGS) -> TableStatus:
        """TABLE_STATUS: what each target reports, as text. It can block in the target.

        Args:
            device: which.
            flags: NOFLUSH (thin-pool, cache and clone commit their metadata without it),
                STATUS_TABLE (the table instead), QUERY_INACTIVE_TABLE (of the loaded table),
                SECURE_DATA (the kernel wipes its copy: for tables with keys),
                IMA_MEASUREMENT (what is measured for integrity).

        Raises:
            InterfaceTooOldError: for IMA_MEASUREMENT on a kernel that would ignore it.
        """
        return self._status(Command.TABLE_STATUS, device, flags)

    def table(self, device: str | DeviceId, *, flags: Flags = NO_FLAGS) -> Table:
        """TABLE_STATUS with STATUS_TABLE: the live table.

        Args:
            device: which.
            flags: as in `table_status`.
        """
        return self.table_status(device, flags=flags | Flags.STATUS_TABLE).lines

    def versions(self) -> list[TargetVersion]:
        """LIST_VERSIONS: the target types that are loaded in this kernel, with their versions."""
        return decode_versions(self._channel.send(Command.LIST_VERSIONS).data)

    def target_version(self, target_type: str) -> TargetVersion:
        """GET_TARGET_VERSION: a target type's version; its module is loaded where need be.

        Raises:
            CommandError: EINVAL: this kernel has no such target.
            InterfaceTooOldError: before DM 4.41 (Linux 5.4).
        """
        name = TargetType(target_type).to_kernel()
        reply = self._channel.send(Command.GET_TARGET_VERSION, Header(name=name))
        found = decode_versions(reply.data)
        if not found:
            raise ReplyError(f"the kernel answered no version of {target_type}")
        return found[0]

    def message(
        self,
        device: str | DeviceId,
        text: str,
        *,
        sector: int = 0,
        flags: Flags = NO_FLAGS,
        reply_size: int = CAPACITY,
    ) -> MessageReply:
        """TARGET_MSG: send a message to the target at a sector. It is sent once, whatever happens.

        Args:
            device: which.
            text: the message; one that begins with `@` is for device-mapper itself.
            sector: where the target lies on the device.
            flags: SECURE_DATA, for messages with keys.
            reply_size: bytes of reply to make room for, 1 GiB at most.

        Raises:
            InvalidMessageError: for an empty text or a NUL in it.
            ReplyTooLargeError: the reply did not fit and is lost. The message may have been carried
                out: device-mapper's own (`@stats_...`) are not, a target's own may be.
            InterruptedCommandError: a signal came; it may or may not have been carried out.
        """
        data = encode_message(sector, text)
        # the reply overwrites the message; one that fills its room to the last byte is lost
        room = HEADER_SIZE + max(reply_size + 2, len(data))
        header = Header(flags=flags)
        reply = self._channel.about(Command.TARGET_MSG, device, header, data, capacity=room)
        answered = bool(reply.header.flags & Flags.DATA_OUT)
        return MessageReply(_info(reply), decode_message(reply.data) if answered else None)

    def set_geometry(self, device: str | DeviceId, geometry: Geometry) -> None:
        """DEV_SET_GEOMETRY: set what HDIO_GETGEO says of a device with a live table."""
        data = geometry.format().encode() + b"\x00"
        self._channel.about(Command.DEV_SET_GEOMETRY, device, Header(), data)

    def arm_poll(self) -> None:
        """DEV_ARM_POLL: from now on poll(2) reports what happens from now on.

        Arm first, then list, then read: what happens between is then reported again, not lost.

        Raises:
            InterfaceTooOldError: before DM 4.37 (Linux 4.14).
        """
        self._channel.send(Command.DEV_ARM_POLL)

    def _rename(
        self,
        device: DeviceName,
        new: DeviceName | DeviceUuid,
        flags: Flags,
        udev: UdevFlags,
        cookie: int,
    ) -> DeviceInfo:
        header = Header(flags=flags, event_nr=_cookie(udev, cookie))
        payload = new.to_kernel() + b"\x00"
        return _info(self._channel.about(Command.DEV_RENAME, device, header, payload))

    def _status(
        self, command: Command, device: str | DeviceId, flags: Flags, event_nr: int = 0
    ) -> TableStatus:
        header = Header(flags=flags, event_nr=event_nr)
        reply = self._channel.about(command, device, header)
        if flags & Flags.IMA_MEASUREMENT:
            need_version(command, reply, IMA_VERSION, "IMA_MEASUREMENT needs")
        info = _info(reply)
        return TableStatus(info, tuple(decode_targets(reply.data, info.target_count)))


def _cookie(udev: UdevFlags, cookie: int) -> int:
    if not 0 <= cookie <= COOKIE_MAX:
        raise InvalidValueError(f"a cookie has 16 bits, not {cookie:#x}")
    return int(udev) << 16 | cookie


def _info(reply: Reply) -> DeviceInfo:
    return DeviceInfo.from_header(reply.header)
