"""What only some engines can do, each ability a small protocol of its own.

An adapter has an ability by naming the protocol among its bases and writing its methods. Callers ask for
the ability, never for the kind: ``isinstance(source, SupportsRestart)``, or ``required`` where there is
nothing to do without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from tasks.errors import SourceError, ValidationError
from tasks.records import CopiedFile, Finding, Profile, Table
from tasks.sources.base import Connection, Source
from tasks.sources.shared.live_data import TO_HINT, InPlaceOptions, LiveData, open_files

Ability = TypeVar("Ability")


def required(source: Source, ability: type[Ability], message: str, hint: str) -> Ability:
    """``source``, known to have ``ability``. Raises SourceError with these two texts where it has not."""
    if not isinstance(source, ability):
        raise SourceError(message, hint=hint)
    return source


@runtime_checkable
class SupportsGrants(Protocol):
    """The engine has accounts, and one of them can be given just what a backup needs."""

    @abstractmethod
    def grants(self) -> str:
        """The statements that make such an account, ready to run."""


def grants_of(source: Source) -> str:
    """The statements that make an account with just the rights a backup needs, or that none is needed."""
    if isinstance(source, SupportsGrants):
        return source.grants()
    return "-- No account is needed: the user who runs Datasave must be able to read the source.\n"


@runtime_checkable
class SupportsEarlierProfiles(Protocol):
    """Profiles with fingerprints of version 1 listed other tables than ``Source.tables`` does today."""

    @abstractmethod
    def earlier_tables(self, connection: Connection) -> list[Table]:
        """As ``Source.tables``, for comparing with a profile of version 1."""


def tables_for(source: Source | SupportsInPlace, connection: Connection, recorded: Profile) -> list[Table]:
    """All tables of an open copy, as they must be measured to be compared with ``recorded``."""
    if recorded.version > 1:
        return source.tables(connection)
    if isinstance(source, SupportsEarlierProfiles):
        return source.earlier_tables(connection)
    return [table.model_copy(update={"digest": ""}) for table in source.tables(connection)]


@runtime_checkable
class SupportsDumps(Protocol):
    """A copy may be a dump: statements, from which the data is made anew each time it is opened."""

    @abstractmethod
    def is_dump(self, copy: Path) -> bool:
        """Whether the copy in folder ``copy`` is one. Raises ValidationError where it does not say."""


def made_anew(source: Source, copy: Path) -> bool:
    """Whether equal files of a copy do not yet make equal rows: they depend on what opens them."""
    if not isinstance(source, SupportsDumps):
        return False
    try:
        return source.is_dump(copy)
    except ValidationError:
        return True


@runtime_checkable
class SupportsConformance(Protocol):
    """The adapter can try itself on the user's engine: for engines that Datasave's own tests cannot run."""

    @abstractmethod
    def conformance(self, scratch: Path) -> list[Finding]:
        """Try on the real engine each behaviour this adapter relies on; one finding for each.

        Works in ``scratch``, an empty private folder, and changes nothing of the source.
        Raises SourceError where it cannot begin.
        """


@runtime_checkable
class SupportsLogBackups(Protocol):
    """The engine keeps a log that can be backed up between full copies, and replayed onto one of them."""

    @abstractmethod
    def back_up_log(self) -> Path:
        """Add what changed since the last log backup to the chain of logs; the file that was added.

        To be called only once a verified full copy has left the machine. Raises SourceError where the plan
        does not say where to, CopyError where it cannot be done.
        """

    @abstractmethod
    def roll_forward(self, copy: Path, logs: Path, destination: Path, until: datetime | None = None) -> Path:
        """As ``Source.restore``, then apply the log backups in ``logs`` that follow the copy.

        With ``until`` nothing that was committed after that moment. Raises SourceError, also where there is
        a gap between the copy and the logs, or among the logs.
        """


@runtime_checkable
class SupportsRestart(Protocol):
    """The engine's makers advise a daily restart."""

    @abstractmethod
    def restart(self) -> None:
        """Restart the engine and see that it answers.

        Raises SourceError where the plan does not say how, or it failed.
        """


@runtime_checkable
class SupportsFiles(Protocol):
    """Single files can be taken out of a copy, without opening it as a whole."""

    @abstractmethod
    def files_matching(self, wanted: str, files: Sequence[CopiedFile]) -> list[CopiedFile]:
        """Those of a copy's ``files`` that a path or pattern names, written as the user knows them.

        Raises SourceError where it is no pattern.
        """


@runtime_checkable
class SupportsInPlace(Protocol):
    """A restored copy can take the place of the live data, which is put aside whole."""

    clones: ClassVar[bool]

    @abstractmethod
    def live_data(self) -> LiveData:
        """The live data, as it can be put aside. Works with the engine down.

        Raises SourceError where this source's data cannot be replaced like that; the hint says how else.
        """

    @abstractmethod
    def in_place_options(self) -> InPlaceOptions:
        """The plan's commands to stop and start what uses the data; none where it names none."""

    def in_use(self, live: LiveData) -> str:
        """Who uses the live data now, for a message; empty where nobody does. Alters nothing."""
        return open_files(live.there)

    def build(self, copy: Path, destination: Path) -> Path:
        """As ``Source.restore``, but gives what is to be renamed to the live data: a folder, or a file."""
        return self.restore(copy, destination)

    def compare_live(self, copy: Path, live: LiveData) -> list[Finding]:
        """Compare the live data, no engine running, with the copy it was built from, file by file."""
        del copy, live
        return []

    @abstractmethod
    def open_live(
        self, copy: Path, live: LiveData, scratch: Path
    ) -> AbstractContextManager[Connection | None]:
        """Open the live data in its place, privately, before its engine is started; None if it has no tables.

        ``copy`` is the copy it was built from; ``scratch`` an empty private folder on the same disk. What
        a start of the engine may change in the data, this may change too. Raises ValidationError.
        """

    def answers(self) -> bool:
        """Whether the engine answers, with no account needed; True where there is no engine to ask."""
        return True

    @abstractmethod
    def restore(self, copy: Path, destination: Path) -> Path:
        """See Source.restore."""

    @abstractmethod
    def tables(self, connection: Connection) -> list[Table]:
        """See Source.tables."""


def in_place(source: Source) -> SupportsInPlace:
    """``source``, known to be one that can be restored in place. Raises SourceError."""
    message = f"a source of kind {source.kind} cannot be restored in place"
    return required(source, SupportsInPlace, message, TO_HINT)
