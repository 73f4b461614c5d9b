"""What the manifests on a target hold: those read before as they are kept, others fetched side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tasks.errors import TargetError, TargetMissing
from tasks.manifests.remembered import Remembered
from tasks.manifests.strays import ReadableTarget, content
from tasks.records import Stat

Read = bytes | TargetError | OSError
"""What a manifest holds, or why it could not be read."""


class Contents:
    """The manifests of one listing."""

    def __init__(
        self, place: ReadableTarget, stats: Mapping[str, Stat], remembered: Remembered | None
    ) -> None:
        self._place = place
        self._stats = stats
        self._remembered = remembered
        self._read: dict[str, Read] = {}
        self._gone: TargetMissing | None = None

    def of(self, name: str) -> bytes:
        """What a manifest holds. Raises TargetError, OSError."""
        read = self._read[name] if name in self._read else self._fetched(name)
        if isinstance(read, bytes):
            return read
        raise read

    def fetch(self, names: Sequence[str]) -> None:
        """Have these at hand, kept for the next time; what cannot be read now raises in ``of``."""
        wanted = [self._stats[name] for name in names]
        prove = self._place.properties.stamps_prove
        known = self._remembered.known(wanted, stamps_prove=prove) if self._remembered else {}
        self._read |= known
        new = [name for name in names if name not in known]
        self._read |= dict(zip(new, self._side_by_side(new), strict=True))
        if self._remembered and new:
            self._remembered.keep(wanted, self._whole(new), self._stats)

    def _whole(self, names: Sequence[str]) -> dict[str, bytes]:
        return {name: read for name in names if isinstance(read := self._read[name], bytes)}

    def _side_by_side(self, names: Sequence[str]) -> list[Read]:
        readers = min(self._place.properties.readers, len(names))
        if readers <= 1:
            return [self._fetched(name) for name in names]
        with ThreadPoolExecutor(readers, thread_name_prefix="shelf") as pool:
            return list(pool.map(self._fetched, names))

    def _fetched(self, name: str) -> Read:
        if self._gone:
            return self._gone  # the medium itself: whatever else is asked of it would wait as long
        try:
            return content(self._place, name)
        except TargetMissing as error:
            self._gone = error
            return error
        except (TargetError, OSError) as error:
            return error
