"""The reference implementation of a target, in memory: what the contract means, with no service around it.

The contract suite is proven on it first. It is not durable, and no plan can choose it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import BinaryIO, ClassVar

from tasks.errors import TargetError
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target, check_name
from tasks.targets.shared.errors import NO_OBJECT
from tasks.targets.shared.transfer import exactly


class MemoryTarget(Target):
    """Objects are entries of ``objects``, name -> bytes. Safe to use from several threads."""

    kind: ClassVar[str] = "memory"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.properties = Properties()
        self.objects: dict[str, bytes] = {}
        self._lock = Lock()

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """Collect first, publish at the end. Raises TargetError where the reader is short or long."""
        check_name(name)
        data = bytearray()
        for block in exactly(reader, size, f"cannot store {name} on {self.name}"):
            data += block
            progress(len(data), size)
        with self._lock:
            self.objects[name] = bytes(data)
        return Stat(name=name, bytes=size)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read an object. Raises ObjectMissing."""
        with io.BytesIO(self._get(name, "read")) as stream:
            yield stream

    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""
        return Stat(name=name, bytes=len(self._get(name, "find")))

    def list(self, prefix: str = "") -> list[Stat]:
        """All objects whose name begins with ``prefix``, in name order."""
        with self._lock:
            found = sorted(
                (name, len(data)) for name, data in self.objects.items() if name.startswith(prefix)
            )
        return [Stat(name=name, bytes=size) for name, size in found]

    def delete(self, name: str) -> None:
        """Remove an object. Raises ObjectMissing."""
        check_name(name)
        with self._lock:
            if self.objects.pop(name, None) is None:
                raise self._missing(name, "delete")

    def free_space(self) -> int | None:
        """Unbounded, as far as this target knows."""
        return None

    def close(self) -> None:
        """There is nothing to let go of."""

    def _get(self, name: str, action: str) -> bytes:
        check_name(name)
        with self._lock:
            data = self.objects.get(name)
        if data is None:
            raise self._missing(name, action)
        return data

    def _missing(self, name: str, action: str) -> TargetError:
        return NO_OBJECT.error(f"cannot {action} {name} on {self.name}")
