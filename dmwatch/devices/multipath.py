"""MultipathDevice: one device that is reached by several paths."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self, Unpack

from dmwatch.devices.adopting import read_device
from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.segment import Segment
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC
from dmwatch.errors import DmwatchError, InvalidValueError
from dmwatch.targets import TargetTable
from dmwatch.targets.multipath import (
    DisableGroup,
    EnableGroup,
    FailIfNoPath,
    FailPath,
    GroupState,
    MultipathGroup,
    MultipathPath,
    MultipathStatus,
    MultipathTable,
    QueueIfNoPath,
    ReinstatePath,
    SwitchGroup,
)
from dmwatch.units import Sectors

QUEUE = "queue_if_no_path"
HANDLER = "retain_attached_hw_handler"
# what the kernel prints for the words of a path that were left out
_PATH_WORDS = {
    "round-robin": ("1",),
    "queue-length": ("1",),
    "service-time": ("1", "1"),
    "historical-service-time": ("1",),
}


@dataclass(frozen=True, slots=True)
class PathGroup:
    """Paths that are alike.

    Attributes:
        paths: in order.
        selector: what picks the path for an I/O, see MultipathGroup.
        arguments: what the selector takes for the group.
        path_arguments: what it takes for a path, the same for each.
        each: what it takes for each path, in order, where that is not the same.
    """

    paths: tuple[Below, ...]
    selector: str = "round-robin"
    arguments: tuple[str, ...] = ()
    path_arguments: tuple[str, ...] = ()
    each: tuple[tuple[str, ...], ...] = ()

    def group(self) -> MultipathGroup:
        """What it is in a table.

        Raises:
            InvalidValueError: `each` has more or fewer items than there are paths.
        """
        each = self.each or (self.path_arguments,) * len(self.paths)
        if len(each) != len(self.paths):
            raise InvalidValueError(f"{len(self.paths)} paths have arguments for {len(each)}")
        pairs = zip(self.paths, each, strict=True)
        paths = tuple(MultipathPath(word_of(path), words) for path, words in pairs)
        return MultipathGroup(self.selector, paths, self.arguments)


class MultipathDevice(Device[MultipathTable]):
    """One device that is reached by several paths. Whether they work is for others to find out.

    Args:
        dm: where it lives.
        name: see DeviceName.
        groups: of paths, the one to use first first.
        length: how large it is; None: as large as the first path.
        queue: I/O waits where no path is left, instead of failing.
        features: see MultipathTable, without queue_if_no_path.
        handler: see MultipathTable.
        options: see Options.

    Attributes:
        groups: as above.
        length: as above.
        queue: as above.
        features: as above.
        handler: as above.
    """

    default_visibility = PUBLIC
    adjustable = frozenset({"features"})

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        groups: Iterable[PathGroup],
        *,
        length: Sectors | None = None,
        queue: bool = False,
        features: Iterable[str] = (),
        handler: Iterable[str] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.groups = tuple(groups)
        self.length = length
        self.queue = queue
        self.features = tuple(features)
        self.handler = tuple(handler)

    @classmethod
    def found(cls, dm: DeviceMapper, name: str) -> Self:
        """One that is there already, whoever made it.

        Raises:
            DeviceNotFoundError: there is no such device.
            DeviceMismatchError: it is none of multipath.
        """
        found = read_device(dm, name, MultipathTable)
        table = found.table
        return cls(
            dm,
            name,
            map(_path_group, table.groups),
            length=found.length,
            queue=table.queues,
            features=[word for word in table.features if word.lower() != QUEUE],
            handler=table.handler,
            uuid=found.uuid,
            read_only=found.read_only,
        )

    def segments(self) -> tuple[Segment[MultipathTable], ...]:
        """One, over all groups."""
        features = (QUEUE, *self.features) if self.queue else self.features
        groups = tuple(group.group() for group in self.groups)
        table = MultipathTable(groups, 1 if groups else 0, features, self.handler)
        return (Segment(self._whole() if self.length is None else self.length, table),)

    def _whole(self) -> Sectors:
        first = next((path for group in self.groups for path in group.paths), None)
        return Sectors(0) if first is None else size_of(first)

    def meaning(self, table: TargetTable) -> object:
        """The groups with their paths, the handler, and the features as a set.

        Which group is used first is up to the paths.
        """
        if not isinstance(table, MultipathTable):
            return super().meaning(table)
        features = sorted(word.lower() for word in table.features if word.lower() != HANDLER)
        return replace(
            table,
            groups=tuple(map(_with_words, table.groups)),
            first_group=0,
            features=tuple(features),
            handler=table.handler[:1],  # the kernel prints its name alone
        )

    def status(self) -> MultipathStatus:
        """How its paths and groups stand. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, MultipathStatus)  # noqa: S101 - its module gives no other
        return found

    # Paths and groups

    def fail(self, path: Below) -> None:
        """Use a path no more, until it is reinstated.

        Raises:
            CommandError: EINVAL: it has no such path.
        """
        device = word_of(path)
        with self.change() as change:
            change.message(self, FailPath(device), undo=ReinstatePath(device))

    def reinstate(self, path: Below) -> None:
        """Use a path again.

        Raises:
            CommandError: EINVAL: it has no such path.
        """
        device = word_of(path)
        with self.change() as change:
            change.message(self, ReinstatePath(device), undo=FailPath(device))

    def switch(self, group: int) -> None:
        """Use a group from now on, as long as it has a path.

        Args:
            group: from 1.

        Raises:
            InvalidValueError: there is no such group.
        """
        self._check_group(group)
        with self.change() as change:
            before = None if change.dry else self._group_in_use()
            change.message(self, SwitchGroup(group), undo=before)

    def _group_in_use(self) -> SwitchGroup | None:
        """What brings back the group that is used now; None where that cannot be told."""
        with suppress(DmwatchError):
            for number, group in enumerate(self.status().groups, 1):
                if group.state is GroupState.ACTIVE:
                    return SwitchGroup(number)
        return None

    def disable(self, group: int) -> None:
        """Use a group only where no other is left.

        Args:
            group: from 1.

        Raises:
            InvalidValueError: there is no such group.
        """
        self._check_group(group)
        with self.change() as change:
            change.message(self, DisableGroup(group), undo=EnableGroup(group))

    def enable(self, group: int) -> None:
        """Undo `disable`.

        Raises:
            InvalidValueError: there is no such group.
        """
        self._check_group(group)
        with self.change() as change:
            change.message(self, EnableGroup(group), undo=DisableGroup(group))

    def _check_group(self, group: int) -> None:
        if not 1 <= group <= len(self.groups):
            raise InvalidValueError(f"{self.name} has groups 1 to {len(self.groups)}, not {group}")

    def queue_if_no_path(self) -> None:
        """Let I/O wait where no path is left."""
        self._set_queue(queue=True)

    def fail_if_no_path(self) -> None:
        """Let I/O fail where no path is left, also what waits already."""
        self._set_queue(queue=False)

    def _set_queue(self, *, queue: bool) -> None:
        wait, fail = QueueIfNoPath(), FailIfNoPath()
        with self.change() as change:
            undo = wait if self.queue else fail
            change.message(self, wait if queue else fail, undo=undo)
            self.queue = queue


def _path_group(group: MultipathGroup) -> PathGroup:
    each = tuple(path.arguments for path in group.paths)
    paths = tuple(path.device for path in group.paths)
    if len(set(each)) > 1:
        return PathGroup(paths, group.selector, group.arguments, each=each)
    return PathGroup(paths, group.selector, group.arguments, each[0] if each else ())


def _with_words(group: MultipathGroup) -> MultipathGroup:
    words = _PATH_WORDS.get(group.selector, ())
    paths = (
        replace(path, arguments=(*path.arguments, *words[len(path.arguments) :]))
        for path in group.paths
    )
    return replace(group, paths=tuple(paths))
