"""What lies in the folder to back up, as far as the plan selects it. Looks only, follows no link.

Files of a database that may be running are left out: copied as files they are useless. The rule, for each
folder by the names in it (in any case of letters):

==================  ==========================================  ==========================================
database            what gives it away                          what is left out
==================  ==========================================  ==========================================
PostgreSQL          a file ``PG_VERSION``                       the folder with all that is in it
MariaDB, MySQL      ``ibdata1`` or ``aria_log_control``         the folder with all that is in it
SQL Anywhere        ``x.db`` (not of SQLite) beside ``x.log``   every .db, .dbs, .log, .mlg of that folder
SQL Server          an ``.mdf`` and an ``.ldf``                 every .mdf, .ndf, .ldf of that folder
SQLite              a ``-wal`` or ``-journal`` file, not        that database with its -wal, -shm and
                    empty, beside ``x``, one of them by its     -journal
                    first bytes SQLite's
==================  ==========================================  ==========================================

Servers own their folder; with the others documents may lie in the same one, and those are kept. A
database that none of this gives away (a log elsewhere, an Access file) either stays unchanged while it
is copied, and is then as good as any file, or the copy says that it changed or cannot be read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pathspec import PathSpec

from tasks.errors import CopyError, SourceError, SourceMissing
from tasks.platform.names import shown
from tasks.platform.patience import NoAnswer, within
from tasks.sources.files.index import ROOT, Notes

PATIENCE = 120.0
"""Seconds that a look into one folder may take."""

MOST_ENTRIES = 990_000
"""An archive takes a million members, the copy's own files and folders among them."""

# Windows: a folder grafted in from elsewhere. It looks like a folder, and would be walked like one.
_MOUNT_POINT = 0xA0000003
_NO_BINARY = getattr(os, "O_BINARY", 0)
READ_FLAGS = os.O_RDONLY | _NO_BINARY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""O_NONBLOCK: a pipe put in a file's place would stop the backup for good."""

