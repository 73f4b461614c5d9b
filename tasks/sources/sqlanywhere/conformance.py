"""Tries on a real engine what the adapter relies on: one finding for each assumption.

SAP's engine cannot be had for tests, so the adapter was written from SAP's documentation and, where that is
silent, from what is generally known. A site with an engine runs this once, and after each upgrade. The source
is only copied, twice; every engine that is started runs over a clone in scratch, under a name of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from uuid import uuid4

from tasks.errors import DatasaveError
from tasks.platform.files import private_folder
from tasks.platform.processes import Argument, run
from tasks.records import Finding
from tasks.sources.sqlanywhere.connection import Address, Login, tool_environment
from tasks.sources.sqlanywhere.copy import back_up
from tasks.sources.sqlanywhere.errors import ABSENT, CANNOT_CONNECT, DONE, NOT_RUNNING
from tasks.sources.sqlanywhere.logs import read_log
from tasks.sources.sqlanywhere.programs import Install
from tasks.sources.sqlanywhere.server import Facts, ask, base_name, ping, refuse_elsewhere

Outcome = tuple[bool, str]
BAD_USAGE = 255


@dataclass
class Site:
    """The source under trial, and a private folder to work in. ``folder`` of a clone is made by ``clone``."""

    install: Install
    address: Address
    login: Login
    reader: Login
    facts: Facts
    scratch: Path

    @cached_property
    def copied(self) -> Path:
        """A copy of the running database, made once, into a folder that was not there before."""
        folder = self.scratch / "copied" / "database"
        private_folder(folder.parent)
        command: list[Argument] = [self.install.program("dbbackup"), "-y", folder]
        environment = tool_environment(self.install, self.address, self.login)
        ended = run(command, environment=environment)
        if ended.code != DONE:
            raise DatasaveError(f"dbbackup ended with code {ended.code}")
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

    def tool(
        self,
        name: str,
        *arguments: Argument,
        address: Address | None = None,
        login: Login | None = None,
    ) -> int:
        """The exit code of a tool; the source's address and login where no others are given."""
        environment = tool_environment(self.install, address or self.address, login or self.login)
        return run([self.install.program(name), *arguments], environment=environment, seconds=3600).code


def try_all(site: Site) -> list[Finding]:
    """Try each assumption; one that cannot be tried did not pass."""
    # It needs this module's Site.
    from tasks.sources.sqlanywhere.conformance_scratch import SCRATCH_TRIALS, beside_one_engine

    trials = chain(TRIALS.items(), beside_one_engine(site), SCRATCH_TRIALS.items())
    return [_tried(site, name, trial) for name, trial in trials]


def expect(code: int, wanted: frozenset[int] | int) -> Outcome:
    """Whether an exit code is one of those assumed."""
    allowed = frozenset({wanted}) if isinstance(wanted, int) else wanted
    words = " or ".join(str(one) for one in sorted(allowed))
    return code in allowed, f"ended with code {code}" + ("" if code in allowed else f", assumed was {words}")


def _tried(site: Site, name: str, trial: Callable[[Site], Outcome]) -> Finding:
    try:
        holds, detail = trial(site)
    except (DatasaveError, OSError, StopIteration) as error:
        holds = False
        detail = f"could not be tried: {error if isinstance(error, DatasaveError) else type(error).__name__}"
    return Finding(check=name, passed=holds, detail=detail)


def _server_answers(site: Site) -> Outcome:
    return expect(ping(site.install, site.address, None), DONE)


def _database_answers(site: Site) -> Outcome:
    return expect(ping(site.install, site.address, site.login), DONE)


def _unknown_server(site: Site) -> Outcome:
    nobody = Address(site.install.version, server=f"ds_{uuid4().hex}", database="ds")
    return expect(ping(site.install, nobody, site.login), ABSENT)


def _unknown_database(site: Site) -> Outcome:
    return expect(
        ping(site.install, replace(site.address, database=f"ds_{uuid4().hex[:8]}"), site.login), NOT_RUNNING
    )


def _wrong_login(site: Site) -> Outcome:
    # An account that nobody has: with a real one, a wrong password may lock it.
    nobody = Login(f"ds_{uuid4().hex[:8]}", "wrong")
    return expect(ping(site.install, site.address, nobody), CANNOT_CONNECT)


def _backup_unknown_server(site: Site) -> Outcome:
    folder = private_folder(site.scratch / "nobody") / "copy"
    nobody = Address(site.install.version, server=f"ds_{uuid4().hex}", database="ds")
    code = site.tool("dbbackup", "-y", folder, address=nobody)
    return expect(code, ABSENT)


def _bad_option(site: Site) -> Outcome:
    return expect(site.tool("dbbackup", "-y", "-no-such-option", site.scratch / "never"), BAD_USAGE)


def _asks_functions(site: Site) -> Outcome:
    facts = ask(site.install, site.address, site.login)
    told = {
        "DB_PROPERTY('File')": facts.file,
        "DB_PROPERTY('LogName')": facts.log,
        "DB_PROPERTY('FileSize'), ('PageSize')": facts.bytes,
    }
    silent = [name for name, value in told.items() if not value]
    return not silent, f"not told: {', '.join(silent)}" if silent else f"all told; version {facts.version}"


def _own_machine(site: Site) -> Outcome:
    refuse_elsewhere(site.install, site.address, site.facts)
    way = "by its machine's name" if site.facts.machine else "over shared memory"
    return True, f"known {way}"


def _makes_folder(site: Site) -> Outcome:
    return site.copied.is_dir(), "-y made the folder and asked nothing"


def _live_names(site: Site) -> Outcome:
    missing = [name for name in (site.database, site.log) if not (site.copied / name).is_file()]
    return not missing, f"not in the copy: {', '.join(missing)}" if missing else "as on the server"


def _log_untouched(site: Site) -> Outcome:
    before = ask(site.install, site.address, site.login).log
    own = read_log(site.install, site.copied / site.log)
    back_up(site.install, site.address, site.login, site.scratch / "again" / "database", lambda: None)
    again = read_log(site.install, site.scratch / "again" / "database" / site.log)
    same = ask(site.install, site.address, site.login).log == before and again.start == own.start
    return same, "the same log, from the same offset" if same else "the live log is another than before"


def _log_offsets(site: Site) -> Outcome:
    own = read_log(site.install, site.copied / site.log)
    return own.start <= own.end, f"from {own.start} to {own.end}"


def _log_only(site: Site) -> Outcome:
    folder = site.scratch / "log-only" / "log"
    back_up(site.install, site.address, site.login, folder, lambda: None, options=("-t",))
    names = [path.name for path in folder.iterdir()]
    return names == [site.log], f"-t wrote {len(names)} files"


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
