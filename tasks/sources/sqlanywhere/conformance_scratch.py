"""The trials of sqlanywhere_conformance.py that start engines, each over its own clone of one copy."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

from tasks.errors import ValidationError
from tasks.platform.files import private_folder, sha256_of
from tasks.platform.processes import Argument, run
from tasks.sources.sqlanywhere.catalog import base_tables, definitions
from tasks.sources.sqlanywhere.conformance import Outcome, Site, expect
from tasks.sources.sqlanywhere.connection import (
    Address,
    connected,
    scratch_address,
    state_of,
    tool_environment,
)
from tasks.sources.sqlanywhere.errors import ABSENT, DONE
from tasks.sources.sqlanywhere.logs import APPLIED
from tasks.sources.sqlanywhere.programs import odbc
from tasks.sources.sqlanywhere.scratch import START_SECONDS, refuse_unreadable, scratch_engine, start_command
from tasks.sources.sqlanywhere.server import ping

REFUSAL_SECONDS = 10.0
_LISTENING = "0A"
_PLACES = 5


def _clone(folder: Path, site: Site) -> Path:
    """A fresh clone of the database in ``folder``, in a folder of its own."""
    clone = private_folder(site.scratch / uuid4().hex) / "database"
    shutil.copytree(folder, clone)
    return clone


@contextmanager
def _engine(site: Site, folder: Path) -> Iterator[Address]:
    with scratch_engine(site.install, folder, site.database, site.reader) as address:
        yield address


def _settled(site: Site) -> Path:
    """A clone that an engine has recovered, and that was stopped in order; made once."""
    folder = site.scratch / "settled" / "database"
    if not folder.is_dir():
        private_folder(folder.parent)
        shutil.copytree(site.copied, folder)
        with _engine(site, folder):
            pass
    return folder


class _StartedError(Exception):
    """An engine runs that should have refused to."""


def _refused(site: Site, command: Sequence[Argument], started: Callable[[], bool]) -> Outcome:
    """Whether an engine refuses to start, ending by itself before ``started`` says that it runs."""

    def watch() -> None:
        if started():
            raise _StartedError

    try:
        code = run(command, environment=site.install.environment, seconds=START_SECONDS, watch=watch).code
    except _StartedError:
        return False, "it was not refused, the engine runs"
    return code != DONE, f"refused with code {code}"


def _validates(site: Site, address: Address) -> Outcome:
    plain = site.tool("dbvalid", address=address, login=site.reader)
    pages = site.tool("dbvalid", "-d", address=address, login=site.reader)
    return plain == pages == DONE, f"ended with codes {plain} and {pages}"


def _finds_damage(site: Site) -> Outcome:
    # A settled one: what is damaged must not be replaced by recovery.
    folder = _clone(_settled(site), site)
    file = folder / site.database
    size = file.stat().st_size
    with file.open("r+b") as stream:
        for place in range(1, _PLACES + 1):
            stream.seek(size * place // (_PLACES + 1))
            old = stream.read(3)
            stream.seek(-len(old), os.SEEK_CUR)
            stream.write(bytes(byte ^ 0xFF for byte in old))
    try:
        with _engine(site, folder) as address:
            code = site.tool("dbvalid", "-d", address=address, login=site.reader)
    except ValidationError:
        return True, "the engine did not even open it"
    detail = "found by code" if code != DONE else "not found (does the database have checksums?), code"
    return code != DONE, f"{detail} {code}"


def _start_alters(site: Site) -> Outcome:
    altered = sha256_of(_settled(site) / site.database) != sha256_of(site.copied / site.database)
    return altered, "altered, as assumed" if altered else "not altered: cloning would not be needed"


def _read_only_refused(site: Site) -> Outcome:
    address = scratch_address(f"ds_{uuid4().hex}", site.install.version)
    command = start_command(site.install, str(address.server), _clone(site.copied, site) / site.database)
    command.insert(1, "-r")
    return _refused(site, command, lambda: ping(site.install, address, None) == DONE)


def _log_elsewhere_untouched(site: Site) -> Outcome:
    """A clone that remembers a log in another folder, started with -ds, must leave that log alone."""
    folder = _clone(_settled(site), site)
    elsewhere = private_folder(site.scratch / uuid4().hex) / site.log
    shutil.copyfile(folder / site.log, elsewhere)
    code = site.tool("dblog", "-t", elsewhere, folder / site.database)
    if code != DONE:
        return False, f"dblog -t ended with code {code}, so this could not be tried"
    before, own = sha256_of(elsewhere), sha256_of(folder / site.log)
    with _engine(site, folder):
        pass
    if sha256_of(elsewhere) != before:
        return False, "THE REMEMBERED LOG WAS ALTERED: do not validate copies on the practice's machine"
    used = sha256_of(folder / site.log) != own
    return used, "only the clone's own log was used" if used else "neither log was used"


def _no_port(site: Site, address: Address) -> Outcome:
    if not sys.platform.startswith("linux"):
        remote = Address(site.install.version, server=address.server, host="localhost")
        return expect(ping(site.install, remote, None), ABSENT)
    ports = listening_ports(str(address.server))
    return not ports, f"it listens on {ports}" if ports else "it listens on no port"


def _stops(site: Site, address: Address) -> Outcome:
    code = site.tool("dbstop", "-y", str(address.server), address=address, login=site.reader)
    after = ping(site.install, address, None)
    return code == DONE and after in ABSENT, f"dbstop ended with code {code}, dbping then with {after}"


def _no_autostart(site: Site) -> Outcome:
    """By hand: the adapter itself never builds a string that names a database file."""
    folder = _clone(site.copied, site)
    name = f"ds_{uuid4().hex}"
    nobody = Address(site.install.version, server=name)
    environment = tool_environment(site.install, nobody, site.login)
    environment["SQLCONNECT"] += f";DBF={folder / site.database}"
    code = run([site.install.program("dbping"), "-d"], environment=environment, seconds=START_SECONDS).code
    if code == DONE:
        run([site.install.program("dbstop"), "-y", name], environment=site.install.environment)
    return expect(code, ABSENT)


def _name_taken(site: Site, address: Address) -> Outcome:
    command = start_command(site.install, str(address.server), _clone(site.copied, site) / site.database)
    # The first one answers to the name, so that only time tells.
    deadline = time.monotonic() + REFUSAL_SECONDS
    return _refused(site, command, lambda: time.monotonic() > deadline)


def _catalogue(site: Site, address: Address) -> Outcome:
    try:
        with connected(site.install, address, site.reader) as connection:
            tables = base_tables(connection)
            refuse_unreadable(connection, tables)
            cursor = connection.cursor()
            for extra in definitions():
                cursor.execute(f"SELECT {', '.join(extra.columns)} FROM {extra.reference}")  # noqa: S608
                cursor.fetchall()
    except odbc().Error as error:
        return False, f"the catalogue's queries failed: {state_of(error)}"
    return bool(tables), f"{len(tables)} tables"


def _own_log_applied(site: Site) -> Outcome:
    folder = _clone(site.copied, site)
    place = private_folder(folder / APPLIED)
    (folder / site.log).rename(place / site.log)
    command = start_command(site.install, f"ds_{uuid4().hex}", folder / site.database)
    code = run(
        [*command, "-ad", place], environment=site.install.environment, folder=folder, seconds=START_SECONDS
    ).code
    if code != DONE:
        return False, f"the engine with -ad ended with code {code}"
    with _engine(site, folder) as address:
        after = ping(site.install, address, site.reader)
    return after == DONE, f"applied; started again, dbping ended with code {after}"


def listening_ports(word: str) -> list[int]:
    """The TCP ports on which the processes with ``word`` among their arguments listen (Linux)."""
    inodes = {inode for pid in _processes_with(word) for inode in _sockets_of(pid)}
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text("ascii").splitlines()[1:] if Path(table).exists() else ():
            fields = line.split()
            if fields[3] == _LISTENING and fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return sorted(ports)


def _processes_with(word: str) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                yield process
        except OSError:
            continue


def _sockets_of(process: Path) -> Iterator[str]:
    for link in (process / "fd").glob("*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target.removeprefix("socket:[").removesuffix("]")


def beside_one_engine(site: Site) -> Iterator[tuple[str, Callable[[Site], Outcome]]]:
    """The trials that can share an engine, as trials of their own; it is gone after the last one."""
    with ExitStack() as stack:

        @cache
        def address() -> Address:
            return stack.enter_context(_engine(site, _clone(site.copied, site)))

        for name, trial in SHARED_TRIALS.items():
            yield name, lambda site, trial=trial: trial(site, address())  # type: ignore[misc]


SHARED_TRIALS: dict[str, Callable[[Site, Address], Outcome]] = {
    "a clone recovers; dbvalid and dbvalid -d end with code 0": _validates,
    "-x none opens no port": _no_port,
    "the catalogue lists tables and definitions": _catalogue,
    "a server name is taken once": _name_taken,
    "dbstop -y stops a private engine": _stops,
}

SCRATCH_TRIALS: dict[str, Callable[[Site], Outcome]] = {
    "a normal start alters a copy": _start_alters,
    "dbvalid -d finds damaged pages": _finds_damage,
    "a copy cannot be started read-only": _read_only_refused,
    "-ds keeps from the log that the database remembers": _log_elsewhere_untouched,
    "ASTART=NO starts no engine": _no_autostart,
    "-ad applies a copy's own log and ends": _own_log_applied,
}
