"""Tries on a real engine what the adapter relies on: one finding for each assumption.

SAP's engine cannot be had for tests, so the adapter was written from SAP's documentation and, where that is
silent, from what is generally known. A site with an engine runs this once, and after each upgrade. The source
is only copied, twice; every engine that is started runs over a clone in scratch, under a name of its own.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from uuid import uuid4

import psutil

from tasks.errors import DatasaveError, ValidationError
from tasks.platform.files import private_folder, sha256_of
from tasks.platform.processes import Argument, run
from tasks.records import Finding
from tasks.sources.sqlanywhere.catalog import base_tables, definitions
from tasks.sources.sqlanywhere.check import DatabaseFacts, ask, base_name, refuse_elsewhere
from tasks.sources.sqlanywhere.connection import Address, Client, Login, scratch_address
from tasks.sources.sqlanywhere.copy import back_up
from tasks.sources.sqlanywhere.errors import ABSENT, CANNOT_CONNECT, DONE, NOT_RUNNING, state_of
from tasks.sources.sqlanywhere.logs import APPLIED, read_log
from tasks.sources.sqlanywhere.programs import Install, odbc
from tasks.sources.sqlanywhere.scratch import (
    START_SECONDS,
    CopyAccess,
    refuse_unreadable,
    scratch_engine,
    start_command,
)

Outcome = tuple[bool, str]
BAD_USAGE = 255
REFUSAL_SECONDS = 10.0
_PLACES = 5


@dataclass
class Site:
    """The source under trial, and ``scratch``, a private folder to work in."""

    client: Client
    reader: Login
    facts: DatabaseFacts
    scratch: Path

    @cached_property
    def copied(self) -> Path:
        """A copy of the running database, made once, into a folder that was not there before."""
        folder = self.scratch / "copied" / "database"
        private_folder(folder.parent)
        code = self.client.run("dbbackup", "-y", folder)
        if code != DONE:
            raise DatasaveError(f"dbbackup ended with code {code}")
        return folder

    @property
    def database(self) -> str:
        """The name of the database file, in the copy as on the server."""
        if self.facts.file:
            return base_name(self.facts.file)
        return next(path.name for path in sorted(self.copied.glob("*.db")))

    @property
    def log(self) -> str:
        """The name of the log, in the copy as on the server."""
        if self.facts.log:
            return base_name(self.facts.log)
        return next(path.name for path in sorted(self.copied.glob("*.log")))

    @property
    def install(self) -> Install:
        """The installation whose programs are tried."""
        return self.client.install

    def nobody(self) -> Client:
        """An engine that does not exist."""
        return replace(self.client, address=Address(self.install.version, server=_new_name(), database="ds"))


def try_all(site: Site) -> list[Finding]:
    """Try each assumption; one that cannot be tried did not pass."""
    trials = chain(TRIALS.items(), beside_one_engine(site), SCRATCH_TRIALS.items())
    return [_tried(site, name, trial) for name, trial in trials]


def _expect(code: int, wanted: frozenset[int] | int) -> Outcome:
    """Whether an exit code is one of those assumed."""
    allowed = frozenset({wanted}) if isinstance(wanted, int) else wanted
    words = " or ".join(str(one) for one in sorted(allowed))
    return code in allowed, f"ended with code {code}" + ("" if code in allowed else f", assumed was {words}")


def _new_name() -> str:
    return f"ds_{uuid4().hex}"


def _tried(site: Site, name: str, trial: Callable[[Site], Outcome]) -> Finding:
    try:
        holds, detail = trial(site)
    except (DatasaveError, OSError, StopIteration) as error:
        holds = False
        detail = f"could not be tried: {error if isinstance(error, DatasaveError) else type(error).__name__}"
    return Finding(check=name, passed=holds, detail=detail)


def _server_answers(site: Site) -> Outcome:
    return _expect(site.client.anonymous.ping(), DONE)


def _database_answers(site: Site) -> Outcome:
    return _expect(site.client.ping(), DONE)


def _unknown_server(site: Site) -> Outcome:
    return _expect(site.nobody().ping(), ABSENT)


def _unknown_database(site: Site) -> Outcome:
    address = replace(site.client.address, database=f"ds_{uuid4().hex[:8]}")
    return _expect(replace(site.client, address=address).ping(), NOT_RUNNING)


def _wrong_login(site: Site) -> Outcome:
    # An account that nobody has: with a real one, a wrong password may lock it.
    nobody = Login(f"ds_{uuid4().hex[:8]}", "wrong")
    return _expect(replace(site.client, login=nobody).ping(), CANNOT_CONNECT)


def _backup_unknown_server(site: Site) -> Outcome:
    folder = private_folder(site.scratch / "nobody") / "copy"
    return _expect(site.nobody().run("dbbackup", "-y", folder), ABSENT)


def _bad_option(site: Site) -> Outcome:
    return _expect(site.client.run("dbbackup", "-y", "-no-such-option", site.scratch / "never"), BAD_USAGE)


def _asks_functions(site: Site) -> Outcome:
    facts = ask(site.client)
    told = {
        "DB_PROPERTY('File')": facts.file,
        "DB_PROPERTY('LogName')": facts.log,
        "DB_PROPERTY('FileSize'), ('PageSize')": facts.bytes,
    }
    silent = [name for name, value in told.items() if not value]
    return not silent, f"not told: {', '.join(silent)}" if silent else f"all told; version {facts.version}"


def _own_machine(site: Site) -> Outcome:
    refuse_elsewhere(site.client, site.facts)
    way = "by its machine's name" if site.facts.machine else "over shared memory"
    return True, f"known {way}"


def _makes_folder(site: Site) -> Outcome:
    return site.copied.is_dir(), "-y made the folder and asked nothing"


def _live_names(site: Site) -> Outcome:
    missing = [name for name in (site.database, site.log) if not (site.copied / name).is_file()]
    return not missing, f"not in the copy: {', '.join(missing)}" if missing else "as on the server"


def _log_untouched(site: Site) -> Outcome:
    before = ask(site.client).log
    own = read_log(site.install, site.copied / site.log)
    back_up(site.client, site.scratch / "again" / "database", lambda: None)
    again = read_log(site.install, site.scratch / "again" / "database" / site.log)
    same = ask(site.client).log == before and again.start == own.start
    return same, "the same log, from the same offset" if same else "the live log is another than before"


def _log_offsets(site: Site) -> Outcome:
    own = read_log(site.install, site.copied / site.log)
    return own.start <= own.end, f"from {own.start} to {own.end}"


def _log_only(site: Site) -> Outcome:
    folder = site.scratch / "log-only" / "log"
    back_up(site.client, folder, lambda: None, options=("-t",))
    names = [path.name for path in folder.iterdir()]
    return names == [site.log], f"-t wrote {len(names)} files"


def _clone(folder: Path, site: Site) -> Path:
    """A fresh clone of the database in ``folder``, in a folder of its own."""
    clone = private_folder(site.scratch / uuid4().hex) / "database"
    shutil.copytree(folder, clone)
    return clone


@contextmanager
def _engine(site: Site, folder: Path) -> Iterator[Client]:
    with scratch_engine(CopyAccess(site.install, site.reader), folder, site.database) as client:
        yield client


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


def _validates(site: Site, engine: Client) -> Outcome:
    del site
    plain, pages = engine.run("dbvalid"), engine.run("dbvalid", "-d")
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
        with _engine(site, folder) as engine:
            code = engine.run("dbvalid", "-d")
    except ValidationError:
        return True, "the engine did not even open it"
    detail = "found by code" if code != DONE else "not found (does the database have checksums?), code"
    return code != DONE, f"{detail} {code}"


def _start_alters(site: Site) -> Outcome:
    altered = sha256_of(_settled(site) / site.database) != sha256_of(site.copied / site.database)
    return altered, "altered, as assumed" if altered else "not altered: cloning would not be needed"


def _read_only_refused(site: Site) -> Outcome:
    name = _new_name()
    command = start_command(site.install, name, _clone(site.copied, site) / site.database)
    command.insert(1, "-r")
    engine = Client(site.install, scratch_address(name, site.install.version))
    return _refused(site, command, lambda: engine.ping() == DONE)


def _log_elsewhere_untouched(site: Site) -> Outcome:
    """A clone that remembers a log in another folder, started with -ds, must leave that log alone."""
    folder = _clone(_settled(site), site)
    elsewhere = private_folder(site.scratch / uuid4().hex) / site.log
    shutil.copyfile(folder / site.log, elsewhere)
    code = site.client.run("dblog", "-t", elsewhere, folder / site.database)
    if code != DONE:
        return False, f"dblog -t ended with code {code}, so this could not be tried"
    before, own = sha256_of(elsewhere), sha256_of(folder / site.log)
    with _engine(site, folder):
        pass
    if sha256_of(elsewhere) != before:
        return False, "THE REMEMBERED LOG WAS ALTERED: do not validate copies on the practice's machine"
    used = sha256_of(folder / site.log) != own
    return used, "only the clone's own log was used" if used else "neither log was used"


def _no_port(site: Site, engine: Client) -> Outcome:
    del site
    ports = _listening_ports(str(engine.address.server))
    return not ports, f"it listens on {ports}" if ports else "it listens on no port"


def _stops(site: Site, engine: Client) -> Outcome:
    del site
    code = engine.run("dbstop", "-y", str(engine.address.server))
    after = engine.anonymous.ping()
    return code == DONE and after in ABSENT, f"dbstop ended with code {code}, dbping then with {after}"


def _no_autostart(site: Site) -> Outcome:
    """By hand: the adapter itself never builds a string that names a database file."""
    folder = _clone(site.copied, site)
    name = _new_name()
    environment = replace(site.client, address=Address(site.install.version, server=name)).environment
    environment["SQLCONNECT"] += f";DBF={folder / site.database}"
    code = run([site.install.program("dbping"), "-d"], environment=environment, seconds=START_SECONDS).code
    if code == DONE:
        run([site.install.program("dbstop"), "-y", name], environment=site.install.environment)
    return _expect(code, ABSENT)


def _name_taken(site: Site, engine: Client) -> Outcome:
    command = start_command(
        site.install, str(engine.address.server), _clone(site.copied, site) / site.database
    )
    # The first one answers to the name, so that only time tells.
    deadline = time.monotonic() + REFUSAL_SECONDS
    return _refused(site, command, lambda: time.monotonic() > deadline)


def _catalogue(site: Site, engine: Client) -> Outcome:
    del site
    try:
        with engine.connected() as connection:
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
    command = start_command(site.install, _new_name(), folder / site.database)
    code = run(
        [*command, "-ad", place], environment=site.install.environment, folder=folder, seconds=START_SECONDS
    ).code
    if code != DONE:
        return False, f"the engine with -ad ended with code {code}"
    with _engine(site, folder) as engine:
        after = engine.ping()
    return after == DONE, f"applied; started again, dbping ended with code {after}"


def _listening_ports(word: str) -> list[int]:
    """The TCP ports on which the processes with ``word`` among their arguments listen."""
    ports: set[int] = set()
    for process in psutil.process_iter(["cmdline"]):
        if word in (process.info["cmdline"] or ()):
            with suppress(psutil.Error):  # ended meanwhile
                found = process.net_connections("tcp")
                ports |= {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
    return sorted(ports)


def beside_one_engine(site: Site) -> Iterator[tuple[str, Callable[[Site], Outcome]]]:
    """The trials that can share an engine, as trials of their own; it is gone after the last one."""
    with ExitStack() as stack:

        @cache
        def engine() -> Client:
            return stack.enter_context(_engine(site, _clone(site.copied, site)))

        for name, trial in SHARED_TRIALS.items():
            yield name, lambda site, trial=trial: trial(site, engine())  # type: ignore[misc]


TRIALS: dict[str, Callable[[Site], Outcome]] = {
    "dbping reaches the server by SQLCONNECT": _server_answers,
    "dbping -d reaches the database": _database_answers,
    "dbping -d: no such server is code 10 or 11": _unknown_server,
    "dbping -d: no such database is code 10": _unknown_database,
    "dbping -d: a refused login is code 9": _wrong_login,
    "dbbackup: no such server is code 10 or 11": _backup_unknown_server,
    "dbbackup: a bad option is code 255": _bad_option,
    "the engine's functions tell files and size": _asks_functions,
    "the engine is known to run on this machine": _own_machine,
    "dbbackup -y makes the folder": _makes_folder,
    "dbbackup keeps the live names": _live_names,
    "dbbackup leaves the live log as it is": _log_untouched,
    "dbbackup -t copies the log alone": _log_only,
    "dblog tells a log's offsets": _log_offsets,
}

SHARED_TRIALS: dict[str, Callable[[Site, Client], Outcome]] = {
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
