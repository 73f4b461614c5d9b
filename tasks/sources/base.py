"""The seam every engine fits into: six methods, held to one contract suite (tests/contract), and more that
only some engines need: for log backups, the daily restart, a restore in place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tasks.errors import SourceError
from tasks.records import Engine, Finding, LiveCopy, Progress, Table, no_progress
from tasks.sources.shared.live_place import TO_HINT, InPlaceOptions, LivePlace, open_files


class Cursor(Protocol):
    """The part of a DB-API 2.0 cursor that measuring needs (pyodbc and sqlite3 both have it)."""

    def execute(self, sql: str, /) -> Any: ...
    def fetchmany(self, size: int, /) -> Sequence[Sequence[Any]]: ...
    def fetchone(self) -> Any: ...
    def close(self) -> None: ...


class Connection(Protocol):
    """The part of a DB-API 2.0 connection that measuring needs."""

    def cursor(self) -> Any: ...


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

        What else must come back (triggers, procedures, views) is told as tables too: their names begin
        with "(", their reference is a query in brackets over the engine's own catalog.
        """

    @abstractmethod
    def restore(self, copy: Path, destination: Path) -> Path:
        """Put the copy where the engine can use it: ``destination``, a folder that is empty or new.

        Returns the path a user opens. Raises SourceError if the destination holds anything.
        """

    def grants(self) -> str:
        """The statements that make an account with just the rights a backup needs, ready to run."""
        return "-- No account is needed: the user who runs Datasave must be able to read the source.\n"

    def conformance(self, scratch: Path) -> list[Finding]:
        """Try on the real engine each behaviour this adapter relies on; one finding for each.

        For engines that Datasave's own tests cannot run. Works in ``scratch``, an empty private folder,
        and changes nothing of the source. Raises SourceError where the adapter is tested on the real
        engine and there is nothing to try.
        """
        del scratch
        raise SourceError(
            f"there is nothing to try for {self.kind}",
            hint="Datasave's tests run against the real engine; `datasave doctor` checks this installation.",
        )

    def back_up_log(self) -> Path:
        """Add what changed since the last log backup to the chain of logs; the file that was added.

        To be called only once a verified full copy has left the machine. Raises SourceError where the engine
        has no such thing or the plan does not say where to, CopyError where it cannot be done.
        """
        raise SourceError(
            f"a source of kind {self.kind} has no log backups here",
            hint="Remove `schedule.log` from the plan; back up more often instead.",
        )

    def roll_forward(self, copy: Path, logs: Path, destination: Path, until: datetime | None = None) -> Path:
        """As ``restore``, then apply the log backups in ``logs`` that follow the copy, without a gap.

        With ``until`` nothing that was committed after that moment. Raises SourceError, also where there is
        a gap.
        """
        del copy, destination, until
        raise SourceError(
            f"a source of kind {self.kind} has no log backups: {logs} cannot be applied",
            hint="Restore without --logs.",
        )

    def restart(self) -> None:
        """Restart the engine and see that it answers, for engines that want this daily.

        Raises SourceError where the engine has no such need, the plan does not say how, or it failed.
        """
        raise SourceError(
            f"a source of kind {self.kind} needs no restart", hint="Remove `schedule.restart` from the plan."
        )

    def live_place(self) -> LivePlace:
        """The live data, as it can be put aside whole. Works with the engine down.

        Raises SourceError where the engine's data cannot be replaced like that, with the way there is.
        """
        raise SourceError(f"a source of kind {self.kind} cannot be restored in place", hint=TO_HINT)

    def in_place(self) -> InPlaceOptions:
        """The plan's commands to stop and start what uses the data; none where it names none."""
        return getattr(self._options, "in_place", None) or InPlaceOptions()  # type: ignore[attr-defined]

    def in_use(self, place: LivePlace) -> str:
        """Who uses the live data now, for a message; empty where nobody does. Alters nothing."""
        return open_files(place.there)

    def build(self, copy: Path, destination: Path) -> Path:
        """As ``restore``, but gives what is to be renamed to the live place: a folder, or a file."""
        return self.restore(copy, destination)

    def compare_live(self, copy: Path, place: LivePlace) -> list[Finding]:
        """Compare the live data, no engine running, with the copy it was built from, file by file."""
        del copy, place
        return []

    def open_live(
        self, copy: Path, place: LivePlace, scratch: Path
    ) -> AbstractContextManager[Connection | None]:
        """Open the live data in its place, privately, before its engine is started; None if it has no tables.

        ``copy`` is the copy it was built from; ``scratch`` an empty private folder on the same disk. What
        a start of the engine may change in the data, this may change too. Raises ValidationError.
        """
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the engine answers, with no account needed; True where there is no engine to ask."""
        return True
