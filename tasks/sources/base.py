"""The seam every engine fits into: six methods, held to one contract suite (tests/contract).

What only some engines can do (log backups, a restart, a restore in place) stands in capabilities.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tasks.records import Engine, Finding, LiveCopy, Progress, Table, no_progress


class Connection(Protocol):
    """The part of a DB-API 2.0 connection that measuring needs."""

    def cursor(self) -> Any: ...


def quoted(name: str) -> str:
    """``name`` as an identifier of standard SQL."""
    return '"' + name.replace('"', '""') + '"'


class Source(ABC):
    """A database or folder that can be copied while it is in use.

    An adapter is made from its own options model, which stands beside it, and holds no open resource
    between calls. It reads its options no earlier than a method needs them: for work on copies alone
    (``source_for_copies``) it is made without any. Every failure is a SourceError or a ValidationError
    with a hint; a message never holds a password or a row's value.
    """

    kind: ClassVar[str]

    clones: ClassVar[bool] = True
    """Whether a copy is checked on a clone of it, which takes room in staging."""

    closed_in: ClassVar[bool] = False
    """Whether its programs open copies in a sandbox, where this machine has one."""

    after_restore: ClassVar[str]
    """Markdown for RECOVER.md: what to do with the unpacked files, without Datasave."""

    @abstractmethod
    def check(self) -> Engine:
        """Look whether a copy could be made now: it is there, readable, of a version we know.

        Raises SourceMissing or SourceError. Changes nothing.
        """

    @abstractmethod
    def copy_live(self, destination: Path, progress: Progress = no_progress) -> LiveCopy:
        """Copy the running source into ``destination``, an empty private folder.

        Uses the engine's own means for a consistent copy. Progress counts bytes. Raises CopyError
        when it cannot be finished (permanent=False where a second try may work).
        """

    @abstractmethod
    def validate(self, copy: Path, scratch: Path) -> list[Finding]:
        """Run the engine's own check on the copy in folder ``copy``; findings, passed or not.

        Never alters the copy: an engine that would is given a clone in ``scratch``, an empty
        private folder. What it leaves there ``open`` may use, which a step calls next with the same
        folder. A file that is no database is a finding that did not pass, not an exception.
        """

    @abstractmethod
    def open(self, copy: Path, scratch: Path) -> AbstractContextManager[Connection]:
        """Open the copy for reading, without altering it. Raises ValidationError if it won't open.

        ``scratch`` is a private folder: empty, or as ``validate`` of the same copy left it.
        """

    @abstractmethod
    def tables(self, connection: Connection) -> list[Table]:
        """All user tables of an open copy, in name order.

        What else must come back (triggers, procedures, views) is listed as tables too: their names begin
        with "(", their reference is a query in brackets over the engine's own catalog.
        """

    @abstractmethod
    def restore(self, copy: Path, destination: Path) -> Path:
        """Put the copy where the engine can use it: ``destination``, a folder that is empty or new.

        Returns the path a user opens. Raises SourceError if the destination holds anything.
        """