_SERVERS = {"pg_version": "PostgreSQL", "ibdata1": "MariaDB", "aria_log_control": "MariaDB"}
_SQL_ANYWHERE = (".db", ".dbs", ".log", ".mlg")
_SQL_SERVER = (".mdf", ".ndf", ".ldf")
_SQLITE_BESIDE = ("-wal", "-shm", "-journal")
# sqlite.org/fileformat2.html: the database's header, the rollback journal's, and the WAL's two byte orders.
_SQLITE_HEADER = b"SQLite format 3\0"
_SQLITE_MAGIC = {
    "-journal": (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",),
    "-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
}
_HEADER_BYTES = len(_SQLITE_HEADER)


class Patterns:
    """Patterns as gitignore(5) has them, about paths relative to the folder, with forward slashes.

    One without a slash (but at its end) fits a name at any depth, another one the path from the folder;
    ``*`` and ``?`` stay within a name, ``**`` stands for any number of folders, and a folder that fits
    brings all that is in it. Unlike there a pattern cannot begin with ``!`` or be a comment: those are
    ordinary names here (NAS devices call folders #recycle), and a backslash is a slash, since on Windows
    people write it. ``fold`` ignores the case of letters, as Windows does.
    """

    def __init__(self, patterns: Iterable[str], *, fold: bool = os.name == "nt") -> None:
        """Raises ValueError, naming the pattern, where one is none."""
        self._fold = fold
        lines = [self._line(pattern) for pattern in patterns]
        if not all(line.strip("/ ") for line in lines):
            raise ValueError("it names nothing")
        self._spec = PathSpec.from_lines("gitignore", lines)

    def __bool__(self) -> bool:
        return len(self._spec) > 0

    def fit(self, path: str, *, folder: bool = False) -> bool:
        """Whether a pattern fits this file or folder."""
        # The library's patterns end at a newline, which a name may hold.
        text = self._folded(path).replace("\n", "\x01")
        return self._spec.match_file(f"{text}/" if folder else text)

    def _line(self, pattern: str) -> str:
        text = self._folded(pattern).replace("\\", "/")
        return f"\\{text}" if text.startswith(("!", "#")) else text

    def _folded(self, text: str) -> str:
        return text.casefold() if self._fold else text


@dataclass(frozen=True, slots=True)
class Seen:
    """A file, folder or symbolic link as the walk saw it; ``path`` relative with forward slashes."""

    path: str
    info: os.stat_result
    target: str = ""

    @property
    def identity(self) -> tuple[int, int]:
        """Device and file number: another thing under the same name has another."""
        return self.info.st_dev, self.info.st_ino


@dataclass
class Listing:
    """A finished walk: everything selected, each folder before its contents, the folder itself first.

    ``unreadable`` pairs names that could not be looked at with the cause.
    """

    entries: dict[str, Seen] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    @property
    def files(self) -> list[Seen]:
        """The files alone."""
        return [seen for seen in self.entries.values() if stat.S_ISREG(seen.info.st_mode)]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(seen.info.st_size for seen in self.files)


@dataclass(frozen=True)
class Selection:
    """What of the folder is wanted. ``avoid`` (device, number) is a folder that must not be in it."""

    include: Patterns
    exclude: Patterns
    databases: bool
    avoid: tuple[int, int] | None = None


def real_root(path: Path) -> str:
    """The folder itself, without links on the way to it, fit for long paths on Windows.

    Raises SourceMissing, SourceError.
    """
    try:
        root, is_folder = within(PATIENCE, str(path), _really, path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceMissing(
            f"cannot back up {path}: there is no such folder",
            hint="Check `path:` in the plan, and that the disk it lies on is connected.",
        ) from error
    except OSError as error:
        raise SourceError(
            f"cannot back up {path}: {error.strerror}",
            hint="The user who runs the backup must be allowed to reach and read the folder.",
        ) from error
    if not is_folder:
        raise SourceError(
            f"cannot back up {path}: it is not a folder",
            hint="`path:` in the plan must name a folder; for a database file there are other kinds.",
        )
    if os.name == "nt" and not root.startswith("\\\\?\\"):
        root = f"\\\\?\\UNC\\{root[2:]}" if root.startswith("\\\\") else f"\\\\?\\{root}"
    return root


def _really(path: Path) -> tuple[str, bool]:
    root = os.path.realpath(path, strict=True)
    return root, stat.S_ISDIR(os.stat(root).st_mode)  # noqa: PTH116 - names stay plain texts here


def place_in(root: str, path: str) -> str:
    """The path on this system of ``path`` relative to ``root``."""
    return root if path in ("", ROOT) else root.rstrip(os.sep) + os.sep + path.replace("/", os.sep)


def walk(root: str, selection: Selection) -> Listing:
    """Everything in the folder that the selection wants.

    Raises SourceError where it is too much or too deep, CopyError where the folder itself is gone by now.
    """
    return _Walk(root, selection).run()


class _Walk:
    def __init__(self, root: str, selection: Selection) -> None:
        self._root = root
        self._selection = selection
        self._listing = Listing()

    def run(self) -> Listing:
        found = self._listing.entries
        try:
            found[ROOT] = Seen(ROOT, os.lstat(self._root))
        except OSError as error:
            raise CopyError(
                f"cannot look into {self._root}: {error.strerror}",
                hint="Check that the disk it lies on is connected, then run the backup again.",
            ) from error
        waiting = self._children("")
        # A stack of our own: folders may be nested deeper than Python recurses.
        while waiting:
            seen = waiting.pop()
            found[seen.path] = seen
            if len(found) > MOST_ENTRIES:
                raise SourceError(
                    f"cannot back up {self._root}: it holds more than {MOST_ENTRIES:,} files",
                    hint="Leave some out with `exclude:`, or back up each sub-folder with its own plan.",
                )
            if stat.S_ISDIR(seen.info.st_mode):
                waiting += self._children(seen.path)
        if self._selection.include:
            self._drop_unwanted_folders()
        return self._listing

    def _children(self, folder: str) -> list[Seen]:
        """The selected children of a folder, last first, because they are taken from the end."""
        selected: list[Seen] = []
        children = self._look_into(folder)
        databases = _LiveDatabases()
        if not self._selection.databases:
            databases = _live_databases(children, lambda name: self._head(_below(folder, name)))
        if databases.server:
            self._listing.notes.add("databases", f"{shown(folder or ROOT)} ({databases.server})")
            self._listing.entries.pop(folder, None)
            return []
        for name in sorted(children, key=os.fsencode):
            path, info = _below(folder, name), children[name]
            if not self._wanted(path, info):
                continue
            if name in databases.files:
                self._listing.notes.add("databases", f"{shown(path)} ({databases.files[name]})")
            else:
                selected += self._seen(path, info)
        return selected[::-1]

    def _look_into(self, folder: str) -> dict[str, os.stat_result]:
        """The children of a folder by name. One deleted between the two looks was never here."""
        try:
            return within(PATIENCE, self._root, self._children_of, folder)
        except NoAnswer as error:
            raise SourceError(
                f"cannot back up {self._root}: {error.strerror}",
                hint="The system itself waits for the disk or the server that holds the folder: look at it.",
            ) from error

    def _children_of(self, folder: str) -> dict[str, os.stat_result]:
        children: dict[str, os.stat_result] = {}
        for name in self._names_in(folder):
            path = _below(folder, name)
            try:
                # Not DirEntry.stat: on Windows that knows no file number.
                children[name] = os.lstat(place_in(self._root, path))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._cannot_read(path, error)
        return children

    def _names_in(self, folder: str) -> list[str]:
        try:
            return os.listdir(place_in(self._root, folder))  # noqa: PTH208 - as above
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._cannot_read(folder or ROOT, error)
            return []

    def _cannot_read(self, path: str, error: OSError) -> None:
        if error.errno == errno.ENAMETOOLONG:
            raise SourceError(
                f"cannot back up {self._root}: the path of {shown(path)} is longer than this system takes",
                hint="Move or rename what lies so deep, or leave the folder out with `exclude:`.",
            ) from error
        self._listing.unreadable.append((path, error.strerror or "cannot be read"))

    def _wanted(self, path: str, info: os.stat_result) -> bool:
        folder = stat.S_ISDIR(info.st_mode)
        if self._selection.exclude and self._selection.exclude.fit(path, folder=folder):
            self._listing.notes.add("excluded", shown(path))
            return False
        return folder or not self._selection.include or self._selection.include.fit(path)

    def _seen(self, path: str, info: os.stat_result) -> Iterator[Seen]:
        mode = info.st_mode
        if (info.st_dev, info.st_ino) == self._selection.avoid:
            raise _inside_itself(self._root, path)
        if stat.S_ISLNK(mode):
            try:
                # Path.readlink would tidy the target up; what is kept is the link as it stands.
                target = os.readlink(place_in(self._root, path))  # noqa: PTH115
            except OSError:
                return
            yield Seen(path, info, target)
        elif getattr(info, "st_reparse_tag", 0) == _MOUNT_POINT:
            self._listing.notes.add("special", shown(path))
        elif stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            yield Seen(path, info)
        else:
            self._listing.notes.add("special", shown(path))

    def _head(self, path: str) -> bytes:
        try:
            descriptor = os.open(place_in(self._root, path), READ_FLAGS)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                return file.read(_HEADER_BYTES)
        except OSError:
            return b""

    def _drop_unwanted_folders(self) -> None:
        """With `include`, keep folders that fit or lead to something that does."""
        found = self._listing.entries
        needed: set[str] = {ROOT}
        for path in reversed(found):
            folder = stat.S_ISDIR(found[path].info.st_mode)
            if not folder or path in needed or self._selection.include.fit(path, folder=True):
                needed |= {path, path.rpartition("/")[0]}
        self._listing.entries = {path: seen for path, seen in found.items() if path in needed}


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _inside_itself(root: str, path: str) -> SourceError:
    return SourceError(
        f"cannot back up {root}: Datasave's own working folder lies in it",
        hint="Set `state:` in the plan to a folder elsewhere, or add "
        f"{shown(path.partition('/')[0])}/ to `exclude:`.",
    )


@dataclass(frozen=True)
class _LiveDatabases:
    """What was found in one folder: ``server`` owns all of it, or ``files`` (name: engine) belong to one."""

    server: str = ""
    files: dict[str, str] = field(default_factory=dict)


def _live_databases(children: Mapping[str, os.stat_result], head: Callable[[str], bytes]) -> _LiveDatabases:
    """Look through a folder's children; ``head`` reads the first 16 bytes of one, b"" where it cannot."""
    files = {name.lower(): name for name, info in children.items() if stat.S_ISREG(info.st_mode)}
    for telltale, server in _SERVERS.items():
        if telltale in files:
            return _LiveDatabases(server=server)
    found = _sqlite(files, children, head)
    if _has_sql_anywhere(files, found, head):
        found |= {files[low]: "SQL Anywhere" for low in files if low.endswith(_SQL_ANYWHERE)}
    if any(low.endswith(".mdf") for low in files) and any(low.endswith(".ldf") for low in files):
        found |= {files[low]: "SQL Server" for low in files if low.endswith(_SQL_SERVER)}
    return _LiveDatabases(files=found)


def _has_sql_anywhere(files: dict[str, str], sqlite: dict[str, str], head: Callable[[str], bytes]) -> bool:
    return any(
        low.endswith(".db")
        and f"{low.removesuffix('.db')}.log" in files
        and name not in sqlite
        and head(name) != _SQLITE_HEADER
        for low, name in files.items()
    )


def _sqlite(
    files: dict[str, str], children: Mapping[str, os.stat_result], head: Callable[[str], bytes]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for low, name in files.items():
        for ending, magic in _SQLITE_MAGIC.items():
            database = files.get(low.removesuffix(ending)) if low.endswith(ending) else None
            if database is None or not children[name].st_size:
                # An empty journal is one that was committed: the database beside it is whole.
                continue
            if head(database) == _SQLITE_HEADER or head(name).startswith(magic):
                beside = (files.get(f"{database.lower()}{other}") for other in _SQLITE_BESIDE)
                found |= {one: "SQLite" for one in (database, *beside) if one is not None}
    return found
