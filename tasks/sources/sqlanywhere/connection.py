"""Reaching a SQL Anywhere engine, by its tools and by ODBC: connection strings.

Tools get theirs in the environment variable SQLCONNECT, since arguments can be read by every account of the
machine. A string never names a key twice (the last one counts there, the first one in ODBC), always says
ASTART=NO (a misspelt name must not start an engine), and never holds DBF: a database file without a server
name of its own is loaded into whatever engine runs already, the practice's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.errors import SourceError
from tasks.platform.processes import Argument, run
from tasks.sources.sqlanywhere.programs import Install, odbc

Pair = tuple[str, str]
LOGIN_SECONDS = 30
PING_SECONDS = 60.0
SCRATCH_DATABASE = "ds"

# Names that mean the same to SQL Anywhere.
_SAME = {
    "ENG": "SERVER",
    "SERVERNAME": "SERVER",
    "ENGINENAME": "SERVER",
    "DATABASENAME": "DBN",
    "USERID": "UID",
    "PASSWORD": "PWD",
    "AUTOSTART": "ASTART",
    "COMMLINKS": "LINKS",
    "DATASOURCENAME": "DSN",
    "DATABASEFILE": "DBF",
}


@dataclass(frozen=True)
class Login:
    """An account of the database. The password is kept out of what Python prints of this."""

    user: str
    password: str = field(repr=False)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (("UID", usable("user", self.user)), ("PWD", usable("password", self.password, secret=True)))


@dataclass(frozen=True)
class Address:
    """Where a database answers: a DSN, a server and a database on it, or both; ``host`` is "name[:port]"."""

    version: int
    dsn: str | None = None
    server: str | None = None
    database: str | None = None
    host: str | None = None

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Raises SourceError for a value that a connection string cannot hold."""
        named = (
            ("DSN", "dsn", self.dsn),
            ("SERVER" if self.version >= 12 else "ENG", "server", self.server),
            ("DBN", "database_name", self.database),
        )
        pairs = tuple((key, usable(option, value)) for key, option, value in named if value)
        return (*pairs, *self._host_pairs())

    def _host_pairs(self) -> tuple[Pair, ...]:
        if not self.host:
            return ()
        host = usable("host", self.host)
        if not re.fullmatch(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?", host):
            raise SourceError(
                "the source's `host` is not a computer's name or address with an optional port",
                hint="Write it like `host: localhost:2638`.",
            )
        if self.version >= 16:
            return (("HOST", host),)
        name, _, port = host.partition(":")
        return (("LINKS", f"tcpip(host={name};port={port})" if port else f"tcpip(host={name})"),)

    def __str__(self) -> str:
        """For messages: the server's or the DSN's name."""
        where = f"server {self.server}" if self.server else f"DSN {self.dsn}"
        return f"{where}, database {self.database}" if self.database else where


def scratch_address(server: str, version: int) -> Address:
    """A scratch engine: reached by its own name alone, no DSN that could lead elsewhere."""
    return Address(version=version, server=server, database=SCRATCH_DATABASE)


def connection_string(pairs: Sequence[Pair]) -> str:
    """``pairs`` as one string, with ASTART=NO. Raises SourceError for a key given twice, or DBF."""
    complete = [*pairs, ("ASTART", "NO")]
    keys = [_SAME.get(key.upper(), key.upper()) for key, _ in complete]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise SourceError(
            f"a connection string cannot hold {', '.join(twice)} twice",
            hint="This is a fault of the program: please report it.",
        )
    if "DBF" in keys:
        raise SourceError(
            "a connection string must not name a database file",
            hint="Name a server, or a DSN that names one: a file would be loaded into whatever engine runs.",
        )
    return ";".join(f"{key}={value}" for key, value in complete)


@dataclass(frozen=True)
class Client:
    """One account at one database, with the installation whose tools and driver lead there.

    Without ``login`` the tools reach the server alone.
    """

    install: Install
    address: Address
    login: Login | None = None

    @property
    def anonymous(self) -> Client:
        """The same without an account."""
        return replace(self, login=None)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a tool that connects: the installation's, and SQLCONNECT."""
        return {**self.install.environment, "SQLCONNECT": connection_string(self._pairs)}

    def run(
        self,
        tool: str,
        *arguments: Argument,
        seconds: float = 24 * 3600.0,
        watch: Callable[[], object] | None = None,
    ) -> int:
        """The exit code of a tool that connects. Raises ProgramError where it takes too long."""
        command = [self.install.program(tool), *arguments]
        return run(command, environment=self.environment, seconds=seconds, watch=watch).code

    def ping(self) -> int:
        """The exit code of dbping: 0 if the server answers and, with an account, the database too."""
        return self.run("dbping", *(("-d",) if self.login else ()), seconds=PING_SECONDS)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """An ODBC connection for the length of the block. Raises pyodbc.Error (see ``odbc_failure``)."""
        driver = usable("driver", self.install.driver)
        # With a DSN in the string a driver manager takes the first of DSN and DRIVER that it meets.
        first: tuple[Pair, ...] = () if self.address.dsn else (("Driver", f"{{{driver}}}"),)
        text = connection_string((*first, *self._pairs))
        connection = odbc().connect(text, autocommit=True, timeout=LOGIN_SECONDS)
        try:
            yield connection
        finally:
            connection.close()

    @property
    def _pairs(self) -> tuple[Pair, ...]:
        return (*self.address.pairs, *(self.login.pairs if self.login else ()))


def usable(option: str, value: str, *, secret: bool = False) -> str:
    """``value`` if a connection string can hold it. Raises SourceError, which never quotes it."""
    cause = _obstacle(value)
    if not cause:
        return value
    what = "the password" if secret else f"`{option}`"
    raise SourceError(
        f"{what} of the source {cause}, which a SQL Anywhere connection string cannot hold",
        hint="Give the account another one." if secret else f"Set `{option}` under `source` to another name.",
    )


def _obstacle(value: str) -> str:
    if not value:
        return "is empty"
    if ";" in value:
        return "holds a semicolon"
    if value[0] in " '\"" or value[-1] == " ":
        return "begins with a space or a quote, or ends with a space"
    if value[0] == "{" or "}" in value:
        return "begins with { or holds }"
    if any(ord(letter) < 32 for letter in value):
        return "holds a control character"
    return ""
